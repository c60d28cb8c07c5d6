"""From the results of one target and metric to statistics: what `results.dynamics` calls.

Picks score, resamples, baseline and ceiling out of a dataset, averages them alike, and says on
what came out what it speaks of. `summary_of` is the one table of all statistics: the accessor's,
the report's and that of the command line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import signature
from typing import Any

import xarray as xr

from dynamics.emergence import comparing, correlations, levels, remarks, statistics, testing
from dynamics.emergence.aggregate import average, resampled
from dynamics.emergence.crossings import MISSING, NEEDS, NO_LEVEL
from dynamics.emergence.crossings import status as ends
from dynamics.emergence.curves import (
    Counted,
    Pair,
    counted,
    default_over,
    or_others,
    over_in_words,
    pair,
    scored,
    units_of,
    variable,
)
from dynamics.emergence.intervals import interval
from dynamics.emergence.resampling import stabilised
from dynamics.emergence.table import STATISTICS, Given, counts, function_of, known_levels

_OF_GROUPS = "those of single neuroids are not kept, ask by subject or region"
_COUNTING = (comparing.compare, comparing.order)


def summarize(
    curve: xr.DataArray,
    *,
    baseline: xr.DataArray | None = None,
    ceiling: xr.DataArray | None = None,
    decades: float = 1.0,
) -> xr.Dataset:
    """Tabulate every statistic of every curve.

    Parameters
    ----------
    curve : xarray.DataArray
        As in `half_time`.
    baseline : xarray.DataArray, optional
        A reference without learning (the spectrotemporal baseline): gives `gain_over_baseline`.
        All else counts from the first step.
    ceiling : xarray.DataArray, optional
        Noise ceiling.
    decades : float
        Width of the plateau's window.

    Returns
    -------
    xarray.Dataset
        A variable for each of `STATISTICS` but those that need resamples or shuffles, and
        ``<name>_status`` for steps and the gain.
    """
    own = Pair(curve, None)
    over = None if baseline is None else Pair(curve - baseline, None)
    below = None if ceiling is None else (curve, ceiling)
    return _tabulate(Given(own, own, {}, above_baseline=over, below_ceiling=below), decades=decades)


def summary_of(
    results: xr.Dataset,
    by: str | None = None,
    over: str | None = None,
    *,
    names: Iterable[str] | None = None,
    confidence: float = 0.95,
) -> xr.Dataset:
    """Tabulate statistics of results, with limits and tests where there are resamples.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.
    by, over : str, optional
        As in `dynamics.emergence.curves.pair`.
    names : iterable of str, optional
        Which of `STATISTICS`; by default all.
    confidence : float
        Coverage of the limits.

    Returns
    -------
    xarray.Dataset
        Of each its estimate, ``<name>_lower`` and ``<name>_upper``, and ``<name>_status`` where
        that says why there is none; or the columns of its record.
    """
    over = over or default_over(results, by)
    given, text = _given(scored(results), by, over)
    table = _tabulate(given, names=names, confidence=confidence)
    said, lacks = [str(name) for name in table if str(name).endswith("_status")], None
    if said and levels.has_controls(results):
        lacks = _lacks_level(results, by)
    for name in said:
        table[name] = _of_level(table[name], lacks)
    table = _said(table.assign_attrs(confidence=confidence), results, given.curves.curve, over)
    return table.assign_attrs(baseline=text)


def statistic(
    results: xr.Dataset, name: str, by: str | None, over: str, **arguments: Any
) -> xr.Dataset:
    """Return a statistic in `STATISTICS`, with limits where there are resamples."""
    function_of(name)
    if STATISTICS[name].above != "untrained":
        return _finished(results, over, name, pair(results, by, over), **arguments)
    both, known, text = counted(results, by, over, **arguments)
    found = _finished(results, over, name, both, **known)
    if "baseline" not in arguments:
        lacks = _lacks_level(results, by) if levels.has_controls(results) else None
        found = found.assign_coords(status=_of_level(found["status"], lacks))
    return found.assign_attrs(baseline=text)


def onset(results: xr.Dataset, by: str | None, over: str, **arguments: Any) -> xr.Dataset:
    """Return onset, with the test of it where there are resamples."""
    found = statistic(results, "onset", by, over, **arguments)
    (curve, resampled), arguments, _ = counted(results, by, over, **arguments)
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
    found = statistics.peak(curve)[["peak_step", "score"]].rename(peak_step="estimate")
    if resampled is not None:
        limits = testing.peak_range(curve, resampled, **arguments)
        found = found.assign(lower=limits["lower"], upper=limits["upper"])
    return _said(found, results, curve, over)


def decline(results: xr.Dataset, by: str | None, over: str, **arguments: Any) -> xr.Dataset:
    """Return what is lost after the peak, tested where there are resamples."""
    curve, resampled = pair(results, by, over)
    names = {"decline": "estimate", "decline_fraction": "fraction"}
    start = levels.untrained(results, by) if levels.has_controls(results) else None
    found = statistics.peak(curve, baseline=start)[["peak_step", *names]].rename(names)
    if resampled is not None:
        test = testing.decline_test(curve, resampled, **arguments)
        found = found.assign({name: test[name] for name in ("lower", "p", "status")})
    else:
        found["status"] = ends(curve, needs=NEEDS["decline"])
    return _said(found, results, curve, over)


def fall(results: xr.Dataset, by: str | None, over: str) -> xr.Dataset:
    """Return how far each curve falls below its untrained level, tested where it can be."""
    (curve, resampled), known, text = counted(results, by, over)
    found = testing.fall_test(curve, resampled, **known)
    return _said(found, results, curve, over).assign_attrs(baseline=text)


def gain(
    results: xr.Dataset, above: str, by: str | None, over: str, **arguments: Any
) -> xr.Dataset:
    """Return the gain over the untrained network, the baseline model or permuted weights."""
    if above == "untrained":
        return statistic(results, "gain", by, over, **arguments)
    if above not in _ABOVE:
        raise ValueError(f"above must be {known_levels()}, found {above!r}")
    name, told = _ABOVE[above]
    variable(results, name)
    both = pair(results, by, over, above=above)
    found = _finished(results, over, "final", both, **arguments)
    exact = both[1] is not None and resampled(results, of=above) is None
    return found.assign_attrs(baseline=told + (", taken as exact" if exact else ""))


# The variable of a level beside the curve, and what it is in words.
_ABOVE = {
    "baseline": ("baseline", "score of the baseline model"),
    "permuted": ("permuted_score", "mean score of networks with permuted weights"),
}


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
    kept = levels.with_ceiling(results)
    ceiling, name = levels.ceiling(kept, by, bound)
    if ceiling is None:
        raise ValueError(
            "the results have no noise ceiling: the target needs repetitions, or several subjects"
        )
    both = pair(kept, by, over)
    found = _finished(results, over, "ceiling_fraction", both, ceiling=ceiling, **arguments)
    return found.assign_attrs(
        ceiling=name, neuroids_without_ceiling=levels.without_ceiling(results)
    )


def correlate(
    results: xr.Dataset,
    task: xr.Dataset | xr.DataArray,
    by: str | None,
    over: str,
    **arguments: Any,
) -> xr.Dataset:
    """Correlate curves with a task's score, layer by layer where both have layers."""
    curve, _ = pair(results, by, over)
    other = variable(task, "score") if isinstance(task, xr.Dataset) else task
    if "layer" in curve.dims and "layer" in other.dims:
        common = [x for x in curve["layer"].to_numpy() if x in other["layer"].to_numpy()]
        if not common:
            raise ValueError("brain and task score have no layer in common: select one of either")
        curve, other = curve.sel(layer=common), other.sel(layer=common)
    found = correlations.correlate(curve, other, **arguments)
    return _said(found, results, curve, over)


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
    if function in _COUNTING and counts(str(arguments.get("statistic", "half_time"))):
        (curve, resampled), arguments, text = counted(results, by, over, **arguments)
    if resampled is None:
        raise ValueError(
            "there are no intervals over stimuli: "
            f"{remarks.why_no_intervals(results) or _OF_GROUPS}{or_others(results)}"
        )
    found = _said(function(curve, resampled, **arguments), results, curve, over)
    return found if text is None else found.assign_attrs(baseline=text)


def _given(results: xr.Dataset, by: str | None, over: str) -> tuple[Given, str]:
    """Return what statistics of results are made of, and from what gains count, in words."""
    curves = _steady(pair(results, by, over))
    apart = levels.has_controls(results)
    text = statistics.baseline_text(results)
    gains = counted(results, by, over) if apart else Counted(curves, {}, text)
    kept = levels.with_ceiling(results)
    ceiling, _ = levels.ceiling(kept, by)
    whole = curves.curve if kept is results else average(kept["score"], by=by)
    nulls = None

    def above(level: str) -> Pair:
        return _steady(pair(results, by, over, above=level))

    if "null_score" in results:
        last = results[["score", "null_score"]].isel(step=-1, drop=True)
        nulls = average(last["score"], by=by), average(last["null_score"], by=by)
    given = Given(
        curves,
        _steady(gains.pair),
        gains.arguments,
        start=levels.untrained(results, by) if apart else None,
        above_baseline=above("baseline") if "baseline" in results else None,
        below_ceiling=None if ceiling is None else (whole, ceiling),
        nulls=nulls,
        above_permuted=above("permuted") if "permuted_score" in results else None,
    )
    return given, gains.text


def _steady(both: Pair) -> Pair:
    """Do once what each statistic would: stabilise resamples, and carry no labels along."""
    curve = _plain(both.curve)
    if both.resampled is None:
        return Pair(curve, None)
    return Pair(curve, stabilised(curve, _plain(both.resampled)))


def _plain(values: xr.DataArray) -> xr.DataArray:
    """Leave out coordinates of steps and resamples, which no statistic of a curve has."""
    gone = {"step", "resample"}
    spare = [n for n, one in values.coords.items() if n not in values.dims and gone & set(one.dims)]
    return values.drop_vars(spare)


def _tabulate(
    given: Given,
    *,
    names: Iterable[str] | None = None,
    confidence: float = 0.95,
    decades: float = 1.0,
) -> xr.Dataset:
    found: dict[str, xr.DataArray] = {}
    for name in STATISTICS if names is None else names:
        record = STATISTICS[name]
        if record.columns is not None:
            found |= record.columns(given)
        elif (both := given.pair(record.above)) is not None:
            known = dict(given.known) if record.above == "untrained" else {}
            if "decades" in signature(function_of(name)).parameters:
                known["decades"] = decades
            found |= _columns(name, both, known, confidence)
    return xr.Dataset(
        {name: one.drop_vars("status", errors="ignore") for name, one in found.items()}
    )


def _columns(
    name: str, both: Pair, known: dict[str, Any], confidence: float
) -> dict[str, xr.DataArray]:
    """Return a statistic, its limits and why there is none."""
    curve, again = both
    if again is None:
        found = xr.Dataset({"estimate": function_of(name)(curve, **known)})
    else:
        found = interval(curve, again, statistic=name, confidence=confidence, **known)
    columns = {name: found["estimate"]}
    columns |= {f"{name}_{side}": found[side] for side in ("lower", "upper") if side in found}
    if "status" in found.coords:
        columns[f"{name}_status"] = found["status"]
    elif STATISTICS[name].tells:
        needs = STATISTICS[name].needs
        columns[f"{name}_status"] = ends(curve, needs=needs, baseline=known.get("baseline"))
    return columns


def _finished(
    results: xr.Dataset, over: str, name: str, both: Pair, **arguments: Any
) -> xr.Dataset:
    curve, resampled = both
    if resampled is None:
        known = {k: v for k, v in arguments.items() if k not in ("method", "confidence")}
        found = xr.Dataset({"estimate": function_of(name)(curve, **known)})
    else:
        found = interval(curve, resampled, statistic=name, **arguments)
    if needs := STATISTICS[name].needs:
        none = ends(curve, needs=needs, baseline=arguments.get("baseline"))
        found = found.assign_coords(status=none)
    return _said(found, results, curve, over)


def _lacks_level(results: xr.Dataset, by: str | None) -> xr.DataArray:
    """Which curves have a score while their controls have none."""
    there = average(results["score"], by=by).notnull().any("step")
    return levels.untrained(results, by).isnull() & there


def _of_level(status: xr.DataArray, lacks: xr.DataArray | None) -> xr.DataArray:
    """Say "no untrained level" of curves whose controls have no score, where a status did not."""
    status = status.drop_vars("status", errors="ignore")
    if lacks is None or not lacks.any():
        return status
    return (
        xr.where(lacks & (status == MISSING), NO_LEVEL, status).transpose(*status.dims).astype(str)
    )


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
    elif units_of(results) != "subjects":
        over = over_in_words(results, over)
    if not {"lower", "p", "half_time_lower"} & set(found.variables):
        found = found.assign_attrs(no_intervals=remarks.why_no_intervals(results) or _OF_GROUPS)
    return found.assign_attrs(
        over=over,
        baseline=statistics.baseline_text(curve),
        last_step=int(steps[-1]) if len(steps) else -1,
        neuroids_left_out=lost,
        neuroids_with_gaps=remarks.with_gaps(scored(results)),
    )
