"""Ridge where features differ in scale by many orders, against solutions of more digits."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch

from dynamics import metrics
from dynamics.metrics.factorisation import (
    Factor,
    compact,
    decompose,
    decompose_covariance,
    faint_alphas,
)
from dynamics.metrics.held import Held, Source
from dynamics.metrics.pepino import pepino_layers, pepino_ridge
from dynamics.metrics.refit import refit_ridge
from dynamics.metrics.ridge import nested_ridge
from dynamics.metrics.tuckute import random_splits

ALPHAS = [1e2, 1e-4, 1e-10, 1e-17, 1e-24]


def scaled(n, scales, *, seed=0, noise=0.5):
    rng = np.random.default_rng(seed)
    x, weights = rng.standard_normal((n, len(scales))), rng.standard_normal((len(scales), 3))
    return x * scales, x @ weights + noise * rng.standard_normal((n, 3))


def exact_ridge(X, y, train, test, alpha):
    """Ridge with an intercept by elimination with 60 digits."""
    with mpmath.workdps(60):
        inside, across = mpmath.matrix(X[train].tolist()), mpmath.matrix(X[test].tolist())
        for column in range(inside.cols):
            mean = mpmath.fsum(inside[:, column]) / inside.rows
            for matrix in (inside, across):
                for row in range(matrix.rows):
                    matrix[row, column] -= mean
        K = inside * inside.T + mpmath.mpf(alpha) * mpmath.eye(inside.rows)
        mean = mpmath.fsum(y[train].tolist()) / inside.rows
        rest = mpmath.matrix([mpmath.mpf(each) - mean for each in y[train].tolist()])
        found = across * (inside.T * mpmath.lu_solve(K, rest))
        return np.array([float(each + mean) for each in found])


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize("p", [8, 30])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_predictions_keep_their_digits_over_twelve_orders_of_magnitude(p, alpha, compacted):
    # Responses of size 1 from features that are not mixed with their scales.
    X, Y = scaled(26, np.logspace(2, -10, p))
    train, test = np.arange(20), np.arange(20, 26)
    expected = exact_ridge(X, Y[:, 0], train, test, alpha)
    given = compact(torch.as_tensor(X)) if compacted else torch.as_tensor(X)
    factor = Factor.of_singular(given, torch.as_tensor(train), torch.as_tensor(test))
    found = factor.predict(torch.as_tensor(Y[:, :1]), torch.tensor([alpha], dtype=torch.float64))
    # eps times the condition of the features once their scales are taken out, some 1e3.
    np.testing.assert_allclose(found[:, 0], expected, rtol=0, atol=1e-11 * abs(expected).max())


def long_ridge(X, Y, train, test, alpha):
    """Primal ridge in scaled units, so that nothing small meets something large."""
    mean, scale = X[train].mean(0), X[train].std(0)
    A, B = (X[train] - mean) / scale, (X[test] - mean) / scale
    # (S A'A S + alpha) = S (A'A + alpha S^-2) S.
    G = A.T @ A + np.diag(alpha / scale**2)
    balance = 1 / np.sqrt(np.diag(G))
    w = balance[:, None] * np.linalg.solve(
        G * balance * balance[:, None], balance[:, None] * (A.T @ (Y[train] - Y[train].mean(0)))
    )
    return B @ w + Y[train].mean(0)


def test_the_scaled_solution_is_that_of_sixty_digits():
    X, Y = scaled(26, np.logspace(2, -10, 8))
    train, test = np.arange(20), np.arange(20, 26)
    for alpha in ALPHAS:
        expected = exact_ridge(X, Y[:, 0], train, test, alpha)
        found = long_ridge(X, Y[:, :1], train, test, alpha)[:, 0]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * abs(expected).max())


def fitted(X, Y, folds, alphas):
    """Pooled r with a penalty given for each fold and neuroid."""
    pooled = np.empty_like(Y)
    for f, row in enumerate(alphas):
        train, test = np.flatnonzero(folds != f), np.flatnonzero(folds == f)
        for j, alpha in enumerate(row):
            pooled[test, j] = long_ridge(X, Y[:, [j]], train, test, alpha)[:, 0]
    return pearson(pooled, Y)


def searched(X, Y, folds, alphas):
    """Pooled r, alpha by leave-one-fold-out among those given, one alpha a time; of equal ones
    the largest."""
    pooled, everyone = np.empty_like(Y), range(int(folds.max()) + 1)
    descending = np.sort(np.unique(alphas))[::-1]
    for f in everyone:
        outer = np.flatnonzero(folds != f)
        inner = np.full((len(descending), *Y.shape), np.nan)
        for g in set(everyone) - {f}:
            known, held = np.flatnonzero((folds != f) & (folds != g)), np.flatnonzero(folds == g)
            inner[:, held] = [long_ridge(X, Y, known, held, a) for a in descending]
        r = np.array([pearson(p[outer], Y[outer]) for p in inner])
        test = np.flatnonzero(folds == f)
        for j, which in enumerate(r.argmax(0)):
            pooled[test, j] = long_ridge(X, Y[:, [j]], outer, test, descending[which])[:, 0]
    return pearson(pooled, Y)


def check_search(X, Y, folds, found):
    """Scores are those of their penalties, and with those of all folds to choose from as high."""
    chosen = found["layer_alpha"][0]
    np.testing.assert_allclose(found["r"], fitted(X, Y, folds, chosen), atol=1e-6)
    np.testing.assert_allclose(found["r"], searched(X, Y, folds, chosen.ravel()), atol=1e-3)


def pearson(a, b):
    a, b = a - a.mean(0), b - b.mean(0)
    return (a * b).sum(0) / np.sqrt((a**2).sum(0) * (b**2).sum(0))


GRADED = np.r_[np.full(6, 200.0), np.geomspace(1e-4, 2e-3, 63)]
"""A cochleagram beside modulation energies."""


def energies(n=165):
    """Responses half of which follow the large features, and half the small ones."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((n, len(GRADED)))
    x[:, 6:] = x[:, 6:] @ rng.standard_normal((63, 63)) / 8
    Y = x[:, :6] @ rng.standard_normal((6, 4)) / 2.4 + x[:, 6:] @ rng.standard_normal((63, 4)) / 8
    return (3 + x) * GRADED, Y + 0.3 * rng.standard_normal((n, 4)), np.arange(n) % 5


@pytest.mark.parametrize("single", [False, True])
def test_pepino_keeps_small_features_beside_large_ones(single):
    X, Y, folds = energies()
    X = X.astype(np.float32) if single else X
    found = metrics.encode(X, Y, protocol="pepino", folds=folds)
    assert found["alpha"].min() < 1e-5
    expected = fitted(np.float64(X), Y, folds, found["layer_alpha"][0])
    np.testing.assert_allclose(found["layer_r"][0], expected, atol=1e-6)
    lost = pepino_ridge(metrics.gram(X)[None], Y, folds)["layer_r"][0]
    assert (found["layer_r"][0] - lost).max() > 1e-3


@pytest.mark.parametrize("single", [False, True])
def test_the_default_finds_small_features_beside_large_ones(single):
    X, Y, folds = energies()
    X = X.astype(np.float32) if single else X
    scale = X.std(0)
    found = metrics.encode(X, Y, folds=folds)
    alone = metrics.encode(X / scale, Y, folds=folds)["r"]
    check_search(np.float64(X), Y, folds, found)
    assert (found["r"] > alone - 0.1).all() and found["alpha_edge"] <= 0.05
    large = metrics.encode(X[:, :6], Y, folds=folds)["r"]
    assert (found["r"] > large + 0.05).all()


def test_scores_do_not_depend_on_scale_where_penalties_are_none():
    # Least squares does not know of scales.
    X, Y = scaled(90, np.ones(12))
    folds, apart = np.arange(90) % 5, np.logspace(3, -7, 12)
    for protocol, given in (("pepino", {"folds": folds}), ("tuckute", {}), ("default", {})):
        given = given | {"protocol": protocol, "alphas": [1e-30]}
        plain = metrics.encode(X, Y, **given)["layer_r"]
        found = metrics.encode(X * apart, Y, **given)["layer_r"]
        np.testing.assert_allclose(found, plain, atol=1e-9)


@pytest.mark.parametrize("p", [12, 90])
def test_tuckute_is_that_of_leaving_each_stimulus_out(p):
    X, Y = scaled(40, np.logspace(2, -8, p), noise=1.0)
    alphas = np.logspace(-22, 4, 14)
    found = metrics.encode(X, Y, protocol="tuckute", alphas=alphas)
    for s, (train, test) in enumerate(random_splits(40)[:2]):
        errors = np.zeros((len(alphas), 3))
        for left in train:
            rest = train[train != left]
            for number, alpha in enumerate(alphas):
                out = long_ridge(X, Y, rest, np.array([left]), alpha)[0]
                errors[number] += (out - Y[left]) ** 2
        chosen = alphas[errors.argmin(0)]
        np.testing.assert_allclose(found["alpha"][0, s], chosen)
        for j in range(3):
            predicted = long_ridge(X, Y[:, [j]], train, test, chosen[j])[:, 0]
            r = max(0.0, float(np.corrcoef(predicted, Y[test, j])[0, 1]))
            assert found["split_r"][0, s, j] == pytest.approx(r, abs=1e-8)


def one_large(factor, p, n=80):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((n, p))
    Y = x[:, 1:6] @ rng.standard_normal((5, 2)) + 0.3 * rng.standard_normal((n, 2))
    return x * np.r_[factor, np.ones(p - 1)], Y, np.arange(n) % 5


@pytest.mark.parametrize("factor", [1e3, 1e4, 1e5, 1e6, 1e7, 1e10])
@pytest.mark.parametrize("p", [12, 60])
def test_the_default_finds_its_penalty_below_one_large_feature(factor, p):
    X, Y, folds = one_large(factor, p)
    without = metrics.encode(X[:, 1:], Y, folds=folds)["r"]
    found = metrics.encode(X, Y, folds=folds)
    np.testing.assert_allclose(found["r"], without, atol=0.08)
    assert found["alpha_edge"] == 0
    check_search(X, Y, folds, found)


def test_a_gram_matrix_alone_goes_down_as_far_as_its_digits_do():
    X, Y, folds = one_large(1e4, 12)
    expected = metrics.encode(X, Y, folds=folds)["r"]
    found = metrics.nested_ridge(metrics.gram(X), Y, folds)
    np.testing.assert_allclose(found["r"], expected, atol=1e-2)
    assert found["alpha_edge"] == 0


def test_features_of_one_scale_are_left_to_the_gram_matrix():
    X, _ = scaled(60, np.ones(100))
    grid = torch.logspace(-5, 4.5, 20).double() * 100
    assert len(faint_alphas(torch.as_tensor(X), grid)) == 0
    rows = [torch.arange(60)[torch.arange(60) % 5 == f] for f in range(5)]
    for features in (X, np.hstack([X[:, :10], X[:, :10]]), np.eye(5)[np.arange(60) // 12]):
        held = Held(Source(torch.as_tensor(metrics.gram(features)), features=features), rows)
        assert held.at(1e-40) is held.plain


def test_what_is_rounding_of_single_precision_is_no_direction():
    rng = np.random.default_rng(5)
    x = rng.standard_normal((40, 8)) * 3
    normalised = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    assert compact(torch.as_tensor(normalised).float().double()).shape == (40, 7)
    assert compact(torch.as_tensor(normalised)).shape == (40, 7)
    # A feature that is as small as another's rounding is one.
    small = np.hstack([normalised, 1e-8 * rng.standard_normal((40, 2))]).astype(np.float32)
    assert compact(torch.as_tensor(small).double()).shape == (40, 9)


def test_faint_penalties_go_on_in_the_grids_own_steps():
    X = torch.as_tensor(np.random.default_rng(2).standard_normal((50, 3)) * [1e4, 1.0, 1e-6])
    grid = torch.as_tensor(np.logspace(-5, 4.5, 20)) * X.var(0, correction=0).sum()
    below = faint_alphas(X, grid)
    whole = torch.cat([below, grid])
    np.testing.assert_allclose(whole[1:] / whole[:-1], 10**0.5)
    assert 0.3 < whole[0] / (1e-5 * X[:, 2].var(correction=0)) <= 1 + 1e-9


def test_constant_and_equal_columns_have_no_direction_of_their_own():
    x = np.random.default_rng(4).standard_normal((20, 3))
    wide = np.hstack([x, x, np.full((20, 2), 3e8), 1e-9 * x[:, :1]])
    tensor = torch.as_tensor(wide)
    U, s, V = decompose(tensor[:, :3] - tensor[:, :3].mean(0))
    np.testing.assert_allclose(U * s @ V.T, x - x.mean(0), atol=1e-14)
    rows = torch.arange(15), torch.arange(15, 20)
    assert len(Factor.of_singular(tensor, *rows).spectrum) == 3


def test_refits_keep_what_the_score_keeps():
    X, Y, folds = one_large(1e6, 12)
    K, everyone = metrics.gram(X)[None], np.arange(len(X))[None]
    score = metrics.encode(X, Y, folds=folds)["r"]
    again = refit_ridge(K, Y, folds, everyone, features=[X], search_dtype=torch.float64)[0, 0]
    # Penalties a decade apart, where the score's are half of one.
    np.testing.assert_allclose(again, score, atol=2e-3)
    half = np.arange(40)
    scaled_back = X / X.std(0)
    expected = refit_ridge(metrics.gram(scaled_back)[None], Y, folds, half[None])[0, 0]
    found = refit_ridge(K, Y, folds, half[None], features=[X])[0, 0]
    np.testing.assert_allclose(found, expected, atol=0.03)
    alphas = [1e-3]
    found = refit_ridge(K, Y, folds, half[None], alphas, features=[X])[0, 0]
    expected = fitted(X[half], Y[half], folds[half], np.full((5, 2), alphas[0]))
    np.testing.assert_allclose(found, expected, atol=1e-7)
    nested = nested_ridge(K[:, half][:, :, half], Y[half], folds[half], alphas, features=[X[half]])
    np.testing.assert_allclose(nested["r"], expected, atol=1e-7)
    pepino = pepino_layers(K, Y, folds, [1e-3], features=[X])[0]
    whole = pepino_ridge(K, Y, folds, [1e-3], features=[X])["layer_r"][0]
    np.testing.assert_array_equal(pepino, whole)


def test_sums_of_products_keep_small_features():
    X, _ = scaled(300, np.logspace(3, -7, 9))
    X -= X.mean(0)
    V, spectrum = decompose_covariance(torch.as_tensor(X.T @ X))
    _, s, W = decompose(torch.as_tensor(X))
    np.testing.assert_allclose(spectrum, s.square(), rtol=1e-12)
    np.testing.assert_allclose((V * W).sum(0).abs(), 1, rtol=1e-12)
    doubled = np.hstack([X, X[:, :4]])
    assert len(decompose_covariance(torch.as_tensor(doubled.T @ doubled))[1]) == 9


@pytest.mark.parametrize("factor", [1e4, 1e6, 1e9])
def test_responses_over_time_see_small_features(factor):
    rng = np.random.default_rng(7)
    X = rng.standard_normal((20, 15, 6))
    Y = X[:, :, 1:] @ rng.standard_normal((5, 2)) + rng.standard_normal((20, 15, 2))
    given = {"rate": 10, "windows": [(0.0, 0.0)], "folds": np.arange(20) % 5}
    without = metrics.encode_timeresolved(X[:, :, 1:], Y, **given)["r"]
    apart = X * np.r_[factor, np.ones(5)]
    found = metrics.encode_timeresolved(apart, Y, **given)
    np.testing.assert_allclose(found["r"], without, atol=0.02)
    alphas = [1e-20]
    plain = metrics.encode_timeresolved(X, Y, alphas=alphas, **given)["r"]
    np.testing.assert_allclose(
        metrics.encode_timeresolved(apart, Y, alphas=alphas, **given)["r"], plain, atol=1e-9
    )


@pytest.mark.parametrize("factor", [1e5, 1e8])
def test_all_layers_together_and_what_each_adds_see_small_features(factor):
    rng = np.random.default_rng(9)
    X, Z = rng.standard_normal((60, 6)), rng.standard_normal((60, 4))
    Y = X[:, 1:] @ rng.standard_normal((5, 2)) + Z @ rng.standard_normal((4, 2))
    Y, folds = Y + rng.standard_normal((60, 2)), np.arange(60) % 5
    given = {"candidates": 8}
    for name in ("r", "layer_share"):
        expected = _banded([X[:, 1:], Z], Y, folds, **given)[name]
        found = _banded([X * np.r_[factor, np.ones(5)], Z], Y, folds, **given)[name]
        np.testing.assert_allclose(found, expected, atol=0.1)
    shares = _banded([X * np.r_[factor, np.ones(5)], Z], Y, folds, **given)
    residual = ((Y - shares["prediction"]) ** 2).sum(0) / ((Y - Y.mean(0)) ** 2).sum(0)
    # Shares leave out the training means, of which the prediction has a little.
    np.testing.assert_allclose(shares["layer_share"].sum(0), 1 - residual, atol=0.02)
    found, expected = (
        metrics.variance_partition(
            metrics.gram(X[:, part] * scale), metrics.gram(Z), Y, folds,
            features=[X[:, part] * scale, Z], candidates=8,
        )
        for part, scale in ((slice(None), np.r_[factor, np.ones(5)]), (slice(1, None), 1.0))
    )  # fmt: skip
    for name in ("both", "first", "second", "unique_first", "unique_second"):
        np.testing.assert_allclose(found[name], expected[name], atol=0.1)


def _banded(layers, Y, folds, **given):
    return metrics.banded_ridge(metrics.grams(dict(enumerate(layers)))[1], Y, folds,
                                features=layers, **given)  # fmt: skip


def test_parts_by_singular_values_are_those_of_the_gram_matrices():
    rng = np.random.default_rng(9)
    X, Z, folds = rng.standard_normal((60, 6)), rng.standard_normal((60, 4)), np.arange(60) % 5
    Y = X @ rng.standard_normal((6, 2)) + Z @ rng.standard_normal((4, 2))
    # A penalty that is nothing to either, and a direction that no response has.
    small = np.hstack([X, 1e-7 * rng.standard_normal((60, 1))])
    found = _banded([small, Z], Y, folds, alphas=[1e-9], candidates=6)
    expected = _banded([X, Z], Y, folds, alphas=[1e-9], candidates=6)
    for name in ("r", "layer_share"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-3)


def test_activations_that_are_not_those_of_the_matrices_are_refused():
    X, Y, folds = one_large(1.0, 6)
    K = metrics.gram(X)[None]
    with pytest.raises(ValueError, match="activations of 2 layers for 1 Gram"):
        nested_ridge(K, Y, folds, features=[X, X])
    with pytest.raises(ValueError, match="features has 79 stimuli and K has 80"):
        refit_ridge(K, Y, folds, [np.arange(40)], features=[X[1:]])


@pytest.mark.parametrize("factor", [1e4, 1e6, 1e8])
def test_the_default_finds_what_features_do_not_share_beside_what_they_do(factor):
    X, Y, folds = one_large(1.0, 30)
    alone = metrics.encode(X, Y, folds=folds)["r"]
    shared = factor * np.random.default_rng(2).standard_normal((len(X), 1))
    found = metrics.encode(X + shared, Y, folds=folds)
    np.testing.assert_allclose(found["r"], alone, atol=0.1)
    assert found["alpha_edge"] == 0
