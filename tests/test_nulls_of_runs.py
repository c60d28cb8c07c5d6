"""Statistics over many runs where there is nothing to find: each errs as often as it says.

Here are those of whole tables. The others have theirs beside what they find: differences and
interactions along training, exchanged runs, trends along a line, along training and surfaces in
`test_across_runs`, trends that saturate in `test_calibration`, the chosen layer and the best run in
`test_crossed`, brain against task over checkpoints in `test_calibration`.
"""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import dynamics
import dynamics.accessor
from dynamics.collection import tables
from dynamics.collection.differences import differences
from dynamics.collection.opening import Compared
from dynamics.collection.together import Contrasted, steps_of
from dynamics.collection.trends import trends_of
from dynamics.emergence.across_runs import contrast_runs
from dynamics.emergence.last_step import last_of
from dynamics.emergence.of_models import summaries

PAIRS = 20
HALVES = dynamics.emergence.scheme("halves", n=2, kept=1, resamples=2).attrs | {"correlation": 0}
STEPS = np.array([0, 10, 100, 1000])


def most(times, rate=0.05):
    """What chance lets be found of so many, three errors above the rate."""
    return rate + 3 * np.sqrt(rate * (1 - rate) / times)


def run(rng, shared, level=0.3, *, own=0.02, layers=1, steps=STEPS, halves=True):
    """Results of a run of alike layers: noise of the sounds, in part common to all runs."""
    off = shared[:, None] + own * rng.standard_normal((PAIRS + 1, layers, len(steps)))
    score = level + off[0]
    found = xr.Dataset(
        {"score": (("layer", "step", "neuroid"), score[..., None])},
        {"layer": [f"l{i}" for i in range(layers)], "step": steps, "neuroid": ["v"]},
        {"identity": {"metric": "ridge", "seed": 0, "resamples": 2 * PAIRS}},
    )
    if halves:
        again = np.stack([score + off[1:], score - off[1:]], 1).reshape(-1, *score.shape)
        dims = ("resample", "layer", "step", "neuroid")
        found["resample_score"] = (dims, again[..., None], HALVES)
    return found


def collection(rng, levels, *, common=0.05, **made):
    shared = common * rng.standard_normal((PAIRS + 1, len(made.get("steps", STEPS))))
    results = {f"r{i}": run(rng, shared, level, **made) for i, level in enumerate(levels)}
    return Compared("one", "ridge", results, {})


@pytest.mark.slow
def test_of_runs_that_are_alike_no_pair_differs_more_often_than_it_says():
    """What the sounds do to all runs is more than twice what runs differ by, and cancels."""
    rng, times = np.random.default_rng(0), 60
    single, any_of_all, seen = [], [], []
    for _ in range(times):
        table = differences(collection(rng, [0.3] * 6))
        single.append((table["p"] <= 0.05).mean())
        any_of_all.append((table["p_adjusted"] <= 0.05).any())
        other = differences(collection(rng, [0.5, *[0.3] * 5]))
        seen.append((other.query("first == 'r0'")["p_adjusted"] <= 0.05).all())
    assert len(table) == 15 and table["high"].gt(table["low"]).all()
    assert 0.01 < np.mean(single) < most(times * 5)  # pairs of six runs: five by themselves
    assert np.mean(any_of_all) < most(times) and np.mean(seen) > 0.95


@pytest.mark.slow
def test_of_many_steps_without_a_difference_none_is_found_more_often_than_it_says():
    rng, times = np.random.default_rng(1), 80
    found, labels = {0.0: [], 0.15: []}, ["a", "b"]
    for effect, hits in found.items():
        for _ in range(times):
            shared = 0.05 * rng.standard_normal((PAIRS + 1, len(STEPS)))
            both = [run(rng, shared, 0.3 + effect * (name == "a")) for name in labels]
            one = xr.concat(both, xr.DataArray(labels, dims="run"), combine_attrs="override")
            one = one.isel(layer=0, neuroid=0)
            again = one["resample_score"].assign_attrs(HALVES)
            made = contrast_runs(one["score"], again, labels, {"a": 1.0, "b": -1.0})
            table = steps_of(Contrasted("one", "ridge", "a − b", made))
            hits.append((table["p_adjusted"] <= 0.05).any())
    assert np.mean(found[0.0]) < most(times) and np.mean(found[0.15]) > 0.95


@pytest.mark.parametrize(("planted", "least", "highest"), [(0.0, 0.0, 0.02), (0.5, 0.48, 0.55)])
def test_the_share_of_neuroids_above_chance_is_that_of_those_that_are(planted, least, highest):
    rng, number = np.random.default_rng(2), 400
    shares = []
    for _ in range(20):
        p = rng.uniform(size=number)
        p[: int(planted * number)] = 1e-6
        values = {"score": (("layer", "step", "neuroid"), np.full((1, 1, number), 0.2)),
                  "p_value": (("layer", "step", "neuroid"), p[None, None])}  # fmt: skip
        results = xr.Dataset(values, {"layer": ["l"], "step": [10], "neuroid": np.arange(number)})
        shares.append(summaries(last_of(results))["all"]["significant"])
    assert least <= np.mean(shares) <= highest


@pytest.mark.slow
@pytest.mark.parametrize("slope", [0.0, 0.05])
def test_the_mean_slope_along_training_is_no_trend_where_runs_go_either_way(slope):
    """Slopes differ from run to run; limits over runs speak of other runs before these sounds."""
    rng, times, decades = np.random.default_rng(3), 60, np.log10(np.maximum(STEPS, 1))
    p, held = [], []
    for _ in range(times):
        own = slope + 0.02 * rng.standard_normal(5)
        each = collection(rng, [0.3] * 5, common=0.0, halves=False)
        results = {name: one.assign(score=one["score"] + k * xr.DataArray(decades, dims="step"))
                   for k, (name, one) in zip(own, each.results.items())}  # fmt: skip
        _, table, _ = trends_of([Compared("one", "ridge", results, {})], [], ["step"])
        row = table.query("run == 'mean of the runs'").iloc[0]
        p.append(row["p"])
        held.append(row["runs_lower"] <= slope <= row["runs_upper"])
    assert (np.mean(np.array(p) <= 0.05) < most(times)) == (slope == 0)
    assert np.mean(held) > 1 - most(times)


def test_brains_and_tasks_of_models_that_have_nothing_in_common_do_not_correlate():
    rng, times = np.random.default_rng(4), 300
    p = []
    for _ in range(times):
        brain, task = (xr.DataArray(v, dims="model") for v in rng.standard_normal((2, 12)))
        p.append(dynamics.emergence.correlate(brain, task, dim="model")["p"].item())
    assert np.mean(np.array(p) <= 0.05) < most(times) and stats.kstest(p, "uniform").pvalue > 0.01


def test_runs_without_a_gain_have_no_half_time_that_is_sure():
    """Of several layers that only scatter, in the one that ends highest."""
    rng, times = np.random.default_rng(5), 40
    sure = []
    for _ in range(times):
        table = tables.half_times([collection(rng, [0.3] * 2, layers=4)])
        sure += (np.isfinite(table["low"]) & np.isfinite(table["high"])).tolist()
    assert np.mean(sure) < most(len(sure))
    rising = run(rng, np.zeros((PAIRS + 1, len(STEPS))), layers=4)
    rising["score"] = rising["score"] + xr.DataArray([0, 0.1, 0.4, 0.5], dims="step")
    rising["resample_score"] = rising["resample_score"] + xr.DataArray(
        [0, 0.1, 0.4, 0.5], dims="step"
    )
    rising["resample_score"].attrs = HALVES
    table = tables.half_times([Compared("one", "ridge", {"r": rising}, {})])
    assert 10 < table["low"].item() < table["half_time"].item() < table["high"].item() < 100


@pytest.mark.slow
def test_recipes_whose_runs_go_nowhere_gain_nothing():
    """Limits over initialisations and stimuli, of runs that scatter about one level."""
    rng, times, held = np.random.default_rng(6), 60, []
    for _ in range(times):
        each = collection(rng, [0.3] * 4)
        found = dynamics.emergence.replicates(each.results).dynamics.gain().isel(layer=0)
        held.append(float(found["lower"]) <= 0 <= float(found["upper"]))
    assert np.mean(held) > 1 - most(times)
