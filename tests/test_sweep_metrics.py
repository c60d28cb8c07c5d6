"""What a user can write about metrics in a sweep, from YAML to the store."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

import dynamics.accessor  # noqa: F401 (registers it)
from dynamics import (
    emergence,
    metrics,
    store,
    sweep,
)
from dynamics.analysis import analyze, controls
from dynamics.brains import targets
from dynamics.config import validate
from dynamics.progress import silent
from dynamics.store.attributes import mapping

N = 30
NAMES = [f"sound{i:02d}" for i in range(N)]
CATEGORIES = ["speech", "music", "other"] * (N // 3)


def layers_at(step):
    rng = np.random.default_rng(step)
    return {f"layer{k}": rng.standard_normal((N, 12)).astype("float32") for k in range(2)}


def brain():
    rng = np.random.default_rng(0)
    signal = layers_at(10)["layer1"].astype(float) @ rng.standard_normal((12, 6))
    return xr.Dataset(
        {"response": (("stimulus", "neuroid"), signal + 0.3 * rng.standard_normal((N, 6)))},
        coords={
            "stimulus": NAMES,
            "neuroid": np.arange(6),
            "subject": ("neuroid", ["s1", "s2"] * 3),
            "region": ("neuroid", ["core"] * 4 + ["belt"] * 2),
            "ceiling": ("neuroid", np.full(6, 0.8)),
        },
        attrs={"name": "test brain"},
    )


@pytest.fixture
def content(tmp_path, monkeypatch, in_this_process):
    """A sweep with two targets whose store has two steps."""
    path = tmp_path / "s.zarr"
    root = store.begin(path, run="test", identity={})
    store.plan(root, [(step, str(step), 1) for step in (10, 0)])
    for step in (10, 0):
        store.write_activations(root, step, layers_at(step), stimuli=NAMES, categories=CATEGORIES)
        store.commit(root, step, sha256=f"hash{step}")
    heard = SimpleNamespace(durations=np.full(N, 0.5), within=None)
    heard.heard = heard
    monkeypatch.setattr(analyze.sounds, "load", lambda *a, **k: heard)
    monkeypatch.setattr(targets.brains, "load", lambda *a, **k: brain())
    features = np.random.default_rng(9).standard_normal((N, 5))
    monkeypatch.setattr(controls.extract, "features", lambda *a, **k: {"filters": features})
    return {
        "run": "test",
        "store": str(path),
        "checkpoints": "none",
        "model": "none",
        "stimuli": "none",
        "targets": ["one", "two"],
        "resamples": 0,
        "workers": 1,
    }


@pytest.mark.slow
def test_nulls_groups_and_baseline_reach_the_store(content):
    content |= {"permutations": 5, "shuffle": "category", "metrics": [
        {"name": "ridge", "arguments": {"targets": ["one"]}},
        {"name": "rsa", "arguments": {"by": "subject_region", "distance": "euclidean",
                                      "permutations": 3}},
        {"name": "variance_partition", "arguments": {"targets": ["one"], "candidates": 4,
                                                     "permutations": 0}},
    ]}  # fmt: skip
    plan = validate(content, origin="test")
    assert analyze.analyze(plan, advance=silent) == {"new": 8, "already": 0}
    tree = store.open(plan.store)
    assert "/results/two/ridge" not in tree.groups
    ridge = tree["results/one/ridge"].to_dataset()
    assert ridge["null_score"].dims == ("step", "layer", "permutation", "neuroid")
    assert ridge["null_score"].sizes["permutation"] == 5
    assert float(ridge["p_value"].sel(step=10, layer="layer1").max()) == pytest.approx(1 / 6)
    assert mapping(ridge.attrs["identity"])["shuffle"] == "category"

    # The shuffles are those of the seed, the same at both steps.
    orders = metrics.permutations(N, 5, seed=0, categories=CATEGORIES)
    response = brain()["response"].to_numpy()
    folds = targets.make_target(brain(), tree["activations"].to_dataset()).folds
    for step in (0, 10):
        X = layers_at(step)["layer0"].astype(float)
        for k in (0, 4):
            alone = metrics.encode(X, response[orders[k]], folds=folds)["layer_r"][0]
            found = ridge["null_score"].sel(step=step, layer="layer0").isel(permutation=k)
            np.testing.assert_allclose(found, alone, atol=1e-6)

    rsa = tree["results/two/rsa"].to_dataset()
    assert rsa["subject"].to_numpy().tolist() == ["s1", "s1", "s2", "s2"]
    assert rsa["region"].to_numpy().tolist() == ["belt", "core"] * 2
    assert rsa["ceiling_lower"].dims == ("subject",)
    assert rsa["null_score"].sizes["permutation"] == 3

    parts = tree["results/one/variance_partition"].to_dataset()
    # Scores that are parts of variance have ceilings that are.
    np.testing.assert_allclose(parts["ceiling"], 0.8**2)
    np.testing.assert_allclose(ridge["ceiling"], 0.8)
    assert "baseline" not in parts and "null_score" not in parts
    total = parts["unique_r2"] + parts["baseline_unique_r2"] + parts["shared_r2"]
    np.testing.assert_allclose(total, parts["total_r2"])
    assert float(parts["unique_r2"].sel(step=10, layer="layer1").mean()) > 0.5
    assert analyze.analyze(plan, advance=silent) == {"new": 0, "already": 8}
    table = sweep.half_times(plan)
    assert set(zip(table["target"], table["metric"])) == {
        ("one", "ridge"), ("one", "rsa"), ("one", "variance_partition"), ("two", "rsa")
    }  # fmt: skip


def test_other_shuffles_need_another_label(content):
    plan = validate(content | {"metrics": ["cka"], "permutations": 4}, origin="test")
    analyze.analyze(plan, advance=silent)
    other = plan.model_copy(update={"permutations": 5})
    with pytest.raises(ValueError, match=r"permutations = 4, this sweep has 5.*another `label`"):
        analyze.analyze(other, advance=silent)


@pytest.mark.slow
def test_two_protocols_in_a_store_are_told_apart_and_not_compared(content):
    content |= {"targets": ["one"], "baseline": None, "resamples": 4, "metrics": [
        "ridge", {"name": "ridge", "label": "pepino", "arguments": {"protocol": "pepino"}},
        "mutual_knn",
    ]}  # fmt: skip
    plan = validate(content, origin="test")
    analyze.analyze(plan, advance=silent)
    tree = store.open(plan.store)
    # Errors of what is no correlation are not scaled as those of correlations are.
    for label, correlation in (("ridge", 1), ("mutual_knn", 0)):
        assert tree[f"results/one/{label}/resample_score"].attrs["correlation"] == correlation
    both = [tree[f"results/one/{label}"].to_dataset() for label in ("ridge", "pepino")]
    assert [each["protocol"].item() for each in both] == ["ridge", "ridge pepino"]
    table = sweep.half_times(plan)
    assert set(zip(table["metric"], table["protocol"])) == {
        ("ridge", "ridge"), ("pepino", "ridge pepino"), ("mutual_knn", "mutual_knn")
    }  # fmt: skip
    curves = [each["score"].sel(layer="layer1") for each in both]
    mixed = xr.concat(curves, "metric").mean("neuroid")
    resampled = mixed.expand_dims(resample=4)
    with pytest.raises(ValueError, match="ridge and ridge pepino: compare curves of one protocol"):
        emergence.compare(mixed, resampled, dim="metric")


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ({"name": "rsa", "arguments": {"comapre": "x"}}, "did you mean `compare`"),
        ({"name": "rsa", "arguments": {"distance": "crossnobis"}}, "needs repetitions"),
        ({"name": "ridge", "arguments": {"alphas": [0.0]}}, "penalties that are positive"),
        ({"name": "ridge", "arguments": {"permutations": -3}}, "0 or more"),
        ({"name": "cka", "arguments": {"targets": ["three"]}}, "'three', of which there is none"),
        ({"name": "mutual_knn", "arguments": {"k": 30}}, "30 neighbours among 30 stimuli"),
    ],
)
def test_faults_are_found_before_anything_runs(content, metric, message, monkeypatch):
    class Stimuli:
        names, categories, digest = NAMES, CATEGORIES, "x"

    monkeypatch.setattr(sweep.checks.sounds, "load", lambda *a, **k: Stimuli())
    monkeypatch.setattr(sweep.checks.crawl, "discover", lambda plan: [])
    monkeypatch.setattr(sweep.checks.models, "check_arguments", lambda name, given: None)
    monkeypatch.setattr(sweep.checks.brains, "check_name", lambda name: None)
    plan = validate(content | {"metrics": [metric]}, origin="test")
    with pytest.raises(ValueError, match=message):
        sweep.check(plan)


def timed_brain():
    """Responses at 10 Hz that follow layer1 of step 10 with a delay of 0.2 s, for 1.5 s."""
    X = timed_layers(10)["layer1"].astype(float)
    rng = np.random.default_rng(0)
    slow = (X[:, ::2] + X[:, 1::2]) / 2
    response = np.zeros((N, 15, 4))
    response[:, 2:12] = slow @ rng.standard_normal((4, 4))
    response += 0.2 * rng.standard_normal(response.shape)
    return xr.Dataset(
        {"response": (("stimulus", "time", "neuroid"), response)},
        coords={"stimulus": NAMES, "time": 0.05 + 0.1 * np.arange(15), "neuroid": np.arange(4)},
        attrs={"name": "timed brain"},
    )


def timed_layers(step):
    """Activations at 20 Hz for 1 s."""
    rng = np.random.default_rng(step)
    return {f"layer{k}": rng.standard_normal((N, 20, 4)).astype("float32") for k in range(2)}


@pytest.fixture
def timed(content, tmp_path, monkeypatch):
    path = tmp_path / "t.zarr"
    root = store.begin(path, run="test", identity={})
    store.plan(root, [(step, str(step), 1) for step in (0, 10)])
    times = 0.025 + 0.05 * np.arange(20)
    for step in (0, 10):
        store.write_activations(
            root, step, timed_layers(step), stimuli=NAMES, categories=CATEGORIES, times=times
        )
        store.commit(root, step, sha256=f"hash{step}")
    monkeypatch.setattr(targets.brains, "load", lambda *a, **k: timed_brain())
    heard = SimpleNamespace(durations=np.ones(N), within=None, names=NAMES)
    heard.heard = heard
    monkeypatch.setattr(analyze.sounds, "load", lambda *a, **k: heard)
    features = np.random.default_rng(9).standard_normal((N, 20, 5))

    def baseline(*args, pooling, **kwargs):
        return {"filters": features.mean(1) if pooling == "mean" else features}

    monkeypatch.setattr(controls.extract, "features", baseline)
    return content | {
        "store": str(path),
        "targets": ["brain"],
        "pooling": {"name": "time", "arguments": {"rate": 20}},
    }


@pytest.mark.slow
def test_responses_over_time_are_predicted_from_activations_over_time(timed):
    windows = [[0, 0], [0, 0.2]]
    timed["resamples"] = 6
    timed["metrics"] = [
        {"name": "encode_timeresolved", "label": "timeresolved",
         "arguments": {"windows": windows, "permutations": 2, "resamples": 4}},
        {"name": "ridge", "arguments": {"permutations": 0}},
    ]  # fmt: skip
    plan = validate(timed, origin="test")
    assert analyze.analyze(plan, advance=silent) == {"new": 4, "already": 0}
    tree = store.open(plan.store)
    found = tree["results/brain/timeresolved"].to_dataset()
    assert found["latency_score"].dims == ("step", "layer", "latency", "neuroid")
    np.testing.assert_allclose(found["latency"], [0, 0.1, 0.2])
    here = found.sel(step=10)
    assert (here["best_score"] > 0.9).all() and (here["best_window"] == 1).all()
    assert (here["best_layer"] == 1).all()
    np.testing.assert_allclose(here["best_latency"].sel(layer="layer1"), 0.2)
    assert float(found["score"].sel(step=0).max()) < 0.5
    assert found["null_score"].shape == (2, 2, 2, 4) and float(found["null_score"].max()) < 0.5
    assert found["window_end"].to_numpy().tolist() == [0, 0.2]
    # The first four of the sweep's six halves.
    again = found["resample_score"]
    assert again.dims == ("step", "layer", "resample", "neuroid") and again.sizes["resample"] == 4
    assert float(again.sel(step=10, layer="layer1").min()) > 0.8
    assert found["baseline_resample_score"].shape == (4, 4)
    assert found["time_score"].sizes["time"] == 15 and found["baseline"].dims == ("neuroid",)

    # What the store has at 20 Hz is averaged to the target's 10 Hz, and is missing at the end.
    X = {}
    for name, values in timed_layers(10).items():
        slow = np.full((N, 15, 4), np.nan)
        slow[:, :10] = (values[:, ::2].astype(float) + values[:, 1::2]) / 2
        X[name] = slow
    tree_target = targets.make_target(timed_brain(), tree["activations"].to_dataset())
    alone = metrics.encode_timeresolved(
        X, timed_brain()["response"].to_numpy(), rate=10, windows=windows, folds=tree_target.folds
    )
    np.testing.assert_allclose(here["score"], alone["best_window_r"], atol=1e-6)
    # Metrics without time see averages over it.
    mean = {name: values.astype(float).mean(1) for name, values in timed_layers(10).items()}
    ridge = metrics.encode(
        mean, timed_brain()["response"].mean("time").to_numpy(), folds=tree_target.folds
    )
    scores = tree["results/brain/ridge"]["score"].sel(step=10)
    np.testing.assert_allclose(scores, ridge["layer_r"], atol=1e-6)


def test_without_time_there_is_no_timeresolved_encoding(content, timed, monkeypatch):
    timed["metrics"] = ["encode_timeresolved"]
    static = validate(timed | {"store": content["store"]}, origin="test")
    with pytest.raises(ValueError, match="needs activations over time: set `pooling"):
        analyze.analyze(static, advance=silent)
    monkeypatch.setattr(targets.brains, "load", lambda *a, **k: brain())
    with pytest.raises(ValueError, match="needs responses over time, and target 'brain' has no"):
        analyze.analyze(validate(timed, origin="test"), advance=silent)


def test_beyond_so_many_neuroids_means_are_kept_and_single_ones_on_request(content, caplog):
    content |= {"targets": ["one"], "resamples": 4, "metrics": ["ridge", "rsa"]}
    few = validate(content | {"resample_neuroids": 5}, origin="test")
    analyze.analyze(few, advance=silent)
    ridge = store.open(few.store)["results/one/ridge"].to_dataset()
    assert ridge["resample_mean"].dims == ("step", "layer", "resample", "group")
    assert ridge["resample_mean"].sizes["group"] == 4 and "resample_score" not in ridge
    assert ridge["resample_mean"].attrs["paired"] == 1 and ridge["resample_mean"].attrs["units"]
    assert ridge["baseline_resample_mean"].dims == ("resample", "group")
    assert "`resample_neuroids: 6` (up to 384 B a step)" in ridge.attrs["no_intervals_of_neuroids"]
    pooled = ridge.dynamics.half_time(by="region")
    assert np.isfinite(pooled["lower"]).all()
    assert "resample_score" in store.open(few.store)["results/one/rsa"]
    assert analyze.analyze(few, advance=silent)["new"] == 0
    assert not caplog.records

    every = validate(content, origin="test")
    assert analyze.analyze(every, advance=silent) == {"new": 2, "already": 2}
    assert [record.message for record in caplog.records] == [
        "results of 'one' by 'ridge' were made before they had intervals: 2 steps are computed "
        "again"
    ]
    again = store.open(every.store)["results/one/ridge"].to_dataset()
    assert again["resample_score"].sizes["neuroid"] == 6
    xr.testing.assert_equal(again["score"], ridge["score"])
    xr.testing.assert_allclose(again.dynamics.half_time(by="region"), pooled, rtol=1e-9)
    caplog.clear()
    assert analyze.analyze(every, advance=silent)["new"] == 0 and not caplog.records
    # What has each one's goes on so.
    assert analyze.analyze(few, advance=silent)["new"] == 0


@pytest.mark.slow
def test_older_results_of_a_protocol_get_their_resamples_even_if_that_is_stopped(
    content, monkeypatch
):
    content |= {"targets": ["one"], "resamples": 4, "metrics": [
        {"name": "ridge", "label": "pepino", "arguments": {"protocol": "pepino"}}]}  # fmt: skip
    plan = validate(content, origin="test")
    analyze.analyze(plan, advance=silent)
    new = store.open(plan.store)["results/one/pepino"].to_dataset().load()
    assert new["resample_score"].attrs["paired"] == 1
    group = store.open_group(plan.store, mode="r+")["results/one/pepino"]
    for name in ("resample_score", "baseline_resample_score"):
        del group[name]
    write, written = store.write_result, []

    def stop(*args, **kwargs):
        if written:
            raise KeyboardInterrupt
        written.append(write(*args, **kwargs))

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(analyze.store, "write_result", stop)
        analyze.analyze(plan, advance=silent)
    assert analyze.analyze(plan, advance=silent) == {"new": 1, "already": 1}
    again = store.open(plan.store)["results/one/pepino"].to_dataset().load()
    xr.testing.assert_equal(again["resample_score"], new["resample_score"])
    xr.testing.assert_equal(again["baseline_resample_score"], new["baseline_resample_score"])
    assert analyze.analyze(plan, advance=silent)["new"] == 0
    # Resamples without a third of the stimuli, whose limits were too wide, are made again.
    group = store.open_group(plan.store, mode="r+")["results/one/pepino"]
    group["resample_score"].attrs.update({"method": "subsample", "paired": 0})
    group["resample_score"][:] = 0.5
    assert analyze.analyze(plan, advance=silent)["new"] == 2
    again = store.open(plan.store)["results/one/pepino"].to_dataset().load()
    xr.testing.assert_identical(again["resample_score"], new["resample_score"])


def test_the_number_of_folds_is_that_of_the_sweep_or_of_a_metric(content):
    content |= {"targets": ["one"], "folds": 3, "metrics": [
        "ridge", {"name": "ridge", "label": "six", "arguments": {"folds": 6}}]}  # fmt: skip
    plan = validate(content, origin="test")
    analyze.analyze(plan, advance=silent)
    tree = store.open(plan.store)
    for label, number in (("ridge", 3), ("six", 6)):
        found = tree[f"results/one/{label}"].to_dataset()
        assert found.sizes["split"] == number
        folds = metrics.stratified_folds(CATEGORIES, number)
        X, Y = layers_at(10)["layer1"].astype(float), brain()["response"].to_numpy()
        alone = metrics.encode(X, Y, folds=folds)
        np.testing.assert_allclose(found["score"].sel(step=10, layer="layer1"),
                                   alone["layer_r"][0], atol=1e-6)  # fmt: skip


def test_a_target_with_gaps_reaches_the_store_with_the_pairs_that_it_has(content, monkeypatch):
    lacking = brain()
    lacking["response"][3, 0] = lacking["response"][7, 2] = np.nan
    lacking["response"][9, ::2] = np.nan
    monkeypatch.setattr(targets.brains, "load", lambda *a, **k: lacking)
    content |= {"targets": ["one"], "resamples": 4, "permutations": 3, "metrics": ["rsa"]}
    analyze.analyze(validate(content, origin="test"), advance=silent)
    found = store.open(content["store"])["results/one/rsa"].to_dataset()
    by_subject = lacking["response"].to_numpy()
    for place, columns in enumerate((slice(0, None, 2), slice(1, None, 2))):
        Y = by_subject[:, columns]
        D = metrics.rdm(Y, missing="mask")[np.triu_indices(N, 1)]
        assert found["pairs"].to_numpy()[place] == np.isfinite(D).sum()
        expected = metrics.rsa(layers_at(10)["layer1"].astype(float), Y, missing="mask")
        score = found["score"].sel(step=10, layer="layer1").to_numpy()[place]
        assert score == pytest.approx(expected, abs=1e-10)
    assert np.isfinite(found["resample_score"]).all() and np.isfinite(found["p_value"]).all()
    assert found["stimuli"].to_numpy().tolist() == [N - 1, N]
    assert "pairs" in mapping(found.attrs["identity"])
    # A store of scores that were made otherwise is not gone on with.
    root = store.open_group(content["store"], mode="r+")
    group = root["results/one/rsa"]
    identity = dict(group.attrs["identity"])
    group.attrs["identity"] = {k: v for k, v in identity.items() if k != "pairs"}
    with pytest.raises(ValueError, match="pairs"):
        analyze.analyze(validate(content, origin="test"), advance=silent)
