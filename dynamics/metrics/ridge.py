"""Nested cross-validated ridge regression, all neuroids and alphas at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from dynamics.metrics.folds import check_folds
from dynamics.metrics.gram import Array, activations, as_tensor, centre, like, responses, same_rows
from dynamics.metrics.splits import Factor, Splits, pearson

RELATIVE_ALPHAS = np.logspace(-5, 4.5, 20)
TOO_CLOSE = 1e-6
RISING = 1e-4


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
    search_dtype: torch.dtype = torch.float32,
    block: int = 2048,
) -> dict[str, Array]:
    """`nested_ridge` from activations, each layer in its cheaper form.

    A layer with more features than training stimuli is decomposed as an n x n Gram matrix, one
    with fewer as a p x p matrix; the result is the same.

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
        inside = len(tensor) * (1 - 1 / len(np.unique(np.asarray(folds))))
        primal = tensor.shape[1] < inside
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
    search_dtype: torch.dtype = torch.float32,
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

    n_layers, v = len(sources), target.shape[1]
    out = {
        "layer_r": target.new_empty(n_layers, v),
        "fold_r": target.new_empty(n_layers, n_folds, v),
        "layer_alpha": target.new_empty(n_layers, n_folds, v),
        "layer": torch.zeros(n_folds, v, dtype=torch.int64, device=device),
        "alpha": target.new_empty(n_folds, v),
        "prediction": torch.empty_like(target),
    }
    best = target.new_full((n_folds, v), -torch.inf)
    second = best.clone()
    at_edge = target.new_zeros(())
    for number, ((matrix, factor), grid) in enumerate(zip(sources, penalties)):
        splits = Splits.of(matrix, rows, factor)
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


def _search(
    splits: Splits, y: torch.Tensor, grid: torch.Tensor, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Best inner score, index of its alpha in the ascending grid, whether it is an edge hit."""
    scores = splits.inner_scores(y, grid, dtype)
    # Flipped, so that the first of equal ones is the one of the largest alpha.
    best, from_the_end = scores.flip(1).max(1)
    choice = len(grid) - 1 - from_the_end
    if len(grid) == 1:
        return best.double(), choice, torch.zeros_like(choice, dtype=torch.bool)
    low = (choice == 0) & (best > scores[:, 1] + RISING)
    high = (choice == len(grid) - 1) & (best > scores[:, -2] + RISING)
    best = best.double()
    if dtype != torch.float64:
        close = scores >= scores.amax(1, keepdim=True) - TOO_CLOSE
        for f in range(len(scores)):
            unsure = (close[f].sum(0) > 1).nonzero().ravel()
            _settle(splits, y[:, unsure], grid, close[f][:, unsure], f, best, choice, unsure)
    return best, choice, low | high


def _settle(splits, y, grid, close, f: int, best, choice, unsure) -> None:
    """Choose among close alphas (alphas, v) in double precision, in place."""
    found = torch.full((y.shape[1],), -torch.inf, dtype=torch.float64, device=y.device)
    for a in close.any(1).nonzero().ravel().flip(0).tolist():
        who = close[a].nonzero().ravel()
        score = splits.score_at(y[:, who], grid[a].expand(len(who)), f)
        won = score > found[who]
        found[who[won]] = score[won]
        choice[f, unsure[who[won]]] = a
    best[f, unsure] = found


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
