"""From a model and a stimulus set to pooled activations of every layer."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import torch

from dynamics import models
from dynamics.extraction import poolings, spans
from dynamics.extraction.poolings import Pooling
from dynamics.faults import SoundError
from dynamics.models import Model
from dynamics.models.waveform import has_frames, shortest
from dynamics.sounds import StimulusSet

logger = logging.getLogger(__name__)

REVISION = 1
"""Number of the numbers: raised with every change after which `extract` gives others."""

AGREEMENT = 1e-4
"""How far two extractions of one checkpoint may be apart, as a part of a layer's largest value.

Other versions of libraries sum in another order: some 1e-6 in single precision, more after many
layers."""

# Front ends do not depend on the weights: below this size they are kept between checkpoints.
KEEP_BYTES = 2 * 1024**3


class NotFiniteError(ValueError):
    """Activations that are NaN or infinite."""


@dataclass(frozen=True)
class Batch:
    """Stimuli that pass through a model together.

    Attributes
    ----------
    rows : array of shape (batch,)
        Their places in the stimulus set.
    lengths : tensor of shape (batch,)
        Lengths of the sounds in samples.
    durations : array of shape (batch,)
        Their lengths in seconds, of the sounds themselves.
    prepared : tuple of tensor
        What the model's front end made of the sounds.
    spans : list of Span or None
        Where the stimuli are in the sounds, if they are parts of these; then rows and durations
        are those of the parts.
    """

    rows: np.ndarray
    lengths: torch.Tensor
    durations: np.ndarray
    prepared: tuple[torch.Tensor, ...]
    spans: list[spans.Span] | None = None


def batches(
    model: Model, stimuli: StimulusSet, *, batch_size: int = 16, keep_bytes: int = KEEP_BYTES
) -> Iterable[Batch]:
    """Run a model's weight-independent front end over a stimulus set.

    Parameters
    ----------
    model : Model
        Any adapter's model.
    stimuli : StimulusSet
        The sounds. Those that are parts of recordings are heard in these, which are run whole.
    batch_size : int
        Stimuli a batch; stimuli of similar length go together, and only those of one length where
        padding would change the model's numbers.
    keep_bytes : int
        The front end's output is kept for the next checkpoint if the whole set needs no more.

    Returns
    -------
    iterable of Batch
        It can be walked many times.

    Raises
    ------
    SoundError
        Where a stimulus is too short for the network to have a frame of it.
    """
    heard, within = stimuli.heard, stimuli.within
    waveforms = heard.waveforms(model.sample_rate)
    lengths = np.array([len(waveform) for waveform in waveforms])
    _check_lengths(model, heard, lengths)
    groups = _groups(model, lengths, batch_size)
    if len(groups) > -(-len(lengths) // batch_size):
        why = model.why_not_batchable
        logger.warning("%d stimuli take %d batches: %s", len(lengths), len(groups), why)

    def make(rows: np.ndarray) -> Batch:
        batch = batch_of(model, waveforms, rows, heard.durations)
        if within is None:
            return batch
        own, places = spans.spans_of(within, rows.tolist())
        return replace(batch, rows=own, durations=within.duration[own], spans=places)

    first = make(groups[0])
    bytes_all = sum(t.nbytes for t in first.prepared) / len(groups[0]) * len(lengths)
    if bytes_all <= keep_bytes:
        return [first, *(make(rows) for rows in groups[1:])]
    return _Remade(make, groups)


def _check_lengths(model: Model, stimuli: StimulusSet, lengths: np.ndarray) -> None:
    """Raise a SoundError that names the stimuli of which a network has no frame.

    In a padded batch such a stimulus would get the frames of the padding.
    """
    if not len(lengths) or has_frames(model, int(lengths.min())):
        return
    rate, least = model.sample_rate, shortest(model)
    short = [(int(n), name) for n, name in zip(lengths, stimuli.names) if n < least]
    number, name = min(short)
    others = f", and {len(short) - 1} more are as short" if len(short) > 1 else ""
    raise SoundError(
        f"the stimulus {name!r} has {number} samples at {rate} Hz ({1000 * number / rate:.3g} ms), "
        f"and the network has no frame of fewer than {least} ({1000 * least / rate:.3g} ms)"
        f"{others}: leave it out of the stimuli, or take longer sounds"
    )


def batch_of(
    model: Model, waveforms: Sequence[np.ndarray], rows: np.ndarray, durations: np.ndarray
) -> Batch:
    """Pad stimuli to one length and run a model's front end over them.

    Parameters
    ----------
    model : Model
        Any adapter's model.
    waveforms : sequence of array of shape (n_samples,)
        All stimuli.
    rows : array of shape (batch,)
        Those of the batch.
    durations : array of shape (n_stimuli,)
        Seconds.

    Returns
    -------
    Batch
        With zeros after each end.
    """
    sizes = torch.tensor([len(waveforms[row]) for row in rows])
    padded = torch.zeros(len(rows), int(sizes.max()))
    for place, row in enumerate(rows):
        padded[place, : sizes[place]] = torch.tensor(waveforms[row])
    with torch.inference_mode():
        prepared = tuple(model.prepare(padded, sizes))
    return Batch(rows, sizes, durations[rows], prepared)


def _groups(model: Model, lengths: np.ndarray, size: int) -> list[np.ndarray]:
    """Divide stimuli into batches that do not change the numbers of a model."""
    order = np.argsort(lengths, kind="stable")
    if model.batchable:
        alike = [order]
    elif model.batch_equal_lengths:
        alike = np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1)
    else:
        alike, size = [order], 1
    return [rows[start : start + size] for rows in alike for start in range(0, len(rows), size)]


@dataclass(frozen=True)
class _Remade:
    make: Callable[[np.ndarray], Batch]
    groups: list[np.ndarray]

    def __iter__(self) -> Iterator[Batch]:
        return map(self.make, self.groups)


def device(name: str = "auto") -> torch.device:
    """Return where networks run.

    Parameters
    ----------
    name : str
        A name that torch knows, such as ``"cpu"`` or ``"cuda:1"``; ``"auto"`` is the GPU where
        there is one.

    Returns
    -------
    torch.device
        The device.

    Raises
    ------
    ValueError
        If there is no such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(name)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError):
        raise ValueError(
            f"device {name!r} is not on this machine: use `cpu`, or `auto` for the GPU if any"
        ) from None
    return found


def extract(
    model: Model, stimuli: Iterable[Batch], *, pooling: str | Pooling = "mean"
) -> dict[str, np.ndarray]:
    """Return the pooled activations of every layer to a stimulus set.

    Parameters
    ----------
    model : Model
        Any adapter's model; batches go to the device that it is on, one by one.
    stimuli : iterable of Batch
        What `batches` returned for this model.
    pooling : str or Pooling
        A name of a pooling without arguments, or what `dynamics.extraction.poolings.make` returned.

    Returns
    -------
    dict of str to array of shape (n_stimuli, n_features) or (n_stimuli, n_times, n_features)
        float32, rows in the order of the stimulus set, layers from input to output. With time
        (see `dynamics.extraction.poolings`; the times are ``pooling.times(stimuli.durations)``),
        NaN past the end of a shorter stimulus.

    Raises
    ------
    ValueError
        If the pooling is unknown, or an activation is not finite (a sign of broken weights).
    """
    pool = poolings.make(pooling) if isinstance(pooling, str) else pooling
    parts: dict[str, list[np.ndarray]] = {layer: [] for layer in model.layers}
    rows = []
    for batch, layers in pooled(model, stimuli, pool):
        rows.append(batch.rows)
        for layer, values in layers.items():
            parts[layer].append(values)
    order = np.argsort(np.concatenate(rows))
    return {
        layer: np.ascontiguousarray(_joined(part)[order], "float32")
        for layer, part in parts.items()
    }


def pooled(
    model: Model, stimuli: Iterable[Batch], pool: Pooling
) -> Iterator[tuple[Batch, dict[str, np.ndarray]]]:
    """Return the pooled activations of every layer batch by batch.

    Parameters
    ----------
    model, stimuli
        As for `extract`.
    pool : Pooling
        What to keep.

    Yields
    ------
    batch, layers : (Batch, dict of str to array)
        Arrays as from `extract`, of the stimuli of the batch.
    """
    device = device_of(model)
    for batch in stimuli:
        own = batch.spans
        counts = pool.counts(batch.durations)
        samples = 0 if counts is None else int(counts.max())
        layers = {}
        with torch.inference_mode():
            prepared = (part.to(device) for part in batch.prepared)
            activations = model.forward_prepared(*prepared)
            for layer, frames in model.frames(batch.lengths).items():
                times = None if counts is None and own is None else model.frame_times[layer]
                how: dict[str, Any] = {"frame_times": times, "samples": samples}
                found = spans.pooled(pool, activations[layer], frames, own, **how)
                values = _finite(found.cpu().numpy(), layer)
                layers[layer] = values if counts is None else _ended(values, counts)
        yield batch, layers


def device_of(model: Model) -> torch.device:
    """Return where a model's weights are; one without weights runs on the CPU."""
    if isinstance(model, torch.nn.Module):
        for weight in chain(model.parameters(), model.buffers()):
            return weight.device
    return torch.device("cpu")


def distance(
    found: Mapping[str, np.ndarray], stored: Mapping[str, np.ndarray], *, rounding: float = 0.0
) -> tuple[float, str]:
    """Say how far apart two extractions of one checkpoint are.

    Parameters
    ----------
    found, stored : mapping of str to array of shape (n_stimuli, ..., n_features)
        Activations by layer.
    rounding : float
        Largest relative error that storing made.

    Returns
    -------
    (float, str)
        The largest difference as a part of the layer's largest value, beyond `rounding`, and its
        layer; infinite where layers, shapes or missing values differ.
    """
    every = dict.fromkeys([*found, *stored])
    return largest(((name, found.get(name), stored.get(name)) for name in every), rounding=rounding)


def largest(
    pairs: Iterable[tuple[str, np.ndarray | None, np.ndarray | None]], *, rounding: float = 0.0
) -> tuple[float, str]:
    """Say how far apart two extractions are that come part by part.

    Parameters
    ----------
    pairs : iterable of (str, array, array)
        A layer, and a part of it as found and as stored.
    rounding : float
        As for `distance`.

    Returns
    -------
    (float, str)
        As from `distance`.
    """
    apart: dict[str, float] = {}
    size: dict[str, float] = {}
    for layer, one, other in pairs:
        if one is None or other is None or one.shape != other.shape:
            return float("inf"), layer
        if not np.array_equal(np.isnan(one), np.isnan(other)):
            return float("inf"), layer
        far = np.abs(one.astype("float64") - other) - rounding * np.abs(one)
        apart[layer] = max(apart.get(layer, -np.inf), float(np.nanmax(far)))
        size[layer] = max(size.get(layer, 0.0), float(np.nanmax(np.abs(other))))
    least = float(np.finfo("float32").tiny)
    found = {layer: apart[layer] / max(size[layer], least) for layer in apart}
    worst = max(found, key=lambda layer: found[layer], default="")
    return (found[worst], worst) if worst and found[worst] > 0 else (0.0, "")


_FEATURES: dict[tuple[str, str, str, Pooling], dict[str, np.ndarray]] = {}


def features(
    adapter: str, stimuli: StimulusSet, *, pooling: str | Pooling = "mean", **arguments: Any
) -> dict[str, np.ndarray]:
    """Return the pooled features of a model without weights; the last ones are kept.

    Parameters
    ----------
    adapter : str
        An adapter that needs no checkpoint.
    stimuli : StimulusSet
        The sounds.
    pooling : str or Pooling
        As for `extract`; with the pooling of a store, the times are those of the store.
    **arguments
        For the adapter.

    Returns
    -------
    dict of str to array of shape (n_stimuli, n_features) or (n_stimuli, n_times, n_features)
        float32, by layer.
    """
    pool = poolings.make(pooling) if isinstance(pooling, str) else pooling
    key = (adapter, repr(sorted(arguments.items())), stimuli.digest, pool)
    if key not in _FEATURES:
        model = models.load(adapter, None, **arguments)
        _FEATURES.clear()
        _FEATURES[key] = extract(model, batches(model, stimuli, keep_bytes=0), pooling=pool)
    return _FEATURES[key]


def _finite(values: np.ndarray, layer: str) -> np.ndarray:
    if not np.isfinite(values).all():
        raise NotFiniteError(
            f"activations of layer {layer} are not finite: the weights are broken or overflow"
        )
    return values


def _ended(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Put NaN past each stimulus's own samples (batch,) of values (batch, time, feature)."""
    values[np.arange(values.shape[1]) >= counts[:, None]] = np.nan
    return values


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """Stack batches; a time axis (the second of three) becomes as long as the longest."""
    longest = max(part.shape[1] for part in parts) if parts[0].ndim == 3 else 0
    for place, part in enumerate(parts):
        if part.ndim == 3 and part.shape[1] < longest:
            short = ((0, 0), (0, longest - part.shape[1]), (0, 0))
            parts[place] = np.pad(part, short, constant_values=np.nan)
    return np.concatenate(parts)
