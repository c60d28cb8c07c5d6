"""Centred kernel alignment (CKA) of whole representations."""

from __future__ import annotations

import torch

from dynamics.metrics.door import takes
from dynamics.metrics.gram import Array, as_tensor, centre, gram, gram_matrices, like, same_rows


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
