"""A small reference pretraining run that writes real checkpoints.

The network of masked prediction has EnCodecMAE's architecture, names and checkpoint layout, so the
adapter ``encodecmae`` reads what is written here as it reads the published checkpoints; that which
learns labels is read by the adapter ``ban``.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from dynamics import datasets
from dynamics.config import Pretraining, Source
from dynamics.lookahead import one_ahead
from dynamics.models.encodecmae import stack
from dynamics.models.mel import SAMPLE_RATE, log_mel
from dynamics.reference import labelled
from dynamics.reference.masked import MaskedPredictor, RandomQuantiser, hide, prediction_loss
from dynamics.reference.overlap import first_overlap
from dynamics.reference.recordings import Recordings, Synthesised
from dynamics.reference.runfiles import STATE_FILE, Saved, resume, save_checkpoint, save_state
from dynamics.reference.synthesis import KINDS

__all__ = ["Pretraining", "Source", "pretrain"]

logger = logging.getLogger(__name__)

EvaluationSet = Iterable[tuple[str, np.ndarray, int]]
Progress = Callable[[int, float, float], None]
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
Sounds = Recordings | Synthesised | labelled.Labelled

_CALIBRATION_BATCHES = 4
_CALIBRATION_STEP = 2**40


def pretrain(
    settings: Pretraining,
    *,
    evaluation: EvaluationSet = (),
    progress: Progress | None = None,
) -> Path:
    """Train the reference network, or go on where an earlier call stopped.

    Clips, levels and hidden places of a step derive from (seed, step), so an interrupted run
    ends with the same weights as an uninterrupted one on the same machine and thread count.

    Parameters
    ----------
    settings : Pretraining
        What to train on what.
    evaluation : iterable of (name, waveform, rate)
        Sounds that must not be trained on: waveforms (samples,), rates in Hz.
    progress : callable, optional
        Called after each step with the step, its loss (nats) and the rate (steps a second).

    Returns
    -------
    Path
        The folder of checkpoints.

    Raises
    ------
    FileNotFoundError
        Where a folder is missing or holds no audio.
    ValueError
        Where a file is not audio, a recording contains a sound of the evaluation set, the folder
        holds a run with other settings, or the loss is no longer finite.
    """
    saved = resume(settings.folder, settings.identity)
    if saved is not None and saved.step >= settings.steps:
        return settings.folder
    sources = [_open(source, settings) for source in settings.sources]
    _refuse_overlap(sources, evaluation)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    network, batch_of, loss_of = _objective(sources, settings)
    optimiser = _optimiser(network, settings)
    first = 0
    if saved is None:
        _commit(network, optimiser, 0, settings)
    else:
        _take_up(saved, network, optimiser, settings.folder)
        first = saved.step
        logger.info("going on from step %d in %s", first, settings.folder)
    began = time.monotonic()
    # The next step's batch is made while one trains.
    for step, batch in one_ahead((n, batch_of(n)) for n in range(first, settings.steps)):
        loss = _update(network, optimiser, loss_of(batch), settings, step)
        done = step + 1
        if not math.isfinite(loss):
            raise ValueError(
                f"the loss is {loss} at step {done}: lower `learning_rate` "
                f"({settings.learning_rate:g})"
            )
        if done in settings.saved_steps or done % settings.save_every == 0:
            _commit(network, optimiser, done, settings)
        if progress is not None:
            progress(done, loss, (done - first) / max(time.monotonic() - began, 1e-9))
    return settings.folder


def _objective(
    sources: list[Any], settings: Pretraining
) -> tuple[nn.Module, Callable[[int], Any], Callable[[Any], torch.Tensor]]:
    """Return the network, what makes the batch of a step, and what makes its loss."""
    if settings.objective == "labels":
        (source,) = sources
        areas = labelled.network(source, settings)
        make = partial(labelled.batch, source, settings)
        return areas, make, partial(labelled.loss, areas)
    network, quantiser = _network(settings), _quantiser(sources, settings)

    def loss_of(batch: Batch) -> torch.Tensor:
        tokens, clean, hidden = batch
        codes = quantiser(clean)
        wanted = codes.gather(1, hidden[..., None].expand(-1, -1, codes.shape[-1]))
        return prediction_loss(network(tokens, hidden), wanted)

    return network, partial(_tokens, sources, settings), loss_of


def _open(source: Source, settings: Pretraining) -> Sounds:
    if kinds := tuple(KINDS) if source.synthetic is True else source.synthetic:
        return Synthesised(
            kinds,
            sounds=source.sounds,
            seconds=settings.clip_seconds,
            seed=settings.seed,
        )
    folder = source.folder or Path()
    if source.dataset is not None:
        folder = datasets.folder(source.dataset) / folder
    kind = labelled.Labelled if settings.objective == "labels" else Recordings
    return kind(folder, leave_out=source.leave_out, hours=source.hours, seed=settings.seed)


def _refuse_overlap(sources: list[Sounds], evaluation: EvaluationSet) -> None:
    found = first_overlap(evaluation, (file for source in sources for file in source.files()))
    if found is not None:
        name, recording, correlation = found
        raise ValueError(
            f"{recording} contains the evaluation sound {name} (correlation {correlation:.2f}): "
            "remove the file, or name it under `leave_out` of its source"
        )


def _network(settings: Pretraining) -> MaskedPredictor:
    return MaskedPredictor(
        layers=settings.layers,
        width=settings.width,
        heads=settings.heads,
        feed_forward=settings.feed_forward,
        inputs=settings.mels * settings.frames_per_token,
        codebooks=len(settings.target_windows),
        codes=settings.codes,
        seed=settings.seed,
    )


def _optimiser(network: nn.Module, settings: Pretraining) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        network.parameters(),
        lr=settings.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=settings.weight_decay,
    )


def _quantiser(sources: list[Recordings | Synthesised], settings: Pretraining) -> RandomQuantiser:
    # Batches that training never reaches: standardisation must not depend on where it resumes.
    sample = [
        _tokens(sources, settings, _CALIBRATION_STEP + i)[1] for i in range(_CALIBRATION_BATCHES)
    ]
    return RandomQuantiser(
        torch.cat(sample),
        windows=settings.target_windows,
        codes=settings.codes,
        dimension=settings.code_dimension,
        seed=settings.seed,
    )


def _tokens(sources: list[Recordings | Synthesised], settings: Pretraining, step: int) -> Batch:
    """Make what is heard (batch, time, inputs), what is to be predicted, and the hidden places."""
    rng = np.random.default_rng([settings.seed, step])
    weights = np.array([source.weight for source in settings.sources])
    samples = round(settings.clip_seconds * SAMPLE_RATE)

    def clip() -> np.ndarray:
        which = rng.choice(len(sources), p=weights / weights.sum())
        wave = sources[which].clip(rng, samples)
        level = settings.level * 10 ** (settings.level_spread * rng.standard_normal() / 20)
        return wave * (level / (np.sqrt(np.mean(wave**2)) + 1e-4))

    clean = np.stack([clip() for _ in range(settings.batch_size)]).astype(np.float32)
    heard = clean.copy()
    for wave in heard:
        if rng.random() < settings.mixing:
            wave += clip() * 10 ** (-rng.uniform(*settings.mixing_softer) / 20)
    wanted, tokens = (
        stack(log_mel(torch.from_numpy(waves), mels=settings.mels), settings.frames_per_token)
        for waves in (clean, heard)
    )
    share, span = settings.hidden_share, settings.hidden_span
    return tokens, wanted, hide(rng, *tokens.shape[:2], share=share, span=span)


def _update(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    loss: torch.Tensor,
    settings: Pretraining,
    step: int,
) -> float:
    """One step of AdamW with a warm-up and a cosine decay; returns the loss."""
    decay = 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
    for group in optimiser.param_groups:
        group["lr"] = settings.learning_rate * min(1.0, (step + 1) / settings.warmup) * decay
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
    return loss.item()


def _take_up(
    saved: Saved, network: nn.Module, optimiser: torch.optim.Optimizer, folder: Path
) -> None:
    try:
        network.load_state_dict(saved.network)
        optimiser.load_state_dict(saved.optimiser)
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{folder / STATE_FILE} is damaged ({reason}): remove the folder to train anew"
        ) from None


def _commit(
    network: nn.Module, optimiser: torch.optim.Optimizer, step: int, settings: Pretraining
) -> None:
    """Save a checkpoint where one is due, then the state to go on from."""
    if step in settings.saved_steps:
        save_checkpoint(
            settings.folder,
            network.state_dict(),
            step=step,
            settings={**settings.identity, **settings.adapter_arguments},
        )
    state = Saved(step, network.state_dict(), optimiser.state_dict())
    save_state(settings.folder, state, settings.identity)
