"""How similar a layer is to itself at every other step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from dynamics.plots.steps import log_step_axis, step_cells
from dynamics.plots.style import AXIS_NAMES, COLUMN, PAGE, panel, sheet, styled

_MISSING = "0.86"


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
    norm = Normalize(*(limits or _limits(matrix)))
    steps, others = (matrix[dim].to_numpy() for dim in ("step", "step_other"))
    log_step_axis(ax, steps, cells=True)
    log_step_axis(ax, others, which="y", cells=True)
    values = np.ma.masked_invalid(matrix.transpose("step_other", "step").to_numpy())
    ax.set_box_aspect(1)
    ax.spines[["top", "right"]].set_visible(False)
    for x, columns in step_cells(steps):
        for y, rows in step_cells(others):
            block = values[rows, columns]
            ax.fill_between([x[0], x[-1]], y[0], y[-1], color=_MISSING, linewidth=0, zorder=0)
            mesh = ax.pcolormesh(x, y, block, cmap="magma", norm=norm, rasterized=True)
    ax.set_title(name)
    if bar:
        drawn = ax.figure.colorbar(mesh, ax=ax, pad=0.02, aspect=25, label=_label(similarity))
        drawn.outline.set_linewidth(0.4)
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
    if "layer" not in similarity.dims:
        raise ValueError(f"the similarity has dimensions {similarity.dims}: `layer` is missing")
    names = [str(name) for name in similarity["layer"].to_numpy()]
    if layers is None:
        places = np.unique(np.linspace(0, len(names) - 1, min(3, len(names))).round().astype(int))
        layers = [names[place] for place in places]
    shown = [_one_layer(similarity, layer)[0] for layer in layers]
    limits = _limits(xr.concat(shown, "layer", coords="minimal", compat="override"))
    columns = min(3, len(layers))
    rows = -(-len(layers) // columns)
    width = COLUMN if columns == 1 else PAGE
    figure, axes = sheet(rows, columns, width=width, height=8 + 58 * rows)
    for ax in axes.flat[len(layers) :]:
        ax.set_visible(False)
    axes = axes.ravel()[: len(layers)]
    for place, (ax, layer) in enumerate(zip(axes, layers)):
        plot_similarity(similarity, layer=layer, limits=limits, bar=False, ax=ax)
        if place % columns:
            ax.set_ylabel("")
    bar = figure.colorbar(
        axes[0].collections[-1], ax=axes, pad=0.01, aspect=25, label=_label(similarity)
    )
    bar.outline.set_linewidth(0.4)
    return axes


def _one_layer(similarity: xr.DataArray, layer: str | None) -> tuple[xr.DataArray, str]:
    missing = {"step", "step_other"} - set(similarity.dims)
    if missing:
        raise ValueError(
            f"the similarity has dimensions {similarity.dims}: {', '.join(sorted(missing))} missing"
        )
    if "layer" not in similarity.dims:
        return similarity, layer or ""
    names = [str(name) for name in similarity["layer"].to_numpy()]
    layer = names[-1] if layer is None else layer
    if layer not in names:
        raise ValueError(f"no layer {layer!r}: there are {', '.join(names)}")
    return similarity.isel(layer=names.index(layer), drop=True), layer


def _limits(matrix: xr.DataArray) -> tuple[float, float]:
    """Limits of the values off the diagonal, which alone would take up the whole range."""
    apart = matrix.where(matrix["step"] != matrix["step_other"])
    known = apart.to_numpy()[np.isfinite(apart.to_numpy())]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _label(similarity: xr.DataArray) -> str:
    metric = str(similarity.attrs.get("metric", ""))
    for name in (similarity.attrs.get("long_name"), AXIS_NAMES.get(metric), metric):
        if name:
            return str(name)
    return "Similarity"
