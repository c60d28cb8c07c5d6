"""What has no interval says why: figures, statistics, and scores that cannot be compared."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from plots_results import of_one_subject, probe

import dynamics.accessor  # noqa: F401
from dynamics import emergence, plots
from dynamics.emergence.correlations import WITHIN_ONE_RUN
from dynamics.emergence.remarks import briefly
from dynamics.probes import overall

WHYS = {
    "none asked for": (
        "the sweep has `resamples: 0`; for intervals set `resamples: 50`, and give the metric a "
        "`label` of its own",
        "the sweep has `resamples: 0`",
    ),
    "none by this metric": (
        "the dimensions that can be seen depend on how many stimuli there are; compare several",
        "the dimensions that can be seen depend on how many stimuli there are",
    ),
    "not kept": (
        "resamples of `r2` are not kept, those of `score` are: show `score`, or other things",
        "resamples of `r2` are not kept, those of `score` are",
    ),
}


def bare(why):
    found = of_one_subject().drop_vars("resample_score")
    return found.assign_attrs(no_intervals=why)


def below(ax):
    return " ".join(ax.figure.legends[0].get_title().get_text().split())


@pytest.mark.parametrize("case", WHYS)
def test_figures_say_in_their_margin_why_there_are_no_limits(case):
    why, short = WHYS[case]
    assert briefly(why) == short
    found = bare(why)
    assert below(plots.plot_curves(found)) == f"no limits: {short}"
    assert below(plots.plot_models({"a": found})) == f"no limits: {short}"
    assert below(plots.plot_brain_task(found, probe(found))) == f"no limits: {short}"
    order = " ".join(plots.plot_order(found).get_xlabel().split())
    assert f"(no limits: {short})" in order
    assert below(plots.plot_best_layer(found)) == f"no limits: {short}"
    plt.close("all")


def test_figures_with_limits_say_over_what_as_before():
    assert below(plots.plot_curves(of_one_subject())) == (
        "bands: 95 % over stimuli (other sounds of these categories, in these people, this network "
        "only)"
    )


def test_one_step_is_no_curve_and_the_order_says_so():
    label = plots.plot_order(of_one_subject().isel(step=[2])).get_xlabel()
    assert "one step is no curve" in label


def test_statistics_without_limits_say_why():
    why = WHYS["none asked for"][0]
    for name in ("half_time", "gain", "plateau", "peak", "decline", "area", "summarize"):
        found = getattr(bare(why).dynamics, name)()
        assert found.attrs["no_intervals"] == why, name
        assert "no_intervals" not in getattr(of_one_subject().dynamics, name)().attrs, name


def tree(scores):
    named = {"step": [0, 10], "layer": ["l0", "l1"]}
    each = {f"/results/{task}/probe": xr.Dataset({"score": (("step", "layer"), x)}, named)
            for task, x in scores.items()}  # fmt: skip
    return xr.DataTree.from_dict(each)


def test_an_overall_score_of_one_run_is_refused_over_models():
    rng = np.random.default_rng(0)
    runs = {f"m{i}": tree({"x": i + rng.random((2, 2))}) for i in range(5)}
    brain = xr.DataArray(np.arange(5.0), dims="model")
    own = [overall(each).isel(step=-1, layer=0, drop=True) for each in runs.values()]
    task = xr.concat(own, "model")
    for ask in (
        lambda: emergence.correlate(brain, task, dim="model"),
        lambda: plots.plot_brain_task_models(brain, task),
    ):
        with pytest.raises(ValueError, match="mean is 0 whatever the model: make one of all"):
            ask()
    together = overall(runs).isel(step=-1, layer=0, drop=True).rename(run="model")
    together = together.drop_vars("model")
    assert float(emergence.correlate(brain, together, dim="model")["r"][0]) > 0.9


def test_one_run_by_name_is_one_run():
    found = overall({"only": tree({"x": np.array([[0.1, 0.2], [0.3, 0.6]])})})
    assert found.attrs["zscored_over"] == WITHIN_ONE_RUN
    assert "its mean is 0 whatever the model" in found.attrs["description"]
