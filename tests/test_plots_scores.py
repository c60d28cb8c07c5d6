import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import PathCollection
from plots_results import STEPS, of_one_subject, probe, results, without
from scipy import stats

from dynamics import emergence, plots


def points_of(ax):
    return [c.get_offsets() for c in ax.collections if isinstance(c, PathCollection)]


def test_brain_against_task_shows_every_step_and_both_correlations():
    data = results()
    task = probe(data, noise=0.05)
    ax = plots.plot_brain_task(data, task)
    x = task["score"].sel(layer="layer1")
    y = data["score"].sel(layer="layer1").groupby("subject").mean("neuroid").mean("subject")
    untrained, trained = points_of(ax)
    np.testing.assert_allclose(untrained, [[x[0], y[0]]])
    np.testing.assert_allclose(trained, np.column_stack([x[1:], y[1:]]))
    found = emergence.correlate(y, x)
    told = ax.get_title(loc="left").splitlines()
    assert told[0].startswith(f"r = {float(found['r'][0]):.2f}")
    assert told[1].startswith(f"step partialled out: {float(found['r'][1]):.2f}")
    assert "layer1" in ax.get_ylabel()


def test_step_is_the_colour_on_a_logarithmic_scale():
    ax = plots.plot_brain_task(results(), probe(results()))
    bar = ax.figure.axes[1]
    assert bar.get_ylabel() == "Training step" and bar.get_yscale() == "log"
    assert bar.get_ylim() == pytest.approx((1, 10000))
    colours = [c for c in ax.collections if isinstance(c, PathCollection)][1].get_facecolors()
    assert len(np.unique(colours, axis=0)) == len(STEPS) - 1


def test_steps_in_common_are_taken_and_three_are_too_few_to_correlate():
    data = results()
    ax = plots.plot_brain_task(data, probe(data).isel(step=[1, 3, 5]))
    assert [len(points) for points in points_of(ax)] == [3]
    assert "3 steps: too few" in ax.get_title(loc="left")
    with pytest.raises(ValueError, match="no step in common"):
        plots.plot_brain_task(data.isel(step=[0]), probe(data).isel(step=[1]))


def test_a_failed_step_is_no_point():
    data = without(results(), 100)
    ax = plots.plot_brain_task(data, probe(results()))
    heights = points_of(ax)[1][:, 1]
    assert np.isnan(np.ma.filled(heights, np.nan)).sum() == 1


def test_models_are_points_with_names_and_a_correlation():
    rng = np.random.default_rng(0)
    names = [f"m{i}" for i in range(5)]
    brain, task = (
        xr.DataArray(rng.random(5), dims="model", coords={"model": names}) for _ in range(2)
    )
    ax = plots.plot_brain_task_models(brain, task)
    assert [line.get_label() for line in ax.get_lines()] == names
    r = np.corrcoef(brain, task)[0, 1]
    p = stats.pearsonr(brain, task).pvalue
    assert ax.get_title(loc="left") == f"r = {r:.2f} (p = {p:.2g}, 5 models)"
    with pytest.raises(ValueError, match="give one score a model"):
        plots.plot_brain_task_models(results()["score"], task)


def test_bars_have_the_height_of_the_last_step_with_levels_and_limits():
    data = results()
    weaker = data.assign(score=data["score"] / 2)
    ax = plots.plot_models({"a": data, "b": weaker}, layer="layer1")
    curve, low, high, _ = emergence.curve_and_band(data.sel(layer="layer1"))
    heights = [bar.get_height() for bar in ax.patches]
    assert heights == pytest.approx([float(curve[-1]), float(curve[-1]) / 2])
    lines = [tuple(line.get_ydata()) for line in ax.get_lines()]
    assert any(line == pytest.approx((float(low[-1]), float(high[-1]))) for line in lines)
    labels = {line.get_label(): line.get_ydata()[0] for line in ax.get_lines()}
    assert labels["noise ceiling"] == pytest.approx(0.9)
    assert labels["spectrotemporal baseline"] == pytest.approx(0.7)
    assert labels["untrained"] == pytest.approx(float(curve[0]))
    assert ax.get_xticklabels()[0].get_text().startswith("a\nlayer1\nstep 10,000")


def test_points_are_subjects_where_there_are_several_else_components():
    data = results().sel(layer="layer1")

    def points(results):
        ax = plots.plot_models({"a": results})
        return next(line.get_ydata() for line in ax.get_lines() if line.get_markersize() == 2.8)

    np.testing.assert_allclose(
        points(data), np.sort(data["score"][-1].groupby("subject").mean()), rtol=1e-12
    )
    np.testing.assert_allclose(points(data.drop_vars("subject")), np.sort(data["score"][-1]))


def test_the_step_of_a_bar_may_be_named_or_the_best():
    data = results().sel(layer="layer1")
    higher = data.assign(score=data["score"] + 0.5 * (data["step"] == 100))
    curve = emergence.mean_curve(higher)
    assert plots.plot_models({"a": higher}, step="best").patches[0].get_height() == pytest.approx(
        float(curve.max())
    )
    assert plots.plot_models({"a": higher}, step=10).patches[0].get_height() == pytest.approx(
        float(curve.sel(step=10))
    )
    # The last step that has a score, where the very last one failed.
    last = plots.plot_models({"a": without(higher, 10000)})
    assert "step 1,000" in last.get_xticklabels()[0].get_text()


def test_models_without_scores_or_steps_are_refused():
    data = results()
    with pytest.raises(ValueError, match="no model to draw"):
        plots.plot_models({})
    with pytest.raises(ValueError, match="model 'a' has no step 7"):
        plots.plot_models({"a": data}, step=7)
    with pytest.raises(ValueError, match="model 'a' has no scores"):
        plots.plot_models({"a": without(data, *STEPS)})


def legend_title(figure):
    (legend,) = figure.legends
    return legend.get_title().get_text()


@pytest.mark.parametrize("attrs, over", [({}, "test sounds"), ({"over": "tasks"}, "tasks")])
def test_limits_of_a_probe_are_over_what_its_resamples_say(attrs, over):
    data = of_one_subject()
    scheme = data["resample_score"].attrs
    again = data["resample_score"].mean("neuroid").assign_attrs(scheme | attrs)
    task = probe(data).assign(resample_score=again)
    task.attrs["identity"] = {"metric": "probe", "task": "digits"}
    assert legend_title(plots.plot_curves(task).figure).startswith(
        f"bands: 95 % over {over}\n(other "
    )
    assert f"(lines: 95 % over {over})" in plots.plot_order(task).get_xlabel()
    ax = plots.plot_brain_task(data, task)
    told = f"grey lines: 95 % over stimuli upwards,\n{over} across"
    assert legend_title(ax.figure).startswith(f"{told}\n(other ")


def test_panels_whose_bands_are_over_different_things_each_say_so():
    people, one = results(), of_one_subject()
    tree = xr.DataTree.from_dict({"/results/a/ridge": people, "/results/b/ridge": one})
    figure = plots.figure_of_targets(tree, "ridge", ["a", "b"])
    titles = [ax.get_title() for ax in figure.axes if ax.get_visible()]
    assert titles == ["a\n95 % over stimuli and subjects", "b\n95 % over stimuli"]
    told = legend_title(figure)
    assert "over stimuli and subjects: other sounds of these categories and other people" in told
    assert "over stimuli: other sounds of these categories, in these people" in told
