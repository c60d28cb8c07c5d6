"""Nested cross-validated ridge regression, all neuroids and alphas at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from dynamics.metrics.factorisation import MANY, Factor
from dynamics.metrics.folds import check_folds
from dynamics.metrics.held import Later, Source, sources_of
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
from dynamics.metrics.nested import BLOCK, nested_layers
from dynamics.metrics.validation import takes

RELATIVE_ALPHAS = np.logspace(-5, 4.5, 20)

# Responses of thousands of stimuli that are worked on at a time; some eight copies are held.
_RESPONSES = 2**25


@takes(K="matrices", Y="responses", features="several")
def nested_ridge(
    K: Array,
    Y: Array,
    folds: Array,
    alphas: Array | None = None,
    *,
    search_dtype: torch.dtype | None = None,
    block: int = BLOCK,
    features: Sequence[Array] | None = None,
) -> dict[str, Array]:
    """Encode Y from every layer, alpha (and layer) chosen inside the training folds.

    For each outer fold, layer and neuroid, alpha is chosen by leave-one-fold-out over the other
    folds: the largest Pearson correlation of pooled out-of-fold predictions with y; of equal
    ones the largest alpha. A search in single precision repeats in double precision what it
    cannot tell apart (correlations within 2e-6), and what is reported is predicted in double
    precision, so the result is that of double precision. Layers are worked on side by side, on as
    many threads as torch has, with the same result whatever their number.

    Parameters
    ----------
    K : array of shape (layers, n, n) or (n, n)
        Linear Gram matrices; centred for each training split inside, so they need not be.
    Y : array of shape (n, v)
        Responses of v neuroids, finite.
    folds : array of shape (n,)
        Outer fold of each stimulus, at least 3 different ones. To use a subset of stimuli index
        all of K (rows and columns), Y and folds.
    alphas : array of shape (a,) or (layers, a), optional
        Penalties in the units of K; by default `default_alphas`, which go on below in the same
        steps where the choice is at their lower edge, see `dynamics.metrics.nested`. Below 1e-9 of
        the largest eigenvalue K holds fewer than 6 digits of what is small beside it; then give
        `features` too.
    search_dtype : torch.dtype, optional
        Precision of the search over alphas; by default single where there are more neuroids than
        stimuli, and double where the decompositions are what takes the time.
    block : int
        Neuroids predicted at a time, which bounds memory.
    features : sequence of arrays of shape (n, p), optional
        The activations that K was made of, one a layer; see `nested_ridge_features`.

    Returns
    -------
    dict of arrays
        ``layer_r``, ``layer_r2`` (layers, v): Pearson r of pooled out-of-fold predictions with y,
        and its square, 0 where r is negative. ``fold_r`` (layers, folds, v): r inside each test
        fold. ``layer_alpha`` (layers, folds, v). With the layer chosen in the training folds
        too: ``r``, ``r2`` (v,), ``layer``, ``alpha`` (folds, v) and ``prediction`` (n, v).
        ``alpha_edge``: fraction of choices in ``layer_alpha`` at the edge of the grid where
        the score was still rising, by more than 1e-4 from the neighbouring alpha.
        A constant neuroid has NaN scores, a constant prediction r = 0. Pooled predictions carry
        the training means, which are low where the left-out fold is high: data without a
        relation score a little below 0, not 0, in ``r``; ``fold_r`` averages 0.

    Raises
    ------
    ValueError
        If shapes do not fit, a value is not finite, an alpha is not positive, there are fewer than
        3 folds, or every stimulus is a fold of its own.
    """
    matrices = _check_gram(K)
    same_rows(matrices[0], Y, names=("K", "Y"))
    penalties = check_alphas(alphas, matrices)
    sources = sources_of(matrices, features)
    result = nested_layers(
        sources, Y, folds, penalties, search_dtype, block, open_below=alphas is None
    )
    return {name: like(value, K, Y) for name, value in result.items()}


@takes(layers="several", Y="responses")
def nested_ridge_features(
    layers: Mapping[str, Array] | Sequence[Array],
    Y: Array,
    folds: Array,
    alphas: Array | None = None,
    *,
    search_dtype: torch.dtype | None = None,
    block: int = BLOCK,
) -> dict[str, Array]:
    """`nested_ridge` from activations, each layer in its cheaper form.

    A layer with fewer features than there are stimuli in an inner training split is decomposed as
    a p x p matrix, one with more as an n x n Gram matrix; the result is the same. Penalties below
    what such a matrix holds (1e-9 of its largest eigenvalue, where there are smaller ones) go by
    singular values of the activations, so that features which are small beside others keep their
    digits; and the default penalties go down as far beside the smallest features as beside all.

    Parameters
    ----------
    layers : mapping or sequence of arrays of shape (n, p)
        Activations; p may differ.
    Y, folds, alphas, search_dtype, block
        As for `nested_ridge`.

    Returns
    -------
    dict of arrays
        As for `nested_ridge`.

    Raises
    ------
    TypeError, ValueError
        As for `gram` and `nested_ridge`.
    """
    given = list(layers.values()) if isinstance(layers, Mapping) else list(layers)
    for X in given:
        same_rows(X, Y)
    folds = check_folds(folds, len(Y))
    width = _width(len(Y))
    if len(Y) > MANY and np.ndim(Y) == 2 and Y.shape[1] > width:
        return _in_parts(given, Y, folds, width, alphas=alphas, search_dtype=search_dtype)
    sources, variances = [], []
    for X in given:
        tensor = activations(X)
        variances.append((tensor - tensor.mean(0)).square().sum() / len(tensor))
        # Most decompositions are of inner splits, without two folds.
        primal = tensor.shape[1] < len(tensor) * (1 - 2 / (folds.max() + 1))
        entries = len(tensor) * (tensor.shape[1] if primal else len(tensor))
        make = partial(_source, X, primal=primal)
        sources.append(Later(make, entries, tensor.device))
    # The penalties are relative to the summed variance of the features, the mean of diag(K).
    diagonals = torch.stack(variances)[:, None, None]
    penalties = (
        check_alphas(alphas, diagonals) if alphas is not None else alphas_of(diagonals[:, 0])
    )
    result = nested_layers(
        sources, Y, folds, penalties, search_dtype, block, open_below=alphas is None
    )
    return {name: like(value, *given, Y) for name, value in result.items()}


def _source(X: Array, *, primal: bool) -> Source:
    if not primal:
        return Source(as_tensor(gram(X)), Factor.of, X)
    tensor = activations(X)
    return Source(tensor - tensor.mean(0), Factor.of_features, X)


def _width(n: int) -> int:
    """How many neuroids of so many stimuli are worked on at a time."""
    return max(1, _RESPONSES // n)


def _in_parts(
    given: Sequence[Array], Y: Array, folds: Array, width: int, **options: Any
) -> dict[str, Array]:
    """Fit some neuroids after others, which needs the decompositions again for each part."""
    out: dict[str, Any] = {}
    v = Y.shape[1]
    for start in range(0, v, width):
        part = slice(start, min(start + width, v))
        found = nested_ridge_features(given, Y[:, part], folds, **options)
        for name, value in found.items():
            share = (part.stop - start) / v
            if value.ndim == 0:
                out[name] = out.get(name, 0.0) + share * value
                continue
            if name not in out:
                whole = as_tensor(value).new_empty((*value.shape[:-1], v))
                out[name] = like(whole.to(torch.as_tensor(value).dtype), value)
            out[name][..., part] = value
    return out


@takes(K="complete matrices")
def default_alphas(K: Array) -> Array:
    """Twenty penalties a layer, half a decade apart, relative to the layer's total variance.

    alpha = 10^-5 ... 10^4.5 times tr(HKH) / n, the summed variance of the features. The centred
    Gram matrix' largest eigenvalue is at most n times that, so the grid reaches from nearly no
    shrinkage to nothing but shrinkage, and scores do not depend on the units of the activations.

    Parameters
    ----------
    K : array of shape (layers, n, n)
        Gram matrices.

    Returns
    -------
    array of shape (layers, 20)
        Penalties in the units of K, ascending.
    """
    variance = torch.diagonal(as_tensor(centre(K)), dim1=-2, dim2=-1).mean(-1)
    return like(alphas_of(variance[:, None]), K)


def alphas_of(variance: torch.Tensor) -> torch.Tensor:
    """Penalties of `default_alphas` for layers of such summed variance, (..., 1) to (..., 20)."""
    variance = torch.where(variance > 0, variance, torch.ones_like(variance))
    return variance * torch.as_tensor(RELATIVE_ALPHAS, device=variance.device)


def check_alphas(alphas: Array | None, K: torch.Tensor) -> torch.Tensor:
    """Ascending penalties (layers, a), the defaults where none are given."""
    if alphas is None:
        return as_tensor(default_alphas(K))
    grid = as_tensor(alphas).to(K.device)
    if grid.ndim == 1:
        grid = grid.expand(len(K), -1)
    if grid.ndim != 2 or len(grid) != len(K) or grid.shape[1] == 0:
        raise ValueError(
            f"alphas has shape {tuple(grid.shape)} for {len(K)} layers: give one list of "
            "penalties, or one list a layer"
        )
    bad = ~(torch.isfinite(grid) & (grid > 0))
    if bad.any():
        raise ValueError(
            f"alphas holds {float(grid[bad][0]):g}: give penalties that are positive and finite"
        )
    return grid.sort(1).values


def _check_gram(K: Array) -> torch.Tensor:
    matrices = gram_matrices(K)
    if matrices.ndim > 3:
        raise ValueError(f"K has shape {tuple(matrices.shape)}: give (layers, stimuli, stimuli)")
    return matrices[None] if matrices.ndim == 2 else matrices
