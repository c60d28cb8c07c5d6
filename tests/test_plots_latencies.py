"""Heat maps by delay and time: what is drawn is the mean of the layer that ends best."""

from functools import partial

import latency_results
import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import QuadMesh

from dynamics import plots
from dynamics.emergence.latencies import axes_of, best_of, over_latencies
from dynamics.plots.figures import facets
from dynamics.plots.style import figure_of


def meshes(ax):
    """Values of the cells of step 0 and of the others; the grey ones below them are left out."""
    found = [each for each in ax.collections if isinstance(each, QuadMesh)]
    return np.ma.concatenate([each.get_array().reshape(-1, each._coordinates.shape[1] - 1)
                              for each in found[1::2]], axis=1)  # fmt: skip


def test_cells_are_means_within_subjects_of_the_layer_that_ends_best():
    found = latency_results.results()
    ax = plots.plot_latencies(found, dim="latency")
    expected = found["latency_score"].isel(layer=1).groupby("subject").mean().mean("subject")
    drawn = meshes(ax)
    np.testing.assert_allclose(drawn, expected.transpose("latency", "step"), atol=1e-12)
    assert ax.get_ylabel() == "Delay of the activations (s)"
    assert "1.self_attention" in ax.get_title() and ax.get_xlabel().startswith("Training step")
    curve = over_latencies(found, "latency")
    assert best_of(curve, "latency") == pytest.approx(0.12)
    assert np.isnan(best_of(curve.where(False), "latency"))
    other = over_latencies(found, "latency", layer=str(found["layer"].values[0]))
    assert other.attrs["layer"] != curve.attrs["layer"] and (other <= curve + 0.1).all()


def test_scores_by_time_without_layers_and_the_onset():
    found = latency_results.results()
    ax = plots.plot_latencies(found, dim="time")
    assert ax.get_title() == "layers chosen in the training folds"
    assert any(np.allclose(line.get_ydata(), 0) for line in ax.lines)
    times = found["time"].to_numpy()
    assert ax.get_ylim() == pytest.approx((times[0] - 0.02, times[-1] + 0.02))


def test_what_has_no_score_is_grey():
    found = latency_results.results()
    lost = found["latency_score"].where(found["step"] != 100).where(found["latency"] < 0.35)
    drawn = meshes(plots.plot_latencies(found.assign(latency_score=lost)))
    assert np.ma.getmaskarray(drawn)[:, 3].all() and np.ma.getmaskarray(drawn)[9:].all()
    assert not np.ma.getmaskarray(drawn)[:9, [0, 1, 2, 4, 5]].any()


def test_regions_share_colours_and_long_names_stay_inside():
    found = latency_results.results(regions=[latency_results.LONG, "core"])
    draw = partial(plots.facet_latencies, dim="latency", facet="region")
    figure = facets(draw, found, title="a-long-name-of-a-target " * 4)
    plots.lay_out(figure)
    panels = [ax for ax in figure.axes if ax.get_xlabel().startswith("Training")]
    assert len(panels) == 2
    limits = [ax.collections[-1].get_clim() for ax in panels]
    assert limits[0] == limits[1]
    for part in ("core", latency_results.LONG):
        one = over_latencies(found.isel(neuroid=found["region"].to_numpy() == part), "latency")
        assert limits[0][0] <= float(one.min()) and float(one.max()) <= limits[0][1]
    width, height = figure.bbox.width, figure.bbox.height
    for ax in figure.axes:
        box = ax.title.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= width and box.y1 <= height


def test_profiles_have_a_line_a_step():
    found = latency_results.results()
    ax = plots.plot_profiles(found, steps=[0, 10, 10000])
    assert len(ax.lines) == 3 and ax.lines[0].get_label() == "untrained"
    expected = over_latencies(found, "latency").sel(step=10000)
    np.testing.assert_allclose(ax.lines[2].get_ydata(), expected)
    with pytest.raises(ValueError, match="no step 7"):
        plots.plot_profiles(found, steps=[7])


def test_crossed_times_lie_as_they_are_named():
    found = latency_results.crossed()
    axes = plots.facet_crossed(found, steps=[10000])
    mesh = next(each for each in axes[0].collections if isinstance(each, QuadMesh))
    table = mesh.get_array()
    expected = found["cross_score"].sel(step=10000, layer="b", subject="all")
    np.testing.assert_allclose(table.filled(np.nan), expected)
    assert axes[0].get_xlabel() == "Time of the responses (s)"
    assert "layer that ends best: b" in axes[0].get_ylabel()
    assert "RSA over time" in [ax.get_ylabel() for ax in figure_of(axes[0]).axes][-1]


def test_results_of_which_there_is_none_say_so():
    found = latency_results.results().drop_vars("latency_score")
    assert axes_of(found) == ["time"]
    with pytest.raises(ValueError, match=r"no scores by 'latency' \(there are: time\)"):
        plots.plot_latencies(found)


def test_profiles_are_drawn_where_they_are_asked_for():
    tree = xr.DataTree.from_dict({
        "/": xr.Dataset(attrs={"run": "r"}), "results/t/timed": latency_results.results(),
        "results/t/crossed": latency_results.crossed(),
    })  # fmt: skip
    names = [each.name for each in plots.figures_of(tree, "timed", ["t"])]
    assert "latencies-timed-t-by-latency" in names and "latencies-timed-t-by-time" in names
    assert not any(name.startswith("profiles") for name in names)
    asked = list(plots.figures_of(tree, "timed", ["t"], only=["profiles"]))
    assert [each.name for each in asked] == ["profiles-timed-t-by-latency",
                                             "profiles-timed-t-by-time"]  # fmt: skip
    for each in [*asked, *plots.figures_of(tree, "crossed", ["t"], only=["crossed", "latencies"])]:
        assert each.draw().axes
    with pytest.raises(ValueError, match=r"unknown figure 'profile'.*did you mean 'profiles'"):
        list(plots.figures_of(tree, "timed", ["t"], only=["profile"]))
