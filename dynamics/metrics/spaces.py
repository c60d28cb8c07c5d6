"""Whole representations compared: kernel alignment, Procrustes, neighbours; dimensionality.

Procrustes distance as in Williams et al. 2021, arXiv:2110.14739.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from dynamics.metrics.dissimilarity import settled
from dynamics.metrics.kernels import (
    Array,
    activations,
    as_tensor,
    centre,
    gram,
    gram_matrices,
    like,
    same_rows,
)
from dynamics.metrics.reuse import once
from dynamics.metrics.validation import takes


@takes(X="activations", Y="activations")
def cka(X: Array, Y: Array, *, debiased: bool = True) -> float:
    """Linear CKA of two representations of the same stimuli.

    Parameters
    ----------
    X, Y : arrays of shape (n, p) and (n, v)
        Finite floats, rows in the same order.
    debiased : bool
        With the unbiased estimator of HSIC (Song et al. 2012, JMLR 13:1393): 0 on average for
        independent data, may be negative, never clipped. The biased form (Kornblith et al. 2019,
        arXiv:1905.00414) is far above 0 for independent data once features outnumber stimuli:
        .17 for 768 against 6 of them and 165 stimuli, .84 against 1,000.

    Returns
    -------
    float
        At most 1; NaN if one of the two does not vary over stimuli. A single constant feature or
        neuroid adds nothing.

    Raises
    ------
    TypeError
        If an array holds integers or booleans.
    ValueError
        If rows do not match, a value is not finite, or there are fewer than 4 stimuli.
    """
    same_rows(X, Y)
    return float(cka_gram(gram(X), gram(Y, name="Y"), debiased=debiased))


@takes(K="matrices", L="matrices")
def cka_gram(K: Array, L: Array | None = None, *, debiased: bool = True) -> float | Array:
    """CKA from Gram matrices: a number for two matrices, a table for stacks.

    Parameters
    ----------
    K : array of shape (n, n) or (k, n, n)
        Gram matrices, centred or not, of layers or steps or runs.
    L : array of shape (n, n) or (l, n, n), optional
        Gram matrices to compare with; by default K, every matrix with every other.
    debiased : bool
        See `cka`.

    Returns
    -------
    float, or array of shape (k, l)
        CKA of every K with every L.

    Raises
    ------
    ValueError
        If the matrices differ in size, have fewer than 4 stimuli or a value that is not finite.
    """
    second = K if L is None else L
    x, y = (cka_features(matrix, debiased=debiased) for matrix in (K, second))
    if x.shape[-1] != y.shape[-1]:
        raise ValueError(
            f"K has {K.shape[-1]} stimuli and L has {second.shape[-1]}: give both the same stimuli"
        )
    if x.ndim == y.ndim == 1:
        return float(as_tensor(x) @ as_tensor(y))
    return like(torch.atleast_2d(as_tensor(x)) @ torch.atleast_2d(as_tensor(y)).T, K, second)


def cka_features(K: Array, *, debiased: bool = True) -> Array:
    """Vectors whose dot products are the CKA of the Gram matrices they were made from.

    Parameters
    ----------
    K : array of shape (..., n, n)
        Gram matrices.
    debiased : bool
        Centre so that the dot product is the unbiased HSIC (U-centring: zero diagonal, rows that
        sum to zero off the diagonal), else doubly centre.

    Returns
    -------
    array of shape (..., n * n)
        Unit vectors; NaN for a matrix of a constant representation.
    """
    centred = as_tensor(centre(gram_matrices(K)))
    n = centred.shape[-1]
    if n < 4:
        raise ValueError(f"CKA of {n} stimuli is not defined: give at least 4")
    scale = torch.diagonal(centred, dim1=-2, dim2=-1).sum(-1)[..., None, None]
    if debiased:
        centred = _u_centred(centred)
    length = torch.linalg.matrix_norm(centred, keepdim=True)
    varies = (scale > 0) & (length > 1e-13 * scale)
    return like(torch.where(varies, centred / length, torch.nan).flatten(-2), K)


def _u_centred(K: torch.Tensor) -> torch.Tensor:
    n = K.shape[-1]
    off = K - torch.diag_embed(torch.diagonal(K, dim1=-2, dim2=-1))
    rows = off.sum(-1, keepdim=True) / (n - 2)
    off = off - rows - rows.mT + off.sum((-2, -1), keepdim=True) / ((n - 1) * (n - 2))
    return off - torch.diag_embed(torch.diagonal(off, dim1=-2, dim2=-1))


PROCRUSTES = ("angular", "euclidean")


@takes(X="activations", Y="activations")
def procrustes(X: Array, Y: Array, *, kind: str = "angular") -> float:
    """Distance of two representations after the best rotation, scaled to unit Frobenius norm.

    With s = ||X'Y||_* of the centred and scaled matrices: arccos(s) in radians for ``"angular"``,
    sqrt(2 - 2 s) for ``"euclidean"``. Both are metrics: 0 for the same shape, and triangles hold.

    Parameters
    ----------
    X, Y : arrays of shape (n, p) and (n, v)
        Finite floats, rows in the same order; p and v may differ.
    kind : str
        ``"angular"`` or ``"euclidean"``.

    Returns
    -------
    float
        0 to pi / 2, or 0 to sqrt(2); NaN if one of the two does not vary over stimuli. A single
        constant feature or neuroid adds nothing.

    Raises
    ------
    TypeError
        If an array holds integers or booleans.
    ValueError
        If the kind is unknown, rows do not match, a value is not finite, or there are fewer than 3
        stimuli, of which any two shapes are the same.
    """
    same_rows(X, Y)
    return float(procrustes_gram(gram(X), gram(Y, name="Y"), kind=kind))


@takes(K="matrices", L="matrices")
def procrustes_gram(K: Array, L: Array | None = None, *, kind: str = "angular") -> float | Array:
    """Procrustes distance from Gram matrices: a number for two, a table for stacks.

    Parameters
    ----------
    K : array of shape (n, n) or (k, n, n)
        Gram matrices, centred or not.
    L : array of shape (n, n) or (l, n, n), optional
        What to compare with; by default K, every matrix with every other.
    kind : str
        See `procrustes`.

    Returns
    -------
    float, or array of shape (k, l)
        Distances.

    Raises
    ------
    ValueError
        As for `procrustes`.
    """
    check_kind(kind)
    other = K if L is None else L
    if K.shape[-1] != other.shape[-1]:
        raise ValueError(
            f"K has {K.shape[-1]} stimuli and L has {other.shape[-1]}: give both the same stimuli"
        )
    first = square_roots(K)
    second = first if L is None else square_roots(other)
    s = torch.empty(len(first), len(second), dtype=torch.float64, device=first[0].device)
    for i, A in enumerate(first):
        for j, B in enumerate(second):
            if L is None and j < i:
                s[i, j] = s[j, i]
            else:
                s[i, j] = (
                    torch.linalg.svdvals(A.T @ B).sum() if A.numel() and B.numel() else torch.nan
                )
    s = s.clamp(max=1)
    value = torch.arccos(s) if kind == "angular" else (2 - 2 * s).sqrt()
    return float(value) if K.ndim == other.ndim == 2 else like(value, K, other)


def check_kind(kind: str) -> None:
    """Raise a ValueError where there is no Procrustes distance of this kind."""
    if kind not in PROCRUSTES:
        kinds = ", ".join(PROCRUSTES)
        raise ValueError(f"there is no Procrustes distance {kind!r}: use one of {kinds}")


def square_roots(K: Array) -> list[torch.Tensor]:
    """Matrices A (n, rank) of unit Frobenius norm with A A' proportional to the centred K.

    Only directions with an eigenvalue above rounding are kept, so that a target with few neuroids
    stays cheap to compare with; a constant representation has rank 0.
    """
    centred = as_tensor(centre(gram_matrices(K)))
    if centred.shape[-1] < 3:
        raise ValueError(
            f"the Procrustes distance of {centred.shape[-1]} stimuli is 0 whatever the data: give "
            "at least 3"
        )
    matrices = centred.reshape(-1, *centred.shape[-2:])
    return [once("root", partial(_square_root, m), m) for m in matrices]


def _square_root(matrix: torch.Tensor) -> torch.Tensor:
    spectrum, Q = torch.linalg.eigh(matrix)
    kept = spectrum > spectrum[-1].clamp(min=0) * len(matrix) * torch.finfo(matrix.dtype).eps
    kept &= spectrum > 0
    return Q[:, kept] * (spectrum[kept] / spectrum[kept].sum()).sqrt()


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
