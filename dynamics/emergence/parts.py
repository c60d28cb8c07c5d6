"""Curves of parts of results, side by side: layers, regions, subjects, neuroids or runs."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from scipy import stats

from dynamics.emergence import levels
from dynamics.emergence.aggregate import average, by_subject
from dynamics.emergence.best_layers import OfLayer, pick_layer
from dynamics.emergence.choice import confidence_of_chosen
from dynamics.emergence.curves import counted_steps, in_order, resampled_curve, with_counted
from dynamics.emergence.intervals import bands, interval
from dynamics.emergence.remarks import briefly, why_no_intervals
from dynamics.emergence.table import function_of


class Band(NamedTuple):
    """Curves with pointwise limits, and what these are over; empty where there are none."""

    curve: xr.DataArray
    low: xr.DataArray
    high: xr.DataArray
    over: str


class Chosen(NamedTuple):
    """Curves, the same on resamples, and the layer that was chosen; empty where there was none."""

    curve: xr.DataArray
    resampled: xr.DataArray | None
    layer: str


def bands_by(results: xr.Dataset, *, hue: str = "layer", layer: str | None = None) -> xr.Dataset:
    """Return one curve for every value of a dimension or coordinate, with limits of 95 %.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.
    hue : str
        As in `parts`.
    layer : str, optional
        Which layer, where `hue` is something else; by default as in `pick_layer`.

    Returns
    -------
    xarray.Dataset
        `curve`, `low`, `high` (step, hue), as `curve_and_band` has them; `untrained` (hue), the
        level of the untrained network (NaN: there is none); `apart` (hue): whether that is of
        controls and no step of the curve; attributes `over` (what the limits
        are over) and `layer`, both empty where there is none. Limits of a layer that was chosen
        hold for all layers at once (`dynamics.emergence.confidence_of_each`).
    """
    sure = confidence_of_chosen(results, layer if hue != "layer" else "")
    results, chosen = _of_one_layer(results, hue, layer)
    if hue == "layer":
        curve, low, high, over = curve_and_band(results)
        own = results.isel(step=counted_steps(results))
        untrained = levels.untrained(own)
        apart = xr.full_like(untrained, levels.has_controls(own), dtype=bool)
    else:
        each = parts(results, hue)
        counted = [part.isel(step=counted_steps(part)) for part in each.values()]
        heights = [float(levels.untrained(part).mean()) for part in counted]
        untrained = xr.DataArray(heights, dims=hue)
        apart = xr.DataArray([levels.has_controls(part) for part in counted], dims=hue)
        curves, lows, highs, overs = zip(
            *(curve_and_band(part, confidence=sure) for part in each.values())
        )
        curve, low, high = (
            _side_by_side(dict(zip(each, some)), hue) for some in (curves, lows, highs)
        )
        over = " or ".join(sorted({*overs} - {""}))
    return xr.Dataset(
        {
            "curve": curve,
            "low": low,
            "high": high,
            "untrained": untrained.drop_vars(hue, errors="ignore"),
            "apart": apart.drop_vars(hue, errors="ignore"),
        },
        attrs={"over": over, "layer": chosen},
    )


def curves_by(
    results: xr.Dataset, *, by: str = "layer", layer: str | None = None, above: str = ""
) -> Chosen:
    """Return the same curves and their resamples, for `dynamics.emergence`.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.
    by : str
        As in `parts`.
    layer : str, optional
        As in `bands_by`.
    above : str
        As in `resampled_curve`.

    Returns
    -------
    curve : xarray.DataArray
        Dimensions step and `by`.
    resampled : xarray.DataArray or None
        With `resample` besides, and the attribute `over`: what the resamples vary; None where the
        results have no ``resample_score``.
    layer : str
        The layer that was chosen; empty where there was nothing to choose.
    """
    results, chosen = _of_one_layer(results, by, layer)
    if by == "layer":
        curve, resampled, _ = resampled_curve(results, above=above)
        return Chosen(curve, resampled, chosen)
    each = parts(results, by)
    found = {name: resampled_curve(part, above=above) for name, part in each.items()}
    if len({over for *_, over in found.values()}) > 1:
        # Resamples of subjects and resamples of stimuli alone have other spreads.
        found = {
            name: resampled_curve(part, subjects=False, above=above) for name, part in each.items()
        }
    curve = _side_by_side({name: one for name, (one, _, _) in found.items()}, by)
    if any(one is None for _, one, _ in found.values()):
        return Chosen(curve, None, chosen)
    again = {name: one for name, (_, one, _) in found.items() if one is not None}
    return Chosen(curve, _side_by_side(again, by), chosen)


def curve_and_band(results: xr.Dataset, *, confidence: float = 0.95) -> Band:
    """Return the mean curves of results, with pointwise limits of 95 %.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.
    confidence : float
        Coverage of the limits, where it is another one.

    Returns
    -------
    curve, low, high : xarray.DataArray
        Dimensions step and, where there is one, layer. The limits are from Student's t: with
        ``resample_score`` over stimuli by complementary halves (of probes over what its attribute
        `over` says), and over subjects as well where there are three or more; else over subjects,
        or over test folds. NaN where there is nothing to tell them from.
    over : str
        What the limits are over; empty where there are none.
    """
    curve, resampled, over = resampled_curve(results)
    if resampled is not None:
        limits = bands(curve, resampled, confidence=confidence)
        low, high = limits["lower"], limits["upper"]
    else:
        units, over = _units_of(results)
        freedom = units.sizes["unit"] - 1
        curve = average(results["score"])
        error = units.std("unit", ddof=1) / np.sqrt(freedom + 1) if over else curve * np.nan
        half = stats.t.ppf((1 + confidence) / 2, max(1, freedom)) * error
        low, high = curve - half, curve + half
    return Band(in_order(curve), in_order(low), in_order(high), over)


def parts(results: xr.Dataset, by: str) -> dict[str, xr.Dataset]:
    """Split results by the values of a dimension or coordinate.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.
    by : str
        ``"layer"``, ``"neuroid"``, ``"subject"``, ``"region"``, any other coordinate of the
        neuroids, or a dimension such as the ``"run"`` of `stack`.

    Returns
    -------
    dict of str to xarray.Dataset
        In the order in which the values first appear.

    Raises
    ------
    ValueError
        If the scores have no such coordinate.
    """
    score = results["score"]
    if by not in score.coords and by not in score.dims:
        labels = [
            name
            for name, values in score.coords.items()
            if values.dtype.kind != "f" and "step" not in values.dims
        ]
        known = sorted({*map(str, labels), *map(str, score.dims)} - {"step"})
        raise ValueError(f"the scores have no {by!r} to tell apart: use {', '.join(known)}")
    if by in score.dims:
        dim, values = by, results[by].to_numpy()
    else:
        (dim,) = map(str, score[by].dims)
        values = score[by].to_numpy()
    places: dict[str, list[int]] = {}
    for place, value in enumerate(values):
        places.setdefault(str(value), []).append(place)
    # Averages know what to do with neuroids and subjects; any other dimension is over.
    single = by in score.dims and by not in ("neuroid", "subject")
    return {
        name: results.isel({dim: found[0] if single else found}, drop=single)
        for name, found in places.items()
    }


def points_of(score: xr.DataArray, *, most: int) -> np.ndarray:
    """Return what a mean at one step is of: subjects where there are several, else few neuroids.

    Parameters
    ----------
    score : xarray.DataArray
        Scores of one layer at one step.
    most : int
        Up to how many neuroids are shown.

    Returns
    -------
    array of shape (n_points,)
        Those that are known; none where neuroids are more.
    """
    each = by_subject(score)
    if "subject" in each.dims and each.sizes["subject"] > 1:
        values = each.to_numpy()
    elif "neuroid" in score.dims and score.sizes["neuroid"] <= most:
        values = score.to_numpy()
    else:
        return np.zeros(0)
    return values[np.isfinite(values)]


def steps_by(
    results: xr.Dataset,
    *,
    by: str = "layer",
    layer: str | None = None,
    statistic: str = "half_time",
    confidence: float = 0.95,
    **arguments: Any,
) -> OfLayer:
    """Return a step of each curve, such as its half-time, with its interval.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric, or `dynamics.plots.stack` of several.
    by, layer
        As in `bands_by`.
    statistic, confidence, **arguments
        As in `dynamics.emergence.interval`. It counts from the level of `levels.untrained`.

    Returns
    -------
    results : xarray.Dataset
        As `dynamics.emergence.interval`, along `by`, with the attribute `over`; without limits
        the attribute `no_intervals`, why there are none. Limits of a layer that was chosen hold for
        all layers at once: each by itself at `confidence_of_each`.
    layer : str
        The layer that was chosen.
    """
    options = {"statistic": statistic, "confidence": confidence, **arguments}
    if "own_step" not in results.coords or by not in results["own_step"].dims:
        return _steps(results, by, layer, **options)
    picked, chosen = pick_layer(with_counted(results), layer)
    rows = [
        _steps(part.expand_dims(layer=[name]), "layer", None, **options).results.rename(layer=by)
        for name, part in parts(picked, by).items()
    ]
    options = {"coords": "all", "compat": "equals", "join": "outer"}
    return OfLayer(xr.concat(rows, by, combine_attrs="override", **options), chosen)


def _steps(
    results: xr.Dataset,
    by: str,
    layer: str | None,
    *,
    statistic: str,
    confidence: float,
    **arguments: Any,
) -> OfLayer:
    results = results.isel(step=counted_steps(results))
    sure = confidence
    if by != "layer":
        sure = confidence_of_chosen(results, layer, confidence=confidence)
    apart = levels.has_controls(results) and "baseline" not in arguments
    above = "untrained" if apart else ""
    curve, resampled, chosen = curves_by(results, by=by, layer=layer, above=above)
    if apart:
        arguments["baseline"] = xr.DataArray(0.0)
    if curve.sizes["step"] < 2 or resampled is None:
        when = function_of(statistic)(curve, **arguments)
        why = briefly(why_no_intervals(results)) if resampled is None else "one step is no curve"
        attrs = {"statistic": statistic, "no_intervals": why}
        return OfLayer(xr.Dataset({"estimate": when}, attrs=attrs), chosen)
    found = interval(curve, resampled, statistic=statistic, confidence=sure, **arguments)
    limits = {"over": resampled.attrs["over"], "confidence": confidence, "confidence_of_each": sure}
    return OfLayer(found.assign_attrs(limits), chosen)


def _units_of(results: xr.Dataset) -> tuple[xr.DataArray, str]:
    """Return scores of the units over which intervals are made, and what the units are.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric, without resamples.

    Returns
    -------
    scores : xarray.DataArray
        With a dimension `unit`.
    over : str
        "subjects", "test folds" (whose mean is not the score of all predictions together, and
        which only say how far that is off), or empty: then there is one unit, the mean.
    """
    score = by_subject(results["score"])
    if "subject" in score.dims:
        score = score.dropna("subject", how="all")
        if score.sizes["subject"] > 2:
            return score.rename(subject="unit"), "subjects"
    if "fold_score" in results:
        return average(results["fold_score"]).rename(split="unit"), "test folds"
    return average(score).expand_dims("unit"), ""


def _of_one_layer(results: xr.Dataset, by: str, layer: str | None) -> OfLayer:
    return OfLayer(results, "") if by == "layer" else pick_layer(results, layer)


def _side_by_side(curves: dict[str, xr.DataArray], dim: str) -> xr.DataArray:
    names = xr.DataArray(list(curves), dims=dim, name=dim)
    bare = [curve.drop_vars(dim, errors="ignore") for curve in curves.values()]
    joined = xr.concat(bare, names, coords="minimal", compat="override", combine_attrs="override")
    return joined.transpose("step", dim, ...)
