"""The metric that predicts responses to sounds of unequal length, sample by sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dynamics import metrics
from dynamics.analysis import resampled
from dynamics.analysis.hearing import courses_of, heard
from dynamics.analysis.over_time import best_latency
from dynamics.analysis.stories import lebel
from dynamics.analysis.stretches import setting
from dynamics.analysis.variables import Variables, first_halves, scheme_of
from dynamics.brains.targets import Target
from dynamics.metrics.ceilings import divisor
from dynamics.metrics.continuous import principal
from dynamics.metrics.missing import check_handling, mean_there
from dynamics.metrics.repeats import ceiling_over_time

# Numbers of responses that are fitted at a time.
_ENTRIES = 2**24
# Scores by stimulus that are kept of a layer at most.
_MOST_BY_STIMULUS = 50_000

_NEUROID_LAST = {
    "best_window_r": ("score", ("layer", "neuroid")),
    "r": ("best_score", ("neuroid",)),
    "r2": ("best_r2", ("neuroid",)),
    "layer": ("best_layer", ("split", "neuroid")),
    "window": ("best_window", ("split", "neuroid")),
    "layer_r": ("window_score", ("layer", "window", "neuroid")),
    "latency_r": ("latency_score", ("layer", "latency", "neuroid")),
    "layer_r_stimulus": ("stimulus_score", ("layer", "stimulus", "neuroid")),
    "layer_r_shared": ("shared_score", ("layer", "neuroid")),
}


def encode_continuous(
    layers: Mapping[str, np.ndarray],
    target: Target,
    *,
    protocol: str = "default",
    windows: Sequence[Sequence[float]] | None = None,
    unit: str = "seconds",
    components: int | None = 32,
    alphas: Sequence[float] | None = None,
    block: float | None = None,
    guard: float | None = None,
    trim: Sequence[float] = (0.0, 0.0),
    centre: str = "stimulus",
    hrf: str = "none",
    resampling: str = "box",
    test: Sequence[str] | None = None,
    resamples: int = 10,
    refits: str = "kept",
    missing: str = "error",
    seed: int = 0,
    halves: np.ndarray | None = None,
    orders: np.ndarray | None = None,
) -> Variables:
    """Predict responses to sounds of unequal length, over time, through causal delays.

    Parameters
    ----------
    layers : mapping of str to array of shape (n, t, p)
        Activations at the times `target.frames`, NaN past the end of a sound.
    target : Target
        With responses over time.
    protocol : str
        ``"default"``, or ``"lebel"`` (LeBel et al. 2023), see `dynamics.metrics.lebel_ridge`.
    windows : list of [shortest, longest], optional
        Windows of delays; by default 0, 0 to .1, .2 and .4 s, or where samples are half a second
        apart or more 1 to 4 samples, or none with `hrf`.
    unit : str
        Of the windows: ``"seconds"`` or ``"samples"`` (volumes of fMRI).
    components, alphas, block, guard, trim
        As for `dynamics.metrics.encode_continuous`; folds are those of the sweep.
    centre : str
        ``"stimulus"``: responses are centred within each stimulus; ``"scale"``: they also get a
        deviation of 1 there; ``"all"``: centred over all samples.
    hrf : str
        ``"none"``, or ``"canonical"``: activations less their mean are convolved with the canonical
        haemodynamic response.
    resampling : str
        How activations come to the times of responses: ``"box"`` averages over a sample's interval,
        ``"lanczos"`` filters with three lobes.
    test : list of str, optional
        Stimuli that *lebel* tests; by default those with most repetitions.
    resamples : int
        How many of the halves to use, the first ones: an even number, as halves come in pairs.
    refits : str
        ``"kept"``: models of halves have the window and alpha that each fold has on all samples;
        ``"anew"``: these are chosen in each half, which takes many times as long.
    missing : str
        As for `dynamics.analysis.encoding.ridge`. Samples are left out without being asked.
    seed : int
        Of the blocks' folds, and of the draws of *lebel*.
    halves, orders
        Resamples and shuffles, see `dynamics.analysis.metric.Units`.

    Returns
    -------
    Variables
        Those of `dynamics.analysis.over_time.encode_timeresolved` but `time_score`; with
        `stimulus_score` (layer, stimulus, neuroid), `shared_score` and `r2` (layer, neuroid), and
        `r2_corrected` where there are repetitions.

    Raises
    ------
    ValueError
        If the target has no time axis, an argument is none that there is, folds cannot be made, and
        as for `dynamics.metrics.encode_continuous`.
    """
    check_handling(missing)
    if protocol == "lebel":
        return lebel(layers, target, test=test, alphas=alphas, seed=seed, orders=orders)
    if protocol != "default":
        raise ValueError(f"there is no protocol {protocol!r}: use 'default' or 'lebel'")
    if centre not in ("stimulus", "scale", "all"):
        raise ValueError(
            f"responses cannot be centred over {centre!r}: use 'stimulus', 'scale' or 'all'"
        )
    found = setting(
        {"windows": windows, "unit": unit, "hrf": hrf, "block": block, "guard": guard,
         "seed": seed}, target,
    )  # fmt: skip
    lead, X = 0, {}
    for name, layer in layers.items():  # no more than one at a time in double precision
        lead, one = heard({name: layer}, target, found.longest, hrf=hrf, resampling=resampling)
        X[name] = principal([torch.as_tensor(x) for x in one[name]], components, name)
    Y = responses_of(target, scale=centre == "scale")
    given: dict[str, Any] = {
        "rate": target.rate,
        "lead": lead,
        "windows": found.windows,
        "components": components,
        "reduced": True,
        "trim": tuple(trim),
        "centre": "all" if centre == "all" else "stimulus",
        "missing": "error" if missing == "error" and lacks_stimuli(target) else "mask",
        "split": found.split,
    }
    if alphas is not None:
        given["alphas"] = np.asarray(alphas, float)
    rows = first_halves(halves, resamples)
    fitted = _in_blocks(X, Y, given | {"rows": rows, "refits": refits, "courses": True})
    values = _values(fitted, target)
    if rows is not None:
        values |= _again(fitted["resample_r"], values, target)
    if orders is not None:
        values |= _null(X, Y, given, orders)
    return values


def _in_blocks(
    X: Mapping[str, list[torch.Tensor]], Y: list[np.ndarray], given: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Fit neuroids, no more at a time than fit into memory; arrays with neuroids last."""
    v, n = Y[0].shape[1], sum(map(len, Y))
    width = max(_ENTRIES // n, 1)
    parts: list[dict[str, Any]] = []
    for first in range(0, v, width):
        some = [y[:, first : first + width] for y in Y]
        fitted = metrics.encode_continuous(dict(X), some, **given)
        parts.append({name: np.asarray(each) for name, each in fitted.items()
                      if name not in ("prediction", "split", "layer_names")})  # fmt: skip
    alike = ("windows", "latencies", "guard")
    out = {name: parts[0][name] for name in alike}
    sizes = [part["r"].shape[-1] for part in parts]
    edges = np.array([part["alpha_edge"] for part in parts])
    out["alpha_edge"] = np.asarray(np.average(edges, weights=sizes))
    for name in set(parts[0]) - {*alike, "alpha_edge"}:
        out[name] = np.concatenate([part[name] for part in parts], -1)
    return out


def _values(fitted: Mapping[str, np.ndarray], target: Target) -> Variables:
    """Name what was fitted."""
    values: Variables = {
        name: (axes, fitted[key]) for key, (name, axes) in _NEUROID_LAST.items() if key in fitted
    }
    if np.prod(fitted["layer_r_stimulus"].shape[1:]) > _MOST_BY_STIMULUS:
        del values["stimulus_score"]
    score, latencies = fitted["best_window_r"], fitted["latencies"]
    values["r2"] = (("layer", "neuroid"), np.clip(score, 0, None) ** 2)
    reliability = reliability_of(target)
    if reliability is not None:
        corrected = values["r2"][1] / divisor(reliability)
        values["r2_corrected"] = (("layer", "neuroid"), corrected)
    latency_r = fitted["latency_r"]
    several = len(latencies) > 1
    mean = mean_there(latency_r, 2)
    order = metrics.temporal_score(mean, latencies) if several else np.nan
    values["best_latency"] = (("layer", "neuroid"), best_latency(latency_r, latencies))
    values["temporal_score"] = ((), np.asarray(order))
    values["alpha_edge"] = ((), fitted["alpha_edge"])
    return values


def reliability_of(target: Target) -> np.ndarray | None:
    """Return CC_max^2 of every neuroid (v,), NaN where there is no signal; None if not repeated."""
    if target.repeated is None:
        return None
    return np.asarray(ceiling_over_time(courses_of(target))) ** 2


def _again(resample_r: np.ndarray, values: Variables, target: Target) -> Variables:
    """Name scores (layers, resamples, v) on halves."""

    def refits(layer: int) -> dict[str, np.ndarray]:
        return {"score": resample_r[layer]}

    every: resampled.Refit = refits
    if target.together is not None:
        scheme, reliability = scheme_of(correlation=True), reliability_of(target)
        every = resampled.with_squares(refits, values["score"][1], scheme, reliability)
    return resampled.of_layers(every, len(resample_r), target.together)


def _null(
    X: Mapping[str, list[torch.Tensor]],
    Y: list[np.ndarray],
    given: Mapping[str, Any],
    orders: np.ndarray,
) -> Variables:
    """Scores of responses that are moved around in their stimuli, several shuffles side by side."""
    n, v = sum(map(len, Y)), Y[0].shape[1]
    many = max(_ENTRIES // (n * v), 1)
    ends = [round(seconds * given["rate"]) for seconds in given["trim"]]
    scores, best = [], []
    for first in range(0, len(orders), many):
        some = orders[first : first + many]
        moved = list(shuffled(Y, some, ends))
        fitted = _in_blocks(X, moved, given)
        scores.append(fitted["best_window_r"].reshape(len(X), len(some), v))
        best.append(fitted["r"].reshape(len(some), v))
    return {
        "null_score": (("layer", "permutation", "neuroid"), np.concatenate(scores, 1)),
        "null_best_score": (("permutation", "neuroid"), np.concatenate(best)),
    }


def shuffled(
    Y: Sequence[np.ndarray], orders: np.ndarray, ends: Sequence[int]
) -> Iterator[np.ndarray]:
    """Give each stimulus the response of another, or its own moved around, all shuffles in turn.

    Parameters
    ----------
    Y : sequence of array of shape (t_s, v)
        Responses, NaN where there is none, which stay where they are: the others move among
        themselves.
    orders : array of shape (shuffles, stimuli, 2)
        Whose response, and by how many samples it is moved.
    ends : (int, int)
        Samples at both ends that stay.

    Yields
    ------
    array of shape (t_s, shuffles * v)
        For each stimulus. A response that is too short for it begins again.
    """
    first, last = ends
    for s, y in enumerate(Y):
        inside = slice(first, len(y) - last)
        moved = np.tile(y, (len(orders), 1, 1))
        for each, (source, by) in zip(moved, orders[:, s]):
            whole = Y[source][first : len(Y[source]) - last]
            if np.isfinite(whole).all() and np.isfinite(y[inside]).all():
                each[inside] = np.take(whole, np.arange(len(y[inside])) - by, 0, mode="wrap")
                continue
            for column in range(y.shape[1]):
                rows = first + np.flatnonzero(np.isfinite(y[inside, column]))
                known = whole[np.isfinite(whole[:, column]), column]
                if len(known):
                    each[rows, column] = np.take(known, np.arange(len(rows)) - by, mode="wrap")
        yield moved.transpose(1, 0, 2).reshape(len(y), -1)


def responses_of(target: Target, *, scale: bool = False) -> list[np.ndarray]:
    """Return responses (t_s, v) to each stimulus, with a deviation of 1 in each if asked to."""
    assert target.course is not None  # `setting` has looked
    every = [course[:t] for course, t in zip(target.course, target.lengths)]
    if not scale:
        return every
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = [np.sqrt(mean_there((y - mean_there(y, 0)) ** 2, 0)) for y in every]
    return [np.where(s > 0, y / np.where(s > 0, s, 1.0), y) for y, s in zip(every, spread)]


def lacks_stimuli(target: Target) -> bool:
    """Whether a neuroid lacks a stimulus altogether, and not every one."""
    assert target.course is not None
    there = np.isfinite(target.course).any(1)
    return bool(not there[:, there.any(0)].all())


def coordinates(
    arguments: Mapping[str, Any], target: Target
) -> dict[str, tuple[str, npt.ArrayLike]]:
    """Return folds, delays in seconds, and the ends of the windows."""
    if arguments.get("protocol") == "lebel":
        return {"split": ("split", [0])}
    names = target.stimulus_names
    found = setting(arguments, target)
    rate = target.rate
    delays = sorted(
        {d for a, b in found.windows for d in range(round(a * rate), round(b * rate) + 1)}
    )
    folds = int(np.concatenate(found.split.folds).max()) + 1
    return {
        "split": ("split", np.arange(folds)),
        "stimulus": ("stimulus", names),
        "latency": ("latency", np.array(delays) / rate),
        "window_start": ("window", [start for start, _ in found.windows]),
        "window_end": ("window", [end for _, end in found.windows]),
    }
