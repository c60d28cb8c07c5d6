"""Stories in fMRI as LeBel et al. 2023 predicted them, in a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dynamics import metrics
from dynamics.analysis.hearing import at_samples, frames_of, sample_times
from dynamics.analysis.variables import Variables
from dynamics.brains.targets import Target
from dynamics.metrics.lebel import DELAYS, TRIM

# Volumes of a block of predictions that is drawn with replacement for the null.
_BLOCK = 10


def lebel(
    layers: Mapping[str, np.ndarray],
    target: Target,
    *,
    test: Sequence[str] | None = None,
    alphas: Sequence[float] | None = None,
    seed: int = 0,
    orders: np.ndarray | None = None,
) -> Variables:
    """Predict a story that was heard several times from models of the others.

    Where stories have fewer than 125 chunks of 40 volumes to be held out at a time, as in the
    study, a fifth of their chunks is.

    Parameters
    ----------
    layers, target, test, alphas, seed
        As for `dynamics.analysis.continuous.encode_continuous`. The first 10 and last 5 volumes of
        each story are left out, unless responses begin no earlier than 10 volumes after the onset,
        from which they have been cut.
    orders : array, optional
        As many shuffles as these are drawn: blocks of 10 volumes of the predictions, with
        replacement.

    Returns
    -------
    Variables
        `score`, `r2`, `alpha` (layer, neuroid), and maybe `null_score`.

    Raises
    ------
    ValueError
        As for `dynamics.metrics.lebel_ridge`; if no story is repeated and none is named, or
        responses are missing.
    """
    held = tested(target, test)
    cut = cut_already(target)
    first, last = (0, 0) if cut else TRIM
    assert target.course is not None
    Y = [y[first : t - last] for y, t in zip(target.course, target.lengths)]
    if short := [t for t in target.lengths if t <= first + last + max(DELAYS)]:
        raise ValueError(
            f"a story has {min(short)} volumes, of which the first {TRIM[0]} and last {TRIM[1]} "
            "are left out: leave the story out"
        )
    if any(not np.isfinite(y).all() for y in Y):
        raise ValueError(
            "responses are missing, which the lebel protocol does not take: leave these neuroids "
            "or stories out, or use the default protocol"
        )
    given: dict[str, Any] = {"test": held, "seed": seed}
    volumes = sum(len(y) for s, y in enumerate(Y) if s not in held)
    if volumes // 40 <= 125:  # the study has 9,000 volumes and more
        given["chunks"] = max(volumes // 40 // 5, 1)
    if alphas is not None:
        given["alphas"] = np.asarray(alphas, float)
    start, frames = -TRIM[0] if cut else 0, frames_of(target)
    found = []
    for layer in layers.values():
        X = [
            at_samples(
                x, frames, sample_times(target, len(y) + sum(TRIM), start), "lanczos", unit=False
            )
            for x, y in zip(layer, Y)
        ]
        found.append(metrics.lebel_ridge(X, Y, **given))
    axes = ("layer", "neuroid")
    score = np.stack([np.asarray(each["r"]) for each in found])
    values: Variables = {
        "score": (axes, score),
        "r2": (axes, np.clip(score, 0, None) ** 2),
        "alpha": (axes, np.stack([np.asarray(each["alpha"]) for each in found])),
    }
    if orders is not None:
        truth = np.concatenate([_scored(Y[s]) for s in held])
        null = [_blocks(np.asarray(each["prediction"]), truth, len(orders), seed) for each in found]
        values["null_score"] = (("layer", "permutation", "neuroid"), np.stack(null))
    return values


def tested(target: Target, test: Sequence[str] | None) -> list[int]:
    """Find the numbers of the stories that test: those named, or heard most often."""
    names = target.stimulus_names
    if test is not None:
        wanted = [test] if isinstance(test, str) else list(test)
        if lacking := [name for name in wanted if name not in names]:
            raise ValueError(
                f"there is no story {lacking[0]!r} to test: there are {', '.join(names[:5])}"
                + (" ..." if len(names) > 5 else "")
            )
        return [names.index(name) for name in wanted]
    if target.repeated is None:
        raise ValueError(
            "no story was heard several times, as the lebel protocol wants for its test: name one "
            "with the argument `test`"
        )
    times = np.isfinite(target.repeated).any((1, 2)).sum(1)
    return np.flatnonzero(times == times.max()).tolist()


def cut_already(target: Target) -> bool:
    """Whether responses begin no earlier than 10 volumes after the onset."""
    assert target.times is not None
    return bool(target.times[0] * target.rate >= TRIM[0] - 0.5)


def _scored(y: np.ndarray) -> np.ndarray:
    return (y - y.mean(0)) / y.std(0).clip(min=1e-300)


def _blocks(prediction: np.ndarray, truth: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Correlate truth (t, v) with blocks of the prediction drawn with replacement, (draws, v)."""
    rng, t = np.random.default_rng(seed), len(truth)
    starts = np.arange(0, t - _BLOCK + 1, _BLOCK)
    out = np.empty((draws, truth.shape[1]))
    for draw in range(draws):
        drawn = rng.choice(starts, -(-t // _BLOCK))
        rows = (drawn[:, None] + np.arange(_BLOCK)).ravel()[:t]
        out[draw] = (_scored(prediction[rows]) * truth).mean(0)
    return np.nan_to_num(out)
