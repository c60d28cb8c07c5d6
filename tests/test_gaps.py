"""Targets with gaps: what is averaged, what is left out and named, what is refused in a word."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from dynamics import analysis, metrics
from dynamics.analysis import METHODS
from dynamics.brains import targets
from dynamics.brains.gaps import find_gaps
from dynamics.metrics.missing import orders_within
from dynamics.metrics.null import permutations
from dynamics.metrics.subsets import half_rows

N, V = 60, 6
NAMES = [f"s{i:02d}" for i in range(N)]
RNG = np.random.default_rng(0)
LAYERS = {name: RNG.normal(size=(N, 12)) for name in ("a", "b")}
SIGNAL = LAYERS["b"] @ RNG.normal(size=(12, V))


def repeated(repetitions=3, *, seed=1):
    noise = np.random.default_rng(seed).normal(size=(N, V, repetitions))
    return SIGNAL[..., None] + 3 * noise


def join(response, *, dims=("stimulus", "neuroid", "repetition"), **coords):
    """Make a target of responses to all stimuli, of two subjects of three neuroids."""
    data = xr.Dataset(
        {"response": (dims[: response.ndim], response)},
        coords={
            "stimulus": NAMES,
            "neuroid": [f"n{j}" for j in range(V)],
            "subject": ("neuroid", ["x", "y"] * (V // 2)),
            **coords,
        },
        attrs={"name": "mine"},
    )
    activations = xr.Dataset(coords={"stimulus": NAMES, "category": ("stimulus", ["c"] * N)})
    return targets.make_target(data, activations)


def test_what_exists_is_averaged_and_counted_whatever_the_metric_says_of_gaps():
    Y = repeated()
    Y[::3, :, 2] = np.nan
    Y[5, 1, :2] = np.nan
    target = join(Y)
    np.testing.assert_allclose(target.mean_response, np.nanmean(Y, 2))
    assert target.gaps["repetitions"] == 20 * V + 1
    score = METHODS["ridge"](LAYERS, target)["score"][1]
    plain = metrics.encode(LAYERS, np.nanmean(Y, 2), folds=target.folds)["layer_r"]
    np.testing.assert_allclose(score, plain, atol=1e-9)
    # Not what the 40 stimuli with all repetitions give.
    rows = np.isfinite(Y).all((1, 2))
    part = metrics.encode({k: X[rows] for k, X in LAYERS.items()}, Y[rows].mean(2),
                          folds=target.folds[rows])["layer_r"]  # fmt: skip
    assert np.abs(score - part).max() > 0.01


def test_responses_that_end_early_are_averaged_over_the_samples_that_exist():
    course = SIGNAL[:, None] + RNG.normal(size=(N, 8, V))
    course[::2, 5:] = np.nan
    target = join(course, dims=("stimulus", "time", "neuroid"), time=0.1 * np.arange(8))
    np.testing.assert_allclose(target.mean_response, np.nanmean(course, 1))
    assert target.gaps["samples"] == N // 2 * V
    timed = {name: np.repeat(X[:, None], 8, 1) for name, X in LAYERS.items()}
    found = METHODS["encode_timeresolved"](timed, target, windows=[(0, 0)], components=None)
    # One delay and features that do not change over time: ridge on all samples that exist.
    there = np.isfinite(course[:, :, 0]).ravel()
    X = np.repeat(LAYERS["b"][:, None], 8, 1).reshape(N * 8, -1)[there]
    y = course.reshape(N * 8, V)[there]
    fold = np.repeat(target.folds, 8)[there]
    plain = metrics.encode(X, y, folds=fold)["r"]
    np.testing.assert_allclose(found["score"][1][1], plain, atol=2e-3)


def test_neuroids_and_stimuli_without_a_response_are_left_out_named_and_counted(caplog):
    Y = repeated()
    Y[:, 1], Y[:, 4] = np.nan, 7.0
    Y[11] = np.nan
    target = join(Y)
    assert target.gaps["neuroids"] == ["n1", "n4"] and target.gaps["stimuli"] == ["s11"]
    assert len(target.rows) == N - 1 and target.live.tolist() == [j not in (1, 4) for j in range(V)]
    assert "2 of 6 neuroids left out, without responses that vary (n1, n4)" in caplog.text
    assert "1 of 60 stimuli left out, to which there is no response (s11)" in caplog.text


@pytest.mark.parametrize("name", ["ridge", "banded", "variance_partition"])
def test_a_dead_neuroid_has_no_score_and_changes_no_other(name):
    Y = repeated()
    whole = join(Y)
    dead = Y.copy()
    dead[:, 1] = np.nan
    halves, orders = half_rows(whole.folds, 2), permutations(N, 2)
    base = RNG.normal(size=(N, 4))
    few = {"banded": {"candidates": 5}, "variance_partition": {"candidates": 4}}.get(name, {})
    if name != "ridge":
        few["resamples"] = 2
    found, plain = (
        METHODS[name](LAYERS, replace(each, baseline=base), halves=halves, orders=orders, **few)
        for each in (join(dead), whole)
    )
    others = np.arange(V) != 1
    for key in ("score", "resample_score", "null_score"):
        assert np.isnan(found[key][1][..., 1]).all()
        np.testing.assert_allclose(found[key][1][..., others], plain[key][1][..., others],
                                   atol=1e-6)  # fmt: skip


def test_a_neuroid_that_lacks_stimuli_is_scored_on_those_it_has_by_every_metric_of_neuroids():
    Y = repeated()
    Y[:7, 2] = np.nan
    target = replace(join(Y), baseline=RNG.normal(size=(N, 4)))
    rows = np.arange(7, N)
    some = {name: X[rows] for name, X in LAYERS.items()}
    for name, few in (("banded", {"candidates": 5}), ("variance_partition", {"candidates": 4})):
        with pytest.raises(ValueError, match="the first is neuroid 2"):
            METHODS[name](LAYERS, target, **few)
        found = METHODS[name](LAYERS, target, missing="mask", **few)["score"][1]
        part = replace(target, rows=rows, response=Y[rows], folds=target.folds[rows],
                               baseline=target.baseline[rows])  # fmt: skip
        alone = METHODS[name](some, part, **few)["score"][1]
        np.testing.assert_allclose(found[:, 2], alone[:, 2], atol=1e-6)


def test_a_target_of_dead_neuroids_is_one_sentence():
    for value in (np.ones((N, V)), np.zeros((N, V))):
        with pytest.raises(ValueError, match="'mine' has no neuroid with responses that differ"):
            join(value)


def test_a_neuroid_constant_in_one_fold_has_a_score_and_none_in_that_fold():
    Y = SIGNAL.copy()
    Y[np.arange(N) % 5 == 2, 0] = 1.0
    target = join(Y, fold=("stimulus", np.arange(N) % 5))
    found = METHODS["ridge"](LAYERS, target)
    assert np.isfinite(found["score"][1]).all()
    assert np.isnan(found["fold_score"][1][:, 2, 0]).all()
    assert np.isfinite(np.delete(found["fold_score"][1][..., 0], 2, 1)).all()


@pytest.mark.parametrize(
    "folds",
    [
        np.array(list("abcde"))[np.arange(N) % 5],
        (np.arange(N) % 5) / 10,
        np.arange(N) % 5 - 2,
        (np.arange(N) % 5).astype(object),
    ],
)
def test_folds_may_be_words_fractions_or_below_zero(folds):
    target = join(SIGNAL, fold=("stimulus", folds))
    np.testing.assert_array_equal(target.folds, np.arange(N) % 5)
    np.testing.assert_array_equal(join(SIGNAL, fold=("stimulus", np.arange(N) % 5 + 1)).folds,
                                  np.arange(N) % 5 + 1)  # fmt: skip


@pytest.mark.parametrize(
    ("coords", "message"),
    [
        ({"fold": np.where(np.arange(N) == 3, np.nan, np.arange(N) % 5)}, "no label for .*'s03'"),
        ({"fold": np.array(["", *"abcd"])[np.arange(N) % 5]}, "folds has no label for .*'s00'"),
        ({"fold": np.zeros(N)}, "all stimuli are in one fold"),
        ({"group": np.array([None, *range(1, N)], object)}, "groups has no label for .*'s00'"),
        ({"group": np.array([*map(str, range(N - 1)), ""])}, "groups has no label for .*'s59'"),
        (
            {"fold": np.arange(N) % 5, "group": np.arange(N) // 2},
            "group 0 is in several of the given folds",
        ),
    ],
)
def test_folds_and_groups_are_checked_as_the_metrics_check_them(coords, message):
    with pytest.raises(ValueError, match=f"target 'mine': .*{message}"):
        join(SIGNAL, **{key: ("stimulus", value) for key, value in coords.items()})


SPACES = {
    "rsa": {},
    "cka": {},
    "procrustes": {},
    "mutual_knn": {"k": 5},
    "svcca": {"rank": 2},
    "pwcca": {"rank": 2},
}


def three_subjects(response):
    return join(response, subject=("neuroid", ["x", "x", "y", "y", "z", "z"]))


@pytest.mark.parametrize("value", [np.nan, 7.0])
@pytest.mark.parametrize("name", SPACES)
def test_a_dead_subject_has_no_score_and_takes_none_from_the_others(name, value):
    Y = repeated()
    whole = three_subjects(Y)
    dead = Y.copy()
    dead[:, 2:4] = value
    target = three_subjects(dead)
    halves, orders = half_rows(whole.folds, 2), permutations(N, 2)
    found, plain = (
        METHODS[name](LAYERS, each, halves=halves, orders=orders, **SPACES[name])
        for each in (target, whole)
    )
    for key in plain:
        got, expected = found[key][1], plain[key][1]
        assert (got[..., 1] == -1).all() if got.dtype.kind == "i" else np.isnan(got[..., 1]).all()
        np.testing.assert_allclose(got[..., [0, 2]], expected[..., [0, 2]], atol=1e-12)
    bounds = analysis.ceilings(name, target, SPACES[name])
    alive = replace(whole, response=Y[:, [0, 1, 4, 5]], subjects=whole.subjects[[0, 1, 4, 5]])
    expected = analysis.ceilings(name, alive, SPACES[name])
    assert set(bounds) == set(expected)
    for key, (_, number, _) in expected.items():
        assert np.isfinite(number)
        np.testing.assert_allclose(bounds[key][1], number, atol=1e-12)


@pytest.mark.parametrize("name", SPACES)
def test_a_subject_is_compared_on_the_stimuli_that_it_has(name):
    Y = repeated()
    Y[:20, 2:4] = np.nan
    target = three_subjects(Y)
    halves, orders = half_rows(target.folds, 2), permutations(N, 2)
    found = METHODS[name](LAYERS, target, halves=halves, orders=orders, **SPACES[name])
    rows = np.arange(20, N)
    part = replace(target, rows=rows, response=Y[rows][:, 2:4], folds=target.folds[rows],
                   subjects=target.subjects[2:4])  # fmt: skip
    some = {key: X[rows] for key, X in LAYERS.items()}
    alone = METHODS[name](some, part, orders=orders_within(orders, rows), **SPACES[name])
    for key in ("score", "null_score"):
        np.testing.assert_allclose(found[key][1][..., 1], alone[key][1][..., 0], atol=1e-9)
    assert all(np.isfinite(values).all() for _, values in found.values())


def test_responses_that_end_with_their_sounds_lack_nothing_and_true_gaps_are_counted():
    course = RNG.normal(size=(N, 8, V))
    durations = np.full(N, 0.8)
    durations[::2] = 0.5
    course[::2, 5:] = np.nan
    times = 0.1 * np.arange(8) + 0.05
    response = xr.DataArray(course, dims=("stimulus", "time", "neuroid"), coords={"time": times})
    assert find_gaps(course, response)["samples"] == N // 2 * V
    assert find_gaps(course, response, durations=durations) == {}
    course[0, 2, 1] = course[1, 6:, 3] = np.nan  # within, and of one neuroid where others go on
    course[4, 2:] = np.nan  # well before the sound is over
    found = find_gaps(course, response, durations=durations)
    assert found["samples"] == 2 + V
    course[6, 4:] = np.nan  # one sample early is rounding
    assert find_gaps(course, response, durations=durations)["samples"] == 2 + V
