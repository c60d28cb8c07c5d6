"""Bars of several models or runs, with their ceilings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from dynamics.analysis.values import of as value_of
from dynamics.emergence.best_layers import highest, pick_layer
from dynamics.emergence.choice import confidence_of_chosen
from dynamics.emergence.comparing_runs import check_alike
from dynamics.emergence.curves import scored
from dynamics.emergence.intake import with_layers
from dynamics.emergence.levels import level, untrained
from dynamics.emergence.parts import curve_and_band, points_of
from dynamics.emergence.statistics import unit_of
from dynamics.plots.names import short_layer
from dynamics.plots.panels import draw_legend, told_limits
from dynamics.plots.style import COLUMN, PAGE, group_colours, panel, score_label, styled


@styled
def plot_models(
    models: Mapping[str, xr.Dataset],
    *,
    step: int | str = "last",
    layer: str | None = None,
    ax: Axes | None = None,
    value: str | None = None,
) -> Axes:
    """Draw one bar a model: its score at a step, with limits, baseline, ceiling, untrained level.

    A bar is the mean over neuroids, within each subject first; the line on it has limits of
    95 %, as `curve_and_band`; of a layer that was chosen they hold for all layers at once. Points
    are subjects where there are several, else neuroids (components) where there are at most
    thirty. A white stroke with a dark rim is the untrained
    network, a dashed line the spectrotemporal baseline, a dotted line the noise ceiling.

    Parameters
    ----------
    models : mapping of str to xarray.Dataset
        Results of the same target and metric by name of the model.
    step : int or {"last", "best"}
        Which step: "last" is the last one at which any layer has a score; "best" is chosen on
        the very scores that are shown, so it flatters.
    layer : str, optional
        Which layer of all; by default, for each model, the one that ends best, chosen likewise.
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
        If there is no model, a model has no such step or layer or no score there, or they were
        compared with different brains or by different protocols.
    """
    models = {name: scored(value_of(with_layers(each), value)) for name, each in models.items()}
    if not models:
        raise ValueError("there is no model to draw: give results by name")
    check_alike(list(models.values()))
    own = ax is None
    many = len(models) > _FEW
    picked = {name: pick_layer(results, layer) for name, results in models.items()}
    layers = {name: short_layer(models[name], chosen) for name, (_, chosen) in picked.items()}
    widest = max(map(len, [*models, *layers.values()]))
    # Names stand upright where they would touch side by side.
    upright = len(models) > 2 * _FEW or widest * len(models) > (_WIDE if many else _WIDE // 2)
    ax = panel(ax, height=88 if upright else 64, width=PAGE if many else COLUMN)
    colours = group_colours(len(models))
    ticks: list[str] = []
    labelled: set[str] = set()
    over: set[str] = set()
    for place, name in enumerate(models):
        one = picked[name][0]
        sure = confidence_of_chosen(models[name], layer)
        curve, low, high, what = curve_and_band(one, confidence=sure)
        at = _step(name, curve, step)
        heights = [float(each.isel(step=at)) for each in (curve, low, high)]
        points = points_of(one["score"].isel(step=at), most=_MOST)
        _draw_bar(ax, place, heights, points, colours[place])
        _draw_levels(ax, place, one, labelled)
        over.add(what)
        where = int(curve["step"][at])
        told = [
            part
            for part in (name, layers[name], f"{unit_of(models[name]['step'])} {where:,}")
            if part
        ]
        ticks.append(name if upright else "\n".join(told))
    ax.axhline(0, color="0.15", linewidth=0.6)
    ax.set_xticks(range(len(models)), ticks)
    if upright:
        ax.tick_params(axis="x", rotation=90)
        chosen = set(layers.values())
        ax.set_title(_BEST if len(chosen) > 1 else chosen.pop())
    ax.tick_params(axis="x", length=0)
    ax.set_xlim(-0.6, len(models) - 0.4)
    ax.set_ylabel(score_label(next(iter(models.values()))))
    ax.set_gid(told_limits(" or ".join(sorted(over - {""})), *models.values()))
    if own and labelled:
        draw_legend(ax, what="vertical lines")
    return ax


def _draw_bar(
    ax: Axes, place: int, heights: Sequence[float], points: np.ndarray, colour: Any
) -> None:
    """Draw a bar of height, lower and upper limit, and what it is the mean of."""
    ax.bar(place, heights[0], width=0.66, color=colour, alpha=0.45, linewidth=0)
    ax.plot([place] * 2, heights[1:], color="0.15", linewidth=1.1, zorder=4)
    ax.plot(place, heights[0], "o", color="0.15", markersize=3, zorder=4)
    # Points side by side in order of height: no random jitter, no overlap by chance.
    offsets = np.linspace(-0.26, 0.26, len(points)) if len(points) > 1 else np.zeros(len(points))
    ax.plot(
        place + offsets, np.sort(points), "o", markersize=2.8, color=colour,
        markeredgecolor="white", markeredgewidth=0.3, zorder=4.2,
    )  # fmt: skip


def _draw_levels(ax: Axes, place: int, results: xr.Dataset, labelled: set[str]) -> None:
    """Draw the levels of a model across its bar; the first of each has a label."""
    heights = {name: level(results, name) for name in ("baseline", "ceiling", "permuted")}
    heights["untrained"] = float(untrained(results))
    for name, height in heights.items():
        if np.isfinite(height):
            text, options = _LINES[name]
            label = None if name in labelled else text
            labelled.add(name)
            ax.plot([place - 0.4, place + 0.4], [height] * 2, label=label, zorder=3.5, **options)


def _step(name: str, curve: xr.DataArray, step: int | str) -> int:
    """Place of a step among those of a curve."""
    known = np.flatnonzero(curve.notnull().to_numpy())
    if not len(known):
        raise ValueError(f"model {name!r} has no scores: analyze it first")
    if step == "last":
        if known[-1] != curve.sizes["step"] - 1:
            raise ValueError(
                f"model {name!r} has no score in this layer at step {int(curve['step'][-1]):,}, "
                "its last: name another `layer`, or the `step`"
            )
        return int(known[-1])
    if step == "best":
        return int(highest(curve, dim="step"))
    steps = curve["step"].to_numpy().tolist()
    if step not in steps:
        raise ValueError(f"model {name!r} has no step {step!r}: use an own one, or 'last', 'best'")
    return steps.index(step)


_MOST, _FEW = 30, 4
_WIDE = 130  # letters on a page
_BEST = "the best layer of each"
_LINES: dict[str, tuple[str, dict]] = {
    "baseline": ("spectrotemporal baseline", {"color": "0.3", "linestyle": (0, (3, 1.2))}),
    "ceiling": ("noise ceiling", {"color": "0.05", "linestyle": (0, (1, 1))}),
    "permuted": ("permuted weights", {"color": "0.5", "linestyle": (0, (5, 1.5, 1, 1.5))}),
    "untrained": ("untrained", {"color": "0.45", "linewidth": 0.9}),
}
