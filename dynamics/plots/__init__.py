"""Figures from results: each function takes xarray and returns axes."""

from __future__ import annotations

from dynamics.plots.bands import curve_and_band, mean_curve, resampled_curve
from dynamics.plots.curves import plot_curves
from dynamics.plots.figures import figure_of_neuroids, figure_of_targets
from dynamics.plots.heatmaps import plot_heatmap
from dynamics.plots.steps import log_step_axis
from dynamics.plots.style import AXIS_NAMES, COLUMN, MM, PAGE, STYLE, save

__all__ = [
    "AXIS_NAMES",
    "COLUMN",
    "MM",
    "PAGE",
    "STYLE",
    "curve_and_band",
    "figure_of_neuroids",
    "figure_of_targets",
    "log_step_axis",
    "mean_curve",
    "plot_curves",
    "plot_heatmap",
    "resampled_curve",
    "save",
]
