"""Which layer is best, and whether that changes with training."""

from __future__ import annotations

import textwrap

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from dynamics import emergence
from dynamics.analysis.values import of as value_of
from dynamics.emergence.best_layers import highest
from dynamics.emergence.curves import resampled_curve
from dynamics.emergence.intake import with_layers
from dynamics.emergence.population import population
from dynamics.emergence.remarks import briefly, why_no_intervals
from dynamics.plots.heatmaps import layer_axis
from dynamics.plots.steps import mark_missing, step_mesh
from dynamics.plots.style import panel, signed, styled

_WIDE = 58  # letters above axes of one column


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
    results = value_of(with_layers(results), value)
    ax = panel(ax, height=60)
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
            held = textwrap.fill(f"(95 % over {over}: {population(over)})", _WIDE)
            ax.set_title(f"{signed(drift)}\n{held}")
    if found is None:
        why = briefly(why_no_intervals(results))
        ax.set_title(textwrap.fill(f"not said how sure: {why}", _WIDE))
    mark_missing(ax, curve)
    layer_axis(ax, layers)
    handles, _ = ax.get_legend_handles_labels()
    if found is not None:
        told = f"may be the best: none is shown to be higher (95 % over {over})"
        handles.append(Patch(color="0.82", label=textwrap.fill(told, 40)))
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.2), handlelength=1.5)
    return ax
