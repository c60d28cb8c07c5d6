import logging
import shutil
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from sklearn.linear_model import Ridge

from dynamics import (
    analysis,
    brains,
    cluster,
    metrics,
    store,
)
from dynamics.analysis import analyze, scoring
from dynamics.brains import targets
from dynamics.config import Choice, validate
from dynamics.progress import silent, size_of

N, V, SUBJECTS = 40, 6, 3
NAMES = [f"sound{i}" for i in range(N)]
CATEGORIES = ["speech", "music"] * (N // 2)


def layers_at(step):
    rng = np.random.default_rng(step)
    return {f"layer{k}": rng.standard_normal((N, 12)).astype("float32") for k in range(2)}


@pytest.fixture
def brain(tmp_path):
    """A target of another order and with one more sound; it follows layer1 of step 10."""
    rng = np.random.default_rng(0)
    order = rng.permutation(N)
    signal = layers_at(10)["layer1"].astype(float) @ rng.standard_normal((12, V))
    response = signal + 0.3 * rng.standard_normal((N, V))
    data = xr.Dataset(
        {"response": (("stimulus", "neuroid"), response[order])},
        coords={
            "stimulus": [NAMES[i] for i in order],
            "neuroid": [f"n{i}" for i in range(V)],
            "subject": ("neuroid", [f"s{i % SUBJECTS}" for i in range(V)]),
        },
        attrs={"name": "test brain", "simulated": 1},
    )
    data.to_netcdf(tmp_path / "brain.nc", engine="scipy")
    return data


@pytest.fixture
def sweep(tmp_path, brain, monkeypatch):
    path = tmp_path / "s.zarr"
    root = store.begin(path, run="test", identity={})
    store.plan(root, [(step, str(step), 1) for step in (10, 0)])
    for step in (10, 0):
        store.write_activations(root, step, layers_at(step), stimuli=NAMES, categories=CATEGORIES)
        store.commit(root, step, sha256=f"hash{step}")
    monkeypatch.setattr(analyze.sounds, "load", lambda *a, **k: None)
    monkeypatch.setattr(targets.brains, "load", lambda *a, **k: brain)
    return validate(
        {
            "run": "test",
            "store": str(path),
            "checkpoints": "none",
            "model": "none",
            "stimuli": "none",
            "targets": ["brain"],
            "baseline": None,
            "workers": 2,
        },
        origin="test",
    )


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
@pytest.mark.guards(7)
def test_untrained_networks_are_scored_like_a_step(sweep, brain, monkeypatch):
    monkeypatch.setattr(analyze, "_run", lambda *_: None)  # steps are not of interest here
    root = store.open_group(sweep.store, mode="r+")
    controls = store.begin_controls(root)
    store.plan(controls, [(number, "untrained", 0) for number in range(3)])
    for number in range(3):
        layers = layers_at(10 * number)
        store.write_activations(controls, number, layers, stimuli=NAMES, categories=CATEGORIES)
        if number < 2:
            store.commit(controls, number, sha256=f"untrained-{number}")
    analyze.analyze(sweep, advance=silent)
    activations = store.open(sweep.store)["activations"].to_dataset()
    target = targets.make_target(brain, activations)
    for metric, variable in (("ridge", "score"), ("rsa", "score"), ("ridge", "r2")):
        results = store.open_group(sweep.store)[f"results/brain/{metric}"]
        found = results[f"untrained_{variable}"]
        assert found.metadata.dimension_names[:2] == ("control", "layer")
        expected = scoring.score_step(str(sweep.store), 10, target, metric, {})[variable][1]
        # the same layers through the same function; two of three controls are complete
        np.testing.assert_allclose(found[:][1], expected, rtol=1e-12)
        assert found.shape[0] == 2
        # on the halves of the stimuli that the steps are scored on as well
        halves = analysis.halves_of(target, None, sweep)
        again = scoring.score_step(str(sweep.store), 10, target, metric, {}, halves=halves)
        found = results["untrained_resample_score"]
        np.testing.assert_allclose(found[:][1], again["resample_score"][1], rtol=1e-12)
        assert found.metadata.dimension_names[:3] == ("control", "layer", "resample")
    store.commit(controls, 2, sha256="untrained-2")
    analyze.analyze(sweep, advance=silent)
    again = store.open_group(sweep.store)["results/brain/rsa/untrained_score"]
    assert again.shape[0] == 3


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
@pytest.mark.guards(7)
def test_permuted_networks_are_scored_beside_the_untrained_ones(sweep, brain, monkeypatch):
    monkeypatch.setattr(analyze, "_run", lambda *_: None)
    root = store.open_group(sweep.store, mode="r+")
    controls = store.begin_controls(root)
    numbers = {0: 20, 1000: 0, 1001: 10}
    store.plan(controls, [(number, "control", 0) for number in numbers])
    for number, seed in numbers.items():
        layers = layers_at(seed)
        store.write_activations(controls, number, layers, stimuli=NAMES, categories=CATEGORIES)
        store.commit(controls, number, sha256=f"control-{number}")
    analyze.analyze(sweep, advance=silent)
    target = targets.make_target(brain, store.open(sweep.store)["activations"].to_dataset())
    results = store.open_group(sweep.store)["results/brain/ridge"]
    assert results["untrained_score"].shape[0] == 1
    found = results["permuted_score"]
    assert found.metadata.dimension_names[:2] == ("permuted", "layer")
    expected = scoring.score_step(str(sweep.store), 10, target, "ridge", {})["score"][1]
    np.testing.assert_allclose(found[:][1], expected, rtol=1e-12)
    assert results["permuted_resample_score"].shape[0] == len(results.attrs["permuted"]) == 2
    # a third one has those of its kind scored again, and those alone
    store.plan(controls, [(1002, "control", 0)])
    store.write_activations(controls, 1002, layers_at(3), stimuli=NAMES, categories=CATEGORIES)
    store.commit(controls, 1002, sha256="control-1002")
    scored = []
    whole = analyze._levels
    monkeypatch.setattr(
        analyze, "_levels", lambda base, jobs, work: scored.extend(jobs) or whole(base, jobs, work)
    )
    analyze.analyze(sweep, advance=silent)
    assert {job.step for job in scored} == {1000, 1001, 1002}
    assert store.open_group(sweep.store)["results/brain/ridge/permuted_score"].shape[0] == 3


@pytest.mark.usefixtures("in_this_process")
def test_scores_are_joined_by_name_and_agree_with_scikit_learn(sweep, brain):
    assert analyze.analyze(sweep, advance=silent) == {"new": 4, "already": 0}
    results = store.open(sweep.store)["results/brain/ridge"].to_dataset()
    assert results["step"].to_numpy().tolist() == [0, 10]
    best = results["r2"].mean("neuroid")
    assert best.argmax(...)["layer"].item() == 1 and best.sel(step=10, layer="layer1") > 0.6
    assert best.sel(step=0).max() < 0.3

    # The same folds and one alpha by hand: the score is that of scikit-learn's ridge.
    activations = store.open(sweep.store)["activations"].to_dataset()
    target = targets.make_target(brain, activations)
    X = layers_at(10)["layer1"][target.rows].astype(float)
    found = analysis.METHODS["ridge"]({"layer1": X}, target, alphas=np.array([3.0]))
    predictions = np.empty_like(target.response)
    for fold in np.unique(target.folds):
        test = target.folds == fold
        model = Ridge(3.0).fit(X[~test], target.response[~test])
        predictions[test] = model.predict(X[test])
    r = [np.corrcoef(predictions[:, v], target.response[:, v])[0, 1] for v in range(V)]
    np.testing.assert_allclose(found["score"][1][0], r, atol=1e-6)
    by_name = brain.sel(stimulus=[NAMES[row] for row in target.rows])
    np.testing.assert_array_equal(by_name["response"].to_numpy(), target.response)


# Those over time are held in their own file.
NOT_OF_SPACES = {
    name for name, each in analysis.METHODS.items() if each.per != "group" or each.needs
}


@pytest.mark.parametrize("name", sorted(set(analysis.METHODS) - NOT_OF_SPACES))
def test_every_metric_of_whole_spaces_has_a_score_a_subject(name):
    rng = np.random.default_rng(0)
    X = {"a": rng.standard_normal((60, 8)), "b": rng.standard_normal((60, 5))}
    response = X["a"] @ rng.standard_normal((8, 12)) + 0.1 * rng.standard_normal((60, 12))
    subjects = np.repeat(["s1", "s2"], 6)
    target = targets.Target(np.arange(60), response, np.arange(60) % 5, subjects)
    dims, score = analysis.METHODS[name](X, target)["score"]
    assert dims == ("layer", "subject") and score.shape == (2, 2)
    assert (score[0] > score[1] + 0.1).all()
    plain = {"rsa": metrics.rsa, "cka": metrics.cka, "mutual_knn": metrics.mutual_knn}
    if name in plain:
        np.testing.assert_allclose(score[1, 1], plain[name](X["b"], response[:, 6:]), rtol=1e-9)


@pytest.mark.usefixtures("in_this_process")
def test_halves_are_complementary_and_their_scores_are_those_of_the_metric_on_them(sweep, brain):
    analyze.analyze(sweep.model_copy(update={"resamples": 4}), advance=silent)
    tree = store.open(sweep.store)
    target = targets.make_target(brain, tree["activations"].to_dataset())
    halves = analysis.halves_of(target, None, sweep.model_copy(update={"resamples": 4}))
    assert not set(halves[0][halves[0] >= 0]) & set(halves[1][halves[1] >= 0])
    rows = halves[2][halves[2] >= 0]
    D = metrics.rdm(layers_at(10)["layer0"][target.rows].astype(float), zscore=True)
    for number, name in enumerate(("s0", "s1", "s2")):
        E = metrics.rdm(target.of_subject(name), zscore=True)
        found = tree["results/brain/rsa/resample_score"].sel(step=10, layer="layer0")
        np.testing.assert_allclose(
            found.isel(resample=2, subject=number).item(),
            metrics.compare_rdms(D[rows][:, rows], E[rows][:, rows]),
            rtol=1e-9,
        )
    ridge = tree["results/brain/ridge/resample_score"]
    assert ridge.dims == ("step", "layer", "resample", "neuroid") and ridge.sizes["resample"] == 4
    assert ridge.attrs["paired"] == 1
    assert float(ridge.sel(step=10, layer="layer1").mean()) > 0.4


def test_crossnobis_rsa_takes_the_repetitions():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((40, 8))
    signal = X @ rng.standard_normal((8, 10))
    response = signal[..., None] + rng.standard_normal((40, 10, 4))
    target = targets.Target(np.arange(40), response, np.arange(40) % 5, np.full(10, "s"))
    score = analysis.METHODS["rsa"]({"a": X}, target, distance="crossnobis")["score"][1]
    np.testing.assert_allclose(score[0, 0], metrics.rsa(X, response, distance="crossnobis"))
    assert score[0, 0] > 0.4


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_only_what_is_missing_is_computed(sweep):
    analyze.analyze(sweep, advance=silent)
    assert analyze.analyze(sweep, advance=silent) == {"new": 0, "already": 4}
    root = store.open_group(sweep.store, mode="r+")
    store.plan(root, [(5, "5", 1)])
    store.write_activations(root, 5, layers_at(5), stimuli=NAMES, categories=CATEGORIES)
    store.commit(root, 5, sha256="hash5")
    assert analyze.analyze(sweep, advance=silent) == {"new": 2, "already": 4}
    store.commit(root, 0, sha256="another")
    assert analyze.analyze(sweep, advance=silent) == {"new": 2, "already": 4}
    results = store.open(sweep.store)["results/brain/rsa"].to_dataset()
    assert results["step"].to_numpy().tolist() == [0, 5, 10]
    assert results["subject"].to_numpy().tolist() == ["s0", "s1", "s2"]


@pytest.mark.slow
@pytest.mark.guards(10)
def test_one_worker_or_two_of_a_running_scheduler_or_not_give_the_same_numbers(sweep):
    analyze.analyze(sweep, advance=silent)
    first = store.open(sweep.store)["results/brain"].load()
    shutil.rmtree(sweep.store / "results" / "brain")
    with analyze.cluster(None, workers=1) as client:
        analyze.analyze(sweep, scheduler=client.scheduler.address, advance=silent)
    xr.testing.assert_equal(first, store.open(sweep.store)["results/brain"])
    score = store.open(sweep.store)["results/brain/rsa"]["score"].sel(step=10).to_numpy()
    tree = store.open(sweep.store)
    target = targets.make_target(
        analyze.load_brain(sweep.targets[0], None), tree["activations"].to_dataset()
    )
    layers = store.read_activations(sweep.store, 10)
    layers = {name: values[target.rows].astype(float) for name, values in layers.items()}
    np.testing.assert_array_equal(score, analysis.METHODS["rsa"](layers, target)["score"][1])


@pytest.mark.usefixtures("in_this_process")
def test_other_parameters_need_another_label(sweep):
    analyze.analyze(sweep, advance=silent)
    changed = sweep.model_copy(update={"seed": 1})
    with pytest.raises(ValueError, match=r"seed = 0, this sweep has 1.*another `label`"):
        analyze.analyze(changed, advance=silent)


def test_a_metric_that_does_not_exist_is_refused_before_anything_is_written(sweep):
    metrics = (Choice(name="rigde"),)
    with pytest.raises(ValueError, match="unknown metric 'rigde'"):
        analyze.analyze(sweep.model_copy(update={"metrics": metrics}), advance=silent)


@pytest.mark.slow
def test_no_scheduler_at_an_address_is_one_sentence(monkeypatch):
    monkeypatch.setattr(cluster, "PATIENCE", 0.5)
    with (
        pytest.raises(OSError, match=r"no dask scheduler answers at tcp://127\.0\.0\.1:9"),
        analyze.cluster("tcp://127.0.0.1:9"),
    ):
        pass


def test_a_target_checksum_forgives_the_last_bit_and_nothing_else():
    rng = np.random.default_rng(1)
    target = targets.Target(np.arange(165), rng.standard_normal((165, 200)), np.arange(165) % 5, [])
    noise = 1e-13 * rng.standard_normal(target.response.shape)
    same = targets.Target(target.rows, target.response + noise, target.folds, [])
    other = targets.Target(target.rows, target.response.copy(), target.folds, [])
    other.response[3, 7] += 0.01
    rotated = targets.Target(target.rows, target.response, np.roll(target.folds, 1), [])
    base = targets.checksums(target)
    assert np.allclose(base, targets.checksums(same), rtol=0, atol=1e-10)
    assert not np.allclose(base, targets.checksums(other), rtol=1e-6, atol=1e-6)
    assert not np.allclose(base, targets.checksums(rotated), rtol=1e-6, atol=1e-6)
    gap, zero = target.response.copy(), target.response.copy()
    gap[3, 7], zero[3, 7] = np.nan, 0.0
    gaps, zeros = (targets.checksums(replace(target, response=Y)) for Y in (gap, zero))
    assert np.isfinite(gaps).all() and not np.allclose(gaps, zeros, rtol=1e-6, atol=1e-6)


def test_infinite_values_and_uneven_times_are_refused(brain):
    activations = xr.Dataset(coords={"stimulus": NAMES, "category": ("stimulus", CATEGORIES)})
    endless = brain.copy(deep=True)
    endless["response"][2, 4] = np.inf
    with pytest.raises(ValueError, match="infinite responses"):
        targets.make_target(endless, activations)
    uneven = brain.expand_dims(time=[0.0, 0.1, 0.3])
    with pytest.raises(ValueError, match="times in even steps"):
        targets.make_target(uneven, activations)
    with pytest.raises(ValueError, match="without times"):
        targets.make_target(uneven.drop_vars("time"), activations)


def test_the_ecog_target_joins_the_fmri_stimuli_by_name(data_root):
    names = brains.load("nh2015-components")["stimulus"].to_numpy()
    ecog = brains.load("nh2022-ecog")
    activations = xr.Dataset(
        coords={"stimulus": names[::-1], "category": ("stimulus", ["x", "y", "z"] * 55)}
    )
    target = targets.make_target(ecog, activations)
    row = int(np.flatnonzero(names[::-1][target.rows] == "stim5_alarm_clock")[0])
    np.testing.assert_array_equal(
        target.response[row], ecog["response"].sel(stimulus="stim5_alarm_clock").to_numpy()
    )


@pytest.mark.usefixtures("in_this_process")
def test_kept_predictions_stand_under_the_names_of_the_sounds_and_their_size_is_said(
    sweep, brain, caplog
):
    metric = {"name": "ridge", "label": "kept", "arguments": {"keep": "predictions"}}
    sweep = type(sweep).model_validate(sweep.model_dump() | {"metrics": [metric]})
    with caplog.at_level(logging.INFO):
        analyze.analyze(sweep, advance=silent)
    (said,) = [each for each in caplog.records if "predictions of" in each.getMessage()]
    words = f"40 stimuli x 6 neuroids in 4 layers of steps, take {size_of(3840)}"
    assert words in said.getMessage() and said.levelno == logging.INFO
    results = store.open(sweep.store)["results/brain/kept"].to_dataset()
    kept = results["prediction"]
    assert kept.dims == ("step", "layer", "stimulus", "neuroid") and kept.dtype == np.float32
    assert kept["stimulus"].to_numpy().tolist() == NAMES
    response = brain["response"].sel(stimulus=NAMES).to_numpy()
    at = kept.sel(step=10, layer="layer1").to_numpy()
    r = [np.corrcoef(at[:, v], response[:, v])[0, 1] for v in range(6)]
    np.testing.assert_allclose(results["score"].sel(step=10, layer="layer1"), r, atol=1e-6)
    assert store.verify_results(sweep.store) == {}
