"""Nested cross-validated ridge regression on Gram matrices, all neuroids and alphas at once.

For a training split S with centred Gram matrix K = Q diag(lambda) Q', the prediction for test
rows t is mean(y_S) + K_tS Q diag(1 / (lambda + alpha)) Q' y_S. One decomposition therefore serves
every neuroid and every alpha, and in a nested scheme the split without folds f and g serves both
as the inner split g of outer fold f and as the inner split f of outer fold g.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch

from dynamics.metrics.folds import check_folds
from dynamics.metrics.gram import Array, as_tensor, centre, like, responses, same_rows

RELATIVE_ALPHAS = np.logspace(-5, 4.5, 20)
TOO_CLOSE = 1e-6
RISING = 1e-4
BLOCK = 256


def nested_ridge(
    K: Array,
    Y: Array,
    folds: Array,
    alphas: Array | None = None,
    *,
    search_dtype: torch.dtype = torch.float32,
    block: int = 2048,
) -> dict[str, Array]:
    """Encode Y from every layer, alpha (and layer) chosen inside the training folds.

    For each outer fold, layer and neuroid, alpha is chosen by leave-one-fold-out over the other
    folds: the largest Pearson correlation of pooled out-of-fold predictions with y; of equal
    ones the largest alpha. The search runs in `search_dtype`; neuroids for which any choice was
    closer than 1e-6 in correlation are searched again in double precision, and what is reported
    is predicted in double precision, so the result is that of double precision.

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
        Penalties in the units of K; by default `default_alphas`.
    search_dtype : torch.dtype
        Precision of the search over alphas.
    block : int
        Neuroids predicted at a time, which bounds memory.

    Returns
    -------
    dict of arrays
        ``layer_r``, ``layer_r2`` (layers, v): Pearson r of pooled out-of-fold predictions with y,
        and its square, 0 where r is negative. ``fold_r`` (layers, folds, v): r inside each test
        fold. ``layer_alpha`` (layers, folds, v). With the layer chosen in the training folds
        too: ``r``, ``r2`` (v,), ``layer``, ``alpha`` (folds, v) and ``prediction`` (n, v).
        ``alpha_edge``: fraction of choices in ``layer_alpha`` at the edge of the grid where
        the score was still rising, by more than 1e-4 from the neighbouring alpha.
        A constant neuroid has NaN scores, a constant prediction r = 0.

    Raises
    ------
    ValueError
        If shapes do not fit, an alpha is not positive, or there are fewer than 3 folds.
    """
    gram = _check_gram(K)
    same_rows(gram[0], Y, names=("K", "Y"))
    target, constant = standardise(responses(Y).to(gram.device))
    fold = check_folds(folds, gram.shape[1])
    n_folds = int(fold.max()) + 1
    if n_folds < 3:
        raise ValueError("nested cross-validation needs at least 3 folds: give more folds")
    penalties = check_alphas(alphas, gram)
    rows = [torch.as_tensor(np.flatnonzero(fold == f), device=gram.device) for f in range(n_folds)]

    n_layers, v = len(gram), target.shape[1]
    new = dict(dtype=torch.float64, device=gram.device)
    out = {
        "layer_r": torch.empty(n_layers, v, **new),
        "fold_r": torch.empty(n_layers, n_folds, v, **new),
        "layer_alpha": torch.empty(n_layers, n_folds, v, **new),
        "layer": torch.zeros(n_folds, v, dtype=torch.int64, device=gram.device),
        "alpha": torch.empty(n_folds, v, **new),
        "prediction": torch.empty_like(target),
    }
    best = torch.full((n_folds, v), -torch.inf, **new)
    second = best.clone()
    at_edge = torch.zeros((), **new)
    for number, (matrix, grid) in enumerate(zip(gram, penalties)):
        splits = Splits.of(matrix, rows)
        scores, choices, rising = _search(splits, target, grid, search_dtype)
        at_edge += rising.sum()
        for start in range(0, v, block):
            part = slice(start, start + block)
            y, score, choice = target[:, part], scores[:, part], choices[:, part]
            prediction = splits.predict_outer(y, grid[choice])
            out["layer_r"][number, part] = pooled_r(prediction, y, rows)
            out["fold_r"][number, :, part] = torch.stack(
                [pearson(prediction[test], y[test]) for test in rows]
            )
            out["layer_alpha"][number, :, part] = grid[choice]
            better = score > best[:, part]
            for f, test in enumerate(rows):
                old = out["prediction"][test, part]
                out["prediction"][test, part] = torch.where(better[f], prediction[test], old)
            second[:, part] = torch.where(
                better, best[:, part], torch.maximum(second[:, part], score)
            )
            best[:, part] = torch.where(better, score, best[:, part])
            out["layer"][:, part][better] = number
            out["alpha"][:, part] = torch.where(better, grid[choice], out["alpha"][:, part])
    out["r"] = pooled_r(out["prediction"], target, rows)
    out["alpha_edge"] = at_edge / out["layer_alpha"].numel()

    unsure = ((best - second) < TOO_CLOSE).any(0) & ~constant
    if search_dtype != torch.float64 and n_layers > 1 and unsure.any():
        again = nested_ridge(
            gram, target[:, unsure], fold, penalties, search_dtype=torch.float64, block=block
        )
        for name in ("layer", "alpha", "prediction", "r"):
            out[name][..., unsure] = again[name]

    y = as_tensor(Y).to(gram.device).reshape(target.shape)
    spread = torch.where(constant, 0.0, y.std(0, correction=0))
    out["prediction"] = out["prediction"] * spread + y.mean(0)
    for name in ("r", "layer_r", "fold_r"):
        out[name][..., constant] = torch.nan
    out["r2"], out["layer_r2"] = clipped_square(out["r"]), clipped_square(out["layer_r"])
    return {name: like(value, K) for name, value in out.items()}


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
    variance = torch.diagonal(centre(as_tensor(K)), dim1=-2, dim2=-1).mean(-1)
    variance = torch.where(variance > 0, variance, torch.ones_like(variance))
    relative = torch.as_tensor(RELATIVE_ALPHAS, device=variance.device)
    return like(variance[:, None] * relative, K)


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
    def of(cls, K: torch.Tensor, rows: list[torch.Tensor]) -> Splits:
        """Decompose every split of K (n, n) for the folds with these rows."""
        everyone = range(len(rows))

        def without(*left_out: int) -> torch.Tensor:
            return torch.cat([rows[f] for f in everyone if f not in left_out])

        outer = [Factor.of(K, without(f), rows[f]) for f in everyone]
        inner = {
            (f, g): Factor.of(K, without(f, g), torch.cat([rows[f], rows[g]]))
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
    dtype = y.dtype
    shrink = 1 / (factor.spectrum + grid[:, None])
    A, P, D = factor.A.to(dtype), factor.P.to(dtype), shrink.to(dtype)
    at_all_alphas = (factor.A * shrink[:, None]).to(dtype)
    lefts = [at_all_alphas[:, cut].flatten(0, 1) for _, _, cut in pair]
    width = min(BLOCK, y.shape[1])
    buffers = [torch.empty(len(left), width, dtype=dtype, device=y.device) for left in lefts]
    for start in range(0, y.shape[1], width):
        part = slice(start, start + width)
        inside = y[factor.train, part]
        mean, B = inside.mean(0), P @ inside
        for (outer, rows, cut), left, buffer in zip(pair, lefts, buffers):
            truth, size = y[rows, part], len(rows)
            total = (D * A[cut].sum(0)) @ B
            p = buffer[:, : B.shape[1]]
            torch.mm(left, B, out=p)
            squares = p.square_().unflatten(0, (len(grid), size)).sum(1)
            sums[outer, 0, :, part] += total + size * mean
            sums[outer, 1, :, part] += squares + (2 * total + size * mean) * mean
            sums[outer, 2, :, part] += D @ ((A[cut].T @ truth) * B) + truth.sum(0) * mean


def _search(
    splits: Splits, y: torch.Tensor, grid: torch.Tensor, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Best inner score, index of its alpha in the ascending grid, whether it is an edge hit."""
    scores = splits.inner_scores(y, grid, dtype).double()
    if dtype != torch.float64:
        close = scores >= scores.amax(1, keepdim=True) - TOO_CLOSE
        close &= close.sum(1, keepdim=True) > 1
        for f, a in close.any(2).nonzero().tolist():
            who = close[f, a].nonzero().ravel()
            scores[f, a, who] = splits.score_at(y[:, who], grid[a].expand(len(who)), f)
    best, from_the_end = scores.flip(1).max(1)
    choice = len(grid) - 1 - from_the_end
    if len(grid) == 1:
        return best, choice, torch.zeros_like(choice, dtype=torch.bool)
    low = (choice == 0) & (best > scores[:, 1] + RISING)
    high = (choice == len(grid) - 1) & (best > scores[:, -2] + RISING)
    return best, choice, low | high


def pearson(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Column-wise Pearson r of (n, v) with (n, v); 0 for a constant x, NaN for a constant y."""
    x, y = x - x.mean(0), y - y.mean(0)
    product = x.square().sum(0).sqrt() * y.square().sum(0).sqrt()
    r = torch.where(product > 0, (x * y).sum(0) / product.clamp(min=1e-300), 0.0)
    return torch.where(y.square().sum(0) > 0, r.clamp(-1, 1), torch.nan)


def pooled_r(prediction: torch.Tensor, y: torch.Tensor, rows: list[torch.Tensor]) -> torch.Tensor:
    """Pearson r over all folds; 0 where the prediction is constant inside every fold."""
    ranges = [prediction[test].amax(0) - prediction[test].amin(0) for test in rows]
    flat = (torch.stack(ranges) <= 1e-12).all(0)
    return torch.where(flat, 0.0, pearson(prediction, y))


def clipped_square(r: torch.Tensor) -> torch.Tensor:
    """Squared correlation, 0 where the correlation is negative; NaN stays NaN."""
    return r.clamp(min=0).square()


def standardise(Y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Columns with mean 0 and deviation 1, and which columns are constant (left at 0)."""
    centred = Y - Y.mean(0)
    spread = centred.square().mean(0).sqrt()
    constant = spread <= 1e-12 * Y.abs().amax(0)
    scaled = centred / torch.where(constant, 1.0, spread)
    return torch.where(constant, 0.0, scaled), constant


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
    if not (torch.isfinite(grid) & (grid > 0)).all():
        raise ValueError(
            f"alphas holds {float(grid.min()):g}: give penalties that are positive and finite"
        )
    return grid.sort(1).values


def _check_gram(K: Array) -> torch.Tensor:
    gram = as_tensor(K)
    if gram.ndim == 2:
        gram = gram[None]
    if gram.ndim != 3 or gram.shape[1] != gram.shape[2]:
        raise ValueError(
            f"K has shape {tuple(gram.shape)}: give Gram matrices of (layers, stimuli, stimuli)"
        )
    return gram
