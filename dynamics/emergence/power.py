"""Which gain and which difference of half-times a target could show, before anything is run.

Closed forms from few numbers. The error of a correlation r over n stimuli is (1 - r^2) / sqrt(n)
(Fisher), times what refitting adds. Two neuroids whose responses correlate by c have errors that
correlate by c^2, as both their responses and what is predicted of them do, so v neuroids count as
v^2 / sum(c^2). Errors of two steps of one curve share what the same stimuli do to both. A half-time
lies where the curve crosses half of its gain: its error is that of the contrast there, score less
the mean of first and last score, over the slope.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy import stats

REFITTED = 1.4
"""What refitting adds to the error of a correlation of cross-validated ridge regression.

In simulations of 60 and 165 stimuli, 1 to 60 neuroids, 2 and 6 dimensions and scores of 0 to .6 it
was 1.0 to 1.7, 1.4 in the middle.
"""


class Design(NamedTuple):
    """What is known or supposed before a sweep.

    Attributes
    ----------
    stimuli : int
        How many there are.
    neuroids : float
        How many independent ones they count as, see `independent`.
    score : float
        Correlation at the end of training.
    untrained : float
        The same of the untrained network.
    decades : float
        Decades of steps from a tenth to nine tenths of the gain.
    halves : int
        Halves of the stimuli, `resamples` of the sweep.
    alike : float
        Correlation of the errors of two steps of a curve.
    """

    stimuli: int
    neuroids: float
    score: float
    untrained: float
    decades: float = 2.0
    halves: int = 50
    alike: float = 0.5


class Seen(NamedTuple):
    """What could be seen.

    Attributes
    ----------
    error : float
        Standard error of the mean score at the end.
    gain : float
        The smallest gain.
    half_time : float
        Standard error of a half-time in decades; infinite where the gain is too small to be seen.
    ratio : float
        The smallest ratio of two half-times.
    """

    error: float
    gain: float
    half_time: float
    ratio: float


def independent(response: np.ndarray) -> float:
    """Return as how many independent neuroids some count.

    Parameters
    ----------
    response : array of shape (n_stimuli, n_neuroids)
        Responses; a neuroid is left out where it does not vary.

    Returns
    -------
    float
        v^2 over the sum of their squared correlations, less what chance adds to these.
    """
    known = np.asarray(response, float)
    known = known[np.isfinite(known).all(1)]
    known = known[:, known.std(0) > 0]
    n, number = known.shape
    if number < 2:
        return float(number)
    standard = (known - known.mean(0)) / known.std(0)
    # The sum of squared entries of v x v correlations is that of n x n products.
    squares = float(((standard @ standard.T / n) ** 2).sum()) if number > n else float(
        ((standard.T @ standard / n) ** 2).sum()
    )  # fmt: skip
    by_chance = number * (number - 1) / max(n - 1, 1)
    return number**2 / max(squares - by_chance, number)


def size_of(response: xr.DataArray) -> dict[str, float]:
    """Count what responses are of.

    Parameters
    ----------
    response : xarray.DataArray
        With dimensions `stimulus` and `neuroid`, averaged over any others.

    Returns
    -------
    dict
        `stimuli` with a response, `neuroids`, and as how many `independent` ones these count.
    """
    others = [dim for dim in response.dims if dim not in ("stimulus", "neuroid")]
    mean = response.mean(others).transpose("stimulus", "neuroid").to_numpy()
    return {
        "stimuli": int(np.isfinite(mean).any(1).sum()),
        "neuroids": int(mean.shape[1]),
        "independent": independent(mean),
    }


def visible(design: Design, *, power: float = 0.8, confidence: float = 0.95) -> Seen:
    """Return which gain and which ratio of half-times would be seen with some probability.

    Parameters
    ----------
    design : Design
        What is known or supposed.
    power : float
        With what probability.
    confidence : float
        Of the limits that shall not hold zero, or the ratio one.

    Returns
    -------
    Seen
        Over other stimuli of the same kind, in these people, of these networks only.

    Raises
    ------
    ValueError
        If a number of the design is out of its range.
    """
    if design.stimuli < 8 or design.halves < 2 or design.neuroids <= 0 or design.decades <= 0:
        raise ValueError(
            f"power takes 8 stimuli, 2 halves, some neuroids and decades at least, found {design}"
        )
    if not (-1 < design.untrained < 1 and -1 < design.score < 1 and 0 <= design.alike < 1):
        raise ValueError(f"scores are correlations below 1, found {design}")
    if not (0.5 <= power < 1 and 0.5 < confidence < 1):
        raise ValueError(f"power is from 0.5 to 1 and confidence above 0.5, found {power}")
    freedom = design.halves // 2
    reach = stats.t.ppf((1 + confidence) / 2, freedom) + stats.t.ppf(power, freedom)
    last, first = (
        REFITTED * (1 - r**2) / np.sqrt(design.stimuli * design.neuroids)
        for r in (design.score, design.untrained)
    )
    apart = 1 - design.alike
    # Two steps whose errors differ: what is common to both is their product.
    gain = reach * np.sqrt(last**2 + first**2 - 2 * design.alike * last * first)
    rise = design.score - design.untrained
    if rise < gain:
        return Seen(float(last), float(gain), np.inf, np.inf)
    middle = REFITTED * (1 - ((design.score + design.untrained) / 2) ** 2)
    middle /= np.sqrt(design.stimuli * design.neuroids)
    # Score less the mean of first and last, with equal correlations of all three.
    contrast = np.sqrt(apart * (middle**2 + (last**2 + first**2) / 4))
    slope = np.log(81) / 4 * rise / design.decades
    half_time = float(contrast / slope)
    # What the same stimuli do to two curves beyond what they do to a whole curve is left out.
    ratio = 10 ** (reach * half_time * np.sqrt(2))
    return Seen(float(last), float(gain), half_time, float(ratio))
