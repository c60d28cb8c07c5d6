"""Sentences on which curve emerges first: orders, pairs that differ, and pairs that are alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from dynamics import emergence
from dynamics.emergence.population import listed
from dynamics.report.findings import MEAN, Curve, at_best_layers
from dynamics.report.narrative import LEVEL, alone, is_shown, numbers_of, numbers_of_best
from dynamics.report.numbers import level, levels_between, p_equals, step, unit, units

_MOST_PAIRS = 12
_FACTOR = 1.5  # of steps, within which two half-times are called alike


def order_of_parts(curves: Sequence[Curve]) -> list[str]:
    """Say in which order the neuroids or regions emerge, and how sure that is.

    Parameters
    ----------
    curves : sequence of Curve
        As `curves_of` gives them; the mean is left out.

    Returns
    -------
    list of str
        Sentences; none where there is nothing to compare.
    """
    parts = [each for each in curves if each.name != MEAN]
    if any(each.resampled is None or "half_time" not in each.statistics for each in parts):
        return []
    sure = [each for each in parts if is_shown(numbers_of_best(each))]
    together = at_best_layers(sure)
    if together is None:
        return []
    without = [each.name for each in parts if each not in sure]
    kind = "regions" if parts[0].what.startswith("region") else "neuroids"
    what = f", each in its own best layer, the {kind}"
    return _order(*together, "curve", what, without, alone(parts[0]), **sure[0].known)


def order_of_layers(curve: Curve) -> list[str]:
    """Say in which order the layers emerge, and whether the best one moves.

    Parameters
    ----------
    curve : Curve
        The mean, usually.

    Returns
    -------
    list of str
        Sentences; none where there is nothing to compare.
    """
    shape = curve.score.sizes
    if curve.resampled is None or "half_time" not in curve.statistics or shape["layer"] < 2:
        return []
    layers = [str(name) for name in curve.score["layer"].to_numpy()]
    sure = [name for name in layers if is_shown(numbers_of(curve, name))]
    said = []
    if len(sure) > 1:
        score, again = (one.sel(layer=sure) for one in curve.gains if one is not None)
        without = [name for name in layers if name not in sure]
        what = " the layers"
        said = _order(score, again, "layer", what, without, alone(curve), **curve.known)
    moved = emergence.best_layer(curve.score, curve.resampled)
    slope, low, high, p = (float(moved[name]) for name in ("slope", "lower", "upper", "p"))
    if math.isfinite(slope) and math.isfinite(p):
        way = "towards the output" if slope > 0 else "towards the input"
        verdict = f"moves {way}" if p <= LEVEL else "is not shown to move"
        said.append(
            f"The centre of the layer profile{alone(curve)} {verdict} with training: "
            f"{level(slope)} {levels_between(low, high)} layers per decade of {units()} "
            f"({p_equals(p)})."
        )
    return said


def _order(
    score: xr.DataArray,
    resampled: xr.DataArray,
    dim: str,
    what: str,
    without: list[str],
    whose: str,
    **known: Any,
) -> list[str]:
    ranks = emergence.order(score, resampled, dim=dim, **known)
    names = [str(name) for name in ranks[dim].to_numpy()]
    when = ranks["estimate"].to_numpy()
    places = np.argsort(ranks["rank"].to_numpy(), kind="stable")
    bounds = [f"{names[i]} ({unit()} {step(when[i])}, rank {_rank(ranks, i)})" for i in places]
    said = [f"By half-time{what} come in the order {', '.join(bounds)}{whose}."]
    if without:
        said.append(f"Not shown to gain, and so without a place: {listed(without)}.")
    pairs = emergence.compare(score, resampled, dim=dim, margin=_FACTOR, **known)
    sure = pairs.isel(pair=np.flatnonzero(pairs["p_adjusted"].to_numpy() <= LEVEL))
    total = int(np.isfinite(pairs["p_adjusted"]).sum())
    if not sure.sizes["pair"]:
        verdict = f"none of the {total} pairs differs" if total > 1 else "the pair does not differ"
        said.append(f"That order is not established: {verdict} after Holm's correction.")
        return [*said, _alike(pairs)]
    said.append(
        f"Of {total} pairs {sure.sizes['pair']} "
        f"{'differs' if sure.sizes['pair'] == 1 else 'differ'} after Holm's correction: "
        + "; ".join(_pair(sure.isel(pair=i)) for i in range(min(_MOST_PAIRS, sure.sizes["pair"])))
        + (f"; and {more} more." if (more := sure.sizes["pair"] - _MOST_PAIRS) > 0 else ".")
    )
    return [*said, _alike(pairs)] if sure.sizes["pair"] < total else said


def _alike(pairs: xr.Dataset) -> str:
    """Say which pairs that do not differ are shown to be alike, and how many are neither."""
    p = pairs["p_equivalent_adjusted"].to_numpy()
    open_ = ~(pairs["p_adjusted"].to_numpy() <= LEVEL) & np.isfinite(p)
    same = np.flatnonzero(open_ & (p <= LEVEL))
    some = [
        f"{pairs['first'].to_numpy()[i]} and {pairs['second'].to_numpy()[i]} ({p_equals(p[i])})"
        for i in same[:_MOST_PAIRS]
    ]
    if (more := len(same) - _MOST_PAIRS) > 0:
        some.append(f"{more} more")
    told = f"within a factor of {_FACTOR:g} in {units()} of each other (two one-sided tests, Holm)"
    if not some:
        return f"No pair that does not differ is shown to be {told}."
    left = int(open_.sum()) - len(same)
    rest = f"; of {left} neither is shown" if left else ""
    return f"Shown to be {told}: {'; '.join(some)}{rest}."


def _pair(found: xr.Dataset) -> str:
    difference, low, high = (float(found[key]) for key in ("difference", "lower", "upper"))
    first, second = str(found["first"].item()), str(found["second"].item())
    if difference < 0:
        first, second, low, high = second, first, -high, -low
    size = f"{level(abs(difference))} {levels_between(low, high)} decades"
    return f"{first} before {second} by {size} ({p_equals(float(found['p_adjusted']))})"


def _rank(ranks: xr.Dataset, place: int) -> str:
    rank, low, high = (
        float(ranks[key].to_numpy()[place]) for key in ("rank", "rank_lower", "rank_upper")
    )
    return f"{rank:g} [{low:.0f}, {high:.0f}]"
