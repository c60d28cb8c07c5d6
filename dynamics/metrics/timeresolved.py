"""Encoding of responses with a time axis: ECoG, MEG and EEG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from dynamics.metrics.continuous import WINDOWS, encode_continuous
from dynamics.metrics.correlation import pearson_there
from dynamics.metrics.folds import make_folds
from dynamics.metrics.kernels import Array, as_tensor, check_layers, like, same_rows
from dynamics.metrics.validation import takes


@takes(layers="layers", Y="responses")
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
    rows: Array | Sequence[Array] | None = None,
    missing: str = "error",
) -> dict[str, Array]:
    """Predict responses over time from activations over time through causal delays.

    A finite impulse response: the response at time t is predicted from the activations at t - d
    for all delays d of a window. Splits are by stimulus. For each electrode and outer fold the
    layer, the delay window and alpha are chosen together inside the training folds, as in
    `nested_ridge` (Li et al. 2023, Nat Neurosci 26:2213). The work is done on sums of products
    of (components x delays) features over each fold, so it grows with the cube of these and
    hardly with stimuli, times and electrodes; memory holds the delayed features of one fold.

    Parameters
    ----------
    layers : array of shape (n, t, p) or mapping of names to such arrays
        Activations at the times of the responses, see `resample_time`. NaN in all features of a
        time means that there is no sound: the layer's mean activation stands in.
    Y : array of shape (n, t, v)
        Responses.
    rate : float
        Samples a second of both.
    windows : sequence of (shortest, longest)
        Causal delays in seconds, 0 <= shortest <= longest; a delay at every sample between.
    components : int, optional
        Principal components kept of each layer, found without looking at responses; None for all.
    folds, alphas, seed, categories, groups
        As for `encode`, by stimulus. The default penalties go down as far beside the smallest
        features as beside all where they would hide these.
    rows : array of shape (resamples, kept) or sequence of arrays, optional
        Numbers of the stimuli of each resample, from a function in `RESAMPLERS`; -1 is skipped.
        On each, window and alpha are chosen and the model is fitted anew from sums of products
        over its stimuli; components and penalties are those of all. Costs what the windows cost.
    missing : str
        What to do with responses that are not finite: ``"error"`` names the first electrode that
        has one; ``"mask"`` fits and scores every electrode on the samples that it has. One with
        fewer than 2 in a fold gets NaN (-1 where the result is an index).

    Returns
    -------
    dict of arrays
        ``r``, ``r2`` (v,): over stimuli and times. ``r_time`` (t, v): over stimuli at each time
        after the onset. ``best_window_r`` (layers, v): each layer with the window chosen in the
        training folds; ``layer_r`` (layers, windows, v); ``latency_r`` (layers, latencies, v):
        from the activations at one delay alone; ``layer``, ``window``, ``alpha`` (folds, v):
        choices; ``alpha_edge``; ``prediction`` (n, t, v); ``folds`` (n,); ``layer_names``;
        ``windows`` (windows, 2) and ``latencies`` (latencies,) in seconds.
        A constant electrode has NaN, a constant feature adds nothing. With `rows` also
        ``resample_r`` (layers, resamples, v), ``best_window_r`` on each resample.

    Raises
    ------
    TypeError
        If activations are integers or booleans.
    ValueError
        If an array has no time axis, shapes do not fit, the rate is not positive, there are no
        windows or components, a response is not finite, an activation is not although others of
        its time are, an alpha is not positive, a window is not causal or no shorter than the
        responses, there are fewer than 3 folds (or fewer stimuli than folds, or fewer of a
        category), or a resample lacks a fold.
    """
    named = check_layers(layers)
    if Y.ndim != 3:
        raise ValueError(
            f"Y has shape {tuple(Y.shape)} and no time axis: give (stimuli, times, neuroids)"
        )
    for name, X in named.items():
        same_rows(X, Y, names=(f"layer {name!r}", "Y"))
        if X.ndim != 3 or X.shape[1] != Y.shape[1]:
            raise ValueError(
                f"layer {name!r} has shape {tuple(X.shape)} but Y has {Y.shape[1]} times: resample "
                "it to (stimuli, times, features)"
            )
    fold = make_folds(len(Y), folds=folds, seed=seed, categories=categories, groups=groups)
    out = encode_continuous(
        {name: list(X) for name, X in named.items()},
        list(Y),
        rate=rate,
        windows=windows,
        components=components,
        folds=fold,
        centre="all",
        alphas=alphas,
        rows=rows,
        missing=missing,
    )
    prediction = torch.stack([as_tensor(part) for part in out["prediction"]])
    course = as_tensor(Y).to(prediction.device)
    r_time = torch.stack([pearson_there(prediction[:, i], course[:, i]) for i in range(Y.shape[1])])
    given = next(iter(named.values()))
    arrays = {"prediction": prediction, "r_time": r_time, "folds": torch.as_tensor(fold)}
    del out["split"], out["guard"], out["r_stimulus"]
    return out | {name: like(value, given, Y) for name, value in arrays.items()}
