"""Nested cross-validated ridge regression, all neuroids and alphas at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from dynamics.metrics.folds import check_folds
from dynamics.metrics.gram import Array, activations, as_tensor, centre, like, responses, same_rows
from dynamics.metrics.search import TOO_CLOSE, Responses, best_alphas
from dynamics.metrics.splits import Factor, Splits, pearson

RELATIVE_ALPHAS = np.logspace(-5, 4.5, 20)
FLAT = 1e-24


def nested_ridge(
    K: Array,
    Y: Array,
    folds: Array,
    alphas: Array | None = None,
    *,
    search_dtype: torch.dtype | None = None,
    block: int = 2048,
) -> dict[str, Array]:
    """Encode Y from every layer, alpha (and layer) chosen inside the training folds.

    For each outer fold, layer and neuroid, alpha is chosen by leave-one-fold-out over the other
    folds: the largest Pearson correlation of pooled out-of-fold predictions with y; of equal
    ones the largest alpha. A search in single precision repeats in double precision what it
    cannot tell apart (correlations within 5e-6), and what is reported is predicted in double
    precision, so the result is that of double precision.

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
    search_dtype : torch.dtype, optional
        Precision of the search over alphas; by default single where there are more neuroids than
        stimuli, and double where the decompositions are what takes the time.
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
        A constant neuroid has NaN scores, a constant prediction r = 0. Pooled predictions carry
        the training means, which are low where the left-out fold is high: data without a
        relation score a little below 0, not 0, in ``r``; ``fold_r`` averages 0.

    Raises
    ------
    ValueError
        If shapes do not fit, an alpha is not positive, or there are fewer than 3 folds.
    """
    gram = _check_gram(K)
    same_rows(gram[0], Y, names=("K", "Y"))
    penalties = check_alphas(alphas, gram)
    sources = [(matrix, Factor.of) for matrix in gram]
    result = nested_layers(sources, Y, folds, penalties, search_dtype, block)
    return {name: like(value, K) for name, value in result.items()}


def nested_ridge_features(
    layers: Mapping[str, Array] | Sequence[Array],
    Y: Array,
    folds: Array,
    alphas: Array | None = None,
    *,
    search_dtype: torch.dtype | None = None,
    block: int = 2048,
) -> dict[str, Array]:
    """`nested_ridge` from activations, each layer in its cheaper form.

    A layer with fewer features than there are stimuli in an inner training split is decomposed as
    a p x p matrix, one with more as an n x n Gram matrix; the result is the same.

    Parameters
    ----------
    layers : mapping or sequence of arrays of shape (n, p)
        Activations; p may differ.
    Y, folds, alphas, search_dtype, block
        As for `nested_ridge`.

    Returns
    -------
    dict of arrays
        As for `nested_ridge`.

    Raises
    ------
    TypeError, ValueError
        As for `gram` and `nested_ridge`.
    """
    given = list(layers.values()) if isinstance(layers, Mapping) else list(layers)
    sources, variances = [], []
    for X in given:
        same_rows(X, Y)
        tensor = activations(X)
        tensor = tensor - tensor.mean(0)
        variances.append(tensor.square().sum() / len(tensor))
        # Most decompositions are of inner splits, without two folds.
        primal = tensor.shape[1] < len(tensor) * (1 - 2 / len(np.unique(np.asarray(folds))))
        source = (tensor, Factor.of_features) if primal else (tensor @ tensor.T, Factor.of)
        sources.append(source)
    # The penalties are relative to the summed variance of the features, the mean of diag(K).
    diagonals = torch.stack(variances)[:, None, None]
    penalties = check_alphas(alphas, diagonals) if alphas is not None else _grid(diagonals[:, 0])
    result = nested_layers(sources, Y, folds, penalties, search_dtype, block)
    return {name: like(value, *given) for name, value in result.items()}


def nested_layers(
    sources: list[tuple[torch.Tensor, Callable]],
    Y: Array,
    folds: Array,
    penalties: torch.Tensor,
    search_dtype: torch.dtype | None = None,
    block: int = 2048,
) -> dict[str, torch.Tensor]:
    """Nested search over layers given as pairs of a matrix and the function that splits it."""
    device = sources[0][0].device
    target, constant = standardise(responses(Y).to(device))
    fold = check_folds(folds, len(target))
    n_folds = int(fold.max()) + 1
    if n_folds < 3:
        raise ValueError("nested cross-validation needs at least 3 folds: give more folds")
    rows = [torch.as_tensor(np.flatnonzero(fold == f), device=device) for f in range(n_folds)]
    n_layers, (n, v) = len(sources), target.shape
    # With few neuroids the decompositions are what costs, and single precision saves nothing.
    dtype = search_dtype or (torch.float32 if v > n else torch.float64)
    summary = Responses.of(target, rows, dtype)
    parts = [slice(start, min(start + block, v)) for start in range(0, v, block)]
    truths = [Truth.of(target[:, part], rows) for part in parts]

    out = {
        "layer_r": target.new_empty(n_layers, v),
        "fold_r": target.new_empty(n_layers, n_folds, v),
        "layer_alpha": target.new_empty(n_layers, n_folds, v),
        "layer": torch.zeros(n_folds, v, dtype=torch.int64, device=device),
        "alpha": target.new_empty(n_folds, v),
        "r": target.new_empty(v),
    }
    chosen = [target.new_empty(len(test), v) for test in rows]
    best = target.new_full((n_folds, v), -torch.inf)
    second = best.clone()
    at_edge = target.new_zeros(())
    for number, ((matrix, factor), grid) in enumerate(zip(sources, penalties)):
        splits = Splits.of(matrix, rows, factor)
        score, choice, rising = best_alphas(splits, summary, grid)
        at_edge += rising.sum()
        alpha = out["layer_alpha"][number] = grid[choice]
        better = score > best
        second = torch.where(better, best, torch.maximum(second, score))
        best = torch.where(better, score, best)
        out["layer"][better] = number
        out["alpha"] = torch.where(better, alpha, out["alpha"])
        for part, truth in zip(parts, truths):
            predictions = [
                factor.predict(truth.y, alpha[f, part]) for f, factor in enumerate(splits.outer)
            ]
            out["layer_r"][number, part], out["fold_r"][number, :, part] = truth.r(predictions)
            for old, new, won in zip(chosen, predictions, better[:, part]):
                old[:, part] = torch.where(won, new, old[:, part])
    for part, truth in zip(parts, truths):
        out["r"][part] = truth.r([prediction[:, part] for prediction in chosen])[0]
    out["prediction"] = torch.cat(chosen)[torch.cat(rows).argsort()]
    out["alpha_edge"] = at_edge / out["layer_alpha"].numel()

    unsure = ((best - second) < TOO_CLOSE).any(0) & ~constant
    if dtype != torch.float64 and n_layers > 1 and unsure.any():
        again = nested_layers(sources, target[:, unsure], fold, penalties, torch.float64, block)
        for name in ("layer", "alpha", "prediction", "r"):
            out[name][..., unsure] = again[name]

    y = as_tensor(Y).to(device).reshape(target.shape)
    spread = torch.where(constant, 0.0, y.std(0, correction=0))
    out["prediction"] = out["prediction"] * spread + y.mean(0)
    for name in ("r", "layer_r", "fold_r"):
        out[name][..., constant] = torch.nan
    out["r2"], out["layer_r2"] = clipped_square(out["r"]), clipped_square(out["layer_r"])
    return out


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
    variance = torch.diagonal(as_tensor(centre(K)), dim1=-2, dim2=-1).mean(-1)
    return like(_grid(variance[:, None]), K)


def _grid(variance: torch.Tensor) -> torch.Tensor:
    variance = torch.where(variance > 0, variance, torch.ones_like(variance))
    return variance * torch.as_tensor(RELATIVE_ALPHAS, device=variance.device)


class Truth(NamedTuple):
    """A block of responses y (n, v) with its folds centred, `mean` and `power` (folds, v).

    What depends on y alone of the correlations with many predictions.
    """

    y: torch.Tensor
    centred: list[torch.Tensor]
    mean: torch.Tensor
    power: torch.Tensor

    @classmethod
    def of(cls, y: torch.Tensor, rows: list[torch.Tensor]) -> Truth:
        """Split y, of deviation 1 over all rows, by the folds' rows."""
        mean = torch.stack([y[test].mean(0) for test in rows])
        centred = [y[test] - m for test, m in zip(rows, mean)]
        power = torch.stack([each.square().sum(0) for each in centred])
        return cls(y.contiguous(), centred, mean, power)

    def r(self, predictions: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Pearson r over all folds (v,) and inside each (folds, v); predictions (test, v).

        0 where the prediction is constant inside every fold, or inside the fold; NaN where y is.
        """
        means, powers, products = [], [], []
        for p, y in zip(predictions, self.centred):
            means.append(p.mean(0))
            centred = p - means[-1]
            products.append((centred * y).sum(0))
            powers.append(centred.square_().sum(0))
        mean, power, product = (torch.stack(each) for each in (means, powers, products))
        inside = _ratio(product, power, self.power)
        size = mean.new_tensor([len(y) for y in self.centred])
        mean, mean_y = (each - size @ each / size.sum() for each in (mean, self.mean))
        flat = (power <= FLAT).all(0)
        pooled = _ratio(
            product.sum(0) + size @ (mean * mean_y),
            torch.where(flat, 0.0, power.sum(0) + size @ mean.square()),
            self.power.sum(0) + size @ mean_y.square(),
        )
        return pooled, inside


def _ratio(product: torch.Tensor, power: torch.Tensor, power_y: torch.Tensor) -> torch.Tensor:
    r = torch.where(power > FLAT, product / (power * power_y).sqrt(), 0.0).clamp(-1, 1)
    return torch.where(power_y > FLAT, r, torch.nan)


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
