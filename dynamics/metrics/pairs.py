"""Stimuli of which some responses are missing: each pair over the features that both have.

The mean product of two patterns, G_ij, is over the features that stimuli i and j both have, and
d_ij = G_ii + G_jj - 2 G_ij, as `rsatoolbox.rdm.calc_rdm_unbalanced` (0.3.2) has it; of whole
patterns that is the mean squared difference. Correlation and cosine are those of the two patterns
cut to the features that both have. (The correlation of that function divides sums over those
features by the number of all, by which equal patterns may be at a distance, even one below 0.)

A pair without such features has no distance: NaN, and RDMs are compared on the pairs that both
have.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import torch

from dynamics.metrics.correlation import CANCELLED
from dynamics.metrics.missing import mean_there

FEWEST_PAIRS = 3
"""Pairs below which two RDMs are not compared; three stimuli have so many."""

Comparison = Callable[..., torch.Tensor]


def sqeuclidean(X: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of patterns (n, p) with gaps, from mean products; see above."""
    Z, M = _filled(X)
    return _from_products(Z @ Z.T, M @ M.T)


def euclidean(X: torch.Tensor) -> torch.Tensor:
    """Root of the sum over all p features that `sqeuclidean` stands for; 0 where that is below."""
    return (sqeuclidean(X).clamp(min=0) * X.shape[1]).sqrt()


def crossnobis(X: torch.Tensor) -> torch.Tensor:
    """Like `sqeuclidean` for (n, p, R), from products of different repetitions that are there.

    All products count alike, so a repetition counts by the features that it has.
    """
    Z, M = _filled(X)
    P, N = (T.sum(2) @ T.sum(2).T - torch.einsum("ipr,jpr->ij", T, T) for T in (Z, M))
    return _from_products(P, N)


def correlation(X: torch.Tensor) -> torch.Tensor:
    """1 - Pearson r over the features that both have, at least 2, over which both vary."""
    return 1 - _pearson(*_filled(X - mean_there(X, 1)[:, None]))


def cosine(X: torch.Tensor) -> torch.Tensor:
    """1 - cosine over the features that both have."""
    Z, M = _filled(X)
    own = Z.square() @ M.T  # of i over the features that j has as well
    lengths = (own * own.T).sqrt()
    return 1 - torch.where(lengths > 0, Z @ Z.T / lengths, torch.nan).clamp(-1, 1)


def on_shared(function: Comparison) -> Comparison:
    """Let a comparison of entries of RDMs take those that are missing (NaN).

    Parameters
    ----------
    function : callable
        From entries (d, m) and (e, m), all there, and `there`, a mask of those among all pairs or
        None where that is all, to a table (d, e).

    Returns
    -------
    callable
        From entries (d, pairs) and (e, pairs) to a table: every RDM with every other on the pairs
        that both have; NaN with fewer than 3 of them. Without gaps the function itself.
    """

    @wraps(function)
    def compare(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if not (x.isnan().any() or y.isnan().any()):
            return function(x, y, there=None)
        table = x.new_full((len(x), len(y)), torch.nan)
        for rows, columns, both in shared_patterns(x, y):
            if int(both.sum()) >= FEWEST_PAIRS:
                found = function(x[rows][:, both], y[columns][:, both], there=both)
                table[rows[:, None], columns] = found
        return table

    return compare


def shared_patterns(
    x: torch.Tensor, y: torch.Tensor
) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Rows of two stacks of entries that lack the same pairs, and the mask of what both have."""
    return [
        (rows, columns, own & other)
        for own, rows in _patterns(x)
        for other, columns in _patterns(y)
    ]


def rows_there(function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Apply a function of rows (m,) to what is there of each of the rows (..., pairs)."""
    if not x.isnan().any():
        return function(x)
    flat = x.reshape(-1, x.shape[-1]).clone()
    for row in flat:
        there = ~row.isnan()
        if there.any():
            row[there] = function(row[there])
    return flat.reshape(x.shape)


def _filled(X: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    there = X.isfinite()
    return torch.where(there, X, 0.0), there.to(X.dtype)


def _from_products(P: torch.Tensor, N: torch.Tensor) -> torch.Tensor:
    """Distances from sums of products and how many each is of; NaN where of none."""
    G = torch.where(N > 0, P / N.clamp(min=1), torch.nan)
    own = torch.diagonal(G)
    return own[:, None] + own - G - G.T


def _pearson(Z: torch.Tensor, M: torch.Tensor) -> torch.Tensor:
    N = M @ M.T
    count = N.clamp(min=1)
    S, Q = Z @ M.T, Z.square() @ M.T  # sums of i over the features that j has as well
    spread = Q - S.square() / count
    varies = (N >= 2) & (spread > CANCELLED * Q)
    covariance = Z @ Z.T - S * S.T / count
    r = covariance / (spread * spread.T).clamp(min=0).sqrt()
    return torch.where(varies & varies.T, r, torch.nan).clamp(-1, 1)


def _patterns(x: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    kinds, which = (~x.isnan()).unique(dim=0, return_inverse=True)
    return [(kind, (which == number).nonzero().ravel()) for number, kind in enumerate(kinds)]
