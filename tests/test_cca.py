from __future__ import annotations

import numpy as np
import pytest
from sklearn.cross_decomposition import CCA

from dynamics.metrics import pwcca, stratified_folds, svcca


def pair(n=120, p=5, v=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) + 3
    return X, X @ rng.normal(size=(p, v)) + rng.normal(size=(n, v))


def test_all_components_give_scikit_learn_s_canonical_correlations():
    X, Y = pair()
    model = CCA(4, max_iter=20000, tol=1e-12).fit(X, Y)
    a, b = model.transform(X, Y)
    expected = np.mean([np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(4)])
    assert svcca(X, Y, variance=1.0) == pytest.approx(expected, abs=1e-4)


def test_projection_weights_follow_the_formula():
    X, Y = pair()
    Xc, Yc = X - X.mean(0), Y - Y.mean(0)
    Qx, Qy = np.linalg.qr(Xc)[0], np.linalg.qr(Yc)[0]
    U, rho, _ = np.linalg.svd(Qx.T @ Qy, full_matrices=False)
    weights = np.abs((Qx @ U).T @ Xc).sum(1)
    assert pwcca(X, Y, variance=1.0) == pytest.approx(weights @ rho / weights.sum(), abs=1e-9)


def test_invertible_maps_change_nothing_when_all_components_are_kept():
    X, Y = pair()
    A = np.random.default_rng(1).normal(size=(5, 5))
    assert svcca(X @ A, Y, variance=1.0) == pytest.approx(svcca(X, Y, variance=1.0), abs=1e-8)


def test_degenerate_input_is_refused_and_can_be_cross_validated():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(60, 200)), rng.normal(size=(60, 150))
    with pytest.raises(ValueError, match="folds to cross-validate"):
        svcca(X, Y)
    folds = stratified_folds(None, 5, n=60)
    assert abs(svcca(X, Y, folds=folds)) < 0.1
    assert abs(pwcca(X, Y, folds=folds, rank=10)) < 0.2
    assert svcca(X, X[:, :150], folds=folds, rank=5) > 0.3


def test_rank_limits_the_components():
    X, Y = pair(n=30, p=40, v=40)
    assert 0 < svcca(X, Y, rank=5) < 1


def test_bad_input_is_one_sentence():
    X, Y = pair()
    with pytest.raises(ValueError, match="X does not vary"):
        svcca(np.zeros((20, 3)), Y[:20])
    with pytest.raises(ValueError, match="fraction"):
        svcca(X, Y, variance=1.2)
    with pytest.raises(ValueError, match="120 stimuli and Y has 119"):
        pwcca(X, Y[1:])
