"""Dissimilarity matrices along training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from dynamics.emergence.dissimilarity import rdm_of, shade_limits
from dynamics.plots.panels import legend_below
from dynamics.plots.steps import step_title, steps_to_show
from dynamics.plots.style import COLUMN, GROUPS, colour_bar, grid, styled

# On a bar, unlike as a line, yellow and tints can be seen.
_FILLS = (*GROUPS, "#F0E442", "#999999", "#7A5195", "#B5E2C4", "#8C6D31", "#D0D0D0")


@styled
def plot_rdms(
    activations: xr.DataArray,
    *,
    categories: Sequence[str] | None = None,
    steps: Sequence[int] | None = None,
    order: Sequence[str] | None = None,
    distance: str = "correlation",
) -> np.ndarray:
    """Draw a layer's dissimilarity matrix at several steps, stimuli sorted by category.

    Parameters
    ----------
    activations : xarray.DataArray
        ``tree["activations/<layer>"]["activation"]``: (step, stimulus, feature); a time axis is
        averaged away.
    categories : sequence of str, optional
        One a stimulus, such as ``tree["activations"]["category"]``; by default the coordinate
        `category` of the activations, where they have one.
    steps : sequence of int, optional
        Which steps; by default four, from the first to the last on a logarithmic axis.
    order : sequence of str, optional
        The categories in the order in which to draw them; by default the alphabet's.
    distance : str
        As in `dynamics.metrics.rdm`.

    Returns
    -------
    array of matplotlib.axes.Axes
        One panel a step, two a row.

    Raises
    ------
    ValueError
        If categories and stimuli, or `order` and categories, do not match, or a step is missing.
    """
    labels = _categories(activations, categories)
    names = list(dict.fromkeys(order)) if order is not None else sorted(set(labels))
    if set(names) != set(labels):
        odd = sorted(set(names) ^ set(labels))
        raise ValueError(f"`order` and the categories do not match: {', '.join(odd[:5])}")
    rank = np.array([names.index(label) for label in labels])
    sorting = np.argsort(rank, kind="stable")
    have = activations["step"].to_numpy()
    chosen = steps_to_show(have, steps)
    every = (rdm_of(activations.sel(step=step), distance=distance) for step in chosen)
    matrices = [one[np.ix_(sorting, sorting)] for one in every]
    low, high = shade_limits(matrices)
    columns = 2 if len(chosen) > 1 else 1
    height = (38 if columns == 2 else 66) * -(-len(chosen) // columns) + 22
    figure, axes = grid(len(chosen), columns, width=COLUMN, height=height)
    for ax, step, matrix in zip(axes, chosen, matrices):
        image = ax.imshow(matrix, cmap="cividis", vmin=low, vmax=high, interpolation="nearest")
        _category_bars(ax, rank[sorting], len(names))
        ax.set_title(step_title(step, activations["step"]), pad=9)
    colour_bar(image, axes, label=f"Dissimilarity ({distance})", aspect=30)
    fills = [Patch(color=_FILLS[place % len(_FILLS)]) for place in range(len(names))]
    legend_below(figure, dict(zip(names, fills)), most=4)
    return axes


def _categories(activations: xr.DataArray, categories: Sequence[str] | None) -> list[str]:
    if categories is None:
        if "category" not in activations.coords:
            raise ValueError(
                "the activations have no coordinate `category`: give `categories`, one a stimulus, "
                "as in tree['activations']['category']"
            )
        labels = [str(label) for label in activations["category"].to_numpy()]
    else:
        labels = [str(label) for label in np.asarray(categories)]
    if len(labels) != activations.sizes["stimulus"]:
        raise ValueError(
            f"there are {len(labels)} categories for {activations.sizes['stimulus']} stimuli: "
            "give one each"
        )
    return labels


def _category_bars(ax: Axes, rank: np.ndarray, number: int) -> None:
    """Draw each stimulus' category as a colour along the left and the upper side."""
    colours = ListedColormap([_FILLS[place % len(_FILLS)] for place in range(number)])
    options: dict[str, Any] = {
        "cmap": colours,
        "vmin": -0.5,
        "vmax": number - 0.5,
        "aspect": "auto",
    }
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    for box, strip in (
        ((0, 1 + 1 / 48, 1, 1 / 24), rank[None, :]),
        ((-1 / 16, 0, 1 / 24, 1), rank[:, None]),
    ):
        side = ax.inset_axes(box)
        side.imshow(strip, interpolation="nearest", **options)
        side.axis("off")
