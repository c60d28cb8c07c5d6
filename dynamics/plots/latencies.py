"""Scores by delay or time after the onset, and step."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap

from dynamics.emergence.latencies import over_latencies
from dynamics.emergence.parts import parts
from dynamics.plots.names import short_layer
from dynamics.plots.panels import label_outer
from dynamics.plots.steps import (
    label_steps,
    step_mesh,
    step_norm,
    step_title,
    steps_to_show,
    training_axis,
)
from dynamics.plots.style import COLUMN, PAGE, colour_bar, grid, panel, score_label, styled

AXES = {"latency": "Delay of the activations (s)", "time": "Time after the onset (s)"}
_MOST_LINES = 9


@styled
def plot_latencies(
    results: xr.Dataset,
    *,
    dim: str = "latency",
    layer: str | None = None,
    limits: tuple[float, float] | None = None,
    bar: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw mean scores by delay or time (rows) and step (columns), in one layer.

    A column is as wide as its part of the logarithmic axis; step 0 stands apart, and what has no
    score is grey.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and a metric over time.
    dim : {"latency", "time"}
        Delays of the activations, or times after the onset.
    layer : str, optional
        Its name; by default the one that ends best.
    limits : (float, float), optional
        Of the colours; by default those of the scores.
    bar : bool
        Whether to draw a colour bar.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure of one column's width.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ValueError
        If there are no such scores.
    """
    curve = over_latencies(results, dim, layer=layer)
    ax = panel(ax, height=58)
    low, high = limits or _limits(curve.to_numpy())
    where = curve[dim].to_numpy().astype(float)
    mesh = step_mesh(ax, curve, _edges(where), cmap="viridis", vmin=low, vmax=high)
    ax.set_ylabel(AXES.get(dim, dim))
    if dim == "time" and where[0] < 0 < where[-1]:
        ax.axhline(0, color="white", linewidth=0.8, linestyle=(0, (3, 2)))
    ax.set_title(_of_layer(curve, results))
    if bar:
        colour_bar(mesh, ax, label=score_label(results))
    return ax


@styled
def facet_latencies(results: xr.Dataset, *, dim: str = "latency", facet: str = "") -> np.ndarray:
    """Draw a panel for every region (or other part) in the same colours, as `plot_latencies`.

    Parameters
    ----------
    results : xarray.Dataset
        As in `plot_latencies`.
    dim : {"latency", "time"}
        As in `plot_latencies`.
    facet : str
        What the panels tell apart, such as ``"region"``; by default there is one.

    Returns
    -------
    array of matplotlib.axes.Axes
        The panels.
    """
    found = parts(results, facet) if facet else {"": results}
    curves = [over_latencies(part, dim).to_numpy() for part in found.values()]
    limits = _limits(np.concatenate([each.ravel() for each in curves]))
    columns = min(3, len(found)) if len(found) != 4 else 2
    rows = -(-len(found) // columns)
    _, axes = grid(
        len(found), columns, width=COLUMN if columns == 1 else PAGE, height=46 * rows + 12,
        sharey=True,
    )  # fmt: skip
    for ax, (name, part) in zip(axes, found.items()):
        plot_latencies(part, dim=dim, limits=limits, bar=False, ax=ax)
        ax.set_title("\n".join(word for word in (name, ax.get_title()) if word))
    label_outer(axes)
    colour_bar(axes[0].collections[-1], axes, label=score_label(results), pad=0.01)
    return axes


@styled
def plot_profiles(
    results: xr.Dataset,
    *,
    dim: str = "latency",
    layer: str | None = None,
    steps: Sequence[int] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw mean scores against delay or time, a line a step: the profile and how it forms.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and a metric over time.
    dim, layer
        As in `plot_latencies`.
    steps : sequence of int, optional
        Which; by default up to nine, spread over the training.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure of one column's width.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ValueError
        If there are no such scores, or a step is not there.
    """
    curve = over_latencies(results, dim, layer=layer)
    ax = panel(ax, height=58)
    shown = steps_to_show(curve["step"].to_numpy(), steps, most=_MOST_LINES)
    norm = step_norm(np.asarray(shown))
    # Without the yellow that is lost on white.
    colours = ListedColormap(plt.get_cmap("viridis")(np.linspace(0, 0.88, 256)))
    where = curve[dim].to_numpy()
    for step in shown:
        zero = step == 0
        ax.plot(
            where, curve.sel(step=step).to_numpy(), color="0.35" if zero else colours(norm(step)),
            linestyle="--" if zero else "-", label="untrained" if zero else "_step", marker=".",
            markersize=3 if len(where) <= 30 else 0,
        )  # fmt: skip
    ax.set(xlabel=AXES.get(dim, dim), ylabel=score_label(results), title=_of_layer(curve, results))
    if any(step > 0 for step in shown):
        bar = colour_bar(ScalarMappable(norm, colours), ax, label=training_axis(results["step"]))
        label_steps(bar.ax.yaxis, norm)
    if 0 in shown:
        ax.legend(loc="best")
    return ax


@styled
def facet_crossed(results: xr.Dataset, *, steps: Sequence[int] | None = None) -> np.ndarray:
    """Draw times of the sound against times of the responses at some steps, in the same colours.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target with `cross_score` (see the argument `cross` of ``rsa_time``).
    steps : sequence of int, optional
        Which; by default up to three, spread over the training.

    Returns
    -------
    array of matplotlib.axes.Axes
        The panels.

    Raises
    ------
    ValueError
        If there are no such scores, or a step is not there.
    """
    curve = over_latencies(results, "cross")
    shown = steps_to_show(curve["step"].to_numpy(), steps, most=3)
    low, high = _limits(curve.sel(step=shown).to_numpy())
    width = COLUMN if len(shown) == 1 else PAGE
    _, axes = grid(len(shown), len(shown), width=width, height=64, sharey=True)
    edges = [_edges(curve[name].to_numpy().astype(float)) for name in ("time", "sound_time")]
    for ax, step in zip(axes, shown):
        table = curve.sel(step=step).transpose("sound_time", "time").to_numpy()
        mesh = ax.pcolormesh(*edges, np.ma.masked_invalid(table), cmap="viridis", vmin=low,
                             vmax=high, rasterized=True)  # fmt: skip
        ax.set_facecolor("0.86")
        ax.axline((0, 0), slope=1, color="white", linewidth=0.8, linestyle=(0, (3, 2)))
        ax.set(xlim=edges[0][[0, -1]], ylim=edges[1][[0, -1]], aspect="equal",
               xlabel="Time of the responses (s)",
               title=step_title(step, results["step"]))  # fmt: skip
    axes[0].set_ylabel(f"Time of the activations (s)\n({_of_layer(curve, results)})")
    colour_bar(mesh, axes, label=score_label(results), pad=0.01, shrink=0.8)
    return axes


def _of_layer(curve: xr.DataArray, results: xr.Dataset) -> str:
    """Say of which layer scores are, as short as it can be told from the others."""
    layer = str(curve.attrs.get("layer", ""))
    if not layer:
        return "layers chosen in the training folds"
    return f"layer that ends best: {short_layer(results, layer)}"


def _limits(values: np.ndarray) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)


def _edges(centres: np.ndarray) -> np.ndarray:
    """Edges of cells around ascending centres: the middles between them."""
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])
