"""One task a step: it is read once, and each layer's Gram matrix is made once."""

import shutil
import sys
from collections import Counter

import numpy as np
import pytest
from tiny_run import sweep_in, sweep_of

from dynamics import analyze, crawl, metrics, scoring, sounds, store

GRAM = sys.modules["dynamics.metrics.gram"]
SOUNDS = {"name": "synthetic", "arguments": {"per_kind": 4, "seconds": 0.4}}
LISTENERS = [
    {"name": "simulated", "label": "one", "arguments": {"neuroids": 4, "seed": 1}},
    {"name": "simulated", "label": "two", "arguments": {"neuroids": 5, "seed": 2}},
]


@pytest.fixture
def sweep(tmp_path):
    content = sweep_in(
        tmp_path, [0, 10], stimuli=SOUNDS, targets=LISTENERS, baseline=None, untrained=0,
        metrics=["ridge", "cka", "procrustes"], resamples=4, permutations=5,
    )  # fmt: skip
    found = sweep_of(content)
    crawl.crawl(found)
    return found


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.guards(5)
def test_a_step_is_read_once_and_each_of_its_gram_matrices_is_made_once(sweep, monkeypatch):
    made, read = Counter(), Counter()
    gram, read_activations = GRAM._gram, store.read_activations

    def counted(X, name):
        made[np.asarray(X).tobytes()] += 1
        return gram(X, name)

    def counted_read(path, step):
        read[step] += 1
        return read_activations(path, step)

    monkeypatch.setattr(GRAM, "_gram", counted)
    monkeypatch.setattr(store, "read_activations", counted_read)
    analyze.analyze(sweep)
    assert read == {0: 1, 10: 1}
    tree = store.open(sweep.place)
    for layer in tree["activations"].children.values():
        for step in (0, 10):
            X = layer["activation"].sel(step=step).to_numpy().astype(float)
            assert made[X.tobytes()] == 1


@pytest.mark.usefixtures("in_this_process")
def test_together_is_what_each_is_alone_to_the_last_bit(sweep):
    analyze.analyze(sweep)
    tree = store.open(sweep.place)
    for label in ("one", "two"):
        for choice in sweep.metrics:
            alone = sweep.model_copy(
                update={
                    "metrics": (choice.model_copy(update={"label": "alone"}),),
                    "targets": tuple(each for each in sweep.targets if each.label == label),
                }
            )
            analyze.analyze(alone)
            again = store.open(sweep.place)[f"results/{label}/alone"].to_dataset()
            together = tree[f"results/{label}/{choice.label}"].to_dataset()
            for name, values in again.data_vars.items():
                if values.dtype.kind == "f":
                    np.testing.assert_array_equal(values, together[name])
            shutil.rmtree(sweep.store / "results" / label / "alone")


def test_a_gram_matrix_that_is_shared_is_the_callers_own():
    X, other = np.random.default_rng(0).standard_normal((2, 6, 3))
    expected = metrics.gram(X)
    with metrics.shared_grams(X):
        first = metrics.gram(X)
        first[:] = 0
        np.testing.assert_array_equal(metrics.gram(X), expected)
        np.testing.assert_array_equal(metrics.gram(other), metrics.gram(other.copy()))
        with metrics.shared_grams(other):
            np.testing.assert_array_equal(metrics.gram(X), expected)
    assert GRAM._made.get() == {}


@pytest.mark.parametrize(("workers", "tasks"), [(1, [6, 6]), (2, [6, 6]), (8, [2, 2, 1, 1] * 2)])
def test_workers_are_not_left_idle_where_there_are_few_steps(workers, tasks):
    jobs = [analyze.Job(None, None, label, step, None) for label in "abcdef" for step in (0, 10)]
    found = analyze._tasks(jobs, workers)
    assert [len(task) for task in found] == tasks
    assert all(len({job.step for job in task}) == 1 for task in found)
    assert sorted((j.step, j.label) for task in found for j in task) == sorted(
        (j.step, j.label) for j in jobs
    )


def test_a_step_alone_is_what_it_is_with_others(sweep):
    data = {choice.label: analyze.load_brain(choice, stimuli_of(sweep)) for choice in sweep.targets}
    activations = store.open(sweep.place)["activations"].to_dataset()
    targets = [analyze.make_target(each, activations) for each in data.values()]
    parts = [scoring.Part("cka", {}, k, None, None, None) for k in (0, 1)]
    both = scoring.score_together(sweep.place, 10, parts, targets, [None, None])
    for target, found in zip(targets, both):
        alone = scoring.score_step(sweep.place, 10, target, "cka", {})
        np.testing.assert_array_equal(found["score"][1], alone["score"][1])


def stimuli_of(sweep):
    return sounds.load(sweep.stimuli.name, **sweep.stimuli.arguments)
