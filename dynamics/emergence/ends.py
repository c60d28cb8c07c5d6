"""Between which two levels a curve's gain counts, and what is said where one of them is missing.

The first is the untrained network (step 0, else its controls, else the first step there is), the
second the last step at which any curve of the results has a score. No other step stands in for
either: what would need it is NaN, and a status says which end it was.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from dynamics.emergence.aggregate import average, of_scored
from dynamics.emergence.crossings import MISSING, NO_FIRST, NO_LAST, NO_LEVEL, ONE_STEP

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
    there = xr.apply_ufunc(np.isfinite, curve.reset_coords(drop=True), keep_attrs=False)
    number = there.sum("step")
    first, last = (there.isel(step=end, drop=True) for end in (0, -1))
    level = first if baseline is None else xr.DataArray(baseline).notnull()
    missing = {
        NO_LAST: ~last if "last" in needs else False,
        NO_FIRST: ~first if "first" in needs else False,
        NO_LEVEL: ~level if "level" in needs else False,
        ONE_STEP: number == 1
        if "several" in needs or ("level" in needs and baseline is None)
        else False,
    }
    found = xr.full_like(number, KNOWN, dtype=object)
    for text, lacking in missing.items():
        found = xr.where(lacking, text, found)
    return found.where(number > 0, MISSING).astype(str)


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
        return average(of_scored(results["untrained_score"].mean("control"), results), by=by)
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


def with_gaps(results: xr.Dataset) -> int:
    """Count the neuroids that have a score at some steps of a curve only.

    Means at the other steps are over other neuroids than these, which is to be said.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.

    Returns
    -------
    int
        Of neuroids or subjects; steps at which a layer has no score at all do not count.
    """
    score = results["score"]
    unit = next((dim for dim in ("neuroid", "subject") if dim in score.dims), None)
    if unit is None or "step" not in score.dims:
        return 0
    there = score.notnull()
    lacks = (~there & there.any(unit)).any("step") & there.any("step")
    return int(lacks.any([dim for dim in lacks.dims if dim != unit]).sum())


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
