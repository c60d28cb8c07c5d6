"""One task a step: it is read once, and each layer's Gram matrix is made once."""

import contextlib
import shutil
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from inprocess import Here
from scipy.linalg import lapack
from tiny_run import sweep_in, sweep_of

from dynamics import (
    brains,
    metrics,
    sounds,
    store,
)
from dynamics import sweep as main_job
from dynamics.analysis import analyze, baselines, scoring
from dynamics.analysis.jobs import Job, tasks_of
from dynamics.brains.targets import Target, make_target
from dynamics.extraction import crawl
from dynamics.metrics import reuse
from dynamics.metrics.subsets import half_rows

GRAM = sys.modules["dynamics.metrics.kernels"]

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


@pytest.mark.slow
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


def counting(found, name, usual):
    def count(*given, **named):
        found[name] += 1
        return usual(*given, **named)

    return count


@contextlib.contextmanager
def counted_decompositions():
    """Count what torch and LAPACK decompose inside."""
    found = Counter()
    with pytest.MonkeyPatch.context() as patch:
        names = [(torch.linalg, name) for name in ("eigh", "svd", "cholesky_ex")]
        for owner, name in (*names, (lapack, "dgejsv")):
            patch.setattr(owner, name, counting(found, name, getattr(owner, name)))
        yield found


def problem(metric_names, n_targets, *, n=20, n_layers=2):
    """Layers, and targets recorded for the same stimuli with the same folds; halves, shuffles."""
    rng = np.random.default_rng(0)
    layers = {f"layer{i}": rng.standard_normal((n, 40)) for i in range(n_layers)}
    folds, seen = np.arange(n) % 5, next(iter(layers.values()))
    targets = []
    for v in range(4, 4 + 3 * n_targets, 3):
        Y = seen @ rng.standard_normal((40, v)) + rng.standard_normal((n, v))
        targets.append(Target(np.arange(n), Y, folds, np.full(v, "a")))
    halves = half_rows(folds, 4, seed=0)
    parts = [scoring.Part(m, {}, t, halves, 0, None) for t in range(n_targets)
             for m in metric_names]  # fmt: skip
    return layers, None, parts, targets, [metrics.permutations(n, 1100, seed=0)]


@pytest.mark.guards(5)
def test_three_metrics_and_two_targets_decompose_as_often_as_ridge_on_one_target():
    with counted_decompositions() as alone:
        scoring.score_layers(*problem(["ridge"], 1))
    with counted_decompositions() as together:
        scoring.score_layers(*problem(["ridge", "rsa", "cka"], 2))
    # A layer has 5 outer and 10 inner splits, and 4 halves whose left-out rows are solved for
    # inside and outside.
    assert alone == {"eigh": 2 * (5 + 10 + 4), "cholesky_ex": 2 * 4 * 2}
    assert together == alone


@pytest.mark.guards(6)
@pytest.mark.parametrize("most", [0, 30_000])
def test_what_is_beyond_the_bytes_is_made_again_and_is_the_same(most):
    given = problem(["ridge", "procrustes"], 2)
    with counted_decompositions() as few:
        expected = scoring.score_layers(*given)
    with counted_decompositions() as many, metrics.shared(most=most):
        found = scoring.score_layers(*given)
        kept = reuse._inside.get().shelf
    assert many["eigh"] > few["eigh"]
    assert kept._left >= 0 and sum(map(reuse._bytes, kept._made.values())) == most - kept._left
    assert bool(kept._made) == bool(most)
    for one, other in zip(found, expected):
        for name, (_, values) in one.items():
            np.testing.assert_array_equal(values, other[name][1])


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["default", "pepino", "tuckute"])
def test_every_protocol_shares_and_stays_as_it_is(protocol):
    layers, times, parts, targets, orders = problem(["ridge"], 2)
    how = {
        "arguments": {"protocol": protocol},
        "halves": parts[0].halves[:2] if protocol != "pepino" else None,
    }
    parts, orders = [part._replace(**how) for part in parts], [orders[0][:2]]
    alone, counts = [], Counter()
    for part in parts:
        with counted_decompositions() as count, metrics.shared(most=0):
            alone += scoring.score_layers(layers, times, [part], targets, orders)
        counts += count
    with counted_decompositions() as together:
        found = scoring.score_layers(layers, times, parts, targets, orders)
    assert 2 * together["eigh"] <= counts["eigh"]
    for one, other in zip(found, alone):
        for name, (_, values) in one.items():
            np.testing.assert_array_equal(values, other[name][1])


def test_a_layer_of_another_context_at_the_same_place_is_another_layer():
    X = np.random.default_rng(0).standard_normal((6, 3))
    with metrics.shared():
        for _ in range(2):
            with metrics.shared(X):
                np.testing.assert_array_equal(metrics.gram(X), metrics.gram(X.copy()))
            X[:] += np.arange(18).reshape(6, 3)


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.guards(10)
def test_baseline_and_controls_are_tasks_as_steps_are(tmp_path, monkeypatch):
    content = sweep_in(
        tmp_path, [10, 20], stimuli=SOUNDS, targets=LISTENERS, metrics=["ridge", "cka"],
        resamples=4, untrained=2,
    )  # fmt: skip
    found = sweep_of(content)
    crawl.crawl(found)
    here = Here()
    monkeypatch.setattr(analyze, "cluster", lambda *a, **k: contextlib.nullcontext(here))
    done = analyze.analyze(found)
    assert done == {"new": 12, "already": 0}
    asked = [function for function, _ in here.asked]
    assert asked.count(baselines.score_baseline) == 1
    paths = [given[0] for function, given in here.asked if function is scoring.score_together]
    assert [path.inside for path in paths] == ["controls"] * 2 + [""] * 3
    assert here.called[-1].startswith("score step 20 by one ridge"), here.called
    before = levels(found)
    assert {name for _, name in before} >= {"baseline", "untrained_score"}
    # Nothing is asked again, unless it is gone: then that alone.
    here.asked.clear()
    analyze.analyze(found)
    assert here.asked == []
    root = store.open_group(found.place, mode="r+")
    for label, metric in (("one", "ridge"), ("two", "cka")):
        del root[f"results/{label}/{metric}/baseline"]
        root[f"results/{label}/{metric}"].attrs["untrained"] = []
    assert analyze.analyze(found) == {"new": 0, "already": 12}
    after = levels(found)
    assert after.keys() == before.keys()
    for name, values in after.items():
        np.testing.assert_array_equal(values, before[name])


def levels(found):
    tree = store.open(found.place)["results"]
    return {
        (group.path, name): values.to_numpy()
        for group in tree.subtree
        for name, values in group.data_vars.items()
        if name.startswith(("baseline", "untrained"))
    }


def test_a_gram_matrix_that_is_shared_is_the_callers_own():
    X, other = np.random.default_rng(0).standard_normal((2, 6, 3))
    expected = metrics.gram(X)
    with metrics.shared(X):
        first = metrics.gram(X)
        first[:] = 0
        np.testing.assert_array_equal(metrics.gram(X), expected)
        np.testing.assert_array_equal(metrics.gram(other), metrics.gram(other.copy()))
        with metrics.shared(other):
            np.testing.assert_array_equal(metrics.gram(X), expected)
    assert reuse._inside.get() is None


@pytest.mark.parametrize(("workers", "tasks"), [(1, [6, 6]), (2, [6, 6]), (8, [2, 2, 1, 1] * 2)])
def test_workers_are_not_left_idle_where_there_are_few_steps(workers, tasks):
    jobs = [Job(None, None, label, step, None) for label in "abcdef" for step in (0, 10)]
    found = tasks_of(jobs, workers)
    assert [len(task) for task in found] == tasks
    assert all(len({job.step for job in task}) == 1 for task in found)
    assert sorted((j.step, j.label) for task in found for j in task) == sorted(
        (j.step, j.label) for j in jobs
    )


def test_a_step_alone_is_what_it_is_with_others(sweep):
    data = {choice.label: analyze.load_brain(choice, stimuli_of(sweep)) for choice in sweep.targets}
    activations = store.open(sweep.place)["activations"].to_dataset()
    targets = [make_target(each, activations) for each in data.values()]
    parts = [scoring.Part("cka", {}, k, None, None, None) for k in (0, 1)]
    both = scoring.score_together(sweep.place, 10, parts, targets, [None, None])
    for target, found in zip(targets, both):
        alone = scoring.score_step(sweep.place, 10, target, "cka", {})
        np.testing.assert_array_equal(found["score"][1], alone["score"][1])


def stimuli_of(sweep):
    return sounds.load(sweep.stimuli.name, **sweep.stimuli.arguments)


@pytest.mark.usefixtures("in_this_process")
def test_a_target_is_loaded_once_for_its_check_and_the_analysis(sweep, monkeypatch):
    loaded, load = Counter(), brains.load

    def counted(name, **arguments):
        loaded[arguments["seed"]] += 1
        return load(name, **arguments)

    monkeypatch.setattr(brains, "load", counted)
    for name, found in main_job.stages(sweep, loaded=main_job.check(sweep)):
        if name == "analyze":
            assert found == {"new": 12, "already": 0}
            break
    assert loaded == {1: 1, 2: 1}
