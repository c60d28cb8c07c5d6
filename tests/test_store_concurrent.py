import multiprocessing

import numpy as np
import pytest

import dynamics
from dynamics import store

STIMULI, CATEGORIES, NEUROIDS = ["a", "b", "c"], ["x", "x", "y"], 7
LAYERS = ["first", "second", "third"]
STEPS = [int(step) for step in np.random.default_rng(0).permutation(20)]
BATCH = 4  # a crawl that looks for new checkpoints finds so many each time


def activations(step):
    rng = np.random.default_rng(step)
    return {layer: rng.standard_normal((3, 4)).astype("float32") for layer in LAYERS}


def scores(step):
    return np.random.default_rng([step, 1]).standard_normal((len(LAYERS), NEUROIDS))


def write_all(path, made, looked, stop):
    """What `crawl` and `analyze` do to a store, as fast as it can but for a look a batch."""
    with store.lock(path):
        root = store.begin(path, run="test", identity={})
        made.set()
        coordinates = {"layer": ("layer", LAYERS)}
        result = store.begin_result(root, "brain", "ridge", identity={}, coordinates=coordinates)
        alike = store.begin_result(root, "self", "cka", identity={}, coordinates=coordinates)
        controls = store.begin_controls(root)
        for start in range(0, len(STEPS), BATCH):
            batch = STEPS[start : start + BATCH]
            while looked.acquire(block=False):
                pass
            assert looked.acquire(timeout=60)  # a look that ended in this state
            for group in (root, controls):
                store.plan(group, [(step, f"file-{step}", 10) for step in batch])
                for step in batch:
                    if stop.is_set():
                        return
                    store.write_activations(
                        group, step, activations(step), stimuli=STIMULI, categories=CATEGORIES
                    )
                    store.commit(group, step, sha256=f"hash-{step}", seconds=1.0)
            for step in batch:
                others = [*store.committed(alike), step]
                values = np.array([[step + other] * len(LAYERS) for other in others], float)
                store.write_pairs(alike, step, others, values)
                store.write_result(alike, step, {}, checkpoint=f"hash-{step}")
                values = {"score": (("layer", "neuroid"), scores(step))}
                store.write_result(result, step, values, checkpoint=f"hash-{step}")


def check_activations(tree, dim="step"):
    if "activations" not in tree or not tree["activations"].children:
        return 0
    found = tree["activations"]
    steps = found[dim].to_numpy().tolist() if dim in found.coords else []
    assert steps == sorted(steps) and set(steps) <= set(STEPS)
    if steps:
        assert list(found.children) == LAYERS
        assert found["stimulus"].to_numpy().tolist() == STIMULI
        assert found["category"].to_numpy().tolist() == CATEGORIES
    for layer in LAYERS if steps else []:
        values = found[f"{layer}/activation"].to_numpy()
        expected = [activations(step)[layer] for step in steps]
        np.testing.assert_array_equal(values, np.array(expected))
    return len(steps)


def check_results(tree):
    table = {node.path.removeprefix("/results/"): node for node in tree["results"].subtree}
    if "brain/ridge" in table and "score" in table["brain/ridge"].data_vars:
        found = table["brain/ridge"].to_dataset()
        steps = found["step"].to_numpy().tolist()
        assert steps == sorted(set(steps)) and set(steps) <= set(STEPS)
        expected = [scores(step) for step in steps]
        if steps:
            np.testing.assert_array_equal(found["score"].to_numpy(), np.array(expected))
        assert found["checkpoint"].to_numpy().tolist() == [f"hash-{step}" for step in steps]
        return len(steps)
    if "brain/ridge" in table and "step" in table["brain/ridge"].coords:
        assert table["brain/ridge"].sizes["step"] == 0
    return 0


def check_pairs(tree):
    if "self" not in tree["results"] or "cka" not in tree["results/self"]:
        return
    found = tree["results/self/cka"].to_dataset()
    if "similarity" not in found:
        assert found.sizes.get("step", 0) == 0
        return
    steps = found["step"].to_numpy()
    assert found["step_other"].to_numpy().tolist() == steps.tolist()
    expected = np.repeat((steps[:, None] + steps)[..., None], len(LAYERS), axis=-1)
    np.testing.assert_array_equal(found["similarity"].to_numpy(), expected)


@pytest.mark.slow
def test_a_reader_beside_a_writer_sees_whole_steps_and_never_an_error(tmp_path):
    path = tmp_path / "s.zarr"
    spawn = multiprocessing.get_context("spawn")
    made, looked, stop = spawn.Event(), spawn.Semaphore(0), spawn.Event()
    writer = spawn.Process(target=write_all, args=(path, made, looked, stop))
    writer.start()
    assert made.wait(60)
    seen = []
    try:
        while writer.is_alive():
            tree = dynamics.open(path)
            seen.append((check_activations(tree), check_results(tree)))
            check_pairs(tree)
            if "controls" in tree:
                check_activations(tree["controls"], dim="control")
            steps = tree["checkpoints/step"].to_numpy().tolist()
            assert steps == sorted(set(steps)) and set(steps) <= set(STEPS)
            if len(seen) % 5 == 0:  # slower than opening: not every time
                found = store.summarise(path)
                assert found.done >= seen[-1][0] and found.failed == 0
                assert store.verify(path) == {}
            looked.release()
    finally:
        stop.set()
        looked.release()
        writer.join(60)
    assert writer.exitcode == 0
    assert seen == sorted(seen)  # what is committed stays
    assert len(set(seen)) >= len(STEPS) / BATCH - 1, f"too few states were seen: {seen}"
    tree = dynamics.open(path)
    assert (check_activations(tree), check_results(tree)) == (len(STEPS), len(STEPS))
