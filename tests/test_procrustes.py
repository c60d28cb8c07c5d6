from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import procrustes as scipy_procrustes

from dynamics.metrics import gram, procrustes, procrustes_gram


@pytest.mark.parametrize("p", [2, 20, 60])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_agrees_with_scipy(p, scale):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, p)) + 5
    Y = X[:, ::-1] + rng.normal(size=(20, p))
    X[3] = X[4]
    s = np.sqrt(1 - scipy_procrustes(X, Y)[2])
    assert procrustes(X * scale, Y) == pytest.approx(np.arccos(s), abs=1e-7)
    assert procrustes(X, Y, kind="euclidean") == pytest.approx(np.sqrt(2 - 2 * s), abs=1e-7)


def test_widths_may_differ_as_if_padded_with_zeros():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(20, 7)), rng.normal(size=(20, 3))
    padded = np.hstack([Y, np.zeros((20, 4))])
    assert procrustes(X, Y) == pytest.approx(procrustes(X, padded), abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3))
def test_rotation_scale_and_offset_change_nothing_and_triangles_hold(seed, scale):
    rng = np.random.default_rng(seed)
    X, Y, Z = (rng.normal(size=(10, p)) for p in (6, 4, 15))
    Q, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    assert procrustes(X, Y) == pytest.approx(procrustes(scale * X @ Q + 1, Y), abs=1e-7)
    assert procrustes(X, Z) <= procrustes(X, Y) + procrustes(Y, Z) + 1e-9
    assert procrustes(X, X @ Q) == pytest.approx(0, abs=1e-6)


def test_stacks_give_a_symmetric_table():
    rng = np.random.default_rng(0)
    Xs = [rng.normal(size=(15, 30)) for _ in range(3)]
    K = np.stack([gram(X) for X in Xs])
    table = procrustes_gram(K)
    np.testing.assert_allclose(table, table.T)
    assert table[0, 2] == pytest.approx(procrustes(Xs[0], Xs[2]), abs=1e-9)
    assert procrustes_gram(K, K[:2]).shape == (3, 2)


def test_constant_representation_has_none():
    assert np.isnan(
        procrustes(np.full((10, 3), 0.1), np.random.default_rng(0).normal(size=(10, 2)))
    )


def test_bad_input_is_one_sentence():
    with pytest.raises(ValueError, match="angular, euclidean"):
        procrustes(np.eye(4), np.eye(4), kind="x")
    with pytest.raises(ValueError, match="X has 4 stimuli and Y has 5"):
        procrustes(np.eye(4), np.eye(5))
