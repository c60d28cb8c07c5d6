from __future__ import annotations

import numpy as np
import pytest

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
