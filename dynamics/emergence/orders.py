"""In what order curves emerge, with what certainty.

What the full sample's curves might have been is drawn from their covariance over resamples, whole
sets of curves at once, so that what moves all of them together leaves their order alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

from dynamics.emergence.comparing import check_comparable
from dynamics.emergence.ends import UNKNOWN
from dynamics.emergence.intervals import STATISTICS, aligned
from dynamics.emergence.resampling import drawn_curves


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
    function = STATISTICS[statistic].function
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


def _ranks(values: xr.DataArray, dim: str) -> xr.DataArray:
    return xr.apply_ufunc(
        stats.rankdata,
        values,
        input_core_dims=[[dim]],
        output_core_dims=[[dim]],
        kwargs={"axis": -1, "nan_policy": "omit"},
    )
