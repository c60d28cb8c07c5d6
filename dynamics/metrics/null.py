"""Permutation nulls: what a metric gives when stimuli are shuffled.

The shuffles are made once from a seed and handed to every step, layer and run, so that whole
curves can be compared with curves of the null.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from dynamics.metrics.gram import Array, as_tensor, like, same_rows
from dynamics.metrics.ridge import nested_ridge
from dynamics.metrics.rsa import compare_rdms

COLUMNS = 4096


def permutations(
    n: int, shuffles: int, *, seed: int = 0, categories: Sequence | None = None
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
    """
    target, orders = as_tensor(Y), np.asarray(orders)
    n, v = target.shape
    many = max(1, COLUMNS // v)
    parts = []
    for start in range(0, len(orders), many):
        some = torch.as_tensor(orders[start : start + many], device=target.device)
        shuffled = target[some].transpose(0, 1).reshape(n, -1)
        result = nested_ridge(as_tensor(K), shuffled, folds, alphas)
        names = ("r", "r2", "layer_r", "layer_r2")
        parts.append(
            {name: as_tensor(result[name]).unflatten(-1, (len(some), v)) for name in names}
        )
    out = {name: torch.cat([part[name] for part in parts], -2) for name in parts[0]}
    return {name: like(value.movedim(-2, 0), K, Y) for name, value in out.items()}


def gram_null(metric: Callable, K: Array, L: Array, orders: Array) -> Array:
    """Scores of a metric on Gram matrices, rows and columns of L shuffled together.

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

    Returns
    -------
    array of shape (shuffles, k)
        Scores.
    """
    same_rows(K[0], L, names=("K", "L"))
    return like(as_tensor(metric(K, _shuffled(L, orders))).T, K, L)


def rdm_null(D: Array, E: Array, orders: Array, *, compare: str = "spearman") -> Array:
    """Comparisons of RDMs D (d, n, n) with an RDM E (n, n) of shuffled stimuli.

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
    """
    same_rows(D[0], E, names=("D", "E"))
    scores = compare_rdms(D, _shuffled(E, orders), compare=compare)
    return like(torch.as_tensor(scores).T, D, E)


def permutation_null(metric: Callable, X: Array, Y: Array, orders: Array) -> np.ndarray:
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
    return np.array([np.asarray(metric(X, Y[order])) for order in np.asarray(orders)])


def p_value(score: Array, null: Array) -> Array:
    """One-sided p: how often the null reaches the score, the score itself counted in.

    Parameters
    ----------
    score : array of shape (...)
        Scores.
    null : array of shape (shuffles, ...)
        Scores of the null.

    Returns
    -------
    array of shape (...)
        (1 + number of null scores at or above the score) / (1 + shuffles).
    """
    reached = (as_tensor(null) >= as_tensor(score)).sum(0)
    return like((1 + reached) / (1 + len(null)), null)


def _shuffled(L: Array, orders: Array) -> torch.Tensor:
    matrix = as_tensor(L)
    index = torch.as_tensor(np.asarray(orders), device=matrix.device)
    return matrix[index[:, :, None], index[:, None, :]]
