"""Which of several curves comes first, in what order all of them come, and with what certainty.

Curves that were resampled together are compared as pairs: what a resample does to both of them
cancels in their difference.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import xarray as xr
from scipy import stats

from dynamics.emergence.intervals import STATISTICS, aligned, interval, invert
from dynamics.emergence.resamples import Scheme


def holm(p: np.ndarray) -> np.ndarray:
    """Adjust p values so that the familywise error is controlled (Holm 1979).

    Parameters
    ----------
    p : array of any shape
        P values; NaN does not count.

    Returns
    -------
    array of the same shape
        Adjusted p values.
    """
    return _adjust(p, lambda each: np.maximum.accumulate(each * np.arange(len(each), 0, -1)))


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Adjust p values so that the false discovery rate is controlled.

    Benjamini & Hochberg 1995, 10.1111/j.2517-6161.1995.tb02031.x.

    Parameters
    ----------
    p : array of any shape
        P values; NaN does not count.

    Returns
    -------
    array of the same shape
        Adjusted p values.
    """

    def step_up(each: np.ndarray) -> np.ndarray:
        raised = each * len(each) / np.arange(1, len(each) + 1)
        return np.minimum.accumulate(raised[::-1])[::-1]

    return _adjust(p, step_up)


CORRECTIONS = {"holm": holm, "bh": benjamini_hochberg, "none": np.asarray}


def compare(
    curve: xr.DataArray,
    resampled: xr.DataArray,
    *,
    dim: str,
    statistic: str = "half_time",
    correction: str = "holm",
    confidence: float = 0.95,
    **arguments,
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
    **arguments
        What else the statistic takes.

    Returns
    -------
    xarray.Dataset
        Along `pair`, with coordinates `first` and `second`: `difference`, `lower`, `upper`
        (second minus first; for steps in decades of 1 + step, so positive where the first comes
        first), `p` (two-sided) and `p_adjusted`. The limits are put together from those of the
        two curves and the correlation of what resamples do to them; they are infinite, and p is
        1, where those are open. Where either curve has no value there is no difference, and
        `status` says which one has.

    Raises
    ------
    ValueError
        If the dimension has fewer than two entries, or the statistic or correction is unknown.
    """
    _check(curve, dim, statistic)
    if correction not in CORRECTIONS:
        raise ValueError(
            f"there is no correction {correction!r}: use one of {', '.join(CORRECTIONS)}"
        )
    found = interval(
        curve, resampled, statistic=statistic, confidence=confidence, **arguments
    ).drop_vars("status", errors="ignore")
    curve, resampled = aligned(curve, resampled)
    freedom = Scheme.of(resampled).freedom(resampled.sizes["resample"])
    off = _deviations(curve, resampled, statistic, confidence, arguments)
    names = [str(name) for name in _labels(curve, dim)]
    if STATISTICS[statistic].goal is not None:
        found = found.assign({k: np.log10(1 + found[k]) for k in ("estimate", "lower", "upper")})
    parts = []
    for pair in combinations(range(len(names)), 2):
        a, b = (found.isel({dim: place}, drop=True) for place in pair)
        rho = xr.corr(*(off.isel({dim: place}, drop=True) for place in pair), "deviation")
        parts.append(_difference(a, b, rho, stats.t.ppf((1 + confidence) / 2, freedom), freedom))
    found = xr.concat(parts, "pair", coords="minimal", compat="override")
    pairs = list(combinations(names, 2))
    found = found.assign_coords(
        first=("pair", [a for a, _ in pairs]), second=("pair", [b for _, b in pairs])
    )
    found["p_adjusted"] = xr.apply_ufunc(
        CORRECTIONS[correction],
        found["p"],
        input_core_dims=[["pair"]],
        output_core_dims=[["pair"]],
        vectorize=True,
    )
    unit = "decades" if STATISTICS[statistic].goal else "1"
    found["difference"].attrs.update(description=f"{statistic}: second minus first", units=unit)
    return found.assign_attrs(statistic=statistic, correction=correction, confidence=confidence)


def order(
    curve: xr.DataArray,
    resampled: xr.DataArray,
    *,
    dim: str,
    statistic: str = "half_time",
    confidence: float = 0.95,
    **arguments,
) -> xr.Dataset:
    """Rank the curves along a dimension, with the ranks' uncertainty.

    Parameters
    ----------
    curve, resampled, dim, statistic, confidence, **arguments
        As in `compare`.

    Returns
    -------
    xarray.Dataset
        `estimate` and `rank` (1 is first; what has no value comes last, ties share their mean),
        `rank_lower`, `rank_upper`, and `before` (dim, other): in what part of the resamples, ties
        by halves, the one came before the other. Deviations of resamples are scaled to those of
        the full sample first.
    """
    _check(curve, dim, statistic)
    estimate, values, scheme = _values(curve, resampled, statistic, arguments)
    scaled = scheme.cloud(estimate, values)

    def ranks(x: np.ndarray) -> np.ndarray:
        return stats.rankdata(x, axis=-1)

    rank = xr.apply_ufunc(
        ranks, estimate.fillna(np.inf), input_core_dims=[[dim]], output_core_dims=[[dim]]
    )
    drawn = xr.apply_ufunc(ranks, scaled, input_core_dims=[[dim]], output_core_dims=[[dim]])
    tail = (1 - confidence) / 2
    other = scaled.rename({dim: "other"})
    before = (scaled < other).mean("resample") + 0.5 * (scaled == other).mean("resample")
    return xr.Dataset(
        {
            "estimate": STATISTICS[statistic].function(curve, **arguments),
            "rank": rank.drop_vars("status", errors="ignore"),
            "rank_lower": drawn.quantile(tail, "resample").drop_vars(["quantile"]),
            "rank_upper": drawn.quantile(1 - tail, "resample").drop_vars(["quantile"]),
            "before": before,
        }
    ).assign_attrs(statistic=statistic, confidence=confidence)


def best_layer(
    curve: xr.DataArray, resampled: xr.DataArray, *, confidence: float = 0.95, dim: str = "layer"
) -> xr.Dataset:
    """Find the best layer at every step, and whether it moves with training.

    The best layer jumps between layers that are nearly equal. The test is therefore made on the
    centre of the profile, sum(layer x weight) / sum(weight) with each layer's score above the
    worst one as its weight: its slope on log10(1 + step).

    Parameters
    ----------
    curve, resampled : xarray.DataArray
        As in `dynamics.emergence.interval`, with a dimension of layers from input to output.
    confidence : float
        Coverage of the slope's interval.
    dim : str
        Name of that dimension.

    Returns
    -------
    xarray.Dataset
        `best` (step): index of the best layer, -1 where nothing is known; `support` (step,
        layer): part of the resamples in which that layer is best; `centre` (step); `slope` in
        layers a decade with `lower`, `upper` and `p`.
    """
    curve, resampled = aligned(curve, resampled)
    scheme = Scheme.of(resampled)
    number = curve.sizes[dim]
    index = xr.DataArray(np.arange(number), dims=dim)
    known = curve.notnull().any(dim)
    best = curve.fillna(-np.inf).argmax(dim).where(known, -1)
    winners = resampled.fillna(-np.inf).argmax(dim)
    support = (winners == index).mean("resample").where(known)
    x = xr.DataArray(np.log10(1 + curve["step"].to_numpy()), dims="step")

    def centre(scores: xr.DataArray) -> xr.DataArray:
        weight = scores - scores.min(dim)
        total = weight.sum(dim)
        return (weight * index).sum(dim).where(total > 0) / total.where(total > 0)

    def slope(middle: xr.DataArray) -> xr.DataArray:
        here = x.where(middle.notnull())
        off = here - here.mean("step")
        return (off * middle).sum("step", min_count=2) / (off**2).sum("step")

    estimate = slope(centre(curve))
    error = scheme.error(slope(centre(resampled)))
    freedom = scheme.freedom(resampled.sizes["resample"])
    z = stats.t.ppf((1 + confidence) / 2, freedom)
    p = xr.apply_ufunc(lambda t: 2 * stats.t.sf(np.abs(t), freedom), estimate / error)
    return xr.Dataset(
        {
            "best": best,
            "support": support,
            "centre": centre(curve),
            "slope": estimate.assign_attrs(description="drift of the profile's centre",
                                           units="layers per decade of 1 + step"),
            "lower": estimate - z * error,
            "upper": estimate + z * error,
            "p": p,
        }
    ).assign_attrs(confidence=confidence)  # fmt: skip


def _values(curve, resampled, statistic, arguments):
    """Estimate and resampled statistic, steps as log10(1 + step), and the scheme."""
    curve, resampled = aligned(curve, resampled)
    function, place = STATISTICS[statistic]
    found = [function(each, **arguments) for each in (curve, resampled)]
    if place is not None:
        found = [np.log10(1 + each.drop_vars("status", errors="ignore")) for each in found]
    return *found, Scheme.of(resampled)


def _deviations(curve, resampled, statistic, confidence, arguments) -> xr.DataArray:
    """Find what each resample does to a curve's statistic, up to a factor: for correlations."""
    function, place = STATISTICS[statistic]
    if place is None:
        off = Scheme.of(resampled).of_values(function(resampled, **arguments))
        return off.rename(resample="deviation")
    baseline = arguments.get("baseline")
    return invert(curve, resampled, confidence, baseline, place | arguments)["deviation"]


def _difference(a, b, rho, quantile, freedom) -> xr.Dataset:
    """Limits of b - a from those of a and b (Zou & Donner 2008, 10.1002/sim.3095)."""
    difference = b["estimate"] - a["estimate"]
    rho = rho.fillna(0.0).clip(-1, 1)

    def reach(one: xr.DataArray, other: xr.DataArray) -> xr.DataArray:
        open_ended = ~(np.isfinite(one) & np.isfinite(other))
        one, other = one.where(~open_ended, 0.0), other.where(~open_ended, 0.0)
        length = np.sqrt((one**2 + other**2 - 2 * rho * one * other).clip(min=0))
        return length.where(~open_ended, np.inf)

    down = reach(b["estimate"] - b["lower"], a["upper"] - a["estimate"])
    up = reach(b["upper"] - b["estimate"], a["estimate"] - a["lower"])
    toward = xr.where(difference > 0, down, up) / quantile
    t = abs(difference) / toward.where(toward > 0)
    p = xr.apply_ufunc(lambda x: 2 * stats.t.sf(x, freedom), t)
    has = [each["estimate"].notnull() for each in (a, b)]
    status = xr.where(
        has[0] & has[1],
        "both",
        xr.where(has[0], "first only", xr.where(has[1], "second only", "neither")),
    )
    return xr.Dataset(
        {
            "difference": difference,
            "lower": (difference - down).where(has[0] & has[1]),
            "upper": (difference + up).where(has[0] & has[1]),
            "p": p.where(has[0] & has[1]),
            "status": status,
        }
    )


def _adjust(p: np.ndarray, rule) -> np.ndarray:
    p = np.asarray(p, float)
    out = np.full(p.shape, np.nan)
    known = np.isfinite(p)
    each = p[known]
    ascending = np.argsort(each)
    adjusted = np.empty_like(each)
    adjusted[ascending] = np.minimum(rule(each[ascending]), 1)
    out[known] = adjusted
    return out


def _check(curve: xr.DataArray, dim: str, statistic: str) -> None:
    if statistic not in STATISTICS:
        raise ValueError(f"there is no statistic {statistic!r}: use one of {', '.join(STATISTICS)}")
    if dim not in curve.dims or curve.sizes[dim] < 2:
        raise ValueError(
            f"the curve has dimensions {dict(curve.sizes)}: {dim!r} needs two entries to compare"
        )


def _labels(curve: xr.DataArray, dim: str) -> np.ndarray:
    return curve[dim].to_numpy() if dim in curve.coords else np.arange(curve.sizes[dim])
