import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_rgb

import dynamics
from dynamics import emergence, plots

STEPS = np.array([0, 1, 10, 100, 1000])
LAYERS = [f"layer{i}" for i in range(3)]


@pytest.fixture
def results():
    rng = np.random.default_rng(0)
    rise = np.array([0.1, 0.1, 0.2, 0.5, 0.6])
    score = rise[:, None, None] + 0.02 * rng.standard_normal((5, 3, 8))
    folds = score[:, :, None] + 0.05 * rng.standard_normal((5, 3, 4, 8))
    return xr.Dataset(
        {
            "score": (("step", "layer", "neuroid"), score),
            "fold_score": (("step", "layer", "split", "neuroid"), folds),
            "baseline": ("neuroid", np.full(8, 0.7)),
        },
        coords={
            "step": STEPS,
            "layer": LAYERS,
            "neuroid": np.arange(8),
            "subject": ("neuroid", [f"s{i // 2}" for i in range(8)]),
            "ceiling": ("neuroid", np.full(8, 0.9)),
        },
        attrs={"identity": {"metric": "ridge"}, "simulated": 1},
    )


def lines_of(ax):
    return {line.get_label(): line for line in ax.get_lines()}


def test_the_drawn_curve_is_the_mean_over_subjects(results):
    ax = plots.plot_curves(results)
    drawn = [line for line in ax.get_lines() if len(line.get_xdata()) == len(STEPS)]
    expected = results["score"].groupby("subject").mean("neuroid").mean("subject")
    for layer, line in zip(LAYERS, drawn):
        np.testing.assert_array_equal(line.get_xdata(), STEPS)
        np.testing.assert_allclose(line.get_ydata(), expected.sel(layer=layer), rtol=1e-12)
    np.testing.assert_allclose(plots.mean_curve(results), expected.transpose("step", "layer"))


def test_without_three_subjects_the_units_are_test_folds(results):
    alone = results.drop_vars("subject")
    curve = plots.mean_curve(alone)
    np.testing.assert_allclose(curve, alone["fold_score"].mean(("split", "neuroid")), rtol=1e-12)


def test_a_band_baseline_ceiling_and_half_times_are_drawn(results):
    ax = plots.plot_curves(results)
    assert len(ax.collections) == len(LAYERS)
    lines = lines_of(ax)
    assert lines["spectrotemporal"].get_ydata()[0] == pytest.approx(0.7)
    assert lines["noise ceiling"].get_ydata()[0] == pytest.approx(0.9)
    rings = [line for line in ax.get_lines() if line.get_marker() == "o" and
             line.get_markerfacecolor() == "none"]  # fmt: skip
    times = emergence.half_time(plots.mean_curve(results)).to_numpy()
    np.testing.assert_allclose(sorted(r.get_xdata()[0] for r in rings), sorted(times))


def test_the_step_axis_is_logarithmic_and_shows_step_0(results):
    ax = plots.plot_curves(results)
    ax.figure.canvas.draw()
    shown = {text.get_text() for text in ax.get_xticklabels()}
    assert {"0", "10", "100", "1,000"} <= shown
    assert ax.get_xscale() == "symlog"
    assert "Training step" in ax.get_xlabel() and "Pearson" in ax.get_ylabel()


def test_layers_differ_in_lightness_and_not_only_in_hue(results):
    ax = plots.plot_curves(results)
    drawn = [line for line in ax.get_lines() if len(line.get_xdata()) == len(STEPS)]
    lightness = [np.dot(to_rgb(line.get_color()), [0.2126, 0.7152, 0.0722]) for line in drawn]
    assert (np.diff(lightness) > 0.1).all()


def test_figures_are_written_whole_in_two_formats_and_say_simulated(results, tmp_path):
    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs={"run": "r"}), "/results/t/ridge": results})
    figure = plots.figure_of_targets(tree, "ridge", ["t"])
    assert figure.axes[0].get_title() == "simulated brain: t"
    figure.canvas.draw()
    inside = figure.get_window_extent()
    for box in [legend.get_window_extent() for legend in figure.legends]:
        assert box.x0 >= inside.x0 and box.x1 <= inside.x1
    written = plots.save(figure, tmp_path / "figures" / "a.b")
    assert [path.name for path in written] == ["a.b.png", "a.b.pdf"]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["a.b.pdf", "a.b.png"]
    facets = plots.figure_of_neuroids(tree, "ridge", "t")
    assert sum(ax.get_visible() for ax in facets.axes) == 8


def test_an_unknown_neuroid_lists_what_there_is(results):
    with pytest.raises(ValueError, match="no neuroid 'x': there are 0, 1"):
        plots.plot_curves(results, neuroid="x")


def test_one_step_alone_is_drawn(results):
    ax = plots.plot_curves(results.isel(step=[0]))
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0"]


@pytest.fixture
def with_halves(results):
    rng = np.random.default_rng(2)
    score = results["score"]
    noise = 0.1 * rng.standard_normal((40, *score.shape))
    attrs = emergence.scheme("halves", n=2, kept=1, resamples=2).attrs
    dims = ("resample", *score.dims)
    return results.assign(resample_score=(dims, score.to_numpy() + noise, attrs))


def test_the_band_over_stimuli_is_the_closed_form_of_independent_halves(with_halves):
    alone = with_halves.drop_vars("subject")
    curve, low, high, over = plots.curve_and_band(alone)
    assert over == "stimuli"
    np.testing.assert_allclose(curve, alone["score"].mean("neuroid"))
    # Halves of deviation s have half of the variance of their difference, a quarter of it each:
    # the error of the whole is s / sqrt(2), here 0.1 / sqrt(8 neuroids) / sqrt(2).
    t = 2.086  # Student's t for 20 pairs
    expected = t * 0.1 / np.sqrt(8) / np.sqrt(2)
    # 15 bands of 20 pairs each: their mean is known to about 5 %.
    assert float(((high - low) / 2).mean()) == pytest.approx(expected, rel=0.15)


def test_with_three_subjects_the_band_is_wider_by_their_differences(with_halves):
    *_, over = plots.curve_and_band(with_halves)
    assert over == "stimuli and subjects"
    apart = with_halves["subject"].str.slice(1).astype(int) * 0.2
    other = with_halves.assign(
        score=with_halves["score"] + apart,
        resample_score=(with_halves["resample_score"] + apart).assign_attrs(
            with_halves["resample_score"].attrs
        ),
    )
    _, low, high, _ = plots.curve_and_band(with_halves)
    _, wide_low, wide_high, _ = plots.curve_and_band(other)
    assert float((wide_high - wide_low).mean()) > 2 * float((high - low).mean())


def test_the_heat_map_has_the_output_layer_on_top_and_the_steps_as_columns(results):
    ax = plots.plot_heatmap(results)
    shown = ax.collections[0].get_array().reshape(len(LAYERS), len(STEPS))
    expected = plots.mean_curve(results).transpose("layer", "step").to_numpy()[::-1]
    np.testing.assert_allclose(shown, expected)
    assert [text.get_text() for text in ax.get_yticklabels()] == LAYERS[::-1]


def test_an_opened_store_has_the_methods_without_another_import(with_halves, tmp_path):
    with pytest.raises(FileNotFoundError, match="no store"):
        dynamics.open(tmp_path / "none.zarr")
    found = with_halves.dynamics.half_time()
    assert "layer" in found.dims
    assert with_halves.dynamics.plot_heatmap() is not None
    assert with_halves.dynamics.plot_curves() is not None
