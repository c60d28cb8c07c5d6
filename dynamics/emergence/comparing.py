"""Which of several curves comes first, and in what order all of them do, with what certainty.

Curves that were resampled together are compared as pairs: what a resample does to both of them
cancels in their difference. For their order what the full sample's curves might have been is drawn
from their covariance over resamples, whole sets of curves at once, so that what moves all of them
together leaves their order alone.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

from dynamics.emergence.crossings import UNKNOWN
from dynamics.emergence.differences import (
    NARROW,
    correlation,
    described,
    difference,
    equivalence,
    in_decades,
    margin_of,
)
from dynamics.emergence.resampling import Scheme, aligned, drawn_curves
from dynamics.emergence.table import function_of
from dynamics.emergence.testing import CORRECTIONS


def compare(
    curve: xr.DataArray,
    resampled: xr.DataArray,
    *,
    dim: str,
    statistic: str = "half_time",
    correction: str = "holm",
    confidence: float = 0.95,
    margin: float | None = None,
    **arguments: Any,
) -> xr.Dataset:
    """Compare a statistic between all pairs of curves along a dimension.

    Parameters
    ----------
    curve, resampled : xarray.DataArray
        As in `dynamics.emergence.interval`.
    dim : str
        What to compare: layers, regions, components, runs.
    statistic : str
        A name in `dynamics.emergence.STATISTICS`.
    correction : str
        ``"holm"``, ``"bh"`` or ``"none"``: over the pairs, for each other coordinate by itself.
    confidence : float
        Coverage of the intervals, each by itself.
    margin : float, optional
        Test as well whether differences are smaller: of steps a factor (1.5), of scores a
        difference.
    **arguments
        What else the statistic takes.

    Returns
    -------
    xarray.Dataset
        Along `pair`, with coordinates `first` and `second`: `difference`, `lower`, `upper`
        (second minus first; for steps in decades of 1 + step, so positive where the first comes
        first), `p` (two-sided) and `p_adjusted`. The limits are put together from those of the
        two curves and the correlation of what resamples do to them; they are infinite, and p is
        1, where those are open. A curve that never rises comes first before none: p is at least
        that of the earlier one having no gain. Where either curve has no value there is no
        difference, and `status` says which one has. With a margin also `p_no_later` (of the second
        being later by the margin or more), `p_no_earlier` and `p_equivalent`, the larger of these
        two one-sided p values, with `p_equivalent_adjusted`.

    Raises
    ------
    ValueError
        If the dimension has fewer than two entries, or entries of several metrics or protocols,
        or the statistic or correction is unknown.
    """
    check_comparable(curve, dim, statistic)
    if correction not in CORRECTIONS:
        raise ValueError(
            f"there is no correction {correction!r}: use one of {', '.join(CORRECTIONS)}"
        )
    curve, resampled = aligned(curve, resampled)
    freedom = Scheme.of(resampled).freedom(resampled.sizes["resample"])
    names = [str(name) for name in _labels(curve, dim)]
    pairs = list(combinations(range(len(names)), 2))
    sides = [xr.DataArray([each[side] for each in pairs], dims="pair") for side in (0, 1)]

    def differences(sure: float) -> xr.Dataset:
        when, off = in_decades(curve, resampled, statistic, sure, arguments)
        when, off = when.drop_vars(dim, errors="ignore"), off.drop_vars(dim, errors="ignore")
        a, b = (when.isel({dim: places}) for places in sides)
        one, other = (off.isel({dim: places}) for places in sides)
        rho = correlation(one, other)
        return difference(a, b, rho, stats.t.ppf((1 + sure) / 2, freedom), freedom)

    found = differences(confidence)
    if margin is not None:
        room = margin_of(margin, statistic)
        found = found.assign(equivalence(differences(NARROW), room, freedom))
    found = found.transpose("pair", ...).assign_coords(
        first=("pair", [names[one] for one, _ in pairs]),
        second=("pair", [names[other] for _, other in pairs]),
    )
    for name in ("p", *(["p_equivalent"] if margin is not None else [])):
        found[f"{name}_adjusted"] = xr.apply_ufunc(
            CORRECTIONS[correction],
            found[name],
            input_core_dims=[["pair"]],
            output_core_dims=[["pair"]],
            vectorize=True,
        )
    found["difference"].attrs.update(described(statistic))
    found = found.assign_attrs({} if margin is None else {"margin": margin})
    return found.assign_attrs(statistic=statistic, correction=correction, confidence=confidence)


def compare_two(
    first: tuple[xr.DataArray, xr.DataArray],
    second: tuple[xr.DataArray, xr.DataArray],
    *,
    paired: bool = True,
    statistic: str = "half_time",
    confidence: float = 0.95,
    margin: float | None = None,
    **arguments: Any,
) -> xr.Dataset:
    """Compare a statistic between curves of two runs, which may have different steps.

    Parameters
    ----------
    first, second : tuple of two xarray.DataArray
        Curve and resamples as in `dynamics.emergence.interval`; both have the same dimensions
        but for `step`.
    paired : bool
        Whether resample k of both is of the same stimuli. Where it is not, the errors are taken
        as independent.
    statistic, confidence, margin, **arguments
        As in `compare`.

    Returns
    -------
    xarray.Dataset
        `difference`, `lower`, `upper`, `p`, `status` (and what a margin adds) as in `compare`, and
        the statistic of either, `estimate_first` and `estimate_second`.

    Raises
    ------
    ValueError
        If the statistic is unknown, or paired resamples differ in number or kind.
    """
    function = function_of(statistic)
    both = [aligned(*each) for each in (first, second)]
    schemes = [Scheme.of(resampled) for _, resampled in both]
    numbers = [resampled.sizes["resample"] for _, resampled in both]
    if paired and (numbers[0] != numbers[1] or schemes[0].paired != schemes[1].paired):
        raise ValueError(
            f"{numbers[0]} and {numbers[1]} resamples are no pairs: compare with `paired=False`"
        )
    freedom = min(each.freedom(n) for each, n in zip(schemes, numbers, strict=True))

    def differences(sure: float) -> xr.Dataset:
        (a, one), (b, other) = (in_decades(*each, statistic, sure, arguments) for each in both)
        rho = correlation(one, other) if paired else xr.DataArray(0.0)
        return difference(a, b, rho, stats.t.ppf((1 + sure) / 2, freedom), freedom)

    between = differences(confidence)
    if margin is not None:
        room = margin_of(margin, statistic)
        between = between.assign(equivalence(differences(NARROW), room, freedom))
        between.attrs["margin"] = margin
    for name, each in zip(("first", "second"), both, strict=True):
        estimate = function(each[0], **arguments)
        between[f"estimate_{name}"] = estimate.drop_vars("status", errors="ignore")
    between["difference"].attrs.update(described(statistic))
    return between.assign_attrs(
        statistic=statistic, confidence=confidence, paired_stimuli=int(paired)
    )


def order(
    curve: xr.DataArray,
    resampled: xr.DataArray,
    *,
    dim: str,
    statistic: str = "half_time",
    confidence: float = 0.95,
    draws: int = 400,
    seed: int = 0,
    **arguments: Any,
) -> xr.Dataset:
    """Rank the curves along a dimension, with the ranks' uncertainty.

    Parameters
    ----------
    curve, resampled, dim, statistic, confidence, **arguments
        As in `dynamics.emergence.compare`.
    draws : int
        How many sets of curves are drawn.
    seed : int
        Seed of the draws.

    Returns
    -------
    xarray.Dataset
        `estimate` and `rank` (1 is first; what never gets there comes last, ties share their mean;
        NaN, and no rank taken from the others, where a score is missing at either end, so that
        it is unknown),
        `rank_lower`, `rank_upper`; `first`: in what part of the draws a curve came first, alone
        or among several; `before` (dim, other): in what part, ties by halves, the one came
        before the other.

    Raises
    ------
    ValueError
        As in `dynamics.emergence.compare`.
    """
    check_comparable(curve, dim, statistic)
    curve, resampled = aligned(curve, resampled)
    function = function_of(statistic)
    estimate = function(curve, **arguments)
    blocks = drawn_curves(curve, resampled, draws=draws, seed=seed)
    values = [function(some, **arguments).drop_vars("status", errors="ignore") for some in blocks]
    unknown = estimate.isnull()
    if "status" in estimate.coords:
        unknown = estimate["status"].isin(UNKNOWN).drop_vars("status")
    drawn = xr.concat(values, "draw").fillna(np.inf).where(~unknown)
    known = estimate.drop_vars("status", errors="ignore").fillna(np.inf).where(~unknown)
    rank, ranks = _ranks(known, dim), _ranks(drawn, dim)
    tail = (1 - confidence) / 2
    limits = [ranks.fillna(0.0).quantile(q, "draw").drop_vars("quantile").where(~unknown)
              for q in (tail, 1 - tail)]  # fmt: skip
    other = drawn.rename({dim: "other"})
    before = (drawn < other).mean("draw") + 0.5 * (drawn == other).mean("draw")
    before = before.where(~unknown & ~unknown.rename({dim: "other"}))
    return xr.Dataset(
        {
            "estimate": estimate,
            "rank": rank.assign_attrs(description="place in the order, 1 is first", units="1"),
            "rank_lower": limits[0],
            "rank_upper": limits[1],
            "first": ((drawn == drawn.min(dim)) & np.isfinite(drawn))
            .mean("draw")
            .where(~unknown)
            .assign_attrs(description="part of the draws in which it comes first", units="1"),
            "before": before.assign_attrs(description="part before the other", units="1"),
        }
    ).assign_attrs(statistic=statistic, confidence=confidence, draws=draws, seed=seed)


def check_comparable(curve: xr.DataArray, dim: str, statistic: str) -> None:
    """Raise a ValueError where curves cannot be compared along a dimension.

    Parameters
    ----------
    curve : xarray.DataArray
        Curves.
    dim : str
        What is compared; two entries at least.
    statistic : str
        A name in `STATISTICS`.

    Raises
    ------
    ValueError
        If the statistic is unknown, there are fewer than two entries, or they come from
        different metrics or protocols: their scores have no common scale.
    """
    function_of(statistic)
    if dim not in curve.dims or curve.sizes[dim] < 2:
        raise ValueError(
            f"the curve has dimensions {dict(curve.sizes)}: {dim!r} needs two entries to compare"
        )
    for name in ("metric", "protocol"):
        if name in curve.coords and dim in curve[name].dims:
            kinds = sorted(set(map(str, curve[name].to_numpy().ravel())))
            if len(kinds) > 1:
                raise ValueError(
                    f"the curves along {dim!r} have {name} {' and '.join(kinds)}: compare curves "
                    f"of one {name}"
                )


def _labels(curve: xr.DataArray, dim: str) -> np.ndarray:
    return curve[dim].to_numpy() if dim in curve.coords else np.arange(curve.sizes[dim])


def _ranks(values: xr.DataArray, dim: str) -> xr.DataArray:
    return xr.apply_ufunc(
        stats.rankdata,
        values,
        input_core_dims=[[dim]],
        output_core_dims=[[dim]],
        kwargs={"axis": -1, "nan_policy": "omit"},
    )
