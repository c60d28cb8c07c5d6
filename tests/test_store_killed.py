import multiprocessing
import shutil
import uuid
import warnings

import numpy as np
import pytest
from tiny_store import CATEGORIES, STIMULI, activations
from zarr.storage import LocalStore

from dynamics import store

STEPS, LAYERS = list(range(80)), [f"layer{number}" for number in range(3)]


def scores(step):
    return np.random.default_rng(step).standard_normal((len(LAYERS), 11))


def score_all(path, started):
    """The writing half of `analyze`: what is committed already is left alone."""
    with store.lock(path):
        root = store.begin(path, run="test", identity={})
        started.set()
        coordinates = {"layer": ("layer", LAYERS)}
        group = store.begin_result(root, "brain", "ridge", identity={}, coordinates=coordinates)
        alike = store.begin_result(root, "self", "cka", identity={}, coordinates=coordinates)
        for step in STEPS:
            if step not in store.committed(group):
                values = {"score": (("layer", "neuroid"), scores(step))}
                store.write_result(group, step, values, checkpoint=f"hash-{step}")
            if step not in store.committed(alike):
                others = [*store.committed(alike), step]
                values = np.array([[step * other] * len(LAYERS) for other in others], float)
                store.write_pairs(alike, step, others, values)
                store.write_result(alike, step, {}, checkpoint=f"hash-{step}")


def results(path):
    tree = {
        node.path.removeprefix("/results/"): node for node in store.open(path)["results"].subtree
    }
    return {name: tree[name].to_dataset() for name in ("brain/ridge", "self/cka") if name in tree}


@pytest.mark.slow
@pytest.mark.guards(1)
def test_results_killed_at_random_moments_and_resumed_are_those_of_an_undisturbed_run(tmp_path):
    # A server that has imported everything already starts a child in milliseconds.
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["dynamics.store"])
    for name in ("reference", "killed"):
        store.begin(tmp_path / f"{name}.zarr", run="test", identity={})
    score_all(tmp_path / "reference.zarr", server.Event())
    rng, kills, seen = np.random.default_rng(0), 0, [0]
    path = tmp_path / "killed.zarr"
    while len(results(path).get("self/cka", {}).get("step", ())) < len(STEPS):
        started = server.Event()
        child = server.Process(target=score_all, args=(path, started))
        child.start()
        assert started.wait(60)
        # Time for some steps a life: most kills fall on chunks that hold committed steps.
        child.join(rng.uniform(0.01, 0.4) if kills < 25 else None)
        if child.is_alive():
            child.kill()
            kills += 1
        child.join()
        found = results(path)
        if "score" in found.get("brain/ridge", {}):
            steps = found["brain/ridge"]["step"].to_numpy()
            expected = [scores(step) for step in steps]
            if len(steps):
                np.testing.assert_array_equal(found["brain/ridge"]["score"], np.array(expected))
            seen.append(len(steps))
    assert kills >= 10 and len(set(seen)) > 5, f"the kills fell at too few places: {seen}"
    assert seen == sorted(seen)
    reference = results(tmp_path / "reference.zarr")
    for name, dataset in results(path).items():
        assert dataset.drop_attrs().identical(reference[name].drop_attrs())


def write_all(path):
    """Write something of every kind, but only what is missing."""
    with store.lock(path):
        root = store.begin(path, run="test", identity={})
        for group, word in ((root, "file"), (store.begin_controls(root), "untrained")):
            for steps in ((20,), (20, 0)):
                rows = [(step, f"{word}-{step}", 10) for step in steps]
                store.plan(group, rows, modified=[1.5 + step for step in steps])
                statuses = store.statuses(group)
                for step in (step for step in steps if statuses[step] != store.DONE):
                    layers = activations(step)
                    store.write_activations(
                        group, step, layers, stimuli=STIMULI, categories=CATEGORIES
                    )
                    store.commit(group, step, sha256=f"hash-{step}", seconds=1.0)
        coordinates = {
            "layer": ("layer", ["first", "second"]),
            "region": ("neuroid", ["left", "right"]),
        }
        group = store.begin_result(root, "brain", "ridge", identity={}, coordinates=coordinates)
        if not store.is_written(group, "protocol"):
            store.write_label(group, "protocol", "five folds", "how the scores were made")
        if not store.is_written(group, "baseline"):
            store.write_constant(group, "baseline", ("neuroid",), [0.5, 0.25], description="level")
        have = store.committed(group)
        for step in (step for step in (20, 0) if step not in have):
            values = {"score": (("layer", "neuroid"), np.full((2, 2), step + 0.5))}
            store.write_result(group, step, values, checkpoint=f"hash-{step}")


def copied_at_every_write(path, folder, monkeypatch):
    """Write all; return what a kill would have left at every write, the file half written."""
    original, copies = LocalStore.set, []

    async def copy_and_set(self, key, value):
        target = self.root / key
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(f".{uuid.uuid4().hex}.partial")
        partial.write_bytes(b"ha")
        copies.append(folder / str(len(copies)) / path.name)
        shutil.copytree(self.root, copies[-1])
        (copies[-1].parent / f".{path.name}.lock").write_text("process 1 on elsewhere")
        partial.unlink()
        await original(self, key, value)

    with monkeypatch.context() as patched:
        patched.setattr(LocalStore, "set", copy_and_set)
        write_all(path)
    return copies


def look_at(path):
    try:
        tree = store.open(path)
    except FileNotFoundError as error:
        assert "`dynamics crawl` makes one" in str(error)
        return
    tree.load()
    store.summarise(path)
    assert store.verify(path) == store.verify_controls(path) == {}
    assert store.failures(path) == {}
    for step in store.controls(path):
        found = store.read_activations(store.place_of(path) / "controls", step)
        np.testing.assert_array_equal(found["second"], activations(step)["second"])


def undated(path):
    tree = store.open(path).load()
    for node in tree.subtree:
        node.attrs.pop("created", None)
    return tree


# Every second write of one half is enough for each check, the other half is run on request.
@pytest.mark.guards(1)
@pytest.mark.parametrize(
    "part",
    [pytest.param(0, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.benchmark)],
)
def test_stopped_at_any_write_a_store_is_readable_and_resumed_the_same(tmp_path, monkeypatch, part):
    copies = copied_at_every_write(tmp_path / "s.zarr", tmp_path / "copies", monkeypatch)
    assert len(copies) > 100
    reference = undated(tmp_path / "s.zarr")
    # One that holds nothing and is of another sweep is made anew.
    other = tmp_path / "other" / "s.zarr"
    store.plan(store.begin(other, run="test", identity={"pooling": "last"}), [(7, "file", 1)])
    copies += copied_at_every_write(other, tmp_path / "others", monkeypatch)[:20]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in copies[part::2]:
            look_at(path)
            write_all(path)
            assert undated(path).identical(reference)
            assert not list(path.rglob("*.partial"))
