"""Geometry of representations: neighbourhoods and dimensionality."""

from __future__ import annotations

import numpy as np
import torch

from dynamics.metrics.door import takes
from dynamics.metrics.gram import (
    Array,
    activations,
    as_tensor,
    centre,
    gram,
    gram_matrices,
    like,
    same_rows,
)
from dynamics.metrics.rdm import settled


@takes(X="activations", Y="activations")
def mutual_knn(X: Array, Y: Array, *, k: int = 10) -> float:
    """Fraction of k nearest neighbours that two representations share.

    Huh et al. 2024, The Platonic Representation Hypothesis (arXiv:2405.07987): neighbours by
    cosine of the rows as they are, not centred. Independent data share k / (n - 1) on average.

    Parameters
    ----------
    X, Y : arrays of shape (n, p) and (n, v)
        Finite floats, rows in the same order.
    k : int
        Number of neighbours, 1 to n - 1.

    Returns
    -------
    float
        0 to 1; NaN if all stimuli are alike in one of the two, so that none is nearer. A constant
        neuroid counts in the cosine like any other.

    Raises
    ------
    TypeError
        If an array holds integers or booleans.
    ValueError
        If rows do not match, a value is not finite, or k does not fit the number of stimuli.
    """
    same_rows(X, Y)
    x, y = activations(X), activations(Y, name="Y")
    return float(mutual_knn_gram(x @ x.T, y @ y.T, k=k))


@takes(K="matrices", L="matrices")
def mutual_knn_gram(K: Array, L: Array | None = None, *, k: int = 10) -> float | Array:
    """Mutual k nearest neighbours from Gram matrices: a number for two, a table for stacks.

    Parameters
    ----------
    K : array of shape (n, n) or (a, n, n)
        Gram matrices X X'. Those of `gram` are centred, so that neighbours are then by cosine
        around the mean stimulus.
    L : array of shape (n, n) or (b, n, n), optional
        What to compare with; by default K, every matrix with every other.
    k : int
        Number of neighbours.

    Returns
    -------
    float, or array of shape (a, b)
        Shared fraction of neighbours.

    Raises
    ------
    ValueError
        If the matrices differ in size, a value is not finite, or k does not fit.
    """
    other = K if L is None else L
    if K.shape[-1] != other.shape[-1]:
        raise ValueError(
            f"K has {K.shape[-1]} stimuli and L has {other.shape[-1]}: give both the same stimuli"
        )
    x, y = neighbours(K, k), neighbours(other, k)
    shared = x @ y.T / (K.shape[-1] * k)
    return float(shared) if K.ndim == other.ndim == 2 else like(shared, K, other)


@takes(X="activations")
def effective_dimensionality(X: Array) -> float:
    """Participation ratio of the covariance spectrum, (sum lambda)^2 / sum lambda^2.

    Gao et al. 2017 (bioRxiv, 10.1101/214262).

    Parameters
    ----------
    X : array of shape (n, p)
        Activations, finite floats.

    Returns
    -------
    float
        Between 1 and min(n - 1, p); NaN if X does not vary over stimuli, or there is one only. A
        constant feature adds nothing.

    Raises
    ------
    TypeError
        If X holds integers or booleans.
    ValueError
        If a value is not finite.
    """
    return float(as_tensor(effective_dimensionality_gram(gram(X))))


@takes(K="matrices")
def effective_dimensionality_gram(K: Array) -> Array:
    """Participation ratio from Gram matrices (..., n, n) to (...)."""
    centred = as_tensor(centre(gram_matrices(K)))
    total = torch.diagonal(centred, dim1=-2, dim2=-1).sum(-1)
    squares = centred.square().sum((-2, -1))
    return like(torch.where(total > 0, total.square() / squares, torch.nan), K)


def neighbours(K: Array, k: int) -> torch.Tensor:
    """Mark the k nearest neighbours by cosine with 1, as (matrices, n * n).

    Of stimuli equally near but for rounding (see `settled`) those that come first are taken.
    All NaN where all stimuli are alike (to rounding), so that none is nearer than another.
    """
    matrix = gram_matrices(K)
    n = matrix.shape[-1]
    if not isinstance(k, (int, np.integer)) or not 1 <= k < n:
        raise ValueError(f"{k} neighbours among {n} stimuli: use k between 1 and {n - 1}")
    matrix = matrix.reshape(-1, n, n)
    length = torch.diagonal(matrix, dim1=-2, dim2=-1).clamp(min=1e-300).sqrt()
    cosine = matrix / (length[:, :, None] * length[:, None, :])
    cosine = cosine - 4 * torch.eye(n, dtype=cosine.dtype, device=cosine.device)
    nearest = settled(cosine).sort(dim=-1, descending=True, stable=True).indices[..., :k]
    marks = torch.zeros_like(cosine).scatter_(-1, nearest, 1.0).flatten(1)
    low, high = matrix.flatten(1).aminmax(dim=1)
    alike = high - low <= 1e-13 * torch.maximum(low.abs(), high.abs())
    return torch.where(alike[:, None], torch.nan, marks)
