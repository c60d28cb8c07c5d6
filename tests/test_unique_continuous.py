"""Unique variance over control features of responses over time."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_run
from sklearn.linear_model import Ridge
from test_continuous_sweep import config, frames_of, joined, recorded

from dynamics import analysis, store, sweep
from dynamics.analysis import METHODS, controls
from dynamics.config import Choice
from dynamics.metrics.blocks import by_stimulus
from dynamics.metrics.unique import unique_continuous

RATE = 10.0


def planted(stimuli=6, t=60, seed=0):
    """Control, layer (control and news, two features each) and three responses."""
    rng = np.random.default_rng(seed)
    C, N = ([rng.standard_normal((t, 2)) for _ in range(stimuli)] for _ in range(2))
    X = [np.hstack([c, n]) for c, n in zip(C, N)]
    Y = [
        np.stack([c.sum(1) + n.sum(1), c.sum(1), n.sum(1)], 1) + rng.standard_normal((t, 3))
        for c, n in zip(C, N)
    ]
    return X, C, Y


def with_delay(x):
    return np.hstack([x, np.vstack([np.zeros((1, x.shape[1])), x[:-1]])])


def test_agrees_with_scikit_learn_on_weighted_bands():
    X, C, Y = planted()
    folds = np.array([0, 1, 2, 0, 1, 2])
    found = unique_continuous(
        X, {"c": C}, Y, rate=RATE, split=by_stimulus([60] * 6, folds), window=(0, 0.1),
        components=None, candidates=0, alphas=[0.5],
    )  # fmt: skip
    bands = []
    for band in (X, C):
        mean = np.concatenate(band).mean(0)
        F = np.concatenate([with_delay(x - mean) for x in band])
        bands.append(F / np.sqrt(F.var(0).sum()))
    y = np.concatenate([each - each.mean(0) for each in Y])
    fold = np.repeat(folds, 60)

    def fitted(weights):
        return np.hstack([F * np.sqrt(g) for F, g in zip(bands, weights) if g > 0])

    def predicted(F, train, test):
        return Ridge(0.5).fit(F[train], y[train]).predict(F[test])

    def r2(tried):
        pooled = np.zeros_like(y)
        for f in range(3):
            inner = []
            for weights in tried:
                F, out = fitted(weights), np.full(y.shape, np.nan)
                for g in {0, 1, 2} - {f}:
                    out[fold == g] = predicted(F, (fold != f) & (fold != g), fold == g)
                there = fold != f
                inner.append([np.corrcoef(a[there], b[there])[0, 1] for a, b in zip(out.T, y.T)])
            for j, best in enumerate(np.argmax(inner, 0)):
                pooled[fold == f, j] = predicted(fitted(tried[best]), fold != f, fold == f)[:, j]
        return np.array([max(np.corrcoef(a, b)[0, 1], 0) ** 2 for a, b in zip(pooled.T, y.T)])

    first, second = r2([(1, 0)]), r2([(0, 1)])
    both = r2([(1, 0), (0, 1), (0.5, 0.5)])
    for name, expected in (("first", first), ("second", second), ("both", both)):
        np.testing.assert_allclose(found[name], expected, atol=1e-9)
    np.testing.assert_allclose(found["unique_first"], both - second, atol=1e-9)
    np.testing.assert_allclose(found["shared"], first + second - both, atol=1e-9)


def test_what_is_planted_beyond_the_control_is_found_and_no_more():
    X, C, Y = planted(10, 100)
    found = unique_continuous(
        X, {"c": C}, Y, rate=RATE, split=by_stimulus([100] * 10, np.arange(10) % 5),
        window=(0, 0.1), components=None, candidates=2, alphas=[1.0, 10.0],
        rows=[np.arange(10)[np.arange(10) // 5 == k] for k in (0, 1)],
    )  # fmt: skip
    # 2 of 5 parts of the variance, none, and 2 of 3; 1,000 samples know r2 to some .03.
    np.testing.assert_allclose(found["unique_first"], [0.4, 0, 2 / 3], atol=0.08)
    np.testing.assert_allclose(found["unique_second"], 0, atol=0.02)
    assert found["resample_unique"].shape == (2, 3)
    np.testing.assert_allclose(found["resample_unique"].mean(0), [0.4, 0, 2 / 3], atol=0.1)
    prediction = np.concatenate(found["prediction"])
    r = np.corrcoef(prediction[:, 1], np.concatenate(Y)[:, 1])[0, 1]
    assert r**2 == pytest.approx(found["second"][1], abs=0.02)


def test_the_null_is_of_what_controls_leave():
    data, X = recorded()
    target = joined(data)
    values, frames = frames_of(X)
    control = values[..., :2]
    given = replace(target, frames=frames, controls={"two": (control, frames)})
    options = {"controls": ["two"], "window": [0, 0.2], "components": None, "candidates": 0,
               "alphas": [1.0, 10.0]}  # fmt: skip
    one = tiny_run.validate(
        {"run": "x", "checkpoints": "x", "model": "x", "stimuli": "x", "targets": ["b"],
         "permutations": 9}, origin="test",
    )  # fmt: skip
    choice = Choice(name="unique_continuous", arguments=options)
    orders = analysis.orders_of(target, choice, one)
    found = METHODS["unique_continuous"]({"a": values}, given, orders=orders, **options)
    assert found["null_score"][1].shape == (1, 9, 3)
    assert found["score"][1][0].min() > 0.1 > np.abs(found["null_score"][1]).max()


@pytest.mark.slow
def test_a_sweep_reads_controls_from_files(tmp_path, in_this_process):
    rng, seconds = np.random.default_rng(0), (5, 4, 5, 6, 5)
    content = config(tmp_path, seconds=seconds)
    envelope = tmp_path / "envelope.npz"
    np.savez(envelope, **{f"story{s}": rng.random((t * 20, 1)) for s, t in enumerate(seconds)})
    arguments = {
        "controls": [{"name": str(envelope), "arguments": {"rate": 20}}],
        "window": [0, 0], "components": 3, "candidates": 0, "alphas": [1.0, 100.0],
    }  # fmt: skip
    one = tiny_run.sweep_of(
        content | {"baseline": arguments["controls"][0], "resamples": 0, "untrained": 0},
        metrics=[
            {"name": "unique_continuous", "arguments": arguments},
            {"name": "encode_continuous", "arguments": {"windows": [[0, 0]], "components": 3}},
        ],
    )
    sweep.check(one)
    from dynamics.extraction.crawl import crawl

    crawl(one)
    from dynamics.analysis.analyze import analyze

    assert analyze(one)["new"] == 4 and analyze(one)["new"] == 0
    results = store.open(one.place)["results/trials/unique_continuous"].to_dataset()
    parts = results["unique_r2"] + results["baseline_r2"]
    np.testing.assert_allclose(parts, results["total_r2"], atol=1e-12)
    assert "baseline" not in results
    encoded = store.open(one.place)["results/trials/encode_continuous"]
    assert encoded["baseline"].dims == ("neuroid",) and encoded["baseline"].notnull().all()


@pytest.mark.parametrize(
    "given, message",
    [
        ((), "give a list of files or models, at least one"),
        (["nothing.npz"], "does not exist"),
        ([3], "has an entry 3: give a name"),
        (["a.npz", "b/a.npz"], "names 'a' twice"),
        ([{"name": "a.npz", "rate": 3}], "unknown key 'rate'"),
    ],
)
def test_controls_that_are_none_are_said(given, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        for each in controls.entries(given):
            controls.check(each, ["a"])
