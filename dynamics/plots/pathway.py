"""Layers, latencies and half-times against the order of the pathway, along training."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dynamics.emergence.pathway import along_map, spatial, temporal
from dynamics.emergence.population import limits_over
from dynamics.plots.steps import log_step_axis, training_axis
from dynamics.plots.style import PAGE, figure_of, grid, panel, styled

LATENCY = "latency"
_COLOUR, _FAINT = "#0072B2", "0.55"
# Names of so many regions can be read beside their points.
_MOST_NAMES = 14


@styled
def plot_order_score(found: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw a spatial or temporal score along training, with its limits.

    Parameters
    ----------
    found : xarray.Dataset
        From `dynamics.emergence.pathway.spatial` or `temporal`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure of one column's width.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    ax = panel(ax, height=58)
    steps = found["step"].to_numpy()
    ax.axhline(0, color="0.3", linewidth=0.6)
    if "lower" in found:
        lower, upper = found["lower"], found["upper"]
        ax.fill_between(steps, lower, upper, color=_COLOUR, alpha=0.15, linewidth=0)
    ax.plot(steps, found["estimate"], "o-", color=_COLOUR, markersize=2.8)
    log_step_axis(ax, found["step"])
    ax.set_ylim(-1.05, 1.05)
    ax.set_ylabel(str(found["estimate"].attrs.get("long_name", "Score (r)")))
    over = found.attrs.get("over", "")
    limited = over and "lower" in found and bool(found["lower"].notnull().any())
    ax.set_title(textwrap.fill(limits_over(over), 58) if limited else "", fontsize=6.5)
    return ax


@styled
def plot_along_map(found: xr.Dataset, steps: Any, *, ax: Axes | None = None) -> Axes:
    """Draw the half-time of every region against a map of them.

    Parameters
    ----------
    found : xarray.Dataset
        From `dynamics.emergence.pathway.along_map`.
    steps : array of shape (n_steps,)
        All steps of the run, for the axis.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure of one column's width.

    Returns
    -------
    matplotlib.axes.Axes
        The axes; an interval without an end is an arrow, and what has no half-time is left out.
    """
    ax = panel(ax, height=58)
    name = str(found.attrs["map"])
    far, when = found[name].to_numpy(), found["half_time"].to_numpy()
    last = float(np.max(np.asarray(steps)))
    few = len(far) <= _MOST_NAMES
    for place in np.flatnonzero(np.isfinite(when)):
        low, high = (float(found[side][place]) for side in ("lower", "upper"))
        if np.isfinite(low):
            ends = [low, min(high, last) if high == high else last]
            ax.plot([far[place]] * 2, ends, color=_FAINT, linewidth=0.8, zorder=1)
            if not np.isfinite(high):
                ax.plot(far[place], last, marker="^", color=_FAINT, markersize=3, zorder=1)
        ax.plot(far[place], when[place], "o", color=_COLOUR, markersize=3.2, zorder=2)
        if few:
            ax.annotate(
                str(found["region"].to_numpy()[place]), (far[place], when[place]), fontsize=5,
                xytext=(3, 2), textcoords="offset points",
            )  # fmt: skip
    log_step_axis(ax, steps, which="y")
    ax.set_ylabel(f"Half-time ({training_axis(steps).lower()})")
    ax.set_xlabel(name.capitalize())
    ax.margins(x=0.15)
    r, p = found.attrs["r"], found.attrs["p"]
    number = found.attrs["regions"]
    text = f"r = {r:.2f}, p = {p:.3f}" if np.isfinite(r) else "no correlation"
    ax.set_title(f"{text} over {number} regions", fontsize=6.5)
    return ax


def figure_of_pathway(results: xr.Dataset, other: str, *, title: str) -> Figure:
    """Draw what training has to do with a map, or with latencies.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.
    other : str
        The map, or `LATENCY`.
    title : str
        Of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    if other == LATENCY:
        figure = figure_of(plot_order_score(temporal(results)))
    else:
        figure, (left, right) = grid(2, 2, width=PAGE, height=62, sharex=False, sharey=False)
        plot_order_score(spatial(results, other), ax=left)
        plot_along_map(along_map(results, other), results["step"], ax=right)
    figure.suptitle(title, fontsize=7.5)
    return figure
