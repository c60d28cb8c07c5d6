"""Results of many neuroids: single precision, chunks of some neuroids in a file a step."""

import shutil

import numpy as np
import pytest
from tiny_run import sweep_in, sweep_of

import dynamics
from dynamics import store
from dynamics.analysis import analyze, split_halves
from dynamics.extraction import crawl
from dynamics.store import hashes, results

V, STEPS = 50, (10, 0, 20)


@pytest.fixture
def group(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "_NEUROIDS", 8)
    monkeypatch.setattr(results, "_MANY_BYTES", 100)
    root = store.begin(tmp_path / "run.zarr", run="test", identity={})
    found = store.begin_result(
        root,
        "brain",
        "ridge",
        identity={},
        coordinates={"region": ("neuroid", np.repeat(["a", "b"], V // 2))},
    )
    for step in STEPS:
        write(found, step)
    return found


def values_of(step):
    return np.random.default_rng(step).standard_normal((2, V)).astype(np.float32)


def write(group, step):
    values = {"score": (("layer", "neuroid"), values_of(step))}
    store.write_result(group, step, values, checkpoint=f"hash-{step}")


def read(group, **chosen):
    path = group.store.root
    return dynamics.open(path)["results/brain/ridge"]["score"].isel(**chosen).to_numpy()


def test_a_step_is_one_file_and_reads_back_in_any_cut(group):
    folder = group.store.root / group.path / "score/c"
    files = [each for each in folder.rglob("*") if each.is_file()]
    assert sorted(each.relative_to(folder).as_posix() for each in files) == [
        f"{row}/0/0" for row in range(3)
    ]
    expected = np.stack([values_of(step) for step in sorted(STEPS)])
    np.testing.assert_array_equal(read(group), expected)
    np.testing.assert_array_equal(read(group, neuroid=slice(5, 30)), expected[:, :, 5:30])
    np.testing.assert_array_equal(read(group, neuroid=[3, 49], step=1), expected[1][:, [3, 49]])
    assert hashes.faults_of_steps(group) == {}


def test_neuroids_of_a_region_are_read_without_the_others(group, monkeypatch):
    seen = []
    usual = hashes.hash_of
    monkeypatch.setattr(
        hashes, "hash_of", lambda name, values, *more: seen.append(more[-1]) or usual(
            name, values, *more
        ),
    )  # fmt: skip
    read(group, neuroid=slice(9, 15))
    assert seen == [8] * len(STEPS)


def test_what_was_changed_is_named_where_it_is_read(group):
    array = group["score"]
    array[1, 0, 20] = 5.0
    with pytest.raises(ValueError, match="values at step 0 than were committed"):
        read(group, neuroid=slice(16, 24))
    read(group, neuroid=slice(24, 32))
    assert hashes.faults_of_steps(group) == {1: "holds other values of `score` than were committed"}


def test_a_step_in_the_place_of_another_is_named(group):
    folder = group.store.root / group.path / "score/c"
    shutil.copy(folder / "0/0/0", folder / "2/0/0")
    with pytest.raises(ValueError, match="values at step 20"):
        read(group, neuroid=[0])
    write(group, 20)
    assert hashes.faults_of_steps(group) == {}


@pytest.fixture
def sweep(tmp_path):
    found = sweep_of(
        sweep_in(
            tmp_path, [0],
            stimuli={"name": "synthetic", "arguments": {"per_kind": 4, "seconds": 0.4}},
            targets=[{"name": "simulated", "arguments": {"neuroids": 6}}],
            baseline=None, untrained=0, metrics=["ridge"], resamples=0,
        )
    )  # fmt: skip
    crawl.crawl(found)
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_many_neuroids_are_kept_in_single_precision_and_go_on_as_they_were_begun(
    sweep, monkeypatch, caplog
):
    path = sweep.place.local
    analyze.analyze(sweep)
    before = store.open(path)["results/simulated/ridge"].to_dataset().load()
    monkeypatch.setattr(split_halves, "SINGLE_FROM", 5)
    group = store.open_group(path, mode="r+")["results/simulated/ridge"]
    results.uncommit(group, 0)
    analyze.analyze(sweep)
    again = store.open(path)["results/simulated/ridge"].to_dataset()
    assert again["score"].dtype == np.float64 and "fold_score" in again

    monkeypatch.setattr(split_halves, "_LEAST_SAID", 1)
    for label, keep in (("few", {}), ("all", {"keep": "folds"})):
        metric = {"name": "ridge", "label": label, "arguments": keep}
        analyze.analyze(sweep.model_validate(sweep.model_dump() | {"metrics": [metric]}))
        found = store.open(path)[f"results/simulated/{label}"].to_dataset()
        assert ("fold_score" in found) == bool(keep)
        for name in ("score", "r2", "best_score"):
            assert found[name].dtype == np.float32
            np.testing.assert_allclose(found[name], before[name], atol=6e-8)
        assert found["best_layer"].dtype == before["best_layer"].dtype
    assert "6 neuroids x 2 layers in single precision, without those of folds" in caplog.text
