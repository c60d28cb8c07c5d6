"""Ridge scores on many subsets of the stimuli, refitted on each, from one Gram matrix a layer.

With weights w = alpha / (lambda + alpha) on the spectrum of the centred Gram matrix (constant
vector left out), R = Q diag(w) Q' turns y into the residuals of ridge with an intercept, and the
residuals of stimuli L when the model was fitted without them are (R_LL)^-1 (R y)_L. So one
decomposition a subset gives the predictions of every outer and inner split of a nested
cross-validation, at the cost of small linear systems in place of a decomposition a split.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch

from dynamics.metrics.correlation import CONSTANT, pooled_r, ratio, standardise
from dynamics.metrics.factorisation import LOST, faint_alphas
from dynamics.metrics.folds import check_folds
from dynamics.metrics.held import Compact, decomposed, sources_of
from dynamics.metrics.kernels import Array, as_tensor, gram_matrices, like, responses, same_rows
from dynamics.metrics.reuse import once
from dynamics.metrics.ridge import alphas_of, check_alphas, default_alphas
from dynamics.metrics.subsets import counts
from dynamics.metrics.validation import takes

_BUDGET = 2**25


@takes(K="matrices", Y="responses", features="several")
def refit_ridge(
    K: Array,
    Y: Array,
    folds: Array,
    rows: Array | Sequence[Array],
    alphas: Array | None = None,
    *,
    search_dtype: torch.dtype = torch.float32,
    block: int = 512,
    features: Sequence[Array] | None = None,
) -> Array:
    """Nested cross-validated ridge on every resample of the stimuli.

    A pure function of one step's Gram matrices. The scheme is that of `nested_ridge` (alpha
    chosen inside the training folds for each neuroid), on the indexed K, Y and folds.

    Parameters
    ----------
    K : array of shape (layers, n, n) or (n, n)
        Linear Gram matrices.
    Y : array of shape (n, v)
        Responses, finite.
    folds : array of shape (n,)
        Fold of each stimulus, at least 3 different ones.
    rows : array of shape (resamples, kept) or sequence of arrays
        Row numbers of each resample, from a function in `RESAMPLERS`; -1 is skipped.
    alphas : array of shape (a,) or (layers, a), optional
        Penalties in the units of K; by default every second one of `default_alphas`, of all
        stimuli, which halves the time, and of those below them for features that they hide.
    search_dtype : torch.dtype
        Precision of the search over alphas; predictions are made in double precision.
    block : int
        Neuroids handled at a time, which bounds memory.
    features : sequence of arrays of shape (n, p), optional
        The activations that K was made of, one a layer. With them a layer goes by singular values
        where penalties fall below what its Gram matrix holds, see `dynamics.metrics.factorisation`.

    Returns
    -------
    array of shape (layers, resamples, v)
        Pearson r of pooled out-of-fold predictions with y; NaN where y is constant in the
        resample.

    Raises
    ------
    ValueError
        If shapes do not fit, row numbers are out of range, or a resample has fewer than 3 folds.
    """
    gram = gram_matrices(K)
    gram = gram[None] if gram.ndim == 2 else gram
    same_rows(gram[0], Y, names=("K", "Y"))
    n = gram.shape[1]
    target = responses(Y).to(gram.device)
    fold = check_folds(folds, n)
    layers = [Compact(source) for source in sources_of(gram, features)]
    if alphas is None:
        given = [None] * len(gram) if features is None else features
        grids = [as_tensor(refit_alphas(each, X)) for each, X in zip(gram, given)]
    else:
        grids = list(check_alphas(alphas, gram))
    sets = [np.asarray(each)[np.asarray(each) >= 0] for each in rows]
    for each in sets:
        if len(each) == 0 or each.max() >= n:
            raise ValueError(
                f"a resample names row {each.max(initial=-1)} of {n}: make resamples for these "
                "stimuli"
            )
    out = torch.empty(
        len(gram), len(sets), target.shape[1], dtype=torch.float64, device=gram.device
    )
    for number, each in enumerate(sets):
        order = each[np.argsort(fold[each], kind="stable")]
        layout = _Layout.of(fold[order], gram.device)
        index = torch.as_tensor(order, device=gram.device)
        y, constant = standardise(target[index])
        for layer, penalties in enumerate(grids):
            Q, spectrum = _decompose(gram[layer][index][:, index])
            if alphas is None:
                penalties = _reaching(penalties, spectrum, exact=features is not None)
            better = decomposed(layers[layer], index, spectrum, float(penalties[0]))
            Q, spectrum = better or (Q, spectrum)
            for start in range(0, y.shape[1], block):
                part = slice(start, start + block)
                prediction = _nested(layout, Q, spectrum, y[:, part], penalties, search_dtype)
                out[layer, number, part] = pooled_r(prediction, y[:, part], layout.rows)
        out[:, number, constant] = torch.nan
    return like(out, K, Y)


@takes(K="matrices", Y="responses")
def refit_predictions(
    K: Array, Y: Array, folds: Array, alphas: Array | None = None, *, block: int = 512
) -> Array:
    """Out-of-fold predictions of each layer on all stimuli, the same scheme as `refit_ridge`.

    Parameters
    ----------
    K, Y, folds, alphas, block
        As in `refit_ridge`.

    Returns
    -------
    array of shape (layers, n, v)
        Predictions of the standardised responses.
    """
    gram = gram_matrices(K)
    gram = gram[None] if gram.ndim == 2 else gram
    fold = check_folds(folds, gram.shape[1])
    grid = as_tensor(default_alphas(gram))[:, 1::2] if alphas is None else alphas
    order = torch.as_tensor(np.argsort(fold, kind="stable"), device=gram.device)
    layout = _Layout.of(fold[order.cpu().numpy()], gram.device)
    y, _ = standardise(responses(Y).to(gram.device))
    out = torch.empty(len(gram), *y.shape, dtype=torch.float64, device=gram.device)
    for layer, penalties in enumerate(check_alphas(grid, gram)):
        Q, spectrum = _decompose(gram[layer][order][:, order])
        for start in range(0, y.shape[1], block):
            part = y[order, start : start + block]
            predicted = _nested(layout, Q, spectrum, part, penalties, torch.float64)
            out[layer, order, start : start + block] = predicted
    return like(out, K, Y)


@takes(prediction="complete", Y="responses")
def rescore(prediction: Array, Y: Array, rows: Array | Sequence[Array]) -> Array:
    """Pearson r of given predictions on resamples: these models, other test sounds.

    Nothing is refitted, so the spread leaves out what other training sounds would change;
    intervals made of it are too short as statements about the network.

    Parameters
    ----------
    prediction : array of shape (layers, n, v)
        Out-of-fold predictions.
    Y : array of shape (n, v)
        Responses.
    rows : array of shape (resamples, kept) or sequence of arrays
        Row numbers of each resample; -1 is skipped.

    Returns
    -------
    array of shape (layers, resamples, v)
        Correlations; 0 where the prediction is constant.
    """
    p, y = as_tensor(prediction), responses(Y)
    weight = as_tensor(counts(np.asarray(rows), len(y)))
    weight = weight / weight.sum(1, keepdim=True)
    y = y - y.mean(0)
    mean_p, mean_y = weight @ p, weight @ y
    covariance = weight @ (p * y) - mean_p * mean_y
    variance = (weight @ p.square() - mean_p.square()) * (weight @ y.square() - mean_y.square())
    r = ratio(covariance, variance.clamp(min=0).sqrt(), moves=variance > CONSTANT**2)
    return like(r, prediction, Y)


def refit_alphas(K: Array | None, features: Array | None = None) -> Array:
    """Penalties that a layer is refitted with by default: every second one of its score's.

    Parameters
    ----------
    K : array of shape (n, n), or None
        Gram matrix; None for that of the features.
    features : array of shape (n, p), optional
        The activations that it was made of, for penalties below those of `default_alphas` where
        these hide the smallest features.

    Returns
    -------
    array of shape (a,)
        Ascending.
    """
    if K is None:
        assert features is not None
        X = as_tensor(features)
        variance = (X - X.mean(0)).square().sum() / len(X)
        grid = alphas_of(variance[None])
        K = features
    else:
        grid = as_tensor(default_alphas(as_tensor(K)[None]))[0]
    if features is not None:
        grid = torch.cat([faint_alphas(as_tensor(features).to(grid.device), grid), grid])
    # From the end, so that the largest is always there.
    return like(grid.flip(0)[::2].flip(0), K)


def _reaching(grid: torch.Tensor, spectrum: torch.Tensor, *, exact: bool) -> torch.Tensor:
    """Penalties that go on below where most directions are shrunk by them all, see `lowered`."""
    real = spectrum[spectrum > spectrum[-1] * len(spectrum) * torch.finfo(spectrum.dtype).eps]
    if len(grid) < 2 or 2 * int((real > 100 * grid[0]).sum()) >= len(real):
        return grid
    lowest = max(float(1e-4 * real[0]), 0.0 if exact else float(LOST * spectrum[-1]))
    more = math.ceil(math.log(float(grid[0]) / lowest) / math.log(float(grid[1] / grid[0])))
    steps = torch.arange(max(0, more), 0, -1, dtype=grid.dtype, device=grid.device)
    return torch.cat([grid[0] * (grid[0] / grid[1]) ** steps, grid])


class _Layout(NamedTuple):
    """Folds of a resample whose rows are sorted by fold, padded to one size.

    `place` (folds, size) holds row numbers, `real` (folds, size) whether a place holds one.
    """

    rows: list[torch.Tensor]
    place: torch.Tensor
    real: torch.Tensor

    @classmethod
    def of(cls, fold: np.ndarray, device: torch.device) -> _Layout:
        rows = [np.flatnonzero(fold == f) for f in np.unique(fold)]
        if len(rows) < 3:
            raise ValueError(f"a resample has stimuli of {len(rows)} folds: 3 or more are needed")
        width = max(map(len, rows))
        place = np.stack([np.pad(each, (0, width - len(each))) for each in rows])
        real = np.stack([np.arange(width) < len(each) for each in rows])
        tensors = [torch.as_tensor(each, device=device) for each in rows]
        return cls(tensors, torch.as_tensor(place, device=device), torch.as_tensor(real).to(device))


def _decompose(K: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Eigenvectors (m, m - 1) and spectrum of the centred K, without the constant vector."""
    return once("whole space", lambda: _decomposed(K), K)


def _decomposed(K: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    means = K.mean(0)
    K = K - means - means[:, None] + means.mean()
    # Lifted above all others, the constant vector comes last instead of mixing with null vectors.
    lift = 2 * torch.diagonal(K).sum() + 1
    spectrum, Q = torch.linalg.eigh(K + lift / len(K))
    return Q[:, :-1], spectrum[:-1].clamp(min=0)


class _Solver(NamedTuple):
    """Systems of left-out rows, solved: factors, or inverses where there are many right sides."""

    matrices: torch.Tensor
    inverse: bool
    bad: torch.Tensor

    @classmethod
    def of(
        cls, flat: torch.Tensor, Q: torch.Tensor, real: torch.Tensor, *, inverse: bool
    ) -> _Solver:
        """Solve the systems of sets of rows; `flat` (sets, alphas * size, k), Q (sets, size, k)."""
        system = (flat @ Q.mT).unflatten(1, (-1, Q.shape[1]))
        torch.diagonal(system, dim1=-2, dim2=-1).add_((~real).to(system.dtype)[:, None])
        factor, info = torch.linalg.cholesky_ex(system)
        # What could not be factored is said by `bad`; half a factor cannot be inverted.
        if (info > 0).any():
            whole = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
            factor = torch.where((info > 0)[..., None, None], whole, factor)
        # Many right sides: an inverse and one product are several times quicker than a solve.
        return cls(torch.cholesky_inverse(factor) if inverse else factor, inverse, info > 0)

    def __call__(self, right: torch.Tensor) -> torch.Tensor:
        """Solve for right sides (sets, alphas, size, v)."""
        if self.inverse:
            return self.matrices @ right
        return torch.cholesky_solve(right, self.matrices)


def _left_out(
    rows: tuple[torch.Tensor, torch.Tensor], Q: torch.Tensor, weights: torch.Tensor, T: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Residuals of left-out rows, (sets, alphas, size, v), and where the system was unsolvable.

    rows are place and real (sets, size) of a `_Layout`; weights (alphas, k); T = Q'y (k, v).
    """
    place, real = rows
    inside = Q[place] * real[..., None]
    flat = (inside[:, None] * weights[:, None]).flatten(1, 2)
    many = T.shape[-1] > place.shape[1] // 2
    # Nothing of a solver depends on the responses.
    solver = once(
        "left out",
        lambda: _Solver.of(flat, inside, real, inverse=many),
        *(Q, weights, place, real, many),
    )
    return solver((flat @ T).unflatten(1, (len(weights), -1))), solver.bad


def _nested(
    layout: _Layout,
    Q: torch.Tensor,
    spectrum: torch.Tensor,
    y: torch.Tensor,
    grid: torch.Tensor,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Out-of-fold predictions (m, v), alpha chosen by leave-one-fold-out inside the training."""
    weights = grid[:, None] / (spectrum + grid[:, None])
    T = Q.T @ y
    choice = _choose(layout, Q.to(dtype), weights.to(dtype), T.to(dtype), y.to(dtype))
    residual, _ = _left_out((layout.place, layout.real), Q, weights, T)
    chosen = choice[:, None, None].expand(-1, 1, residual.shape[2], -1)
    residual = residual.gather(1, chosen)[:, 0]
    prediction = torch.empty_like(y)
    prediction[layout.place[layout.real]] = (y[layout.place] - residual)[layout.real]
    return prediction


def _choose(
    layout: _Layout, Q: torch.Tensor, weights: torch.Tensor, T: torch.Tensor, y: torch.Tensor
) -> torch.Tensor:
    """Index (folds, v) of the alpha with the best pooled inner correlation."""
    n_folds, size = layout.place.shape
    pairs = torch.tensor(list(combinations(range(n_folds), 2)), device=y.device)
    sums = torch.zeros(n_folds, 3, len(weights), y.shape[1], dtype=y.dtype, device=y.device)
    failed = torch.zeros(n_folds, len(weights), dtype=torch.bool, device=y.device)
    at_once = max(1, _BUDGET // (len(weights) * 2 * size * max(2 * size, Q.shape[1], y.shape[1])))
    for some in pairs.split(at_once):
        place, real = layout.place[some].flatten(1), layout.real[some].flatten(1)
        residual, bad = _left_out((place, real), Q, weights, T)
        truth = y[place] * real[..., None]
        p = (truth[:, None] - residual) * real[:, None, :, None]
        halves = p.unflatten(2, (2, size)), truth.unflatten(1, (2, size))
        moments = torch.stack(
            [
                halves[0].sum(3),
                halves[0].square().sum(3),
                torch.einsum("pahsv,phsv->pahv", *halves),
            ],
            1,
        )
        for number, (f, g) in enumerate(some.tolist()):
            # What is predicted of fold g without f and g is an inner prediction of outer fold f.
            sums[g] += moments[number, :, :, 0]
            sums[f] += moments[number, :, :, 1]
            failed[[f, g]] |= bad[number]
    total = y.sum(0)
    squares = y.square().sum(0)
    mine = y[layout.place] * layout.real[..., None]
    count = (layout.real.sum() - layout.real.sum(1))[:, None].to(y.dtype)
    sum_y = (total - mine.sum(1))[:, None]
    var_y = (squares - mine.square().sum(1))[:, None] - sum_y.square() / count[..., None]
    covariance = sums[:, 2] - sums[:, 0] * sum_y / count[..., None]
    var_p = (sums[:, 1] - sums[:, 0].square() / count[..., None]).clamp(min=0)
    product = (var_p * var_y.clamp(min=0)).sqrt()
    score = torch.where(product > 0, covariance / product.clamp(min=1e-30), 0.0)
    score = torch.where(failed[..., None] | ~torch.isfinite(score), -2.0, score)
    # Of equal ones the largest alpha.
    return len(weights) - 1 - score.flip(1).argmax(1)
