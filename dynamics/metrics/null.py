"""Permutation nulls: what a metric gives when stimuli are shuffled.

The shuffles are made once from a seed and handed to every step, layer and run, so that whole
curves can be compared with curves of the null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from dynamics.metrics.dissimilarity import upper_entries
from dynamics.metrics.kernels import Array, as_tensor, like, same_rows
from dynamics.metrics.rdm_comparison import COMPARISONS, ranks
from dynamics.metrics.ridge import nested_ridge
from dynamics.metrics.spaces import (
    check_kind,
    cka_features,
    cka_gram,
    mutual_knn_gram,
    neighbours,
    procrustes_gram,
    square_roots,
)
from dynamics.metrics.validation import takes

COLUMNS = 4096
ENTRIES = 2**24
SCHEMES = ("overall", "category")
# Up to which part of the largest score two scores are the same. Sums in another order differ by
# 1e-15, but where a penalty is chosen on a plateau of its own score they decide how far out, and
# rounding knows an optimum to its square root only: 1e-9 was seen, 1.5e-8 is the order of it.
TIE = {torch.float64: 1e-7, torch.float32: 1e-6}


def permutations(
    n: int, shuffles: int, *, seed: int = 0, categories: Sequence | np.ndarray | None = None
) -> np.ndarray:
    """Random orders of the stimuli.

    Parameters
    ----------
    n, shuffles : int
        Stimuli, and how many orders to make.
    seed : int
        Seed of the orders.
    categories : sequence of length n, optional
        Shuffle within categories only: the null then says what a metric sees beyond them.

    Returns
    -------
    array of shape (shuffles, n), int64
        Rows are orders: stimulus i takes the response of stimulus order[i].

    Raises
    ------
    ValueError
        If there is not one category a stimulus.
    """
    rng = np.random.default_rng(seed)
    labels = np.zeros(n, int) if categories is None else np.asarray(categories)
    if len(labels) != n:
        raise ValueError(f"there are {len(labels)} categories for {n} stimuli: give one each")
    orders = np.tile(np.arange(n), (shuffles, 1))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        for order in orders:
            order[members] = rng.permutation(members)
    return orders


@takes(K="matrices", Y="responses", orders="labels")
def ridge_null(
    K: Array, Y: Array, folds: Array, orders: Array, alphas: Array | None = None
) -> dict[str, Array]:
    """Nested ridge scores of shuffled responses, every shuffle with the same decompositions.

    Parameters
    ----------
    K : array of shape (layers, n, n)
        Gram matrices.
    Y : array of shape (n, v)
        Responses.
    folds : array of shape (n,)
        Outer folds.
    orders : array of shape (shuffles, n)
        See `permutations`.
    alphas : array, optional
        As in `nested_ridge`.

    Returns
    -------
    dict of arrays
        ``r``, ``r2`` (shuffles, v) and ``layer_r``, ``layer_r2`` (shuffles, layers, v).

    Raises
    ------
    ValueError
        As for `nested_ridge`.
    """
    names = ("r", "r2", "layer_r", "layer_r2")
    found = columns_null(
        lambda shuffled: nested_ridge(as_tensor(K), shuffled, folds, alphas), Y, orders, names
    )
    return {name: like(value, K, Y) for name, value in found.items()}


@takes(Y="responses", orders="labels")
def columns_null(
    score: Callable[[torch.Tensor], Mapping[str, Array]],
    Y: Array,
    orders: Array,
    names: Sequence[str],
    *,
    axis: int = 1,
    columns: int = COLUMNS,
) -> dict[str, torch.Tensor]:
    """Scores of shuffled responses that a function computes neuroid by neuroid.

    The shuffles stand side by side like more neuroids, so that what depends on the activations
    alone (decompositions of training splits) is done once for many of them.

    Parameters
    ----------
    score : callable
        From responses like `Y` with any number of neuroids to arrays with neuroids last.
    Y : array of shape (n, v), or with other axes
        Responses.
    orders : array of shape (shuffles, n)
        See `permutations`.
    names : sequence of str
        Which of the function's arrays to keep.
    axis : int
        The axis of neuroids in `Y`.
    columns : int
        How many shuffled neuroids stand side by side at most, which bounds memory.

    Returns
    -------
    dict of tensors of shape (shuffles, ..., v)
        The arrays named, each with the shuffles first.
    """
    target, orders = as_tensor(Y), np.asarray(orders)
    v = target.shape[axis]
    many = max(1, columns // v)
    parts = []
    for start in range(0, len(orders), many):
        some = orders[start : start + many]
        shuffled = [target[torch.as_tensor(order, device=target.device)] for order in some]
        found = score(torch.cat(shuffled, axis))
        parts.append({name: as_tensor(found[name]).unflatten(-1, (len(some), v)) for name in names})
    out = {name: torch.cat([part[name] for part in parts], -2) for name in names}
    return {name: value.movedim(-2, 0) for name, value in out.items()}


@takes(K="matrices", L="matrices", orders="labels")
def gram_null(metric: Callable, K: Array, L: Array, orders: Array, **arguments: Any) -> Array:
    """Scores of a metric on Gram matrices, rows and columns of L shuffled together.

    Nothing that does not change with the order of stimuli is computed again: centring,
    neighbours and square roots are those of L itself, shuffled.

    Parameters
    ----------
    metric : callable
        A value of `GRAM_METRICS`, from two stacks to a table.
    K : array of shape (k, n, n)
        Gram matrices of layers or steps.
    L : array of shape (n, n)
        Gram matrix of the target.
    orders : array of shape (shuffles, n)
        See `permutations`.
    **arguments
        For the metric.

    Returns
    -------
    array of shape (shuffles, k)
        Scores.

    Raises
    ------
    ValueError
        If the matrices differ in size, and as for the metric.
    """
    same_rows(K[0], L, names=("K", "L"))
    if metric is procrustes_gram:
        return like(_procrustes_null(K, L, orders, **arguments), K, L)
    n = L.shape[-1]
    parts = []
    if metric in _DOT_FORMS:
        form = _DOT_FORMS[metric]
        x, y = as_tensor(form(K, **arguments)), as_tensor(form(L, **arguments)).reshape(n, n)
        parts = [_shuffled(y, some).flatten(1) @ x.T for some in _blocks(orders, n * n)]
    else:
        parts = [as_tensor(metric(K, _shuffled(L, some), **arguments)).T
                 for some in _blocks(orders, n * n)]  # fmt: skip
    return like(torch.cat(parts), K, L)


@takes(D="matrices", E="matrices", orders="labels")
def rdm_null(D: Array, E: Array, orders: Array, *, compare: str = "spearman") -> Array:
    """Comparisons of RDMs D (d, n, n) with an RDM E (n, n) of shuffled stimuli.

    Ranks are those of E itself, shuffled, so that nothing is sorted again. Where E lacks pairs
    (NaN) those that it has are compared with other entries of D in every shuffle, ranked anew.

    Parameters
    ----------
    D : array of shape (d, n, n)
        RDMs of layers or steps.
    E : array of shape (n, n)
        RDM of the target.
    orders : array of shape (shuffles, n)
        See `permutations`.
    compare : str
        A name in `COMPARISONS`.

    Returns
    -------
    array of shape (shuffles, d)
        Scores.

    Raises
    ------
    ValueError
        If the comparison is unknown, the RDMs differ in size or a distance is infinite.
    """
    same_rows(D[0], E, names=("D", "E"))
    if compare not in COMPARISONS:
        raise ValueError(f"there is no comparison {compare!r}: use one of {', '.join(COMPARISONS)}")
    first, second, target = as_tensor(upper_entries(D)), as_tensor(upper_entries(E)), as_tensor(E)
    n = len(target)
    i, j = torch.triu_indices(n, n, 1, device=target.device)
    gaps = bool(first.isnan().any() or second.isnan().any())
    if compare == "spearman" and not gaps:
        first, compare = ranks(first), "pearson"
        ranked = torch.zeros_like(target).index_put((i, j), ranks(second))
        target = ranked + ranked.T
    parts = []
    for some in _blocks(orders, len(i)):
        index = torch.as_tensor(some, device=target.device)
        parts.append(COMPARISONS[compare](first, target[index[:, i], index[:, j]]).T)
    return like(torch.cat(parts), D, E)


@takes(X="responses", Y="responses", orders="labels")
def permutation_null(metric: Callable, X: Array, Y: Array, orders: Array) -> Array:
    """Scores metric(X, Y[order]) of any metric on arrays, one shuffle after another.

    Parameters
    ----------
    metric : callable
        A value of `METRICS` that returns a number, or any function of two arrays.
    X, Y : arrays of shape (n, ...)
        Activations and responses.
    orders : array of shape (shuffles, n)
        See `permutations`.

    Returns
    -------
    array of shape (shuffles, ...)
        Scores.
    """
    same_rows(X, Y)
    return like(torch.stack([as_tensor(metric(X, Y[o])) for o in np.asarray(orders)]), X, Y)


@takes(score="numbers", null="complete")
def p_value(score: Array, null: Array) -> Array:
    """One-sided p: how often the null reaches the score, the score itself counted in.

    The same arrangement of stimuli may be scored by other sums than the score itself (alone, or
    beside thousands of shuffles), so what lies below the score by rounding only has reached it:
    by no more than 1e-7 (1e-6 where either is in single precision) of the largest absolute value
    among the score and its null.

    Parameters
    ----------
    score : array of shape (...)
        Scores.
    null : array of shape (shuffles, ...)
        Scores of the null.

    Returns
    -------
    array of shape (...)
        (1 + number of null scores at or above the score) / (1 + shuffles); NaN where the score
        is NaN. Never 0: the order at hand is one of those that could have been (Phipson & Smyth
        2010, 10.2202/1544-6115.1585).
    """
    given, shuffled = as_tensor(score), as_tensor(null)
    scale = torch.cat([given[None], shuffled]).nan_to_num(nan=0.0).abs().amax(0)
    reached = (shuffled >= given - _tie(score, null) * scale).sum(0)
    p = (1 + reached).double() / (1 + len(null))
    return like(torch.where(given.isnan(), torch.nan, p), score, null)


def _tie(*given: Array) -> float:
    single = (np.float32, np.float16, torch.float32, torch.float16, torch.bfloat16)
    rounded = any(getattr(each, "dtype", None) in single for each in given)
    return TIE[torch.float32 if rounded else torch.float64]


def _procrustes_null(K: Array, L: Array, orders: Array, *, kind: str = "angular") -> torch.Tensor:
    check_kind(kind)
    (B,), sides = square_roots(L), square_roots(K)
    parts = []
    for some in _blocks(orders, B.numel()):
        shuffled = B[torch.as_tensor(some, device=B.device)]
        nuclear = [
            torch.linalg.svdvals(A.T @ shuffled).sum(-1)
            if A.numel() and B.numel()
            else B.new_full((len(some),), torch.nan)  # one of the two does not vary
            for A in sides
        ]
        parts.append(torch.stack(nuclear, 1).clamp(max=1))
    s = torch.cat(parts)
    return torch.arccos(s) if kind == "angular" else (2 - 2 * s).sqrt()


def _blocks(orders: Array, entries: int) -> Iterator[np.ndarray]:
    """Cut shuffles into pieces so that so many entries each stay within bounds."""
    every = np.asarray(orders)
    many = max(1, ENTRIES // max(1, entries))
    for start in range(0, len(every), many):
        yield every[start : start + many]


def _shuffled(L: Array, orders: Array) -> torch.Tensor:
    matrix = as_tensor(L)
    index = torch.as_tensor(np.asarray(orders), device=matrix.device)
    return matrix[index[:, :, None], index[:, None, :]]


def _knn_form(K: Array, *, k: int = 10) -> Array:
    n = K.shape[-1]
    return neighbours(K, k) / (n * k) ** 0.5


# Functions that make of a Gram matrix a vector of n x n entries whose dot products are the scores.
_DOT_FORMS: dict[Callable, Callable] = {cka_gram: cka_features, mutual_knn_gram: _knn_form}
