from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import plots_results
import pytest
import xarray as xr
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from scipy import stats

import dynamics
from dynamics import emergence, plots
from dynamics.plots import style

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
    np.testing.assert_allclose(emergence.mean_curve(results), expected.transpose("step", "layer"))


def test_without_three_subjects_the_units_are_test_folds_and_the_curve_is_the_score(results):
    alone = results.drop_vars("subject")
    curve, low, high, over = emergence.curve_and_band(alone)
    np.testing.assert_allclose(curve, alone["score"].mean("neuroid"), rtol=1e-12)
    folds = alone["fold_score"].mean("neuroid")
    half = stats.t.ppf(0.975, 3) * folds.std("split", ddof=1) / 2
    np.testing.assert_allclose((high - low) / 2, half, rtol=1e-12)
    assert over == "test folds"


def test_a_band_baseline_ceiling_and_half_times_are_drawn(results):
    ax = plots.plot_curves(results)
    assert len(ax.collections) == len(LAYERS)
    (untrained,) = ax.patches
    first = emergence.mean_curve(results).isel(step=0)
    band = ax.transData.inverted().transform(untrained.get_window_extent())[:, 1]
    np.testing.assert_allclose(band, [first.min(), first.max()])
    lines = lines_of(ax)
    assert lines["spectrotemporal baseline"].get_ydata()[0] == pytest.approx(0.7)
    assert lines["noise ceiling"].get_ydata()[0] == pytest.approx(0.9)
    rings = [line for line in ax.get_lines() if line.get_label() == "_half-time"]
    times = emergence.half_time(emergence.mean_curve(results)).to_numpy()
    np.testing.assert_allclose(sorted(r.get_xdata()[0] for r in rings), sorted(times))
    curves = {
        line.get_color(): line.get_path()
        for line in ax.get_lines()
        if len(line.get_xdata()) == len(STEPS)
    }
    for ring in rings:  # on the line as it is drawn, between step 0 and the first one too
        path = ax.transData.transform_path(curves[ring.get_markeredgecolor()])
        x, y = ax.transData.transform([ring.get_xdata()[0], ring.get_ydata()[0]])
        assert y == pytest.approx(np.interp(x, *path.vertices.T), abs=0.01)


@pytest.mark.parametrize("bounds", [0.6, [0.5, 0.7, 0.5, 0.7]])
def test_ceilings_over_subjects_are_a_band_of_their_mean_over_regions(results, bounds):
    dims = ("subject",) if isinstance(bounds, list) else ()
    spaces = xr.Dataset(
        {
            "score": (("step", "layer", "subject"), results["score"].to_numpy()[..., :4]),
            "ceiling_lower": (dims, np.array(bounds)),
            "ceiling_upper": (dims, np.array(bounds) + 0.2),
        },
        coords={
            "step": STEPS,
            "layer": LAYERS,
            "subject": ["a", "a", "b", "b"],
            "region": ("subject", ["core", "belt"] * 2),
        },
        attrs={"identity": {"metric": "rsa"}},
    )
    ax = plots.plot_curves(spaces)
    (drawn,) = (patch for patch in ax.patches if patch.get_label() == "noise ceiling")
    band = ax.transData.inverted().transform(drawn.get_window_extent())[:, 1]
    np.testing.assert_allclose(band, [0.6, 0.8])


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


@pytest.mark.slow
def test_figures_are_written_whole_and_say_simulated(results, tmp_path):
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
    assert {p.suffix for p in plots.save(figure, tmp_path / "b", formats=["svg", "png"])} == {
        ".svg",
        ".png",
    }
    with pytest.raises(ValueError, match="no format 'gif': use png, svg, pdf"):
        plots.save(figure, tmp_path / "b", formats=["gif"])
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
    curve, low, high, over = emergence.curve_and_band(alone)
    assert over == "stimuli"
    np.testing.assert_allclose(curve, alone["score"].mean("neuroid"))
    # Halves of deviation s have half of the variance of their difference, a quarter of it each:
    # the error of the whole is s / sqrt(2), here 0.1 / sqrt(8 neuroids) / sqrt(2).
    t = 2.086  # Student's t for 20 pairs
    expected = t * 0.1 / np.sqrt(8) / np.sqrt(2)
    # 15 bands of 20 pairs each: their mean is known to about 5 %.
    assert float(((high - low) / 2).mean()) == pytest.approx(expected, rel=0.15)


def test_with_three_subjects_the_band_is_wider_by_their_differences(with_halves):
    *_, over = emergence.curve_and_band(with_halves)
    assert over == "stimuli and subjects"
    apart = with_halves["subject"].str.slice(1).astype(int) * 0.2
    other = with_halves.assign(
        score=with_halves["score"] + apart,
        resample_score=(with_halves["resample_score"] + apart).assign_attrs(
            with_halves["resample_score"].attrs
        ),
    )
    _, low, high, _ = emergence.curve_and_band(with_halves)
    _, wide_low, wide_high, _ = emergence.curve_and_band(other)
    assert float((wide_high - wide_low).mean()) > 2 * float((high - low).mean())


def test_an_opened_store_has_the_methods_without_another_import(with_halves, tmp_path):
    with pytest.raises(FileNotFoundError, match="no store"):
        dynamics.open(tmp_path / "none.zarr")
    found = with_halves.dynamics.half_time()
    assert "layer" in found.dims
    assert with_halves.dynamics.plot_heatmap() is not None
    assert with_halves.dynamics.plot_curves() is not None
    assert with_halves.dynamics.plot_order() is not None
    assert with_halves.dynamics.plot_best_layer() is not None


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_figure_gives_the_same_file_with_letters_that_stay_text(results, tmp_path, kind):
    first, second = (
        plots.save(plots.plot_heatmap(results).figure, tmp_path / name, formats=[kind])[0]
        for name in "ab"
    )
    assert first.read_bytes() == second.read_bytes()
    if kind == "svg":
        assert ">Training step (0: untrained)</text>" in first.read_text()


@pytest.mark.parametrize("hue, number", [("region", 2), ("subject", 4), ("neuroid", 8)])
def test_what_the_colours_tell_apart_is_averaged_by_itself(hue, number):
    data = plots_results.results()
    ax = plots.plot_curves(data, hue=hue)
    lines = [line for line in ax.get_lines() if len(line.get_xdata()) == len(plots_results.STEPS)]
    assert len(lines) == number
    chosen = data["score"].sel(layer="layer1")
    for line in lines:
        # Within each subject first, which a plain mean is too with as many neuroids in each.
        expected = chosen[:, (chosen[hue] == line.get_label()).to_numpy()].mean("neuroid")
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-12)
    looks = {(line.get_color(), line.get_marker()) for line in lines}
    assert len(looks) == number
    assert ax.get_title() == "layer1"


def test_runs_are_stacked_each_on_its_own_steps_and_what_failed_is_a_gap():
    data = plots_results.results()
    few = plots_results.without(data, 100).isel(step=[0, 2, 3, 5])
    both = plots.stack({"a": data, "b": few})
    ax = plots.plot_curves(both, hue="run", layer="layer0")
    lines = {line.get_label(): line for line in ax.get_lines()}
    np.testing.assert_allclose(
        lines["a"].get_ydata(), emergence.mean_curve(data).sel(layer="layer0"), rtol=1e-12
    )
    np.testing.assert_array_equal(lines["b"].get_xdata(), [0, 10, 100, 10000])
    known = np.isfinite(lines["b"].get_ydata())
    np.testing.assert_array_equal(known, [True, True, False, True])
    _, other = plots.facet_curves(both, facet="run")
    np.testing.assert_array_equal(lines_of(other)["layer2"].get_xdata(), [0, 10, 100, 10000])
    np.testing.assert_array_equal(lines_of(other)["step without data"].get_xdata(), [100])


def test_runs_of_other_protocols_are_not_stacked_and_common_resamples_are_kept():
    data = plots_results.results()
    few = plots_results.results(resamples=10)
    assert plots.stack({"a": data, "b": few}).sizes["resample"] == 10
    tasks = {
        name: data.assign_attrs(identity={"metric": "probe", "score": "accuracy", "task": name})
        for name in ("digits", "kinds")
    }
    identity = plots.stack(tasks, dim="task").attrs["identity"]
    assert identity == {"metric": "probe", "score": "accuracy"}
    bare = few.drop_vars("resample_score")
    assert "resample_score" not in plots.stack({"a": data, "b": bare})
    odd = data.assign_attrs(identity={"metric": "ridge", "arguments": {"protocol": "pepino"}})
    for draw in (plots.stack, plots.plot_models):
        with pytest.raises(ValueError, match="compare results of one protocol"):
            draw({"a": data, "b": odd})
    with pytest.raises(ValueError, match="no runs to stack"):
        plots.stack({})


def test_panels_tell_apart_one_thing_and_colours_another():
    data = plots_results.results()
    axes = plots.facet_curves(data, facet="region", hue="layer", values=["belt", "core"])
    assert [ax.get_title() for ax in axes] == ["belt", "core"]
    shown = lines_of(axes[0])["layer2"].get_ydata()
    expected = emergence.mean_curve(data.isel(neuroid=(data["region"] == "belt").to_numpy()))
    np.testing.assert_allclose(shown, expected.sel(layer="layer2"))
    assert len(axes[0].figure.legends) == 1
    (alone,) = plots.facet_curves(data)
    assert alone.get_title() == ""
    with pytest.raises(ValueError, match="no region 'x': there are core, belt"):
        plots.facet_curves(data, facet="region", values=["x"])
    with pytest.raises(ValueError, match="no 'voxel' to tell apart: use layer, neuroid, region"):
        plots.facet_curves(data, facet="voxel")


def test_a_fit_is_drawn_beside_the_raw_curve():
    data = plots_results.results()
    long = data.interp(step=np.unique(np.geomspace(1, 10000, 12).round()))
    long["resample_score"].attrs = data["resample_score"].attrs
    curve = emergence.mean_curve(long)
    ax = plots.plot_curves(long, fit="isotonic")
    raw = lines_of(ax)["layer1"].get_ydata()
    np.testing.assert_allclose(raw, curve.sel(layer="layer1"))
    fits = [line for line in ax.get_lines() if line.get_label() == "_isotonic fit"]
    assert len(fits) == 3
    for line, layer in zip(fits, LAYERS):
        expected = emergence.fit(curve.sel(layer=layer), kind="isotonic", steps=line.get_xdata())
        np.testing.assert_allclose(line.get_ydata(), expected)
    assert "isotonic fit" in lines_of(ax)


def test_a_step_without_neighbours_has_its_limits_as_a_line():
    data = plots_results.without(plots_results.results(), 1, 100, 1000, 10000)
    ax = plots.plot_curves(data)
    lines = [c for c in ax.collections if isinstance(c, LineCollection)]
    low, high = (emergence.bands_by(data)[side].to_numpy() for side in ("low", "high"))
    assert len(lines) == 3
    for place, each in enumerate(lines):
        ends = [segment[:, 1] for segment in each.get_segments()]
        np.testing.assert_allclose(ends, np.stack([low, high], -1)[[0, 2], place])


def test_a_level_far_from_the_curves_is_named_at_the_edge_and_takes_no_room():
    data = plots_results.results().drop_vars("ceiling")
    low, high = (emergence.mean_curve(data).min().item(), emergence.mean_curve(data).max().item())
    for chance, drawn in ((low - 0.1, True), (low - 2 * (high - low), False)):
        ax = plots.plot_curves(data.assign(chance=chance))
        assert ("chance" in lines_of(ax)) == drawn
        said = [text.get_text() for text in ax.texts]
        assert said == ([] if drawn else [f"▼ chance {chance:.2f}".replace("-", "−")])
        assert drawn or ax.get_ylim()[0] > chance


def test_scores_of_several_tasks_have_axes_of_their_own(tmp_path):
    tasks = {
        f"/results/{name}/probe": plots_results.probe(plots_results.results()).assign_attrs(
            identity={"metric": "probe"}
        )
        for name in ("digits", "kinds")
    }
    figure = plots.figure_of_targets(xr.DataTree.from_dict(tasks), "probe", ["digits", "kinds"])
    one, other = figure.axes
    assert not one.get_shared_y_axes().joined(one, other)
    assert other.yaxis.get_tick_params()["labelleft"]


def test_a_failed_step_breaks_the_line_and_the_band_and_is_marked(with_halves):
    ax = plots.plot_curves(plots_results.without(with_halves, 10))
    for layer in LAYERS:
        drawn = lines_of(ax)[layer].get_ydata()
        assert np.isnan(drawn[2]) and np.isfinite(np.delete(drawn, 2)).all()
    np.testing.assert_array_equal(lines_of(ax)["step without data"].get_xdata(), [10])
    assert all(len(band.get_paths()) == 2 for band in ax.collections)


def test_failed_checkpoints_of_a_store_become_gaps(results):
    table = xr.Dataset(
        {"status": ("step", ["done", "failed", "pending", "done"])}, {"step": [0, 5, 7, 1000]}
    )
    checked = results.assign(checkpoint=("step", ["x"] * 5))
    tree = xr.DataTree.from_dict({"/checkpoints": table, "/results/t/ridge": checked})
    found = plots.results_of(tree, "t", "ridge")
    assert found["step"].to_numpy().tolist() == [0, 1, 5, 10, 100, 1000]
    assert bool(found["score"].sel(step=5).isnull().all())
    assert found.attrs == results.attrs


def test_neuroids_and_subjects_without_data_do_not_take_the_curve_with_them(with_halves):
    lost = with_halves["subject"] == "s1"
    gone = with_halves.assign({
        name: with_halves[name].where(~lost).assign_attrs(with_halves[name].attrs)
        for name in ("score", "resample_score")
    })  # fmt: skip
    curve, low, high, over = emergence.curve_and_band(gone)
    assert over == "stimuli and subjects"
    expected = emergence.mean_curve(with_halves.isel(neuroid=(~lost).to_numpy()))
    np.testing.assert_allclose(curve, expected, rtol=1e-12)
    assert np.isfinite(high - low).all()
    ax = plots.plot_curves(gone, hue="subject")
    assert "s1 (no data)" in lines_of(ax)
    nothing = with_halves.assign(score=with_halves["score"] * np.nan)
    nothing = nothing.drop_vars(["resample_score", "fold_score"])
    labels = [label for label in lines_of(plots.plot_curves(nothing)) if label.startswith("layer")]
    assert labels == [f"{layer} (no data)" for layer in LAYERS]


def test_without_an_untrained_network_the_axis_says_so(results):
    ax = plots.plot_curves(results.isel(step=slice(1, None)))
    assert ax.get_xlabel() == "Training step (no untrained network)"
    assert ax.get_xscale() == "log" and not ax.patches


def test_no_line_crosses_the_name_of_a_level_at_the_edge():
    data = plots_results.results()
    top = float(data["score"].mean("neuroid").max())
    data = data.drop_vars([name for name in data if name.startswith("resample")])
    close = data.assign(baseline=("neuroid", np.full(data.sizes["neuroid"], top + 0.01)),
                        ceiling=("neuroid", np.full(data.sizes["neuroid"], top + 9)))  # fmt: skip
    ax = plots.plot_curves(close)
    ax.figure.canvas.draw()
    (name,) = [text for text in ax.texts if "noise ceiling" in text.get_text()]
    (line,) = [line for line in ax.lines if "baseline" in str(line.get_label())]
    height = ax.transData.transform((1, line.get_ydata()[0]))[1]
    assert height < name.get_window_extent().y0


def test_a_legend_never_leaves_the_figure():
    data = plots_results.results()
    longer = data.assign_coords(neuroid=[f"a rather long name of component {i}" for i in range(8)])
    for hue in ("layer", "neuroid"):
        figure = plots.plot_curves(longer, hue=hue).figure
        figure.canvas.draw()
        (legend,) = figure.legends
        assert legend.get_window_extent().x0 >= 0
        assert legend.get_window_extent().x1 <= figure.bbox.x1


def test_a_sweep_gets_probes_and_matrices_of_steps_where_they_are(with_halves):
    near = xr.DataArray(
        np.eye(5)[None].repeat(3, 0),
        dims=("layer", "step", "step_other"),
        coords={"layer": LAYERS, "step": STEPS, "step_other": STEPS},
    )
    pairs = xr.DataArray(
        np.eye(3)[None].repeat(5, 0),
        dims=("step", "layer", "layer_other"),
        coords={"layer": LAYERS, "step": STEPS, "layer_other": LAYERS},
    )
    tree = xr.DataTree.from_dict(
        {
            "/results/t/ridge": with_halves,
            "/results/digits/probe": plots_results.probe(with_halves),
            "/results/self/cka": xr.Dataset({"similarity": near, "layer_similarity": pairs}),
        }
    )
    names = [drawing.name for drawing in plots.figures_of(tree, "ridge", ["t"])]
    assert names == ["emergence-ridge", "emergence-ridge-t", "probe-digits-ridge-t"]
    names = [drawing.name for drawing in plots.figures_of(tree, "ridge", ["t"], only=["all"])]
    assert names == [
        "emergence-ridge", "emergence-ridge-t", "heatmap-ridge-t", "best-layer-ridge-t",
        "order-ridge-t", "order-ridge-t-neuroids", "probe-digits-ridge-t",
    ]  # fmt: skip
    deep = with_halves.sel(layer=np.tile(LAYERS, 3)[:8])
    deep = deep.assign_coords(layer=[f"block{place}" for place in range(8)])
    of_many = xr.DataTree.from_dict({"/results/t/ridge": deep})
    names = [drawing.name for drawing in plots.figures_of(of_many, "ridge", ["t"])]
    assert names == ["emergence-ridge", "emergence-ridge-t", "heatmap-ridge-t"]
    matrices = list(plots.figures_of_steps(tree))
    assert [drawing.name for drawing in matrices] == ["steps-cka", "layers-cka"]
    assert [len(drawing.draw().axes) for drawing in matrices] == [3 + 1, 4 + 1]
    tasks = [drawing.name for drawing in plots.figures_of(tree, "probe", ["digits"], only=["all"])]
    assert tasks == [
        "emergence-probe", "heatmap-probe-digits", "best-layer-probe-digits", "order-probe-digits",
    ]  # fmt: skip
    short = xr.DataTree.from_dict(
        {path: tree[path].to_dataset().isel(step=[0]) for path in ("/results/t/ridge",)}
    )
    names = [drawing.name for drawing in plots.figures_of(short, "ridge", ["t"])]
    assert names == ["layers-ridge-scores"]  # of one network


@pytest.mark.parametrize(
    "low, high, shown", [(1, 1e5, [1, 10, 100, 1000, 1e4, 1e5]), (30, 420, [50, 100, 200])]
)
def test_a_colour_bar_of_steps_has_labels_that_do_not_touch(low, high, shown):
    ax = plots.plot_brain_task(
        *(
            each.assign_coords(step=np.geomspace(low, high, 6))
            for each in (plots_results.results(), plots_results.probe(plots_results.results()))
        )
    )
    bar = ax.figure.axes[1]
    assert bar.yaxis.get_ticklocs().tolist() == shown
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in bar.get_yticklabels(which="both")]
    boxes = sorted((box for box in boxes if box.width), key=lambda box: box.y0)
    assert all(one.y1 < other.y0 for one, other in pairwise(boxes))


def test_many_neuroids_are_drawn_by_region():
    data = plots_results.results(neuroids=16)
    tree = xr.DataTree.from_dict({"/results/t/ridge": data})
    tree["results/t/ridge"].attrs["simulated"] = 1
    found = {
        drawing.name: drawing.draw()
        for drawing in plots.figures_of(tree, "ridge", ["t"], only=["all"])
    }
    names = list(found)
    for figure in found.values():
        words = [figure.get_suptitle(), *(ax.get_title() for ax in figure.axes)]
        assert any("simulated brain" in word for word in words)
    assert {"emergence-ridge-t-regions", "order-ridge-t-regions"} <= set(names)


def test_of_many_layers_every_one_is_drawn_and_some_are_in_the_legend():
    data = plots_results.results()
    many = xr.concat([data] * 8, "layer", data_vars="minimal")
    many = many.assign_coords(layer=[f"layer{place}" for place in range(24)])
    ax = plots.plot_curves(many)
    drawn = [line.get_label() for line in ax.get_lines() if "layer" in line.get_label()]
    assert [label.strip("_") for label in drawn if "all" not in label] == list(many["layer"].values)
    (legend,) = ax.figure.legends
    named = [text.get_text() for text in legend.get_texts() if text.get_text().startswith("layer")]
    assert named == [f"layer{place}" for place in range(0, 24, 3)]


def test_a_dollar_in_a_name_begins_no_formula(tmp_path, results):
    named = results.assign_coords(neuroid=["a$\\frac{$", *map(str, range(7))])
    plots.save(plots.plot_curves(named, neuroid="a$\\frac{$").figure, tmp_path / "curve")
    assert (tmp_path / "curve.png").stat().st_size > 2000


def test_a_level_that_another_panel_makes_room_for_is_drawn_and_not_named_at_the_edge():
    _, axes = plt.subplots(1, 3, sharey=True)
    for ax, low, level in zip(axes, (0.1, 0.7, 0.1), (0.85, 0.85, 5.0)):
        ax.plot([0, 1], [low, low + 0.1])
        style.draw_level(ax, level, text="noise ceiling", limits=(low, low + 0.1), color="k")
    assert [len(ax.texts) for ax in axes] == [1, 0, 1]
    style.within_shared(axes)
    assert [len(ax.texts) for ax in axes] == [0, 0, 1]  # the third is beyond them all
    assert axes[0].lines[-1].get_ydata()[0] == 0.85
    assert axes[0].get_legend_handles_labels()[1] == ["noise ceiling"]
    plt.close("all")
