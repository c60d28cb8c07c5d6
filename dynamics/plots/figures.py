"""Whole figures of a store, and which of them a sweep gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dynamics.emergence.remarks import about_edges
from dynamics.plots.bands import parts
from dynamics.plots.curves import facet_curves, plot_curves
from dynamics.plots.heatmaps import plot_heatmap
from dynamics.plots.layers import plot_best_layer
from dynamics.plots.order import plot_order
from dynamics.plots.panels import draw_legend, label_outer, panels
from dynamics.plots.scatter import plot_brain_task
from dynamics.plots.similarity import facet_layer_similarity, facet_similarity
from dynamics.plots.style import COLUMN, figure_of, sheet, styled
from dynamics.record import mapping

# Single neuroids are drawn for targets of few (components), not for voxels.
_MOST = 15
# Fewer points of a scatter plot cannot be correlated.
_FEWEST_STEPS = 4
_PROBE = "probe"


class Drawing(NamedTuple):
    """A figure of a store that is still to be drawn.

    Attributes
    ----------
    name : str
        Such as "heatmap-ridge-cortex", for a file.
    kind : str
        "emergence", "neuroids", "regions", "heatmap", "best-layer", "order", "probe", "steps" or
        "layers".
    metric : str
        Label of the metric.
    targets : tuple of str
        Labels of the targets that it shows; none for what compares a model with itself.
    draw : callable
        Draws it and returns the matplotlib figure.
    other : str
        What else tells it apart: by what a forest plot is ordered, or the task of a probe.
    """

    name: str
    kind: str
    metric: str
    targets: tuple[str, ...]
    draw: Callable[[], Figure]
    other: str = ""


def figures_of(tree: xr.DataTree, metric: str, targets: Sequence[str]) -> Iterator[Drawing]:
    """Name the figures of what a store has by one metric.

    Emergence curves of all targets; and for each target those of its neuroids where they are few,
    else of its regions, and where there are two steps or more the layer x step heat map, the best
    layer over training, the order of emergence of layers and of neuroids or regions, and brain
    score against the score of every probe that has four steps in common.

    Parameters
    ----------
    tree : xarray.DataTree
        What `dynamics.open` returned.
    metric : str
        Label of the metric.
    targets : sequence of str
        Labels of the targets that have it.

    Yields
    ------
    Drawing
        A figure.
    """
    draw = partial(figure_of_targets, tree, metric, targets)
    yield Drawing(f"emergence-{metric}", "emergence", metric, tuple(targets), draw)
    for target in targets:
        yield from _of_target(tree, metric, target)


def _of_target(tree: xr.DataTree, metric: str, target: str) -> Iterator[Drawing]:
    results = results_of(tree, target, metric)
    end, title = f"{metric}-{target}", f"{_simulated(results)}{target}, {metric}"
    by = _units(results)
    layers, steps = (results.sizes.get(dim, 1) for dim in ("layer", "step"))

    def one(kind: str, draw: Callable[[], Figure], other: str = "", end: str = end) -> Drawing:
        start = "emergence" if kind in ("neuroids", "regions") else kind
        return Drawing(f"{start}-{end}", kind, metric, (target,), draw, other)

    def single(draw: Callable[..., Axes], height: float, **options) -> Callable[[], Figure]:
        return partial(_single, draw, results, height=height, title=title, **options)

    if by == "neuroid":
        yield one("neuroids", partial(figure_of_neuroids, tree, metric, target))
    elif by == "region":
        facets = partial(facet_curves, facet="region")
        draw = partial(_facets, facets, results, title=f"{tree.attrs.get('run', '')}: {title}")
        yield one("regions", draw, end=f"{end}-regions")
    if layers > 1 and steps > 1:
        yield one("heatmap", single(plot_heatmap, 58))
        yield one("best-layer", single(plot_best_layer, 64))
        yield one("order", single(plot_order, 28 + 4.2 * layers), "layer")
    if by and steps > 1:
        height = 28 + 4.2 * len(parts(results, by))
        yield one("order", single(plot_order, height, by=by), by, end=f"{end}-{by}s")
    for task in probes_of(tree) if metric != _PROBE else ():
        probe = results_of(tree, task, _PROBE)
        if len(np.intersect1d(results["step"], probe["step"])) >= _FEWEST_STEPS:
            draw = partial(
                _single, plot_brain_task, results, probe, height=70, title=f"{title}, {task}"
            )
            yield one("probe", draw, task, end=f"{task}-{end}")


def figures_of_steps(tree: xr.DataTree) -> Iterator[Drawing]:
    """Name the figures of steps and of layers compared with each other, two a metric.

    Parameters
    ----------
    tree : xarray.DataTree
        What `dynamics.open` returned.

    Yields
    ------
    Drawing
        Such as "steps-cka" and "layers-cka".
    """
    run = str(tree.attrs.get("run", ""))
    compared = [path for path in tree.groups if path.startswith("/results/self/")]
    for kind, (name, facets, words) in _COMPARED.items():
        for path in compared:
            metric, found = path.rpartition("/")[2], tree[path].data_vars
            if name in found and found[name].sizes.get("step", 0) > (kind == "steps"):
                similarity = found[name].assign_attrs({"metric": metric} | found[name].attrs)
                draw = partial(_facets, facets, similarity, title=f"{run}: {words}")
                yield Drawing(f"{kind}-{metric}", kind, metric, (), draw)


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
        if len(part) == 3 and part[0] == "results" and part[2] == _PROBE
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
def _facets(draw: Callable[..., np.ndarray], *results: Any, title: str) -> Figure:
    figure = figure_of(draw(*results)[0])
    figure.suptitle(title, fontsize=7.5)
    return figure


@styled
def _figure(found: Sequence[tuple[str, xr.Dataset, str | None]], *, title: str) -> Figure:
    metrics = {mapping(results.attrs.get("identity")).get("metric") for _, results, _ in found}
    # Scores of several tasks have no common axis.
    figure, axes = panels(len(found), sharey=_PROBE not in metrics)
    for ax, (name, results, neuroid) in zip(axes, found):
        plot_curves(results, ax=ax, neuroid=neuroid)
        ax.set_title(_simulated(results) + name)
    label_outer(axes)
    several = len({name for name, _, neuroid in found if neuroid is None}) > 1
    draw_legend(*axes, notes=[_edges(name if several else "", each) for name, each, _ in found])
    figure.suptitle(title, fontsize=7.5)
    return figure


def _edges(name: str, results: xr.Dataset) -> str:
    """Say how many penalties lie at an edge, of the target named where there are several."""
    said = about_edges(results, brief=True)
    return f"{name}: {said}" if name and said else said


def _simulated(results: xr.Dataset) -> str:
    """Return the words without which no figure of a simulated brain may leave the house."""
    return "simulated brain: " if results.attrs.get("simulated") else ""


def _units(results: xr.Dataset) -> str:
    """Say what is shown by itself: few neuroids (components), else regions, or nothing."""
    if 1 < results.sizes.get("neuroid", 0) <= _MOST:
        return "neuroid"
    if "region" in results.coords and results["region"].ndim:
        return "region" if 1 < len(parts(results, "region")) <= _MOST else ""
    return ""


@styled
def _single(
    draw: Callable[..., Axes], *results: xr.Dataset, height: float, title: str, **options
) -> Figure:
    figure, axes = sheet(1, 1, width=COLUMN, height=height)
    ax = draw(*results, ax=axes[0, 0], **options)
    figure.suptitle(title, fontsize=7.5)
    if draw is plot_brain_task:
        draw_legend(ax, what="grey lines")
    return figure


_COMPARED: dict[str, tuple[str, Callable[..., np.ndarray], str]] = {
    "steps": ("similarity", facet_similarity, "steps with each other"),
    "layers": ("layer_similarity", facet_layer_similarity, "layers with each other"),
}
