"""Figures from results: each function takes xarray and returns axes."""

from __future__ import annotations

from dynamics.plots.behaviour import plot_brain_like
from dynamics.plots.curves import facet_curves, plot_curves
from dynamics.plots.figures import figure_of_neuroids, figure_of_targets, probes_of, results_of
from dynamics.plots.heatmaps import plot_heatmap
from dynamics.plots.latencies import (
    facet_crossed,
    facet_latencies,
    plot_latencies,
    plot_profiles,
)
from dynamics.plots.layers import plot_best_layer
from dynamics.plots.models import plot_models
from dynamics.plots.order import plot_intervals, plot_order
from dynamics.plots.rdms import plot_rdms
from dynamics.plots.scatter import plot_brain_task, plot_brain_task_models
from dynamics.plots.similarity import (
    facet_layer_similarity,
    facet_similarity,
    plot_layer_similarity,
    plot_similarity,
)
from dynamics.plots.single import figure_of_layers, plot_layer_scores
from dynamics.plots.stacks import stack
from dynamics.plots.steps import log_step_axis, spread_steps
from dynamics.plots.style import COLUMN, FORMATS, MM, PAGE, STYLE, lay_out, save
from dynamics.plots.surface import facet_surface, plot_surface
from dynamics.plots.table import FIGURES, Drawing, Kind, Shown, figures_of, figures_of_steps, wanted
from dynamics.plots.two_runs import plot_layers_of_runs, plot_steps_of_runs

__all__ = [
    "COLUMN",
    "FIGURES",
    "FORMATS",
    "MM",
    "PAGE",
    "STYLE",
    "Drawing",
    "Kind",
    "Shown",
    "facet_crossed",
    "facet_curves",
    "facet_latencies",
    "facet_layer_similarity",
    "facet_similarity",
    "facet_surface",
    "figure_of_layers",
    "figure_of_neuroids",
    "figure_of_targets",
    "figures_of",
    "figures_of_steps",
    "lay_out",
    "log_step_axis",
    "plot_best_layer",
    "plot_brain_like",
    "plot_brain_task",
    "plot_brain_task_models",
    "plot_curves",
    "plot_heatmap",
    "plot_intervals",
    "plot_latencies",
    "plot_layer_scores",
    "plot_layer_similarity",
    "plot_layers_of_runs",
    "plot_models",
    "plot_order",
    "plot_profiles",
    "plot_rdms",
    "plot_similarity",
    "plot_steps_of_runs",
    "plot_surface",
    "probes_of",
    "results_of",
    "save",
    "spread_steps",
    "stack",
    "wanted",
]
