"""How similar a layer is to itself at every other step, and to the other layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize

from dynamics.analysis import METHODS
from dynamics.plots.heatmaps import layer_axis
from dynamics.plots.names import short_layer
from dynamics.plots.steps import log_step_axis, step_cells, step_title, steps_to_show
from dynamics.plots.style import COLUMN, PAGE, colour_bar, grid, panel, styled

_MISSING = "0.86"
_MOST_NAMES = 8


@styled
def plot_similarity(
    similarity: xr.DataArray,
    *,
    layer: str | None = None,
    limits: tuple[float, float] | None = None,
    bar: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw a step x step matrix on logarithmic axes, with step 0 apart on both.

    Parameters
    ----------
    similarity : xarray.DataArray
        Dimensions `step`, `step_other` and, where there are several, `layer`: the variable
        ``similarity`` of ``tree["results/self/<metric>"]``.
    layer : str, optional
        Which layer; by default the last one.
    limits : (float, float), optional
        Of the colours; by default those of the values off the diagonal.
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
        If there are no two dimensions of steps, or no such layer.
    """
    matrix, name = _one_layer(similarity, layer)
    ax = panel(ax, height=72)
    norm = Normalize(*(limits or _limits(matrix, "step")))
    steps, others = (matrix[dim].to_numpy() for dim in ("step", "step_other"))
    log_step_axis(ax, matrix["step"], cells=True)
    log_step_axis(ax, others, which="y", cells=True)
    ax.set_ylabel(ax.get_xlabel())
    values = np.ma.masked_invalid(matrix.transpose("step_other", "step").to_numpy())
    _square(ax)
    mesh = cells_of_steps(ax, steps, others, values, norm)
    ax.set_title(short_layer(similarity, name))
    if bar:
        colour_bar(mesh, ax, label=label_of(similarity))
    return ax


@styled
def facet_similarity(
    similarity: xr.DataArray, *, layers: Sequence[str] | None = None
) -> np.ndarray:
    """Draw step x step matrices of several layers beside each other, in the same colours.

    Parameters
    ----------
    similarity : xarray.DataArray
        As in `plot_similarity`, with a dimension `layer`.
    layers : sequence of str, optional
        Which; by default at most three, from input to output.

    Returns
    -------
    array of matplotlib.axes.Axes
        The panels.

    Raises
    ------
    ValueError
        As `plot_similarity`.
    """
    _check(similarity, "layer")
    names = [str(name) for name in similarity["layer"].to_numpy()]
    if layers is None:
        places = np.unique(np.linspace(0, len(names) - 1, min(3, len(names))).round().astype(int))
        layers = [names[place] for place in places]
    shown = [_one_layer(similarity, layer)[0] for layer in layers]
    limits = _limits(xr.concat(shown, "layer", coords="minimal", compat="override"), "step")
    columns = min(3, len(layers))
    axes = _panels(len(layers), columns, width=COLUMN if columns == 1 else PAGE, height=58)
    for place, (ax, layer) in enumerate(zip(axes, layers)):
        plot_similarity(similarity, layer=layer, limits=limits, bar=False, ax=ax)
        if place % columns:
            ax.set_ylabel("")
    colour_bar(axes[0].collections[-1], axes, label=label_of(similarity), pad=0.01)
    return axes


@styled
def plot_layer_similarity(
    similarity: xr.DataArray,
    *,
    step: int | None = None,
    limits: tuple[float, float] | None = None,
    bar: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw a layer x layer matrix at one step, with the input at the lower left.

    Parameters
    ----------
    similarity : xarray.DataArray
        Dimensions `layer`, `layer_other` and, where there are several, `step`: the variable
        ``layer_similarity`` of ``tree["results/self/<metric>"]``.
    step : int, optional
        Which step; by default the last one.
    limits : (float, float), optional
        Of the colours; by default those of the values off the diagonal.
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
        If there are no two dimensions of layers, or no such step.
    """
    _check(similarity, "layer", "layer_other")
    matrix = similarity
    if "step" in similarity.dims:
        have = similarity["step"].to_numpy()
        (step,) = steps_to_show(have, [int(have[-1]) if step is None else step])
        matrix = similarity.sel(step=step, drop=True)
    ax = panel(ax, height=72)
    layers, others = (matrix[dim].to_numpy() for dim in ("layer", "layer_other"))
    values = np.ma.masked_invalid(matrix.transpose("layer_other", "layer").to_numpy())
    x, y = (np.arange(len(each) + 1) - 0.5 for each in (layers, others))
    norm = Normalize(*(limits or _limits(matrix, "layer")))
    mesh = cells(ax, x, y, values, norm)
    layer_axis(ax, layers, which="x", most=_MOST_NAMES)
    layer_axis(ax, others, most=_MOST_NAMES)
    _square(ax)
    ax.set_title("" if step is None else step_title(step, similarity["step"]))
    if bar:
        colour_bar(mesh, ax, label=label_of(similarity))
    return ax


@styled
def facet_layer_similarity(
    similarity: xr.DataArray, *, steps: Sequence[int] | None = None
) -> np.ndarray:
    """Draw layer x layer matrices at several steps beside each other, in the same colours.

    Parameters
    ----------
    similarity : xarray.DataArray
        As in `plot_layer_similarity`, with a dimension `step`.
    steps : sequence of int, optional
        Which; by default four, from the first to the last on a logarithmic axis.

    Returns
    -------
    array of matplotlib.axes.Axes
        One panel a step, two a row.

    Raises
    ------
    ValueError
        As `plot_layer_similarity`.
    """
    _check(similarity, "step", "layer", "layer_other")
    steps = steps_to_show(similarity["step"].to_numpy(), steps)
    limits = _limits(similarity.sel(step=steps), "layer")
    columns = min(2, len(steps))
    axes = _panels(len(steps), columns, width=COLUMN, height=36 if columns > 1 else 60)
    for place, (ax, step) in enumerate(zip(axes, steps)):
        plot_layer_similarity(similarity, step=step, limits=limits, bar=False, ax=ax)
        if place % columns:
            ax.set_ylabel("")
            ax.tick_params(labelleft=False)
        if place + columns < len(steps):
            ax.set_xlabel("")
            ax.tick_params(labelbottom=False)
    colour_bar(axes[0].collections[-1], axes, label=label_of(similarity), aspect=30)
    return axes


def _panels(number: int, columns: int, *, width: float, height: float) -> np.ndarray:
    rows = -(-number // columns)
    return grid(number, columns, width=width, height=8 + height * rows)[1]


def _square(ax: Axes) -> None:
    ax.set_box_aspect(1)
    ax.spines[["top", "right"]].set_visible(False)


def cells_of_steps(ax: Axes, steps: np.ndarray, others: np.ndarray, values, norm) -> QuadMesh:
    """Draw values (others, steps) on axes of steps, step 0 apart from the rest."""
    for x, columns in step_cells(steps):
        for y, rows in step_cells(others):
            mesh = cells(ax, x, y, values[rows, columns], norm)
    return mesh


def cells(ax: Axes, x: np.ndarray, y: np.ndarray, values, norm: Normalize) -> QuadMesh:
    """Draw values (rows, columns) between edges, grey where there is none."""
    ax.fill_between([x[0], x[-1]], y[0], y[-1], color=_MISSING, linewidth=0, zorder=0)
    return ax.pcolormesh(x, y, values, cmap="magma", norm=norm, rasterized=True)


def _check(similarity: xr.DataArray, *dims: str) -> None:
    missing = [f"`{dim}`" for dim in dims if dim not in similarity.dims]
    if missing:
        raise ValueError(
            f"the similarity has dimensions {similarity.dims}: {', '.join(missing)} is missing"
        )


def _one_layer(similarity: xr.DataArray, layer: str | None) -> tuple[xr.DataArray, str]:
    _check(similarity, "step", "step_other")
    if "layer" not in similarity.dims:
        return similarity, layer or ""
    names = [str(name) for name in similarity["layer"].to_numpy()]
    layer = names[-1] if layer is None else layer
    if layer not in names:
        raise ValueError(f"no layer {layer!r}: there are {', '.join(names)}")
    return similarity.isel(layer=names.index(layer), drop=True), layer


def _limits(matrix: xr.DataArray, dim: str) -> tuple[float, float]:
    """Limits of the values off the diagonal, which alone would take up the whole range."""
    apart = matrix.where(matrix[dim] != matrix[f"{dim}_other"])
    return limits_of(apart.to_numpy())


def limits_of(values: np.ndarray) -> tuple[float, float]:
    """Return limits of colours for some values."""
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def label_of(similarity: xr.DataArray) -> str:
    """Return the words of a colour bar."""
    metric = str(similarity.attrs.get("metric", ""))
    axis = METHODS[metric].axis if metric in METHODS else None
    for name in (similarity.attrs.get("long_name"), axis, metric):
        if name:
            return str(name)
    return "Similarity"
