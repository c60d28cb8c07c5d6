"""Which curves are drawn, and how uncertain they are."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy import stats

from dynamics import emergence
from dynamics.averages import average, by_subject


def curve_and_band(
    results: xr.Dataset,
) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray, str]:
    """Return the curves that `plot_curves` draws, with pointwise limits of 95 %.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.

    Returns
    -------
    curve, low, high : xarray.DataArray
        Dimensions step and layer. The limits are from Student's t: with ``resample_score`` over
        stimuli by complementary halves, and over subjects as well where there are three or more;
        else over subjects, or over test folds (then the curve is their mean). NaN where there
        is nothing to tell them from.
    over : str
        What the limits are over; empty where there are none.
    """
    curve, resampled, over = resampled_curve(results)
    if resampled is not None:
        scheme = emergence.Scheme.of(resampled)
        error = scheme.error(resampled)
        freedom = scheme.freedom(resampled.sizes["resample"])
    else:
        units, over = units_of(results)
        freedom = units.sizes["unit"] - 1
        curve = units.mean("unit")
        error = units.std("unit", ddof=1) / np.sqrt(freedom + 1) if over else curve * np.nan
    half = stats.t.ppf(0.975, max(1, freedom)) * error
    order = ("step", "layer")
    return (*(part.transpose(*order) for part in (curve, curve - half, curve + half)), over)


def resampled_curve(
    results: xr.Dataset,
) -> tuple[xr.DataArray, xr.DataArray | None, str]:
    """Return the mean curves and the same on resamples, for `dynamics.emergence.interval`.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.

    Returns
    -------
    curve : xarray.DataArray
        Dimensions step and layer.
    resampled : xarray.DataArray or None
        With `resample` besides; None where the results have no ``resample_score``.
    over : str
        What the resamples vary.
    """
    if "resample_score" not in results:
        return mean_curve(results), None, ""
    curve, resampled = results["score"], results["resample_score"].load()
    curve, resampled = by_subject(curve), by_subject(resampled)
    if "subject" in curve.dims and curve.sizes["subject"] > 2:
        return (*emergence.with_subjects(curve, resampled), "stimuli and subjects")
    if "subject" in curve.dims:
        curve, resampled = average(curve), average(resampled)
    return curve, resampled, "stimuli"


def mean_curve(results: xr.Dataset) -> xr.DataArray:
    """Return the curves that `plot_curves` draws, without their limits.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.

    Returns
    -------
    xarray.DataArray
        Dimensions step and layer.
    """
    if "resample_score" in results:
        return average(results["score"]).transpose("step", "layer")
    return units_of(results)[0].mean("unit").transpose("step", "layer")


def units_of(results: xr.Dataset) -> tuple[xr.DataArray, str]:
    """Return scores of the units over which intervals are made, and what the units are."""
    score = by_subject(results["score"])
    if "subject" in score.dims and score.sizes["subject"] > 2:
        return score.rename(subject="unit"), "subjects"
    if "fold_score" in results:
        return average(results["fold_score"]).rename(split="unit"), "test folds"
    return average(score).expand_dims("unit"), ""
