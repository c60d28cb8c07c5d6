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

from dynamics.metrics.correlation import pearson
from dynamics.metrics.reuse import once
from dynamics.metrics.singular import centred_columns, decompose, varying


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
        inside, across = centred_split(K, train, test)
        spectrum, Q = torch.linalg.eigh(inside)
        # Null directions of the training split have no weight in any prediction, but dividing
        # their rounding noise by a tiny alpha would give them some.
        kept = spectrum > spectrum[-1].clamp(min=0) * len(train) * torch.finfo(K.dtype).eps
        Q = Q[:, kept]
        return cls(across @ Q, Q.T.contiguous(), spectrum[kept], train)

    @classmethod
    def of_features(cls, X: torch.Tensor, train: torch.Tensor, test: torch.Tensor) -> Factor:
        """Decompose one training split of one layer's activations X (n, p), in feature space.

        With X'X = V diag(spectrum) V' of the centred training rows, the eigenvectors of the Gram
        matrix are Q = X_S V spectrum^(-1/2), so A = X_t V spectrum^(1/2) and P = Q'.
        """
        mean = X[train].mean(0)
        inside, across = X[train] - mean, X[test] - mean
        spectrum, V = torch.linalg.eigh(inside.T @ inside)
        kept = spectrum > spectrum[-1].clamp(min=0) * len(train) * torch.finfo(X.dtype).eps
        V, spectrum = V[:, kept], spectrum[kept]
        root = spectrum.sqrt()
        return cls(across @ V * root, (V / root).T @ inside.T, spectrum, train)

    @classmethod
    def of_singular(cls, X: torch.Tensor, train: torch.Tensor, test: torch.Tensor) -> Factor:
        """Decompose one training split of activations X (n, p) by its singular values.

        Several times slower than the others, and right for any penalty however much features
        differ in scale, see `dynamics.metrics.singular`.
        """
        inside = X[train]
        mean, varies = inside.mean(0), varying(inside)
        U, s, V = decompose(centred_columns(inside))
        across = torch.where(varies, X[test] - mean, 0.0)
        # The mean's rounding in large columns must not meet the responses' mean in small ones.
        return cls(across @ V * s, (U - U.mean(0)).T.contiguous(), s.square(), train)

    def predict(self, Y: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        """Predict with an alpha of its own for each neuroid: Y (n, v), alpha (v,) to (test, v)."""
        y = Y.index_select(0, self.train)
        weights = (self.P @ y).div_(self.spectrum[:, None] + alpha)
        return torch.addmm(y.mean(0), self.A, weights)


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
        return once("splits", lambda: cls._of(source, rows, factor), source, factor, *rows)

    @classmethod
    def _of(cls, source: torch.Tensor, rows: list[torch.Tensor], factor: Callable) -> Splits:
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


def centred_split(
    K: torch.Tensor, train: torch.Tensor, test: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gram matrix of training rows, and of test rows with them, centred on the training mean."""
    inside, across = K[train][:, train], K[test][:, train]
    means = inside.mean(0)
    inside = inside - means - means[:, None] + means.mean()
    return inside, across - means - across.mean(1, keepdim=True) + means.mean()
