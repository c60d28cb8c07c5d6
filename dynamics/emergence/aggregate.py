"""How scores of single neuroids become a curve: within each subject first, so that each counts."""

from __future__ import annotations

import re

import numpy as np
import xarray as xr

from dynamics.record import check_scheme

COUNT = "neuroids_averaged"
"""Coordinate of means of groups of neuroids: of how many each is the mean."""


def average(score: xr.DataArray, *, by: str | None = None) -> xr.DataArray:
    """Average scores over neuroids or subjects.

    Parameters
    ----------
    score : xarray.DataArray
        Scores with a dimension `neuroid` or `subject`, or with neither: then nothing is done.
    by : str, optional
        Average within each value of this coordinate (``"region"``, ``"subject"``), of each
        subject first, and keep it as a dimension; ``"neuroid"`` leaves every neuroid to itself.
        By default over all neuroids, within each subject first, and over subjects.

    Returns
    -------
    xarray.DataArray
        Without the dimension that was averaged over; attributes are kept.

    Raises
    ------
    ValueError
        If there is no such coordinate.
    """
    units = [dim for dim in ("group", "neuroid", "subject") if dim in score.dims]
    if by is not None and by not in score.coords and by not in score.dims:
        raise ValueError(f"the scores have no coordinate {by!r} to average by")
    if not units or by in score.dims:
        return score
    unit = units[0]
    with xr.set_options(keep_attrs=True):
        if by is not None:
            if by != "subject" and unit != "subject" and "subject" in score.coords:
                return _within_each(score, by, unit)
            return mean_by(score, by, unit)
        if unit != "subject" and "subject" in score.coords:
            return mean_by(score, "subject", unit).mean("subject")
        return mean_by(score, None, unit)


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


def mean_by(score: xr.DataArray, by: str | None, unit: str) -> xr.DataArray:
    """Average over neuroids, or over means of groups of them as over the neuroids themselves.

    Parameters
    ----------
    score : xarray.DataArray
        Scores, with the coordinate `COUNT` where they are means of groups.
    by : str or None
        Coordinate within whose values to average.
    unit : str
        The dimension to average over.

    Returns
    -------
    xarray.DataArray
        With a dimension `by` in place of `unit`.
    """
    if COUNT not in score.coords:
        return score.mean(unit) if by is None else score.groupby(by).mean(unit)
    count = score[COUNT].drop_vars(COUNT)
    weighted = score.drop_vars(COUNT).fillna(0.0) * count
    total, number = (
        part.sum(unit) if by is None else part.groupby(by).sum(unit) for part in (weighted, count)
    )
    return (total / number.where(number > 0)).assign_attrs(score.attrs)


def resampled(results: xr.Dataset, *, of: str = "") -> xr.DataArray | None:
    """Return the scores on resamples that averages are made of.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.
    of : str
        ``"baseline"`` or ``"untrained"`` for theirs.

    Returns
    -------
    xarray.DataArray or None
        Of every neuroid or subject; or else the means of groups, with a dimension `group`, their
        coordinates and the coordinate `COUNT`, which `average` and `by_subject` take as they take
        neuroids. None where there are none, or where the results are those of a part of a group.

    Raises
    ------
    ValueError
        If they have lost how they were made.
    """
    start = f"{of}_" if of else ""
    if f"{start}resample_score" in results:
        found = results[f"{start}resample_score"]
        if not of:  # the others are resampled as the scores are
            check_scheme(found)
        return found
    if not _whole_groups(results, f"{start}resample_mean"):
        return None
    own = results["group_of_neuroid"].to_numpy().astype(int)
    groups, first, place = np.unique(own, return_index=True, return_inverse=True)
    mean, number = (
        results[f"{start}resample_{what}"].isel(group=groups) for what in ("mean", "count")
    )
    if not of:
        check_scheme(mean)
    labels = {
        str(name): ("group", values.to_numpy()[first])
        for name, values in results.coords.items()
        if values.dims == ("neuroid",) and name != "neuroid"
        if (values.to_numpy() == values.to_numpy()[first][place]).all()
    }
    return mean.assign_coords({COUNT: (number.dims, number.to_numpy()), **labels})


def _whole_groups(results: xr.Dataset, name: str) -> bool:
    """Whether means of groups are there, of groups that are there as a whole."""
    if name not in results or "neuroid" not in results.dims:
        return False
    groups, count = np.unique(results["group_of_neuroid"].astype(int), return_counts=True)
    return bool((results["group_size"].to_numpy()[groups] == count).all())


def has_resamples(results: xr.Dataset) -> bool:
    """Whether there are scores on resamples, of each neuroid or of groups."""
    return "resample_score" in results or _whole_groups(results, "resample_mean")


def briefly(why: str) -> str:
    """Return the reason of `why_no_intervals` without what to do, for the margin of a figure."""
    said = []
    for place, part in enumerate(why.split("`")):
        # Every other part is a setting in backticks, which may hold a colon of its own.
        cut = re.split(r";|: ", part, maxsplit=1) if place % 2 == 0 else [part]
        said.append(cut[0])
        if len(cut) > 1:
            break
    return "`".join(said)


def why_no_intervals(results: xr.Dataset) -> str:
    """Say why results have no intervals and what to do; empty where they have.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric, or of some of its neuroids.

    Returns
    -------
    str
        A clause without a full stop.
    """
    if has_resamples(results):
        return ""
    attrs = results.attrs
    if "resample_mean" in results:
        return f"single neuroids have none, as {attrs.get('no_intervals_of_neuroids', _POOLED)}"
    return str(attrs.get("no_intervals") or _NONE)


_POOLED = "their resamples are kept as means of subjects and regions"
_NONE = (
    "they have no `resample_score`, scores on resamples of the stimuli; set `resamples: 50` in the "
    "sweep, and give the metric a `label` of its own"
)


def _within_each(score: xr.DataArray, by: str, unit: str) -> xr.DataArray:
    """Average each part as the whole is averaged: within each subject that has it first."""
    labels = score[by].to_numpy()
    names = np.unique(labels)
    parts = [average(score.isel({unit: np.flatnonzero(labels == name)})) for name in names]
    named = xr.DataArray(names, dims=by, name=by)
    return xr.concat(parts, named, combine_attrs="override").transpose(..., by)


def by_subject(score: xr.DataArray) -> xr.DataArray:
    """Average over the neuroids of each subject; over all where subjects are not told apart.

    Parameters
    ----------
    score : xarray.DataArray
        Scores with a dimension `neuroid`, or without one: then nothing is done.

    Returns
    -------
    xarray.DataArray
        With a dimension `subject` where the neuroids have that coordinate.
    """
    if not {"neuroid", "group"} & set(score.dims):
        return score
    return average(score, by="subject" if "subject" in score.coords else None)
