"""Encoding of responses to sounds of unequal length, sample by sample: ECoG, MEG, EEG and fMRI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from dynamics.metrics.blocks import Split, make_split, time_apart
from dynamics.metrics.correlation import pearson_there
from dynamics.metrics.delays import samples
from dynamics.metrics.kernels import Array, activations, as_tensor, like, responses
from dynamics.metrics.missing import check_handling
from dynamics.metrics.plans import Plan
from dynamics.metrics.validation import takes
from dynamics.metrics.window_refits import REFITS
from dynamics.metrics.window_search import search

WINDOWS = ((0.0, 0.0), (0.0, 0.1), (0.0, 0.2), (0.0, 0.4))

LEAST_GUARD = 2.0
"""Seconds that are kept between training and test at least, beyond the longest delay."""


@takes(layers="layers of courses", Y="courses")
def encode_continuous(
    layers: Mapping[str, Sequence[Array]],
    Y: Sequence[Array],
    *,
    rate: float,
    lead: int = 0,
    windows: Sequence[tuple[float, float]] = WINDOWS,
    components: int | None = 32,
    folds: int | Array | None = None,
    block: float | None = None,
    guard: float | None = None,
    trim: tuple[float, float] = (0.0, 0.0),
    centre: str = "stimulus",
    alphas: Array | None = None,
    seed: int = 0,
    categories: Sequence | None = None,
    groups: Sequence | None = None,
    rows: Array | Sequence[Array] | None = None,
    missing: str = "error",
    split: Split | None = None,
    courses: bool = False,
    refits: str = "anew",
    reduced: bool = False,
) -> dict[str, Any]:
    """Predict responses over time from activations over time through causal delays.

    A finite impulse response: the response at time t is predicted from the activations at t - d
    for all delays d of a window, which never reach into another stimulus. Outer folds are made of
    stimuli, or, where there are fewer stimuli than folds, of blocks of time with a guard between
    training and test, never of single samples, whose neighbours share their noise. For each
    neuroid and outer fold the layer, the window of delays and alpha are chosen together on the same
    kind of split inside the training folds, by the correlation of pooled out-of-fold predictions
    (Li et al. 2023, Nat Neurosci 26:2213, 10.1038/s41593-023-01468-4). The work is done on sums of
    products of (components x delays) features over each fold, so it grows with the cube of these
    and hardly with stimuli, times and neuroids.

    Parameters
    ----------
    layers : mapping of str to sequence of array of shape (lead + t_s, p)
        For each layer the activations to each stimulus at the times of its responses, and at `lead`
        times before these; see `resample_time`. NaN in all features of a time means that there is
        no sound: the layer's mean activation stands in.
    Y : sequence of array of shape (t_s, v)
        Responses to each stimulus.
    rate : float
        Samples a second of both.
    lead : int
        By how many samples the activations begin before the responses.
    windows : sequence of (shortest, longest)
        Causal delays in seconds, 0 <= shortest <= longest; a delay at every sample between.
    components : int, optional
        Principal components kept of each layer, found without looking at responses; None for all.
    folds : int or array of shape (stimuli,), optional
        Number of folds (5), or the fold of each stimulus.
    block : float, optional
        Seconds of a block, to split by blocks; by default stimuli are whole where there are enough
        of them, and blocks have 30 s (at least 20 samples) where there are not.
    guard : float, optional
        Seconds beyond the longest delay that training keeps away from a test block; by default
        until the responses' autocorrelation is below .1, and at least 2 s.
    trim : (float, float)
        Seconds at the beginning and the end of each stimulus's responses that are left out.
    centre : str
        ``"stimulus"``: responses are centred within each stimulus, so that a difference between
        stimuli in their mean is neither fitted nor scored; ``"all"``: over all samples.
    alphas, seed, categories, groups
        As for `encode`, by stimulus. The default penalties go down as far beside the smallest
        features as beside all where they would hide these.
    rows : array of shape (resamples, kept) or sequence of arrays, optional
        Numbers of the stimuli (of the blocks, where these are split) of each resample; -1 is
        skipped. On each, window and alpha are chosen and the model is fitted anew; components and
        penalties are those of all. See `refits`.
    missing : str
        What to do with responses that are not finite: ``"error"`` names the first neuroid that
        has one; ``"mask"`` fits and scores every neuroid on the samples that it has. One with
        fewer than 2 in a fold gets NaN (-1 where the result is an index).
    split : Split, optional
        One that is made already (`dynamics.metrics.blocks`), in the place of `folds`, `block`,
        `guard`, `seed`, `categories` and `groups`.
    courses : bool
        Also score the predictions of each layer stimulus by stimulus, and beyond what stimuli
        share; takes another pass over the samples for each layer and window.
    refits : str
        ``"anew"``; or ``"kept"``: on each resample models are fitted with the window and alpha that
        each fold and neuroid has on all samples, which were chosen without that fold. The best
        alpha, noise over the variance of weights, does not depend on how many samples there are.
        Where delays are many it takes a fraction of the time.
    reduced : bool
        Whether layers are what `principal` gives, for responses that are fitted part by part.

    Returns
    -------
    dict
        ``r``, ``r2`` (v,): over all samples. ``r_stimulus`` (stimuli, v): within each stimulus.
        ``best_window_r`` (layers, v): each layer with the window chosen in the training folds;
        ``layer_r`` (layers, windows, v); ``latency_r`` (layers, latencies, v): from the activations
        at one delay alone; ``layer``, ``window``, ``alpha`` (folds, v): choices; ``alpha_edge``;
        ``prediction``: arrays (t_s, v); ``split``: a `Split`; ``guard`` in seconds, NaN where
        stimuli are whole; ``layer_names``; ``windows`` (windows, 2) and ``latencies`` (latencies,)
        in seconds. A constant neuroid has NaN, a constant feature adds nothing. With `rows` also
        ``resample_r`` (layers, resamples, v), ``best_window_r`` on each resample. With `courses`
        also ``layer_r_stimulus`` (layers, stimuli, v) and ``layer_r_shared`` (layers, v): r after
        the mean over stimuli at each time, of responses and of predictions, is removed; NaN where
        no time has two stimuli.

    Raises
    ------
    TypeError
        If activations are integers or booleans.
    ValueError
        If shapes do not fit, the rate is not positive, there are no windows or components, a
        response is not finite, an activation is not although others of its time are, an alpha is
        not positive, a window is not causal or no shorter than the longest responses, folds cannot
        be made (or fewer than 3), a resample lacks a fold, or `refits` is none that there is.
    """
    _check(rate, windows, components, centre, missing)
    if refits not in REFITS:
        raise ValueError(f"there are no refits {refits!r}: use {' or '.join(REFITS)}")
    lengths = [len(y) for y in Y]
    spans = [samples(window, rate, max(lengths)) for window in windows]
    kept = _trimmed(lengths, trim, rate)
    target = torch.cat([as_tensor(y) for y in Y])
    if missing != "mask":
        responses(target[kept])
    if split is None and guard is None:
        whole = [np.asarray(as_tensor(y).cpu()) for y in Y]
        guard = max(LEAST_GUARD, time_apart(whole, rate))
    split = split or make_split(
        lengths,
        rate=rate,
        longest=max(span[-1] for span in spans) / rate,
        folds=folds,
        block=block,
        guard=guard or 0.0,
        seed=seed,
        categories=categories,
        groups=groups,
    )
    plan = Plan.of(split, kept, target.device)
    if plan.layout.folds < 3:
        raise ValueError("nested cross-validation needs at least 3 folds: give more folds")
    plan.check_training()
    again = plan.resampled([] if rows is None else [np.asarray(each) for each in rows])
    leading = {name: _checked(parts, lengths, lead, name) for name, parts in layers.items()}
    if not reduced:
        leading = {name: principal(parts, components, name) for name, parts in leading.items()}
    delays = sorted({d for span in spans for d in span})
    out = search(
        leading, target, plan, again, (spans, delays, alphas), lead, centre, courses, refits
    )
    out["windows"] = torch.as_tensor(np.array(windows, float))
    out["latencies"] = torch.as_tensor(np.array(delays) / rate)
    apart = any(near.any() for near in split.near)
    return _told(out, target, lengths, next(iter(layers.values()))[0], Y[0]) | {
        "split": split,
        "guard": float(guard) if apart and guard is not None else np.nan,
        "layer_names": np.array(list(layers)),
    }


def _told(
    out: dict[str, torch.Tensor], target: torch.Tensor, lengths: list[int], *given: Array
) -> dict[str, Any]:
    """Return results as arrays of the kind given, predictions and r for each stimulus."""
    predictions = out.pop("prediction").split(lengths)
    out["r_stimulus"] = torch.stack(
        [pearson_there(a, b) for a, b in zip(predictions, target.split(lengths))]
    )
    arrays: dict[str, Any] = {name: like(value, *given) for name, value in out.items()}
    return arrays | {"prediction": [like(part, *given) for part in predictions]}


def _check(
    rate: float, windows: Sequence, components: int | None, centre: str, missing: str
) -> None:
    if rate <= 0 or (components is not None and components < 1) or len(windows) == 0:
        raise ValueError(
            f"rate is {rate}, components {components}, and there are {len(windows)} windows: give "
            "a positive rate, at least 1 component and at least 1 window"
        )
    if centre not in ("stimulus", "all"):
        raise ValueError(f"responses cannot be centred over {centre!r}: use 'stimulus' or 'all'")
    check_handling(missing)


def _trimmed(lengths: Sequence[int], trim: tuple[float, float], rate: float) -> torch.Tensor:
    """Which samples (all stimuli after another) are kept."""
    first, last = (round(seconds * rate) for seconds in trim)
    if first < 0 or last < 0 or first + last >= min(lengths):
        raise ValueError(
            f"trim {tuple(trim)} leaves nothing of a response of {min(lengths) / rate:g} s: leave "
            "out less at each end"
        )
    at = [torch.arange(t) for t in lengths]
    return torch.cat([(a >= first) & (a < len(a) - last) for a in at])


def _checked(
    parts: Sequence[Array], lengths: Sequence[int], lead: int, name: str
) -> list[torch.Tensor]:
    if len(parts) != len(lengths):
        raise ValueError(
            f"layer {name!r} has {len(parts)} stimuli but Y has {len(lengths)}: give the same"
        )
    for number, (part, t) in enumerate(zip(parts, lengths)):
        if part.ndim != 2 or len(part) != lead + t:
            raise ValueError(
                f"layer {name!r} has shape {tuple(part.shape)} at stimulus {number} but Y has {t} "
                f"times there, after {lead} of lead: resample it to (times, features)"
            )
    return [as_tensor(part) for part in parts]


def principal(parts: list[torch.Tensor], components: int | None, name: str) -> list[torch.Tensor]:
    """Leading principal components over stimuli and times, centred; 0 where there is no sound.

    Parameters
    ----------
    parts : list of tensor of shape (t_s, p)
        Activations to each stimulus, NaN in all features where there is no sound.
    components : int, optional
        How many to keep.
    name : str
        What to call the layer in an error.

    Returns
    -------
    list of tensor of shape (t_s, kept)
        Double.
    """
    flat = torch.cat(parts)
    there = ~torch.isnan(flat).all(1)
    broken = there & ~torch.isfinite(flat).all(1)
    if broken.any() or not there.any():
        row = int((broken if broken.any() else ~there).nonzero()[0])
        ends = np.cumsum([len(part) for part in parts])
        stimulus = int(np.searchsorted(ends, row, side="right"))
        time = row - int(ends[stimulus] - len(parts[stimulus]))
        raise ValueError(
            f"{name} has values that are not finite, the first at stimulus {stimulus}, time "
            f"{time}: leave out the stimulus, or give NaN in all features where there is no sound"
        )
    heard = activations(flat[there], name=name)
    heard = heard - heard.mean(0)
    if components is not None and components < heard.shape[1]:
        _, V = torch.linalg.eigh(heard.T @ heard)
        heard = heard @ V[:, -components:].flip(1)
    elif heard.shape[1] > len(heard):
        # Ridge regression sees no more directions than there are rows.
        U, s, _ = torch.linalg.svd(heard, full_matrices=False)
        heard = U * s
    out = heard.new_zeros(len(flat), heard.shape[1])
    out[there] = heard
    return list(out.split([len(part) for part in parts]))
