"""Where a curve crosses a level between its steps, and what is said where an end of it is missing.

Between two steps s and t a curve is linear in log(1 + step), so that step 0 has a place. A gain
counts from the untrained network (step 0, else its controls, else the first step there is) to the
last step at which any curve of the results has a score. No other step stands in for either: what
would need it is NaN, and a status says which end it was.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

REACHED = "reached"
START = "from the start"
NOT_REACHED = "not reached"
NO_GAIN = "no gain"
STILL_RISING = "still rising"
ONE_STEP = "one step only"
MISSING = "missing"
NO_LEVEL = "no untrained level"
NO_LAST = "no score at the last step"
NO_FIRST = "no score at the first step"
KNOWN = "known"
# What a status says of a curve of which it is unknown, not merely untrue, that it gets somewhere.
UNKNOWN = (MISSING, ONE_STEP, NO_LEVEL, NO_LAST)
# In words for reports, between the names of curve and layer.
WORDS = {
    MISSING: "has too few scores for a curve",
    ONE_STEP: "has a score at one step only, and so no curve,",
    NO_LEVEL: "has no score at the level from which gains count, and so no gain or half-time,",
    NO_LAST: "has no score at the last step, to which gains count, and so no gain or half-time,",
}
# What each level of a curve needs: a level from which it counts (the first step, or a baseline),
# the first step itself, the last, more than one.
NEEDS = {
    "gain": ("level", "last"),
    "area": ("level", "first", "last", "several"),
    "decline": ("last", "several"),
    "plateau": ("last",),
    "final": ("last",),
    "ceiling_fraction": ("last",),
}


class Goal(NamedTuple):
    """A level that is a weighted sum of a curve's own scores, plus a constant.

    Attributes
    ----------
    weights : array of shape (n_steps,)
        Weights of the scores.
    constant : float
        What is added.
    """

    weights: np.ndarray
    constant: float

    def of(self, scores: np.ndarray) -> float:
        """Level for these scores (n_steps,)."""
        return float(self.weights @ scores + self.constant)


def goal(
    steps: np.ndarray,
    scores: np.ndarray,
    *,
    fraction: float,
    level: float | None,
    reference: str,
    decades: float,
) -> tuple[Goal, float]:
    """Find the level at a fraction of the gain from baseline to reference, and that gain.

    Parameters
    ----------
    steps, scores : array of shape (n_steps,)
        A curve without missing values.
    fraction : float
        Which part of the gain.
    level : float or None
        Baseline; None for the first step.
    reference : str
        ``"final"``, ``"peak"`` or ``"plateau"``: the last step, the highest one, or the mean
        over the last `decades`.
    decades : float
        Width of the plateau's window in powers of ten of step.

    Returns
    -------
    goal : Goal
        The level.
    gain : float
        From baseline to reference.
    """
    weights = np.zeros(len(steps))
    if reference == "plateau":
        last = window(steps, decades)
        weights[last] = 1 / len(last)
    else:
        weights[-1 if reference == "final" else int(np.argmax(scores))] = 1
    base = np.zeros(len(steps))
    if level is None:
        base[0] = 1
    constant = 0.0 if level is None else float(level)
    gain = float(weights @ scores - base @ scores - constant)
    return Goal(fraction * weights + (1 - fraction) * base, (1 - fraction) * constant), gain


def window(steps: np.ndarray, decades: float) -> np.ndarray:
    """Places of the steps in the last `decades`, two at least."""
    found = np.flatnonzero(steps >= steps[-1] * 10.0**-decades)
    return found if len(found) > 1 else np.arange(max(0, len(steps) - 2), len(steps))


def first_crossing(steps: np.ndarray, scores: np.ndarray, height: float) -> float:
    """First step at which a curve reaches a height; NaN if it never does.

    Parameters
    ----------
    steps, scores : array of shape (n_steps,)
        A curve without missing values.
    height : float
        In the unit of the scores.

    Returns
    -------
    float
        Step, not rounded.
    """
    above = scores >= height
    if not above.any():
        return np.nan
    first = int(np.argmax(above))
    if first == 0:
        return float(steps[0])
    low, high = scores[first - 1], scores[first]
    near, far = np.log1p(steps[first - 1]), np.log1p(steps[first])
    return float(np.expm1(near + (height - low) / (high - low) * (far - near)))


def crossing(
    steps: np.ndarray,
    scores: np.ndarray,
    level: float = np.nan,
    *,
    fraction: float,
    reference: str = "final",
    decades: float = 1.0,
    sustained: bool = False,
) -> tuple[float, str]:
    """Step at which a curve has made a fraction of its gain, and in words what became of it.

    Parameters
    ----------
    steps, scores : array of shape (n_steps,)
        A curve; missing scores are left out, but no other step stands in for the first, from
        which a gain counts, or the last, to which it counts (but to a peak).
    level : float
        Baseline; NaN for the first step.
    fraction, reference, decades
        As in `goal`.
    sustained : bool
        Whether a crossing inside the window of the plateau counts as "still rising".

    Returns
    -------
    step : float
        NaN where there is none.
    status : str
        One of the constants of this module.
    """
    finite = np.isfinite(scores)
    steps, scores = steps[finite], scores[finite]
    if len(scores) < 2:
        return np.nan, ONE_STEP if len(scores) else MISSING
    if np.isnan(level) and not finite[0]:
        return np.nan, NO_LEVEL
    if reference != "peak" and not finite[-1]:
        return np.nan, NO_LAST
    own = None if np.isnan(level) else level
    height, gain = goal(
        steps, scores, fraction=fraction, level=own, reference=reference, decades=decades
    )
    if not gain > 0:
        return np.nan, NO_GAIN
    found = first_crossing(steps, scores, height.of(scores))
    if np.isnan(found):
        return np.nan, NOT_REACHED
    if sustained and found >= steps[window(steps, decades)[0]]:
        return np.nan, STILL_RISING
    return found, START if found == steps[0] else REACHED


def crossings(
    steps: np.ndarray, scores: np.ndarray, level: np.ndarray, **options: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Do what `crossing` does for many curves at once; those with gaps one by one.

    Parameters
    ----------
    steps : array of shape (n_steps,)
        Steps, ascending.
    scores : array of shape (..., n_steps)
        Curves.
    level : array of shape (...)
        Baselines; NaN for the first step.
    **options
        As in `crossing`.

    Returns
    -------
    step : array of shape (...)
        NaN where there is none.
    status : array of shape (...), of str
        As `crossing`.
    """
    shape = scores.shape[:-1]
    rows, level = scores.reshape(-1, len(steps)), np.broadcast_to(level, shape).ravel()
    found = np.full(len(rows), np.nan)
    status = np.full(len(rows), MISSING, dtype=object)
    whole = np.isfinite(rows).all(1) & (len(steps) > 1)
    for place in np.flatnonzero(~whole):
        found[place], status[place] = crossing(steps, rows[place], level[place], **options)
    if whole.any():
        found[whole], status[whole] = _whole(steps, rows[whole], level[whole], **options)
    return found.reshape(shape), status.reshape(shape)


def _whole(
    steps: np.ndarray,
    scores: np.ndarray,
    level: np.ndarray,
    *,
    fraction: float,
    reference: str = "final",
    decades: float = 1.0,
    sustained: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Crossings of curves (m, n_steps) without gaps."""
    last = window(steps, decades)
    if reference == "plateau":
        top = scores[:, last].mean(1)
    else:
        top = scores[:, -1] if reference == "final" else scores.max(1)
    base = np.where(np.isnan(level), scores[:, 0], level)
    height = fraction * top + (1 - fraction) * base
    above = scores >= height[:, None]
    first = above.argmax(1)
    rows, before = np.arange(len(scores)), np.maximum(first - 1, 0)
    low, high = scores[rows, before], scores[rows, first]
    x = np.log1p(steps.astype(float))
    with np.errstate(divide="ignore", invalid="ignore"):
        part = (height - low) / (high - low)
        found = np.expm1(x[before] + part * (x[first] - x[before]))
    found = np.where(first == 0, float(steps[0]), found)
    late = sustained & (found >= steps[last[0]])
    status = np.select(
        [~(top > base), ~above.any(1), late, found == steps[0]],
        [NO_GAIN, NOT_REACHED, STILL_RISING, START],
        REACHED,
    ).astype(object)
    return np.where((status == REACHED) | (status == START), found, np.nan), status


def status(
    curve: xr.DataArray,
    *,
    needs: tuple[str, ...] = ("level", "last"),
    baseline: xr.DataArray | float | None = None,
) -> xr.DataArray:
    """Say of curves whether the ends are there that a level of theirs needs.

    Parameters
    ----------
    curve : xarray.DataArray
        Scores with a dimension `step` in ascending order.
    needs : tuple of str
        An entry of `NEEDS`.
    baseline : xarray.DataArray or float, optional
        The level from which the curve counts; by default its first step.

    Returns
    -------
    xarray.DataArray
        Without the dimension `step`: "known", "missing", "one step only", "no untrained level",
        "no score at the first step", "no score at the last step".
    """
    # In NumPy, as this is asked of every statistic of every curve.
    bare, known = curve.reset_coords(drop=True), None
    if baseline is not None:
        known = xr.DataArray(baseline).notnull().reset_coords(drop=True)
        pair = xr.align(bare, known, join="exact", exclude=["step"])
        bare, known = xr.broadcast(*pair, exclude=["step"])
    one = bare.isel(step=0, drop=True)
    there = np.isfinite(bare.transpose("step", *one.dims).to_numpy())
    number, first, last = there.sum(0), there[0], there[-1]
    level = first if known is None else known.transpose(*one.dims).to_numpy()
    none = np.zeros(one.shape, bool)
    missing = {
        NO_LAST: ~last if "last" in needs else none,
        NO_FIRST: ~first if "first" in needs else none,
        NO_LEVEL: ~level if "level" in needs else none,
        ONE_STEP: number == 1
        if "several" in needs or ("level" in needs and baseline is None)
        else none,
    }
    found = np.full(one.shape, KNOWN, dtype=object)
    for text, lacking in {**missing, MISSING: number == 0}.items():
        found[lacking] = text
    return xr.DataArray(found.astype(str), one.coords, one.dims)
