"""Values of electrodes or voxels on the cortical surface."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import LogNorm, Normalize
from scipy.spatial import cKDTree

from dynamics.plots.steps import label_steps, step_norm
from dynamics.plots.style import COLUMN, colour_bar, figure_of, panel, sheet, styled

SIDES = ("left", "right")
SURFACES = {"pial": "pial", "white": "white", "inflated": "infl"}


@styled
def plot_surface(
    values: xr.DataArray,
    *,
    hemisphere: str = "left",
    surface: str | None = None,
    norm: Normalize | None = None,
    bar: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw a value of each electrode or voxel on the inflated fsaverage surface, from the side.

    A place is moved to the nearest vertex of the surface on which the coordinates lie, and drawn
    where that vertex is on the inflated one, so that what lies inside the Sylvian fissure is
    seen. Open circles have no value (a half-time that was not reached).

    Parameters
    ----------
    values : xarray.DataArray
        One dimension, with the coordinates `x`, `y`, `z` in mm of FsAverage. Steps (units "step")
        are coloured on a logarithmic scale.
    hemisphere : {"left", "right"}
        Which side; a place is left where its x is below 0.
    surface : {"pial", "white", "inflated"}, optional
        On which surface the coordinates lie; by default the one that they are nearest to.
    norm : matplotlib.colors.Normalize, optional
        Of the colours; by default from lowest to highest value.
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
    ModuleNotFoundError
        If nilearn is not installed, which has the surface.
    ValueError
        If the values have no places, or hemisphere or surface is unknown.
    """
    places = _places(values)
    if hemisphere not in SIDES:
        raise ValueError(f"there is no hemisphere {hemisphere!r}: use left or right")
    if surface is not None and surface not in SURFACES:
        raise ValueError(f"there is no surface {surface!r}: use one of {', '.join(SURFACES)}")
    brain = _brain(hemisphere)
    ax = panel(ax, height=62)
    norm = norm or _norm(values)
    _draw_brain(ax, brain)
    side = (places[:, 0] < 0) == (hemisphere == "left")
    shown = values.to_numpy()[side].astype(float)
    title = f"{hemisphere}: nothing here"
    if side.any():
        vertices = _nearest(places, side, hemisphere, surface)
        spots, front = brain.flat[vertices], brain.front[vertices]
        width = ax.get_position().width * figure_of(ax).get_figwidth()
        size = float(np.clip(2400 / len(spots), 3, 16)) * min(1.0, width / COLUMN)
        lost = front & ~np.isfinite(shown)
        ax.scatter(
            spots[lost, 0], spots[lost, 1], s=size * 0.7, facecolors="none", edgecolors="0.25",
            linewidths=0.5, zorder=3, label="no value",
        )  # fmt: skip
        seen = front & np.isfinite(shown)
        # The highest on top: a crowd must not hide the value that a reader looks for.
        seen = np.flatnonzero(seen)[np.argsort(shown[seen], kind="stable")]
        ax.scatter(
            spots[seen, 0], spots[seen, 1], c=shown[seen], norm=norm, cmap="viridis", s=size,
            zorder=4, edgecolors="black", linewidths=0.25 if size > 5 else 0,
        )  # fmt: skip
        if lost.any():
            ax.legend(loc="lower left", borderpad=0, handletextpad=0.1)
        hidden = int((~front).sum())
        title = f"{hemisphere} (n = {int(side.sum())}" + (f", {hidden} hidden)" if hidden else ")")
    ax.set_title(title)
    if bar:
        _bar(ax, values, norm)
    return ax


@styled
def facet_surface(values: xr.DataArray, *, surface: str | None = None) -> np.ndarray:
    """Draw both hemispheres beside each other in the same colours, as `plot_surface`.

    Parameters
    ----------
    values : xarray.DataArray
        As in `plot_surface`.
    surface : str, optional
        As in `plot_surface`.

    Returns
    -------
    array of matplotlib.axes.Axes
        Left and right.

    Raises
    ------
    ModuleNotFoundError, ValueError
        As `plot_surface`.
    """
    _places(values)
    norm = _norm(values)
    _brain("left")
    _, axes = sheet(1, 2, width=COLUMN, height=46)
    for ax, side in zip(axes.flat, SIDES):
        plot_surface(values, hemisphere=side, surface=surface, norm=norm, bar=False, ax=ax)
    _bar(axes, values, norm)
    return axes.ravel()


class _Brain(NamedTuple):
    """The inflated surface from the side: places (vertices, 2), triangles, and what faces us."""

    flat: np.ndarray
    depth: np.ndarray
    faces: np.ndarray
    shade: np.ndarray
    front: np.ndarray


@cache
def _brain(hemisphere: str) -> _Brain:
    points, faces = _mesh("inflated", hemisphere)
    from nilearn import surface

    sulci = surface.load_surf_data(_files()[f"sulc_{hemisphere}"])
    # Front of the brain on the left for the left hemisphere, on the right for the right one.
    away = -1.0 if hemisphere == "left" else 1.0
    flat = np.column_stack([away * points[:, 1], points[:, 2]])
    corners = points[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    outward = np.sign((normals * (corners.mean(1) - points.mean(0))).sum())
    toward = outward * away * normals[:, 0]
    lit = toward / np.linalg.norm(normals, axis=1)
    deep = sulci[faces].mean(1) > 0
    shade = np.where(deep, 0.62, 0.82) * (0.55 + 0.45 * np.clip(lit, 0, 1))
    front = np.zeros(len(points))
    np.add.at(front, faces.ravel(), np.repeat(toward, 3))
    return _Brain(flat, away * points[:, 0], faces, np.where(lit > 0, shade, np.nan), front > 0)


def _draw_brain(ax: Axes, brain: _Brain) -> None:
    front = np.flatnonzero(np.isfinite(brain.shade))
    front = front[np.argsort(brain.depth[brain.faces[front]].mean(1))]
    grey = np.repeat(brain.shade[front, None], 3, axis=1)
    ax.add_collection(
        PolyCollection(
            brain.flat[brain.faces[front]],
            facecolors=grey,
            edgecolors=grey,
            linewidths=0.2,
            rasterized=True,
            zorder=1,
        )
    )
    ax.set_aspect("equal")
    ax.autoscale_view()
    ax.axis("off")


def _places(values: xr.DataArray) -> np.ndarray:
    missing = [name for name in "xyz" if name not in values.coords]
    if missing or values.ndim != 1:
        raise ValueError(
            f"the values have dimensions {values.dims} and no coordinate "
            f"{', '.join(missing) or 'missing'}: give one value a place with x, y and z in mm"
        )
    return np.column_stack([values[name].to_numpy() for name in "xyz"]).astype(float)


def _nearest(
    places: np.ndarray, side: np.ndarray, hemisphere: str, surface: str | None
) -> np.ndarray:
    """Nearest vertex of every place of one side."""
    trees = {
        name: cKDTree(_mesh(name, hemisphere)[0]) for name in ([surface] if surface else SURFACES)
    }
    found = {name: tree.query(places[side]) for name, tree in trees.items()}
    return min(found.values(), key=lambda each: float(np.median(each[0])))[1]


@cache
def _mesh(name: str, hemisphere: str) -> tuple[np.ndarray, np.ndarray]:
    path = _files()[f"{SURFACES[name]}_{hemisphere}"]
    from nilearn import surface

    mesh = surface.load_surf_mesh(path)
    return np.asarray(mesh.coordinates, float), np.asarray(mesh.faces)


@cache
def _files():
    try:
        from nilearn import datasets
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "maps on the cortical surface need nilearn: pip install 'training-dynamics[surface]'"
        ) from error
    # This mesh of 10,242 vertices a side is part of nilearn itself: nothing is downloaded.
    return datasets.fetch_surf_fsaverage("fsaverage5")


def _norm(values: xr.DataArray) -> Normalize:
    known = values.to_numpy()[np.isfinite(values.to_numpy())]
    if values.attrs.get("units") == "step":
        return step_norm(known)
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    return Normalize(low, high if high > low else low + 1)


def _bar(axes: Any, values: xr.DataArray, norm: Normalize) -> None:
    attrs = values.attrs
    text = str(attrs.get("long_name") or attrs.get("description") or values.name or "Value")
    label = text[:1].upper() + text[1:]
    options = {"location": "bottom", "shrink": 0.6, "pad": 0.03}
    bar = colour_bar(ScalarMappable(norm, "viridis"), axes, label=label, **options)
    if isinstance(norm, LogNorm):
        label_steps(bar.ax.xaxis, norm)
