"""Levels of curves over training steps: gain, plateau, peak, area, part of the ceiling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from dynamics.emergence.crossings import window
from dynamics.emergence.ends import KNOWN, NEEDS, status
from dynamics.emergence.statistics import check


def plateau(curve: xr.DataArray, *, decades: float = 1.0) -> xr.DataArray:
    """Mean score over the last decades of training.

    Parameters
    ----------
    curve : xarray.DataArray
        As in `half_time`.
    decades : float
        Width of the window in powers of ten of step; two steps at least.

    Returns
    -------
    xarray.DataArray
        Without the dimension `step`; of the steps with a score; NaN without one at the last step.
    """
    steps = check(curve)
    level = curve.isel(step=window(steps, decades)).mean("step")
    if bool(curve.isnull().any()):
        # As the step of the plateau has it: two steps at least of those that have a score.
        def mean_of_last(scores: np.ndarray) -> float:
            finite = np.isfinite(scores)
            return scores[finite][window(steps[finite], decades)].mean() if finite.any() else np.nan

        level = _apply(mean_of_last, curve)
    level = level.where(status(curve, needs=NEEDS["plateau"]) == KNOWN)
    return level.assign_attrs(description=f"mean of the last {decades:g} decades", units="1")


def gain(curve: xr.DataArray, *, baseline: xr.DataArray | None = None) -> xr.DataArray:
    """Score at the last step minus score at the first, or minus a baseline.

    Parameters
    ----------
    curve : xarray.DataArray
        Scores with a dimension `step` in ascending order.
    baseline : xarray.DataArray, optional
        Level from which the gain counts (the spectrotemporal baseline, say).

    Returns
    -------
    xarray.DataArray
        Without the dimension `step`; NaN without a score at the last step, or, where there is no
        baseline, at the first, for which no other step stands in, and of one step alone.
    """
    check(curve)
    start = curve.isel(step=0, drop=True) if baseline is None else baseline
    rise = curve.isel(step=-1, drop=True) - start
    rise = rise.where(status(curve, needs=NEEDS["gain"], baseline=baseline) == KNOWN)
    return rise.assign_attrs(description="last score minus baseline", units="1")


def final(curve: xr.DataArray) -> xr.DataArray:
    """Score at the last step.

    For the interval of a gain over a baseline that was resampled too, subtract the one from the
    other first, on all stimuli and resample by resample, and ask for this.

    Parameters
    ----------
    curve : xarray.DataArray
        As in `half_time`.

    Returns
    -------
    xarray.DataArray
        Without the dimension `step`.
    """
    check(curve)
    return curve.isel(step=-1, drop=True).assign_attrs(description="last score", units="1")


def area(curve: xr.DataArray, *, baseline: xr.DataArray | None = None) -> xr.DataArray:
    """Area between a curve and its baseline over log(1 + step), divided by the axis' length.

    Parameters
    ----------
    curve : xarray.DataArray
        As in `half_time`; missing scores are bridged.
    baseline : xarray.DataArray, optional
        As in `half_time`.

    Returns
    -------
    xarray.DataArray
        Mean score above the baseline, every factor of training counting the same; NaN with
        fewer than two finite scores, and where either end of the axis has none.
    """
    steps = check(curve)
    start = curve.isel(step=0, drop=True) if baseline is None else baseline

    def mean_height(scores: np.ndarray) -> float:
        finite = np.isfinite(scores)
        if finite.sum() < 2 or not (finite[0] and finite[-1]):
            return np.nan
        x = np.log1p(steps[finite])
        y = scores[finite]
        return float(np.diff(x) @ (y[1:] + y[:-1]) / 2 / (x[-1] - x[0]))

    mean = _apply(mean_height, curve)
    return (mean - start).assign_attrs(description="mean gain over log(1 + step)", units="1")


def ceiling_fraction(curve: xr.DataArray, ceiling: xr.DataArray | float) -> xr.DataArray:
    """Score at the last step as a part of the noise ceiling.

    Parameters
    ----------
    curve : xarray.DataArray
        As in `half_time`.
    ceiling : xarray.DataArray or float
        Ceiling in the unit of the scores.

    Returns
    -------
    xarray.DataArray
        NaN where the ceiling is not above 0; above 1 is possible and is left.
    """
    check(curve)
    ceiling = xr.DataArray(ceiling)
    fraction = curve.isel(step=-1, drop=True) / ceiling.where(ceiling > 0)
    return fraction.assign_attrs(description="last score over noise ceiling", units="1")


def peak(curve: xr.DataArray, *, baseline: xr.DataArray | None = None) -> xr.Dataset:
    """Where a curve is highest, and how much of it is lost by the last step.

    Parameters
    ----------
    curve : xarray.DataArray
        As in `half_time`.
    baseline : xarray.DataArray, optional
        As in `half_time`.

    Returns
    -------
    xarray.Dataset
        `step`, `score` at the peak; `decline`: peak minus last score, never negative and above
        0 for any noisy curve, NaN without a score at the last step (`decline_test` says whether
        it is more than noise);
        `decline_fraction`: of the peak's gain over the baseline, NaN where that is not above 0.
        One step alone has neither.
    """
    steps = check(curve)
    start = curve.isel(step=0, drop=True) if baseline is None else baseline
    filled = curve.fillna(-np.inf)
    place = filled.argmax("step")
    height = curve.max("step")
    last = curve.isel(step=-1, drop=True)
    rise = height - start
    known = np.isfinite(height)
    lost = (height - last).where(status(curve, needs=NEEDS["decline"]) == KNOWN)
    when = xr.DataArray(steps.astype(float)[place.to_numpy()], dims=place.dims).where(known)
    found = xr.Dataset(
        {
            "peak_step": when,
            "score": height,
            "decline": lost,
            "decline_fraction": (lost / rise).where(rise > 0),
        }
    )
    for name, text in {
        "peak_step": ("step of the highest score", "step"),
        "score": ("highest score", "1"),
        "decline": ("highest minus last score", "1"),
        "decline_fraction": ("decline over the peak's gain", "1"),
    }.items():
        found[name].attrs.update(description=text[0], units=text[1])
    return found


def _apply(function: Callable, curve: xr.DataArray) -> xr.DataArray:
    return xr.apply_ufunc(
        function, curve, input_core_dims=[["step"]], vectorize=True, output_dtypes=[float]
    )
