"""Layers by steps."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from dynamics.analysis.values import of as value_of
from dynamics.emergence import level, mean_curve
from dynamics.emergence.intake import with_layers
from dynamics.plots.names import short_names
from dynamics.plots.steps import step_mesh
from dynamics.plots.style import colour_bar, panel, score_label, styled


@styled
def plot_heatmap(results: xr.Dataset, *, ax: Axes | None = None, value: str | None = None) -> Axes:
    """Draw the mean score of every layer (rows, output on top) at every step (columns).

    A column is as wide as its part of the logarithmic axis; step 0 stands apart, and steps
    without data are grey. Baseline and ceiling are marked on the colour bar, or named above it
    where they are beyond its end.

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
    ax = panel(ax, height=55)
    curve = mean_curve(results).transpose("layer", "step")
    values = curve.to_numpy()
    known = values[np.isfinite(values)]
    low, high = (known.min(), known.max()) if len(known) else (0.0, 1.0)
    mesh = step_mesh(
        ax, curve, np.arange(curve.sizes["layer"] + 1) - 0.5, cmap="viridis", vmin=low, vmax=high
    )
    layer_axis(ax, curve["layer"].to_numpy())
    bar = colour_bar(mesh, ax, label=score_label(results))
    beyond = []
    for name, (text, line) in _LEVELS.items():
        height = level(results, name)
        if low <= height <= high:
            bar.ax.axhline(height, color="white", linestyle=line, linewidth=1.2)
            bar.ax.axhline(height, color="black", linestyle=line, linewidth=0.6)
        if np.isfinite(height):
            side = "" if low <= height <= high else (" ▲" if height > high else " ▼")
            beyond.append(f"{text} {height:.2f}{side}")
    bar.ax.set_title("\n".join(beyond), fontsize=5.5, loc="right", pad=3)
    return ax


def layer_axis(ax: Axes, layers: np.ndarray, *, which: str = "y", most: int = 12) -> None:
    """Name the rows of an axes by layers from input (bottom) to output, as many as are legible.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes whose y axis counts layers from 0.
    layers : array of shape (n_layers,)
        Their names.
    which : {"y", "x"}
        Which axis.
    most : int
        How many names are legible.
    """
    every = max(1, -(-len(layers) // most))
    shown = np.arange(0, len(layers), every)
    axis = ax.yaxis if which == "y" else ax.xaxis
    names = short_names([str(layer) for layer in layers])
    axis.set_ticks(shown, [names[place] for place in shown])
    axis.set_tick_params(length=0, labelrotation=90 if which == "x" else 0)
    axis.set_label_text("Layer")


_LEVELS = {"baseline": ("baseline", "--"), "ceiling": ("ceiling", ":")}
