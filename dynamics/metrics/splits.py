"""Training splits of a nested scheme, decomposed once for all neuroids and alphas.

For a training split S with centred Gram matrix K = Q diag(lambda) Q', the prediction for test
rows t is mean(y_S) + K_tS Q diag(1 / (lambda + alpha)) Q' y_S. In a nested scheme the split
without folds f and g serves both as the inner split g of outer fold f and as the inner split f of
outer fold g. With more stimuli than features the same follows from X'X instead.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

import torch

BLOCK = 256


class Factor(NamedTuple):
    """Prediction of test rows from training rows, diagonal in alpha.

    prediction = A diag(1 / (spectrum + alpha)) P y_S + mean(y_S); A (test, k), P (k, train).
    """

    A: torch.Tensor
    P: torch.Tensor
    spectrum: torch.Tensor
    train: torch.Tensor

    @classmethod
    def of(cls, K: torch.Tensor, train: torch.Tensor, test: torch.Tensor) -> Factor:
        """Decompose one training split of one layer's Gram matrix K (n, n)."""
        inside, across = K[train][:, train], K[test][:, train]
        means = inside.mean(0)
        inside = inside - means - means[:, None] + means.mean()
        across = across - means - across.mean(1, keepdim=True) + means.mean()
        spectrum, Q = torch.linalg.eigh(inside)
        # Null directions of the training split have no weight in any prediction, but dividing
        # their rounding noise by a tiny alpha would give them some.
        kept = spectrum > spectrum[-1].clamp(min=0) * len(train) * torch.finfo(K.dtype).eps
        Q = Q[:, kept]
        return cls(across @ Q, Q.T.contiguous(), spectrum[kept], train)

    @classmethod
    def of_features(cls, X: torch.Tensor, train: torch.Tensor, test: torch.Tensor) -> Factor:
        """Decompose one training split of one layer's activations X (n, p), in feature space.

        With X'X = V diag(spectrum) V' of the centred training rows, A = X_t V and P = V'X_S'.
        """
        mean = X[train].mean(0)
        inside, across = X[train] - mean, X[test] - mean
        spectrum, V = torch.linalg.eigh(inside.T @ inside)
        kept = spectrum > spectrum[-1].clamp(min=0) * len(train) * torch.finfo(X.dtype).eps
        V = V[:, kept]
        return cls(across @ V, V.T @ inside.T, spectrum[kept], train)

    def predict(self, Y: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        """Predict with an alpha of its own for each neuroid: Y (n, v), alpha (v,) to (test, v)."""
        y = Y[self.train]
        weights = (self.P @ y) / (self.spectrum[:, None] + alpha)
        return self.A @ weights + y.mean(0)


class Splits(NamedTuple):
    """All training splits of a nested scheme for one layer: without one fold, and without two."""

    rows: list[torch.Tensor]
    outer: list[Factor]
    inner: dict[tuple[int, int], Factor]

    @classmethod
    def of(
        cls, source: torch.Tensor, rows: list[torch.Tensor], factor: Callable = Factor.of
    ) -> Splits:
        """Decompose every split of K, or of X with `Factor.of_features`; rows of each fold."""
        everyone = range(len(rows))

        def without(*left_out: int) -> torch.Tensor:
            return torch.cat([rows[f] for f in everyone if f not in left_out])

        outer = [factor(source, without(f), rows[f]) for f in everyone]
        inner = {
            (f, g): factor(source, without(f, g), torch.cat([rows[f], rows[g]]))
            for f, g in combinations(everyone, 2)
        }
        return cls(rows, outer, inner)

    def predict_outer(self, Y: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        """Out-of-fold predictions (n, v) with alpha (folds, v) fixed for each outer fold."""
        prediction = torch.empty_like(Y)
        for f, test in enumerate(self.rows):
            prediction[test] = self.outer[f].predict(Y, alpha[f])
        return prediction

    def inner_scores(
        self, Y: torch.Tensor, grid: torch.Tensor, dtype: torch.dtype = torch.float64
    ) -> torch.Tensor:
        """Pearson r (outer folds, alphas, v) of the pooled leave-one-fold-out predictions."""
        y = Y.to(dtype)
        sums = torch.zeros(len(self.rows), 3, len(grid), y.shape[1], dtype=dtype, device=y.device)
        for (f, g), factor in self.inner.items():
            cut = len(self.rows[f])
            pair = ((g, self.rows[f], slice(0, cut)), (f, self.rows[g], slice(cut, None)))
            _add_moments(sums, factor, pair, y, grid)
        scores = torch.empty_like(sums[:, 0])
        for f, outer in enumerate(self.outer):
            truth = y[outer.train]
            mean = truth.mean(0)
            covariance = sums[f, 2] - sums[f, 0] * mean
            variance = (sums[f, 1] - sums[f, 0].square() / len(truth)).clamp(min=0)
            product = (variance * (truth - mean).square().sum(0)).sqrt()
            scores[f] = torch.where(product > 0, covariance / product, 0.0)
        return scores

    def score_at(self, Y: torch.Tensor, alpha: torch.Tensor, f: int) -> torch.Tensor:
        """Inner score (v,) of outer fold f with an alpha of its own for each neuroid."""
        pooled = torch.empty_like(Y)
        for (first, second), factor in self.inner.items():
            if f == second:
                pooled[self.rows[first]] = factor.predict(Y, alpha)[: len(self.rows[first])]
            elif f == first:
                pooled[self.rows[second]] = factor.predict(Y, alpha)[len(self.rows[first]) :]
        train = self.outer[f].train
        return torch.nan_to_num(pearson(pooled[train], Y[train]))


def _add_moments(sums, factor: Factor, pair, y: torch.Tensor, grid: torch.Tensor) -> None:
    """Add the sums of p, p^2 and p y of one split's predictions p to (outer, 3, alphas, v).

    With B = P y_S, the sums of p and of p y over test rows are linear in 1 / (spectrum + alpha)
    and need no prediction: sum_t p = (1'A / (spectrum + alpha)) B, and sum_t p y =
    1 / (spectrum + alpha) (A'y_t * B). Only the sum of squares needs p itself, for every alpha.
    """
    dtype, a = y.dtype, len(grid)
    shrink = 1 / (factor.spectrum + grid[:, None])
    A, P, D = factor.A.to(dtype), factor.P.to(dtype), shrink.to(dtype)
    at_all_alphas = (factor.A * shrink[:, None]).to(dtype)
    sides = [
        (outer, rows, at_all_alphas[:, cut].flatten(0, 1), A[cut].T.contiguous(), D * A[cut].sum(0))
        for outer, rows, cut in pair
    ]
    width = min(BLOCK, y.shape[1])
    longest = max(len(left) for _, _, left, _, _ in sides)
    buffer = torch.empty(longest, width, dtype=dtype, device=y.device)
    for start in range(0, y.shape[1], width):
        part = slice(start, start + width)
        block = y[:, part].contiguous()
        inside = block[factor.train]
        mean, B = inside.mean(0), P @ inside
        for outer, rows, left, across, summed in sides:
            truth, size = block[rows], len(rows)
            total = summed @ B
            p = buffer[: len(left), : B.shape[1]]
            torch.mm(left, B, out=p)
            squares = p.square_().unflatten(0, (a, size)).sum(1)
            moments = sums[outer, :, :, part]
            moments[0] += total.add(mean, alpha=size)
            moments[1] += squares.add_(total.mul_(2).add_(mean, alpha=size).mul_(mean))
            moments[2] += (D @ (across @ truth).mul_(B)).add_(truth.sum(0) * mean)


def pearson(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Column-wise Pearson r of (n, v) with (n, v); 0 for a constant x, NaN for a constant y."""
    x, y = x - x.mean(0), y - y.mean(0)
    product = x.square().sum(0).sqrt() * y.square().sum(0).sqrt()
    r = torch.where(product > 0, (x * y).sum(0) / product.clamp(min=1e-300), 0.0)
    return torch.where(y.square().sum(0) > 0, r.clamp(-1, 1), torch.nan)
