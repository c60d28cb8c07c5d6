"""What is stated holds where the truth is known: short forms of the simulations of calibration.

The long ones are printed by ``python tests/benchmarks/bench_calibration.py``.
"""

from __future__ import annotations

import logging

import calibration
import designs
import numpy as np
import planted
import pytest
import stated
import xarray as xr
from scipy import stats

from dynamics import analysis, emergence, store
from dynamics.analysis import analyze
from dynamics.brains import neighbours
from dynamics.config import Choice, validate
from dynamics.emergence import population
from dynamics.emergence.resampling import stabilised
from dynamics.metrics.subsets import half_rows
from dynamics.progress import silent
from dynamics.report import findings, narrative


def most(number, nominal=0.05, errors=3.0):
    """Largest rate that so many simulations of a nominal one may have."""
    return nominal + errors * np.sqrt(nominal * (1 - nominal) / number)


@pytest.mark.parametrize("name", ["rsa", "cka", "mutual_knn"])
def test_sounds_of_categories_are_shuffled_within_them_unless_asked_otherwise(name):
    number, small = 40, {"permutations": 19, "n": 44, "neuroids": 6}
    p = calibration.p_of_unrelated(name, number, **small)
    assert (p <= 0.05).mean() <= most(number)
    over_all = calibration.p_of_unrelated(name, 10, shuffle="overall", **small)
    assert (over_all <= 0.05).mean() > 0.5  # all that is there is that categories differ


def test_where_there_are_no_categories_all_stimuli_are_shuffled():
    _, target = calibration.clustered(0, n=20, categories=20)
    orders = analysis.orders_of(target, Choice(name="rsa"), calibration.plan(permutations=9))
    assert (np.sort(orders, 1) == np.arange(20)).all() and (orders != np.arange(20)).any(1).all()
    _, alike = calibration.clustered(0, n=20, categories=1)
    assert analysis.scheme_of(alike, Choice(name="rsa"), calibration.plan()) == "overall"
    _, pairs = calibration.clustered(0, n=20, categories=10)
    assert analysis.scheme_of(pairs, Choice(name="rsa"), calibration.plan()) == "category"
    assert analysis.distinct(pairs) == 2**10 and analysis.distinct(pairs, "overall") > 1e18


@pytest.fixture
def small(tmp_path):
    """A sweep of a crawled store of two categories of three sounds each, and its brain."""
    names, categories = list("abcdef"), ["x"] * 3 + ["y"] * 3
    rng = np.random.default_rng(0)
    root = store.begin(tmp_path / "run.zarr", run="test", identity={"adapter": "test"})
    store.plan(root, [(step, f"file-{step}", 10) for step in (0, 10)])
    for step in (0, 10):
        layers = {"first": rng.standard_normal((6, 4)).astype("float32")}
        store.write_activations(root, step, layers, stimuli=names, categories=categories)
        store.commit(root, step, sha256=f"hash-{step}", seconds=1.0)
    np.savez(
        tmp_path / "brain.npz", response=rng.standard_normal((6, 3)), stimulus=names,
        neuroid=["p", "q", "r"],
    )  # fmt: skip
    folder = tmp_path / "sounds"
    content = {
        "run": "test", "store": str(tmp_path / "run.zarr"), "checkpoints": "none", "model": "none",
        "stimuli": str(folder), "targets": [str(tmp_path / "brain.npz")], "metrics": ["cka"],
        "resamples": 0, "folds": 2, "permutations": 99, "workers": 1, "baseline": None,
        "untrained": 0,
    }  # fmt: skip
    return lambda **changes: validate(content | changes, origin="test")


@pytest.fixture
def heard(monkeypatch, in_this_process):
    """Let a sweep have no sounds of its own."""
    from dynamics import sounds

    monkeypatch.setattr(sounds, "load", lambda *_, **__: None)


def test_few_distinct_shuffles_and_what_they_are_within_are_said(small, heard, caplog):
    with caplog.at_level(logging.WARNING):
        analyze.analyze(small(), advance=silent)
    assert "only 36 of the 99 shuffles within categories can be distinct" in caplog.text
    (result,), _ = findings.results_of(store.open(small().store))
    said = narrative.about(findings.mean_of(result))
    assert "stimuli shuffled within categories" in said and "only 36 of them are distinct" in said


def test_results_that_were_begun_with_other_shuffles_go_on_and_say_so(small, heard, caplog):
    analyze.analyze(small(shuffle="overall", select=[0]), advance=silent)
    with caplog.at_level(logging.WARNING):
        assert analyze.analyze(small(), advance=silent)["already"] == 2
    assert "goes on with stimuli shuffled 'overall', as it was begun" in caplog.text
    (result,), _ = findings.results_of(store.open(small().store))
    said = narrative.about(findings.mean_of(result))
    assert "shuffled over all categories, for which telling categories apart is enough" in said
    with pytest.raises(ValueError, match="shuffle = 'overall', this sweep has 'category'"):
        analyze.analyze(small(shuffle="category"), advance=silent)


@pytest.mark.slow
def test_the_best_of_many_layers_is_not_shown_to_be_what_none_is():
    number = 40
    found = calibration.of_best_layer(number, layers=12, steps=3, nulls=39)
    assert found["optimism"].mean() > 0.8  # standard errors of a gain, of which there is none
    assert found["held"].sum() >= number - 4
    for name in ("above", "shown", "declines", "null"):
        assert found[name].mean() <= most(number), name


def test_limits_of_independent_layers_hold_at_once_as_sidak_says_and_of_one_layer_are_its_own():
    mean, many = np.zeros((2, 10, 1)), {"resamples": 2000, "n": 66}
    data = calibration.linear_results(0, mean=mean, **many)
    curve, resampled, _ = emergence.resampled_curve(data)
    # Of 1,000 pairs Student's t is a normal distribution; errors of its quantile are .02 or so.
    each = emergence.confidence_of_each(curve, resampled)
    assert stats.norm.isf((1 - each) / 2) == pytest.approx(
        stats.norm.isf((1 - 0.95**0.1) / 2), abs=0.1
    )
    one = emergence.confidence_of_each(curve.isel(layer=[3]), resampled.isel(layer=[3]))
    assert one == 0.95
    alike = calibration.linear_results(0, mean=mean, shared=1.0, **many)
    curve, resampled, _ = emergence.resampled_curve(alike)
    assert emergence.confidence_of_each(curve, resampled) == pytest.approx(0.95, abs=0.005)


def test_a_test_among_curves_is_that_of_their_largest_contrast():
    data = calibration.linear_results(3, mean=np.zeros((4, 3, 1)))
    curve, resampled, _ = emergence.resampled_curve(data)
    alone = emergence.onset_test(curve, resampled)
    among = emergence.onset_test(curve, resampled, among="layer")
    np.testing.assert_allclose(among["statistic"], alone["statistic"])
    assert (among["p"] >= alone["p"]).all() and (among["p"] > alone["p"]).any()
    one = {"layer": [1]}
    same = emergence.onset_test(curve.isel(one), resampled.isel(one), among="layer")
    np.testing.assert_allclose(same["p"], alone["p"].isel(one))
    fall = emergence.decline_test(curve, resampled)
    together = emergence.decline_test(curve, resampled, among="layer")
    assert (together["p"] >= fall["p"]).all() and (together["lower"] <= fall["lower"]).all()


@pytest.mark.parametrize("given", [{"profile": 0.0}, {"profile": 3.0, "grows": (0.1, 3.0)}])
def test_the_centre_of_a_profile_that_rests_is_not_said_to_move(given):
    number = 40
    p = calibration.drifts_at_rest(number, n=42, **given)
    assert (p <= 0.05).mean() <= most(number)
    if "grows" in given:
        assert np.isfinite(p).mean() > 0.9  # it is looked at, not left out


@pytest.mark.parametrize("checkpoints", [10, 20, 40])
def test_two_scores_that_grow_for_their_own_reasons_are_not_said_to_go_together(checkpoints):
    number = 100
    p = calibration.p_of_growth(number, checkpoints=checkpoints)
    assert (p <= 0.05).mean() <= most(number)
    assert np.isfinite(p).mean() == (0 if checkpoints < 20 else 1)
    assert np.isnan(calibration.p_of_growth(5, checkpoints=checkpoints, form="raw")).all()
    if checkpoints == 40:
        together = calibration.p_of_growth(20, checkpoints=checkpoints, common=0.9)
        assert (together <= 0.05).mean() > 0.8


def test_scores_that_jump_together_have_no_p_value_as_no_trend_follows():
    assert np.isnan(calibration.p_of_growth(10, checkpoints=20, width=0.05)).all()


def test_intervals_say_before_what_population_they_hold():
    words = {
        "stimuli": "other sounds of these categories, in these people, this network only",
        "stimuli and subjects": "other sounds of these categories and other people, this network",
        "categories of stimuli": "sounds of other categories, in these people, this network only",
        "stimuli and initialisations": "categories and other initialisations, in these people",
    }
    for over, told in words.items():
        assert told in population.population(over)
        assert ("other people" in population.population(over)) == ("subjects" in over)
    assert "What other people, sounds of other kinds and another initialisation would change" in (
        population.populations(["stimuli"])
    )


def test_halves_of_categories_hold_for_other_categories():
    number = 60
    held = {by: calibration.held_of_categories(number, by=by) for by in ("stimuli", "categories")}
    assert held["categories"].mean() >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / number)
    assert held["stimuli"].mean() < 0.85  # over stimuli of these categories


def test_a_sweep_keeps_categories_whole_where_it_is_told_to():
    labels = np.repeat(list("abcdefghij"), 6)
    unit = neighbours.whole(labels, "categories")
    rows = half_rows(np.arange(60) % 5, 10, units=unit.unit)
    for one, other in zip(rows[0::2], rows[1::2], strict=True):
        parts = [set(labels[each[each >= 0]]) for each in (one, other)]
        assert not parts[0] & parts[1] and len(parts[0] | parts[1]) == 10
    with pytest.raises(ValueError, match="takes 8 categories of stimuli and there are 2"):
        neighbours.whole(np.repeat(["a", "b"], 9), "categories")
    with pytest.raises(ValueError, match="takes 8 groups of stimuli and there are 0"):
        neighbours.whole(None, "groups")


def test_standard_errors_of_scores_of_pairs_count_what_pairs_add_once():
    raw, once = calibration.errors_of_pairs(40, n=40)
    assert 1.15 < raw < 1.7  # the part that falls with 1 / n^2 is shown twice
    assert 0.8 < once < 0.87 * raw


def test_few_halves_and_many_steps_call_no_more_flat_curves_rising_than_they_say():
    number = 100
    for halves, steps in ((10, 40), (50, 40)):
        p = calibration.p_of_flat(number, halves=halves, steps=steps)
        assert (p <= 0.05).mean() <= most(number)


@pytest.mark.parametrize("shape", ["landing", "staircase"])
def test_a_curve_that_stays_near_half_of_its_gain_is_half_way_within_its_limits(shape):
    number, places = 400, planted.steps_of(40)
    mean = 0.4 * planted.shapes(places)[shape]
    whole = xr.DataArray(mean, dims="step", coords={"step": places})
    found = emergence.interval(*planted.curves(number, mean, places, error=0.02))
    for missed in (found["lower"] > emergence.half_time(whole),
                   found["upper"] < emergence.half_time(whole)):  # fmt: skip
        assert float(missed.mean()) <= most(number, 0.025)


@pytest.mark.parametrize("design", designs.NAMES)
def test_limits_and_tests_hold_for_what_halves_keep_whole(design):
    number, made = 80, {"design": design, "n": 60, "neuroids": 6}
    held = designs.held(number, "sigmoid", 10, **made)
    for name, hits in held.items():
        assert hits.mean() >= 0.93 - 3 * np.sqrt(0.05 * 0.95 / number), name
    for name, hits in designs.p_of_none(number, 10, **made).items():
        assert hits.mean() <= most(number, 0.06), name
    if design != "iid":
        alone = designs.held(number, "sigmoid", 10, ("final",), by=False, **made)
        assert alone["limits of final"].mean() < held["limits of final"].mean()


def test_means_over_latencies_of_scores_of_pairs_count_what_pairs_add_once():
    curve, again = stated.scores_over_time(40, "rsa_time", n=40, resamples=40, samples=4)
    scheme = emergence.Scheme.of(again)
    raw, once = (
        float((scheme.error(each) ** 2).mean("sim").isel(step=1) ** 0.5)
        for each in (stabilised(curve, again.assign_attrs(squares=0)), stabilised(curve, again))
    )
    assert once < 0.93 * raw
    assert once == pytest.approx(float(curve.std("sim", ddof=1).isel(step=1)), rel=0.3)


def test_a_contrast_of_few_runs_has_no_more_degrees_of_freedom_than_they():
    rng = np.random.default_rng(0)
    score = xr.DataArray(rng.standard_normal(4), dims="run")
    halves = score.to_numpy() + 0.5 * rng.standard_normal((50, 4))
    again = xr.DataArray(halves, dims=("resample", "run"), attrs=planted.SCHEME.attrs)
    two = {"a": 1.0, "b": -1.0}
    found = emergence.across_runs.contrast_runs(score, again, list("aabb"), two, over="both")
    assert float(found["freedom"]) <= 2  # by their variances alone it would be near 25


def test_a_curve_that_falls_far_below_untrained_is_said_to_fall_and_a_flat_one_is_not():
    number = 40
    shown = []
    for seed in range(number):
        data = calibration.linear_results(seed, mean=np.zeros((5, 2, 1)), along=0.5)
        curve, resampled, _ = emergence.resampled_curve(data)
        test = emergence.fall_test(curve, resampled, among="layer")
        shown.append(float(test["fall_p"].min()) <= 0.05)
    assert np.mean(shown) <= most(number)
    mean = np.array([0.3, 0.05, 0.2, 0.3, 0.35])[:, None, None] * np.ones((1, 2, 1))
    data = calibration.linear_results(0, mean=mean, noise=0.02)
    found = data.dynamics.fall(over="stimuli").isel(layer=0)
    assert float(found["fall"]) == pytest.approx(0.25, abs=0.06) and float(found["fall_step"]) == 10
    assert float(found["fall_p"]) < 0.01
    (curve,) = findings.curves_of(findings.Result("brain", "ridge", data))
    assert "It falls below the untrained network, by 0.2" in narrative.about(curve)


def test_limits_of_the_agreement_with_listeners_hold_few_sounds_and_high_shares():
    for made in ({"sounds": 20, "share": 0.97, "answers": 1},
                 {"sounds": 60, "share": 0.9, "answers": 5}):  # fmt: skip
        (held,) = stated.listeners(2000, **made).values()
        assert held.mean() > 0.93


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["saturates", "line"])
def test_limits_of_a_trend_that_saturates_hold_it_and_are_open_where_none_does(shape):
    for name, held in stated.saturating(25, runs=12, shape=shape).items():
        assert held.mean() >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 25), name


@pytest.mark.slow
@pytest.mark.parametrize("apart", [0.0, 0.05])
def test_layers_that_may_be_the_best_hold_it_and_leave_out_what_is_shown_to_be_lower(apart):
    held, best, drawn = stated.best_layers(60, layers=4, apart=apart).values()
    assert held.mean() > 0.9
    # Where layers are alike the best one here is so elsewhere less often than what is drawn says.
    assert drawn.mean() - best.mean() > (0.15 if apart == 0 else -0.2)
