"""The figures of a report: drawn by `dynamics.plots`, put into the page as data."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import xarray as xr
from matplotlib.figure import Figure

from dynamics import plots
from dynamics.report.findings import MEAN, Curve, Result
from dynamics.report.numbers import level, listed, step

logger = logging.getLogger(__name__)

# A vector drawing of many curves at many steps is larger than its picture.
_MOST_SVG = 600_000
_MOST_PANELS = 15
_DOTS = 160


class Plan(NamedTuple):
    """What draws a figure (or axes of one), and the text that belongs to it."""

    draw: Callable[[], Any]
    alt: str
    caption: str
    wide: bool


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
    wide : bool
        Whether it has several panels beside each other.
    """

    uri: str
    alt: str
    caption: str
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
        Emergence curves of each metric, of single neuroids, and heat maps.
    """
    drawn = []
    for plan in _plans(tree, found):
        try:
            drawn.append(_picture(plan, math=True))
        except ValueError:
            # A name that looks like a formula and is none: then nothing is read as a formula.
            drawn += _without_math(plan)
    return drawn


def _picture(plan: Plan, *, math: bool) -> Picture:
    style: dict[Any, Any] = {**plots.STYLE, "svg.hashsalt": "dynamics", "text.parse_math": math}
    try:
        with plt.rc_context(style):
            made = plan.draw()
            figure = made if isinstance(made, Figure) else made.figure
            return Picture(data_uri(figure), plan.alt, plan.caption, plan.wide)
    finally:
        plt.close("all")


def _without_math(plan: Plan) -> list[Picture]:
    try:
        return [_picture(plan, math=False)]
    except (ValueError, RuntimeError, KeyError) as fault:
        logger.warning("the figure %r is left out: %s", plan.caption, fault)
        return []


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
            f"Emergence by {metric}: {listed(targets)}. {_KEY}",
            len(targets) > 1,
        )
    for result, curves in found:
        if not 1 < result.data.sizes.get("neuroid", 0) <= _MOST_PANELS:
            continue
        said = " ".join(_said(curve.name, curve) for curve in curves if curve.name != MEAN)
        yield Plan(
            partial(plots.figure_of_neuroids, tree, result.metric, result.target),
            f"Line charts of the {result.metric} score of every layer against training step, one "
            f"for each neuroid. {said}",
            f"{result.target} by {result.metric}, one panel a neuroid. {_KEY}",
            True,
        )
    for result, curves in found:
        if min(curves[0].score.sizes.values()) > 1:
            yield Plan(
                partial(plots.plot_heatmap, result.data),
                f"Heat map of layers by training steps. {_said(result.target, curves[0])}",
                f"{result.target} by {result.metric}: every layer at every step.",
                False,
            )


_KEY = (
    "Bands are limits of 95 %, rings mark half-times, dashed lines the baseline without learning "
    "and dotted lines the noise ceiling, where they are known."
)


def _said(name: str, curve: Curve) -> str:
    best = curve.score.sel(layer=curve.best)
    steps = curve.score["step"].to_numpy()
    return (
        f"{name}: the layer that ends highest, {curve.best}, goes from {level(float(best[0]))} at "
        f"step {step(float(steps[0]))} to {level(float(best[-1]))} at step "
        f"{step(float(steps[-1]))}."
    )
