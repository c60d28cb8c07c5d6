"""Small pictures of the dissimilarities between stimuli, layer by layer along training."""

from __future__ import annotations

import base64
import io
from collections import Counter
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import xarray as xr
from PIL import Image

from dynamics import plots
from dynamics.emergence.dissimilarity import rdm_of_some, shade_limits

MOST_STEPS, MOST_LAYERS, MOST_STIMULI, MOST_CATEGORIES = 20, 8, 64, 20
# Few shades keep the files small: neighbours among 48 cannot be told apart by eye.
_SHADES = 48
_STRIP = 3


class Dissimilarities(NamedTuple):
    """RDMs of some layers at some steps, as pictures.

    Attributes
    ----------
    steps : list of int
        Steps that are shown.
    layers : list of str
        Layers that are shown, from input to output.
    sprites : list of str
        One ``data:`` address a layer: its RDMs under each other, one a step, each with a strip
        of category colours at its left and upper edge.
    categories : list of (name, number, colour)
        In the order of the rows.
    low, high : float
        Dissimilarities that the darkest and the lightest shade stand for.
    shown, total : int
        Stimuli in the pictures, and in the store.
    """

    steps: list[int]
    layers: list[str]
    sprites: list[str]
    categories: list[tuple[str, int, str]]
    low: float
    high: float
    shown: int
    total: int


def dissimilarities(tree: xr.DataTree) -> Dissimilarities | None:
    """Draw the RDMs of a store's layers along training.

    Parameters
    ----------
    tree : xarray.DataTree
        What `dynamics.open` returned.

    Returns
    -------
    Dissimilarities or None
        1 - Pearson r of activations that were z-scored over all stimuli, for at most 20 steps,
        8 layers and 64 stimuli, sorted by category; all on one scale. None where the store has no
        complete step or fewer than three stimuli.
    """
    if "activations" not in tree.children:
        return None
    group = tree.children["activations"]
    if group.sizes.get("step", 0) == 0 or group.sizes.get("stimulus", 0) < 3:
        return None
    steps, names = group["step"].to_numpy(), list(group.children)
    steps = steps[plots.spread_steps(steps, MOST_STEPS)]
    layers = [names[place] for place in _spread(len(names), MOST_LAYERS)]
    rows, categories = _rows(group)
    found = {}
    for layer in layers:
        activation = group[layer]["activation"]
        found[layer] = np.stack(
            [rdm_of_some(activation.sel(step=step).to_numpy(), rows) for step in steps]
        )
    low, high = shade_limits(found.values())
    if not low < high:
        low, high = 0.0, 1.0
    labels = [name for name, number, _ in categories for _ in range(number)]
    return Dissimilarities(
        steps=[int(step) for step in steps],
        layers=[str(group[name].attrs.get("layer", name)) for name in layers],
        sprites=[_sprite(found[layer], low, high, labels, categories) for layer in layers],
        categories=categories,
        low=low,
        high=high,
        shown=len(rows),
        total=group.sizes["stimulus"],
    )


def plain(found: Dissimilarities) -> dict[str, Any]:
    """Return what the page's program needs, of plain JSON types."""
    return {"steps": found.steps, "layers": found.layers}


def _spread(number: int, most: int) -> list[int]:
    """Return at most so many places, evenly from the first to the last."""
    if number <= most:
        return list(range(number))
    return [int(place) for place in np.linspace(0, number - 1, most).round()]


def _rows(group: xr.DataTree) -> tuple[np.ndarray, list[tuple[str, int, str]]]:
    """Choose stimuli evenly over the categories, and count them by category."""
    total = group.sizes["stimulus"]
    labels = group["category"].to_numpy().astype(str) if "category" in group else np.full(total, "")
    order = np.argsort(labels, kind="stable")
    rows = order[_spread(total, MOST_STIMULI)]
    counts = Counter(labels[rows].tolist())
    if not 1 < len(counts) <= MOST_CATEGORIES:
        return rows, []
    colours = matplotlib.colormaps["tab20"]
    # Every second one is a pale twin of the one before: the strong ones first.
    named = [matplotlib.colors.to_hex(colours(i)) for i in (*range(0, 20, 2), *range(1, 20, 2))]
    return rows, [(name, counts[name], named[i]) for i, name in enumerate(sorted(counts))]


def _sprite(
    found: np.ndarray,
    low: float,
    high: float,
    labels: list[str],
    categories: list[tuple[str, int, str]],
) -> str:
    """Encode RDMs (n_steps, n, n) under each other as one palette picture."""
    shades = np.clip((found - low) / (high - low), 0, 1) * (_SHADES - 1)
    shades = np.where(np.isfinite(found), shades.round(), 0).astype("uint8")
    if categories:
        places = {name: place for place, (name, *_) in enumerate(categories)}
        strip = np.array([_SHADES + places[label] for label in labels], dtype="uint8")
        shades = np.pad(shades, ((0, 0), (_STRIP, 0), (_STRIP, 0)))
        shades[:, _STRIP:, :_STRIP] = strip[:, None]
        shades[:, :_STRIP, _STRIP:] = strip
        shades[:, :_STRIP, :_STRIP] = _SHADES + len(categories)
    ramp = matplotlib.colormaps["viridis"](np.linspace(0, 1, _SHADES))[:, :3]
    own = [matplotlib.colors.to_rgb(colour) for *_, colour in categories]
    palette = np.concatenate([ramp, np.reshape(own, (-1, 3)), np.ones((1, 3))])
    picture = Image.fromarray(shades.reshape(-1, shades.shape[2]), mode="P")
    picture.putpalette((palette * 255).round().astype("uint8").ravel().tolist())
    beside = io.BytesIO()
    # The corner, which is the last colour, shows the page.
    picture.save(beside, format="PNG", optimize=True, transparency=len(palette) - 1)
    return f"data:image/png;base64,{base64.b64encode(beside.getvalue()).decode()}"
