from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from dynamics.metrics import (
    effective_dimensionality,
    effective_dimensionality_gram,
    gram,
    mutual_knn,
    mutual_knn_gram,
)


@pytest.mark.parametrize("k", [1, 5, 29])
@pytest.mark.parametrize("p", [3, 50])
def test_mutual_neighbours_agree_with_scikit_learn(k, p):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, p)) + 0.5
    Y = X + rng.normal(size=(30, p))
    sets = []
    for Z in (X, Y):
        unit = Z / np.linalg.norm(Z, axis=1, keepdims=True)
        sets.append(NearestNeighbors(n_neighbors=k).fit(unit).kneighbors(return_distance=False))
    expected = np.mean([len(set(a) & set(b)) / k for a, b in zip(*sets)])
    assert mutual_knn(X, Y, k=k) == pytest.approx(expected)


def test_independent_data_share_neighbours_by_chance():
    rng = np.random.default_rng(0)
    values = [mutual_knn(*rng.normal(size=(2, 100, 20)), k=10) for _ in range(20)]
    assert np.mean(values) == pytest.approx(10 / 99, abs=0.01)


def test_neighbour_tables():
    rng = np.random.default_rng(0)
    K = np.stack([gram(rng.normal(size=(20, 30))) for _ in range(3)])
    table = mutual_knn_gram(K, k=3)
    np.testing.assert_allclose(np.diag(table), 1)
    assert table[0, 1] == mutual_knn_gram(K[0], K[1], k=3)


def test_where_all_stimuli_are_alike_none_is_nearer():
    X = np.random.default_rng(0).normal(size=(20, 5))
    for flat in (np.zeros((20, 3)), np.full((20, 700), 0.1)):
        assert np.isnan(mutual_knn(X, flat)) and np.isnan(mutual_knn(flat, X))
    # A great offset is not the same as no difference.
    assert mutual_knn(X + 1e4, X + 1e4) == 1


def test_too_many_neighbours_is_one_sentence():
    with pytest.raises(ValueError, match="between 1 and 9"):
        mutual_knn(np.ones((10, 2)), np.ones((10, 2)), k=10)


@pytest.mark.parametrize("p", [4, 20, 100])
def test_dimensionality_is_the_participation_ratio_of_the_covariance(p):
    X = np.random.default_rng(0).normal(size=(20, p)) * np.arange(1, p + 1) + 9
    spectrum = np.linalg.eigvalsh(np.cov(X.T))
    expected = spectrum.sum() ** 2 / (spectrum**2).sum()
    assert effective_dimensionality(X) == pytest.approx(expected, rel=1e-9)
    assert effective_dimensionality_gram(gram(X)[None]).shape == (1,)


def test_dimensionality_of_a_line_is_one_and_of_a_point_none():
    line = np.outer(np.arange(10.0), [1, 2, 3])
    assert effective_dimensionality(line) == pytest.approx(1)
    assert np.isnan(effective_dimensionality(np.full((10, 3), 2.0)))
