"""Curves averaged over subjects, with what another sample of people would change.

Intervals over stimuli speak of these subjects before other stimuli, intervals over subjects of
other people before these stimuli, and both together of other people before other stimuli.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from dynamics.emergence.intervals import aligned
from dynamics.emergence.resampling import Scheme


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
        of freedom are those of a sum of variances (Satterthwaite 1946, 10.2307/3002019).

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
    below = sum(v**2 / f for v, f in zip(variances, freedoms, strict=True))
    limit = sum(variances) ** 2 / below if below > 0 else min(freedoms)
    total = 2 * off.sizes["resample"] + own.sizes["resample"]
    signs = off * np.sqrt((total - 1) / counts[0] / 2)
    rows = xr.concat([signs, -signs, own * np.sqrt((total - 1) / counts[1])], "resample")
    both = (mean + rows).transpose(*axes)
    return mean, both.assign_attrs(Scheme(limit=float(limit)).attrs)


def _level(off: xr.DataArray) -> xr.DataArray:
    return off.mean("step") * xr.ones_like(off)


def _course(off: xr.DataArray) -> xr.DataArray:
    return off - off.mean("step")


def _power(off: xr.DataArray, divisor: int) -> xr.DataArray:
    return (off**2).sum("resample").mean("step") / divisor
