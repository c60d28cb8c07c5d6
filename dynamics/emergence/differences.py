"""Limits and p values of a difference of two statistics, and whether it is shown to be small.

That two curves are not shown to differ does not show that they are alike. That takes a margin and
two one-sided tests (Schuirmann 1987, 10.1007/BF01068419): of the second being later by as much or
more, and of its being earlier by as much or more. Both are of the limits of 90 %, so that at 5 %
the difference is shown to be small where these lie within the margin.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

from dynamics.emergence.intervals import interval, invert
from dynamics.emergence.resampling import Scheme
from dynamics.emergence.table import STATISTICS, function_of

NARROW = 0.90


def equivalence(found: xr.Dataset, margin: float, freedom: float) -> dict[str, xr.DataArray]:
    """Test whether differences are smaller than a margin, either way and both.

    Parameters
    ----------
    found : xarray.Dataset
        `difference`, `lower`, `upper`, the limits of confidence `NARROW`.
    margin : float
        In the unit of the difference, as `margin_of` returns it.
    freedom : float
        Degrees of freedom of the errors.

    Returns
    -------
    dict of str to xarray.DataArray
        `p_no_later`: of the second being later than the first by the margin or more (of scores:
        higher); `p_no_earlier`: earlier by as much or more; `p_equivalent`: the larger. 1 where
        limits are open, NaN where there is no difference.
    """
    quantile = stats.t.ppf((1 + NARROW) / 2, freedom)
    gap = found["difference"]

    def p_of(room: xr.DataArray, reach: xr.DataArray) -> xr.DataArray:
        error = reach / quantile
        t = (room / error.where(error > 0)).where(error > 0, np.sign(room) * np.inf)
        p = xr.apply_ufunc(lambda x: stats.t.sf(x, freedom), t)
        return p.where(np.isfinite(reach), 1.0).where(found["lower"].notnull())

    later = p_of(margin - gap, found["upper"] - gap)
    earlier = p_of(gap + margin, gap - found["lower"])
    both = xr.where(later > earlier, later, earlier).where(later.notnull())
    return {"p_no_later": later, "p_no_earlier": earlier, "p_equivalent": both}


def margin_of(margin: float, statistic: str) -> float:
    """Return a margin in the unit of differences.

    Parameters
    ----------
    margin : float
        Of steps a factor on 1 + step, above 1; of scores what they may differ by, above 0.
    statistic : str
        A name in `STATISTICS`.

    Returns
    -------
    float
        Of steps in decades.

    Raises
    ------
    ValueError
        If it leaves no room.
    """
    steps = bool(STATISTICS[statistic].goal)
    if not margin > (1 if steps else 0):
        what = "a factor on steps, above 1" if steps else "what scores may differ by, above 0"
        raise ValueError(f"the margin of {statistic} is {what}, found {margin}")
    return float(np.log10(margin)) if steps else float(margin)


def in_decades(
    curve: xr.DataArray,
    resampled: xr.DataArray,
    statistic: str,
    confidence: float,
    arguments: dict[str, Any],
) -> tuple[xr.Dataset, xr.DataArray]:
    """Estimate and limits, steps as log10(1 + step), with the p value of no gain.

    And what each resample does to the statistic, up to a factor: for correlations.
    """
    function, place = function_of(statistic), STATISTICS[statistic].goal
    if place is None:
        found = interval(curve, resampled, statistic=statistic, confidence=confidence, **arguments)
        off = Scheme.of(resampled).of_values(function(resampled, **arguments))
        return found.assign(gain_p=0.0), off.rename(resample="deviation")
    estimate = function(curve, **arguments).drop_vars("status")
    bounds = invert(curve, resampled, confidence, arguments.get("baseline"), place | arguments)
    when = {"estimate": estimate, "lower": bounds["lower"], "upper": bounds["upper"]}
    found = xr.Dataset({name: np.log10(1 + value) for name, value in when.items()})
    return found.assign(gain_p=bounds["gain_p"]), bounds["off"]


def described(statistic: str) -> dict[str, str]:
    """Return the attributes of a difference."""
    unit = "decades" if STATISTICS[statistic].goal else "1"
    return {"description": f"{statistic}: second minus first", "units": unit}


def correlation(one: xr.DataArray, other: xr.DataArray) -> xr.DataArray:
    """Correlation of deviations, which have no mean to take off."""
    product = (one * other).sum("deviation")
    scale = ((one**2).sum("deviation") * (other**2).sum("deviation")) ** 0.5
    return product / scale.where(scale > 0)


def difference(a, b, rho, quantile, freedom) -> xr.Dataset:
    """Limits of b - a from those of a and b (Zou & Donner 2008, 10.1002/sim.3095)."""
    gap = b["estimate"] - a["estimate"]
    rho = rho.fillna(0.0).clip(-1, 1)

    def reach(one: xr.DataArray, other: xr.DataArray) -> xr.DataArray:
        open_ended = ~(np.isfinite(one) & np.isfinite(other))
        one, other = one.where(~open_ended, 0.0), other.where(~open_ended, 0.0)
        length = np.sqrt((one**2 + other**2 - 2 * rho * one * other).clip(min=0))
        return length.where(~open_ended, np.inf)

    down = reach(b["estimate"] - b["lower"], a["upper"] - a["estimate"])
    up = reach(b["upper"] - b["estimate"], a["estimate"] - a["lower"])
    toward = xr.where(gap > 0, down, up) / quantile
    t = abs(gap) / toward.where(toward > 0)
    p = xr.apply_ufunc(lambda x: 2 * stats.t.sf(x, freedom), t)
    p = np.maximum(p, xr.where(gap > 0, a["gain_p"], b["gain_p"]))
    has = [each["estimate"].notnull() for each in (a, b)]
    status = xr.where(
        has[0] & has[1],
        "both",
        xr.where(has[0], "first only", xr.where(has[1], "second only", "neither")),
    )
    return xr.Dataset(
        {
            "difference": gap,
            "lower": (gap - down).where(has[0] & has[1]),
            "upper": (gap + up).where(has[0] & has[1]),
            "p": p.where(has[0] & has[1]),
            "status": status,
        }
    )
