"""Procrustes distance between whole representations (Williams et al. 2021, arXiv:2110.14739)."""

from __future__ import annotations

from functools import partial

import torch

from dynamics.metrics.door import takes
from dynamics.metrics.gram import Array, as_tensor, centre, gram, gram_matrices, like, same_rows
from dynamics.metrics.reuse import once

KINDS = ("angular", "euclidean")


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
    if kind not in KINDS:
        raise ValueError(f"there is no Procrustes distance {kind!r}: use one of {', '.join(KINDS)}")
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
