import multiprocessing

import numpy as np
import pytest

from dynamics import store

STEPS, LAYERS = list(range(150)), [f"layer{number}" for number in range(3)]


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
        # Time for some ten steps a life: most kills fall on chunks that hold committed steps.
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
