"""The metric that predicts responses over time from activations over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dynamics import metrics
from dynamics.analysis import resampled
from dynamics.analysis.variables import Variables, first_halves, scheme_of
from dynamics.brains.targets import Target
from dynamics.metrics.missing import check_handling, mean_there
from dynamics.metrics.null import columns_null
from dynamics.metrics.timeresolved import WINDOWS

# Numbers of shuffled responses and of their predictions that are held at a time.
_ENTRIES = 2**25


def encode_timeresolved(
    layers: Mapping[str, np.ndarray],
    target: Target,
    *,
    windows: Sequence[Sequence[float]] = WINDOWS,
    components: int | None = 32,
    alphas: Sequence[float] | None = None,
    resamples: int = 10,
    missing: str = "error",
    halves: np.ndarray | None = None,
    orders: np.ndarray | None = None,
) -> Variables:
    """Predict responses over time through causal delays, layer and window chosen by stimulus.

    Parameters
    ----------
    layers : mapping of str to array of shape (n, t, p)
        Activations at the times of the responses.
    target : Target
        With responses over time.
    windows, components, alphas
        As for `dynamics.metrics.encode_timeresolved`.
    resamples : int
        How many of the sweep's halves of the stimuli to use, the first ones: an even number, as
        halves come in pairs. Each takes about half as long as the score, hence few by default:
        five pairs know the standard error of a score to about a third.
    missing : str
        As for `dynamics.analysis.encoding.ridge`. Samples are left out without being asked where
        a response begins after or ends before the others.
    halves, orders
        Resamples and shuffles.

    Returns
    -------
    Variables
        `score` (layer, neuroid): window chosen in the training folds; `best_score` (neuroid) with
        `best_layer` and `best_window` (split, neuroid); `window_score` (layer, window, neuroid);
        `time_score` (time, neuroid); `latency_score` (layer, latency, neuroid) and
        `best_latency` (layer, neuroid) in seconds; `temporal_score` (), of the mean over neuroids;
        `alpha_edge` ().

    Raises
    ------
    ValueError
        If the target has no time axis, and as for `dynamics.metrics.encode_timeresolved`.
    """
    if target.course is None or target.times is None:
        raise ValueError("encode_timeresolved needs responses over time: use a target with a "
                         "time axis")  # fmt: skip
    given: dict[str, Any] = {
        "rate": 1 / float(np.diff(target.times).mean()),
        "windows": tuple(map(tuple, windows)),
        "components": components,
        "folds": target.folds,
        "missing": "error" if missing == "error" and _lacks_stimuli(target.course) else "mask",
    }
    check_handling(missing)
    if alphas is not None:
        given["alphas"] = np.asarray(alphas, float)

    def fit(course: np.ndarray, rows: np.ndarray | None = None) -> dict[str, np.ndarray]:
        every = metrics.encode_timeresolved(dict(layers), Y=course, rows=rows, **given)
        return {name: np.asarray(value) for name, value in every.items()}

    found = fit(target.course, first_halves(halves, resamples))
    latency_r = found["latency_r"]
    mean = mean_there(latency_r, 2)
    several = len(found["latencies"]) > 1
    order = metrics.temporal_score(mean, found["latencies"]) if several else np.nan
    values: Variables = {
        "score": (("layer", "neuroid"), found["best_window_r"]),
        "best_score": (("neuroid",), found["r"]),
        "best_r2": (("neuroid",), found["r2"]),
        "best_layer": (("split", "neuroid"), found["layer"]),
        "best_window": (("split", "neuroid"), found["window"]),
        "window_score": (("layer", "window", "neuroid"), found["layer_r"]),
        "time_score": (("time", "neuroid"), found["r_time"]),
        "latency_score": (("layer", "latency", "neuroid"), latency_r),
        "best_latency": (("layer", "neuroid"), best_latency(latency_r, found["latencies"])),
        "temporal_score": ((), np.asarray(order)),
        "alpha_edge": ((), found["alpha_edge"]),
    }
    if "resample_r" in found:
        again = found["resample_r"]

        def refits(layer: int) -> dict[str, np.ndarray]:
            return {"score": again[layer]}

        every: resampled.Refit = refits
        if target.together is not None:
            scheme = scheme_of(correlation=True)
            every = resampled.with_squares(refits, values["score"][1], scheme, None)
        values |= resampled.of_layers(every, len(again), target.together)
    if orders is not None:
        n, t, _ = target.course.shape
        null = columns_null(
            lambda Y: fit(Y.numpy()),
            target.course,
            orders,
            ("best_window_r", "r"),
            axis=2,
            columns=_ENTRIES // (n * t),
        )
        by_layer = null["best_window_r"].numpy().swapaxes(0, 1)
        values["null_score"] = (("layer", "permutation", "neuroid"), by_layer)
        values["null_best_score"] = (("permutation", "neuroid"), null["r"].numpy())
    return values


def _lacks_stimuli(course: np.ndarray) -> bool:
    """Whether an electrode of (n, t, v) lacks a stimulus altogether, and not every one."""
    there = np.isfinite(course).any(1)
    return bool(not there[:, there.any(0)].all())


def coordinates(
    arguments: Mapping[str, Any], target: Target
) -> dict[str, tuple[str, npt.ArrayLike]]:
    """Return the times of a target, its delays in seconds, and the ends of the windows."""
    windows, times = arguments["windows"], target.times
    assert times is not None  # `methods.check_fit` has looked
    rate = 1 / float(np.diff(times).mean())
    samples = {d for a, b in windows for d in range(round(a * rate), round(b * rate) + 1)}
    return {
        "time": ("time", times),
        "latency": ("latency", np.array(sorted(samples)) / rate),
        "window_start": ("window", [start for start, _ in windows]),
        "window_end": ("window", [end for _, end in windows]),
    }


def best_latency(scores: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Latency (layer, neuroid) of the highest score (layer, latency, neuroid), NaN for none."""
    known = np.isfinite(scores).any(1)
    best = seconds[np.nan_to_num(scores, nan=-np.inf).argmax(1)]
    return np.where(known, best, np.nan)
