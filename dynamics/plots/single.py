"""What there is to draw of one trained network: no course of training, but its layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dynamics.analysis.values import of as value_of
from dynamics.emergence.intake import with_layers
from dynamics.emergence.levels import level, permuted, untrained
from dynamics.emergence.parts import curve_and_band
from dynamics.plots.figures import PROBE, results_of, simulated
from dynamics.plots.names import short_names
from dynamics.plots.panels import draw_legend, label_outer, panels, told_limits
from dynamics.plots.style import LEVELS, clear_edges, draw_level, panel, score_label, styled

_NAMED = 13  # layers whose names stand below the axis


@styled
def plot_layer_scores(
    results: xr.Dataset, *, ax: Axes | None = None, value: str | None = None
) -> Axes:
    """Draw the score of every layer at the last step, from input to output, with limits of 95 %.

    Beside it are the untrained network, permuted weights, the baseline and the noise ceiling.

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
    own = ax is None
    ax = panel(ax, height=62)
    curve, low, high, over = curve_and_band(results.isel(step=[-1]))
    places = np.arange(curve.sizes["layer"])
    ax.fill_between(places, low[0], high[0], color="#0072B2", alpha=0.15, linewidth=0)
    ax.plot(places, curve[0], "o-", color="#0072B2", markersize=3, label="trained")
    start = untrained(results)
    if start.notnull().any():
        ax.plot(places, start, "s-", color="0.55", markersize=2.6, linewidth=0.8, label="untrained")
    if (shuffled := permuted(results)) is not None:
        ax.plot(places, shuffled, "^-", color="0.75", markersize=2.6, linewidth=0.8,
                label=LEVELS["permuted"][0])  # fmt: skip
    limits = tuple(ax.dataLim.intervaly)
    for name in ("baseline", "ceiling"):
        if np.isfinite(height := level(results, name)):
            text, colour, line = LEVELS[name]
            draw_level(ax, height, text=text, limits=limits, color=colour, linestyle=line,
                       linewidth=0.9)  # fmt: skip
    clear_edges(ax)
    names = short_names([str(name) for name in curve["layer"].to_numpy()])
    every = -(-len(names) // _NAMED)
    shown = names[::every]
    ax.set_xticks(places[::every], shown)
    # Letters of ticks are some four points wide; names beside each other need room for the longest.
    room = ax.get_window_extent().width / ax.figure.dpi * 72 / 4
    beside = len(shown) * (max(map(len, shown)) + 2) <= room
    ax.tick_params(axis="x", rotation=0 if beside else 90)
    ax.set_xlabel("Layer, from input to output")
    ax.set_ylabel(score_label(results))
    ax.set_gid(told_limits(over, results))
    if own:
        draw_legend(ax)
    return ax


@styled
def figure_of_layers(tree: xr.DataTree, metric: str, targets: Sequence[str]) -> Figure:
    """Draw the layers of one trained network by one metric, one panel a target.

    Parameters
    ----------
    tree : xarray.DataTree
        What `dynamics.open` returned.
    metric : str
        Label of the metric.
    targets : sequence of str
        Labels of the targets.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    figure, axes = panels(len(targets), sharey=metric != PROBE)
    for ax, target in zip(axes, targets):
        results = results_of(tree, target, metric)
        plot_layer_scores(results, ax=ax)
        ax.set_title(simulated(results) + target)
    label_outer(axes)
    draw_legend(*axes)
    figure.suptitle(str(tree.attrs.get("run", "")), fontsize=7.5)
    return figure
