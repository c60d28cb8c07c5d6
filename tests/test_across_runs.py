"""Statistics over runs: each finds what was planted, and nothing where nothing is."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from dynamics.collection.trends import course
from dynamics.emergence import Scheme
from dynamics.emergence.across_runs import contrast_runs, on_common_steps, permute_runs
from dynamics.emergence.trends import surface, trend

HALVES = Scheme(paired=True).attrs
WEIGHTS = {"a": 1.0, "b": -1.0}
SIMULATIONS = 120
# Three Monte-Carlo errors below what is aimed at.
FEWEST = 0.95 - 3 * np.sqrt(0.05 * 0.95 / SIMULATIONS)


def groups(number):
    return ["a"] * number + ["b"] * number


def simulated(rng, number, *, steps=1, seeds=0.0, own=0.5, effect=0.0, pairs=20):
    """Two groups of runs before common stimuli: scores (run, step), and on halves."""
    runs = 2 * number
    shared = rng.standard_normal((pairs + 1, 1, steps))
    off = shared + own * rng.standard_normal((pairs + 1, runs, steps))
    start = (
        seeds * rng.standard_normal((runs, 1))
        + effect * np.r_[np.ones(number), np.zeros(number)][:, None]
    )
    score = start + off[0]
    again = np.stack([score + off[1:], score - off[1:]], 1).reshape(-1, runs, steps)
    coords = {"step": 10 ** np.arange(steps)}
    return (
        xr.DataArray(score, dims=("run", "step"), coords=coords),
        xr.DataArray(again, dims=("resample", "run", "step"), coords=coords, attrs=HALVES),
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("over", "number", "seeds", "effect"),
    [("stimuli", 1, 0.0, 0.7), ("runs", 4, 1.0, 0.0), ("both", 4, 1.0, 0.5), ("both", 4, 0.0, 0.0)],
)
def test_intervals_of_differences_hold_the_truth(over, number, seeds, effect):
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(SIMULATIONS):
        score, again = simulated(rng, number, seeds=seeds, effect=effect)
        found = contrast_runs(score, again, groups(number), WEIGHTS, over=over).isel(step=0)
        hits += float(found["lower"]) <= effect <= float(found["upper"])
    assert hits / SIMULATIONS > FEWEST


def test_over_runs_it_is_the_test_of_welch():
    rng = np.random.default_rng(2)
    score, _ = simulated(rng, 4, seeds=1.0, effect=1.0)
    found = contrast_runs(score, None, groups(4), WEIGHTS, over="runs").isel(step=0)
    y = score.to_numpy()[:, 0]
    oracle = stats.ttest_ind(y[:4], y[4:], equal_var=False)
    assert float(found["p"]) == pytest.approx(oracle.pvalue, rel=1e-10)
    limits = oracle.confidence_interval()
    assert [float(found["lower"]), float(found["upper"])] == pytest.approx([*limits], rel=1e-10)


def test_what_stimuli_do_to_all_runs_cancels_only_where_they_are_the_same():
    score, again = simulated(np.random.default_rng(3), 2, own=0.1)
    paired, apart = (
        contrast_runs(score, again, groups(2), WEIGHTS, paired=flag)["error"].item()
        for flag in (True, False)
    )
    assert paired < 0.3 * apart


@pytest.mark.slow
def test_an_interaction_is_a_contrast_of_what_two_listeners_differ_in():
    """Of two languages with planted half a unit, and of none."""
    rng = np.random.default_rng(4)
    held = {0.5: 0, 0.0: 0}
    for effect in held:
        for _ in range(SIMULATIONS):
            one, again = simulated(rng, 1, effect=effect)
            other, other_again = simulated(rng, 1)
            less = (again - other_again).assign_attrs(again.attrs)
            found = contrast_runs(one - other, less, groups(1), WEIGHTS).isel(step=0)
            held[effect] += float(found["lower"]) <= effect <= float(found["upper"])
    assert min(held.values()) / SIMULATIONS > FEWEST


def test_exchanging_runs_is_exact_and_errs_no_more_often_than_it_says():
    rng = np.random.default_rng(5)
    few = permute_runs(simulated(rng, 2)[0], groups(2), WEIGHTS)
    assert few.attrs["assignments"] == 6
    assert float(few["p"].min()) >= 1 / 3 - 1e-12
    p = [
        float(permute_runs(simulated(rng, 4, steps=4, seeds=1.0)[0], groups(4), WEIGHTS)
              ["p_familywise"].min()) for _ in range(SIMULATIONS)
    ]  # fmt: skip
    assert np.mean(np.array(p) <= 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / SIMULATIONS)
    score, _ = simulated(rng, 4, effect=9.0)
    found = permute_runs(score, groups(4), WEIGHTS)
    assert float(found["p"].max()) == pytest.approx(2 / 70)
    y = score.to_numpy()[:, 0]
    oracle = stats.permutation_test((y[:4], y[4:]), lambda a, b: a.mean() - b.mean())
    assert float(found["p"][0]) == pytest.approx(oracle.pvalue)


def test_what_cannot_be_asked_is_said():
    score, again = simulated(np.random.default_rng(0), 1)
    with pytest.raises(ValueError, match="two replicates of each"):
        contrast_runs(score, again, groups(1), WEIGHTS, over="both")
    with pytest.raises(ValueError, match="no run is of the group 'c': there are a, b"):
        contrast_runs(score, again, groups(1), {"a": 1.0, "c": -1.0})
    with pytest.raises(ValueError, match="no scores on resamples"):
        contrast_runs(score, None, groups(1), WEIGHTS)
    with pytest.raises(ValueError, match="over must be"):
        contrast_runs(score, again, groups(1), WEIGHTS, over="all")


def test_curves_of_other_steps_meet_at_common_ones():
    fine, coarse = (
        xr.DataArray(np.log1p(np.array(steps)), dims="step", coords={"step": steps})
        for steps in ([0, 10, 30, 100, 1000], [10, 50, 100])
    )
    one, other = on_common_steps([fine, coarse])
    assert one["step"].to_numpy().tolist() == [10, 50, 100]
    np.testing.assert_allclose(one, other, rtol=1e-12)  # a line in log(1 + step) stays one
    with pytest.raises(ValueError, match="do not overlap"):
        on_common_steps([fine.isel(step=[0, 1]), coarse.isel(step=[1, 2])])


X = np.repeat([1e5, 1e6, 1e7, 1e8], 3)


def trended(rng, level, *, noise=0.02, pairs=20):
    off = noise * rng.standard_normal((pairs + 1, len(level)))
    score = level + off[0]
    again = np.stack([score + off[1:], score - off[1:]], 1).reshape(-1, len(level))
    return xr.DataArray(score, dims="run"), xr.DataArray(
        again, dims=("resample", "run"), attrs=HALVES
    )


@pytest.mark.parametrize("slope", [0.0, 0.05])
def test_limits_of_a_slope_hold_it_over_stimuli_and_over_runs(slope):
    rng = np.random.default_rng(6)
    hits = np.zeros(3)
    for _ in range(SIMULATIONS):
        score, again = trended(rng, 0.2 + slope * np.log10(X))
        one = trend(score, X, again, draws=200).table.sel(parameter="slope")
        hits += [
            float(one["lower"]) <= slope <= float(one["upper"]),
            float(one["runs_lower"]) <= slope <= float(one["runs_upper"]),
            float(one["p"]) > 0.05,
        ]
    assert (hits[:2] / SIMULATIONS > FEWEST).all()
    assert (hits[2] / SIMULATIONS > FEWEST) == (slope == 0)


def test_a_line_is_that_of_least_squares_and_a_power_law_is_found():
    level = 0.5 - 0.3 * (X / X.min()) ** -0.3
    score = xr.DataArray(level, dims="run")
    found = trend(score, X).table
    assert float(found["estimate"][0]) == pytest.approx(np.polyfit(np.log10(X), level, 1)[0])
    assert np.isnan(found["lower"]).all()
    found = trend(score, X, kind="saturating").table["estimate"]
    np.testing.assert_allclose(found, [0.5, 0.3, 0.3], rtol=0.03)  # the rates that are tried
    assert (
        trend(score, X, kind="saturating").table.attrs["left_out_error"]
        < 0.2 * trend(score, X).table.attrs["left_out_error"]
    )


def test_a_surface_over_two_numbers_is_found():
    n, d = np.repeat([1e5, 1e6, 1e7, 1e8], 4), np.tile([1.0, 10.0, 100.0, 1000.0], 4)
    middle = [np.exp(np.log(x).mean()) for x in (n, d)]
    level = 0.6 - 0.1 * (n / middle[0]) ** -0.25 - 0.05 * (d / middle[1]) ** -0.4
    found = surface(xr.DataArray(level, dims="run"), n, d)
    np.testing.assert_allclose(found["estimate"][:5], [0.6, 0.1, 0.25, 0.05, 0.4], rtol=1e-3)
    rises = [np.ptp(level.reshape(4, 4), axis=axis)[0] for axis in (0, 1)]
    np.testing.assert_allclose(found["estimate"][5:], rises, rtol=1e-3)
    with pytest.raises(ValueError, match="5 parameters"):
        surface(xr.DataArray(level[:5], dims="run"), np.arange(1, 6), np.arange(1, 6))


@pytest.mark.parametrize("effect", [0.0, 0.1])
def test_a_surface_rises_where_scores_do_and_over_one_number_alone(effect):
    """Of two numbers one has an effect, or none has: rises are those planted, on average."""
    n, d = np.repeat([1e5, 1e6, 1e7, 1e8], 4), np.tile([1.0, 10.0, 100.0, 1000.0], 4)
    rng, rises = np.random.default_rng(7), []
    for _ in range(40):
        score, _ = trended(rng, 0.3 + effect / 3 * np.log10(n / n.min()))
        rises.append(surface(score, n, d)["estimate"].sel(parameter=["rise_n", "rise_d"]))
    error = np.std(rises, 0) / 40**0.5
    assert (np.abs(np.mean(rises, 0) - [effect, 0]) < 3 * error + 0.003).all()
    assert (error < 0.005).all()


def trained(rng, slope, *, layers=4, resamples=40):
    """Results of a run whose layers are alike, with noise before the stimuli at every step."""
    steps = np.array([0, 1, 10, 100, 1000])
    level = 0.2 + slope * np.log10(np.maximum(steps, 1))
    off = 0.03 * rng.standard_normal((resamples // 2 + 1, layers, len(steps)))
    score = level + off[0]
    again = np.stack([score + off[1:], score - off[1:]], 1).reshape(-1, *score.shape)
    return xr.Dataset(
        {
            "score": (("layer", "step", "neuroid"), score[..., None]),
            "resample_score": (
                ("resample", "layer", "step", "neuroid"), again[..., None],
                HALVES | {"correlation": 0},
            ),
        },
        {"layer": [f"l{i}" for i in range(layers)], "step": steps, "neuroid": ["v"]},
        {"identity": {"metric": "ridge"}},
    )  # fmt: skip


@pytest.mark.parametrize("slope", [0.0, 0.02])
def test_limits_of_a_trend_along_training_hold_it_whichever_layer_is_chosen(slope):
    """Of the layer that ends highest on all stimuli the slope is too large, and limits fail."""
    rng, hits, lucky, times = np.random.default_rng(8), 0, [], 60
    for _ in range(times):
        results = trained(rng, slope)
        score, again = course(results)
        one = trend(score, score["step"].to_numpy(), again, dim="step", draws=200).table
        assert "runs_lower" not in one and score["step"].to_numpy().tolist() == [1, 10, 100, 1000]
        one = one.sel(parameter="slope")
        hits += float(one["lower"]) <= slope <= float(one["upper"])
        flat = results["score"].isel(neuroid=0, step=slice(1, None))
        best = flat.isel(layer=int(flat[:, -1].to_numpy().argmax()))
        lucky.append(np.polyfit(np.arange(4), best, 1)[0] - slope)
    assert hits / times > 0.95 - 3 * np.sqrt(0.05 * 0.95 / times), hits
    assert np.mean(lucky) > 0.004, "the luck that is left out"


def test_trends_without_enough_numbers_are_refused():
    score = xr.DataArray(np.ones(4), dims="run")
    with pytest.raises(ValueError, match="2 different values: a trend needs 3"):
        trend(score, np.array([1, 1, 2, 2]))
    with pytest.raises(ValueError, match="above 0"):
        trend(score, np.array([0, 1, 2, 3]))
    with pytest.raises(ValueError, match="no trend 'cubic'"):
        trend(score, np.arange(1, 5), kind="cubic")
