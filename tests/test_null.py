from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dynamics import analysis
from dynamics.analysis import METHODS
from dynamics.brains import targets
from dynamics.metrics import (
    GRAM_METRICS,
    cka,
    compare_rdms,
    gram,
    gram_null,
    nested_ridge,
    p_value,
    permutation_null,
    permutations,
    rdm,
    rdm_null,
    ridge_null,
)


def example(n=30):
    rng = np.random.default_rng(0)
    Xs = [rng.normal(size=(n, 12)) for _ in range(2)]
    return Xs, Xs[0][:, :3] + rng.normal(size=(n, 3)), np.arange(n) % 5


def test_shuffles_stay_within_categories_and_follow_the_seed():
    categories = np.repeat(["a", "b"], [10, 20])
    orders = permutations(30, 7, seed=2, categories=categories)
    assert (categories[orders] == categories).all()
    assert (np.sort(orders) == np.arange(30)).all()
    np.testing.assert_array_equal(orders, permutations(30, 7, seed=2, categories=categories))
    assert (permutations(30, 7, seed=3) != permutations(30, 7, seed=2)).any()


def test_ridge_null_is_nested_ridge_of_each_shuffle():
    Xs, Y, folds = example()
    K, orders = np.stack([gram(X) for X in Xs]), permutations(30, 4)
    null = ridge_null(K, Y, folds, orders)
    for order, r, layer_r in zip(orders, null["r"], null["layer_r"]):
        alone = nested_ridge(K, Y[order], folds)
        np.testing.assert_allclose(r, alone["r"], atol=1e-9)
        np.testing.assert_allclose(layer_r, alone["layer_r"], atol=1e-9)


@pytest.mark.parametrize("name", sorted(GRAM_METRICS))
def test_gram_null_shuffles_rows_and_columns(name):
    Xs, Y, _ = example()
    orders, metric = permutations(30, 3), GRAM_METRICS[name]
    null = gram_null(metric, np.stack([gram(X) for X in Xs]), gram(Y), orders)
    assert null.shape == (3, 2)
    assert null[1, 0] == pytest.approx(metric(gram(Xs[0]), gram(Y[orders[1]])), abs=1e-9)


def test_rdm_null_and_any_metric():
    Xs, Y, _ = example()
    orders = permutations(30, 3)
    null = rdm_null(np.stack([rdm(X) for X in Xs]), rdm(Y), orders)
    assert null[2, 1] == pytest.approx(compare_rdms(rdm(Xs[1]), rdm(Y[orders[2]])), abs=1e-9)
    assert permutation_null(cka, Xs[0], Y, orders)[0] == pytest.approx(cka(Xs[0], Y[orders[0]]))


def test_p_value_counts_the_score_itself():
    assert p_value(np.array([2.0]), np.array([[1.0], [2.0], [3.0]])) == pytest.approx(0.75)


def test_p_values_of_independent_data_are_uniform():
    rng = np.random.default_rng(0)
    orders, found = permutations(20, 99), []
    for _ in range(60):
        X, Y = rng.normal(size=(20, 9)), rng.normal(size=(20, 5))
        null = gram_null(GRAM_METRICS["cka"], gram(X)[None], gram(Y), orders)
        found.append(float(p_value(np.array([cka(X, Y)]), null)[0]))
    assert 0.4 < np.mean(found) < 0.6


def test_categories_of_another_length_are_one_sentence():
    with pytest.raises(ValueError, match="3 categories for 4 stimuli"):
        permutations(4, 1, categories=["a"] * 3)


def test_what_lies_below_the_score_by_rounding_only_has_reached_it():
    score = np.array([0.3, -0.3, 0.0, np.nan, 3e5])
    null = np.stack([score - 1e-15 * np.maximum(abs(score), 1), score - 1e-6 * abs(score) - 1e-6])
    null[1, 2] = -0.2  # the scale of a score of 0 is that of its null
    found = p_value(score, null)
    np.testing.assert_allclose(found, [2 / 3, 2 / 3, 2 / 3, np.nan, 2 / 3])
    np.testing.assert_allclose(p_value(score, null * np.nan)[:3], 1 / 3)


def test_a_null_kept_in_single_precision_ties_with_its_score():
    score = np.random.default_rng(0).normal(size=200)
    null = np.stack([score, score - 1e-4]).astype(np.float32)
    np.testing.assert_allclose(p_value(score, null), 2 / 3)
    scores = torch.as_tensor(score)
    np.testing.assert_allclose(p_value(scores, torch.as_tensor(null)), 2 / 3)


FEW = {
    "banded": {"candidates": 4},
    "variance_partition": {"candidates": 3},
    "rsa": {"choose": None},
    "mutual_knn": {"k": 4},
}
# Nulls of those over time are held in their own files.
NOT_HERE = {n for n, each in METHODS.items() if each.per == "layer" or "course" in each.needs}
NOT_HERE |= {name for name, each in METHODS.items() if each.units is not None}
KINDS = [(name, FEW.get(name, {})) for name in sorted({*METHODS} - NOT_HERE)]
KINDS += [
    ("ridge", {"protocol": "pepino"}),
    ("ridge", {"protocol": "tuckute", "alphas": [0.1, 1.0, 10.0]}),
    ("rsa", {"compare": "kendall", "choose": None}),
    ("rsa", {"geotopological": [0.2, 0.8], "choose": None}),
    ("cka", {"debiased": False}),
    ("variance_partition", {"null": "independent", "candidates": 3}),
]


@pytest.mark.parametrize("planted", ["noise", "categories"])
@pytest.mark.parametrize(("name", "arguments"), KINDS, ids=str)
def test_a_shuffle_that_changes_nothing_ties_with_the_score(name, arguments, planted):
    """Half of the shuffles are the identity: no p value may be below a half."""
    rng, n = np.random.default_rng(0), 30
    one_hot = np.eye(6)[np.arange(n) // 5]
    layers = {"a": rng.normal(size=(n, 8)), "b": one_hot @ rng.normal(size=(6, 50))}
    Y = one_hot @ rng.normal(size=(6, 4))
    if planted == "noise":
        Y = layers["a"] @ rng.normal(size=(8, 4)) + rng.normal(size=(n, 4))
    folds, subjects = np.arange(n) % 5, np.repeat(["s1", "s2"], 2)
    target = targets.Target(np.arange(n), Y, folds, subjects, baseline=rng.normal(size=(n, 3)))
    if name == "encode_timeresolved":
        layers = {key: value[:, None] + rng.normal(size=(n, 6, 1)) for key, value in layers.items()}
        course = Y[:, None] + rng.normal(size=(n, 6, 4))
        target = replace(target, course=course, times=np.arange(6) / 10)
        arguments = {"components": 2, "windows": [[0, 0.2]]}
    # Many, so that shuffled responses stand side by side by the hundred as in a sweep.
    many = 120 if name == "ridge" and not arguments else 4
    orders = permutations(n, many)
    orders[: many // 2] = np.arange(n)
    found = analysis.with_p_value(METHODS[name](layers, target, orders=orders, **arguments))
    p = found["p_value"][1]
    assert p[np.isfinite(p)].size and (p[np.isfinite(p)] >= 0.5).all()
