"""From a model and a stimulus set to pooled activations of every layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dynamics import models
from dynamics.models import Model
from dynamics.sounds import StimulusSet

# Front ends do not depend on the weights: below this size they are kept between checkpoints.
_KEEP_BYTES = 2 * 1024**3


def _mean(activation: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    weight = valid.unsqueeze(-1).to(activation.dtype)
    return (activation * weight).sum(1) / weight.sum(1)


def _mean_and_deviation(activation: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    mean = _mean(activation, valid)
    variance = _mean((activation - mean.unsqueeze(1)) ** 2, valid)
    return torch.cat([mean, variance.sqrt()], dim=-1)


def _last(activation: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    last = valid.sum(1) - 1
    return activation[torch.arange(len(activation), device=activation.device), last]


POOLINGS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "mean": _mean,
    "mean+deviation": _mean_and_deviation,
    "last": _last,
}


@dataclass(frozen=True)
class Batch:
    """Stimuli that pass through a model together.

    Attributes
    ----------
    rows : array of shape (batch,)
        Their places in the stimulus set.
    lengths : tensor of shape (batch,)
        Their lengths in samples.
    prepared : tuple of tensor
        What the model's front end made of them.
    """

    rows: np.ndarray
    lengths: torch.Tensor
    prepared: tuple[torch.Tensor, ...]


def batches(
    model: Model, stimuli: StimulusSet, *, batch_size: int = 16, keep_bytes: int = _KEEP_BYTES
) -> Iterable[Batch]:
    """Run a model's weight-independent front end over a stimulus set.

    Parameters
    ----------
    model : Model
        Any adapter's model.
    stimuli : StimulusSet
        The sounds.
    batch_size : int
        Stimuli a batch; stimuli of similar length go together.
    keep_bytes : int
        The front end's output is kept for the next checkpoint if the whole set needs no more.

    Returns
    -------
    iterable of Batch
        It can be walked many times.
    """
    waveforms = stimuli.waveforms(model.sample_rate)
    lengths = np.array([len(waveform) for waveform in waveforms])
    size = batch_size if model.batchable else 1
    order = np.argsort(lengths, kind="stable")
    groups = [order[start : start + size] for start in range(0, len(order), size)]

    def make(rows: np.ndarray) -> Batch:
        padded = torch.zeros(len(rows), int(lengths[rows].max()))
        for place, row in enumerate(rows):
            padded[place, : lengths[row]] = torch.tensor(waveforms[row])
        sizes = torch.from_numpy(lengths[rows])
        with torch.inference_mode():
            return Batch(rows, sizes, tuple(model.prepare(padded, sizes)))

    first = make(groups[0])
    bytes_all = sum(t.nbytes for t in first.prepared) / len(first.rows) * len(order)
    if bytes_all <= keep_bytes:
        return [first, *(make(rows) for rows in groups[1:])]
    return _Remade(make, groups)


@dataclass(frozen=True)
class _Remade:
    make: Callable[[np.ndarray], Batch]
    groups: list[np.ndarray]

    def __iter__(self) -> Iterator[Batch]:
        return map(self.make, self.groups)


def extract(
    model: Model, stimuli: Iterable[Batch], *, pooling: str = "mean"
) -> dict[str, np.ndarray]:
    """Return the pooled activations of every layer to a stimulus set.

    Parameters
    ----------
    model : Model
        Any adapter's model.
    stimuli : iterable of Batch
        What `batches` returned for this model.
    pooling : str
        A name in `POOLINGS`.

    Returns
    -------
    dict of str to array of shape (n_stimuli, n_features)
        float32, rows in the order of the stimulus set, layers from input to output.

    Raises
    ------
    ValueError
        If the pooling is unknown, or an activation is not finite (a sign of broken weights).
    """
    check_pooling(pooling)
    pool = POOLINGS[pooling]
    parts: dict[str, list[np.ndarray]] = {layer: [] for layer in model.layers}
    rows = []
    for batch in stimuli:
        rows.append(batch.rows)
        with torch.inference_mode():
            activations = model.forward_prepared(*batch.prepared)
            for layer, frames in model.frames(batch.lengths).items():
                activation = activations[layer]
                valid = torch.arange(activation.shape[1]) < frames.unsqueeze(1)
                parts[layer].append(pool(activation, valid.to(activation.device)).cpu().numpy())
    order = np.argsort(np.concatenate(rows))
    pooled = {layer: np.concatenate(part)[order] for layer, part in parts.items()}
    _check_finite(pooled)
    return {layer: np.ascontiguousarray(values, "float32") for layer, values in pooled.items()}


_FEATURES: dict[tuple[str, str, str], dict[str, np.ndarray]] = {}


def features(adapter: str, stimuli: StimulusSet, **arguments: Any) -> dict[str, np.ndarray]:
    """Return the time-averaged features of a model without weights; the last ones are kept.

    Parameters
    ----------
    adapter : str
        An adapter that needs no checkpoint.
    stimuli : StimulusSet
        The sounds.
    **arguments
        For the adapter.

    Returns
    -------
    dict of str to array of shape (n_stimuli, n_features)
        float32, by layer.
    """
    key = (adapter, repr(sorted(arguments.items())), stimuli.digest)
    if key not in _FEATURES:
        model = models.load(adapter, None, **arguments)
        _FEATURES.clear()
        _FEATURES[key] = extract(model, batches(model, stimuli, keep_bytes=0))
    return _FEATURES[key]


def check_pooling(name: str) -> None:
    """Raise a ValueError that lists the poolings if there is none of this name."""
    if name not in POOLINGS:
        raise ValueError(f"unknown pooling {name!r}: there are {', '.join(sorted(POOLINGS))}")


def _check_finite(layers: Mapping[str, np.ndarray]) -> None:
    for layer, values in layers.items():
        if not np.isfinite(values).all():
            raise ValueError(
                f"activations of layer {layer} are not finite: the weights are broken or overflow"
            )
