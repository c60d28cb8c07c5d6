"""How scores of single neuroids become a curve: within each subject first, so that each counts.

What another sample of people would change is told from the subjects: intervals over stimuli speak
of these subjects before other stimuli, intervals over subjects of other people before these
stimuli, and both together of other people before other stimuli.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from dynamics.emergence.resampling import Scheme, aligned
from dynamics.store.attributes import check_scheme, mapping

OF_PAIRS = ("rsa", "rsa_time", "cka", "cka_time")
"""Metrics whose scores are of pairs of stimuli, see `dynamics.emergence.resampling.once`."""

WHOLE = ("categories of stimuli", "groups of stimuli")
"""What halves are made of where limits hold for others of these."""

FEW = 5
"""Degrees of freedom of subjects below which those of a sum are not read off the variances.

Where that of few subjects comes out too low by chance, these would come out too high as well.
Limits of a gain held in 86 % with 3 of them and in 91 with 5; with the degrees of freedom of the
subjects alone in 95 and 97.
"""

COUNT = "neuroids_averaged"
"""Coordinate of what is averaged: how much each counts, a mean of a group as its neuroids do.

Its attribute `least` is the share of neuroids that must count for there to be an average.
"""


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


def within_subjects(score: xr.DataArray, *, by: str | None) -> xr.DataArray:
    """Average within subjects, and within each value of `by` as well.

    Parameters
    ----------
    score : xarray.DataArray
        Scores of subjects, or of neuroids or groups of them with the coordinate `subject`.
    by : str or None
        As in `average`.

    Returns
    -------
    xarray.DataArray
        With a dimension `subject`, NaN where one lacks a value of `by`.

    Raises
    ------
    ValueError
        If subjects are not told apart, or `by` leaves none.
    """
    if "subject" not in score.coords and "subject" not in score.dims:
        raise ValueError("the scores have no coordinate 'subject': ask over stimuli")
    if by in ("subject", "neuroid"):
        raise ValueError(f"by={by!r} leaves no subjects to resample: ask over stimuli")
    unit = next((dim for dim in ("group", "neuroid") if dim in score.dims), "subject")

    def within(part: xr.DataArray) -> xr.DataArray:
        with xr.set_options(keep_attrs=True):
            if unit == "subject":
                return part.groupby("subject").mean()
            return mean_by(part, "subject", unit)

    if by is None:
        return within(score)
    if by not in score.coords or score[by].dims != (unit,):
        raise ValueError(f"the scores have no coordinate {by!r} to average by")
    labels = score[by].to_numpy()
    names = np.unique(labels)
    parts = [within(score.isel({unit: np.flatnonzero(labels == name)})) for name in names]
    return xr.concat(
        parts, xr.DataArray(names, dims=by, name=by), join="outer", combine_attrs="override"
    )


def mean_by(score: xr.DataArray, by: str | None, unit: str) -> xr.DataArray:
    """Average over neuroids, or over means of groups of them as over the neuroids themselves.

    Parameters
    ----------
    score : xarray.DataArray
        Scores, with the coordinate `COUNT` where some count more than others.
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
        return _within(score, by, unit, "mean")
    least = score[COUNT].attrs.get("least", 0.0)
    count, bare = score[COUNT].drop_vars(COUNT), score.drop_vars(COUNT)
    weighted = bare.fillna(0.0) * count
    if least:
        share = _within((count > 0) * 1.0, by, unit, "mean")
        count = count.where(bare.notnull(), 0.0)
    total, number = (_within(part, by, unit, "sum") for part in (weighted, count))
    found = total / number.where(number > 0)
    return (found.where(share >= least) if least else found).assign_attrs(score.attrs)


def _within(values: xr.DataArray, by: str | None, unit: str, how: str) -> xr.DataArray:
    """Reduce values within each label of a coordinate; over a single label at once."""
    if by is None:
        return getattr(values, how)(unit)
    if values[by].dims == (unit,) and len(names := np.unique(values[by])) == 1:
        whole = getattr(values, how)(unit).expand_dims({by: names})
        return whole.transpose(*(by if dim == unit else dim for dim in values.dims))
    return getattr(values.groupby(by), how)(unit)


def over_subjects(
    curve: xr.DataArray, *, dim: str = "subject"
) -> tuple[xr.DataArray, xr.DataArray]:
    """Average over subjects, with one resample a subject.

    Each moves the mean by its own deviation over the root of their number S, so that the variance
    over resamples is that of the mean, with S - 1 degrees of freedom: for scores the paired t
    interval.

    Parameters
    ----------
    curve : xarray.DataArray
        Scores with dimensions `step` and `dim`. A subject without a curve (a region that it
        lacks) is left out of that curve.
    dim : str
        The dimension to average over, whose entries are independent of each other.

    Returns
    -------
    curve, resampled : xarray.DataArray
        Without the dimension; the second with `resample` and the attributes of a `Scheme`.

    Raises
    ------
    ValueError
        If there are fewer than 3 subjects, in any of the curves that have one at all.
    """
    there = curve.notnull().any("step")
    number = there.sum(dim)
    fewest = int(number.where(number > 0).min().fillna(0))
    if fewest < 3:
        raise ValueError(
            f"to resample {dim!r} 3 are needed at least and there {'is' if fewest == 1 else 'are'} "
            f"{fewest}: resample stimuli"
        )
    mean = curve.mean(dim)
    total = curve.sizes[dim]
    # Where some are missing the others stand for more, so that the variance comes out the same.
    scale = ((total - 1) / (number * (number - 1).where(number > 1))) ** 0.5
    cloud = mean + ((curve - mean) * scale).where(curve.notnull(), 0.0)
    cloud = cloud.drop_vars(dim, errors="ignore").rename({dim: "resample"})
    attrs = Scheme(limit=float(fewest - 1)).attrs
    return mean, cloud.transpose("resample", *mean.dims).assign_attrs(attrs)


def with_subjects(
    curve: xr.DataArray, resampled: xr.DataArray, *, dim: str = "subject"
) -> tuple[xr.DataArray, xr.DataArray]:
    """Average over subjects, with resamples that vary stimuli and subjects both.

    Parameters
    ----------
    curve, resampled : xarray.DataArray
        As in `dynamics.emergence.interval`, with a dimension of subjects; the resamples are of
        stimuli, the same ones for all subjects.
    dim : str
        The dimension to average over.

    Returns
    -------
    curve, resampled : xarray.DataArray
        Without the dimension. The deviations of stimuli, each with both signs, and those of
        subjects, scaled so that the variance over all of them is that of the mean; the degrees
        of freedom are those of a sum of variances (Satterthwaite 1946, 10.2307/3002019), and no
        more than the subjects' where these are fewer than six.

    Raises
    ------
    ValueError
        If there are fewer than 3 subjects.

    Notes
    -----
    Subjects differ by who they are, and by what their own noise does with these stimuli; the
    second is in the deviations of stimuli already. Its part in the variance over subjects is
    known from how much quieter the average is than each of them on resamples, and taken out, for
    the level of a curve and for its course by itself.
    """
    mean, subjects = over_subjects(curve, dim=dim)
    curve, resampled = aligned(curve, resampled)
    average = resampled.mean(dim).transpose("resample", *mean.dims)
    scheme, other = Scheme.of(resampled), Scheme.of(subjects)
    axes = ("resample", *mean.dims)
    single = xr.DataArray(scheme.deviations(resampled.to_numpy()), dims=resampled.dims)
    off = xr.DataArray(scheme.deviations(average.to_numpy()), dims=axes)
    own = xr.DataArray(other.deviations(subjects.to_numpy()), dims=axes)
    counts = [each.divisor(x.sizes["resample"])
              for each, x in ((scheme, resampled), (other, subjects))]  # fmt: skip
    number = curve.notnull().any("step").sum(dim).drop_vars(list(curve.coords), errors="ignore")
    parts = []
    for part in (_level, _course):
        noise = _power(part(single), counts[0]).mean(dim) - _power(part(off), counts[0])
        people = _power(part(own), counts[1])
        # Of the mean's variance over subjects: noise over S, with noise (1 - 1 / S) shown.
        true = 1 - noise / (number - 1) / people.where(people > 0)
        parts.append(part(own) * true.clip(0, 1).fillna(0) ** 0.5)
    own = (parts[0] + parts[1]).transpose(*axes)
    variances = [float((x**2).sum()) / n for x, n in zip((off, own), counts, strict=True)]
    freedoms = [
        each.freedom(x.sizes["resample"]) for each, x in ((scheme, resampled), (other, subjects))
    ]
    limit = freedom_of_sum(variances, freedoms)
    total = 2 * off.sizes["resample"] + own.sizes["resample"]
    signs = off * np.sqrt((total - 1) / counts[0] / 2)
    rows = xr.concat([signs, -signs, own * np.sqrt((total - 1) / counts[1])], "resample")
    both = (mean + rows).transpose(*axes)
    return mean, both.assign_attrs(Scheme(limit=float(limit)).attrs)


def freedom_of_sum(variances: Sequence[float], freedoms: Sequence[float]) -> float:
    """Return the degrees of freedom of the sum of two variances: of stimuli, and of subjects.

    Parameters
    ----------
    variances, freedoms : sequence of float, of length 2
        Of stimuli and of subjects, in this order.

    Returns
    -------
    float
        As Satterthwaite (1946) has them, and no more than those of few subjects (`FEW`).
    """
    below = sum(v**2 / f for v, f in zip(variances, freedoms, strict=True))
    found = sum(variances) ** 2 / below if below > 0 else min(freedoms)
    return min(found, freedoms[1]) if freedoms[1] < FEW else found


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
        return _marked(found, results)
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
        if values.dims == ("neuroid",) and name not in ("neuroid", COUNT)
        if (values.to_numpy() == values.to_numpy()[first][place]).all()
    }
    mean = _marked(mean, results)
    return mean.assign_coords({COUNT: (number.dims, number.to_numpy()), **labels})


def _marked(found: xr.DataArray, results: xr.Dataset) -> xr.DataArray:
    """Mark resamples by what results say of them: pairs of stimuli, and of what they are halves."""
    attrs: dict[str, object] = {}
    if mapping(results.attrs.get("identity")).get("metric") in OF_PAIRS and "paired" in found.attrs:
        attrs["squares"] = 1
    if (units := str(results.attrs.get("halves", ""))) in WHOLE:
        # Halves that are cut within folds have fewer, as the results say.
        known = float(found.attrs.get("limit", 0.0)) or np.inf
        own = min(known, float(results.attrs.get("halves_units", 2) - 1))
        attrs |= {"over": units, "limit": own}
    return found.assign_attrs(attrs) if attrs else found


def has_resamples(results: xr.Dataset) -> bool:
    """Whether there are scores on resamples, of each neuroid or of groups."""
    return "resample_score" in results or _whole_groups(results, "resample_mean")


def _whole_groups(results: xr.Dataset, name: str) -> bool:
    """Whether means of groups are there, of groups that are there as a whole."""
    if name not in results or "neuroid" not in results.dims:
        return False
    groups, count = np.unique(results["group_of_neuroid"].astype(int), return_counts=True)
    return bool((results["group_size"].to_numpy()[groups] == count).all())


def _within_each(score: xr.DataArray, by: str, unit: str) -> xr.DataArray:
    """Average each part as the whole is averaged: within each subject that has it first."""
    labels = score[by].to_numpy()
    names = np.unique(labels)
    parts = [average(score.isel({unit: np.flatnonzero(labels == name)})) for name in names]
    named = xr.DataArray(names, dims=by, name=by)
    return xr.concat(parts, named, combine_attrs="override").transpose(..., by)


def _level(off: xr.DataArray) -> xr.DataArray:
    return off.mean("step") * xr.ones_like(off)


def _course(off: xr.DataArray) -> xr.DataArray:
    return off - off.mean("step")


def _power(off: xr.DataArray, divisor: int) -> xr.DataArray:
    return (off**2).sum("resample").mean("step") / divisor
