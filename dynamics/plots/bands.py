"""Which curves are drawn, and how uncertain they are."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy import stats

from dynamics import emergence
from dynamics.emergence import views
from dynamics.emergence.aggregate import average, by_subject, of_scored, with_ceiling
from dynamics.emergence.aggregate import resampled as resamples_of
from dynamics.record import mapping

_COUNTED = "counted_step"


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
        are over) and `layer`, both empty where there is none.
    """
    results, chosen = _of_one_layer(results, hue, layer)
    if hue == "layer":
        curve, low, high, over = curve_and_band(results)
        own = results.isel(step=counted_steps(results))
        untrained = views.untrained(own)
        apart = xr.full_like(untrained, views.has_controls(own), dtype=bool)
    else:
        each = parts(results, hue)
        counted = [part.isel(step=counted_steps(part)) for part in each.values()]
        levels = [float(views.untrained(part).mean()) for part in counted]
        untrained = xr.DataArray(levels, dims=hue)
        apart = xr.DataArray([views.has_controls(part) for part in counted], dims=hue)
        curves, lows, highs, overs = zip(*map(curve_and_band, each.values()))
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
) -> tuple[xr.DataArray, xr.DataArray | None, str]:
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
        return curve, resampled, chosen
    each = parts(results, by)
    found = {name: resampled_curve(part, above=above) for name, part in each.items()}
    if len({over for *_, over in found.values()}) > 1:
        # Resamples of subjects and resamples of stimuli alone have other spreads.
        found = {
            name: resampled_curve(part, subjects=False, above=above) for name, part in each.items()
        }
    curve = _side_by_side({name: one for name, (one, _, _) in found.items()}, by)
    if any(one is None for _, one, _ in found.values()):
        return curve, None, chosen
    again = {name: one for name, (_, one, _) in found.items() if one is not None}
    return curve, _side_by_side(again, by), chosen


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


def pick_layer(results: xr.Dataset, layer: str | None = None) -> tuple[xr.Dataset, str]:
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
        return results, ""
    names = [str(name) for name in results["layer"].to_numpy()]
    if layer is None:
        score = average(results["score"])
        mean = score.mean([dim for dim in score.dims if dim not in ("step", "layer")])
        last = mean.dropna("step", how="all")
        place = int(last.isel(step=-1).fillna(-np.inf).argmax("layer")) if last.size else 0
    elif layer in names:
        place = names.index(layer)
    else:
        raise ValueError(f"no layer {layer!r}: there are {', '.join(names)}")
    return results.isel(layer=place, drop=True), names[place]


def curve_and_band(
    results: xr.Dataset,
) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray, str]:
    """Return the mean curves of results, with pointwise limits of 95 %.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.

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
        limits = emergence.bands(curve, resampled)
        low, high = limits["lower"], limits["upper"]
    else:
        units, over = units_of(results)
        freedom = units.sizes["unit"] - 1
        curve = average(results["score"])
        error = units.std("unit", ddof=1) / np.sqrt(freedom + 1) if over else curve * np.nan
        half = stats.t.ppf(0.975, max(1, freedom)) * error
        low, high = curve - half, curve + half
    return _in_order(curve), _in_order(low), _in_order(high), over


def resampled_curve(
    results: xr.Dataset, *, subjects: bool = True, above: str = ""
) -> tuple[xr.DataArray, xr.DataArray | None, str]:
    """Return the mean curves and the same on resamples, for `dynamics.emergence.interval`.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.
    subjects : bool
        Whether to resample subjects as well, where there are three or more.
    above : str
        Level that is taken off, resample by resample: ``"baseline"`` or ``"untrained"``.

    Returns
    -------
    curve : xarray.DataArray
        Dimensions step and, where there is one, layer.
    resampled : xarray.DataArray or None
        With `resample` besides; None where the results have no ``resample_score``.
    over : str
        What the resamples vary: the attribute `over` of ``resample_score``, by default "test
        sounds" for probes and else "stimuli"; "and subjects" where they are resampled as well.
    """
    again = resamples_of(results)
    if again is None:
        curve = mean_curve(results)
        return curve - average(views.level_of(results, above)[0]) if above else curve, None, ""
    is_probe = mapping(results.attrs.get("identity")).get("metric") == "probe"
    default = "test sounds" if is_probe else "stimuli"
    over = str(again.attrs.get("over", default))
    curve, resampled = by_subject(results["score"]), by_subject(again.load())
    if above:
        level, exact = views.level_of(results, above)
        off = None if exact is None else by_subject(exact)
        curve, lower = views.less((curve, resampled), by_subject(level), off)
        resampled = resampled if lower is None else lower
    if subjects and "subject" in curve.dims:
        there = curve.notnull().any("step").sum("subject")
        if int(there.where(there > 0).min().fillna(0)) > 2:
            over = f"{over} and subjects"
            curve, resampled = emergence.with_subjects(curve, resampled)
            return curve, resampled.assign_attrs(over=over), over
    return average(curve), average(resampled).assign_attrs(over=over), over


def mean_curve(results: xr.Dataset) -> xr.DataArray:
    """Return the mean curves of results without their limits.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.

    Returns
    -------
    xarray.DataArray
        Dimensions step and, where there is one, layer.
    """
    return _in_order(average(results["score"]))


def counted_steps(results: xr.Dataset, by: str = "", place: int = 0) -> np.ndarray:
    """Which steps statistics are made of: those of a curve's own run that did not fail.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric, or `stack` of several.
    by : str
        Dimension of the runs; without it those of any run.
    place : int
        Which of them.

    Returns
    -------
    array of bool, shape (n_steps,)
        All, but for the steps of other runs, those that were put in as gaps, and last ones at
        which no curve at all has a score: of parts of results those of the whole, where
        `with_counted` has marked them.
    """
    if _COUNTED in results.coords:
        values = results[_COUNTED]
        values = values.isel({by: place}) if by in values.dims else values
        return values.any([dim for dim in values.dims if dim != "step"]).to_numpy()
    has = np.ones(results.sizes["step"], bool)
    for name, meant in (("own_step", True), ("failed_step", False)):
        if name in results.coords:
            values = results[name].isel({by: place}) if by in results[name].dims else results[name]
            others = [dim for dim in values.dims if dim != "step"]
            has &= (values == meant).any(others).to_numpy()
    last = views.scored(results.isel(step=has)).sizes["step"]
    return has & (np.cumsum(has) <= last)


def with_counted(results: xr.Dataset) -> xr.Dataset:
    """Mark the steps of `counted_steps`, so that parts of results are of the steps of the whole.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric, or `stack` of several.

    Returns
    -------
    xarray.Dataset
        With the coordinate `counted_step`; the same where they have it.
    """
    if _COUNTED in results.coords:
        return results
    dims = results["own_step"].dims if "own_step" in results.coords else ("step",)
    (by,) = [str(dim) for dim in dims if dim != "step"] or [""]
    if not by:
        return results.assign_coords({_COUNTED: ("step", counted_steps(results))})
    each = [counted_steps(results.isel({by: [place]}), by) for place in range(results.sizes[by])]
    return results.assign_coords({_COUNTED: ((by, "step"), np.stack(each))})


def units_of(results: xr.Dataset) -> tuple[xr.DataArray, str]:
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


def level(results: xr.Dataset, name: str) -> float:
    """Return the mean baseline, ceiling or chance level, averaged as the curves; NaN without one.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.
    name : str
        ``"baseline"``, ``"ceiling"`` or ``"chance"``.

    Returns
    -------
    float
        In the unit of the scores.
    """
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


def _of_one_layer(results: xr.Dataset, by: str, layer: str | None) -> tuple[xr.Dataset, str]:
    return (results, "") if by == "layer" else pick_layer(results, layer)


def _side_by_side(curves: dict[str, xr.DataArray], dim: str) -> xr.DataArray:
    names = xr.DataArray(list(curves), dims=dim, name=dim)
    bare = [curve.drop_vars(dim, errors="ignore") for curve in curves.values()]
    joined = xr.concat(bare, names, coords="minimal", compat="override", combine_attrs="override")
    return joined.transpose("step", dim, ...)


def _in_order(curve: xr.DataArray) -> xr.DataArray:
    return curve.transpose("step", "layer", missing_dims="ignore")
