"""Layers by steps."""

from __future__ import annotations

import matplotlib.pyplot as plt
import seaborn as sns
import xarray as xr
from matplotlib.axes import Axes

from dynamics.plots.bands import mean_curve
from dynamics.plots.steps import step_label
from dynamics.plots.style import AXIS_NAMES, COLUMN, MM


def plot_heatmap(results: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the mean score of every layer (rows, output on top) at every step (columns).

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure of one column's width.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(COLUMN, 62 * MM), layout="constrained")
    curve = mean_curve(results)
    frame = curve.transpose("layer", "step").to_pandas().iloc[::-1]
    frame.columns = [step_label(step) for step in frame.columns]
    metric = str(results.attrs.get("identity", {}).get("metric", ""))
    bar = {"label": AXIS_NAMES.get(metric, "Score")}
    sns.heatmap(frame, ax=ax, cmap="viridis", cbar_kws=bar, linewidths=0)
    ax.set_xlabel("Training step (0: untrained)")
    ax.set_ylabel("Layer")
    ax.tick_params(axis="x", rotation=90)
    ax.tick_params(axis="y", rotation=0)
    return ax
