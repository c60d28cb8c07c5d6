"""When a curve over training steps gets where: half-times and gains."""

from __future__ import annotations

import numpy as np
import xarray as xr


def half_time(
    curve: xr.DataArray, *, fraction: float = 0.5, baseline: xr.DataArray | None = None
) -> xr.DataArray:
    """First training step at which a curve has made a fraction of its final gain.

    The gain is from the baseline (by default the first step, the untrained network) to the last
    step (Raugel et al. 2025, arXiv 2508.18226). Between two steps s and t the curve is linear in
    log(1 + step), so that step 0 has a place.

    Parameters
    ----------
    curve : xarray.DataArray
        Scores with a dimension `step` in ascending order; any other dimensions.
    fraction : float
        Which part of the gain, above 0 and at most 1.
    baseline : xarray.DataArray, optional
        Level from which the gain counts.

    Returns
    -------
    xarray.DataArray
        Step (not rounded), without the dimension `step`; NaN where the curve does not end above
        its baseline, or has fewer than two finite values.

    Raises
    ------
    ValueError
        If the curve has no dimension `step`, the steps do not ascend or the fraction is not in
        (0, 1].
    """
    if "step" not in curve.dims:
        raise ValueError(f"the curve has dimensions {curve.dims}: `step` is missing")
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must be above 0 and at most 1, found {fraction}")
    steps = curve["step"].to_numpy()
    if (np.diff(steps) <= 0).any():
        raise ValueError("steps must ascend: sort the curve by step first")
    start = curve.isel(step=0) if baseline is None else baseline
    return xr.apply_ufunc(
        lambda scores, level: _first_crossing(steps, scores, level, fraction),
        curve,
        start,
        input_core_dims=[["step"], []],
        vectorize=True,
        output_dtypes=[float],
        keep_attrs=False,
    ).assign_attrs(description=f"step at {fraction:g} of the final gain", units="step")


def gain(curve: xr.DataArray) -> xr.DataArray:
    """Score at the last step minus score at the first.

    Parameters
    ----------
    curve : xarray.DataArray
        Scores with a dimension `step` in ascending order.

    Returns
    -------
    xarray.DataArray
        Without the dimension `step`.
    """
    return curve.isel(step=-1, drop=True) - curve.isel(step=0, drop=True)


def _first_crossing(steps: np.ndarray, scores: np.ndarray, level: float, fraction: float) -> float:
    finite = np.isfinite(scores)
    steps, scores = steps[finite], scores[finite]
    if len(scores) < 2 or not scores[-1] > level:
        return np.nan
    goal = level + fraction * (scores[-1] - level)
    first = int(np.argmax(scores >= goal))
    if first == 0:
        return float(steps[0])
    low, high = scores[first - 1], scores[first]
    place = np.log1p(steps[first - 1]) + (goal - low) / (high - low) * (
        np.log1p(steps[first]) - np.log1p(steps[first - 1])
    )
    return float(np.expm1(place))
