"""A checkpoint of a run as a module of HEAR, which ``heareval`` takes: ``dynamics.hear``.

``load_model("my-run.yaml@1000:layer3")`` is layer 3 of the sweep's network at step 1,000; without a
step its last checkpoint, without a layer its last layer. Of HEAR: Turian et al. (2022),
arXiv 2203.03022, https://hearbenchmark.com. Its sounds come at one of five rates (`RATES`): a
network of another is handed a sound of one of these, brought to its own rate here.
"""

from __future__ import annotations

import re

import numpy as np
import torch

from dynamics import models
from dynamics.config import load_config
from dynamics.extraction.crawl import discover
from dynamics.sounds.audio import resample

RATES = (16000, 22050, 32000, 44100, 48000)
"""Of the sounds of HEAR's tasks, in Hz."""

_PATH = re.compile(r"(?P<config>.+?\.ya?ml)(?:@(?P<step>\d+))?(?::(?P<layer>.+))?")


class HearModel(torch.nn.Module):
    """One layer of a network, as HEAR asks for it.

    Attributes
    ----------
    sample_rate : int
        Of the audio that it takes, in Hz: the network's own, or of `RATES` a multiple of it.
    scene_embedding_size, timestamp_embedding_size : int
        Features of the layer.
    step : int
        Of the checkpoint.
    layer : str
        Which layer.
    """

    def __init__(self, model: models.Model, layer: str, step: int):
        super().__init__()
        self.model, self.layer, self.step = model, layer, step
        self.sample_rate = _taken(model.sample_rate)
        with torch.no_grad():
            size = model(torch.zeros(1, model.sample_rate))[layer].shape[-1]
        self.scene_embedding_size = self.timestamp_embedding_size = int(size)

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        """Return activations (sounds, time, feature) to audio (sounds, samples)."""
        audio = self._at_own_rate(audio)
        alone = not (self.model.batchable or self.model.batch_equal_lengths)
        with torch.no_grad():
            parts = audio.split(1) if alone else [audio]
            found = torch.cat([self.model(part)[self.layer] for part in parts])
        count = int(self.model.frames(torch.tensor([audio.shape[1]]))[self.layer][0])
        return found[:, :count]

    def _at_own_rate(self, audio: torch.Tensor) -> torch.Tensor:
        own = self.model.sample_rate
        if own == self.sample_rate:
            return audio
        every = [resample(each, self.sample_rate, own) for each in audio.cpu().numpy()]
        return torch.from_numpy(np.stack(every)).to(audio.device)


def _taken(own: int) -> int:
    """Choose the rate at which sounds come: the network's, else a multiple, else one above."""
    above = [rate for rate in RATES if rate >= own] or [RATES[-1]]
    return next((rate for rate in above if rate % own == 0), above[0])


def load_model(model_file_path: str = "") -> HearModel:
    """Load a layer of a network at a step.

    Parameters
    ----------
    model_file_path : str
        ``SWEEP.yaml``, with ``@STEP`` and ``:LAYER`` where it is not the last.

    Returns
    -------
    HearModel
        In evaluation mode.

    Raises
    ------
    ValueError
        If the text is none of these, the sweep has no such step or layer, or its checkpoint lies
        elsewhere than on this machine.
    """
    match = _PATH.fullmatch(str(model_file_path))
    if match is None:
        raise ValueError(
            f"{model_file_path!r} names no sweep: write SWEEP.yaml, SWEEP.yaml@STEP or "
            "SWEEP.yaml@STEP:LAYER"
        )
    sweep = load_config(match["config"])
    found = {each.step: each for each in discover(sweep)}
    step = int(match["step"]) if match["step"] else max(found)
    if step not in found:
        listed = ", ".join(map(str, sorted(found)[:9]))
        raise ValueError(f"{sweep.checkpoints} has no step {step}: there are {listed}")
    uri = found[step].uri
    if "://" in uri:
        raise ValueError(f"{uri} is not on this machine: fetch it first, and name its folder")
    model = models.load(
        sweep.model.name,
        uri,
        trust=sweep.trust_checkpoints,
        weights=sweep.weights,
        **sweep.model.arguments,
    )
    layer = match["layer"] or model.layers[-1]
    if layer not in model.layers:
        raise ValueError(f"the network has no layer {layer!r}: there are {', '.join(model.layers)}")
    return HearModel(model, layer, step)


def get_timestamp_embeddings(
    audio: torch.Tensor, model: HearModel
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a layer's frames and when they are.

    Parameters
    ----------
    audio : torch.Tensor of shape (sounds, samples)
        In [-1, 1], at the model's rate.
    model : HearModel
        From `load_model`.

    Returns
    -------
    embeddings : torch.Tensor of shape (sounds, time, features)
        Activations.
    timestamps : torch.Tensor of shape (sounds, time)
        Centres of the frames, milliseconds.
    """
    found = model(audio)
    first, spacing = model.model.frame_times[model.layer]
    stamps = 1000 * (first + spacing * torch.arange(found.shape[1], dtype=torch.float32))
    return found, stamps.expand(len(found), -1)


def get_scene_embeddings(audio: torch.Tensor, model: HearModel) -> torch.Tensor:
    """Return a layer averaged over time.

    Parameters
    ----------
    audio, model
        As for `get_timestamp_embeddings`.

    Returns
    -------
    torch.Tensor of shape (sounds, features)
        Mean activations.
    """
    return model(audio).mean(1)
