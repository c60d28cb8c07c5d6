"""Whole figures of a store, and which of them a sweep gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dynamics.plots.bands import parts
from dynamics.plots.curves import draw_legend, facet_curves, label_outer, panels, plot_curves
from dynamics.plots.heatmaps import plot_heatmap
from dynamics.plots.layers import plot_best_layer
from dynamics.plots.order import plot_order
from dynamics.plots.scatter import plot_brain_task
from dynamics.plots.similarity import facet_similarity
from dynamics.plots.style import COLUMN, sheet, styled

# Single neuroids are drawn for targets of few (components), not for voxels.
_MOST = 15


def figures_of(
    tree: xr.DataTree, metric: str, targets: Sequence[str]
) -> Iterator[tuple[str, Figure]]:
    """Draw what a store has to say about one metric, one figure after the other.

    Emergence curves of all targets; and for each target those of its neuroids where they are few,
    else of its regions, the layer x step heat map, the best layer over training, the order of
    emergence of layers and of neuroids or regions, and brain score against every probe's score.

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
    name : str
        Such as "emergence-ridge", for a file.
    figure : matplotlib.figure.Figure
        The figure.
    """
    yield f"emergence-{metric}", figure_of_targets(tree, metric, targets)
    for target in targets:
        results = results_of(tree, target, metric)
        end, title = f"{metric}-{target}", f"{_simulated(results)}{target}, {metric}"
        by = _units(results)
        if by == "neuroid":
            yield f"emergence-{end}", figure_of_neuroids(tree, metric, target)
        elif by == "region":
            figure = facet_curves(results, facet="region")[0].figure
            figure.suptitle(f"{tree.attrs.get('run', '')}: {title}", fontsize=7.5)
            yield f"emergence-{end}-regions", figure
        yield f"heatmap-{end}", _single(plot_heatmap, results, height=58, title=title)
        yield f"best-layer-{end}", _single(plot_best_layer, results, height=64, title=title)
        height = 28 + 4.2 * results.sizes.get("layer", 1)
        yield f"order-{end}", _single(plot_order, results, height=height, title=title)
        if by:
            height = 28 + 4.2 * len(parts(results, by))
            figure = _single(plot_order, results, height=height, title=title, by=by)
            yield f"order-{end}-{by}s", figure
        for task in probes_of(tree):
            probe = tree[f"results/{task}/probe"].to_dataset()
            figure = _single(plot_brain_task, results, probe, height=70, title=f"{title}, {task}")
            yield f"probe-{task}-{end}", figure


def figures_of_steps(tree: xr.DataTree) -> Iterator[tuple[str, Figure]]:
    """Draw the step x step matrices of a store, one figure a metric.

    Parameters
    ----------
    tree : xarray.DataTree
        What `dynamics.open` returned.

    Yields
    ------
    name : str
        Such as "steps-cka", for a file.
    figure : matplotlib.figure.Figure
        The figure.
    """
    for path in tree.groups:
        if path.startswith("/results/self/") and "similarity" in tree[path].data_vars:
            metric = path.rpartition("/")[2]
            similarity = tree[path]["similarity"]
            named = similarity.assign_attrs({"metric": metric} | similarity.attrs)
            figure = facet_similarity(named)[0].figure
            figure.suptitle(f"{tree.attrs.get('run', '')}: steps with each other", fontsize=7.5)
            yield f"steps-{metric}", figure


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
        if len(part) == 3 and part[0] == "results" and part[2] == "probe"
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
        Results of numbers alone, NaN at the failed steps.
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
    return plain.reindex(step=sorted([*have.tolist(), *lost]))


@styled
def _figure(found: Sequence[tuple[str, xr.Dataset, str | None]], *, title: str) -> Figure:
    figure, axes = panels(len(found))
    for ax, (name, results, neuroid) in zip(axes, found):
        plot_curves(results, ax=ax, neuroid=neuroid)
        ax.set_title(_simulated(results) + name)
    label_outer(axes)
    draw_legend(figure, *axes)
    figure.suptitle(title, fontsize=7.5)
    return figure


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
        draw_legend(figure, ax, what="grey lines")
    return figure
