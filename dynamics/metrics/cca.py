"""Canonical correlations of whole representations: SVCCA and PWCCA.

With as many stimuli as both representations have dimensions together, canonical correlations of 1
exist for any data. Both measures therefore refuse such input unless they are cross-validated.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from dynamics.metrics.folds import check_folds
from dynamics.metrics.kernels import Array, activations, same_rows
from dynamics.metrics.validation import takes


@takes(X="activations", Y="activations")
def svcca(
    X: Array,
    Y: Array,
    *,
    variance: float = 0.99,
    rank: int | None = None,
    folds: Array | None = None,
) -> float:
    """Mean canonical correlation of the leading principal components.

    Raghu et al. 2017 (arXiv:1706.05806).

    Parameters
    ----------
    X, Y : arrays of shape (n, p) and (n, v)
        Finite floats, rows in the same order.
    variance : float
        Fraction of variance that the kept components explain.
    rank : int, optional
        Largest number of components kept of each.
    folds : array of shape (n,), optional
        If given, components and canonical directions come from the training folds and the
        correlations from the test folds, averaged over folds.

    Returns
    -------
    float
        At most 1. A single constant feature or neuroid adds nothing.

    Raises
    ------
    TypeError
        If an array holds integers or booleans.
    ValueError
        If rows do not match, a value is not finite, a representation is constant, the variance or
        rank is none, the kept components of both together outnumber n - 1 and no folds are given,
        or a fold has fewer than 3 stimuli.
    """
    return _canonical(X, Y, variance, rank, folds, weighted=False)


@takes(X="activations", Y="activations")
def pwcca(
    X: Array,
    Y: Array,
    *,
    variance: float = 0.99,
    rank: int | None = None,
    folds: Array | None = None,
) -> float:
    """Projection-weighted mean canonical correlation, weights from X; not symmetric.

    Morcos et al. 2018 (arXiv:1806.05759): the weight of canonical variate h_i is
    sum_j |<h_i, x_j>| over the features x_j of X.

    Parameters
    ----------
    X, Y : arrays of shape (n, p) and (n, v)
        Finite floats, rows in the same order.
    variance : float
        Fraction of variance that the kept components explain.
    rank : int, optional
        Largest number of components kept of each.
    folds : array of shape (n,), optional
        Cross-validate, as in `svcca`; weights come from the training folds.

    Returns
    -------
    float
        At most 1. A single constant feature or neuroid adds nothing.

    Raises
    ------
    TypeError, ValueError
        As for `svcca`.
    """
    return _canonical(X, Y, variance, rank, folds, weighted=True)


class Side(NamedTuple):
    """One representation in one training split: its components there and on the test rows.

    Attributes
    ----------
    train, test : tensors of shape (n_train, k), (n_test, k)
        Orthonormal leading components of the training rows, and the same projection of the others.
    loadings : tensor of shape (k, p)
        The products of the components with the centred training rows.
    """

    train: torch.Tensor
    test: torch.Tensor
    loadings: torch.Tensor


def components_by_fold(
    X: Array, folds: Array, *, variance: float = 0.99, rank: int | None = None
) -> list[Side]:
    """Find the components of one representation in every training split, to compare with many.

    Parameters
    ----------
    X : array of shape (n, p)
        Finite floats.
    folds : array of shape (n,)
        Fold of each stimulus.
    variance, rank
        As for `svcca`.

    Returns
    -------
    list of Side
        One a fold.

    Raises
    ------
    ValueError
        If a value is not finite, the representation is constant, the variance or rank is none, or
        a fold has fewer than 3 stimuli.
    """
    x = activations(X)
    _check_kept(variance, rank)
    numbers = torch.as_tensor(check_folds(folds, len(x)), device=x.device)
    if (few := int(numbers.bincount().min())) < 3:
        raise ValueError(
            f"a fold has {few} stimuli, which correlate perfectly whatever the data: use fewer "
            "folds, of at least 3 stimuli"
        )
    return [
        _components(x, (numbers != f).nonzero().ravel(), (numbers == f).nonzero().ravel(),
                    variance, rank, "X")
        for f in range(int(numbers.max()) + 1)
    ]  # fmt: skip


def compare_components(first: list[Side], second: list[Side], *, weighted: bool) -> float:
    """Compare two representations by their components: `pwcca` if weighted, else `svcca`."""
    scores = []
    for a, b in zip(first, second, strict=True):
        weights, correlations = _correlate(a, b, weighted)
        scores.append((weights * correlations).sum() / weights.sum())
    return float(torch.stack(scores).mean())


def _canonical(X, Y, variance, rank, folds, weighted: bool) -> float:
    same_rows(X, Y)
    x, y = activations(X), activations(Y, name="Y")
    n = len(x)
    _check_kept(variance, rank)
    if folds is not None:
        sides = [components_by_fold(z, folds, variance=variance, rank=rank) for z in (x, y)]
        return compare_components(*sides, weighted=weighted)
    everyone = torch.arange(n, device=x.device)
    a, b = (_components(z, everyone, everyone, variance, rank, m) for z, m in ((x, "X"), (y, "Y")))
    dimensions = (a.train.shape[1], b.train.shape[1])
    if sum(dimensions) > n - 1:
        raise ValueError(
            f"{dimensions[0]} and {dimensions[1]} components for {n} stimuli make canonical "
            "correlations of 1 whatever the data: give folds to cross-validate, or a rank"
        )
    weights, correlations = _correlate(a, b, weighted)
    return float((weights * correlations).sum() / weights.sum())


def _check_kept(variance: float, rank: int | None) -> None:
    if not 0 < variance <= 1:
        raise ValueError(f"variance is {variance}: give a fraction between 0 and 1")
    if rank is not None and rank < 1:
        raise ValueError(f"rank is {rank}: give at least 1 component")


def _correlate(first: Side, second: Side, weighted: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights, and correlations on test rows of directions fitted on training rows."""
    left, _, right = torch.linalg.svd(first.train.T @ second.train, full_matrices=False)
    weights = (left.T @ first.loadings).abs().sum(1) if weighted else left.new_ones(left.shape[1])
    a, b = first.test @ left, second.test @ right.T
    a, b = a - a.mean(0), b - b.mean(0)
    lengths = torch.linalg.vector_norm(a, dim=0) * torch.linalg.vector_norm(b, dim=0)
    return weights, (a * b).sum(0) / lengths.clamp(min=1e-300)


def _components(z, train, test, variance, rank, name) -> Side:
    """Leading components of the training rows, those of the test rows, and the loadings."""
    mean = z[train].mean(0)
    U, s, Vt = torch.linalg.svd(z[train] - mean, full_matrices=False)
    power = s.square()
    if not power.sum() > 0:
        raise ValueError(f"{name} does not vary over stimuli: it has no canonical correlations")
    share = power.cumsum(0) / power.sum()
    kept = min(int((share < variance - 1e-12).sum()) + 1, int((s > s[0] * 1e-12).sum()))
    kept = kept if rank is None else min(kept, rank)
    loadings = s[:kept, None] * Vt[:kept]
    return Side(U[:, :kept], (z[test] - mean) @ Vt[:kept].T / s[:kept], loadings)
