"""What curves are seen against: the untrained network, the baseline, the noise ceiling, chance."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dynamics.emergence.aggregate import average, resampled
from dynamics.emergence.resampling import stabilised


def untrained(results: xr.Dataset, by: str | None = None) -> xr.DataArray:
    """Return the score of the untrained network: of step 0, else the mean over the controls.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.
    by : str, optional
        As in `dynamics.emergence.aggregate.average`.

    Returns
    -------
    xarray.DataArray
        Averaged as the curves, without `step`; NaN where there is no untrained network, whatever
        the first checkpoint scores.
    """
    curve = average(results["score"], by=by)
    if has_controls(results):
        return _mean_of("untrained", results, by)
    first = curve.isel(step=0, drop=True)
    return first if float(curve["step"][0]) == 0 else first * np.nan


def has_controls(results: xr.Dataset) -> bool:
    """Whether untrained controls stand in for a step 0 that is missing or has no score at all."""
    if "untrained_score" not in results or not results.sizes.get("step", 0):
        return False
    if "step" not in results.coords:
        return False
    first = results.isel(step=0)
    return bool(first["step"] > 0) or not bool(first["score"].notnull().any())


def permuted(results: xr.Dataset, by: str | None = None) -> xr.DataArray | None:
    """Return the mean score of networks whose weights were shuffled.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.
    by : str, optional
        As in `dynamics.emergence.aggregate.average`.

    Returns
    -------
    xarray.DataArray or None
        Averaged as the curves, without `step`; None where there are none.
    """
    if "permuted_score" not in results:
        return None
    return _mean_of("permuted", results, by)


def _mean_of(name: str, results: xr.Dataset, by: str | None) -> xr.DataArray:
    level = results[f"{name}_score"].mean(CONTROLS[name])
    return average(of_scored(level, results), by=by)


# Dimension of the networks that a level is the mean of.
CONTROLS = {"untrained": "control", "permuted": "permuted"}


def level_of(results: xr.Dataset, name: str) -> tuple[xr.DataArray, xr.DataArray | None]:
    """Return the level of ``"baseline"``, ``"untrained"`` or ``"permuted"``, and on resamples.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.
    name : str
        Which.

    Returns
    -------
    level : xarray.DataArray
        Of every neuroid or subject, the mean over control networks.
    resampled : xarray.DataArray or None
        As `dynamics.emergence.aggregate.resampled`.
    """
    level = of_scored(results[name if name == "baseline" else f"{name}_score"], results)
    again = resampled(results, of=name)
    if dim := CONTROLS.get(name):
        level = level.mean(dim)
        again = None if again is None else again.mean(dim).assign_attrs(again.attrs)
    return level, again


def less(
    curve: xr.DataArray,
    resampled: xr.DataArray | None,
    level: xr.DataArray,
    exact: xr.DataArray | None,
) -> tuple[xr.DataArray, xr.DataArray | None]:
    """Take a level off curves and, where it was resampled, off each resample.

    Parameters
    ----------
    curve, resampled : xarray.DataArray
        As `dynamics.emergence.curves.pair` returns them.
    level : xarray.DataArray
        Averaged as the curves are.
    exact : xarray.DataArray or None
        The level on resamples; None takes it as exact.

    Returns
    -------
    curve, resampled : xarray.DataArray
        The differences, their resamples at the level of the full sample.
    """
    if resampled is None:
        return curve - level, None
    off = level if exact is None else stabilised(level, exact.assign_attrs(resampled.attrs))
    again = stabilised(curve, resampled)
    return curve - level, (again - off).assign_attrs(again.attrs)


def ceiling(
    results: xr.Dataset, by: str | None = None, bound: str = "lower"
) -> tuple[xr.DataArray | None, str]:
    """Return the noise ceiling, averaged as the curves, or a bound of it; and which it is.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.
    by : str, optional
        As in `dynamics.emergence.aggregate.average`.
    bound : {"lower", "upper"}
        Which bound, where it is known between two only.

    Returns
    -------
    ceiling : xarray.DataArray or None
        None where there is none.
    name : str
        Of the variable.
    """
    for name in ("ceiling", f"ceiling_{bound}"):
        if name in results:
            by = by if results[name].ndim else None
            return average(of_scored(results[name], results), by=by), name
    return None, ""


def level(results: xr.Dataset, name: str) -> float:
    """Return the mean level of something, averaged as the curves; NaN without one.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.
    name : str
        ``"baseline"``, ``"ceiling"``, ``"chance"`` or, the mean over layers, ``"permuted"``.

    Returns
    -------
    float
        In the unit of the scores.
    """
    if name == "permuted":
        own = permuted(results)
        return np.nan if own is None else float(own.mean())
    if name not in results:
        return np.nan
    known = with_ceiling(results) if name == "ceiling" else results
    return float(average(of_scored(known[name], known)).mean())


def with_level(results: xr.Dataset, name: str) -> tuple[int, int]:
    """Count the neuroids of a curve that have a level, as the noise ceiling, and all of them.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.
    name : str
        As in `level`.

    Returns
    -------
    known, number : int
        Equal where the level is over the neuroids that the curve is over, or not of neuroids.
    """
    score = results["score"]
    if name not in results or not {"neuroid"} <= {*results[name].dims} & {*score.dims}:
        return 0, 0
    there = score.notnull().any([dim for dim in score.dims if dim != "neuroid"])
    values = results[name]
    has = values > 0 if name == "ceiling" else values.notnull()
    has = has.any([dim for dim in values.dims if dim != "neuroid"])
    return int((has & there).sum()), int(there.sum())


def with_ceiling(results: xr.Dataset) -> xr.Dataset:
    """Leave out neuroids without a noise ceiling or score, so that a ratio is of the same ones.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.

    Returns
    -------
    xarray.Dataset
        The results themselves where there is nothing to leave out, no ceiling of neuroids, or no
        neuroid that has both. Else without resamples that are kept as means of groups, from which
        single neuroids cannot be left out.
    """
    if "ceiling" not in results or "neuroid" not in results["ceiling"].dims:
        return results
    known, score = results["ceiling"] > 0, results["score"]
    if "neuroid" in score.dims:
        known = known & score.notnull().any([dim for dim in score.dims if dim != "neuroid"])
    if known.all() or not known.any():
        return results
    kept = results.isel(neuroid=np.flatnonzero(known.to_numpy()))
    return kept.drop_dims("group", errors="ignore")


def of_scored(level: xr.DataArray, results: xr.Dataset) -> xr.DataArray:
    """Leave a level out where a curve has no score, so that both are over the same neuroids.

    Parameters
    ----------
    level : xarray.DataArray
        Baseline, ceiling or controls' score, with a dimension `neuroid` or `subject` or neither.
    results : xarray.Dataset
        Results whose scores are drawn or tabulated beside it.

    Returns
    -------
    xarray.DataArray
        NaN at neuroids or subjects without a score at any step, layer by layer; `level` itself
        where there are none such.
    """
    score = results["score"]
    both = {"neuroid", "subject"} & set(score.dims) & set(level.dims)
    if not both or "step" not in score.dims:
        return level
    there = score.notnull().any("step").reset_coords(drop=True)
    if bool(there.all()):
        return level
    return level.where(there).transpose(*level.dims, ...).assign_attrs(level.attrs)


def without_ceiling(results: xr.Dataset) -> int:
    """Count the neuroids that have no noise ceiling above 0."""
    ceiling = results["ceiling"] if "ceiling" in results else xr.DataArray(1.0)
    return int((~(ceiling > 0)).sum()) if "neuroid" in ceiling.dims else 0
