"""Emergence curves."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import xarray as xr
from matplotlib.axes import Axes

from dynamics import emergence
from dynamics.averages import average
from dynamics.plots.bands import curve_and_band, units_of
from dynamics.plots.steps import log_step_axis
from dynamics.plots.style import AXIS_NAMES, COLUMN, MM


def plot_curves(results: xr.Dataset, *, ax: Axes | None = None, neuroid: str | None = None) -> Axes:
    """Draw one curve a layer: similarity against training step.

    The mean over neuroids, within each subject first, is drawn with the band of `curve_and_band`.
    A ring marks each layer's half-time.

    Parameters
    ----------
    results : xarray.Dataset
        ``tree["results/<target>/<metric>"].to_dataset()``.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure of one column's width.
    neuroid : str, optional
        Draw this neuroid (component, voxel, electrode) alone.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(COLUMN, 62 * MM), layout="constrained")
    if neuroid is not None:
        results = results.isel(neuroid=[_place(results, neuroid)])
    curve, low, high, over = curve_and_band(results)
    layers = [str(name) for name in results["layer"].to_numpy()]
    colours = dict(zip(layers, sns.color_palette("viridis", len(layers))))
    sns.lineplot(
        curve.to_dataframe("score").reset_index().astype({"layer": str}),
        x="step",
        y="score",
        hue="layer",
        hue_order=layers,
        palette=colours,
        errorbar=None,
        marker="o",
        markersize=2.2,
        markeredgewidth=0,
        ax=ax,
    )
    for number, colour in enumerate(colours.values()):
        band = (limit.isel(layer=number) for limit in (low, high))
        ax.fill_between(curve["step"], *band, color=colour, alpha=0.13, linewidth=0)
    if ax.get_legend() is not None:
        ax.get_legend().remove()
    steps = curve["step"].to_numpy()
    _mark_half_times(ax, curve, colours)
    _draw_levels(ax, results)
    log_step_axis(ax, steps)
    metric = str(results.attrs.get("identity", {}).get("metric", ""))
    ax.set_ylabel(AXIS_NAMES.get(metric, "Score"))
    ax.set_title("" if neuroid is None else str(neuroid))
    ax.set_gid(over)
    return ax


def _place(results: xr.Dataset, neuroid: str) -> int:
    names = [str(name) for name in results["neuroid"].to_numpy()]
    if neuroid not in names:
        raise ValueError(f"no neuroid {neuroid!r}: there are {', '.join(names[:10])}")
    return names.index(neuroid)


def _mark_half_times(ax: Axes, curve: xr.DataArray, colours: dict) -> None:
    for number, when in enumerate(emergence.half_time(curve).to_numpy()):
        if np.isfinite(when):
            one = curve.isel(layer=number).to_numpy()
            level = np.interp(np.log1p(when), np.log1p(curve["step"].to_numpy()), one)
            ax.plot(
                when,
                level,
                marker="o",
                markersize=4.5,
                markerfacecolor="none",
                markeredgecolor=list(colours.values())[number],
                markeredgewidth=1.0,
                linestyle="none",
            )


def _draw_levels(ax: Axes, results: xr.Dataset) -> None:
    """Draw the baseline and the noise ceiling."""
    folds = "resample_score" not in results and units_of(results)[1] == "test folds"
    baseline = "baseline_fold_score" if folds else "baseline"
    if baseline in results:
        level = float(average(results[baseline]).mean())
        ax.axhline(level, color="0.35", linestyle="--", linewidth=0.9, label="spectrotemporal")
    if "ceiling" in results.coords:
        level = float(average(results["ceiling"]))
        ax.axhline(level, color="0.1", linestyle=":", linewidth=0.9, label="noise ceiling")
    if "ceiling_upper" in results:
        band = float(results["ceiling_lower"]), float(results["ceiling_upper"])
        ax.axhspan(*band, color="0.85", linewidth=0, label="noise ceiling", zorder=0)
