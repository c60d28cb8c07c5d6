"""One record a statistic of curves: what summary, tables, report and figures ask of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from dynamics.emergence import statistics
from dynamics.emergence.crossings import NEEDS
from dynamics.emergence.curves import Pair
from dynamics.emergence.testing import decline_test, onset_test

UNITS = ("step", "score", "part", "p")


class Given(NamedTuple):
    """What statistics are made of.

    Attributes
    ----------
    curves : Pair
        Curves, and the same on resamples.
    gains : Pair
        The same, less the score of the untrained controls where these stand in for a step 0.
    known : dict
        `baseline` then, 0: arguments of statistics of gains.
    start : xarray.DataArray or None
        The controls' score then.
    above_baseline : Pair or None
        Curves less the baseline; None without one.
    below_ceiling : (xarray.DataArray, xarray.DataArray) or None
        Curves over what has a noise ceiling, and the ceiling.
    nulls : (xarray.DataArray, xarray.DataArray) or None
        Last scores, and those of shuffled stimuli.
    above_permuted : Pair or None
        Curves less the score of networks with permuted weights; None without such.
    """

    curves: Pair
    gains: Pair
    known: Mapping[str, Any]
    start: xr.DataArray | None = None
    above_baseline: Pair | None = None
    below_ceiling: tuple[xr.DataArray, xr.DataArray] | None = None
    nulls: tuple[xr.DataArray, xr.DataArray] | None = None
    above_permuted: Pair | None = None

    def pair(self, above: str) -> Pair | None:
        """Return the curves that a statistic `above` a level is made of."""
        return {
            "": self.curves,
            "untrained": self.gains,
            "baseline": self.above_baseline,
            "permuted": self.above_permuted,
        }[above]


class Statistic(NamedTuple):
    """A statistic of curves.

    Attributes
    ----------
    function : callable or None
        Takes curves and returns a value of each, without the dimension `step`; what has one has
        limits, too. Steps have the coordinate `status`.
    label : str
        Heading of its column.
    about : str
        What it is, in words.
    unit : {"score", "step", "part", "p"}
        What it is counted in, and so how it is written.
    above : {"", "untrained", "baseline", "permuted"}
        From what level it counts; ``"untrained"`` takes an argument `baseline`.
    needs : tuple of str
        Which ends of a curve, as `dynamics.emergence.crossings.NEEDS`.
    goal : dict or None
        Of a step: where its goal lies, as in `dynamics.emergence.intervals.invert`.
    tested : bool
        Whether its intervals come with a test against zero.
    columns : callable or None
        What a table has of it, where that is not the value and its limits: takes `Given` and
        returns columns by name; none where there is nothing to make them of.
    p : str
        Column of its p value.
    tells : bool
        Whether tables say why there is none (steps always do).
    alone : bool
        Whether a single step has it.
    figure : str
        What it is called on an axis; by default its label.
    sentence : str
        What the report says where it is known, with ``{value}`` and its limits.
    """

    function: Callable[..., xr.DataArray] | None
    label: str
    about: str
    unit: str = "score"
    above: str = ""
    needs: tuple[str, ...] = ()
    goal: dict[str, Any] | None = None
    tested: bool = False
    columns: Callable[[Given], Mapping[str, xr.DataArray]] | None = None
    p: str = ""
    tells: bool = False
    alone: bool = False
    figure: str = ""
    sentence: str = ""

    def check(self) -> None:
        """Raise a ValueError that says what is wrong with a record."""
        if self.function is None and self.columns is None:
            raise ValueError("give a `function` of curves, or `columns` of a table")
        if self.unit not in UNITS:
            raise ValueError(f"there is no unit {self.unit!r}: use one of {', '.join(UNITS)}")
        if self.above not in _LEVELS:
            raise ValueError(f"above must be '', {known_levels()}, not {self.above!r}")


# From which levels statistics count, beside the curve itself.
_LEVELS = ("", "untrained", "baseline", "permuted")


def known_levels() -> str:
    """Return the names of the levels, for messages."""
    return " or ".join(map(repr, _LEVELS[1:]))


def _first(given: Given) -> dict[str, xr.DataArray]:
    if given.start is not None:
        return {"first": given.start}
    return {"first": given.curves.curve.isel(step=0, drop=True)}


def _detected(given: Given) -> dict[str, xr.DataArray]:
    curve, resampled = given.gains
    if resampled is None:
        return {}
    found = onset_test(curve, resampled, **given.known)
    return {name: found[name] for name in ("detected", "detected_p")}


def _peak(given: Given) -> dict[str, xr.DataArray]:
    return {"peak": statistics.peak(given.curves.curve)["score"]}


def _peak_step(given: Given) -> dict[str, xr.DataArray]:
    return {"peak_step": statistics.peak(given.curves.curve)["peak_step"]}


def _decline(given: Given) -> dict[str, xr.DataArray]:
    curve, resampled = given.curves
    top = statistics.peak(curve, baseline=given.start)
    found = {name: top[name] for name in ("decline", "decline_fraction")}
    if resampled is not None:
        found["decline_p"] = decline_test(curve, resampled)["p"]
    return found


def _ceiling_fraction(given: Given) -> dict[str, xr.DataArray]:
    if given.below_ceiling is None:
        return {}
    return {"ceiling_fraction": statistics.ceiling_fraction(*given.below_ceiling)}


def _null(given: Given) -> dict[str, xr.DataArray]:
    """Return how many of the shuffled scores reach the score at the last step."""
    if given.nulls is None:
        return {}
    score, null = given.nulls
    dim = next((str(d) for d in null.dims if d not in score.dims), None)
    if dim is None:
        return {}
    p = _reached(score, null, dim)
    return {"null_p": p, "null_upper": null.quantile(0.95, dim).drop_vars("quantile")}


def highest_null(score: xr.DataArray, null: xr.DataArray, *, among: str = "layer") -> xr.DataArray:
    """Return the share of shuffles in which the highest layer reaches a score.

    Parameters
    ----------
    score, null : xarray.DataArray
        Last scores, and those of shuffled stimuli with one more dimension.
    among : str
        The dimension in which the highest one is taken.

    Returns
    -------
    xarray.DataArray
        P values with the dimensions of `score`.
    """
    (dim,) = (str(d) for d in null.dims if d not in score.dims)
    highest = null.where(score.notnull()).max(among).expand_dims({among: score.sizes[among]})
    return _reached(score, highest, dim)


def _reached(score: xr.DataArray, null: xr.DataArray, dim: str) -> xr.DataArray:
    # Torch takes seconds to import, and statistics on curves do without it.
    from dynamics import metrics

    known = score.notnull() & null.notnull().all(dim)
    # The store keeps nulls in single precision, within which a shuffle that reaches a score ties.
    shuffled = null.transpose(dim, *score.dims).to_numpy().astype(np.float32)
    return score.copy(data=metrics.p_value(score.to_numpy(), shuffled)).where(known)


STATISTICS: dict[str, Statistic] = {
    "first": Statistic(None, "First", "score from which gains count", columns=_first, alone=True),
    "final": Statistic(
        statistics.final,
        "Final",
        "score at the last step",
        needs=NEEDS["final"],
        tested=True,
        alone=True,
    ),
    "gain": Statistic(
        statistics.gain,
        "Gain",
        "last score above the one from which gains count",
        above="untrained",
        needs=NEEDS["gain"],
        tested=True,
        tells=True,
    ),
    "onset": Statistic(
        statistics.onset,
        "Onset",
        "step at a tenth of the gain to the peak",
        "step",
        "untrained",
        goal={"fraction": 0.1, "reference": "peak"},
    ),
    "detected": Statistic(
        None,
        "Shown from",
        "first step shown to be above the first level, and its p value",
        "step",
        columns=_detected,
        p="detected_p",
    ),
    "half_time": Statistic(
        statistics.half_time,
        "Half-time",
        "step at half of the final gain",
        "step",
        "untrained",
        goal={"fraction": 0.5, "reference": "final"},
    ),
    "plateau_step": Statistic(
        statistics.plateau_step,
        "Plateau from",
        "step at nine tenths of the gain to the plateau",
        "step",
        "untrained",
        goal={"fraction": 0.9, "reference": "plateau", "sustained": True},
        figure="Step of the plateau",
    ),
    "plateau": Statistic(
        statistics.plateau,
        "Plateau",
        "mean score over the last factor of ten in steps",
        needs=NEEDS["plateau"],
    ),
    "peak": Statistic(None, "Peak", "highest score", columns=_peak),
    "peak_step": Statistic(
        None, "Peak at", "step of the highest score", "step", columns=_peak_step
    ),
    "decline": Statistic(
        None,
        "Decline",
        "peak minus last score, and the p value of a decline",
        columns=_decline,
        p="decline_p",
    ),
    "area": Statistic(
        statistics.area,
        "Area",
        "mean gain over log(1 + step)",
        above="untrained",
        needs=NEEDS["area"],
        tested=True,
    ),
    "gain_over_baseline": Statistic(
        statistics.final,
        "Over baseline",
        "last score minus that of the baseline",
        above="baseline",
        needs=NEEDS["final"],
        tested=True,
        alone=True,
    ),
    "gain_over_permuted": Statistic(
        statistics.final,
        "Over permuted",
        "last score minus that of networks with permuted weights",
        above="permuted",
        needs=NEEDS["final"],
        tested=True,
        alone=True,
    ),
    "ceiling_fraction": Statistic(
        statistics.ceiling_fraction,
        "Of ceiling",
        "last score over the noise ceiling",
        "part",
        needs=NEEDS["ceiling_fraction"],
        columns=_ceiling_fraction,
        alone=True,
    ),
    "null_p": Statistic(
        None,
        "Shuffled p",
        "share of shuffles that reach the last score",
        "p",
        columns=_null,
        alone=True,
    ),
}
"""Statistics in the order of tables. One of the user's own is a line more: see `plugins`."""


def function_of(name: str) -> Callable[..., xr.DataArray]:
    """Look up the function of curves of a statistic.

    Parameters
    ----------
    name : str
        Its name in `STATISTICS`.

    Returns
    -------
    callable
        Curves in, values without the dimension `step` out.

    Raises
    ------
    ValueError
        If there is none of this name, or it is no function of curves.
    """
    function = STATISTICS[name].function if name in STATISTICS else None
    if function is None:
        known = [key for key, record in STATISTICS.items() if record.function is not None]
        raise ValueError(f"there is no statistic {name!r}: use one of {', '.join(known)}")
    return function


def counts(name: str) -> bool:
    """Whether a statistic counts from the untrained level."""
    return name in STATISTICS and STATISTICS[name].above == "untrained"
