import numpy as np
import pytest
import xarray as xr
from plots_results import LAYERS, STEPS, of_one_subject, results, without

from dynamics import emergence, plots
from dynamics.emergence.aggregate import average


def drawn(ax):
    """Points and their intervals by row, from the lines of a forest plot."""
    points = {
        float(line.get_ydata()[0]): float(line.get_xdata()[0])
        for line in ax.get_lines()
        if line.get_marker() == "o"
    }
    spans = {
        float(line.get_ydata()[0]): tuple(line.get_xdata())
        for line in ax.get_lines()
        if len(line.get_xdata()) == 2
    }
    arrows = [float(line.get_ydata()[0]) for line in ax.get_lines() if line.get_marker() == ">"]
    return points, spans, arrows


def test_the_order_shows_half_times_and_limits_of_the_statistics():
    data = results()
    ax = plots.plot_order(data)
    curve, resampled, _ = emergence.resampled_curve(data)
    found = emergence.interval(curve, resampled).sortby("estimate")
    points, spans, _ = drawn(ax)
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert names == [str(name) for name in found["layer"].to_numpy()]
    for row, name in enumerate(names):
        one = found.sel(layer=name)
        assert points[row] == pytest.approx(float(one["estimate"]))
        np.testing.assert_allclose(spans[row], (one["lower"], one["upper"]))


def test_regions_come_in_order_for_the_layer_that_ends_best():
    data = results()
    late = data["score"].where(data["region"] == "core", data["score"].shift(step=1).fillna(0.1))
    ax = plots.plot_order(data.assign(score=late), by="region")
    assert [text.get_text() for text in ax.get_yticklabels()] == ["core", "belt"]
    assert "layer1" in ax.get_title()


def forest(estimate, lower, upper, status):
    return xr.Dataset(
        {
            "estimate": ("layer", np.array(estimate, float)),
            "lower": ("layer", np.array(lower, float)),
            "upper": ("layer", np.array(upper, float)),
        },
        coords={"layer": LAYERS, "status": ("layer", status)},
        attrs={"statistic": "half_time", "confidence": 0.95},
    )


def test_open_intervals_are_arrows_and_what_is_not_reached_has_no_point():
    found = forest(
        [50, 20, np.nan], [10, 15, 300], [np.inf, 40, np.inf], ["reached", "reached", "not reached"]
    )
    ax = plots.plot_intervals(found, steps=STEPS)
    points, spans, arrows = drawn(ax)
    assert points == {0.0: 20.0, 1.0: 50.0}
    assert arrows == [1.0, 2.0]
    assert spans[1.0] == (10, pytest.approx(ax.get_xlim()[1]))
    assert spans[2.0][0] == 300
    assert [text.get_text() for text in ax.texts] == ["not reached"]
    hollow = [line for line in ax.get_lines() if line.get_markerfacecolor() == "white"]
    assert [line.get_ydata()[0] for line in hollow] == [1]


def test_without_resamples_there_are_points_and_no_claim_of_intervals():
    ax = plots.plot_order(results().drop_vars("resample_score"))
    points, spans, arrows = drawn(ax)
    assert len(points) == 3 and not spans and not arrows
    assert "intervals" not in ax.get_xlabel()


def test_one_step_alone_has_no_half_time_and_says_so():
    ax = plots.plot_order(results().isel(step=[0]))
    assert [text.get_text() for text in ax.texts] == ["one step only"] * 3


def test_a_statistic_that_is_no_step_is_refused():
    with pytest.raises(ValueError, match="'gain' is not a step: use one of half_time"):
        plots.plot_order(results(), statistic="gain")
    with pytest.raises(ValueError, match="select all but one"):
        plots.plot_intervals(xr.Dataset({"estimate": (("a", "b"), np.ones((2, 2)))}), steps=STEPS)


def of_label(ax, label):
    (found,) = [line for line in ax.get_lines() if line.get_label() == label]
    return found


def test_the_best_layer_is_drawn_over_those_that_may_be_and_the_drift_is_told():
    data = of_one_subject()
    ax = plots.plot_best_layer(data)
    curve, resampled, _ = emergence.resampled_curve(data)
    found = emergence.best_layer(curve, resampled)
    np.testing.assert_array_equal(of_label(ax, "best layer").get_ydata(), found["best"])
    np.testing.assert_allclose(of_label(ax, "centre of the profile").get_ydata(), found["centre"])
    shade = ax.collections[-1].get_array().reshape(3, 5)
    np.testing.assert_allclose(shade, found["may"].transpose("layer", "step")[:, 1:])
    told = f"{float(found['slope']):+.2f} [{float(found['lower']):+.2f}".replace("-", "−")
    assert told in ax.get_title()


def test_a_failed_step_has_no_best_layer_and_is_marked():
    ax = plots.plot_best_layer(without(results(), 100))
    best = of_label(ax, "best layer").get_ydata()
    assert np.isnan(best[3]) and np.isfinite(np.delete(best, 3)).all()
    np.testing.assert_array_equal(of_label(ax, "step without data").get_xdata(), [100])


def test_one_step_and_no_resamples_still_have_a_best_layer():
    assert of_label(plots.plot_best_layer(results().isel(step=[5])), "best layer").get_ydata() == 1
    ax = plots.plot_best_layer(results().drop_vars("resample_score"))
    assert (of_label(ax, "best layer").get_ydata()[3:] == 1).all()


@pytest.mark.slow
@pytest.mark.parametrize("people, over", [(False, "stimuli"), (True, "stimuli and subjects")])
def test_a_forest_and_a_drift_say_what_their_intervals_are_over(people, over):
    data = results() if people else results().drop_vars("subject")
    assert f"(lines: 95 % over {over})" in plots.plot_order(data).get_xlabel()
    # Four people are too few to tell a drift by.
    ax = plots.plot_best_layer(data)
    assert (ax.get_title() == "") == people
    legend = ax.figure.legends[0].get_title().get_text()
    assert legend.startswith(f"drift and grey layers: 95 % over {over}\n(other sounds")
    by_region = plots.plot_order(data, by="region", confidence=0.9)
    assert f"(lines: 90 % over {over})" in by_region.get_xlabel()
    # The limits are those of the resamples that the words name.
    pair = [average(data[name], by="subject" if people else None).assign_attrs(data[name].attrs)
            for name in ("score", "resample_score")]  # fmt: skip
    found = emergence.interval(*(emergence.with_subjects(*pair) if people else pair))
    spans = drawn(plots.plot_order(data))[1]
    np.testing.assert_allclose(sorted(low for low, _ in spans.values()), np.sort(found["lower"]))


def test_groups_of_too_few_subjects_are_compared_over_stimuli_alone():
    data = results()
    few = data.assign_coords(region=("neuroid", ["core"] * 6 + ["belt"] * 2))
    assert "(lines: 95 % over stimuli)" in plots.plot_order(few, by="region").get_xlabel()
