"""A score that is missing at an end of a curve: every route counts from one level to one step.

Or says that there is none to count from, or to: no other step stands in.
"""

import numpy as np
import pytest
import xarray as xr
from plots_results import LAYERS
from test_one_answer import reported, rings_of, table_of, uneven, with_controls

from dynamics import emergence, plots
from dynamics.emergence import crossings, curves, levels
from dynamics.emergence.curves import counted_steps
from dynamics.report import (
    findings,
    narrative,
    protocol,
    tables,
)

FIRST, LAST = "no untrained level", "no score at the last step"


def without(found, *, step, layer=None, region=None, names=("score", "resample_score")):
    """The same without scores at a step (by place), in a layer or region or all of them."""
    lost = found["step"] == found["step"][step]
    lost = lost if layer is None else lost & (found["layer"] == layer)
    lost = lost if region is None else lost & (found["region"] == region)
    changed = {n: found[n].where(~lost).transpose(*found[n].dims) for n in names}
    return found.assign({n: v.assign_attrs(found[n].attrs) for n, v in changed.items()})


def in_words(statuses):
    return statuses.to_numpy().tolist()


@pytest.mark.slow
@pytest.mark.parametrize(("step", "said"), [(0, FIRST), (-1, LAST)])
def test_a_layer_without_a_score_at_an_end_has_no_half_time_or_gain_by_any_route(
    monkeypatch, step, said
):
    whole, found = uneven(), without(uneven(), step=step, layer="layer1")
    expected = whole.dynamics.half_time(over="both")["estimate"].sel(layer=LAYERS)
    known = expected.where(expected["layer"] != "layer1")
    for name in ("half_time", "gain", "area"):
        one = getattr(found.dynamics, name)(over="both").sel(layer=LAYERS)
        assert one["status"].sel(layer="layer1") == said
        sides = [side for side in ("estimate", "lower", "upper") if side in one]
        assert all(np.isnan(one[side].sel(layer="layer1")) for side in sides)
    np.testing.assert_allclose(
        found.dynamics.half_time(over="both")["estimate"].sel(layer=LAYERS), known
    )
    table = table_of(found, monkeypatch).loc[LAYERS]
    np.testing.assert_allclose(table["half_time"], known)
    assert table.loc["layer1", "status"] == said
    assert np.isnan(table.loc["layer1", "untrained" if step == 0 else "final"])
    np.testing.assert_allclose(rings_of(plots.plot_curves(found)), np.sort(known)[:-1])
    row = [t.get_text() for t in plots.plot_order(found).texts]
    assert said in row
    curve = reported(found)
    statistics = curve.statistics.sel(layer=LAYERS)
    np.testing.assert_allclose(statistics["half_time"], known)
    for name in ("gain", "area"):
        assert np.isnan(statistics[name].sel(layer="layer1"))
    assert statistics["gain_status"].sel(layer="layer1") == said
    summary = found.dynamics.summarize().sel(layer="layer1")
    assert summary["gain_status"] == said and summary["half_time_status"] == said
    again = found.dynamics.compare_with(whole)
    assert (again["status"].sel(layer=LAYERS) == "second only").to_numpy().tolist() == [
        False, True, False,
    ]  # fmt: skip


def test_what_does_not_need_an_end_is_known_without_it():
    whole = uneven()
    first = without(whole, step=0, layer="layer1").dynamics
    last = without(whole, step=-1, layer="layer1").dynamics
    for name in ("peak", "plateau", "decline"):
        one, other = (
            x["estimate"].sel(layer="layer1")
            for x in (getattr(first, name)(), getattr(whole.dynamics, name)())
        )
        assert float(one) == float(other)
    assert np.isnan(first.decline()["fraction"].sel(layer="layer1"))
    assert np.isfinite(last.onset()["estimate"].sel(layer="layer1"))
    for name in ("plateau", "decline"):
        assert np.isnan(getattr(last, name)()["estimate"].sel(layer="layer1"))
    assert last.decline()["status"].sel(layer="layer1") == LAST
    assert last.plateau()["status"].sel(layer="layer1") == LAST


def test_an_order_gives_no_rank_to_what_is_unknown_and_takes_none_from_the_others():
    whole = uneven()
    alone = whole.isel(layer=[0, 2]).dynamics.order()
    found = without(whole, step=0, layer="layer1").dynamics.order()
    assert all(np.isnan(found[n].sel(layer="layer1")) for n in ("rank", "rank_lower", "first"))
    rest = found.sel(layer=["layer0", "layer2"])
    np.testing.assert_array_equal(rest["rank"], alone["rank"])
    assert set(rest["rank"].to_numpy()) <= {1.0, 1.5, 2.0}
    assert np.isnan(found["before"].sel(layer="layer0", other="layer1"))
    assert np.isfinite(found["before"].sel(layer="layer0", other="layer2"))


def test_a_layer_that_is_missing_at_a_step_moves_no_profile():
    steps = np.array([0, 1, 10, 100, 1000, 10000])
    profile = np.array([0.1, 0.2, 0.3])
    curve = xr.DataArray(
        np.tile(profile, (6, 1)),
        dims=("step", "layer"),
        coords={"step": steps, "layer": LAYERS},
    )
    noise = 0.01 * np.random.default_rng(0).standard_normal((20, 6, 3))
    again = xr.DataArray(noise, dims=("resample", "step", "layer")) + curve
    again = again.assign_attrs(emergence.scheme("halves", n=2, kept=1, resamples=2).attrs)
    gone = (curve["step"] < 5) & (curve["layer"] == "layer2")
    found = emergence.best_layer(curve.where(~gone), again.where(~gone).assign_attrs(again.attrs))
    assert np.isnan(found["centre"][:2]).all()
    # A profile that stands still has no drift: 0 in closed form, to rounding.
    assert abs(float(found["slope"])) < 1e-12
    never = curve.where(curve["layer"] != "layer2")
    assert np.isfinite(emergence.best_layer(never, again)["centre"]).all()


@pytest.mark.slow
def test_controls_stand_in_for_a_step_0_that_has_no_score_at_all(monkeypatch):
    whole = uneven()
    level = whole["score"].isel(step=0, drop=True)
    controls = {"untrained_score": xr.concat([level - 0.01, level + 0.01], "control")}
    late = whole.isel(step=slice(1, None)).assign(controls)
    found = without(whole, step=0).assign(controls)
    expected = late.dynamics.half_time(over="both").sel(layer=LAYERS)
    one = found.dynamics.half_time(over="both").sel(layer=LAYERS)
    assert np.isfinite(expected["estimate"]).all()
    for side in ("estimate", "lower", "upper"):
        np.testing.assert_allclose(one[side], expected[side], rtol=1e-12)
    assert one.attrs["baseline"].startswith("mean score of 2 untrained")
    table = table_of(found, monkeypatch).loc[LAYERS]
    np.testing.assert_allclose(table["half_time"], expected["estimate"])
    drawn = emergence.bands_by(found).sel(layer=LAYERS)
    np.testing.assert_allclose(drawn["untrained"], table["untrained"])
    rings = sorted(expected["estimate"].to_numpy())
    np.testing.assert_allclose(rings_of(plots.plot_curves(found)), rings)
    curve = reported(found)
    np.testing.assert_allclose(curve.statistics["half_time"].sel(layer=LAYERS), one["estimate"])
    assert narrative.start_of(curve) == "the mean of 2 untrained networks"


def test_a_failed_step_0_with_controls_counts_from_the_controls_in_figures():
    late = with_controls(uneven())
    gap = late.reindex(step=[0, *late["step"].to_numpy()])
    gap["resample_score"].attrs = dict(late["resample_score"].attrs)
    gap = gap.assign_coords(failed_step=("step", gap["step"].to_numpy() == 0))
    expected = late.dynamics.half_time(over="both")["estimate"]
    np.testing.assert_allclose(rings_of(plots.plot_curves(gap)), sorted(expected.to_numpy()))


def test_a_layer_without_a_score_of_its_controls_has_no_untrained_level():
    found = with_controls(uneven())
    lost = found["layer"] == "layer1"
    found["untrained_score"] = found["untrained_score"].where(~lost)
    for name in ("half_time", "gain", "area", "onset"):
        one = getattr(found.dynamics, name)().sel(layer="layer1")
        assert np.isnan(one["estimate"]) and one["status"] == FIRST
    table = found.dynamics.summarize().sel(layer="layer1")
    assert table["half_time_status"] == FIRST and table["gain_status"] == FIRST


def test_gaps_in_the_middle_leave_all_routes_one_answer(monkeypatch):
    found = without(uneven(), step=-2, layer="layer1")
    when = found.dynamics.half_time(over="both").sel(layer=LAYERS)
    assert (when["status"] == "reached").all()
    np.testing.assert_allclose(
        table_of(found, monkeypatch).loc[LAYERS, "half_time"], when["estimate"]
    )
    statistics = reported(found).statistics.sel(layer=LAYERS)
    np.testing.assert_allclose(statistics["half_time"], when["estimate"])
    np.testing.assert_allclose(rings_of(plots.plot_curves(found)), sorted(when["estimate"]))
    # The plateau's level is over the steps from which its step is found: two that have a score.
    one = found.dynamics.curves().sel(layer="layer1").to_numpy()
    level = found.dynamics.plateau()["estimate"].sel(layer="layer1")
    assert float(level) == pytest.approx((one[-1] + one[-3]) / 2, abs=1e-12)


@pytest.mark.slow
def test_of_no_score_at_all_everything_is_missing(monkeypatch):
    found = uneven()
    for name in ("score", "resample_score"):
        found[name] = (found[name] * np.nan).assign_attrs(found[name].attrs)
    for name in ("half_time", "gain", "area", "onset", "plateau", "decline"):
        one = getattr(found.dynamics, name)()
        assert np.isnan(one["estimate"]).all() and set(in_words(one["status"])) == {"missing"}
    assert set(table_of(found, monkeypatch)["status"]) == {"missing"}
    assert "has too few scores for a curve" in narrative.about(reported(found))
    plots.plot_curves(found), plots.plot_order(found)


def test_one_step_has_a_level_and_no_gain_but_above_its_controls(monkeypatch):
    one = uneven().isel(step=[4])
    for name in ("half_time", "gain", "area", "onset", "decline"):
        found = getattr(one.dynamics, name)()
        assert np.isnan(found["estimate"]).all(), name
        assert set(in_words(found["status"])) == {"one step only"}, name
    assert set(table_of(one, monkeypatch)["status"]) == {"one trained network"}
    assert not rings_of(plots.plot_curves(one))
    late = with_controls(uneven()).isel(step=[0])
    above = late.dynamics.gain()
    expected = late.dynamics.curves().isel(step=0) - levels.untrained(late)
    np.testing.assert_allclose(above["estimate"], expected, atol=1e-12)
    assert set(in_words(above["status"])) == {"known"}


def test_a_region_without_a_last_score_is_shown_so_in_panels_as_by_the_accessor():
    found = without(uneven(), step=-1, region="belt")
    when = found.dynamics.half_time(by="region").sel(layer=LAYERS)
    assert set(in_words(when["status"].sel(region="belt"))) == {LAST}
    axes = plots.facet_curves(found, facet="region")
    rings = {ax.get_title().split("\n")[0]: rings_of(ax) for ax in axes}
    assert rings["belt"] == []
    np.testing.assert_allclose(rings["core"], sorted(when["estimate"].sel(region="core")))
    marked = curves.with_counted(found)
    belt = marked.isel(neuroid=np.flatnonzero(found["region"] == "belt"))
    assert counted_steps(belt).all()


def test_bars_are_of_the_last_step_of_the_run_or_refused():
    found = without(uneven(), step=-1, layer="layer1")
    ax = plots.plot_models({"a": found})
    assert "step 10,000" in ax.get_xticklabels()[0].get_text()
    with pytest.raises(ValueError, match="'a' has no score in this layer at step 10,000, its last"):
        plots.plot_models({"a": found}, layer="layer1")


@pytest.mark.parametrize(("step", "said"), [(0, FIRST), (-1, LAST)])
def test_the_report_says_in_words_and_cells_which_end_is_missing(step, said):
    found = without(uneven(), step=step, layer="layer1")
    curve = reported(found)
    # As the layer with the last score alone it is the best one that is spoken of.
    text = narrative.about(curve._replace(score=curve.score.sel(layer=["layer1"]), chosen=None))
    assert "and so no gain or half-time, in layer1" in text
    table = tables.emergence_table(findings.Result("brain", "ridge", found), [curve])
    cells = {row.layer: [cell.text for cell in row.cells] for row in table.rows}
    assert cells["layer1"].count(said) >= 2  # gain and half-time
    assert said not in cells["layer0"]


def test_statuses_of_ends_are_those_of_crossings():
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((400, 5))
    scores[rng.random(scores.shape) < 0.4] = np.nan
    steps = np.array([0, 1, 10, 100, 1000])
    curve = xr.DataArray(scores, dims=("curve", "step"), coords={"step": steps})
    when = emergence.half_time(curve)["status"].to_numpy()
    said = crossings.status(curve).to_numpy()
    unknown = np.isin(when, crossings.UNKNOWN)
    assert set(when[unknown]) == set(crossings.UNKNOWN)
    np.testing.assert_array_equal(when[unknown], said[unknown])
    assert set(said[~unknown]) == {"known"}
    np.testing.assert_array_equal(np.isfinite(emergence.gain(curve)), said == "known")


def test_means_over_other_neuroids_at_some_steps_are_counted_and_said():
    found = uneven()
    assert found.dynamics.half_time().attrs["neuroids_with_gaps"] == 0
    lost = (found["neuroid"].isin(["n3", "n5"])) & (found["step"] == 10)
    lost = lost & (found["layer"] == "layer1")
    score = found["score"].where(~lost).transpose(*found["score"].dims)
    gaps = found.assign(score=score.assign_attrs(found["score"].attrs))
    assert gaps.dynamics.half_time().attrs["neuroids_with_gaps"] == 2
    # A layer without any score at a step, or a neuroid without any, is said elsewhere.
    assert without(found, step=0, layer="layer1").dynamics.gain().attrs["neuroids_with_gaps"] == 0
    result = findings.Result("brain", "ridge", gaps)
    told = protocol._gaps([(result, [])])
    assert "2 of 12 in brain have a score at some steps only" in told
    assert protocol._gaps([(findings.Result("brain", "ridge", found), [])]) == ""
