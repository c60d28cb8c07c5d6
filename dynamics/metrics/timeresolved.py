"""Encoding of responses with a time axis: ECoG, MEG and EEG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from dynamics.metrics.folds import make_folds
from dynamics.metrics.gram import Array, as_tensor, check_layers, like, same_rows
from dynamics.metrics.ridge import nested_ridge_features
from dynamics.metrics.splits import pearson

WINDOWS = ((0.0, 0.0), (0.0, 0.1), (0.0, 0.2), (0.0, 0.4))


def encode_timeresolved(
    layers: Array | Mapping[str, Array],
    Y: Array,
    *,
    rate: float,
    windows: Sequence[tuple[float, float]] = WINDOWS,
    components: int | None = 32,
    folds: int | Array | None = None,
    alphas: Array | None = None,
    seed: int = 0,
    categories: Sequence | None = None,
    groups: Sequence | None = None,
) -> dict[str, Array]:
    """Predict responses over time from activations over time through causal delays.

    A finite impulse response: the response at time t is predicted from the activations at t - d
    for all delays d of a window. Splits are by stimulus. For each electrode and outer fold the
    layer, the delay window and alpha are chosen together inside the training folds, as in
    `nested_ridge` (Li et al. 2023, Nat Neurosci 26:2213).

    Parameters
    ----------
    layers : array of shape (n, t, p) or mapping of names to such arrays
        Activations at the times of the responses, see `resample_time`.
    Y : array of shape (n, t, v)
        Responses.
    rate : float
        Samples a second of both.
    windows : sequence of (shortest, longest)
        Causal delays in seconds, 0 <= shortest <= longest; a delay at every sample between.
    components : int, optional
        Principal components kept of each layer, found without looking at responses; None for all.
    folds, alphas, seed, categories, groups
        As for `encode`, by stimulus.

    Returns
    -------
    dict of arrays
        ``r``, ``r2`` (v,): over stimuli and times. ``r_time`` (t, v): over stimuli at each time
        after the onset. ``layer_r`` (layers, windows, v); ``layer``, ``window``, ``alpha``
        (folds, v): choices; ``prediction`` (n, t, v); ``folds`` (n,); ``layer_names``;
        ``windows`` (windows, 2) in seconds.

    Raises
    ------
    ValueError
        If an array has no time axis, shapes do not fit or a window is not causal.
    """
    named = check_layers(layers)
    target = as_tensor(Y)
    if target.ndim != 3:
        raise ValueError(
            f"Y has shape {tuple(target.shape)} and no time axis: give (stimuli, times, neuroids)"
        )
    n, t, v = target.shape
    spans = [_samples(window, rate) for window in windows]
    delayed = []
    for name, X in named.items():
        same_rows(X, Y, names=(f"layer {name!r}", "Y"))
        tensor = as_tensor(X)
        if tensor.ndim != 3 or tensor.shape[1] != t:
            raise ValueError(
                f"layer {name!r} has shape {tuple(tensor.shape)} but Y has {t} times: resample it "
                "to (stimuli, times, features)"
            )
        reduced = _principal(tensor, components)
        delayed += [delay(reduced, span).flatten(0, 1) for span in spans]
    fold = make_folds(n, folds=folds, seed=seed, categories=categories, groups=groups)
    result = nested_ridge_features(delayed, target.flatten(0, 1), np.repeat(fold, t), alphas)

    prediction = as_tensor(result["prediction"]).reshape(n, t, v)
    choice = as_tensor(result["layer"]).long()
    out = {name: as_tensor(result[name]) for name in ("r", "r2", "alpha", "alpha_edge")}
    out["prediction"] = prediction
    out["r_time"] = torch.stack([pearson(prediction[:, i], target[:, i]) for i in range(t)])
    out["layer_r"] = as_tensor(result["layer_r"]).reshape(len(named), len(spans), v)
    out["layer"], out["window"] = choice // len(spans), choice % len(spans)
    given = next(iter(named.values()))
    arrays = {name: like(value, given, Y) for name, value in out.items()}
    labels = {"layer_names": np.array(list(named)), "windows": np.array(windows, float)}
    return arrays | labels | {"folds": fold}


def delay(X: torch.Tensor, samples: Sequence[int]) -> torch.Tensor:
    """Put delayed copies side by side: (n, t, p) to (n, t, p * delays), zero before the onset."""
    copies = []
    for d in samples:
        copy = torch.zeros_like(X)
        copy[:, d:] = X[:, : X.shape[1] - d]
        copies.append(copy)
    return torch.cat(copies, 2)


def resample_time(
    X: Array, time: tuple[float, float], target: tuple[float, float], length: int
) -> Array:
    """Average activations over the time bins of a target.

    Parameters
    ----------
    X : array of shape (n, t, p)
        Activations in frames.
    time : (float, float)
        Centre of the first frame and spacing of frames, seconds.
    target : (float, float)
        The same of the target's samples.
    length : int
        Number of target samples.

    Returns
    -------
    array of shape (n, length, p)
        Mean over each bin of width `target[1]`, frames taken as constant; zero outside of X.

    Raises
    ------
    ValueError
        If a spacing is not positive.
    """
    if time[1] <= 0 or target[1] <= 0:
        raise ValueError(f"spacings {time[1]} and {target[1]} s: give positive ones")
    tensor = as_tensor(X)
    frames = time[0] - time[1] / 2 + time[1] * np.arange(tensor.shape[1] + 1)
    bins = target[0] - target[1] / 2 + target[1] * np.arange(length + 1)
    starts = np.maximum(bins[:-1, None], frames[None, :-1])
    ends = np.minimum(bins[1:, None], frames[None, 1:])
    overlap = torch.as_tensor(np.clip(ends - starts, 0, None) / target[1], device=tensor.device)
    return like(torch.einsum("st,ntp->nsp", overlap, tensor), X)


def _samples(window: tuple[float, float], rate: float) -> range:
    shortest, longest = window
    if not 0 <= shortest <= longest:
        raise ValueError(
            f"window {tuple(window)} is not causal: give delays with 0 <= shortest <= longest"
        )
    return range(round(shortest * rate), round(longest * rate) + 1)


def _principal(X: torch.Tensor, components: int | None) -> torch.Tensor:
    """Leading principal components over stimuli and times, (n, t, kept), centred."""
    flat = X.flatten(0, 1)
    flat = flat - flat.mean(0)
    if components is not None and components < flat.shape[1]:
        _, V = torch.linalg.eigh(flat.T @ flat)
        flat = flat @ V[:, -components:].flip(1)
    return flat.reshape(*X.shape[:2], -1)
