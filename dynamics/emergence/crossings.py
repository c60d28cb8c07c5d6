"""Where a curve crosses a level between its steps: plain arrays, one curve at a time.

Between two steps s and t a curve is linear in log(1 + step), so that step 0 has a place.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

REACHED = "reached"
START = "from the start"
NOT_REACHED = "not reached"
NO_GAIN = "no gain"
STILL_RISING = "still rising"
ONE_STEP = "one step only"
MISSING = "missing"


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
        A curve; missing scores are left out.
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
