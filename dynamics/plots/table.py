"""One record a kind of figure: what `dynamics plot`, the report and whoever draws a store ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from dynamics.emergence.last_step import is_single
from dynamics.emergence.latencies import axes_of
from dynamics.emergence.parts import parts
from dynamics.emergence.pathway import maps_of
from dynamics.plots.curves import facet_curves
from dynamics.plots.figures import (
    PROBE,
    facets,
    figure_of_neuroids,
    figure_of_targets,
    probes_of,
    results_of,
    single,
)
from dynamics.plots.heatmaps import plot_heatmap
from dynamics.plots.kind import Drawing, Kind, Shown
from dynamics.plots.latencies import facet_crossed, facet_latencies, plot_profiles
from dynamics.plots.layers import plot_best_layer
from dynamics.plots.order import plot_order
from dynamics.plots.pathway import LATENCY, figure_of_pathway
from dynamics.plots.scatter import plot_brain_task
from dynamics.plots.similarity import facet_layer_similarity, facet_similarity
from dynamics.plots.single import figure_of_layers
from dynamics.tables import check_name

# Single neuroids are drawn for targets of few (components), not for voxels.
_MOST = 15
# Fewer points of a scatter plot cannot be correlated.
_FEWEST_STEPS = 4
# Of so few layers the curves show all that a heat map does.
_FEW_LAYERS = 6
# What asks for every figure.
ALL = "all"
CURVES, PROBES = "Emergence curves", "Brains and probes"
COMPARED = "Steps and layers compared with each other"


def figures_of(
    tree: xr.DataTree, metric: str, targets: Sequence[str], *, only: Sequence[str] = ()
) -> Iterator[Drawing]:
    """Name the figures of what a store has by one metric.

    Those of all targets together; then for each target what `FIGURES` has for it.

    Parameters
    ----------
    tree : xarray.DataTree
        What `dynamics.open` returned.
    metric : str
        Label of the metric.
    targets : sequence of str
        Labels of the targets that have it.
    only : sequence of str
        Names in `FIGURES`, or ``["all"]``; by default those that a paper would show.

    Yields
    ------
    Drawing
        A figure.
    """
    yield from _drawings(Shown(tree, metric, tuple(targets), xr.Dataset()), "metric", only)
    for target in targets:
        results = results_of(tree, target, metric)
        yield from _drawings(Shown(tree, metric, (target,), results), "target", only)


def figures_of_steps(tree: xr.DataTree, *, only: Sequence[str] = ()) -> Iterator[Drawing]:
    """Name the figures of steps and of layers compared with each other.

    Parameters
    ----------
    tree : xarray.DataTree
        What `dynamics.open` returned.
    only : sequence of str
        As in `figures_of`.

    Yields
    ------
    Drawing
        Such as "steps-cka" and "layers-cka", kind by kind.
    """
    compared = [path for path in tree.groups if path.startswith("/results/self/")]
    for kind in wanted(only):
        for path in compared:
            shown = Shown(tree, path.rpartition("/")[2], (), tree[path].to_dataset())
            yield from _drawings(shown, "self", [kind])


def wanted(only: Sequence[str] = ()) -> list[str]:
    """Return the names in `FIGURES` that are drawn: these, all, or those that may be by default."""
    for name in only:
        if name != ALL:
            check_name("figure", name, FIGURES)
    if ALL in only:
        return list(FIGURES)
    return [
        name for name, kind in FIGURES.items() if (name in only if only else kind.asked is not True)
    ]


def _drawings(shown: Shown, of: str, only: Sequence[str]) -> Iterator[Drawing]:
    for name in wanted(only):
        kind = FIGURES[name]
        if kind.of != of:
            continue
        others = kind.takes(shown)
        if callable(kind.asked) and not only and others and kind.asked(shown):
            continue
        for other in others:
            own = shown._replace(other=other)
            target = shown.targets[0] if of == "target" else ""
            file = kind.file.format(metric=shown.metric, target=target, other=other)
            draw = partial(kind.draw, own)
            yield Drawing(file, name, shown.metric, shown.targets, draw, other)


def _units(results: xr.Dataset) -> str:
    """Say what is shown by itself: few neuroids (components), else regions, or nothing."""
    if 1 < results.sizes.get("neuroid", 0) <= _MOST:
        return "neuroid"
    if "region" in results.coords and results["region"].ndim:
        return "region" if 1 < len(parts(results, "region")) <= _MOST else ""
    return ""


def _all_single(shown: Shown) -> bool:
    """Whether all targets of a metric are of one trained network."""
    own = (shown.tree[f"results/{target}/{shown.metric}"].to_dataset() for target in shown.targets)
    return all(map(is_single, own))


def _has(*names: str) -> Callable[[Shown], Sequence[str]]:
    """Take results that have several of each dimension."""

    def takes(shown: Shown) -> Sequence[str]:
        if "step" in names and is_single(shown.results):
            return []
        return [""] if all(shown.results.sizes.get(name, 1) > 1 for name in names) else []

    return takes


def _shows(unit: str) -> Callable[[Shown], Sequence[str]]:
    def takes(shown: Shown) -> Sequence[str]:
        return [""] if _units(shown.results) == unit and not is_single(shown.results) else []

    return takes


def _units_along(shown: Shown) -> Sequence[str]:
    by = _units(shown.results)
    several = shown.results.sizes.get("step", 1) > 1 and not is_single(shown.results)
    return [by] if by and several else []


def _tasks(shown: Shown) -> Sequence[str]:
    """Name the probes that have steps enough in common with the results."""
    if shown.metric == PROBE:
        return []
    steps = {task: results_of(shown.tree, task, PROBE)["step"] for task in probes_of(shown.tree)}
    have = shown.results["step"]
    return [task for task in steps if len(np.intersect1d(have, steps[task])) >= _FEWEST_STEPS]


def _compared(variable: str, fewest: int) -> Callable[[Shown], Sequence[str]]:
    def takes(shown: Shown) -> Sequence[str]:
        found = shown.results.data_vars
        enough = variable in found and found[variable].sizes.get("step", 0) >= fewest
        return [""] if enough else []

    return takes


def _draw_regions(shown: Shown) -> Figure:
    draw = partial(facet_curves, facet="region")
    return facets(draw, shown.results, title=f"{shown.run}: {shown.title}")


def _draw_layer_order(shown: Shown) -> Figure:
    height = 28 + 4.2 * shown.results.sizes["layer"]
    return single(plot_order, shown.results, height=height, title=shown.title)


def _draw_order(shown: Shown) -> Figure:
    height = 28 + 4.2 * len(parts(shown.results, shown.other))
    return single(plot_order, shown.results, height=height, title=shown.title, by=shown.other)


def _draw_probe(shown: Shown) -> Figure:
    probe = results_of(shown.tree, shown.other, PROBE)
    title = f"{shown.title}, {shown.other}"
    return single(plot_brain_task, shown.results, probe, height=70, title=title)


def _along(shown: Shown) -> Sequence[str]:
    """Name the axes of delay or time of results over several steps."""
    several = shown.results.sizes.get("step", 1) > 1
    return [axis for axis in axes_of(shown.results) if axis in _ALONG] if several else []


_ALONG = ("latency", "time")


def _draw_latencies(shown: Shown) -> Figure:
    facet = "region" if _units(shown.results) == "region" else ""
    draw = partial(facet_latencies, dim=shown.other, facet=facet)
    return facets(draw, shown.results, title=shown.title)


def _draw_profiles(shown: Shown) -> Figure:
    return single(plot_profiles, shown.results, height=62, title=shown.title, dim=shown.other)


def _pathway(shown: Shown) -> Sequence[str]:
    """Name the maps of a target whose results are of several steps, and latencies."""
    several = shown.results.sizes.get("step", 1) > 1 and not is_single(shown.results)
    if not several or "neuroid" not in shown.results.get("score", xr.DataArray()).dims:
        return []
    timed = LATENCY in _along(shown) and shown.results.sizes.get("layer", 1) > 2
    if "temporal_score" in shown.results:  # of layers that all predict one latency best none
        timed = timed and bool(shown.results["temporal_score"].notnull().any())
    return [*maps_of(shown.results), *([LATENCY] if timed else [])]


def _draw_compared(
    draw: Callable[..., np.ndarray], variable: str, words: str
) -> Callable[[Shown], Figure]:
    def drawn(shown: Shown) -> Figure:
        values = shown.results[variable]
        values = values.assign_attrs({"metric": shown.metric} | values.attrs)
        return facets(draw, values, title=f"{shown.run}: {words}")

    return drawn


FIGURES: dict[str, Kind] = {
    "emergence": Kind(
        lambda shown: figure_of_targets(shown.tree, shown.metric, shown.targets),
        "emergence-{metric}",
        "Emergence by {metric}: {targets}.",
        "Line chart of the {metric} score of every layer against training step. {said}",
        of="metric",
        takes=lambda shown: [] if _all_single(shown) else [""],
        group=CURVES,
    ),
    "layer-scores": Kind(
        lambda shown: figure_of_layers(shown.tree, shown.metric, shown.targets),
        "layers-{metric}-scores",
        "Every layer of the trained and the untrained network by {metric}: {targets}.",
        "Line chart of the {metric} score against the layer, from input to output. {said}",
        of="metric",
        takes=lambda shown: [""] if _all_single(shown) else [],
        group=CURVES,
    ),
    "neuroids": Kind(
        lambda shown: figure_of_neuroids(shown.tree, shown.metric, shown.targets[0]),
        "emergence-{metric}-{target}",
        "{name}, one panel a neuroid.",
        "Line charts of the {metric} score of every layer against training step, one for each "
        "neuroid. {parts}",
        takes=_shows("neuroid"),
        group=CURVES,
        wide=True,
    ),
    "regions": Kind(
        _draw_regions,
        "emergence-{metric}-{target}-regions",
        "{name}, one panel a region.",
        "Line charts of the {metric} score of every layer against training step, one for each "
        "region. {parts}",
        takes=_shows("region"),
        group=CURVES,
        wide=True,
    ),
    "heatmap": Kind(
        lambda shown: single(plot_heatmap, shown.results, height=58, title=shown.title),
        "heatmap-{metric}-{target}",
        "Every layer at every step.",
        "Heat map of layers by training steps. {said}",
        takes=_has("layer", "step"),
        asked=lambda shown: shown.results.sizes["layer"] <= _FEW_LAYERS,
    ),
    "best-layer": Kind(
        lambda shown: single(plot_best_layer, shown.results, height=72, title=shown.title),
        "best-layer-{metric}-{target}",
        "The best layer at every step, how sure that is, and the centre of the layer profile.",
        "Chart of the best layer at every step. {said}",
        takes=_has("layer", "step"),
        asked=True,
    ),
    "layer-order": Kind(
        _draw_layer_order,
        "order-{metric}-{target}",
        "Half-time of every layer, the earliest on top; open intervals have arrows.",
        "Forest plot of the half-times of layers. {when}",
        takes=_has("layer", "step"),
        asked=True,
    ),
    "order": Kind(
        _draw_order,
        "order-{metric}-{target}-{other}s",
        "Half-time of every {other}, all in the layer that ends best on average.",
        "Forest plot of the half-times of every {other} in the layer that ends best.",
        takes=_units_along,
        asked=True,
    ),
    "latencies": Kind(
        _draw_latencies,
        "latencies-{metric}-{target}-by-{other}",
        "Scores by {other} at every step.",
        "Heat map of scores by {other} and training step. {said}",
        takes=_along,
    ),
    "crossed": Kind(
        lambda shown: facets(facet_crossed, shown.results, title=shown.title),
        "crossed-{metric}-{target}",
        "Every time of the sound against every time of the responses.",
        "Matrices of the similarity of a layer at each time of the sound to the responses at each "
        "time.",
        takes=lambda shown: [""] if "cross" in axes_of(shown.results) else [],
        wide=True,
    ),
    "pathway": Kind(
        lambda shown: figure_of_pathway(shown.results, shown.other, title=shown.title),
        "pathway-{metric}-{target}-{other}",
        "Whether deeper layers fit what is further on in {other}, at every step.",
        "Line chart of the correlation of layers with {other} against training step.",
        takes=_pathway,
    ),
    "profiles": Kind(
        _draw_profiles,
        "profiles-{metric}-{target}-by-{other}",
        "Scores against {other}, a line a step.",
        "Line chart of scores against {other}, one line a training step. {said}",
        takes=_along,
        asked=True,
    ),
    "probe": Kind(
        _draw_probe,
        "probe-{other}-{metric}-{target}",
        "{name} against {other}, one point a checkpoint. Two scores that both grow with training "
        "correlate, whatever they have to do with each other: what both have beyond a smooth trend "
        "is what is left with the step partialled out.",
        "Scatter plot over checkpoints: {name} against {other}, with the training step as colour.",
        takes=_tasks,
        group=PROBES,
    ),
    "steps": Kind(
        _draw_compared(facet_similarity, "similarity", "steps with each other"),
        "steps-{metric}",
        "Similarity by {metric} of a layer with itself at other steps.",
        "Matrices of the similarity by {metric} of a layer at every pair of steps.",
        of="self",
        takes=_compared("similarity", 2),
        group=COMPARED,
        wide=True,
    ),
    "layers": Kind(
        _draw_compared(facet_layer_similarity, "layer_similarity", "layers with each other"),
        "layers-{metric}",
        "Similarity by {metric} of the layers with each other along training.",
        "Matrices of the similarity by {metric} of every pair of layers at some steps.",
        of="self",
        takes=_compared("layer_similarity", 1),
        group=COMPARED,
    ),
}
"""Kinds of figures in the order in which they are drawn."""
