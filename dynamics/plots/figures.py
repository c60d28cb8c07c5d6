"""Whole figures of a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dynamics.emergence.remarks import about_edges
from dynamics.plots.curves import plot_curves
from dynamics.plots.layers import LIMITED, plot_best_layer
from dynamics.plots.panels import draw_legend, label_outer, panels
from dynamics.plots.scatter import plot_brain_task
from dynamics.plots.style import COLUMN, figure_of, sheet, styled
from dynamics.store.attributes import mapping

PROBE = "probe"

_LIMITED = {plot_brain_task: "grey lines", plot_best_layer: LIMITED}


def probes_of(tree: xr.DataTree) -> list[str]:
    """Return the tasks that a store has probe scores of.

    Parameters
    ----------
    tree : xarray.DataTree
        What `dynamics.open` returned.

    Returns
    -------
    list of str
        ``results/<task>/probe`` by task.
    """
    parts = [path.strip("/").split("/") for path in tree.groups]
    return [
        part[1]
        for part in parts
        if len(part) == 3 and part[0] == "results" and part[2] == PROBE
        if "score" in tree["/".join(part)].data_vars
    ]


def figure_of_targets(tree: xr.DataTree, metric: str, targets: Sequence[str]) -> Figure:
    """Draw emergence curves of one metric, one panel a target.

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
    found = [(target, results_of(tree, target, metric), None) for target in targets]
    return _figure(found, title=str(tree.attrs.get("run", "")))


def figure_of_neuroids(tree: xr.DataTree, metric: str, target: str) -> Figure:
    """Draw emergence curves of one target, one panel a neuroid (for components).

    Parameters
    ----------
    tree : xarray.DataTree
        What `dynamics.open` returned.
    metric, target : str
        Labels of the metric and the target.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    results = results_of(tree, target, metric)
    found = [(str(name), results, str(name)) for name in results["neuroid"].to_numpy()]
    return _figure(found, title=f"{tree.attrs.get('run', '')}: {target}")


def results_of(tree: xr.DataTree, target: str, metric: str) -> xr.Dataset:
    """Return results with a gap at every step whose checkpoint failed.

    Parameters
    ----------
    tree : xarray.DataTree
        What `dynamics.open` returned.
    target, metric : str
        Labels.

    Returns
    -------
    xarray.Dataset
        Results of numbers alone, NaN at the failed steps, which the coordinate `failed_step`
        tells from those that lack a score: statistics are made without them.
    """
    results = tree[f"results/{target}/{metric}"].to_dataset()
    table = tree["checkpoints"].to_dataset() if "checkpoints" in tree.children else xr.Dataset()
    if "status" not in table:
        return results
    steps = table["step"].to_numpy()[(table["status"] == "failed").to_numpy()]
    have = results["step"].to_numpy()
    lost = sorted(set(steps.tolist()) - set(have.tolist()))
    if not lost:
        return results
    plain = results.drop_vars(
        [name for name, each in results.data_vars.items() if each.dtype.kind != "f"]
    )
    found = plain.reindex(step=sorted([*have.tolist(), *lost]))
    return found.assign_coords(failed_step=("step", ~np.isin(found["step"], have)))


@styled
def facets(draw: Callable[..., np.ndarray], *results: Any, title: str) -> Figure:
    """Draw a figure of several panels that a function returns, under a title."""
    figure = figure_of(draw(*results)[0])
    figure.suptitle(title, fontsize=7.5)
    return figure


@styled
def _figure(found: Sequence[tuple[str, xr.Dataset, str | None]], *, title: str) -> Figure:
    metrics = {mapping(results.attrs.get("identity")).get("metric") for _, results, _ in found}
    # Scores of several tasks have no common axis, nor have those of acoustics and labels.
    kinds = PROBE in metrics or any(each.attrs.get("of_stimuli") for _, each, _ in found)
    figure, axes = panels(len(found), sharey=not kinds)
    for ax, (name, results, neuroid) in zip(axes, found):
        plot_curves(results, ax=ax, neuroid=neuroid)
        ax.set_title(simulated(results) + name)
    label_outer(axes)
    several = len({name for name, _, neuroid in found if neuroid is None}) > 1
    draw_legend(*axes, notes=[_edges(name if several else "", each) for name, each, _ in found])
    figure.suptitle(title, fontsize=7.5)
    return figure


def _edges(name: str, results: xr.Dataset) -> str:
    """Say how many penalties lie at an edge, of the target named where there are several."""
    said = about_edges(results, brief=True)
    return f"{name}: {said}" if name and said else said


def simulated(results: xr.Dataset) -> str:
    """Return the words without which no figure of a simulated brain may leave the house."""
    return "simulated brain: " if results.attrs.get("simulated") else ""


@styled
def single(
    draw: Callable[..., Axes], *results: xr.Dataset, height: float, title: str, **options
) -> Figure:
    """Draw a figure of one panel, so many mm high, under a title."""
    figure, axes = sheet(1, 1, width=COLUMN, height=height)
    ax = draw(*results, ax=axes[0, 0], **options)
    figure.suptitle(title, fontsize=7.5)
    if draw in _LIMITED:
        draw_legend(ax, what=_LIMITED[draw])
    return figure
