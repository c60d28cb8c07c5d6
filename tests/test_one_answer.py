"""A quantity that the command line, the accessor and the figures state is the same in all."""

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from plots_results import LAYERS, results

import dynamics.accessor  # noqa: F401
from dynamics import emergence, plots, sweep
from dynamics.cli.sweeps import _when
from dynamics.emergence import best_layers
from dynamics.emergence.parts import curves_by
from dynamics.report import findings, narrative, orders, tables


def uneven():
    """One subject has most neuroids, and rises late and in another layer than the others."""
    found = results(neuroids=12)
    subjects = ["s0", "s1", "s2", *["s3"] * 9]
    found = found.assign_coords(subject=("neuroid", subjects))
    late = xr.DataArray([0.0, 0.0, 0.1, 0.1, 0.1, 0.3], dims="step", coords={"step": found["step"]})
    own = (found["subject"] == "s3") * late * (found["layer"] == "layer0")
    for name in ("score", "resample_score"):
        attrs = found[name].attrs
        found[name] = (found[name] + own).transpose(*found[name].dims).assign_attrs(attrs)
    return found


def with_controls(found):
    level = found["score"].isel(step=0, drop=True)
    return found.isel(step=slice(3, None)).assign(
        untrained_score=xr.concat([level - 0.01, level + 0.01], "control")
    )


def table_of(found, monkeypatch):
    tree = {"results/brain/ridge": SimpleNamespace(to_dataset=lambda: found)}
    monkeypatch.setattr(sweep.findings.store, "open", lambda place: tree)
    monkeypatch.setattr(sweep.findings, "probed", lambda *_: [])
    monkeypatch.setattr(sweep.findings.analysis, "applies", lambda *_: True)
    one = SimpleNamespace(
        place="", targets=[SimpleNamespace(label="brain")], metrics=[SimpleNamespace(label="ridge")]
    )
    return sweep.half_times(one).set_index("layer")


def test_a_region_is_averaged_within_each_subject_first_by_every_route():
    found = uneven()
    by_hand = xr.concat(
        [
            found["score"][:, :, found["region"].to_numpy() == name]
            .groupby("subject").mean("neuroid").mean("subject")
            for name in ("belt", "core")
        ],
        xr.DataArray(["belt", "core"], dims="region", name="region"),
    )  # fmt: skip
    curve = found.dynamics.curves(by="region")
    np.testing.assert_allclose(curve, by_hand.transpose(*curve.dims), atol=1e-14)
    drawn, _, _ = curves_by(found, by="region", layer="layer0")
    chosen = curve.sel(layer="layer0").sel(region=drawn["region"]).transpose(*drawn.dims)
    np.testing.assert_allclose(drawn, chosen, atol=1e-14)
    when = emergence.half_time(curve)
    assert np.isfinite(when).any()
    np.testing.assert_allclose(found.dynamics.half_time(by="region")["estimate"], when)


@pytest.mark.parametrize("controls", [False, True])
def test_the_command_lines_table_says_what_the_accessor_says(monkeypatch, controls):
    found = with_controls(uneven()) if controls else uneven()
    table = table_of(found, monkeypatch)
    when = found.dynamics.half_time(over="both")
    layers = when["layer"].to_numpy()
    np.testing.assert_allclose(table.loc[layers, "half_time"], when["estimate"])
    np.testing.assert_allclose(table.loc[layers, "low"], when["lower"])
    np.testing.assert_allclose(table.loc[layers, "high"], when["upper"])
    gain = found.dynamics.gain()["estimate"]
    np.testing.assert_allclose(table["final"] - table["untrained"], gain, atol=1e-12)
    assert list(table["status"]) == when["status"].to_numpy().tolist()


def test_a_first_trained_checkpoint_is_never_called_untrained(monkeypatch):
    table = table_of(uneven().isel(step=slice(2, None)), monkeypatch)
    assert table["untrained"].isna().all() and table["half_time"].notna().any()
    assert _when(np.nan, np.nan, np.nan, "one step only") == "one step only"


def test_comparisons_and_orders_count_from_the_controls_as_half_times_do():
    found = with_controls(uneven())
    when = found.dynamics.half_time()["estimate"]
    np.testing.assert_allclose(found.dynamics.order()["estimate"], when)
    pairs = found.dynamics.compare()
    for place in range(pairs.sizes["pair"]):
        one, other = (
            float(when.sel(layer=str(pairs[name][place].item()))) for name in ("first", "second")
        )
        decades = np.log10(1 + other) - np.log10(1 + one)
        assert float(pairs["difference"][place]) == pytest.approx(decades)
    assert pairs.attrs["baseline"].startswith("mean score of 2 untrained")


def test_the_best_layer_of_figures_is_that_of_the_mean_over_subjects():
    found = uneven()
    mean = found.dynamics.curves().isel(step=-1)
    pooled = found["score"].mean("neuroid").isel(step=-1)
    best = str(mean["layer"].to_numpy()[int(mean.argmax("layer"))])
    assert int(mean.argmax("layer")) != int(pooled.argmax("layer"))
    assert best_layers.pick_layer(found)[1] == best


def rings_of(ax):
    return sorted(r.get_xdata()[0] for r in ax.get_lines() if r.get_label() == "_half-time")


def reported(found):
    return findings.mean_of(findings.Result("brain", "ridge", found))


@pytest.mark.parametrize("controls", [False, True])
@pytest.mark.guards(7)
def test_table_accessor_figures_and_report_give_one_answer(monkeypatch, controls):
    found = with_controls(uneven()) if controls else uneven()
    when = found.dynamics.half_time(over="both").sel(layer=LAYERS)
    gain = found.dynamics.gain(over="both").sel(layer=LAYERS)
    table = table_of(found, monkeypatch).loc[LAYERS]
    curve = reported(found)
    said = curve.statistics.sel(layer=LAYERS)
    drawn = emergence.bands_by(found).sel(layer=LAYERS)
    for side, name in (("estimate", ""), ("lower", "_lower"), ("upper", "_upper")):
        np.testing.assert_allclose(said[f"half_time{name}"], when[side], rtol=1e-9)
        np.testing.assert_allclose(said[f"gain{name}"], gain[side], atol=1e-12)
    np.testing.assert_allclose(table["half_time"], when["estimate"])
    np.testing.assert_allclose(rings_of(plots.plot_curves(found)), sorted(when["estimate"]))
    rows = plots.plot_order(found)
    points = [line.get_xdata()[0] for line in rows.get_lines() if line.get_marker() == "o"]
    np.testing.assert_allclose(sorted(points), sorted(when["estimate"]))
    np.testing.assert_allclose(said["first"], table["untrained"], atol=1e-12)
    np.testing.assert_allclose(drawn["untrained"], table["untrained"], atol=1e-12)
    np.testing.assert_allclose(said["final"], table["final"], atol=1e-12)
    np.testing.assert_allclose(drawn["curve"].isel(step=-1), table["final"], atol=1e-12)
    best = str(table["final"].idxmax())
    assert curve.best == best_layers.pick_layer(found)[1] == best
    assert int(found.dynamics.best_layer()["best"][-1]) == LAYERS.index(best)
    fraction = float(found.dynamics.decline()["fraction"].sel(layer="layer1"))
    one = found.dynamics.curves().sel(layer="layer1")
    top = float(one.max())
    expected = (top - float(one[-1])) / (top - table["untrained"]["layer1"])
    assert fraction == pytest.approx(expected, abs=1e-9)


def test_the_report_names_the_controls_from_which_gains_count():
    found = with_controls(uneven())
    curve = reported(found)
    assert "above the mean of 2 untrained networks" in narrative.about(curve)
    assert narrative.start_of(curve) == "the mean of 2 untrained networks"
    table = tables.emergence_table(findings.Result("brain", "ridge", found), [curve])
    assert table.headings[0] == ("Untrained", "mean score of 2 untrained networks")
    shown = {line.split(" (")[0] for line in orders.order_of_layers(curve)}
    assert any("in the order" in line for line in shown)


def test_a_figure_draws_an_untrained_level_only_where_there_is_one():
    without = uneven().isel(step=slice(2, None))
    for found, there in ((without, False), (with_controls(uneven()), True), (uneven(), True)):
        labels = plots.plot_curves(found).get_legend_handles_labels()[1]
        assert ("untrained, all layers" in labels) == there


def test_runs_are_compared_from_their_own_untrained_levels():
    whole = uneven()
    level, again = (whole[n].isel(step=0, drop=True) for n in ("score", "resample_score"))
    late = whole.isel(step=slice(1, None)).assign(
        untrained_score=level.expand_dims(control=2),
        untrained_resample_score=again.expand_dims(control=2, axis=1),
    )
    for one, other in ((late, late), (whole, late)):
        found = one.dynamics.compare_with(other)
        for name, each in (("first", one), ("second", other)):
            when = each.dynamics.half_time()["estimate"]
            np.testing.assert_allclose(found[f"estimate_{name}"], when, rtol=1e-9)
    gains = whole.dynamics.compare_with(late, statistic="gain")
    np.testing.assert_allclose(gains["difference"], 0, atol=1e-12)


def test_runs_in_one_figure_are_counted_each_from_its_own_start_to_its_own_end():
    short = uneven().isel(step=slice(0, 5))
    late = with_controls(uneven())
    runs = {"short": short, "late": late}
    both = plots.stack(runs)
    chosen = {name: each.sel(layer="layer1") for name, each in runs.items()}
    expected = sorted(float(each.dynamics.half_time()["estimate"]) for each in chosen.values())
    np.testing.assert_allclose(
        rings_of(plots.plot_curves(both, hue="run", layer="layer1")), expected
    )
    rows = plots.plot_order(both, by="run", layer="layer1")
    points = [line.get_xdata()[0] for line in rows.get_lines() if line.get_marker() == "o"]
    np.testing.assert_allclose(sorted(points), expected)


def test_last_steps_without_any_score_are_left_out_by_every_route(monkeypatch):
    whole, found = uneven().isel(step=slice(0, 5)), uneven()
    lost = found["step"] == found["step"][-1]
    for name in ("score", "resample_score"):
        found[name] = found[name].where(~lost).assign_attrs(found[name].attrs)
    when = whole.dynamics.half_time(over="both").sel(layer=LAYERS)
    again = found.dynamics.half_time(over="both").sel(layer=LAYERS)
    np.testing.assert_array_equal(again["upper"], when["upper"])
    assert again.attrs["last_step"] == whole["step"][-1]
    np.testing.assert_allclose(
        table_of(found, monkeypatch).loc[LAYERS, "half_time"], when["estimate"]
    )
    np.testing.assert_allclose(
        reported(found).statistics["half_time"].sel(layer=LAYERS), when["estimate"]
    )
    np.testing.assert_allclose(rings_of(plots.plot_curves(found)), sorted(when["estimate"]))
    np.testing.assert_allclose(found.dynamics.gain()["estimate"], whole.dynamics.gain()["estimate"])
