from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from dynamics.metrics import banded_ridge, gram, nested_ridge, stratified_folds, variance_partition
from dynamics.metrics.banded import refit_banded, simplex
from dynamics.metrics.partition import refit_partition


def example(n=80, v=3):
    rng = np.random.default_rng(0)
    A, B = rng.normal(size=(n, 20)), 50 * rng.normal(size=(n, 90))
    Y = A @ rng.normal(size=(20, v)) + B[:, :4] @ rng.normal(size=(4, v)) / 10
    return A, B, Y + rng.normal(size=(n, v)), stratified_folds(None, 4, n=n)


def unit(X):
    X = X - X.mean(0)
    return X / np.sqrt((X**2).sum() / len(X))


def test_prediction_is_ridge_on_weighted_features():
    A, B, Y, folds = example()
    result = banded_ridge(np.stack([gram(A), gram(B)]), Y, folds, candidates=12)
    for f in range(4):
        for j in range(3):
            a, b = np.sqrt(result["weights"][f, j])
            X, inside = np.hstack([a * unit(A), b * unit(B)]), folds != f
            model = Ridge(result["alpha"][f, j], solver="svd").fit(X[inside], Y[inside, j])
            expected = model.predict(X[~inside])
            np.testing.assert_allclose(result["prediction"][~inside, j], expected, atol=1e-7)


def test_agrees_with_himalaya_for_the_weights_and_alpha_chosen():
    himalaya = pytest.importorskip("himalaya.kernel_ridge")
    A, B, Y, folds = example()
    result = banded_ridge(np.stack([gram(A), gram(B)]), Y, folds, candidates=8)
    inside = folds != 0
    grams = []
    for X in (unit(A), unit(B)):
        X = X - X[inside].mean(0)
        grams.append(X @ X[inside].T)
    for j in range(3):
        K = np.tensordot(result["weights"][0, j], np.stack(grams), 1)
        model = himalaya.KernelRidge(alpha=result["alpha"][0, j], kernel="precomputed")
        mean = Y[inside, j].mean()
        model.fit(K[inside], Y[inside, j] - mean)
        expected = np.asarray(model.predict(K[~inside])) + mean
        np.testing.assert_allclose(result["prediction"][~inside, j], expected, atol=1e-5)


def test_both_layers_together_beat_each_alone():
    A, B, Y, folds = example()
    K = np.stack([gram(A), gram(B)])
    banded, alone = banded_ridge(K, Y, folds)["r2"], nested_ridge(K, Y, folds)["layer_r2"]
    assert (banded > alone.max(0)).all()
    assert (banded - alone.max(0)).mean() > 0.05


def test_weights_are_on_the_simplex():
    weights = simplex(3, 20)
    np.testing.assert_allclose(weights.sum(1), 1)
    np.testing.assert_array_equal(weights[:3], np.eye(3))
    with pytest.raises(ValueError, match="at least 4"):
        simplex(3, 3)


def test_partition_adds_up_and_finds_what_is_unique():
    A, B, _, folds = example(n=160)
    rng = np.random.default_rng(1)
    Y = np.stack([A @ rng.normal(size=20), B[:, :4] @ rng.normal(size=4), rng.normal(size=160)], 1)
    parts = variance_partition(gram(A), gram(B), Y, folds)
    total = parts["unique_first"] + parts["unique_second"] + parts["shared"]
    np.testing.assert_allclose(total, parts["both"])
    assert parts["unique_first"][0] > 0.8 and abs(parts["unique_second"][0]) < 0.1
    assert parts["unique_second"][1] > parts["unique_first"][1]
    same = variance_partition(gram(A), gram(A), Y, folds)
    assert abs(same["unique_first"][0]) < 0.01 and same["shared"][0] > 0.8


def test_constant_layer_is_one_sentence():
    A, _, Y, folds = example()
    with pytest.raises(ValueError, match="layer 1 does not vary"):
        banded_ridge(np.stack([gram(A), np.zeros((80, 80))]), Y, folds)


def test_shares_of_layers_are_those_of_himalaya_and_add_up():
    scoring = pytest.importorskip("himalaya.scoring")
    A, B, Y, folds = example()
    K = np.stack([gram(A), gram(B)])
    result = banded_ridge(K, Y, folds, candidates=12)
    # Each layer's part of the prediction by scikit-learn: the coefficients of its own features.
    parts = np.zeros((2, *Y.shape))
    for f in range(4):
        inside = folds != f
        for j in range(3):
            scale = np.sqrt(result["weights"][f, j])
            bands = [a * unit(X) for a, X in zip(scale, (A, B))]
            model = Ridge(result["alpha"][f, j], solver="svd").fit(
                np.hstack(bands)[inside], Y[inside, j]
            )
            split = np.split(model.coef_, [20])
            for layer, (X, w) in enumerate(zip(bands, split)):
                parts[layer, ~inside, j] = (X[~inside] - X[inside].mean(0)) @ w
    expected = scoring.r2_score_split(Y - Y.mean(0), parts)
    np.testing.assert_allclose(result["layer_share"], expected, atol=1e-6)
    left = ((Y - Y.mean(0) - parts.sum(0)) ** 2).sum(0)
    explained = 1 - left / ((Y - Y.mean(0)) ** 2).sum(0)
    np.testing.assert_allclose(result["layer_share"].sum(0), explained, atol=1e-6)


def test_on_all_stimuli_the_refit_is_the_score_itself():
    A, B, Y, folds = example()
    everyone = np.arange(80)
    half = np.sort(np.concatenate([np.flatnonzero(folds == f)[::2] for f in range(4)]))
    rows = [everyone, np.append(half, -1), np.random.default_rng(0).permutation(80)]
    K = np.stack([gram(A), gram(B)])
    whole = banded_ridge(K, Y, folds, candidates=12)
    again = refit_banded(K, Y, folds, whole["weights"], rows)
    parts = variance_partition(gram(A), gram(B), Y, folds)
    unique = refit_partition(gram(A), gram(B), Y, folds, parts["weights"], rows)
    # Other orders of the stimuli change sums in their last digits.
    for k in (0, 2):
        np.testing.assert_allclose(again["layer_share"][:, k], whole["layer_share"], atol=1e-9)
        np.testing.assert_allclose(again["r"][k], whole["r"], atol=1e-9)
        np.testing.assert_allclose(unique[k], parts["unique_first"], atol=1e-9)
    assert (np.abs(unique[1] - parts["unique_first"]) > 1e-4).any()


def test_on_a_half_alpha_is_chosen_and_the_model_fitted_anew_with_the_weights_of_all_stimuli():
    A, B, Y, folds = example()
    half = np.sort(np.concatenate([np.flatnonzero(folds == f)[::2] for f in range(4)]))
    K, grid = np.stack([gram(A), gram(B)]), np.logspace(-5, 4.5, 20)
    weights = banded_ridge(K, Y, folds, candidates=12)["weights"]
    again = refit_banded(K, Y, folds, weights, [half])
    inside = folds[half]
    for j in range(3):
        prediction = np.zeros(len(half))
        for f in range(4):
            scale = np.sqrt(weights[f, j])
            X = np.hstack([a * unit(X) for a, X in zip(scale, (A, B))])[half]
            # With these weights alone the choice of alpha is that of nested ridge.
            alone = nested_ridge(X @ X.T, Y[half, j : j + 1], inside, grid)
            prediction[inside == f] = alone["prediction"][inside == f, 0]
        expected = np.corrcoef(prediction, Y[half, j])[0, 1]
        assert again["r"][0, j] == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(
    ("rows", "message"),
    [([[0, 80]], "row 80 of 80"), ([[-1]], "row -1"), ([[0, 1, 2]], "in at least 3 folds")],
)
def test_rows_out_of_range_are_one_sentence(rows, message):
    A, _, Y, folds = example()
    with pytest.raises(ValueError, match=message):
        refit_banded(gram(A)[None], Y, folds, np.ones((4, 3, 1)), rows)
