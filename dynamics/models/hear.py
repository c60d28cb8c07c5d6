"""A module of HEAR as a model: what its common API gives, as two layers.

HEAR, Holistic Evaluation of Audio Representations (Turian et al. 2022, arXiv 2203.03022): a Python
module with ``load_model(path)``, ``get_timestamp_embeddings(audio, model)`` and
``get_scene_embeddings(audio, model)``, whose model tells its ``sample_rate``.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from dynamics.models.hearing import Hearing
from dynamics.models.waveform import WaveformModel, decide_batchable
from dynamics.models.weights import load_strictly, remembered, renamed

HEARING = Hearing(causal=None)
LAYERS = ("timestamp", "scene")
_NEEDED = ("load_model", "get_timestamp_embeddings", "get_scene_embeddings")


def build(
    state: Mapping[str, torch.Tensor] | None = None,
    *,
    package: str,
    path: str = "",
    prefix: str = "",
    ignore: Sequence[str] = (),
) -> HearModel:
    """Build the model of an installed HEAR module.

    Parameters
    ----------
    state : mapping of str to Tensor, optional
        Weights of a checkpoint, by the names of the module's model; None leaves what ``load_model``
        gave.
    package : str
        Name of the module, such as ``"hearbaseline.wav2vec2"``, installed, in the working directory
        or beside the YAML file.
    path : str
        What ``load_model`` is given; by default nothing, for modules that bring their weights.
    prefix : str
        Before the names in the checkpoint, or, where the checkpoint has none of it, before those of
        the module's model.
    ignore : sequence of str
        Patterns of names in the checkpoint that may be left over.

    Returns
    -------
    HearModel
        Layers ``timestamp`` and ``scene`` (one frame a sound).

    Raises
    ------
    ValueError
        Where there is no such module, it lacks a function of the API, or the weights do not fit.
    """
    model = HearModel(_module(package), package, path, prefix=prefix, ignore=ignore).settle()
    model.learn_times()
    if state is not None:
        model.load_weights(state)
    decide_batchable(model, "its API takes no lengths, so padding is heard")
    return model


def check(*, package: str, **_: Any) -> None:
    """Raise a ValueError where there is no such module, or it lacks a function of the API."""
    _module(package)


def _module(package: str) -> Any:
    from pathlib import Path

    from dynamics import plugins

    plugins.look_in(Path.cwd())
    try:
        found = importlib.import_module(package)
    except Exception as error:  # whatever somebody's module does
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"cannot import the HEAR module {package!r}: {why}") from None
    if lacking := [name for name in _NEEDED if not hasattr(found, name)]:
        raise ValueError(f"{package!r} is no HEAR module: it has no {', '.join(lacking)}")
    return found


class HearModel(WaveformModel):
    """What a HEAR module gives, behind the common face."""

    def __init__(self, module: Any, package: str, path: str, *, prefix: str, ignore: Sequence[str]):
        super().__init__()
        self.api = module
        self.package, self.prefix, self.ignore = package, prefix, tuple(ignore)
        network = module.load_model(path) if path else module.load_model()
        self.network = network
        self.sample_rate = int(network.sample_rate)
        self.layers = LAYERS
        is_torch = isinstance(network, torch.nn.Module)
        self.initial = remembered(network) if is_torch else {}

    def learn_times(self) -> None:
        """Ask where the frames of a second lie."""
        with torch.no_grad():
            _, stamps = self._frames(torch.zeros(1, 2 * self.sample_rate))
        seconds = stamps[0].double() / 1000
        spacing = float(torch.diff(seconds).mean()) if len(seconds) > 1 else 1.0
        self.frame_times = {"timestamp": (float(seconds[0]), spacing), "scene": (0.5, 1.0)}

    def forward_prepared(self, waveforms, lengths):
        """Return the embeddings of time stamps (batch, time, feature) and of scenes."""
        with torch.no_grad():
            frames, _ = self._frames(waveforms)
            scene = self.api.get_scene_embeddings(waveforms, self.network)
        return {"timestamp": frames.detach(), "scene": scene.detach().unsqueeze(1)}

    def load_weights(self, state: Mapping[str, torch.Tensor]) -> None:
        """Exchange the weights; what does not begin with `prefix` is left aside, or gets it."""
        if not isinstance(self.network, torch.nn.Module):
            raise ValueError(
                f"the model of {self.package!r} is no torch module, so that its weights cannot be "
                "exchanged: give `path`, and one checkpoint"
            )
        names = tuple(state)
        self.notes = load_strictly(
            self.network,
            renamed(self.network.state_dict(), state, self.prefix),
            ignore=self.ignore,
            what=f"the HEAR module {self.package}",
            initial=self.initial,
            names=names,
        )

    def _frames(self, waveforms: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.api.get_timestamp_embeddings(waveforms, self.network)
