from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamics.metrics.factorisation import Factor, Splits
from dynamics.metrics.inner_cv import TOO_CLOSE, Responses, best_alphas, inner_scores
from dynamics.metrics.nested import standardise

RELATIVE = np.logspace(-5, 4.5, 20)


def power_law(n, p, rng):
    return rng.normal(size=(n, p)) * np.arange(1, p + 1) ** -1.0


def duplicated(n, p, rng):
    X = power_law(n, p, rng)
    X[: n // 3] = X[n // 3 : 2 * (n // 3)]
    X[:, 0] = 3.0
    return X


def one_hot(n, p, rng):
    """Equal categories: every training split has eigenvalues that coincide."""
    return np.eye(p)[np.arange(n) // 5 % p]


def nearly_equal_spectrum(n, p, rng):
    return one_hot(n, p, rng) * (1 + 1e-7 * rng.normal(size=p))


def isotropic(n, p, rng):
    return rng.normal(size=(n, 100 * p))


KINDS = [power_law, duplicated, one_hot, nearly_equal_spectrum, isotropic]


def problem(kind, n=60, p=30, v=8, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    X = kind(n, p, rng)
    Y = X[:, :2] @ rng.normal(size=(2, v)) / X.std() + rng.normal(size=(n, v))
    fold = np.arange(n) % 5
    rows = [torch.as_tensor(np.flatnonzero(fold == f)) for f in range(5)]
    X = scale * (X - X.mean(0))
    grid = torch.as_tensor(RELATIVE * X.var(0).sum())
    return torch.as_tensor(X), torch.as_tensor(Y), rows, grid


def by_solving(X, Y, rows, grid):
    """Pooled inner correlations from the textbook solution of each ridge problem."""
    X, Y, scores = X.numpy(), Y.numpy(), []
    for f in range(len(rows)):
        inside = np.concatenate([r for g, r in enumerate(rows) if g != f])
        scores.append([])
        for alpha in grid.numpy():
            pooled = np.zeros_like(Y)
            for g in set(range(len(rows))) - {f}:
                train, test = np.setdiff1d(inside, rows[g]), rows[g].numpy()
                x, y = X[train] - X[train].mean(0), Y[train] - Y[train].mean(0)
                dual = np.linalg.solve(x @ x.T + alpha * np.eye(len(x)), y)
                pooled[test] = (X[test] - X[train].mean(0)) @ x.T @ dual + Y[train].mean(0)
            pairs = zip(pooled[inside].T, Y[inside].T)
            scores[-1].append([np.corrcoef(p, y)[0, 1] for p, y in pairs])
    return np.array(scores)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("p", [8, 36, 90])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_scores_of_all_alphas_are_those_of_solving_each_problem(kind, p, scale):
    X, Y, rows, grid = problem(kind, p=p, scale=scale)
    grid = grid[::4]
    expected = by_solving(X, Y, rows, grid)
    for source, factor in ((X @ X.T, Factor.of), (X, Factor.of_features)):
        if source is X and X.shape[1] > 2 * len(X):
            continue
        found = inner_scores(Splits.of(source, rows, factor), Responses.of(Y, rows), grid)
        # At the smallest alpha the problem itself has a condition number of up to 1e8.
        np.testing.assert_allclose(found, expected, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "p"), [(165, 300), (60, 30), (40, 200)])
def test_single_precision_chooses_as_double_does(kind, n, p):
    X, Y, rows, grid = problem(kind, n, p, v=700)
    Y = standardise(Y)[0]
    splits = Splits.of(X @ X.T, rows)
    exact, single = Responses.of(Y, rows), Responses.of(Y, rows, torch.float32)
    expected = inner_scores(splits, exact, grid)
    found = inner_scores(splits, single, grid).double()
    near_the_best = expected >= expected.amax(1, keepdim=True) - 1e-4
    assert 2 * (found - expected)[near_the_best].abs().max() < TOO_CLOSE
    score, choice, _ = best_alphas(splits, single, grid)
    best = best_alphas(splits, exact, grid)[0]
    # Where scores of several alphas are equal to rounding, either may be chosen.
    np.testing.assert_allclose(expected.gather(1, choice[:, None])[:, 0], best, atol=1e-9)
    np.testing.assert_allclose(score, best, atol=TOO_CLOSE)


def test_one_outer_fold_alone_and_a_subset_of_neuroids_score_the_same():
    X, Y, rows, grid = problem(power_law)
    splits = Splits.of(X @ X.T, rows)
    everything = inner_scores(splits, Responses.of(Y, rows), grid)
    some = inner_scores(splits, Responses.of(Y[:, 2:5], rows), grid, outers=[3])
    np.testing.assert_allclose(some[0], everything[3, :, 2:5], atol=1e-12)


def test_constant_responses_and_constant_layers_score_zero():
    X, Y, rows, grid = problem(power_law)
    Y[:, 1] = 0.1
    Y[torch.cat(rows[1:]), 2] = 0.3  # varies in the first fold only
    scores = inner_scores(Splits.of(X @ X.T, rows), Responses.of(Y, rows), grid)
    assert (scores[:, :, 1] == 0).all() and (scores[0, :, 2] == 0).all()
    nothing = inner_scores(
        Splits.of(torch.zeros(60, 60).double(), rows), Responses.of(Y, rows), grid
    )
    assert torch.isfinite(nothing).all()
    # Only the training means differ between folds, and they run against the fold left out.
    assert (nothing <= 0).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-6, 1e6))
def test_units_of_responses_and_of_activations_change_nothing(seed, scale):
    X, Y, rows, grid = problem(power_law, n=30, p=12, v=3, seed=seed)
    a = inner_scores(Splits.of(X @ X.T, rows), Responses.of(Y, rows), grid)
    splits = Splits.of(scale**2 * X @ X.T, rows)
    b = inner_scores(splits, Responses.of(scale * Y + 3 * scale, rows), scale**2 * grid)
    np.testing.assert_allclose(a, b, atol=1e-8)
