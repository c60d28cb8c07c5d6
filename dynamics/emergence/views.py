"""From the results of one target and metric to statistics: what `results.dynamics` calls.

Picks score, resamples, baseline and ceiling out of a dataset, averages them alike, and says on
what came out what it speaks of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from dynamics.emergence import comparing, correlations, levels, orders, statistics, testing
from dynamics.emergence.aggregate import (
    average,
    has_resamples,
    mean_by,
    of_scored,
    resampled,
    why_no_intervals,
    with_ceiling,
)
from dynamics.emergence.crossings import MISSING, NO_LEVEL
from dynamics.emergence.ends import NEEDS, has_controls, scored, untrained, with_gaps
from dynamics.emergence.ends import status as ends
from dynamics.emergence.intervals import STATISTICS, interval
from dynamics.emergence.resampling import stabilised
from dynamics.emergence.subjects import over_subjects, with_subjects
from dynamics.emergence.summary import summarize as tabulate

OVER = ("stimuli", "subjects", "both")
_OF_GROUPS = "those of single neuroids are not kept, ask by subject or region"
FROM_BASELINE = ("onset", "half_time", "plateau_step", "gain", "area")
_COUNTING = (comparing.compare, orders.order)
Pair = tuple[xr.DataArray, xr.DataArray | None]


def variable(results: xr.Dataset, name: str) -> xr.DataArray:
    """Return a variable; ValueError that lists what there is if it is missing."""
    if name not in results:
        raise ValueError(
            f"the dataset has {', '.join(map(str, results.data_vars)) or 'no variables'}"
            f", not `{name}`: select the results of one target and metric"
        )
    return results[name]


def pair(results: xr.Dataset, by: str | None, over: str) -> Pair:
    """Return curves and the same on resamples of stimuli, subjects or both.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.
    by : str or None
        As in `dynamics.emergence.aggregate.average`.
    over : str
        One of `OVER`.

    Returns
    -------
    curve : xarray.DataArray
        With a dimension `step`.
    resampled : xarray.DataArray or None
        With `resample` besides; None where the results have no scores on resamples.
    """
    return _pair_above(results, by, over)


def _pair_above(results: xr.Dataset, by: str | None, over: str, *, above: str = "") -> Pair:
    """Return curves as `pair` does, less the level of the ``"baseline"`` or the ``"untrained"``.

    Averages are made first, so that it is the averages' errors that `stabilised` scales, as it is
    where gains count from a step of the curve.
    """
    if over not in OVER:
        raise ValueError(f"over must be one of {', '.join(OVER)}, found {over!r}")
    results = scored(results)
    score, again = variable(results, "score"), resampled(results)
    if over == "both" and again is None:
        raise ValueError(
            f"there are no intervals over stimuli: {why_no_intervals(results)}{_or_others(results)}"
        )
    within = _of_subjects if over != "stimuli" else average
    # Means of groups have no neuroids to be told apart.
    pooled = again is not None and "group" in again.dims
    again = None if over == "subjects" or (pooled and by == "neuroid") else again
    curve, cloud = within(score, by=by), None if again is None else within(again, by=by)
    if above:
        level, exact = level_of(results, above)
        curve, cloud = less((curve, cloud), within(level, by=by),
                            None if exact is None else within(exact, by=by))  # fmt: skip
    if over == "subjects":
        return over_subjects(curve)
    return (curve, cloud) if over == "stimuli" or cloud is None else with_subjects(curve, cloud)


def level_of(results: xr.Dataset, name: str) -> Pair:
    """Return the level of the ``"baseline"`` or of the ``"untrained"`` networks, and on resamples.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.
    name : str
        Which.

    Returns
    -------
    level : xarray.DataArray
        Of every neuroid or subject, the mean over untrained networks.
    resampled : xarray.DataArray or None
        As `dynamics.emergence.aggregate.resampled`.
    """
    level = of_scored(results[name if name == "baseline" else f"{name}_score"], results)
    again = resampled(results, of=name)
    if name == "untrained":
        level = level.mean("control")
        again = None if again is None else again.mean("control").assign_attrs(again.attrs)
    return level, again


def less(both: Pair, level: xr.DataArray, exact: xr.DataArray | None) -> Pair:
    """Take a level off curves and, where it was resampled, off each resample.

    Parameters
    ----------
    both : (curve, resampled)
        As `pair` returns them.
    level : xarray.DataArray
        Averaged as the curves are.
    exact : xarray.DataArray or None
        The level on resamples; None takes it as exact.

    Returns
    -------
    (curve, resampled)
        The differences, their resamples at the level of the full sample.
    """
    curve, again = both
    if again is None:
        return curve - level, None
    off = level if exact is None else stabilised(level, exact.assign_attrs(again.attrs))
    again = stabilised(curve, again)
    return curve - level, (again - off).assign_attrs(again.attrs)


def statistic(
    results: xr.Dataset, name: str, by: str | None, over: str, **arguments: Any
) -> xr.Dataset:
    """Return a statistic in `STATISTICS`, with limits where there are resamples."""
    if name not in FROM_BASELINE:
        return _finished(results, over, name, pair(results, by, over), **arguments)
    both, known, text = _counted(results, by, over, arguments)
    found = _finished(results, over, name, both, **known)
    if "baseline" not in arguments:
        found = found.assign_coords(status=_of_level(found["status"], results, by))
    return found.assign_attrs(baseline=text)


def onset(results: xr.Dataset, by: str | None, over: str, **arguments: Any) -> xr.Dataset:
    """Return onset, with the test of it where there are resamples."""
    found = statistic(results, "onset", by, over, **arguments)
    (curve, resampled), arguments, _ = _counted(results, by, over, arguments)
    if resampled is None:
        return found
    known: dict[str, Any] = {
        name: arguments[name] for name in ("baseline", "direction") if name in arguments
    }
    test = testing.onset_test(curve, resampled, **known)
    return found.assign(detected=test["detected"], p=test["detected_p"])


def plateau(results: xr.Dataset, by: str | None, over: str, **arguments: Any) -> xr.Dataset:
    """Return the level of the plateau and the step of it, with limits of both."""
    both = pair(results, by, over)
    rest = {k: v for k, v in arguments.items() if k in ("decades", "confidence")}
    level = _finished(results, over, "plateau", both, **rest)
    step = statistic(results, "plateau_step", by, over, **arguments)
    names = {"estimate": "step", "lower": "step_lower", "upper": "step_upper"}
    step = step[[name for name in names if name in step]].rename_vars(
        {name: new for name, new in names.items() if name in step}
    )
    # `step` is the name of the curves' dimension elsewhere; there is none here.
    kept = ("estimate", "lower", "upper", "error")
    level = level.drop_vars("status")  # that of the step says more
    return level[[name for name in kept if name in level]].merge(step).assign_attrs(step.attrs)


def peak(results: xr.Dataset, by: str | None, over: str, **arguments: Any) -> xr.Dataset:
    """Return step and height of the peak, with the range of steps that may be it."""
    curve, resampled = pair(results, by, over)
    found = levels.peak(curve)[["peak_step", "score"]].rename(peak_step="estimate")
    if resampled is not None:
        limits = testing.peak_range(curve, resampled, **arguments)
        found = found.assign(lower=limits["lower"], upper=limits["upper"])
    return _said(found, results, curve, over)


def decline(results: xr.Dataset, by: str | None, over: str, **arguments: Any) -> xr.Dataset:
    """Return what is lost after the peak, tested where there are resamples."""
    curve, resampled = pair(results, by, over)
    names = {"decline": "estimate", "decline_fraction": "fraction"}
    start = untrained(results, by) if has_controls(results) else None
    found = levels.peak(curve, baseline=start)[["peak_step", *names]].rename(names)
    if resampled is not None:
        test = testing.decline_test(curve, resampled, **arguments)
        found = found.assign({name: test[name] for name in ("lower", "p", "status")})
    else:
        found["status"] = ends(curve, needs=NEEDS["decline"])
    return _said(found, results, curve, over)


def gain(
    results: xr.Dataset, above: str, by: str | None, over: str, **arguments: Any
) -> xr.Dataset:
    """Return the gain over the untrained network or over the baseline model."""
    if above == "untrained":
        return statistic(results, "gain", by, over, **arguments)
    if above != "baseline":
        raise ValueError(f"above must be 'untrained' or 'baseline', found {above!r}")
    variable(results, "baseline")
    both = _pair_above(results, by, over, above="baseline")
    found = _finished(results, over, "final", both, **arguments)
    exact = both[1] is not None and resampled(results, of="baseline") is None
    return found.assign_attrs(
        baseline="score of the baseline model" + (", taken as exact" if exact else "")
    )


def ceiling_fraction(
    results: xr.Dataset,
    by: str | None,
    over: str,
    *,
    bound: str = "lower",
    **arguments: Any,
) -> xr.Dataset:
    """Return the last score over the noise ceiling (of RSA, over the named bound of it).

    Both are means over the neuroids that have a ceiling and a score; how many have no ceiling is
    the attribute `neuroids_without_ceiling`.
    """
    kept = with_ceiling(results)
    ceiling, name = _ceiling(kept, by, bound)
    if ceiling is None:
        raise ValueError(
            "the results have no noise ceiling: the target needs repetitions, or several subjects"
        )
    both = pair(kept, by, over)
    found = _finished(results, over, "ceiling_fraction", both, ceiling=ceiling, **arguments)
    return found.assign_attrs(ceiling=name, neuroids_without_ceiling=_without_ceiling(results))


def correlate(
    results: xr.Dataset,
    task: xr.Dataset | xr.DataArray,
    by: str | None,
    over: str,
    **arguments: Any,
) -> xr.Dataset:
    """Correlate curves with a task's score, layer by layer where both have layers."""
    curve, resampled = pair(results, by, over)
    other = variable(task, "score") if isinstance(task, xr.Dataset) else task
    if "layer" in curve.dims and "layer" in other.dims:
        common = [x for x in curve["layer"].to_numpy() if x in other["layer"].to_numpy()]
        if not common:
            raise ValueError("brain and task score have no layer in common: select one of either")
        curve, other = curve.sel(layer=common), other.sel(layer=common)
        resampled = None if resampled is None else resampled.sel(layer=common)
    if resampled is not None:
        resampled = stabilised(curve, resampled)
    found = correlations.correlate(curve, other, resampled=resampled, **arguments)
    return _said(found, results, curve, over)


def counted(
    results: xr.Dataset, by: str | None = None, over: str | None = None
) -> tuple[Pair, dict[str, Any], str]:
    """Return curves whose gains count from the untrained level.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.
    by, over : str, optional
        As in `pair`; `over` by default as `default_over`.

    Returns
    -------
    pair : tuple
        As `pair` returns it, less the controls' score where these stand in for step 0.
    known : dict
        `baseline` then, else nothing: arguments of statistics.
    text : str
        The level from which gains count, in words.
    """
    return _counted(results, by, over or default_over(results, by), {})


def above_start(results: xr.Dataset, by: str | None = None) -> Pair:
    """Return curves and resamples less the untrained level, or else less the first step."""
    if has_controls(results):
        return _pair_above(results, by, "stimuli", above="untrained")
    curve, again = pair(results, by, "stimuli")
    first = None if again is None else again.isel(step=0, drop=True)
    return less((curve, again), curve.isel(step=0, drop=True), first)


def default_over(results: xr.Dataset, by: str | None = None) -> str:
    """Return over what limits are: "both" where each curve is of 3 subjects or more."""
    if by in ("subject", "neuroid") or not has_resamples(results):
        return "stimuli"
    score = results["score"]
    if "subject" not in score.coords and "subject" not in score.dims:
        return "stimuli"
    each = _of_subjects(score, by=by)
    if "subject" not in each.dims:
        return "stimuli"
    there = each.notnull().any("step").sum("subject")
    return "both" if int(there.where(there > 0).min().fillna(0)) > 2 else "stimuli"


def needing(
    results: xr.Dataset,
    function: Callable[..., xr.Dataset],
    by: str | None,
    over: str,
    **arguments: Any,
) -> xr.Dataset:
    """Call a function that needs resamples; ValueError where there are none."""
    curve, resampled = pair(results, by, over)
    text = None
    if function in _COUNTING and arguments.get("statistic", "half_time") in FROM_BASELINE:
        (curve, resampled), arguments, text = _counted(results, by, over, arguments)
    if resampled is None:
        raise ValueError(
            "there are no intervals over stimuli: "
            f"{why_no_intervals(results) or _OF_GROUPS}{_or_others(results)}"
        )
    found = _said(function(curve, resampled, **arguments), results, curve, over)
    return found if text is None else found.assign_attrs(baseline=text)


def summarize(
    results: xr.Dataset, by: str | None, over: str, *, confidence: float = 0.95
) -> xr.Dataset:
    """Return every statistic in one table, with limits and tests where there are resamples."""
    curve, resampled = pair(results, by, over)
    (started, again), known, text = _counted(results, by, over, {})
    baseline = average(level_of(results, "baseline")[0], by=by) if "baseline" in results else None
    kept = with_ceiling(results)
    ceiling, _ = _ceiling(kept, by, "lower")
    table = tabulate(curve, baseline=baseline, ceiling=ceiling)
    if kept is not results and ceiling is not None:
        table["ceiling_fraction"] = levels.ceiling_fraction(pair(kept, by, over)[0], ceiling)
    for name in FROM_BASELINE if known else ():
        value = STATISTICS[name].function(started, **known)
        table[name] = value.drop_vars("status", errors="ignore")
        if "status" in value.coords:
            table[f"{name}_status"] = _of_level(value["status"], results, by)
    if known:
        table["gain_status"] = _of_level(ends(started, **known), results, by)
        top = levels.peak(curve, baseline=untrained(results, by))
        table["decline_fraction"] = top["decline_fraction"]
    if resampled is not None and again is not None:
        limits = {
            name: interval(started, again, statistic=name, confidence=confidence, **known)
            for name in FROM_BASELINE
        }
        limits["plateau"] = interval(curve, resampled, statistic="plateau", confidence=confidence)
        for name, found in limits.items():
            for side in ("lower", "upper"):
                table[f"{name}_{side}"] = found[side].drop_vars("status", errors="ignore")
        table["onset_p"] = testing.onset_test(started, again, **known)["detected_p"]
        table["decline_p"] = testing.decline_test(curve, resampled)["p"]
    if baseline is not None:
        above = gain(results, "baseline", by, over, confidence=confidence)
        for side in ("lower", "upper"):
            if side in above:
                table[f"gain_over_baseline_{side}"] = above[side]
    table = _said(table.assign_attrs(confidence=confidence), results, curve, over)
    return table.assign_attrs(baseline=text)


def _or_others(results: xr.Dataset) -> str:
    """Say that subjects can be resampled instead, where there are enough of them."""
    each = results["subject"].to_numpy() if "subject" in results.variables else np.zeros(0)
    return "; or ask `over='subjects'`" if len(np.unique(each)) > 2 else ""


def _finished(
    results: xr.Dataset, over: str, name: str, both: Pair, **arguments: Any
) -> xr.Dataset:
    curve, resampled = both
    if resampled is None:
        known = {k: v for k, v in arguments.items() if k not in ("method", "confidence")}
        found = xr.Dataset({"estimate": STATISTICS[name].function(curve, **known)})
    else:
        found = interval(curve, resampled, statistic=name, **arguments)
    if name in NEEDS:
        none = ends(curve, needs=NEEDS[name], baseline=arguments.get("baseline"))
        found = found.assign_coords(status=none)
    return _said(found, results, curve, over)


def _of_level(status: xr.DataArray, results: xr.Dataset, by: str | None) -> xr.DataArray:
    """Say "no untrained level" of curves whose controls have no score, where a status did not."""
    status = status.drop_vars("status", errors="ignore")
    if not has_controls(results):
        return status
    there = average(results["score"], by=by).notnull().any("step")
    lacks = untrained(results, by).isnull() & there & (status == MISSING)
    return xr.where(lacks, NO_LEVEL, status).transpose(*status.dims).astype(str)


def _counted(
    results: xr.Dataset, by: str | None, over: str, arguments: dict[str, Any]
) -> tuple[Pair, dict[str, Any], str]:
    """Return curves, arguments, and in words the level from which gains count.

    Untrained controls stand in for a missing step 0: their mean is taken off the curves, on all
    stimuli and resample by resample, and gains count from zero.
    """
    steps = results["step"].to_numpy() if "step" in results.coords else np.zeros(0)
    if "baseline" in arguments or not has_controls(results):
        text = statistics.baseline_text(steps, arguments.get("baseline"))
        return pair(results, by, over), arguments, text
    again = resampled(results, of="untrained")
    text = f"mean score of {results.sizes['control']} untrained networks"
    if over != "subjects" and resampled(results) is not None and again is None:
        text += ", taken as exact"
    both = _pair_above(results, by, over, above="untrained")
    return both, arguments | {"baseline": xr.DataArray(0.0)}, text


def _said(
    found: xr.Dataset,
    results: xr.Dataset,
    curve: xr.DataArray,
    over: str,
) -> xr.Dataset:
    """Say what the numbers speak of."""
    steps = curve["step"].to_numpy()
    score = results["score"]
    lost = 0
    if "neuroid" in score.dims:
        lost = int(score.isnull().all([d for d in score.dims if d != "neuroid"]).sum())
    again = resampled(results)
    if over == "stimuli" and again is not None:
        over = again.attrs.get("over", over)
    if not {"lower", "p", "half_time_lower"} & set(found.variables):
        found = found.assign_attrs(no_intervals=why_no_intervals(results) or _OF_GROUPS)
    return found.assign_attrs(
        over=over,
        baseline=statistics.baseline_text(steps),
        last_step=int(steps[-1]) if len(steps) else -1,
        neuroids_left_out=lost,
        neuroids_with_gaps=with_gaps(scored(results)),
    )


def _of_subjects(score: xr.DataArray, *, by: str | None) -> xr.DataArray:
    """Average within subjects, and within each value of `by` as well."""
    if "subject" not in score.coords and "subject" not in score.dims:
        raise ValueError("the scores have no coordinate 'subject': ask over stimuli")
    if by in ("subject", "neuroid"):
        raise ValueError(f"by={by!r} leaves no subjects to resample: ask over stimuli")
    unit = next((dim for dim in ("group", "neuroid") if dim in score.dims), "subject")

    def within(part: xr.DataArray) -> xr.DataArray:
        with xr.set_options(keep_attrs=True):
            if unit == "subject":
                return part.groupby("subject").mean()
            return mean_by(part, "subject", unit)

    if by is None:
        return within(score)
    if by not in score.coords or score[by].dims != (unit,):
        raise ValueError(f"the scores have no coordinate {by!r} to average by")
    labels = score[by].to_numpy()
    names = np.unique(labels)
    parts = [within(score.isel({unit: np.flatnonzero(labels == name)})) for name in names]
    return xr.concat(
        parts, xr.DataArray(names, dims=by, name=by), join="outer", combine_attrs="override"
    )


def _without_ceiling(results: xr.Dataset) -> int:
    ceiling = results["ceiling"] if "ceiling" in results else xr.DataArray(1.0)
    return int((~(ceiling > 0)).sum()) if "neuroid" in ceiling.dims else 0


def _ceiling(results: xr.Dataset, by: str | None, bound: str) -> tuple[xr.DataArray | None, str]:
    for name in ("ceiling", f"ceiling_{bound}"):
        if name in results:
            by = by if results[name].ndim else None
            return average(of_scored(results[name], results), by=by), name
    return None, ""
