"""Emergence curves: similarity to the brain against training step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from dynamics import emergence
from dynamics.analysis.values import of as value_of
from dynamics.emergence.best_layers import pick_layer
from dynamics.emergence.curves import counted_steps, with_counted
from dynamics.emergence.intake import with_layers
from dynamics.emergence.levels import level, with_level
from dynamics.emergence.parts import bands_by, parts
from dynamics.plots.names import short_layer, short_names
from dynamics.plots.panels import draw_legend, label_outer, panels, told_limits
from dynamics.plots.steps import log_step_axis, mark_missing, training_axis
from dynamics.plots.style import (
    LEVELS,
    clear_edges,
    draw_level,
    group_colours,
    group_markers,
    layer_colours,
    panel,
    score_label,
    styled,
    within_shared,
)

_FINE, _MOST_LAYERS, _MOST_MARKERS = 200, 9, 60


@styled
def plot_curves(
    results: xr.Dataset,
    *,
    ax: Axes | None = None,
    hue: str = "layer",
    layer: str | None = None,
    neuroid: str | None = None,
    fit: str | None = None,
    value: str | None = None,
) -> Axes:
    """Draw emergence curves: one colour a layer, region, component, subject or run.

    Means over neuroids, within each subject first, are drawn with the bands of `curve_and_band`.
    A ring marks each curve's half-time; the untrained level, the baseline and the noise ceiling
    are drawn and named. Where a step failed the line is broken.

    Parameters
    ----------
    results : xarray.Dataset
        ``tree["results/<target>/<metric>"].to_dataset()``, or `stack` of several.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure of one column's width, with a legend.
    hue : str
        What the colours tell apart: ``"layer"``, ``"region"``, ``"neuroid"`` (components),
        ``"subject"``, or a dimension such as the ``"run"`` of `stack`.
    layer : str, optional
        Which layer, where `hue` is something else; by default the one that ends best.
    neuroid : str, optional
        Draw this neuroid (component, voxel, electrode) alone.
    fit : str, optional
        Draw this fit of `dynamics.emergence.fit` beside the raw curve, as a broken line.
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
        If there is no such layer, neuroid or coordinate.
    """
    results = with_counted(value_of(with_layers(results, hue), value))
    own = ax is None
    ax = panel(ax, height=72)
    if neuroid is not None:
        results = _only(results, neuroid)
    bands = bands_by(results, hue=hue, layer=layer)
    names = [str(name) for name in bands[hue].to_numpy()]
    ordered = hue == "layer"
    names = short_names(names) if ordered else names
    colours = (layer_colours if ordered else group_colours)(len(names))
    markers = ["o"] * len(names) if ordered else group_markers(len(names))
    # Colours of layers have an order: of many layers some in the legend tell the others.
    every = max(1, -(-len(names) // _MOST_LAYERS)) if ordered else 1
    steps = bands["step"].to_numpy()
    _draw_untrained(ax, bands["untrained"].to_numpy(), None if ordered else colours)
    for place, name in enumerate(names):
        one = bands.isel({hue: place, "step": _own_steps(results, hue, place)})
        label = name if one["curve"].notnull().any() else f"{name} (no data)"
        _draw_curve(
            ax,
            one,
            label=label if place % every == 0 else f"_{label}",
            colour=colours[place],
            marker=markers[place],
            faint=0.14 if len(names) < 4 else 0.08,
            small=len(steps) > _MOST_MARKERS,
        )
    if fit is not None:
        _draw_fits(ax, bands["curve"], fit, colours)
    log_step_axis(ax, results["step"])
    if (bands["apart"] & bands["untrained"].notnull()).any():
        ax.set_xlabel(f"{training_axis(results['step'])} (untrained: networks of their own)")
    counted = [counted_steps(results, hue, place) for place in range(len(names))]
    _mark_half_times(ax, bands, counted, colours)
    mark_missing(ax, bands["curve"].isel(step=_own_steps(results)))
    if ordered:
        _draw_levels(ax, results)
    else:
        _draw_levels_apart(ax, parts(pick_layer(results, layer)[0], hue), colours)
    ax.set_ylabel(score_label(results))
    title = [part for part in (neuroid, short_layer(results, bands.attrs["layer"])) if part]
    ax.set_title(", ".join(map(str, title)))
    ax.set_gid(told_limits(bands.attrs["over"], results))
    if own:
        draw_legend(ax, notes=[results.attrs.get("left_out", "")])
    return ax


@styled
def facet_curves(
    results: xr.Dataset,
    *,
    facet: str | None = None,
    hue: str = "layer",
    layer: str | None = None,
    fit: str | None = None,
    values: Sequence[str] | None = None,
    value: str | None = None,
) -> np.ndarray:
    """Draw emergence curves, one panel for every value of a dimension or coordinate.

    Parameters
    ----------
    results : xarray.Dataset
        As in `plot_curves`.
    facet : str, optional
        What the panels tell apart, of the same kinds as `hue`; by default there is one panel.
    hue, layer, fit
        As in `plot_curves`.
    values : sequence of str, optional
        Which panels, and in what order; by default all.
    value : str, optional
        Which value of the metric, as in `dynamics.analysis.values.of`; by default what the results
        are of.

    Returns
    -------
    array of matplotlib.axes.Axes
        The panels, in a figure with one legend.

    Raises
    ------
    ValueError
        As `plot_curves`, or if one of the values is not there.
    """
    results = with_counted(value_of(with_layers(results, hue, facet or hue), value))
    found = {"": results} if facet is None else parts(results, facet)
    if values is not None:
        lost = [value for value in values if value not in found]
        if lost:
            raise ValueError(f"no {facet} {lost[0]!r}: there are {', '.join(list(found)[:10])}")
        found = {value: found[value] for value in values}
    _, axes = panels(len(found))
    for ax, (name, part) in zip(axes, found.items()):
        plot_curves(part, ax=ax, hue=hue, layer=layer, fit=fit)
        ax.set_title(", ".join(word for word in (name, ax.get_title()) if word))
    within_shared(axes)
    label_outer(axes)
    draw_legend(*axes, notes=[results.attrs.get("left_out", "")])
    return axes


def _only(results: xr.Dataset, neuroid: str) -> xr.Dataset:
    names = [str(name) for name in results["neuroid"].to_numpy()]
    if neuroid not in names:
        raise ValueError(f"no neuroid {neuroid!r}: there are {', '.join(names[:10])}")
    return results.isel(neuroid=[names.index(neuroid)])


def _own_steps(results: xr.Dataset, hue: str = "", place: int = 0) -> np.ndarray:
    """Which steps a curve's own run has (or any run), of those of all runs of a `stack`."""
    own = results.coords.get("own_step")
    if own is None:
        return np.ones(results.sizes["step"], bool)
    if hue in own.dims:
        own = own.isel({hue: place})
    others = [dim for dim in own.dims if dim != "step"]
    return own.any(others).to_numpy()


def _alone(values: np.ndarray) -> np.ndarray:
    """Which values have no neighbour, so that a band between them has no width."""
    known = np.pad(np.isfinite(values), 1)
    return known[1:-1] & ~known[:-2] & ~known[2:]


def _draw_curve(
    ax: Axes,
    bands: xr.Dataset,
    *,
    label: str,
    colour: Any,
    marker: str,
    faint: float,
    small: bool,
) -> None:
    """Draw a curve and its limits at the steps of its own run."""
    steps, curve, low, high = (bands[name].to_numpy() for name in ("step", "curve", "low", "high"))
    ax.fill_between(steps, low, high, color=colour, alpha=faint, linewidth=0)
    alone = _alone(high)
    if alone.any():
        limits = (each[alone] for each in (steps, low, high))
        ax.vlines(*limits, color=colour, alpha=0.5, linewidth=0.6)
    # Matplotlib leaves a gap at NaN, where others would draw a straight line across.
    size = 0.8 if small else 2.4
    ax.plot(
        steps, curve, color=colour, marker=marker, markersize=size, markeredgewidth=0, label=label
    )


def _draw_untrained(ax: Axes, scores: np.ndarray, colours: Sequence | None) -> None:
    """Draw the untrained level: one band over all layers, or a thin line for every other curve."""
    known = scores[np.isfinite(scores)]
    if not len(known):
        return
    if colours is None and len(known) > 1:
        span = float(known.min()), float(known.max())
        # Shades, unlike greys, are seen on the card of a dark page as well.
        ax.axhspan(
            *span, color="0.5", alpha=0.14, linewidth=0, zorder=0.4, label="untrained, all layers"
        )
        return
    for score, colour in zip(scores, colours or ["0.5"]):
        if np.isfinite(score):
            ax.axhline(score, color=colour, linewidth=0.5, alpha=0.7, zorder=0.5)
    ax.plot([], [], color="0.5", linewidth=0.5, label="untrained")


def _draw_fits(ax: Axes, curve: xr.DataArray, kind: str, colours: Sequence) -> None:
    steps = curve["step"].to_numpy().astype(float)
    fine = np.expm1(np.linspace(np.log1p(steps[0]), np.log1p(steps[-1]), _FINE))
    fitted = emergence.fit(curve, kind=kind, steps=fine)
    (dim,) = [dim for dim in curve.dims if dim != "step"]
    dashes = (0, (5, 1, 1, 1, 1, 1))  # levels are dashed or dotted
    ax.plot([], [], color="0.3", linestyle=dashes, linewidth=0.8, label=f"{kind} fit")
    for place, colour in enumerate(colours):
        ax.plot(
            fine,
            fitted.isel({dim: place}).transpose("step").to_numpy(),
            color=colour,
            linestyle=dashes,
            linewidth=0.8,
            label=f"_{kind} fit",
        )


def _mark_half_times(
    ax: Axes, bands: xr.Dataset, counted: Sequence[np.ndarray], colours: Sequence
) -> None:
    """Put a ring on each curve where it has made half of its gain over the untrained level."""
    some = False
    ring: dict[str, Any] = {
        "marker": "o",
        "markersize": 5,
        "markerfacecolor": "none",
        "markeredgewidth": 1.0,
    }
    (dim,) = bands["untrained"].dims
    for place, (has, colour) in enumerate(zip(counted, colours)):
        curve = bands["curve"].isel({dim: place, "step": has})
        own, apart = (bands[name].isel({dim: place}) for name in ("untrained", "apart"))
        steps = curve["step"].to_numpy()
        # Networks that were never trained stand in for a missing step 0.
        when = float(emergence.half_time(curve, baseline=own if apart else None))
        if not np.isfinite(when):
            continue
        one, some = curve.to_numpy(), True
        known = np.isfinite(one)
        drawn = ax.xaxis.get_transform().transform  # The line is straight on the axis.
        height = np.interp(drawn(when), drawn(steps[known].astype(float)), one[known])
        ax.plot(when, height, markeredgecolor=colour, label="_half-time", zorder=4, **ring)
    if some:
        ax.plot([], [], color="0.3", linestyle="none", label="half-time", **ring)


def _draw_levels(ax: Axes, results: xr.Dataset) -> None:
    """Draw the baseline, the noise ceiling, chance and permuted weights across."""
    limits = tuple(ax.dataLim.intervaly)
    for name, (text, colour, line) in LEVELS.items():
        height = level(results, name)
        if np.isfinite(height):
            known, number = with_level(results, name)
            # What is compared by eye with a curve over other neuroids has to say so.
            text += f" ({known} of {number} neuroids)" if known < number else ""
            if name == "permuted" and results.sizes.get("layer", 1) > 1:
                text += ", mean of layers"
            look: dict[str, Any] = {"color": colour, "linestyle": line, "linewidth": 0.9}
            draw_level(ax, height, text=text, limits=limits, **look)
    band = level(results, "ceiling_lower"), level(results, "ceiling_upper")
    if np.isfinite(band).all():
        ax.axhspan(*band, color="0.4", alpha=0.25, linewidth=0, label="noise ceiling", zorder=0)
    clear_edges(ax)


def _draw_levels_apart(ax: Axes, groups: dict[str, xr.Dataset], colours: Sequence) -> None:
    """Draw each curve's own baseline and ceiling as a stroke in its colour, on the right."""
    limits = tuple(ax.dataLim.intervaly)
    for name, (text, colour, line) in LEVELS.items():
        heights = [level(part, name) for part in groups.values()]
        if len({round(height, 9) for height in heights}) == 1 and np.isfinite(heights[0]):
            look: dict[str, Any] = {"color": colour, "linestyle": line, "linewidth": 0.9}
            draw_level(ax, heights[0], text=text, limits=limits, **look)
            continue
        for height, own in zip(heights, colours):
            if np.isfinite(height):
                ax.plot(
                    [1.0, 1.06],
                    [height] * 2,
                    transform=ax.get_yaxis_transform(),
                    color=own,
                    linestyle=line,
                    linewidth=1.3,
                    clip_on=False,
                    label="_level",
                )
        if np.isfinite(heights).any():
            ax.plot([], [], color=colour, linestyle=line, linewidth=1.3, label=f"{text} (right)")
    clear_edges(ax)
