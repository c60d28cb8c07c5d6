"""How alike the layers of two runs are, at any of their steps, and their steps, at any depth."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from dynamics.emergence.best_layers import highest
from dynamics.plots.panels import draw_legend
from dynamics.plots.similarity import cells, cells_of_steps, label_of, limits_of
from dynamics.plots.steps import log_step_axis, step_title, steps_to_show
from dynamics.plots.style import colour_bar, panel, styled

_SIDES = ("a", "b")


@styled
def plot_layers_of_runs(
    similarity: xr.DataArray,
    *,
    steps: tuple[int, int] | None = None,
    limits: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how alike the layers of two runs are, on axes of relative depth.

    A point marks for every layer of the first run the layer of the second that is most like it.

    Parameters
    ----------
    similarity : xarray.DataArray
        From `dynamics.similarity_of_runs`, of all layers with all others (``layers="all"``).
    steps : (int, int), optional
        A step of each run; by default their last ones.
    limits : (float, float), optional
        Of the colours; by default those of what is drawn.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure of one column's width.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ValueError
        If the similarity is not of all layers, or a run has no such step.
    """
    if "layer_a" not in similarity.dims:
        raise ValueError(
            f"the similarity has dimensions {similarity.dims}: ask "
            '`dynamics.similarity_of_runs` for `layers="all"`'
        )
    have = [similarity[f"step_{side}"].to_numpy() for side in _SIDES]
    wanted = [own[-1] for own in have] if steps is None else steps
    at = [int(steps_to_show(own, [int(one)])[0]) for own, one in zip(have, wanted)]
    matrix = similarity.sel(step_a=at[0], step_b=at[1]).transpose("layer_b", "layer_a")
    own = ax is None
    ax = panel(ax, height=80)
    x, y = (_edges(matrix[f"depth_{side}"].to_numpy()) for side in _SIDES)
    values = np.ma.masked_invalid(matrix.to_numpy())
    mesh = cells(ax, x, y, values, _norm(matrix, limits))
    most = highest(matrix, dim="layer_b")
    known = matrix.notnull().any("layer_b").to_numpy()
    ax.plot(
        matrix["depth_a"][known], matrix["depth_b"].to_numpy()[most][known], "o", markersize=3.4,
        color="black", markeredgecolor="white", markeredgewidth=0.8,
        label="most alike of the second run's layers",
    )  # fmt: skip
    told = [
        f"Depth in {similarity.attrs.get(f'run_{side}', side)}, "
        f"{step_title(step, similarity[f'step_{side}'])}"
        for side, step in zip(_SIDES, at)
    ]
    ax.set_xlabel(told[0])
    ax.set_ylabel(told[1])
    ax.set_box_aspect(1)
    colour_bar(mesh, ax, label=label_of(similarity))
    if own:
        draw_legend(ax)
    return ax


@styled
def plot_steps_of_runs(
    similarity: xr.DataArray,
    *,
    depth: float = 1.0,
    limits: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how alike two runs are at every step of either, at one relative depth.

    Parameters
    ----------
    similarity : xarray.DataArray
        From `dynamics.similarity_of_runs`.
    depth : float
        From 0 to 1; of each run its layer that is next to it.
    limits : (float, float), optional
        Of the colours; by default those of what is drawn.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure of one column's width.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ValueError
        If the depth is not between 0 and 1.
    """
    if not 0 <= depth <= 1:
        raise ValueError(f"the depth is {depth}: give one from 0 (input) to 1 (output)")
    matrix, names = similarity, {}
    for side in _SIDES:
        dim = f"layer_{side}" if f"layer_{side}" in similarity.dims else "layer"
        place = int(np.abs(similarity[f"depth_{side}"].to_numpy() - depth).argmin())
        names[side] = str(similarity[dim][place].item())
        if dim in matrix.dims:
            matrix = matrix.isel({dim: place})
    ax = panel(ax, height=72)
    matrix = matrix.transpose("step_b", "step_a")
    first, second = (matrix[f"step_{side}"] for side in _SIDES)
    log_step_axis(ax, first, cells=True)
    log_step_axis(ax, second, which="y", cells=True)
    values = np.ma.masked_invalid(matrix.to_numpy())
    steps = first.to_numpy(), second.to_numpy()
    mesh = cells_of_steps(ax, *steps, values, _norm(matrix, limits))
    runs = [f"{similarity.attrs.get(f'run_{side}', side)}, {names[side]}" for side in _SIDES]
    ax.set_xlabel(f"{runs[0]}\n{ax.get_xlabel()}")
    ax.set_ylabel(f"{runs[1]}\n{ax.get_ylabel()}")
    ax.set_box_aspect(1)
    colour_bar(mesh, ax, label=label_of(similarity))
    return ax


def _edges(depth: np.ndarray) -> np.ndarray:
    """Return edges of cells around depths that are evenly spaced."""
    half = 0.5 / (len(depth) - 1) if len(depth) > 1 else 0.5
    return np.append(depth - half, depth[-1] + half)


def _norm(matrix: xr.DataArray, limits: tuple[float, float] | None) -> Normalize:
    return Normalize(*limits_of(matrix.to_numpy() if limits is None else np.array(limits)))
