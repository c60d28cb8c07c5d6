"""The figures of a report: drawn by `dynamics.plots`, put into the page as data."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from dynamics import plots
from dynamics.emergence.population import listed, population
from dynamics.report.findings import MEAN, Curve, Found
from dynamics.report.numbers import counted, level, step, unit

logger = logging.getLogger(__name__)

# A vector drawing of many curves at many steps is larger than its picture.
_MOST_SVG = 600_000
# All of them together; a page of ten megabytes opens slowly and cannot be mailed.
_MOST_TOGETHER = 6_000_000
_DOTS = 160
_OTHERS = "Other figures"


class Plan(NamedTuple):
    """A figure, and the text that belongs to it."""

    drawing: plots.Drawing
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


def pictures(
    tree: xr.DataTree,
    found: Found,
    drawn: Mapping[str, str] | None = None,
    only: Sequence[str] = (),
) -> list[Picture]:
    """Draw the figures of a store; one that cannot be drawn is logged and left out.

    Parameters
    ----------
    tree : xarray.DataTree
        What `dynamics.open` returned.
    found : list of (Result, list of Curve)
        Results with their curves.
    drawn : mapping of str to str, optional
        Addresses of figures that are drawn already, as `data_uri` gives them, by name.
    only : sequence of str
        Which figures, as in `dynamics.plots.figures_of`.

    Returns
    -------
    list of Picture
        Emergence curves of each metric and of single neuroids first, then what else there is, up
        to 6 megabytes.
    """
    done = drawn or {}
    shown: list[Picture] = []
    for plan in _plans(tree, found, only):
        if sum(len(picture.uri) for picture in shown) > _MOST_TOGETHER:
            logger.warning("the report shows %d figures: `dynamics plot` draws all", len(shown))
            break
        try:
            uri = done.get(plan.drawing.name) or data_uri(plan.drawing.draw())
        except (ValueError, RuntimeError, KeyError) as fault:
            logger.warning("the figure %r is left out: %s", plan.caption, fault)
        else:
            shown.append(Picture(uri, *plan[1:]))
        finally:
            plt.close("all")
    return shown


def data_uri(figure: Figure) -> str:
    """Encode a figure as SVG, or as PNG where that is smaller by far.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure; it is laid out once for all, as by `dynamics.plots.save`.

    Returns
    -------
    str
        Address that holds the picture itself.
    """
    plots.lay_out(figure)
    for kind, options in (
        ("svg", {"metadata": {"Date": None, "Creator": None}}),
        ("png", {"dpi": _DOTS}),
    ):
        beside = io.BytesIO()
        with plt.rc_context(plots.STYLE):
            figure.savefig(beside, format=kind, transparent=True, **options)
        if kind == "png" or beside.tell() <= _MOST_SVG:
            break
    media = {"svg": "image/svg+xml", "png": "image/png"}[kind]
    return f"data:{media};base64,{base64.b64encode(beside.getvalue()).decode()}"


def _plans(tree: xr.DataTree, found: Found, only: Sequence[str] = ()) -> list[Plan]:
    """Plan every figure that `dynamics plot` draws, in the order of the page."""
    known = {(result.target, result.metric): curves for result, curves in found}
    targets: dict[str, list[str]] = {}
    for result, _ in found:
        targets.setdefault(result.metric, []).append(result.target)
    drawings = [
        each
        for metric in targets
        for each in plots.figures_of(tree, metric, targets[metric], only=only)
    ]
    drawings += plots.figures_of_steps(tree, only=only)
    shown = {result.metric: result.shown for result, _ in found}
    plans = [
        _plan(
            each,
            {target: known[target, each.metric] for target in each.targets},
            shown.get(each.metric, each.metric),
        )
        for each in drawings
    ]
    headings = dict.fromkeys(kind.group for kind in plots.FIGURES.values() if kind.group)
    groups = [*headings]
    groups[1:1] = [_name(*pair) for pair in known]
    places = {group: place for place, group in enumerate(groups)}
    return sorted(plans, key=lambda plan: places.get(plan.group, len(places)))


def _plan(drawing: plots.Drawing, curves: Mapping[str, list[Curve]], shown: str) -> Plan:
    """Write what stands beside a figure that shows some targets' curves."""
    kind, targets = plots.FIGURES[drawing.kind], drawing.targets
    name = _name(targets[0], drawing.metric) if targets else ""
    every = [each for own in curves.values() for each in own]
    values = {
        "metric": shown,
        "targets": listed(list(targets)),
        "name": name,
        "other": drawing.other,
        "said": " ".join(_said(target, own[0]) for target, own in curves.items()),
        "parts": " ".join(_said(each.name, each) for each in every if each.name != MEAN),
        "when": _when(every[0]) if every else "",
    }
    alt, caption = (counted(text).format(**values).strip() for text in (kind.alt, kind.caption))
    if over := list(dict.fromkeys(each.over for each in every if each.over)):
        held = "; ".join(f"over {one}: {population(one)}" for one in over)
        caption = f"{caption} Limits hold for others as follows, {held}."
    return Plan(drawing, alt, caption, kind.group or name or _OTHERS, kind.wide or len(targets) > 1)


def _name(target: str, metric: str) -> str:
    return f"{target} by {metric}"


def _when(curve: Curve) -> str:
    if "half_time" not in curve.statistics:
        return ""
    times = curve.statistics["half_time"]
    known = [(str(name), float(times.sel(layer=name))) for name in times["layer"].to_numpy()]
    said = [f"{name} {step(when)}" for name, when in known if np.isfinite(when)]
    return f"Estimates: {', '.join(said)}." if said else "No layer has one."


def _said(name: str, curve: Curve) -> str:
    best = curve.score.sel(layer=curve.best)
    steps = curve.score["step"].to_numpy()
    return (
        f"{name}: the layer that ends highest, {curve.best}, goes from {level(float(best[0]))} at "
        f"{unit()} {step(float(steps[0]))} to {level(float(best[-1]))} at {unit()} "
        f"{step(float(steps[-1]))}."
    )
