"""How scores of single neuroids become a curve: within each subject first, so that each counts."""

from __future__ import annotations

import xarray as xr


def average(score: xr.DataArray, *, by: str | None = None) -> xr.DataArray:
    """Average scores over neuroids or subjects.

    Parameters
    ----------
    score : xarray.DataArray
        Scores with a dimension `neuroid` or `subject`, or with neither: then nothing is done.
    by : str, optional
        Average within each value of this coordinate (``"region"``, ``"subject"``) and keep it
        as a dimension; ``"neuroid"`` leaves every neuroid to itself. By default over all
        neuroids, within each subject first, and over subjects.

    Returns
    -------
    xarray.DataArray
        Without the dimension that was averaged over; attributes are kept.

    Raises
    ------
    ValueError
        If there is no such coordinate.
    """
    units = [dim for dim in ("neuroid", "subject") if dim in score.dims]
    if by is not None and by not in score.coords and by not in score.dims:
        raise ValueError(f"the scores have no coordinate {by!r} to average by")
    if not units or by in score.dims:
        return score
    unit = units[0]
    with xr.set_options(keep_attrs=True):
        if by is not None:
            return score.groupby(by).mean(unit)
        if unit == "neuroid" and "subject" in score.coords:
            return score.groupby("subject").mean("neuroid").mean("subject")
        return score.mean(unit)


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
    if "neuroid" not in score.dims:
        return score
    return average(score, by="subject" if "subject" in score.coords else None)
