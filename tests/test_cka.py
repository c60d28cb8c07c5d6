from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamics.metrics import cka, cka_gram, gram


def plain(X, Y):
    """Debiased linear CKA as the formula of Song et al. reads."""

    def hsic(K, L):
        n, one = len(K), np.ones(len(K))
        K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
        value = np.trace(K @ L) + one @ K @ one * (one @ L @ one) / ((n - 1) * (n - 2))
        return (value - 2 / (n - 2) * one @ K @ L @ one) / (n * (n - 3))

    X, Y = X - X.mean(0), Y - Y.mean(0)
    K, L = X @ X.T, Y @ Y.T
    return hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L))


@pytest.mark.parametrize("p", [3, 40, 200])
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_debiased_form_agrees_with_the_formula(p, scale, dtype):
    rng = np.random.default_rng(p)
    X = rng.normal(size=(40, p)).astype(dtype)
    Y = (X[:, :2] + rng.normal(size=(40, 2))).astype(dtype)
    X[5], X[:, 1] = X[6], 4
    expected = plain(X.astype(float), Y.astype(float))
    assert cka(X * dtype(scale), Y) == pytest.approx(
        expected, abs=1e-6 if dtype == np.float32 else 1e-9
    )


def test_biased_form_agrees_with_the_formula():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(30, 50)), rng.normal(size=(30, 4))
    K, L = gram(X), gram(Y)
    expected = np.sum(K * L) / np.sqrt(np.sum(K * K) * np.sum(L * L))
    assert cka(X, Y, debiased=False) == pytest.approx(expected, abs=1e-12)


def test_independent_data_average_zero_only_when_debiased():
    rng = np.random.default_rng(0)
    for v, draws, known in ((6, 40, 0.17), (1000, 4, 0.84)):
        debiased, biased = [], []
        for _ in range(draws):
            X, Y = rng.normal(size=(165, 768)), rng.normal(size=(165, v))
            debiased.append(cka(X, Y))
            biased.append(cka(X, Y, debiased=False))
        # Single draws deviate by .01 or less; the known numbers have two decimals.
        assert abs(np.mean(debiased)) < 0.005
        assert np.mean(biased) == pytest.approx(known, abs=0.01)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3), debiased=st.booleans())
def test_rotation_scale_and_offset_change_nothing(seed, scale, debiased):
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(12, 8)), rng.normal(size=(12, 5))
    Q, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    a, b = cka(X, Y, debiased=debiased), cka(scale * X @ Q + 3, Y, debiased=debiased)
    assert a == pytest.approx(b, abs=1e-8)
    assert cka(X, X, debiased=debiased) == pytest.approx(1)


def test_stacks_give_a_table_of_steps():
    rng = np.random.default_rng(0)
    Xs = [rng.normal(size=(20, 30)) for _ in range(3)]
    K = np.stack([gram(X) for X in Xs])
    table = cka_gram(K)
    assert table.shape == (3, 3)
    assert table[0, 2] == pytest.approx(cka(Xs[0], Xs[2]), abs=1e-12)
    assert isinstance(cka_gram(torch.as_tensor(K), K[:2]), torch.Tensor)


def test_constant_representation_has_none():
    assert np.isnan(cka(np.full((10, 3), 0.1), np.random.default_rng(0).normal(size=(10, 2))))


@pytest.mark.parametrize(
    ("X", "Y", "message"),
    [
        (np.ones((5, 2)), np.ones((4, 2)), "X has 5 stimuli and Y has 4"),
        (np.ones((3, 2)), np.ones((3, 2)), "at least 4"),
        (np.full((5, 2), np.nan), np.ones((5, 2)), "not finite"),
    ],
)
def test_bad_input_is_one_sentence(X, Y, message):
    with pytest.raises(ValueError, match=message):
        cka(X, Y)
