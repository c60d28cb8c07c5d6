"""Brain score against task score, over checkpoints or over models."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm

from dynamics import emergence
from dynamics.analysis.values import of as value_of
from dynamics.emergence.best_layers import pick_layer
from dynamics.emergence.choice import confidence_of_chosen
from dynamics.emergence.correlations import check_over_models
from dynamics.emergence.intake import with_layers
from dynamics.emergence.levels import level
from dynamics.emergence.parts import curve_and_band
from dynamics.plots.names import short_layer
from dynamics.plots.panels import draw_legend, told_limits
from dynamics.plots.steps import label_steps, step_norm, training_axis
from dynamics.plots.style import (
    LEVELS,
    colour_bar,
    draw_level,
    group_colours,
    group_markers,
    panel,
    score_label,
    signed,
    styled,
)

_NAMED = 8


@styled
def plot_brain_task(
    brain: xr.Dataset,
    task: xr.Dataset,
    *,
    layer: str | None = None,
    kind: str = "pearson",
    ax: Axes | None = None,
    value: str | None = None,
) -> Axes:
    """Draw brain score against task score over checkpoints, with the step as colour.

    Above is their correlation, raw and with training step partialled out: everything that grows
    with training correlates with everything else that does. Grey lines are limits of 95 %, of the
    brain score upwards and of the task score across; the untrained network is a square.

    Parameters
    ----------
    brain : xarray.Dataset
        Results of one target and metric.
    task : xarray.Dataset
        ``tree["results/<task>/probe"].to_dataset()``: `score` (step, layer) and maybe `chance`.
    layer : str, optional
        Which layer of both; by default the one with the best brain score at the end.
    kind : str
        ``"pearson"`` or ``"spearman"``.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure of one column's width.
    value : str, optional
        Which value of the metric, as in `dynamics.analysis.values.of`; by default what the results
        are of.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ValueError
        If there is no such layer, or no step is common to both.
    """
    brain, task = value_of(with_layers(brain), value), with_layers(task)
    every = brain
    sure = confidence_of_chosen(brain, layer)
    brain, chosen = pick_layer(brain, layer)
    task, _ = pick_layer(task, chosen or None)
    curve, low, high, over = curve_and_band(brain, confidence=sure)
    scores, left, right, of_task = curve_and_band(task)
    curve, low, high, scores, left, right = xr.align(
        curve, low, high, scores, left, right, join="inner"
    )
    if not curve.sizes["step"]:
        raise ValueError("brain and task scores have no step in common: analyze the same steps")
    own = ax is None
    ax = panel(ax, height=66)
    thin: dict[str, Any] = {"color": "0.8", "linewidth": 0.5, "zorder": 0.8}
    ax.vlines(scores, low, high, **thin)
    ax.hlines(curve, left, right, **thin)
    _draw_points(ax, scores, curve)
    across, upwards = tuple(ax.dataLim.intervalx), tuple(ax.dataLim.intervaly)
    if "chance" in task:
        _level(ax, "chance", level(task, "chance"), limits=across, which="x")
    if "baseline" in brain and np.isfinite(brain["baseline"]).any():
        _level(ax, "baseline", level(brain, "baseline"), limits=upwards, which="y")
    _tell(ax, curve, scores, dim="step", kind=kind)
    ax.set_xlabel(score_label(task))
    ax.locator_params(axis="x", nbins=5)  # more labels would touch
    ax.set_ylabel(score_label(brain) + (f", {short_layer(every, chosen)}" if chosen else ""))
    each = {"upwards": over, "across": of_task}
    apart = ",\n".join(f"{what} {way}" for way, what in each.items() if what)
    ax.set_gid(told_limits(over if over == of_task else apart, brain, task))
    if own:
        draw_legend(ax, what="grey lines")
    return ax


@styled
def plot_brain_task_models(
    brain: xr.DataArray, task: xr.DataArray, *, kind: str = "pearson", ax: Axes | None = None
) -> Axes:
    """Draw brain score against task score over models, with their correlation.

    Parameters
    ----------
    brain, task : xarray.DataArray
        Scores along the dimension `model`.
    kind : str
        ``"pearson"`` or ``"spearman"``.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure of one column's width.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ValueError
        If either has other dimensions than `model`, or was z-scored within each model.
    """
    for name, each in (("brain", brain), ("task", task)):
        if each.dims != ("model",):
            raise ValueError(f"{name} has dimensions {each.dims}: give one score a model")
    check_over_models(brain, task)
    brain, task = xr.align(brain, task, join="inner")
    own = ax is None
    ax = panel(ax, height=66)
    names = [str(name) for name in brain["model"].to_numpy()]
    few = len(names) <= _NAMED
    colours = group_colours(len(names)) if few else ["0.35"] * len(names)
    markers = group_markers(len(names)) if few else ["o"] * len(names)
    for x, y, name, colour, marker in zip(task, brain, names, colours, markers):
        ax.plot(x, y, marker, color=colour, markersize=4, linestyle="none", label=name)
    _tell(ax, brain, task, dim="model", kind=kind)
    ax.set_xlabel(score_label(task))
    ax.locator_params(axis="x", nbins=5)  # more labels would touch
    ax.set_ylabel(score_label(brain))
    if own and few:
        draw_legend(ax)
    return ax


def _draw_points(ax: Axes, scores: xr.DataArray, curve: xr.DataArray) -> None:
    """Draw a point a step in the colour of the step, on a line through them."""
    steps = curve["step"].to_numpy()
    norm = step_norm(steps)
    ax.plot(scores, curve, color="0.75", linewidth=0.6, zorder=1)
    colours = plt.get_cmap("viridis")(
        0.92 * np.asarray(norm(np.maximum(steps, float(norm.vmin or 1))))
    )
    for name, where in {"untrained": steps == 0, "": steps > 0}.items():
        if where.any():
            # The untrained network is a frame, so that what lies beneath it is seen.
            ax.scatter(
                scores[where], curve[where], s=16, zorder=3.2 if name else 3,
                marker="s" if name else "o", facecolors="none" if name else colours[where],
                edgecolors="black" if name else "white", linewidths=0.8 if name else 0.4,
                label=name or None,
            )  # fmt: skip
    if (steps > 0).any():
        _step_bar(ax, norm, curve["step"])


def _level(ax: Axes, name: str, height: float, *, limits: tuple, which: str) -> None:
    text, colour, line = LEVELS[name]
    look: dict[str, Any] = {"color": colour, "linestyle": line, "linewidth": 0.9}
    draw_level(ax, height, text=text, limits=limits, which=which, **look)


def _step_bar(ax: Axes, norm: LogNorm, steps: xr.DataArray) -> None:
    shades = ListedColormap(plt.get_cmap("viridis")(np.linspace(0, 0.92, 256)))
    bar = colour_bar(ScalarMappable(norm, shades), ax, label=training_axis(steps))
    label_steps(bar.ax.yaxis, norm)


def _tell(ax: Axes, brain, task, *, dim: str, kind: str) -> None:
    """Write the correlations above the axes."""
    if brain.sizes[dim] < 4:
        number = brain.sizes[dim]
        text = f"{number} {dim}{'s' * (number != 1)}: too few to correlate"
    else:
        found = emergence.correlate(brain, task, dim=dim, kind=kind)
        sign = {"pearson": "r", "spearman": "ρ"}[kind]
        words = {"raw": f"{sign} = ", "partial": "step partialled out: "}
        lines = []
        for form in found["form"].to_numpy():
            one = found.sel(form=form)
            lines.append(words[str(form)] + signed(f"{float(one['r']):.2f}"))
        if dim == "model":
            p = float(found["p"].sel(form="raw"))
            told = "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
            lines[0] += f" ({told}, {brain.sizes[dim]} models)"
        text = "\n".join(lines)
    ax.set_title(text, loc="left", fontsize=6.5)
