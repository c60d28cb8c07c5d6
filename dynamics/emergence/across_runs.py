"""Differences and interactions between groups of runs, and what their intervals are over.

Three questions have three errors. *Over stimuli*: these very networks before other sounds; what the
same sounds do to all of them cancels. *Over runs*: other initialisations before these sounds, by
how replicates (seeds) differ. *Over both*: other initialisations before other sounds; the variance
between replicates is that between their scores less what their own noise before these sounds adds
to it, a random-effects decomposition (Searle, Casella & McCulloch 1992, Variance Components).
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import xarray as xr
from scipy import stats

from dynamics.emergence.aggregate import FEW
from dynamics.emergence.resampling import Scheme, stabilised

OVER = ("stimuli", "runs", "both")


def contrast_runs(
    score: xr.DataArray,
    resampled: xr.DataArray | None,
    groups: Sequence[str],
    weights: Mapping[str, float],
    *,
    over: str = "stimuli",
    paired: bool = True,
    dim: str = "run",
    confidence: float = 0.95,
) -> xr.Dataset:
    """Contrast the means of groups of runs: sum over groups of weight times mean.

    Parameters
    ----------
    score : xarray.DataArray
        Scores with the dimension `dim` and any others (`step`, regions).
    resampled : xarray.DataArray or None
        The same with `resample` besides and the attributes of a `dynamics.emergence.Scheme`;
        not needed over runs.
    groups : sequence of str
        Which group each run is of; replicates share theirs.
    weights : mapping of str to float
        By group: ``{"large": 1, "small": -1}`` is a difference. Runs of other groups are left out.
    over : {"stimuli", "runs", "both"}
        What the interval is over.
    paired : bool
        Whether resample k of all runs is of the same stimuli; else their errors are taken as
        independent, which is wider.
    dim : str
        Dimension of the runs.
    confidence : float
        Coverage of each interval.

    Returns
    -------
    xarray.Dataset
        `estimate`, `lower`, `upper`, `error`, `p` (two-sided, of no difference; each by itself) and
        `freedom`; attributes `over` and `runs` (how many in each group).

    Raises
    ------
    ValueError
        If `over` is unknown, a group has no run, there are no resamples where they are needed, or,
        over runs, a group has no replicates.
    """
    if over not in OVER:
        raise ValueError(f"over must be one of {', '.join(OVER)}, found {over!r}")
    members = _members(groups, weights)
    if over != "runs" and resampled is None:
        raise ValueError(
            "the runs have no scores on resamples of the stimuli: set `resamples: 50` in their "
            "sweeps, or ask `over='runs'`"
        )
    if over != "stimuli" and (few := [name for name, own in members.items() if len(own) < 2]):
        raise ValueError(
            f"the group {few[0]!r} has one run alone: over runs two replicates of each are needed "
            "at least (other seeds); ask `over='stimuli'`"
        )
    means = {name: score.isel({dim: own}).mean(dim, skipna=False) for name, own in members.items()}
    estimate = _sum(weights[name] * mean for name, mean in means.items())
    variance, freedom = xr.zeros_like(estimate), xr.DataArray(np.inf)
    if over != "runs":
        assert resampled is not None
        again = stabilised(score, resampled)
        scheme = Scheme.of(resampled)
        variance = _of_stimuli(again, scheme, members, weights, paired, dim)
        freedom = xr.DataArray(scheme.freedom(resampled.sizes["resample"]))
    if over != "stimuli":
        parts = {
            name: weights[name] ** 2
            * score.isel({dim: own}).var(dim, ddof=1, skipna=False)
            / len(own)
            for name, own in members.items()
        }
        between = _sum(parts.values())
        # Welch-Satterthwaite: each group has a spread of its own.
        below = _sum(part**2 / (len(members[name]) - 1) for name, part in parts.items())
        of_runs = (between**2 / below.where(below > 0)).fillna(1.0)
        if over == "both":
            between = (between - _own_noise(again, scheme, members, weights, dim)).clip(min=0)
        total = variance + between
        below = between**2 / of_runs + variance**2 / freedom
        freedom = (total**2 / below.where(below > 0)).fillna(float(min(of_runs.min(), freedom)))
        # Those of few runs are no more than their own, as of few subjects.
        freedom = xr.where(of_runs < FEW, np.minimum(freedom, of_runs), freedom)
        variance = total
    error = variance**0.5
    quantile = xr.apply_ufunc(lambda f: stats.t.ppf((1 + confidence) / 2, f), freedom)
    t = abs(estimate) / error.where(error > 0)
    p = xr.apply_ufunc(lambda x, f: 2 * stats.t.sf(x, f), t, freedom)
    return xr.Dataset(
        {
            "estimate": estimate,
            "lower": estimate - quantile * error,
            "upper": estimate + quantile * error,
            "error": error,
            "p": p,
            "freedom": freedom + xr.zeros_like(estimate),
        },
        attrs={
            "over": over,
            "confidence": confidence,
            "paired_stimuli": int(paired and over != "runs"),
            "runs": ", ".join(f"{len(own)} of {name}" for name, own in members.items()),
        },
    )


def permute_runs(
    score: xr.DataArray,
    groups: Sequence[str],
    weights: Mapping[str, float],
    *,
    dim: str = "run",
    draws: int = 5000,
    seed: int = 0,
) -> xr.Dataset:
    """Test a contrast by exchanging the groups of runs, whole curves at once.

    Nothing is assumed of how runs vary. With few runs p cannot be small: of two groups of two there
    are six ways, so that no two-sided p is below 1/3.

    Parameters
    ----------
    score, groups, weights, dim
        As in `contrast_runs`.
    draws : int
        Up to so many different assignments all of them are made, else so many at random.
    seed : int
        Of the draws.

    Returns
    -------
    xarray.Dataset
        `estimate`; `p` (two-sided), each place by itself; `p_familywise`, by the largest contrast
        over all places, in units of the runs' deviation there; attribute `assignments`.

    Raises
    ------
    ValueError
        If a group has no run.
    """
    members = _members(groups, weights)
    used = np.concatenate([*members.values()])
    sizes = [len(own) for own in members.values()]
    values = score.isel({dim: used}).transpose(dim, ...)
    flat = values.to_numpy().reshape(len(used), -1)
    each = np.repeat([weights[name] / len(members[name]) for name in members], sizes)
    assigned = _assignments(sizes, draws, seed)
    drawn = np.stack([each[order] for order in assigned]) @ flat
    deviation = flat.std(0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(deviation > 0, np.abs(drawn) / deviation, np.nan)
    largest = np.nanmax(np.where(np.isfinite(ratio), ratio, -np.inf), axis=1)
    own = ratio[0]
    p = np.where(np.isfinite(own), (ratio >= own - 1e-9).mean(0), np.nan)
    family = np.where(np.isfinite(own), (largest[:, None] >= own - 1e-9).mean(0), np.nan)
    rest = values.isel({dim: 0}, drop=True)
    return xr.Dataset(
        {
            "estimate": rest.copy(data=drawn[0].reshape(rest.shape)),
            "p": rest.copy(data=p.reshape(rest.shape)),
            "p_familywise": rest.copy(data=family.reshape(rest.shape)),
        },
        attrs={"assignments": len(assigned), "seed": seed, "over": "runs"},
    )


def on_common_steps(curves: Sequence[xr.DataArray]) -> list[xr.DataArray]:
    """Bring curves to the steps of the one that has fewest, within what all have.

    Between two steps a curve is linear in log(1 + step), as everywhere in this package.

    Parameters
    ----------
    curves : sequence of xarray.DataArray
        Each with a dimension `step` and any others.

    Returns
    -------
    list of xarray.DataArray
        With the same steps.

    Raises
    ------
    ValueError
        If there is no step that lies within the training of all.
    """
    own = [curve["step"].to_numpy().astype(float) for curve in curves]
    if all(np.array_equal(steps, own[0]) for steps in own):
        return list(curves)
    first, last = max(steps[0] for steps in own), min(steps[-1] for steps in own)
    fewest = min(own, key=len)
    common = fewest[(fewest >= first) & (fewest <= last)]
    if not len(common):
        raise ValueError("the runs have no part of training in common: their steps do not overlap")
    return [_at(curve, steps, common) for curve, steps in zip(curves, own)]


def _at(curve: xr.DataArray, steps: np.ndarray, wanted: np.ndarray) -> xr.DataArray:
    x, at = np.log1p(steps), np.log1p(wanted)
    found = xr.apply_ufunc(
        lambda values: np.apply_along_axis(lambda one: np.interp(at, x, one), -1, values),
        curve,
        input_core_dims=[["step"]],
        output_core_dims=[["step"]],
        exclude_dims={"step"},
        keep_attrs=True,
    )
    return found.assign_coords(step=wanted).transpose(*curve.dims)


def _members(groups: Sequence[str], weights: Mapping[str, float]) -> dict[str, np.ndarray]:
    labels = np.asarray([str(each) for each in groups])
    members = {name: np.flatnonzero(labels == str(name)) for name in weights}
    if lacking := [name for name, own in members.items() if not len(own)]:
        known = ", ".join(dict.fromkeys(labels.tolist()))
        raise ValueError(f"no run is of the group {lacking[0]!r}: there are {known}")
    return members


def _sum(parts: Iterable[xr.DataArray]) -> xr.DataArray:
    return functools.reduce(operator.add, parts)


def _of_stimuli(again, scheme, members, weights, paired, dim) -> xr.DataArray:
    """Return the variance over stimuli of a contrast."""
    if paired:
        mixed = _sum(
            weights[name] * again.isel({dim: own}).mean(dim, skipna=False)
            for name, own in members.items()
        )
        return scheme.error(mixed) ** 2
    return _sum(
        (weights[name] / len(own)) ** 2 * (scheme.error(again.isel({dim: own})) ** 2).sum(dim)
        for name, own in members.items()
    )


def _own_noise(again, scheme, members, weights, dim) -> xr.DataArray:
    """Return what the replicates' own noise before these stimuli adds to their variance."""
    noise = xr.DataArray(0.0)
    for name, own in members.items():
        some = again.isel({dim: own})
        single = (scheme.error(some) ** 2).mean(dim)
        together = scheme.error(some.mean(dim, skipna=False)) ** 2
        noise = noise + weights[name] ** 2 * (single - together) / (len(own) - 1)
    return noise


def _assignments(sizes: Sequence[int], draws: int, seed: int) -> list[np.ndarray]:
    """Return orders of runs that differ in which groups they put them; the given one first."""
    total = sum(sizes)
    number = math.factorial(total) // math.prod(math.factorial(size) for size in sizes)
    label = np.repeat(np.arange(len(sizes)), sizes)
    if number > draws:
        rng = np.random.default_rng(seed)
        return [np.arange(total), *(rng.permutation(total) for _ in range(draws - 1))]
    found = [np.argsort(np.argsort(each, kind="stable"), kind="stable") for each in _ways(sizes)]
    given = next(i for i, order in enumerate(found) if (label[order] == label).all())
    return [found[given], *(order for i, order in enumerate(found) if i != given)]


def _ways(sizes: Sequence[int]) -> list[np.ndarray]:
    """Return every way to give so many runs a group."""
    total = sum(sizes)
    ways = [np.full(total, -1)]
    for group, size in enumerate(sizes):
        grown = []
        for way in ways:
            for places in itertools.combinations(np.flatnonzero(way < 0), size):
                one = way.copy()
                one[list(places)] = group
                grown.append(one)
        ways = grown
    return ways
