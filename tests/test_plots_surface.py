import sys
from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import LogNorm

from dynamics import brains, plots
from dynamics.plots import surface

pytest.importorskip("nilearn")


def places(points, values, **attrs):
    points = np.asarray(points, float)
    coords = {name: ("neuroid", points[:, place]) for place, name in enumerate("xyz")}
    return xr.DataArray(values, dims="neuroid", coords=coords, attrs=attrs)


def shown(ax):
    """Places and values of what is drawn, without the brain."""
    dots = [c for c in ax.collections if c.get_array() is not None and c.get_zorder() == 4]
    return dots[0].get_offsets(), dots[0].get_array()


@pytest.mark.parametrize("kind", ["pial", "white", "inflated"])
def test_a_place_on_any_surface_is_drawn_where_its_vertex_is_on_the_inflated_one(kind):
    rng = np.random.default_rng(0)
    for side, away in (("left", -1), ("right", 1)):
        brain = surface._brain(side)
        vertices = rng.choice(np.flatnonzero(brain.front), 60, replace=False)
        points, _ = surface._mesh(kind, side)
        inflated, _ = surface._mesh("inflated", side)
        points = points + (0.0 if kind != "inflated" else 1e-6)
        ours = vertices[(points[vertices, 0] < 0) == (side == "left")]
        ax = plots.plot_surface(places(points[ours], np.arange(len(ours))), hemisphere=side)
        spots, values = shown(ax)
        expected = inflated[ours][np.asarray(values, int)]
        np.testing.assert_allclose(spots[:, 0], away * expected[:, 1])
        np.testing.assert_allclose(spots[:, 1], expected[:, 2])


def test_hidden_places_are_counted_and_missing_values_are_open_circles():
    points, _ = surface._mesh("inflated", "left")
    front = np.flatnonzero(surface._brain("left").front & (points[:, 0] < 0))[:3]
    back = np.flatnonzero(~surface._brain("left").front & (points[:, 0] < 0))[:2]
    values = places(points[[*front, *back]], [1.0, np.nan, 3.0, 4.0, 5.0])
    ax = plots.plot_surface(values)
    assert ax.get_title() == "left (n = 5, 2 hidden)"
    assert sorted(shown(ax)[1].tolist()) == [1, 3]
    assert len(ax.collections[1].get_offsets()) == 1
    assert ax.get_legend().get_texts()[0].get_text() == "no value"


def test_steps_are_coloured_on_a_logarithmic_scale_on_both_sides():
    points = np.array([[-40.0, 0, 0], [40, 0, 0], [40, 10, 0]])
    axes = plots.facet_surface(places(points, [10.0, 1000, np.nan], units="step", long_name="half"))
    norms = [c.norm for ax in axes for c in ax.collections if c.get_zorder() == 4]
    assert all(isinstance(norm, LogNorm) for norm in norms)
    assert {(norm.vmin, norm.vmax) for norm in norms} == {(10, 1000)}
    assert axes[0].figure.axes[-1].get_xlabel() == "Half"


def test_the_published_electrodes_lie_on_the_inflated_surface(data_root):
    electrodes = brains.load("nh2022-ecog-electrodes")
    points = np.column_stack([electrodes[name] for name in "xyz"])
    for side in surface.SIDES:
        ours = (points[:, 0] < 0) == (side == "left")
        # Vertices are numbered from 1, and the first 10,242 are those of the coarser mesh. Its
        # copy in nilearn is rounded to single precision and was inflated again: 0.2 mm.
        vertex = electrodes["vertex"].to_numpy()[ours] - 1
        coarse = vertex < 10242
        mesh, _ = surface._mesh("inflated", side)
        off = np.linalg.norm(mesh[vertex[coarse]] - points[ours][coarse], axis=1)
        assert coarse.sum() > 5 and off.max() < 0.25


def test_without_the_extra_there_is_one_sentence(monkeypatch):
    surface._files.cache_clear()
    surface._mesh.cache_clear()
    surface._brain.cache_clear()
    monkeypatch.setitem(sys.modules, "nilearn", None)
    with pytest.raises(ModuleNotFoundError, match="need nilearn: pip install"):
        plots.plot_surface(places([[-40, 0, 0]], [1.0]))


def test_values_without_places_are_refused():
    with pytest.raises(ValueError, match="no coordinate x, y, z"):
        plots.plot_surface(xr.DataArray([1.0], dims="neuroid"))
    one = places([[-40, 0, 0]], [1.0])
    with pytest.raises(ValueError, match="no hemisphere 'top'"):
        plots.plot_surface(one, hemisphere="top")
    with pytest.raises(ValueError, match="no surface 'x'"):
        plots.plot_surface(one, surface="x")


def test_labels_of_steps_below_the_brain_do_not_touch():
    values = places(-60.0 + np.arange(12).reshape(4, 3), [11.0, 100, 2000, 9900], units="step")
    ax = plots.plot_surface(values)
    bar = ax.figure.axes[1]
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in bar.get_xticklabels(which="both")]
    boxes = sorted((box for box in boxes if box.width), key=lambda box: box.x0)
    assert len(boxes) > 1 and all(a.x1 < b.x0 for a, b in pairwise(boxes))
