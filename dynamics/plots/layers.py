"""Which layer is best, and whether that changes with training."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from dynamics import emergence
from dynamics.analysis.values import of as value_of
from dynamics.emergence.best_layers import highest
from dynamics.emergence.curves import resampled_curve
from dynamics.emergence.intake import with_layers
from dynamics.plots.heatmaps import layer_axis
from dynamics.plots.panels import draw_legend, told_limits
from dynamics.plots.steps import mark_missing, step_mesh
from dynamics.plots.style import panel, signed, styled

LIMITED = "drift and grey layers"
"""What in the figure has limits."""


@styled
def plot_best_layer(
    results: xr.Dataset, *, ax: Axes | None = None, value: str | None = None
) -> Axes:
    """Draw the best layer at every step over how sure it is, and the centre of the profile.

    Layers are shaded that may be the best one, as none is shown to be higher. The best layer jumps
    between layers that are nearly equal, so the line through the centre of the profile and its
    drift, in layers a decade with an interval of 95 %, say whether the profile moves.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure of one column's width.
    value : str, optional
        Which value of the metric, as in `dynamics.analysis.values.of`; by default what the results
        are of.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    results, own = value_of(with_layers(results), value), ax is None
    ax = panel(ax, height=72)
    curve, resampled, over = resampled_curve(results)
    layers = curve["layer"].to_numpy()
    rows = np.arange(len(layers) + 1) - 0.5
    steps = curve["step"].to_numpy()
    known = curve.notnull().any("layer")
    best = highest(curve).where(known)
    found = None if resampled is None else emergence.best_layer(curve, resampled)
    shade = xr.zeros_like(curve).where(known)
    if found is not None:
        shade = found["may"].astype(float).where(known)
    step_mesh(ax, shade.transpose("layer", "step"), rows, cmap="Greys", vmin=0, vmax=4)
    ax.plot(
        steps, best, "o", color="#D55E00", markersize=4 if len(steps) <= 60 else 1.5,
        markeredgecolor="white", markeredgewidth=0.5 if len(steps) <= 60 else 0, label="best layer",
    )  # fmt: skip
    if found is not None and len(steps) > 1:
        ax.plot(steps, found["centre"], color="#0072B2", label="centre of the profile")
        slope, low, high = (float(found[name]) for name in ("slope", "lower", "upper"))
        if np.isfinite([slope, low, high]).all():
            drift = f"drift {slope:+.2f} [{low:+.2f}, {high:+.2f}] layers a decade"
            ax.set_title(signed(drift))
    if found is not None:
        ax.plot([], [], "s", color="0.82", label="may be the best: none is shown to be higher")
    mark_missing(ax, curve)
    layer_axis(ax, layers)
    ax.set_gid(told_limits(over, results))
    if own:
        draw_legend(ax, what=LIMITED)
    return ax
