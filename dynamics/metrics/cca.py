"""Canonical correlations of whole representations: SVCCA and PWCCA.

With as many stimuli as both representations have dimensions together, canonical correlations of 1
exist for any data. Both measures therefore refuse such input unless they are cross-validated.
"""

from __future__ import annotations

import torch

from dynamics.metrics.folds import check_folds
from dynamics.metrics.gram import Array, activations, same_rows


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
        At most 1.

    Raises
    ------
    ValueError
        If rows do not match, a value is not finite, a representation is constant, or the kept
        components of both together outnumber n - 1 and no folds are given.
    """
    return _canonical(X, Y, variance, rank, folds, lambda H, X: torch.ones(H.shape[1]).to(H))


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
        At most 1.

    Raises
    ------
    ValueError
        As for `svcca`.
    """
    return _canonical(X, Y, variance, rank, folds, lambda H, X: (H.T @ X).abs().sum(1))


def _canonical(X, Y, variance, rank, folds, weigh) -> float:
    same_rows(X, Y)
    x, y = activations(X), activations(Y, name="Y")
    n = len(x)
    if not 0 < variance <= 1:
        raise ValueError(f"variance is {variance}: give a fraction between 0 and 1")
    if folds is None:
        everyone = torch.arange(n, device=x.device)
        dimensions, weights, correlations = _fit(x, y, everyone, everyone, variance, rank, weigh)
        if sum(dimensions) > n - 1:
            raise ValueError(
                f"{dimensions[0]} and {dimensions[1]} components for {n} stimuli make canonical "
                "correlations of 1 whatever the data: give folds to cross-validate, or a rank"
            )
        return float((weights * correlations).sum() / weights.sum())
    numbers = torch.as_tensor(check_folds(folds, n), device=x.device)
    scores = []
    for f in range(int(numbers.max()) + 1):
        train, test = (numbers != f).nonzero().ravel(), (numbers == f).nonzero().ravel()
        _, weights, correlations = _fit(x, y, train, test, variance, rank, weigh)
        scores.append((weights * correlations).sum() / weights.sum())
    return float(torch.stack(scores).mean())


def _fit(x, y, train, test, variance, rank, weigh):
    """Kept dimensions, weights, and correlations on test rows of directions fitted on training."""
    sides = [_components(z, train, test, variance, rank, name) for z, name in ((x, "X"), (y, "Y"))]
    (Ux, Vx), (Uy, Vy) = sides
    left, _, right = torch.linalg.svd(Ux.T @ Uy, full_matrices=False)
    centred = x[train] - x[train].mean(0)
    weights = weigh(Ux @ left, centred)
    a, b = Vx @ left, Vy @ right.T
    a, b = a - a.mean(0), b - b.mean(0)
    lengths = torch.linalg.vector_norm(a, dim=0) * torch.linalg.vector_norm(b, dim=0)
    correlations = (a * b).sum(0) / lengths.clamp(min=1e-300)
    return (Ux.shape[1], Uy.shape[1]), weights, correlations


def _components(z, train, test, variance, rank, name):
    """Orthonormal leading components on training rows, and the same projection of test rows."""
    mean = z[train].mean(0)
    U, s, Vt = torch.linalg.svd(z[train] - mean, full_matrices=False)
    power = s.square()
    if not power.sum() > 0:
        raise ValueError(f"{name} does not vary over stimuli: it has no canonical correlations")
    share = power.cumsum(0) / power.sum()
    kept = min(int((share < variance - 1e-12).sum()) + 1, int((s > s[0] * 1e-12).sum()))
    kept = min(kept, rank or kept)
    return U[:, :kept], (z[test] - mean) @ Vt[:kept].T / s[:kept]
