"""Which layer is best at every step, and whether that moves with training."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy import stats

from dynamics.emergence.resampling import Scheme, aligned, drawn_curves


def best_layer(
    curve: xr.DataArray,
    resampled: xr.DataArray,
    *,
    confidence: float = 0.95,
    dim: str = "layer",
    draws: int = 400,
    seed: int = 0,
) -> xr.Dataset:
    """Find the best layer at every step, and whether it moves with training.

    The best layer jumps between layers that are nearly equal. The test is therefore made on the
    centre of the profile, sum(layer x weight) / sum(weight) with each layer's score above the
    worst one as its weight: its slope on log10(1 + step).

    Parameters
    ----------
    curve, resampled : xarray.DataArray
        As in `dynamics.emergence.interval`, with a dimension of layers from input to output.
    confidence : float
        Coverage of the slope's interval.
    dim : str
        Name of that dimension.
    draws : int
        How many sets of curves are drawn for `support`.
    seed : int
        Seed of the draws.

    Returns
    -------
    xarray.Dataset
        `best` (step): index of the best layer, -1 where nothing is known; `support` (step,
        layer): part of what the curves on another sample might have been in which that layer is
        best (single resamples deviate by more than the full sample does, or by one source of
        error at a time); `centre` (step), NaN where a layer has no score
        that has one at other steps; `slope` in layers a decade with `lower`, `upper`, `p`.
    """
    if dim not in curve.dims:
        raise ValueError(
            f"the curves have dimensions {curve.dims} and no `{dim}`: the best one is chosen of "
            "several, so select none before"
        )
    curve, resampled = aligned(curve, resampled)
    scheme = Scheme.of(resampled)
    number = curve.sizes[dim]
    names = {dim: curve[dim].to_numpy()} if dim in curve.coords else None
    index = xr.DataArray(np.arange(number), dims=dim, coords=names)
    known = curve.notnull().any(dim)
    best = highest(curve, dim=dim).where(known, -1)
    times = xr.zeros_like(curve)
    for drawn in drawn_curves(curve, resampled, draws=draws, seed=seed):
        times = times + (highest(drawn, dim=dim) == index).sum("draw")
    support = (times / draws).where(known)
    x = xr.DataArray(np.log10(1 + curve["step"].to_numpy()), dims="step")

    there = curve.notnull()
    whole = (there | ~there.any("step")).all(dim)

    def centre(scores: xr.DataArray) -> xr.DataArray:
        weight = scores - scores.min(dim)
        total = weight.sum(dim)
        # Without one of its layers a profile has another centre: no drift may come of that.
        use = (total > 0) & whole
        return (weight * index).sum(dim).where(use) / total.where(use)

    def slope(middle: xr.DataArray) -> xr.DataArray:
        here = x.where(middle.notnull())
        off = here - here.mean("step")
        return (off * middle).sum("step", min_count=2) / (off**2).sum("step")

    estimate = slope(centre(curve))
    error = scheme.error(slope(centre(resampled)))
    freedom = scheme.freedom(resampled.sizes["resample"])
    z = stats.t.ppf((1 + confidence) / 2, freedom)
    p = xr.apply_ufunc(lambda t: 2 * stats.t.sf(np.abs(t), freedom), estimate / error)
    return xr.Dataset(
        {
            "best": best,
            "support": support,
            "centre": centre(curve),
            "slope": estimate.assign_attrs(description="drift of the profile's centre",
                                           units="layers per decade of 1 + step"),
            "lower": estimate - z * error,
            "upper": estimate + z * error,
            "p": p,
        }
    ).assign_attrs(confidence=confidence)  # fmt: skip


def highest(curve: xr.DataArray, *, dim: str = "layer") -> xr.DataArray:
    """Return the place of the best layer, one without a score last; 0 where none has any."""
    return curve.fillna(-np.inf).argmax(dim)
