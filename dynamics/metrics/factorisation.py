"""Training splits of a nested scheme, decomposed once for all neuroids and alphas.

For a training split S with centred Gram matrix K = Q diag(lambda) Q', the prediction for test
rows t is mean(y_S) + K_tS Q diag(1 / (lambda + alpha)) Q' y_S. In a nested scheme the split
without folds f and g serves both as the inner split g of outer fold f and as the inner split f of
outer fold g. With more stimuli than features the same follows from X'X instead.

Singular values of activations, for penalties below what a Gram matrix holds.

The eigenvalues of a Gram matrix are right to some eps times the largest of them, whatever their own
size. A penalty hides that while it is far above it; below, features that are small beside others
are lost. Singular values of the activations by one-sided Jacobi rotations are right to eps times
themselves, however much features differ in scale, so that six features of deviation 200 beside
sixty of 1e-4 all keep their digits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import lapack

from dynamics.metrics.correlation import pearson
from dynamics.metrics.reuse import once


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
        differ in scale, see `dynamics.metrics.factorisation`.
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


MANY = 1500
"""Stimuli beyond which layers and neuroids are worked on a part at a time."""

KEPT = 2**30
"""Bytes of inner splits of a Gram matrix beyond which each is made when it is needed."""


def are_kept(n: int, folds: int) -> bool:
    """Whether the inner splits of a Gram matrix of n stimuli are kept."""
    inside = 1 - 2 / folds
    return 8 * n**2 * inside * folds * (folds - 1) / 2 <= KEPT


class _Made(Mapping):
    """Splits without two folds, each made whenever it is asked for."""

    def __init__(self, make: Callable[[int, int], Factor], folds: int):
        self._make, self._folds = make, folds

    def __getitem__(self, pair: tuple[int, int]) -> Factor:
        return self._make(*pair)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return combinations(range(self._folds), 2)

    def __len__(self) -> int:
        return self._folds * (self._folds - 1) // 2


class Splits(NamedTuple):
    """All training splits of a nested scheme for one layer: without one fold, and without two."""

    rows: list[torch.Tensor]
    outer: list[Factor]
    inner: Mapping[tuple[int, int], Factor]

    @classmethod
    def of(
        cls, source: torch.Tensor, rows: list[torch.Tensor], factor: Callable = Factor.of
    ) -> Splits:
        """Decompose every split of K, or of X with `Factor.of_features`; rows of each fold."""
        if factor is Factor.of and not are_kept(len(source), len(rows)):
            return cls._of(source, rows, factor)
        return once("splits", lambda: cls._of(source, rows, factor), source, factor, *rows)

    @classmethod
    def _of(cls, source: torch.Tensor, rows: list[torch.Tensor], factor: Callable) -> Splits:
        everyone = range(len(rows))

        def without(*left_out: int) -> torch.Tensor:
            return torch.cat([rows[f] for f in everyone if f not in left_out])

        outer = [factor(source, without(f), rows[f]) for f in everyone]
        inner: Mapping[tuple[int, int], Factor] = _Made(
            lambda f, g: factor(source, without(f, g), torch.cat([rows[f], rows[g]])), len(rows)
        )
        if factor is not Factor.of or are_kept(len(source), len(rows)):
            inner = dict(inner.items())
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


HELD = 1e-9
"""Smallest penalty for which a Gram matrix will do, relative to its largest eigenvalue.

The matrix is wrong by some 5 eps of its largest eigenvalue, so predictions in directions that are
no larger than the penalty are wrong by 5 eps / 1e-9, about 1e-6 of their size; directions above
that part of the largest eigenvalue are right to as many digits whatever the penalty.
"""

LOST = 1e-12
"""The same for where activations are not known: below it not even 3 digits are left."""

_DOUBLE, _SINGLE = (torch.finfo(dtype).eps for dtype in (torch.float64, torch.float32))
# The driver's choice for matrices whose rows and columns both differ in scale.
_SCALED = 2


def decompose(X: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Singular value decomposition X = U diag(s) V' to high relative accuracy.

    Drmac & Veselic 2008 (SIAM J Matrix Anal Appl 29:1322, 10.1137/050639193), LAPACK's dgejsv. A
    direction is rounding, and left out, where its singular value is no larger than what sums in
    double precision make of the features that it mixes, whatever other features there are.

    Parameters
    ----------
    X : tensor of shape (m, p)
        Centred activations, double.

    Returns
    -------
    U, s, V : tensors of shape (m, k), (k,), (p, k)
        Ascending.
    """
    m, p = X.shape
    matrix = np.asfortranarray((X.T if p > m else X).cpu().numpy())
    if not matrix.any():
        return X.new_zeros(m, 0), X.new_zeros(0), X.new_zeros(p, 0)
    s, left, right, work, _, info = lapack.dgejsv(
        matrix, joba=_SCALED, jobu=0, jobv=0, jobr=0, jobp=0
    )
    if info:
        raise ArithmeticError(f"the singular values of a layer did not converge ({info})")
    U, V = (right, left) if p > m else (left, right)
    found = (np.ascontiguousarray(each[..., ::-1]) for each in (U, s * (work[0] / work[1]), V))
    U, s, V = (torch.as_tensor(each, device=X.device) for each in found)
    size = torch.linalg.vector_norm(X.abs().amax(0)[:, None] * V, dim=0)
    kept = (s > max(m, p) * _DOUBLE * size).nonzero().ravel()
    return U[:, kept], s[kept], V[:, kept]


def rounding(X: torch.Tensor) -> torch.Tensor:
    """Length (p,) of what rounding can have made of each feature of activations (n, p) as given.

    Numbers of single precision come from a network that computes in it, so that a direction such as
    the sum of normalised features, which ought to be constant, is some part of its unit long. Half
    a unit a number is the most that storing them makes.
    """
    n, p = X.shape
    single = bool((X.float().double() == X).all())
    unit = 0.5 * n**0.5 * _SINGLE if single else max(n, p) * _DOUBLE
    return unit * X.abs().amax(0)


def centred_columns(X: torch.Tensor) -> torch.Tensor:
    """Columns less their means; exactly 0 where a column is constant but for rounding."""
    return torch.where(varying(X), X - X.mean(0), 0.0)


def varying(X: torch.Tensor) -> torch.Tensor:
    """Mark the columns of (n, p) that are not constant but for rounding."""
    low, high = X.aminmax(dim=0)
    return high - low > 4 * _DOUBLE * torch.maximum(low.abs(), high.abs())


def compact(X: torch.Tensor) -> torch.Tensor:
    """Activations (n, k) with the same Gram matrix, as many digits, and a column a direction.

    Parameters
    ----------
    X : tensor of shape (n, p)
        Activations, double.

    Returns
    -------
    tensor of shape (n, k)
        U diag(s) of the centred X. Its columns are graded as the directions are, so that rows can
        be left out of it. What is no more than `rounding` is left out.
    """
    noise = rounding(X)
    noise = torch.where(noise > 0, noise, 1.0)
    # Where every feature's rounding is 1 long, what is no longer is rounding.
    U, s, Vt = torch.linalg.svd(centred_columns(X) / noise, full_matrices=False)
    kept = s > 1
    W, t, _ = decompose((s[:, None] * Vt)[kept] * noise)
    return U[:, kept] @ W * t


def whole_space(U: torch.Tensor) -> torch.Tensor:
    """Orthonormal directions (m, m - 1) without the constant one, those of U (m, k) last."""
    m, k = U.shape
    known = torch.cat([U.new_full((m, 1), m**-0.5), U], 1)
    lacking = torch.linalg.qr(known, mode="complete").Q[:, k + 1 :]
    return torch.cat([lacking, U], 1)


def faint_alphas(X: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Penalties below a grid that is relative to the total variance, for features that it hides.

    Parameters
    ----------
    X : tensor of shape (n, p)
        Activations.
    grid : tensor of shape (a,)
        Ascending, evenly spaced in the logarithm, relative to the summed variance.

    Returns
    -------
    tensor of shape (more,)
        As `faint_below`.
    """
    return faint_below(centred_columns(X).square().mean(0), len(X), grid)


def faint_below(variance: torch.Tensor, n: float, grid: torch.Tensor) -> torch.Tensor:
    """`faint_alphas` from the features' variances (p,) over n rows.

    Returns
    -------
    tensor of shape (more,)
        Ascending, in the grid's own steps. None unless the smallest features together are so small
        that even the largest direction that they could make would be shrunk to less than half by
        the smallest penalty; else as far down beside their summed variance as the grid goes beside
        that of all.
    """
    variance = variance[variance > 0].sort().values
    if len(grid) < 2 or not len(variance):
        return grid[:0]
    below, reach = variance.cumsum(0), grid[0] / variance.sum()
    lowest = float(grid[0])
    while (hidden := below[below * n <= lowest]).numel() and hidden[-1] * reach < lowest:
        lowest = float(hidden[-1] * reach)
    ratio = float(grid[1] / grid[0])
    more = int(np.ceil(np.log(float(grid[0]) / lowest) / np.log(ratio) - 1e-9))
    steps = torch.arange(more, 0, -1, dtype=grid.dtype, device=grid.device)
    return grid[0] * ratio**-steps


def decompose_covariance(C: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Eigenvectors and eigenvalues of sums of products, small features with all of their digits.

    Entries of C are right to eps of the two features that they are of, so a Cholesky factor is,
    row by row, and the singular values of that factor are right to eps times themselves.

    Parameters
    ----------
    C : tensor of shape (p, p)
        Products of centred features, summed.

    Returns
    -------
    V, spectrum : tensors of shape (p, k), (k,)
        Ascending, without what is rounding.
    """
    size = torch.diagonal(C).clamp(min=0).sqrt()
    scale = torch.where(size > 0, size, 1.0)
    unit = (C / scale[:, None] / scale).cpu().numpy()
    factor, pivots, rank, _ = lapack.dpstrf(unit, lower=1, tol=10 * len(C) * _DOUBLE)
    L = np.empty_like(factor)
    L[pivots - 1] = np.tril(factor)
    V, s, _ = decompose(torch.as_tensor(L[:, :rank], device=C.device) * size[:, None])
    return V, s.square()
