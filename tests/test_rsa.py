from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from scipy.stats import pearsonr, spearmanr

from dynamics.metrics import compare_rdms, rdm, rsa


def pair(n=30, p=12, v=7, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) + 2
    return X, X @ rng.normal(size=(p, v)) + rng.normal(size=(n, v))


@pytest.mark.parametrize("distance", ["correlation", "cosine", "euclidean"])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_distances_agree_with_scipy(distance, scale):
    X = pair()[0] * scale
    Z = (X - X.mean(0)) / X.std(0)
    np.testing.assert_allclose(rdm(X, distance=distance), squareform(pdist(Z, distance)), atol=1e-9)
    np.testing.assert_allclose(
        rdm(X, distance=distance, zscore=False),
        squareform(pdist(X, distance)),
        rtol=1e-9,
        atol=1e-9,
    )


@pytest.mark.parametrize("compare", ["spearman", "pearson", "cosine"])
def test_comparisons_agree_with_scipy(compare):
    X, Y = pair()
    a, b = rdm(X)[np.triu_indices(30, 1)], rdm(Y)[np.triu_indices(30, 1)]
    oracle = {
        "spearman": lambda: spearmanr(a, b).statistic,
        "pearson": lambda: pearsonr(a, b).statistic,
        "cosine": lambda: a @ b / np.linalg.norm(a) / np.linalg.norm(b),
    }
    assert rsa(X, Y, compare=compare) == pytest.approx(oracle[compare](), abs=1e-10)


def test_ties_share_their_rank_as_in_scipy():
    rng = np.random.default_rng(0)
    D, E = (squareform(rng.integers(0, 5, 190).astype(float)) for _ in range(2))
    upper = np.triu_indices(20, 1)
    assert compare_rdms(D, E) == pytest.approx(spearmanr(D[upper], E[upper]).statistic, abs=1e-10)


def test_stacks_are_compared_all_with_all():
    D = np.stack([rdm(pair(seed=s)[0]) for s in range(3)])
    E = np.stack([rdm(pair(seed=s)[1]) for s in range(2)])
    table = compare_rdms(D, E)
    assert table.shape == (3, 2)
    assert table[2, 1] == pytest.approx(compare_rdms(D[2], E[1]), abs=1e-12)


def test_rdm_with_itself_is_one_and_duplicated_stimuli_are_at_distance_zero():
    X, _ = pair()
    X[3] = X[7]
    assert rdm(X)[3, 7] == pytest.approx(0, abs=1e-12)
    assert rsa(X, X) == pytest.approx(1)


def test_constant_columns_do_not_count_after_scaling():
    X, Y = pair()
    Z = np.hstack([X, np.full((30, 2), 5.0)])
    assert rsa(Z, Y, distance="euclidean") == pytest.approx(rsa(X, Y, distance="euclidean"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda X: rdm(X, distance="x"), "correlation, "),
        (lambda X: compare_rdms(rdm(X), rdm(X), compare="x"), "spearman, "),
        (lambda X: rdm(X[:2]), "2 stimuli"),
        (lambda X: rsa(X, X[:-1]), "30 stimuli and Y has 29"),
        (lambda X: compare_rdms(rdm(X), rdm(X[:-1])), "30 stimuli, the other 29"),
        (lambda X: rdm(np.ones((5, 3))), "stimulus 0 has no variance"),
    ],
)
def test_bad_input_is_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call(pair()[0])
