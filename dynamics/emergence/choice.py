"""Statistics of the layer that was chosen because it is the best one, on the same stimuli.

The best of 24 layers that hold nothing is two standard errors above nothing on average. So what
is said of it has limits that hold for all the layers it was chosen among at once, and p values of
the largest of them: the curve of any layer may be picked then, by whatever rule, and limits of 95 %
hold the truth about it in 95 % of cases at least. Where layers are alike these limits are hardly
wider, where there is one they are the same.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xarray as xr
from scipy import stats

from dynamics.emergence.aggregate import average
from dynamics.emergence.contrasts import Noise
from dynamics.emergence.curves import counted, default_over, pair, resampled_curve, scored
from dynamics.emergence.resampling import aligned
from dynamics.emergence.summary import summary_of
from dynamics.emergence.table import highest_null
from dynamics.emergence.testing import decline_test, onset_test

_DRAWS = 10_000


def confidence_of_each(
    curve: xr.DataArray,
    resampled: xr.DataArray,
    *,
    dim: str = "layer",
    confidence: float = 0.95,
    seed: int = 0,
) -> float:
    """Return the confidence of single layers at which the limits of all of them hold at once.

    The largest deviation over layers, of last scores or of gains from the first step (whichever is
    the larger), has the distribution that the resamples show (Westfall & Young 1993).

    Parameters
    ----------
    curve, resampled : xarray.DataArray
        As in `dynamics.emergence.interval`, with a dimension of layers; of several curves a layer
        the confidence is the highest that one of them asks for.
    dim : str
        Name of that dimension.
    confidence : float
        Coverage of all of them together.
    seed : int
        Seed of the draws.

    Returns
    -------
    float
        At least `confidence`, and that itself for a single layer.
    """
    curve, resampled = aligned(curve, resampled)
    if curve.sizes[dim] < 2:
        return confidence
    noise = Noise(resampled, _DRAWS, seed)
    freedom = noise.scheme.freedom(resampled.sizes["resample"])
    others = [name for name in curve.dims if name not in ("step", dim)]
    cloud = resampled.transpose("resample", *others, dim, "step")
    last = cloud.isel(step=-1).to_numpy().reshape(cloud.sizes["resample"], -1, curve.sizes[dim])
    gains = last - cloud.isel(step=0).to_numpy().reshape(last.shape)
    found = [confidence]
    for each in (*last.swapaxes(0, 1), *gains.swapaxes(0, 1)):
        known = each[:, np.isfinite(each).all(0)]
        if known.shape[1] > 1:
            largest = noise.maxima(np.concatenate([known, -known], 1))
            found.append(1 - 2 * stats.t.sf(np.quantile(largest, confidence), freedom))
    return float(max(found))


def confidence_of_chosen(
    results: xr.Dataset, layer: str | None, *, confidence: float = 0.95
) -> float:
    """Return the confidence for limits of one layer of results, by whether it was named or chosen.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.
    layer : str or None
        The layer that was asked for; None: the best one is taken.
    confidence : float
        Coverage that is aimed at.

    Returns
    -------
    float
        `confidence` where nothing was chosen or there are no resamples of stimuli.
    """
    if layer is not None or results.sizes.get("layer", 1) < 2:
        return confidence
    curve, again, _ = resampled_curve(scored(results))
    if again is None:
        return confidence
    return confidence_of_each(curve, again, confidence=confidence)


def summary_of_chosen(
    results: xr.Dataset,
    layer: str,
    by: str | None = None,
    over: str | None = None,
    *,
    names: Iterable[str] | None = None,
    confidence: float = 0.95,
) -> xr.Dataset:
    """Tabulate statistics of a layer that was chosen among those of the results.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric, with all layers among which it was chosen.
    layer : str
        Which was chosen.
    by, over, names, confidence
        As in `dynamics.emergence.summary_of`; `by` must leave one curve a layer.

    Returns
    -------
    xarray.Dataset
        As `dynamics.emergence.summary_of` of that layer, without the dimension `layer`: limits hold
        for all layers at once, `detected_p` and `decline_p` are corrected over layers as well as
        steps, `null_p` is of the highest layer in each shuffle. Attributes `chosen_among`, the
        number of layers, and `confidence_of_each`.
    """
    results = scored(results)
    over = over or default_over(results, by)
    number = results.sizes.get("layer", 1)
    place = [str(name) for name in results["layer"].to_numpy()].index(layer)
    (curve, again), each = pair(results, by, over), confidence
    if number > 1 and again is not None:
        each = confidence_of_each(curve, again, confidence=confidence)
    one = results.isel(layer=[place])
    table = summary_of(one, by, over, names=names, confidence=each).isel(layer=0, drop=True)
    if number > 1:
        table = table.assign(_among_all(results, by, over, place, set(table.data_vars)))
    return table.assign_attrs(chosen_among=number, confidence=confidence, confidence_of_each=each)


def _among_all(
    results: xr.Dataset, by: str | None, over: str, place: int, there: set
) -> dict[str, xr.DataArray]:
    """Return the p values of one layer as one of all."""
    found: dict[str, xr.DataArray] = {}
    if "detected_p" in there:
        (curve, again), known, _ = counted(results, by, over)
        assert again is not None  # or there would be no p value
        test = onset_test(curve, again, among="layer", **known)
        found |= {name: test[name] for name in ("detected", "detected_p")}
    if "decline_p" in there:
        curve, again = pair(results, by, over)
        assert again is not None
        found["decline_p"] = decline_test(curve, again, among="layer")["p"]
    if "null_p" in there:
        last = results[["score", "null_score"]].isel(step=-1, drop=True)
        found["null_p"] = highest_null(
            average(last["score"], by=by), average(last["null_score"], by=by)
        )
    return {name: one.isel(layer=place, drop=True) for name, one in found.items()}
