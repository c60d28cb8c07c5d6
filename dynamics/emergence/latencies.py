"""Scores by delay and by time after the onset: mean curves of the layer that ends best."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dynamics.emergence.aggregate import average
from dynamics.emergence.best_layers import pick_layer
from dynamics.emergence.intake import taken

VARIABLES = {"latency": "latency_score", "time": "time_score", "cross": "cross_score"}
"""By axis: delays of the activations, times after the onset, and times of sound and response."""

_DIMS = {"cross": ("sound_time", "time")}


def axes_of(results: xr.Dataset) -> list[str]:
    """Name the axes along which results have several scores beside steps.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.

    Returns
    -------
    list of str
        Of `VARIABLES`.
    """
    return [
        axis
        for axis, name in VARIABLES.items()
        if name in results
        and all(
            results[name].sizes.get(dim, 0) > 1 and dim in results.coords
            for dim in _DIMS.get(axis, (axis,))
        )
    ]


def over_latencies(
    results: xr.Dataset, dim: str, *, layer: str | None = None, by: str | None = None
) -> xr.DataArray:
    """Average scores along delays or times, of one layer.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.
    dim : str
        ``"latency"``, ``"time"`` or ``"cross"``.
    layer : str, optional
        Its name; by default the one that ends with the best mean score.
    by : str, optional
        As in `dynamics.emergence.aggregate.average`.

    Returns
    -------
    xarray.DataArray
        Dimensions (`dim`, step), crossed ones (sound_time, time, step), and that of `by`; the
        attribute `layer` is the layer's name, empty where each neuroid has its own.

    Raises
    ------
    ValueError
        If there are no such scores.
    """
    there = axes_of(results)
    if dim not in there:
        known = ", ".join(there) or "none"
        raise ValueError(
            f"the results have no scores by {dim!r} (there are: {known}): use those of a metric "
            "over time"
        )
    results = taken(results)
    name = VARIABLES[dim]
    if "layer" in results[name].dims:
        results, layer = pick_layer(results, layer)
    else:
        layer = ""
    found = average(results[name], by=by).transpose(*_DIMS.get(dim, (dim,)), "step", ...)
    return found.assign_attrs(layer=layer)


def best_of(curve: xr.DataArray, dim: str) -> float:
    """Return where the last step's scores (from `over_latencies`) are highest; NaN for none."""
    last = curve.dropna("step", how="all")
    if not last.sizes["step"]:
        return float("nan")
    final = last.isel(step=-1).fillna(-np.inf)
    return float(final[dim].to_numpy()[int(final.argmax(dim))])
