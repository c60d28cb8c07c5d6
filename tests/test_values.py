"""Another value in the place of the score: r^2, and r^2 over the reliability of responses."""

import matplotlib.pyplot as plt
import numpy as np
import plots_results
import pytest
import report_store
import xarray as xr

import dynamics.accessor  # noqa: F401
from dynamics import (
    emergence,
    plots,
    report,
    store,
    sweep,
)
from dynamics.analysis import values
from dynamics.config import validate
from dynamics.report import findings, tables


def encoded(**options) -> xr.Dataset:
    """Results with every value; some correlations below zero, a neuroid without reliability."""
    data = plots_results.of_one_subject(**options)
    score = data["score"].copy()
    score[0, :, 0] = -0.3
    reliability = xr.DataArray(np.linspace(0.5, 0.9, score.sizes["neuroid"]), dims="neuroid")
    reliability[-1] = np.nan
    r2 = score.clip(min=0) ** 2
    untrained = xr.DataArray(np.full((2, 3, 8), 0.2), dims=("control", "layer", "neuroid"))
    null = 0.1 * np.random.default_rng(1).standard_normal((6, 3, 9, 8))
    return data.assign(
        score=score,
        r2=r2,
        r2_corrected=r2 / reliability,
        baseline_r2=data["baseline"] ** 2,
        baseline_r2_corrected=data["baseline"] ** 2 / reliability,
        untrained_score=untrained,
        untrained_r2=untrained**2,
        fold_score=score.expand_dims(split=2),
        null_score=(("step", "layer", "permutation", "neuroid"), null),
        p_value=score * 0 + 0.1,
    )


@pytest.mark.parametrize("value", ["r2", "r2_corrected"])
def test_statistics_are_those_of_the_values_own_curve(value):
    data = encoded()
    # The average of quotients is that of their numerators over that of their divisors.
    weights = (data["r2"] / data[value]).isel(step=-1, layer=-1)
    curve = (data[value] * weights).sum("neuroid") / weights.sum()
    xr.testing.assert_allclose(data.dynamics.curves(value=value), curve.rename("score"))
    found = data.dynamics.half_time(value=value)["estimate"]
    np.testing.assert_allclose(found, emergence.half_time(curve), rtol=1e-12)
    assert (found != data.dynamics.half_time()["estimate"]).any()
    shown = values.of(data, value)
    own = (data[f"baseline_{value}"] * weights).sum() / weights.sum()
    assert emergence.level(shown, "baseline") == pytest.approx(float(own), abs=1e-12)
    assert "fold_score" not in shown and shown.attrs["value"] == value
    np.testing.assert_array_equal(shown["score"], data[value])


def test_resamples_are_squared_neuroid_by_neuroid_before_means_are_taken():
    data = encoded()
    found = data.dynamics.resampled(value="r2")
    each = emergence.squared(data["score"], data["resample_score"])
    xr.testing.assert_allclose(found, each.mean("neuroid").rename(found.name))
    assert found.attrs["correlation"] == 0 and found.attrs["paired"] == 1
    mean = emergence.squared(
        data["score"].mean("neuroid"),
        data["resample_score"].mean("neuroid").assign_attrs(data["resample_score"].attrs),
    )
    assert abs(found - mean).max() > 1e-3
    limits = data.dynamics.half_time(value="r2")
    assert (limits["lower"] <= limits["upper"]).all()


def test_squared_resamples_speak_of_the_variance_of_r2():
    """Of r with a standard error s, r^2 has one of 2 r s to first order."""
    rng = np.random.default_rng(0)
    r, s, pairs = 0.6, 0.01, 4000
    off = s * rng.standard_normal(pairs)  # deviations of halves are those of all, times sqrt 2
    again = np.stack([0.5 + off, 0.5 - off], 1).ravel() + 0.0
    attrs = emergence.scheme("halves", n=2, kept=1, resamples=2).attrs
    resampled = xr.DataArray(again, dims="resample", attrs=attrs)
    found = emergence.squared(xr.DataArray(r), resampled)
    scheme = emergence.Scheme.of(found)
    of_r = float(emergence.Scheme.of(resampled).error(resampled))
    # Deviations of r shrink with 1 - r^2 from the level of halves to that of all stimuli.
    wanted = 2 * r * of_r * (1 - r**2) / (1 - 0.5**2)
    assert float(scheme.error(found)) == pytest.approx(wanted, rel=0.01)
    assert float(found.mean()) == pytest.approx(r**2, abs=1e-3)
    below = emergence.squared(xr.DataArray(-0.6), resampled - 1.1)
    assert (below == 0).all()


def test_means_of_groups_are_the_values_own():
    data = encoded().drop_vars("resample_score")
    shape = ("resample", "step", "layer", "group")
    rng = np.random.default_rng(2)
    own = {name: rng.random((6, 6, 3, 1)) for name in ("resample_mean", "r2_resample_mean")}
    attrs = emergence.scheme("halves", n=2, kept=1, resamples=2).attrs
    data = data.assign(
        **{name: (shape, each, attrs) for name, each in own.items()},
        resample_count=(shape, np.full((6, 6, 3, 1), 8)),
        r2_resample_count=(shape, np.full((6, 6, 3, 1), 8)),
        group_of_neuroid=("neuroid", np.zeros(8, int)),
        group_size=("group", [8]),
    )
    found = data.dynamics.resampled(value="r2")
    np.testing.assert_allclose(found, own["r2_resample_mean"][..., 0])
    lacking = values.of(data.drop_vars(["r2_resample_mean", "r2_resample_count"]), "r2")
    assert lacking.dynamics.resampled() is None
    with pytest.raises(ValueError, match="resamples of `r2` are not kept"):
        lacking.dynamics.order()


def test_shuffles_and_ceilings_are_in_the_unit_of_the_value():
    data = encoded()
    shown = values.of(data, "r2")
    np.testing.assert_allclose(shown["null_score"], data["null_score"].clip(min=0) ** 2)
    at = shown["p_value"].isel(step=0, neuroid=0)
    assert (at == 1).all() and (shown["p_value"].isel(step=-1) == data["p_value"][-1]).all()
    np.testing.assert_allclose(shown["ceiling"], 0.81)
    assert (values.of(data, "r2_corrected")["ceiling"] == 1).all()
    fraction = data.dynamics.ceiling_fraction(value="r2")["estimate"]
    last = data["r2"].mean("neuroid")[-1]
    np.testing.assert_allclose(fraction, last / 0.81)


def test_figures_draw_the_value_and_name_it():
    data = encoded()
    ax = plots.plot_curves(data, value="r2")
    assert ax.get_ylabel() == "Encoding score (r²)"
    top = max(line.get_ydata().max() for line in ax.lines if len(line.get_ydata()) == 6)
    assert top == pytest.approx(float(data["r2"].mean("neuroid").max()), abs=1e-9)
    label = " ".join(plots.plot_curves(data, value="r2_corrected").get_ylabel().split())
    assert label == "Encoding score (r², noise-corrected)"
    meshes = plots.plot_heatmap(data, value="r2").collections
    drawn = max(
        float(np.nanmax(each.get_array())) for each in meshes if each.get_array() is not None
    )
    assert drawn == pytest.approx(float(data["r2"].mean("neuroid").max()))
    task = plots_results.probe(data)
    assert (
        plots.plot_brain_task(data, task, value="r2").get_ylabel().startswith("Encoding score (r²)")
    )
    for draw in (plots.plot_order, plots.plot_best_layer):
        draw(data, value="r2")
    plots.plot_models({"one": data}, value="r2")
    plt.close("all")


def test_a_metric_without_the_value_says_what_there_is():
    for content, words in (
        ({"value": "r2"}, "metric 'rsa' has no value 'r2': there is `score`;"),
        ({"metrics": ["ridge"], "value": "r3"}, "`score` or `r` or `r2` or `r2_corrected`"),
        ({"metrics": ["ridge"], "value": {"rigde": "r2"}}, "`value` names the metric 'rigde'"),
        (
            {
                "metrics": [{"name": "ridge", "arguments": {"protocol": "pepino"}}],
                "value": "r2_corrected",
            },
            "by the pepino protocol has no value",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            sweep.check_names(_sweep("nowhere.zarr", **content))
    sweep.check_names(_sweep("nowhere.zarr", value={"ridge": "r2"}))
    sweep.check_names(_sweep("nowhere.zarr", metrics=["ridge"], value="r"))
    with pytest.raises(ValueError, match="not repeated"):
        values.of(encoded().drop_vars("r2_corrected"), "r2_corrected")
    with pytest.raises(ValueError, match="are of `r2` already"):
        encoded().pipe(values.of, "r2").pipe(values.of, "r2_corrected")
    with pytest.raises(ValueError, match="analyzed with value"):
        plots.stack({"one": encoded(), "other": values.of(encoded(), "r2")})


@pytest.mark.slow
@pytest.mark.slow
def test_console_and_report_have_the_numbers_of_the_value(tmp_path):
    place = report_store.make(tmp_path / "run.zarr", nulls=9)
    data = store.open(place)["results/cortex/ridge"].to_dataset().load()
    curve = (data["score"].clip(min=0) ** 2).mean("neuroid")
    plan = _sweep(place, value={"ridge": "r2"})
    table = sweep.half_times(plan).query("metric == 'ridge'").set_index("layer")
    assert set(table["value"]) == {"r2"}
    wanted = emergence.half_time(curve)
    for layer in table.index:
        assert table["final"][layer] == pytest.approx(float(curve.sel(layer=layer)[-1]))
        np.testing.assert_equal(table["half_time"][layer], float(wanted.sel(layer=layer)))
    tree = values.of_tree(store.open(place), {"ridge": "r2"})
    (first, _), *_ = found = [(r, findings.curves_of(r)) for r in findings.results_of(tree)[0]]
    assert first.shown == "ridge (r²)" and len(found) == 2
    np.testing.assert_allclose(found[0][1][0].statistics["final"], curve[-1])
    assert tables.glance(found)[0]["metric"] == "ridge (r²)"
    page = report.write(place, output=tmp_path / "r.html", value={"ridge": "r2"}).read_text()
    assert "What is shown of “ridge” is r²" in page and "By ridge (r²)" in page
    assert "Encoding score (Pearson r)" not in page
    plain = report.write(place, output=tmp_path / "s.html").read_text()
    assert "(r²)" not in plain


def _sweep(place, **changes):
    content = {
        "run": "run",
        "store": str(place),
        "checkpoints": "nowhere",
        "model": "encodecmae",
        "stimuli": "synthetic",
        "targets": [{"name": "simulated", "label": "cortex"}],
    }
    return validate(content | changes, origin="test")
