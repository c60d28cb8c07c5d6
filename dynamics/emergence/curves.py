"""From results of one target and metric to curves, and the same on resamples.

Here is what limits are over by default: other people before other sounds where each curve is of
three subjects or more, else these people before other sounds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from dynamics.emergence.aggregate import (
    average,
    has_resamples,
    over_subjects,
    resampled,
    with_subjects,
    within_subjects,
)
from dynamics.emergence.levels import has_controls, less, level_of
from dynamics.emergence.remarks import why_no_intervals
from dynamics.emergence.statistics import baseline_text
from dynamics.store.attributes import mapping

OVER = ("stimuli", "subjects", "both")
INITIALISATIONS = "initialisations"
"""What subjects are where several runs of one recipe are: the attribute `units` of results."""
_COUNTED = "counted_step"


class Pair(NamedTuple):
    """Curves, and the same on resamples; None where there are none."""

    curve: xr.DataArray
    resampled: xr.DataArray | None


class Counted(NamedTuple):
    """Curves from which gains count, what statistics of gains are to be told, and it in words."""

    pair: Pair
    arguments: dict[str, Any]
    text: str


class Mean(NamedTuple):
    """Mean curves, the same on resamples, and what these vary; empty where there are none."""

    curve: xr.DataArray
    resampled: xr.DataArray | None
    over: str


def variable(results: xr.Dataset, name: str) -> xr.DataArray:
    """Return a variable; ValueError that lists what there is if it is missing."""
    if name not in results:
        raise ValueError(
            f"the dataset has {', '.join(map(str, results.data_vars)) or 'no variables'}"
            f", not `{name}`: select the results of one target and metric"
        )
    return results[name]


def scored(results: xr.Dataset) -> xr.Dataset:
    """Return results without last steps at which no curve at all has a score.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.

    Returns
    -------
    xarray.Dataset
        The results themselves where there are none such, or no score at all.
    """
    if "score" not in results or "step" not in results["score"].dims:
        return results
    score = results["score"]
    some = score.notnull().any([dim for dim in score.dims if dim != "step"]).to_numpy()
    if not some.any() or some[-1]:
        return results
    return results.isel(step=slice(int(some.nonzero()[0][-1]) + 1))


def pair(
    results: xr.Dataset, by: str | None = None, over: str | None = None, *, above: str = ""
) -> Pair:
    """Return curves and the same on resamples of stimuli, subjects or both.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.
    by : str, optional
        As in `dynamics.emergence.aggregate.average`.
    over : str, optional
        One of `OVER`; by default as `default_over`.
    above : str
        Level that is taken off, resample by resample: ``"baseline"`` or ``"untrained"``.

    Returns
    -------
    curve : xarray.DataArray
        With a dimension `step`, up to the last step at which any curve has a score.
    resampled : xarray.DataArray or None
        With `resample` besides; None where the results have no scores on resamples.

    Notes
    -----
    Averages are made first, so that it is the averages' errors that `stabilised` scales, as it is
    where gains count from a step of the curve.
    """
    return _pair(scored(results), by, over or default_over(results, by), above)


def _pair(results: xr.Dataset, by: str | None, over: str, above: str) -> Pair:
    if over not in OVER:
        raise ValueError(f"over must be one of {', '.join(OVER)}, found {over!r}")
    score, again = variable(results, "score"), resampled(results)
    if over == "both" and again is None:
        raise ValueError(
            f"there are no intervals over stimuli: {why_no_intervals(results)}{or_others(results)}"
        )
    within = within_subjects if over != "stimuli" else average
    # Means of groups have no neuroids to be told apart.
    pooled = again is not None and "group" in again.dims
    again = None if over == "subjects" or (pooled and by == "neuroid") else again
    curve, cloud = within(score, by=by), None if again is None else within(again.load(), by=by)
    if above:
        level, exact = level_of(results, above)
        exact = None if exact is None else within(exact, by=by)
        curve, cloud = less(curve, cloud, within(level, by=by), exact)
    if over == "subjects":
        return Pair(*over_subjects(curve))
    if over == "stimuli" or cloud is None:
        return Pair(curve, cloud)
    return Pair(*with_subjects(curve, cloud))


def default_over(results: xr.Dataset, by: str | None = None) -> str:
    """Return over what limits are: "both" where each curve is of 3 subjects or more."""
    if by in ("subject", "neuroid"):
        return "stimuli"
    if not has_resamples(results):
        return "stimuli" if units_of(results) == "subjects" else "subjects"
    score = results["score"]
    if "subject" not in score.coords and "subject" not in score.dims:
        return "stimuli"
    each = within_subjects(score, by=by)
    if "subject" not in each.dims:
        return "stimuli"
    there = each.notnull().any("step").sum("subject")
    return "both" if int(there.where(there > 0).min().fillna(0)) > 2 else "stimuli"


def units_of(results: xr.Dataset) -> str:
    """Name what results have for subjects: people, or several runs of one recipe."""
    return str(results.attrs.get("units", "subjects"))


def over_in_words(results: xr.Dataset, over: str) -> str:
    """Say what resamples vary: of probes the test sounds, unless their attribute `over` says."""
    if over == "subjects":
        return units_of(results)
    again = resampled(results)
    is_probe = mapping(results.attrs.get("identity")).get("metric") == "probe"
    own = {} if again is None else again.attrs
    stimuli = str(own.get("over", "test sounds" if is_probe else "stimuli"))
    return f"{stimuli} and {units_of(results)}" if over == "both" else stimuli


def counted(
    results: xr.Dataset, by: str | None = None, over: str | None = None, **arguments: Any
) -> Counted:
    """Return curves whose gains count from the untrained level.

    Untrained controls stand in for a missing step 0: their mean is taken off the curves, on all
    stimuli and resample by resample, and gains count from zero.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.
    by, over : str, optional
        As in `pair`.
    **arguments
        Of the statistic; a `baseline` among them is the level then.

    Returns
    -------
    Counted
        Curves, less the controls' score where these stand in; the arguments, with `baseline` then;
        the level from which gains count, in words.
    """
    over = over or default_over(results, by)
    if "baseline" in arguments or not has_controls(results):
        text = baseline_text(results, arguments.get("baseline"))
        return Counted(pair(results, by, over), arguments, text)
    text = f"mean score of {results.sizes['control']} untrained networks"
    known = resampled(results) is not None and resampled(results, of="untrained") is None
    text += ", taken as exact" if over != "subjects" and known else ""
    both = pair(results, by, over, above="untrained")
    return Counted(both, arguments | {"baseline": xr.DataArray(0.0)}, text)


def above_start(results: xr.Dataset, by: str | None = None) -> Pair:
    """Return curves and resamples less the untrained level, or else less the first step."""
    if has_controls(results):
        return pair(results, by, "stimuli", above="untrained")
    curve, again = pair(results, by, "stimuli")
    first = None if again is None else again.isel(step=0, drop=True)
    return Pair(*less(curve, again, curve.isel(step=0, drop=True), first))


def resampled_curve(results: xr.Dataset, *, subjects: bool = True, above: str = "") -> Mean:
    """Return the mean curves and the same on resamples, for `dynamics.emergence.interval`.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.
    subjects : bool
        Whether to resample subjects as well, where there are three or more.
    above : str
        Level that is taken off, resample by resample: ``"baseline"`` or ``"untrained"``.

    Returns
    -------
    curve : xarray.DataArray
        Dimensions step and, where there is one, layer.
    resampled : xarray.DataArray or None
        With `resample` besides and the attribute `over`; None where there are no resamples.
    over : str
        What the resamples vary: the attribute `over` of ``resample_score``, by default "test
        sounds" for probes and else "stimuli"; "and subjects" where they are resampled as well.
    """
    over = default_over(results) if subjects else "stimuli"
    curve, again = _pair(results, None, over, above)
    if again is None:
        return Mean(in_order(curve), None, "")
    words = over_in_words(results, over)
    return Mean(curve, again.assign_attrs(over=words), words)


def mean_curve(results: xr.Dataset) -> xr.DataArray:
    """Return the mean curves of results without their limits.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.

    Returns
    -------
    xarray.DataArray
        Dimensions step and, where there is one, layer.
    """
    return in_order(average(results["score"]))


def counted_steps(results: xr.Dataset, by: str = "", place: int = 0) -> np.ndarray:
    """Which steps statistics are made of: those of a curve's own run that did not fail.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric, or `stack` of several.
    by : str
        Dimension of the runs; without it those of any run.
    place : int
        Which of them.

    Returns
    -------
    array of bool, shape (n_steps,)
        All, but for the steps of other runs, those that were put in as gaps, and last ones at
        which no curve at all has a score: of parts of results those of the whole, where
        `with_counted` has marked them.
    """
    if _COUNTED in results.coords:
        values = results[_COUNTED]
        values = values.isel({by: place}) if by in values.dims else values
        return values.any([dim for dim in values.dims if dim != "step"]).to_numpy()
    has = np.ones(results.sizes["step"], bool)
    for name, meant in (("own_step", True), ("failed_step", False)):
        if name in results.coords:
            values = results[name].isel({by: place}) if by in results[name].dims else results[name]
            others = [dim for dim in values.dims if dim != "step"]
            has &= (values == meant).any(others).to_numpy()
    last = scored(results.isel(step=has)).sizes["step"]
    return has & (np.cumsum(has) <= last)


def with_counted(results: xr.Dataset) -> xr.Dataset:
    """Mark the steps of `counted_steps`, so that parts of results are of the steps of the whole.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric, or `stack` of several.

    Returns
    -------
    xarray.Dataset
        With the coordinate `counted_step`; the same where they have it.
    """
    if _COUNTED in results.coords:
        return results
    dims = results["own_step"].dims if "own_step" in results.coords else ("step",)
    (by,) = [str(dim) for dim in dims if dim != "step"] or [""]
    if not by:
        return results.assign_coords({_COUNTED: ("step", counted_steps(results))})
    each = [counted_steps(results.isel({by: [place]}), by) for place in range(results.sizes[by])]
    return results.assign_coords({_COUNTED: ((by, "step"), np.stack(each))})


def or_others(results: xr.Dataset) -> str:
    """Say that subjects can be resampled instead, where there are enough of them."""
    each = results["subject"].to_numpy() if "subject" in results.variables else np.zeros(0)
    return "; or ask `over='subjects'`" if len(np.unique(each)) > 2 else ""


def in_order(curve: xr.DataArray) -> xr.DataArray:
    """Return a curve with the dimensions step and layer first, as figures take it."""
    return curve.transpose("step", "layer", missing_dims="ignore")
