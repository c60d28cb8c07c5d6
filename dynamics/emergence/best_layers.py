"""Which layer is best at every step, and whether that moves with training."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy import stats

from dynamics.emergence.aggregate import average
from dynamics.emergence.contrasts import Noise
from dynamics.emergence.crossed import shown_lower
from dynamics.emergence.resampling import Scheme, aligned, drawn_curves
from dynamics.emergence.statistics import unit_of

_LEAST = 3  # steps to tell a drift by


class OfLayer(NamedTuple):
    """Results of one layer, and its name; empty where the results have no layers."""

    results: xr.Dataset
    layer: str


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
    worst one as its weight: its slope on log10(1 + step). Where layers are alike the profile is
    noise and has no centre, so only steps at which layers are shown to differ (familywise over
    layers and steps) count, three at least. A ratio of noise to noise does not get surer with more
    stimuli: the error is that of halves of them, which is too large where profiles are clear.
    Of profiles that are flat, that rest, or that rest and grow, with 6 to 20 steps, 0 to 3 % have
    p <= .05.

    Parameters
    ----------
    curve, resampled : xarray.DataArray
        As in `dynamics.emergence.interval`, with a dimension of layers from input to output.
    confidence : float
        Coverage of the slope's interval, and of the layers that may be the best.
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
        layer): part of curves drawn around these in which that layer is best, which is not how
        often it would be best on another sample: the one that is best here is so too often; `may`
        (step, layer): whether a layer may be the best one, as no other is shown to be higher,
        familywise over the layers of a step (Hsu 1981, 10.1214/aos/1176345582); `centre` (step),
        NaN where a layer has no score that has one at other steps; `differ` (step): whether layers
        are shown to differ; `slope` in layers a decade over those steps with `lower`, `upper`,
        `p`, NaN where there are fewer than three.
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
    times = xr.zeros_like(curve)
    for drawn in drawn_curves(curve, resampled, draws=draws, seed=seed):
        times = times + (highest(drawn, dim=dim) == index).sum("draw")
    there = curve.notnull()
    whole = (there | ~there.any("step")).all(dim)
    centre, clouds = (_centre(each, index, whole, dim) for each in (curve, resampled))
    differ = _differ(curve, resampled, dim, seed)
    enough = differ.sum("step") >= _LEAST
    estimate, slopes = (_slope(each.where(differ)).where(enough) for each in (centre, clouds))
    error = scheme.error(slopes) * (2**0.5 if scheme.paired else 1.0)
    freedom = scheme.freedom(resampled.sizes["resample"])
    z = stats.t.ppf((1 + confidence) / 2, freedom)
    p = xr.apply_ufunc(lambda t: 2 * stats.t.sf(np.abs(t), freedom), estimate / error)
    text = {
        "description": "drift of the profile's centre",
        "units": f"layers per decade of 1 + {unit_of(curve)}",
    }
    return xr.Dataset(
        {
            "best": highest(curve, dim=dim).where(known, -1),
            "support": (times / draws).where(known),
            "may": _may(curve, resampled, dim, seed, 1 - confidence),
            "centre": centre,
            "differ": differ,
            "slope": estimate.assign_attrs(text),
            "lower": estimate - z * error,
            "upper": estimate + z * error,
            "p": p,
        }
    ).assign_attrs(confidence=confidence)


def highest(curve: xr.DataArray, *, dim: str = "layer") -> xr.DataArray:
    """Return the place of the best layer, one without a score last; 0 where none has any."""
    return curve.fillna(-np.inf).argmax(dim)


def pick_layer(results: xr.Dataset, layer: str | None = None) -> OfLayer:
    """Select one layer: the one asked for, or the one with the best mean score at the end.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.
    layer : str, optional
        Its name.

    Returns
    -------
    results : xarray.Dataset
        Without the dimension `layer`.
    layer : str
        The name; empty where the results have no layers.

    Raises
    ------
    ValueError
        If there is no such layer.
    """
    if "layer" not in results.dims:
        return OfLayer(results, "")
    names = [str(name) for name in results["layer"].to_numpy()]
    if layer is None:
        score = average(results["score"])
        mean = score.mean([dim for dim in score.dims if dim not in ("step", "layer")])
        last = mean.dropna("step", how="all")
        place = int(highest(last.isel(step=-1))) if last.size else 0
    elif layer in names:
        place = names.index(layer)
    else:
        raise ValueError(f"no layer {layer!r}: there are {', '.join(names)}")
    return OfLayer(results.isel(layer=place, drop=True), names[place])


def _centre(
    scores: xr.DataArray, index: xr.DataArray, whole: xr.DataArray, dim: str
) -> xr.DataArray:
    """Return the centre of the profile at every step."""
    weight = scores - scores.min(dim)
    total = weight.sum(dim)
    # Without one of its layers a profile has another centre: no drift may come of that.
    use = (total > 0) & whole
    return (weight * index).sum(dim).where(use) / total.where(use)


def _differ(curve: xr.DataArray, resampled: xr.DataArray, dim: str, seed: int) -> xr.DataArray:
    """Return at which steps layers differ, by the largest deviation from their mean."""
    noise, level = Noise(resampled, 2000, seed), 0.05 / curve.sizes["step"]

    def of_step(scores: np.ndarray, cloud: np.ndarray) -> bool:
        known = np.isfinite(scores) & np.isfinite(cloud).all(0)
        if known.sum() < 2:
            return False
        off = scores[known] - scores[known].mean()
        clouds = cloud[:, known] - cloud[:, known].mean(1, keepdims=True)
        _, p = noise.largest(np.r_[off, -off], np.c_[clouds, -clouds])
        return bool(np.nanmin(p) <= max(level, 1 / (1 + len(noise.mix))))

    return xr.apply_ufunc(
        of_step,
        curve,
        resampled,
        input_core_dims=[[dim], ["resample", dim]],
        vectorize=True,
        output_dtypes=[bool],
    )


def _may(
    curve: xr.DataArray, resampled: xr.DataArray, dim: str, seed: int, level: float
) -> xr.DataArray:
    """Return which layers may be the best one at every step."""
    scheme = Scheme.of(resampled).attrs

    def of_step(scores: np.ndarray, cloud: np.ndarray) -> np.ndarray:
        known = np.isfinite(scores) & np.isfinite(cloud).all(0)
        found = np.zeros(len(scores), bool)
        if known.any():
            again = xr.DataArray(cloud[:, known], dims=("resample", dim), attrs=scheme)
            found[known] = shown_lower(scores[known], again, seed=seed) > level
        return found

    return xr.apply_ufunc(
        of_step,
        curve,
        resampled,
        input_core_dims=[[dim], ["resample", dim]],
        output_core_dims=[[dim]],
        vectorize=True,
        output_dtypes=[bool],
    )


def _slope(centre: xr.DataArray) -> xr.DataArray:
    """Return how much a centre moves a decade."""
    x = xr.DataArray(np.log10(1 + centre["step"].to_numpy()), dims="step")
    here = x.where(centre.notnull())
    off = here - here.mean("step")
    return (off * centre).sum("step", min_count=2) / (off**2).sum("step")
