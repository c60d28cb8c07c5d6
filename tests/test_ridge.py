from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from dynamics.metrics import (
    default_alphas,
    gram,
    nested_ridge,
    nested_ridge_features,
    stratified_folds,
)
from dynamics.metrics.nested import standardise
from dynamics.metrics.ridge import RELATIVE_ALPHAS


def pooled(X, y, folds, alpha):
    """Out-of-fold predictions by scikit-learn."""
    prediction = np.zeros(len(y))
    for f in np.unique(folds):
        model = Ridge(alpha, solver="svd").fit(X[folds != f], y[folds != f])
        prediction[folds == f] = model.predict(X[folds == f])
    return prediction


def nested_by_scikit_learn(Xs, y, folds, grids):
    """Plain nested search: (layer, alpha) of every fold and the pooled prediction."""
    prediction, chosen = np.zeros(len(y)), []
    for f in np.unique(folds):
        inside = folds != f
        scores = {
            (i, a): np.corrcoef(pooled(X[inside], y[inside], folds[inside], a), y[inside])[0, 1]
            for i, X in enumerate(Xs)
            for a in grids[i]
        }
        layer, alpha = max(scores, key=scores.get)
        model = Ridge(alpha, solver="svd").fit(Xs[layer][inside], y[inside])
        prediction[~inside] = model.predict(Xs[layer][~inside])
        chosen.append((layer, alpha))
    return chosen, prediction


def data(n, p, v=3, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    Xs = [(rng.normal(size=(n, p)) + 3) * scale, rng.normal(size=(n, p + 2)) * scale]
    Y = Xs[0][:, :1] / scale + Xs[1][:, :v] / scale + rng.normal(size=(n, v))
    return Xs, Y, stratified_folds(None, 4, seed, n=n)


@pytest.mark.slow
@pytest.mark.parametrize("p", [5, 40, 90])
@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e5])
@pytest.mark.guards(4)
def test_agrees_with_scikit_learn_for_n_below_at_and_above_p(p, scale):
    Xs, Y, folds = data(40, p, v=2, scale=scale)
    Xs[0][5] = Xs[0][6]
    K = np.stack([X @ X.T for X in Xs])
    result = nested_ridge(K, Y, folds)
    grids = default_alphas(K)
    for j in range(Y.shape[1]):
        chosen, prediction = nested_by_scikit_learn(Xs, Y[:, j], folds, grids)
        assert [c[0] for c in chosen] == result["layer"][:, j].tolist()
        np.testing.assert_allclose([c[1] for c in chosen], result["alpha"][:, j], rtol=1e-9)
        np.testing.assert_allclose(prediction, result["prediction"][:, j], rtol=1e-6, atol=1e-6)
        r = np.corrcoef(prediction, Y[:, j])[0, 1]
        assert result["r"][j] == pytest.approx(r, abs=1e-6)
        for i, X in enumerate(Xs):
            _, prediction = nested_by_scikit_learn([X], Y[:, j], folds, grids[i : i + 1])
            r = np.corrcoef(prediction, Y[:, j])[0, 1]
            assert result["layer_r"][i, j] == pytest.approx(r, abs=1e-6)
            for f in range(4):
                inside = np.corrcoef(prediction[folds == f], Y[folds == f, j])[0, 1]
                assert result["fold_r"][i, f, j] == pytest.approx(inside, abs=1e-6)


def test_search_in_single_precision_gives_the_result_of_double():
    rng = np.random.default_rng(1)
    Xs = [rng.normal(size=(100, 60)) @ rng.normal(size=(60, 60)) ** 3 for _ in range(3)]
    Y = sum(X[:, :1] for X in Xs) / 100 + rng.normal(size=(100, 700)) * rng.uniform(1, 9, 700)
    K, folds = np.stack([gram(X) for X in Xs]), stratified_folds(None, 5, n=100)
    single = nested_ridge(K, Y, folds)
    double = nested_ridge(K, Y, folds, search_dtype=torch.float64, block=100)
    for name in ("r", "layer_r", "alpha", "layer", "fold_r"):
        np.testing.assert_allclose(single[name], double[name], atol=1e-9)


def test_duplicated_layers_give_the_first():
    Xs, Y, folds = data(40, 60)
    K = np.stack([Xs[0] @ Xs[0].T] * 2)
    assert (nested_ridge(K, Y, folds)["layer"] == 0).all()


def test_subset_by_indexing_equals_the_subset_fitted_alone():
    Xs, Y, folds = data(60, 80)
    K = np.stack([X @ X.T for X in Xs])
    keep = np.random.default_rng(0).permutation(60)[:44]
    grid = RELATIVE_ALPHAS * 80
    subset = nested_ridge(K[:, keep][:, :, keep], Y[keep], folds[keep], grid)
    alone = nested_ridge(np.stack([gram(X[keep]) for X in Xs]), Y[keep], folds[keep], grid)
    np.testing.assert_allclose(subset["layer_r"], alone["layer_r"], atol=1e-9)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-4, 1e4), p=st.sampled_from([6, 70]))
def test_rotation_and_scale_of_activations_change_nothing(seed, scale, p):
    Xs, Y, folds = data(30, p, seed=seed)
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(p, p)))
    a = nested_ridge(gram(Xs[0])[None], Y, folds)
    b = nested_ridge(gram(scale * Xs[0] @ rotation)[None], Y, folds)
    np.testing.assert_allclose(a["layer_alpha"] * scale**2, b["layer_alpha"], rtol=1e-9)
    np.testing.assert_allclose(a["r"], b["r"], atol=1e-7)


def test_single_precision_activations_are_used_in_double():
    X = data(40, 60)[0][0].astype(np.float32)
    a, b = gram(X), gram(X.astype(float))
    np.testing.assert_array_equal(a, b)


def test_units_of_responses_change_nothing():
    Xs, Y, folds = data(50, 70)
    K = gram(Xs[0])[None]
    a, b = nested_ridge(K, Y, folds), nested_ridge(K, 1e-9 * Y + 5e-8, folds)
    np.testing.assert_allclose(a["r"], b["r"], atol=1e-6)
    np.testing.assert_allclose(a["prediction"], 1e9 * b["prediction"] - 50, atol=1e-5)


def test_constant_neuroid_is_nan_and_constant_layer_scores_zero():
    Xs, Y, folds = data(40, 60)
    Y[:, 1] = 7.0
    K = np.stack([np.zeros((40, 40)), Xs[0] @ Xs[0].T])
    result = nested_ridge(K, Y, folds)
    assert np.isnan(result["r"][1]) and np.isnan(result["r2"][1])
    assert np.isfinite(result["r"][[0, 2]]).all()
    assert (result["layer_r"][0, [0, 2]] == 0).all()
    np.testing.assert_allclose(result["prediction"][:, 1], 7.0)


def test_shuffled_responses_score_nothing_on_average():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(80, 120)), rng.normal(size=(80, 400))
    result = nested_ridge(gram(X)[None], Y, stratified_folds(None, 5, n=80))
    # Pooled predictions carry the training means, which are negatively related to the left-out
    # fold: an uninformative layer scores a little below zero, never above.
    assert -0.2 < result["r"].mean() < 0.02
    assert abs(result["fold_r"].mean()) < 0.02


def test_edge_of_the_grid_is_reported():
    Xs, Y, folds = data(60, 30)
    K = gram(Xs[0])[None]
    assert nested_ridge(K, Y, folds)["alpha_edge"] == 0
    assert nested_ridge(K, Y, folds, [1e4, 1e5])["alpha_edge"] > 0.5


def test_torch_in_torch_out():
    Xs, Y, folds = data(40, 30)
    result = nested_ridge(torch.as_tensor(gram(Xs[0])[None]), torch.as_tensor(Y), folds)
    assert isinstance(result["r"], torch.Tensor)


def test_standardised_columns_have_unit_deviation():
    Y, constant = standardise(torch.tensor([[1.0, 2.0], [3.0, 2.0]]).double())
    assert constant.tolist() == [False, True]
    np.testing.assert_allclose(Y, [[-1, 0], [1, 0]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(alphas=[1.0, 0.0]), "positive"),
        (dict(folds=np.arange(40) % 2), "at least 3 folds"),
        (dict(folds=np.arange(39) % 3), "one fold number a stimulus"),
        (dict(Y=np.ones((39, 2))), "40 stimuli and Y has 39"),
        (dict(Y=np.full((40, 2), np.nan)), "neuroid 0"),
        (dict(K=np.ones((2, 40, 39))), "Gram matrices"),
    ],
)
def test_bad_input_is_one_sentence(change, message):
    Xs, Y, folds = data(40, 30)
    given = dict(K=gram(Xs[0])[None], Y=Y, folds=folds) | change
    with pytest.raises(ValueError, match=message):
        nested_ridge(**given)


@pytest.mark.parametrize("p", [4, 30, 59, 90])
def test_feature_form_equals_gram_form(p):
    Xs, Y, folds = data(60, p)
    Y[:, 2] = 1.0
    Xs[0][:, 1] = 2.0
    a = nested_ridge(np.stack([gram(X) for X in Xs]), Y, folds)
    b = nested_ridge_features(Xs, Y, folds)
    for name in a:
        np.testing.assert_allclose(a[name], b[name], atol=1e-8, err_msg=name)
    c = nested_ridge_features(Xs, Y, folds, [0.1, 10.0])
    d = nested_ridge(np.stack([gram(X) for X in Xs]), Y, folds, [0.1, 10.0])
    np.testing.assert_allclose(c["r"], d["r"], atol=1e-9)
