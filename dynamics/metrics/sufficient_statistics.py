"""Nested ridge regression from sums of products over each fold: many rows, few features.

With rows x of features and y of responses, all that ridge regression and the correlation of its
predictions need of a part of the rows is n, sum x, sum y, sum x x', sum x y' and sum y^2. Training
sets are sums over parts, and subsets of features are blocks, so that rows are walked through once
for all windows of delays, splits and penalties.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import combinations
from typing import NamedTuple

import torch

from dynamics.metrics.correlation import CANCELLED, FAINT, ratio
from dynamics.metrics.factorisation import HELD, LOST, decompose_covariance
from dynamics.metrics.inner_cv import RISING


class Layout(NamedTuple):
    """Which parts of the rows test and which train.

    Attributes
    ----------
    fold : tuple of int
        Fold of each part.
    near : tuple of frozenset of int
        Folds to whose test a part is too near to train for it.
    """

    fold: tuple[int, ...]
    near: tuple[frozenset[int], ...]

    @classmethod
    def plain(cls, folds: int) -> Layout:
        """Return that of a part a fold, none of them near another."""
        return cls(tuple(range(folds)), (frozenset(),) * folds)

    @property
    def folds(self) -> int:
        """How many folds there are."""
        return max(self.fold) + 1

    def train(self, *out: int) -> list[int]:
        """Return the parts that train where these folds are left out."""
        return [
            part
            for part, (fold, near) in enumerate(zip(self.fold, self.near))
            if fold not in out and near.isdisjoint(out)
        ]

    def test(self, fold: int, outer: int | None = None) -> list[int]:
        """Return the parts of a fold; as an inner test those that are not near the outer one."""
        return [
            part
            for part, (own, near) in enumerate(zip(self.fold, self.near))
            if own == fold and outer not in near
        ]


class Moments(NamedTuple):
    """Sums over the rows of each part, (parts, ...); features and responses centred over all.

    Attributes
    ----------
    n : tensor of shape (parts,)
        Rows.
    x, y, yy : tensors of shape (parts, k), (parts, v), (parts, v)
        Sums of features, responses and squared responses.
    xx, xy : tensors of shape (parts, k, k), (parts, k, v)
        Sums of products.
    """

    n: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor
    yy: torch.Tensor
    xx: torch.Tensor
    xy: torch.Tensor

    @classmethod
    def of(cls, parts: Iterable[Iterable[tuple[torch.Tensor, torch.Tensor]]]) -> Moments:
        """Sum over the rows of features (rows, k) and responses (rows, v), piece by piece."""
        found = [reduce(added, map(_sums_of, pieces)) for pieces in parts]
        return cls(*(torch.stack(each) for each in zip(*found)))

    def columns(self, index: torch.Tensor) -> Moments:
        """Return the moments of some of the features."""
        return self._replace(
            x=self.x[:, index], xx=self.xx[:, index][:, :, index], xy=self.xy[:, index]
        )

    @property
    def variance(self) -> torch.Tensor:
        """Summed variance of the features over all rows."""
        n = self.n.sum()
        return torch.diagonal(self.xx.sum(0)).sum() / n - (self.x.sum(0) / n).square().sum()

    @property
    def variances(self) -> torch.Tensor:
        """Variance of each feature (k,) over all rows; 0 where it is no more than rounding."""
        n, power = self.n.sum(), torch.diagonal(self.xx.sum(0))
        found = power / n - (self.x.sum(0) / n).square()
        return torch.where(found > FAINT * power / n, found, 0.0)


class Nested(NamedTuple):
    """Result of `nested_moments`.

    Attributes
    ----------
    inner : tensor of shape (folds, v)
        Best correlation inside the training folds.
    alpha : tensor of shape (folds, v)
        The penalty that it belongs to.
    sums : tensor of shape (3, folds, v)
        Sums of p, p^2 and p y of the predictions p of each test fold.
    weights : tensor of shape (folds, k, v)
        Weights of the features fitted without each fold.
    intercept : tensor of shape (folds, v)
        And the constant.
    at_edge : tensor of shape ()
        Part of the choices at the edge of the grid with the score still rising.
    """

    inner: torch.Tensor
    alpha: torch.Tensor
    sums: torch.Tensor
    weights: torch.Tensor
    intercept: torch.Tensor
    at_edge: torch.Tensor


def _sums_of(piece: tuple[torch.Tensor, torch.Tensor]) -> list[torch.Tensor]:
    x, y = piece
    return [y.new_tensor(len(x)), x.sum(0), y.sum(0), y.square().sum(0), x.T @ x, x.T @ y]


def added(one: list[torch.Tensor], other: list[torch.Tensor]) -> list[torch.Tensor]:
    """Add sums over the rows of two pieces."""
    return [a + b for a, b in zip(one, other)]


def nested_moments(m: Moments, grid: torch.Tensor, layout: Layout | None = None) -> Nested:
    """Fit without each fold, alpha chosen by leave-one-fold-out inside the others.

    The rule is that of `nested_ridge`: the largest correlation of pooled out-of-fold predictions,
    of equal ones the largest alpha.

    Parameters
    ----------
    m : Moments
        Of at least 3 folds.
    grid : tensor of shape (a,)
        Ascending penalties.
    layout : Layout, optional
        Which parts test and train; by default each is a fold.

    Returns
    -------
    Nested
        Choices, weights and moments of the predictions.
    """
    layout = layout or Layout.plain(len(m.n))
    everyone = range(layout.folds)
    pooled = m.y.new_zeros(len(everyone), 3, len(grid), m.y.shape[1])
    lowest = float(grid[0])
    for f, g in combinations(everyone, 2):
        fitted = _Fit.of(m, layout.train(f, g), lowest)
        for outer, test in ((f, g), (g, f)):
            pooled[outer] += fitted.sums(m, layout.test(test, outer), grid)
    inner, alpha, at_edge = [], [], []
    weights, intercept, sums = [], [], []
    for f in everyone:
        others = [part for g in everyone if g != f for part in layout.test(g, f)]
        scores = torch.nan_to_num(correlation(m, pooled[f], others))
        best, from_the_end = scores.flip(0).max(0)
        choice = len(grid) - 1 - from_the_end
        inner.append(best)
        alpha.append(grid[choice])
        if len(grid) > 1:
            low = (choice == 0) & (best > scores[1] + RISING)
            at_edge.append(low | ((choice == len(grid) - 1) & (best > scores[-2] + RISING)))
        fitted = _Fit.of(m, layout.train(f), lowest)
        w, b = fitted.weights(grid[choice])
        weights.append(w)
        intercept.append(b)
        sums.append(_prediction_sums(m, layout.test(f), w, b))
    edge = torch.stack(at_edge).double().mean() if at_edge else m.y.new_zeros(())
    return Nested(
        torch.stack(inner),
        torch.stack(alpha),
        torch.stack(sums, 1),
        torch.stack(weights),
        torch.stack(intercept),
        edge,
    )


def sums_at(m: Moments, alpha: torch.Tensor, layout: Layout, who: torch.Tensor) -> torch.Tensor:
    """Fit without each fold with penalties that are known, a Cholesky factor for each of them.

    Parameters
    ----------
    m : Moments
        Of the parts.
    alpha : tensor of shape (folds, v)
        Penalty for each fold and response.
    layout : Layout
        Which parts test and train.
    who : tensor of shape (folds, v), bool
        Which of them are wanted.

    Returns
    -------
    tensor of shape (3, folds, v)
        As `Nested.sums`, zero where not wanted.
    """
    out = m.y.new_zeros(3, *alpha.shape)
    for f in range(layout.folds):
        members = who[f].nonzero().ravel()
        if len(members):
            whole = len(members) == who.shape[1]
            part = m if whole else m._replace(y=m.y[:, members], xy=m.xy[..., members])
            w, b = _weights_at(part, layout.train(f), alpha[f][members])
            out[:, f, members] = _prediction_sums(part, layout.test(f), w, b)
    return out


def _weights_at(
    m: Moments, train: list[int], alpha: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (k, v) and constants (v,) of ridge on some parts with an alpha for each response."""
    n = m.n[train].sum()
    x, y = m.x[train].sum(0) / n, m.y[train].sum(0) / n
    C = m.xx[train].sum(0) - n * torch.outer(x, x)
    diagonal = C.diagonal().clone()
    if float(alpha.min()) <= HELD * float(diagonal.sum()):
        return _Fit.of(m, train, float(alpha.min())).weights(alpha)
    z = m.xy[train].sum(0) - n * torch.outer(x, y)
    w = torch.empty_like(z)
    for each in alpha.unique():
        C.diagonal().copy_(diagonal + each)
        same = (alpha == each).nonzero().ravel()
        w[:, same] = torch.cholesky_solve(z[:, same], torch.linalg.cholesky(C))
    return w, y - x @ w


def picked(sums: torch.Tensor, choice: torch.Tensor) -> torch.Tensor:
    """From sums (sources, 3, folds, v) those of the source chosen (folds, v)."""
    index = choice[None, None].expand(1, 3, -1, -1)
    return sums.gather(0, index)[0]


def correlation(m: Moments, sums: torch.Tensor, parts: Sequence[int]) -> torch.Tensor:
    """Pearson r of predictions with the responses of some parts.

    Parameters
    ----------
    m : Moments
        Of the responses.
    sums : tensor of shape (3, ..., v)
        Sums of p, p^2 and p y over these parts.
    parts : sequence of int
        Which they are.

    Returns
    -------
    tensor of shape (..., v)
        0 where the prediction is constant, NaN where the response is.
    """
    index = torch.as_tensor(list(parts), device=m.y.device)
    n, y, yy = m.n[index].sum(), m.y[index].sum(0), m.yy[index].sum(0)
    spread = yy - y.square() / n
    varies = spread > CANCELLED * yy
    predicted = sums[1] - sums[0].square() / n
    moves = predicted > FAINT * sums[1].clamp(min=1e-300)
    scale = (predicted.clamp(min=0) * spread.clamp(min=0)).sqrt()
    return ratio(sums[2] - sums[0] * y / n, scale, moves=moves, varies=varies)


class _Fit(NamedTuple):
    """Ridge on some parts in the eigenbasis of the features' covariance, for any alpha."""

    V: torch.Tensor
    spectrum: torch.Tensor
    z: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor

    @classmethod
    def of(cls, m: Moments, train: list[int], lowest: float) -> _Fit:
        n = m.n[train].sum()
        x, y = m.x[train].sum(0) / n, m.y[train].sum(0) / n
        covariance = m.xx[train].sum(0) - n * torch.outer(x, x)
        spectrum, V = torch.linalg.eigh(covariance)
        # Null directions have no weight, but their rounding noise over a tiny alpha would.
        rounding = spectrum[-1].clamp(min=0) * float(n) * torch.finfo(V.dtype).eps
        kept = spectrum > rounding
        if lowest < LOST * spectrum[-1] and int((spectrum > LOST * spectrum[-1]).sum()) < len(V):
            V, spectrum = decompose_covariance(covariance)
        else:
            V, spectrum = V[:, kept], spectrum[kept]
        z = V.T @ (m.xy[train].sum(0) - n * torch.outer(x, y))
        return cls(V, spectrum, z, x, y)

    def weights(self, alpha: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights (k, v) and constants (v,) with an alpha (v,) for each response."""
        w = self.V @ (self.z / (self.spectrum[:, None] + alpha))
        return w, self.y - self.x @ w

    def sums(self, m: Moments, test: list[int], grid: torch.Tensor) -> torch.Tensor:
        """Return sums (3, alphas, v) of p, p^2 and p y over a test fold for every alpha."""
        n, x, mean = m.n[test].sum(), self.V.T @ m.x[test].sum(0), self.V.T @ self.x
        G, c = self.V.T @ m.xx[test].sum(0) @ self.V, self.V.T @ m.xy[test].sum(0)
        y = m.y[test].sum(0)
        out = self.z.new_empty(3, len(grid), self.z.shape[1])
        for a, alpha in enumerate(grid):
            w = self.z / (self.spectrum[:, None] + alpha)
            b = self.y - mean @ w
            out[:, a] = _sums(n, x, G, c, y, w, b)
        return out


def _prediction_sums(m: Moments, test: list[int], w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    n, x, y, xx, xy = (each[test].sum(0) for each in (m.n, m.x, m.y, m.xx, m.xy))
    return _sums(n, x, xx, xy, y, w, b)


def _sums(n, x, xx, xy, y, w, b) -> torch.Tensor:
    """Return sums (3, v) of p, p^2 and p y with p = x w + b, from the sums of a fold."""
    linear = x @ w
    squares = (w * (xx @ w)).sum(0) + 2 * b * linear + n * b.square()
    return torch.stack([linear + n * b, squares, (w * xy).sum(0) + b * y])
