"""The figures of a report: drawn by `dynamics.plots`, put into the page as data."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from dynamics import plots
from dynamics.report.findings import MEAN, Curve, Result
from dynamics.report.numbers import level, listed, step

logger = logging.getLogger(__name__)

# A vector drawing of many curves at many steps is larger than its picture.
_MOST_SVG = 600_000
# All of them together; a page of ten megabytes opens slowly and cannot be mailed.
_MOST_TOGETHER = 6_000_000
_MOST_PANELS = 15
_DOTS = 160
_FEWEST_STEPS = 4


class Plan(NamedTuple):
    """What draws a figure (or axes of one), and the text that belongs to it."""

    draw: Callable[[], Any]
    alt: str
    caption: str
    group: str
    wide: bool = False


class Picture(NamedTuple):
    """A figure in the page.

    Attributes
    ----------
    uri : str
        ``data:`` address.
    alt : str
        What it shows, for those who do not see it.
    caption : str
        What stands under it.
    group : str
        Under which heading it stands.
    wide : bool
        Whether it has several panels beside each other.
    """

    uri: str
    alt: str
    caption: str
    group: str
    wide: bool


def pictures(tree: xr.DataTree, found: list[tuple[Result, list[Curve]]]) -> list[Picture]:
    """Draw the figures of a store; one that cannot be drawn is logged and left out.

    Parameters
    ----------
    tree : xarray.DataTree
        What `dynamics.open` returned.
    found : list of (Result, list of Curve)
        Results with their curves.

    Returns
    -------
    list of Picture
        Emergence curves of each metric and of single neuroids first, then what else there is, up
        to 6 megabytes.
    """
    drawn: list[Picture] = []
    for plan in _plans(tree, found):
        if sum(len(picture.uri) for picture in drawn) > _MOST_TOGETHER:
            logger.warning("the report shows %d figures: `dynamics plot` draws all", len(drawn))
            break
        try:
            drawn.append(_picture(plan))
        except (ValueError, RuntimeError, KeyError) as fault:
            logger.warning("the figure %r is left out: %s", plan.caption, fault)
    return drawn


def _picture(plan: Plan) -> Picture:
    style: dict[Any, Any] = {**plots.STYLE, "svg.hashsalt": "dynamics"}
    try:
        with plt.rc_context(style):
            made = plan.draw()
            figure = made if isinstance(made, Figure) else made.figure
            return Picture(data_uri(figure), *plan[1:])
    finally:
        plt.close("all")


def data_uri(figure: Figure) -> str:
    """Encode a figure as SVG, or as PNG where that is smaller by far.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.

    Returns
    -------
    str
        Address that holds the picture itself.
    """
    for kind, options in (
        ("svg", {"metadata": {"Date": None, "Creator": None}}),
        ("png", {"dpi": _DOTS}),
    ):
        beside = io.BytesIO()
        figure.savefig(beside, format=kind, transparent=True, **options)
        if kind == "png" or beside.tell() <= _MOST_SVG:
            break
    media = {"svg": "image/svg+xml", "png": "image/png"}[kind]
    return f"data:{media};base64,{base64.b64encode(beside.getvalue()).decode()}"


def _plans(tree: xr.DataTree, found: list[tuple[Result, list[Curve]]]) -> Iterator[Plan]:
    mean = {(result.target, result.metric): curves[0] for result, curves in found}
    for metric in dict.fromkeys(result.metric for result, _ in found):
        targets = [result.target for result, _ in found if result.metric == metric]
        said = " ".join(_said(target, mean[target, metric]) for target in targets)
        yield Plan(
            partial(plots.figure_of_targets, tree, metric, targets),
            f"Line chart of the {metric} score of every layer against training step. {said}",
            f"Emergence by {metric}: {listed(targets)}.",
            "Emergence curves",
            len(targets) > 1,
        )
    for result, curves in found:
        if 1 < result.data.sizes.get("neuroid", 0) <= _MOST_PANELS:
            said = " ".join(_said(curve.name, curve) for curve in curves if curve.name != MEAN)
            yield Plan(
                partial(plots.figure_of_neuroids, tree, result.metric, result.target),
                f"Line charts of the {result.metric} score of every layer against training step, "
                f"one for each neuroid. {said}",
                f"{result.target} by {result.metric}, one panel a neuroid.",
                "Emergence curves",
                True,
            )
    for result, curves in found:
        yield from _of_result(tree, result, curves)
    yield from _of_probes(tree, found)
    yield from _of_steps(tree)


def _of_result(tree: xr.DataTree, result: Result, curves: list[Curve]) -> Iterator[Plan]:
    """Plan the small figures of one target and metric."""
    if curves[0].score.sizes["step"] < 2:
        return
    data = plots.results_of(tree, result.target, result.metric)
    name, said = f"{result.target} by {result.metric}", _said(result.target, curves[0])
    if curves[0].score.sizes["layer"] > 1:
        yield Plan(
            partial(plots.plot_heatmap, data),
            f"Heat map of layers by training steps. {said}",
            "Every layer at every step.",
            name,
        )
        yield Plan(
            partial(plots.plot_best_layer, data),
            f"Chart of the best layer at every step. {said}",
            "The best layer at every step, how sure that is, and the centre of the layer profile.",
            name,
        )
        yield Plan(
            partial(plots.plot_order, data),
            f"Forest plot of the half-times of layers. {_when(curves[0])}",
            "Half-time of every layer, the earliest on top; open intervals have arrows.",
            name,
        )
    parts = [curve for curve in curves if curve.name != MEAN]
    if len(parts) > 1:
        by = "neuroid" if len(parts) == result.data.sizes.get("neuroid", 0) else "region"
        yield Plan(
            partial(plots.plot_order, data, by=by),
            f"Forest plot of the half-times of every {by} in the layer that ends best.",
            f"Half-time of every {by}, all in the layer that ends best on average.",
            name,
        )


def _of_probes(tree: xr.DataTree, found: list[tuple[Result, list[Curve]]]) -> Iterator[Plan]:
    """Plan brain score against probe score, for every pair with four steps in common."""
    for task, _ in found:
        for brain, _ in found:
            common = np.intersect1d(task.data["step"], brain.data["step"])
            if not task.is_probe or brain.is_probe or len(common) < _FEWEST_STEPS:
                continue
            name = f"{brain.target} by {brain.metric} against {task.target}"
            yield Plan(
                partial(plots.plot_brain_task, brain.data, task.data),
                f"Scatter plot over checkpoints: {name}, with the training step as colour.",
                f"{name}, one point a checkpoint.",
                "Brains and probes",
            )


def _of_steps(tree: xr.DataTree) -> Iterator[Plan]:
    """Plan the step x step matrices."""
    for path in tree.groups:
        if path.startswith("/results/self/") and "similarity" in tree[path].data_vars:
            metric = path.rpartition("/")[2]
            similarity = tree[path]["similarity"]
            if similarity.sizes.get("step", 0) > 1:
                named = similarity.assign_attrs({"metric": metric} | similarity.attrs)
                yield Plan(
                    partial(_first_of, plots.facet_similarity, named),
                    f"Matrices of the similarity by {metric} of a layer at every pair of steps.",
                    f"Similarity by {metric} of a layer with itself at other steps.",
                    "Steps compared with each other",
                    True,
                )


def _first_of(draw: Callable[..., Any], *arguments: Any) -> Any:
    return draw(*arguments)[0]


def _when(curve: Curve) -> str:
    times = curve.statistics["half_time"]
    known = [(str(name), float(times.sel(layer=name))) for name in times["layer"].to_numpy()]
    said = [f"{name} {step(when)}" for name, when in known if np.isfinite(when)]
    return f"Estimates: {', '.join(said)}." if said else "No layer has one."


def _said(name: str, curve: Curve) -> str:
    best = curve.score.sel(layer=curve.best)
    steps = curve.score["step"].to_numpy()
    return (
        f"{name}: the layer that ends highest, {curve.best}, goes from {level(float(best[0]))} at "
        f"step {step(float(steps[0]))} to {level(float(best[-1]))} at step "
        f"{step(float(steps[-1]))}."
    )
