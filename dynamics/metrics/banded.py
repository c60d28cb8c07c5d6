"""Several layers at once: banded ridge, one penalty a layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from dynamics.metrics.correlation import clipped_square, pooled_r, standardise
from dynamics.metrics.factorisation import HELD, Factor, centred_split, compact, faint_alphas
from dynamics.metrics.folds import check_folds
from dynamics.metrics.held import Held, Source, sources_of
from dynamics.metrics.inner_cv import Responses, best_alphas
from dynamics.metrics.kernels import (
    Array,
    as_tensor,
    centre,
    gram_matrices,
    like,
    responses,
    same_rows,
)
from dynamics.metrics.ridge import RELATIVE_ALPHAS, check_alphas
from dynamics.metrics.threads import side_by_side
from dynamics.metrics.validation import takes


@takes(K="matrices", Y="responses", features="several")
def banded_ridge(
    K: Array,
    Y: Array,
    folds: Array,
    alphas: Array | None = None,
    *,
    candidates: int = 100,
    seed: int = 0,
    features: Sequence[Array] | None = None,
) -> dict[str, Array]:
    """Encode Y from all layers together, one penalty a layer, by random search.

    Dupre la Tour et al. 2022 (NeuroImage 264:119728): weights g on the simplex are drawn, the
    kernel is sum_i g_i K_i with every K_i scaled to unit variance, and (g, alpha) is chosen for
    each outer fold and neuroid inside the training folds, by the rule of `nested_ridge`. The
    penalty of layer i is alpha / g_i. The first candidates are each layer alone and all alike.

    Parameters
    ----------
    K : array of shape (layers, n, n)
        Gram matrices.
    Y : array of shape (n, v)
        Responses.
    folds : array of shape (n,)
        Outer fold of each stimulus, at least 3 different ones.
    alphas : array of shape (a,), optional
        Penalties for kernels of unit variance; by default 10^-5 ... 10^4.5.
    candidates : int
        Weight vectors in all, at least layers + 1.
    seed : int
        Seed of the weights.
    features : sequence of arrays of shape (n, p), optional
        The activations that K was made of, one a layer. With them the default penalties go down
        beside the smallest features of a layer where they would hide these, and penalties below
        what a Gram matrix holds go by singular values, see `dynamics.metrics.factorisation`.

    Returns
    -------
    dict of arrays
        ``r``, ``r2`` (v,), ``prediction`` (n, v), ``alpha`` (folds, v), ``weights``
        (folds, v, layers), ``candidates`` (candidates, layers), ``alpha_edge``. ``layer_share``
        (layers, v): with d_i the part of the prediction that comes from layer i, less the training
        mean, and d their sum, sum d_i (2 y - d) / sum y^2 for y centred (the product measure in
        the form of himalaya's `r2_score_split`). The shares add up to the part of variance
        explained, 1 - sum (y - d)^2 / sum y^2; a share may be negative. A constant neuroid has
        NaN scores and shares.

    Raises
    ------
    ValueError
        If shapes do not fit, a value is not finite, a layer does not vary, an alpha is not
        positive, or there are fewer than 3 folds or too few candidates.
    """
    unit = _unit(K, Y)
    weights = torch.as_tensor(simplex(len(unit), candidates, seed=seed), device=unit.device)
    grid, small = _grid(K, unit, alphas, features)
    y = responses(Y).to(unit.device)
    found = _search(unit, y, check_folds(folds, len(y)), weights, grid, small=small)
    out = found._asdict()
    out["weights"], out["candidates"] = weights[out.pop("choice")], weights
    out["r2"] = clipped_square(found.r)
    return {name: like(value, K, Y) for name, value in out.items()}


@takes(K="matrices", Y="responses", weights="complete", features="several")
def refit_banded(
    K: Array,
    Y: Array,
    folds: Array,
    weights: Array,
    rows: Array | Sequence[Array],
    alphas: Array | None = None,
    *,
    features: Sequence[Array] | None = None,
) -> dict[str, Array]:
    """Fit `banded_ridge` again on every resample of the stimuli, with the layers' weights given.

    The weights stay those chosen on all stimuli for an outer fold and neuroid; alpha is chosen
    and the model is fitted anew. So the spread over resamples leaves out what another choice of
    weights would change, and with it the search over weights, which is what takes the time.

    Parameters
    ----------
    K, Y, folds, alphas, features
        As for `banded_ridge`, of all stimuli.
    weights : array of shape (folds, v, layers)
        From `banded_ridge`.
    rows : array of shape (resamples, kept) or sequence of arrays
        Row numbers of each resample, from a function in `RESAMPLERS`; -1 is skipped.

    Returns
    -------
    dict of arrays
        ``r`` (resamples, v) and ``layer_share`` (layers, resamples, v).

    Raises
    ------
    ValueError
        If shapes do not fit, row numbers are out of range, or a resample has no stimulus of a
        fold.
    """
    unit = _unit(K, Y)
    different, choice = (
        as_tensor(weights).to(unit.device).flatten(0, 1).unique(dim=0, return_inverse=True)
    )
    choice = choice.reshape(np.shape(weights)[:2])
    grid, small = _grid(K, unit, alphas, features)
    y, again = responses(Y).to(unit.device), []
    fold = check_folds(folds, len(y))
    for some in kept_rows(rows, len(y)):
        index = torch.as_tensor(some, device=unit.device)
        part = unit[:, index][:, :, index]
        own = None if small is None else [Z[index] for Z in small]
        again.append(_search(part, y[index], fold[some], different, grid, choice, own))
    out = {"r": torch.stack([each.r for each in again])}
    out["layer_share"] = torch.stack([each.layer_share for each in again], 1)
    return {name: like(value, K, Y) for name, value in out.items()}


def simplex(layers: int, candidates: int, *, seed: int = 0) -> np.ndarray:
    """Weight vectors: each layer alone, all alike, then half sparse, half even random ones.

    Parameters
    ----------
    layers, candidates : int
        How many entries and how many vectors; candidates >= layers + 1.
    seed : int
        Seed of the random ones, drawn from Dirichlet distributions of concentration .1 and 1.

    Returns
    -------
    array of shape (candidates, layers)
        Rows are not negative and sum to 1.

    Raises
    ------
    ValueError
        If there are too few candidates.
    """
    if candidates < layers + 1:
        raise ValueError(
            f"{candidates} candidates cannot hold {layers} layers alone and together: give at "
            f"least {layers + 1}"
        )
    rng = np.random.default_rng(seed)
    count = candidates - layers - 1
    sparse = rng.dirichlet(np.full(layers, 0.1), size=count // 2)
    even = rng.dirichlet(np.ones(layers), size=count - count // 2)
    return np.concatenate([np.eye(layers), np.full((1, layers), 1 / layers), sparse, even])


def kept_rows(rows: Array | Sequence[Array], n: int) -> Iterator[np.ndarray]:
    """Row numbers of each resample of n stimuli, checked, without the -1 that fill up."""
    for each in rows:
        some = np.asarray(each)
        some = some[some >= 0]
        if len(some) == 0 or some.max() >= n:
            raise ValueError(
                f"a resample names row {some.max(initial=-1)} of {n}: make resamples for these "
                "stimuli"
            )
        yield some


def _unit(K: Array, Y: Array) -> torch.Tensor:
    """Centred Gram matrices (layers, n, n) of unit variance."""
    gram = as_tensor(centre(gram_matrices(K)))
    same_rows(gram[0], Y, names=("K", "Y"))
    variance = torch.diagonal(gram, dim1=-2, dim2=-1).mean(-1)
    if not (variance > 0).all():
        layer = int((variance <= 0).nonzero()[0])
        raise ValueError(f"layer {layer} does not vary over stimuli: leave it out")
    return gram / variance[:, None, None]


def _grid(
    K: Array, unit: torch.Tensor, alphas: Array | None, features: Sequence[Array] | None
) -> tuple[torch.Tensor, list[torch.Tensor] | None]:
    """Penalties (a,), and activations of unit variance where they are below what kernels hold."""
    grid = check_alphas(RELATIVE_ALPHAS if alphas is None else alphas, unit[:1])[0]
    if features is None:
        return grid, None
    sources_of(unit, features)  # checks them
    variance = torch.diagonal(as_tensor(centre(gram_matrices(K))), dim1=-2, dim2=-1).mean(-1)
    given = [as_tensor(X).to(unit.device) for X in features]
    if alphas is None:
        below = [faint_alphas(X, grid * v) / v for X, v in zip(given, variance)]
        grid = torch.cat([max(below, key=len), grid])
    # The largest eigenvalue of a kernel of unit variance is at most n.
    if grid[0] >= HELD * len(unit[0]):
        return grid, None
    return grid, [compact(X) / v.sqrt() for X, v in zip(given, variance)]


class _Found(NamedTuple):
    """What `_search` finds: `choice` (folds, v) counts the weight vectors."""

    r: torch.Tensor
    prediction: torch.Tensor
    choice: torch.Tensor
    alpha: torch.Tensor
    alpha_edge: torch.Tensor
    layer_share: torch.Tensor


def _search(
    unit: torch.Tensor,
    Y: torch.Tensor,
    fold: np.ndarray,
    weights: torch.Tensor,
    grid: torch.Tensor,
    given: torch.Tensor | None = None,
    small: list[torch.Tensor] | None = None,
) -> _Found:
    """Choose weights and alpha for each outer fold and neuroid, or alpha alone for weights given.

    Every weight vector is decomposed once for all columns of Y; of the winner so far the dual
    coefficients are kept, from which the parts of the layers follow.
    """
    y, constant = standardise(Y)
    v, count = y.shape[1], int(fold.max()) + 1
    rows = [torch.as_tensor(np.flatnonzero(fold == f), device=y.device) for f in range(count)]
    if count < 3 or min(map(len, rows)) == 0:
        raise ValueError("nested cross-validation needs stimuli in at least 3 folds, and in each")
    if count == len(y):
        raise ValueError("every stimulus is a fold of its own: give fewer folds, of 2 or more")
    everyone = torch.arange(v, device=y.device)
    summary = Responses.of(y, rows)
    best, alpha = (y.new_full((count, v), -torch.inf) for _ in range(2))
    choice = torch.zeros(count, v, dtype=torch.int64, device=y.device)
    rising, searched = y.new_zeros(()), 0
    dual = [y.new_zeros(len(y) - len(test), v) for test in rows]
    prediction = torch.zeros_like(y)
    parts = small and [y.new_full((len(unit), len(test), v), torch.nan) for test in rows]
    wanted = range(len(weights)) if given is None else given.unique().tolist()

    def fit(number: int) -> tuple:
        who, part = everyone, summary
        if given is not None:
            who = (given == number).any(0).nonzero().ravel()
            part = Responses.of(y[:, who], rows)
        X = None
        if small is not None:
            X = torch.cat([w.sqrt() * Z for w, Z in zip(weights[number], small)], 1)
        held = Held(
            Source(torch.tensordot(weights[number], unit, 1), features=X),
            rows,
            lowest=float(grid[0]),
        )
        return number, who, held, X, best_alphas(held.splits, part, grid)

    for number, who, held, X, (score, place, edges) in side_by_side(fit, wanted):
        rising, searched = rising + edges.sum(), searched + edges.numel()
        better = score > best[:, who] if given is None else given[:, who] == number
        for f, factor in enumerate(held.splits.outer):
            won = better[f].nonzero().ravel()
            some, penalty = who[won], grid[place[f, won]]
            known = y[factor.train][:, some]
            spectral = (factor.P @ known) / (factor.spectrum[:, None] + penalty)
            dual[f][:, some] = factor.P.T @ spectral
            prediction[rows[f][:, None], some] = known.mean(0) + factor.A @ spectral
            best[f, some], choice[f, some], alpha[f, some] = score[f, won], number, penalty
            if parts:
                parts[f][:, :, some] = torch.nan
                if held.all_fine and X is not None:
                    widths = [Z.shape[1] for Z in small or ()]
                    parts[f][:, :, some] = _parts(X, widths, factor.train, rows[f], known, penalty)
    r = pooled_r(prediction, y, rows)
    share = _shares(unit, y, rows, weights[choice], dual, parts)
    r[constant] = share[:, constant] = torch.nan
    spread = torch.where(constant, 0.0, Y.std(0, correction=0))
    edge = rising / max(1, searched)
    return _Found(r, prediction * spread + Y.mean(0), choice, alpha, edge, share)


def _shares(
    unit: torch.Tensor,
    y: torch.Tensor,
    rows: list[torch.Tensor],
    weights: torch.Tensor,
    dual: list[torch.Tensor],
    exact: list[torch.Tensor] | None,
) -> torch.Tensor:
    """Part (layers, v) of the variance that each layer's part of the prediction explains."""
    explained = y.new_zeros(len(unit), y.shape[1])
    for f, test in enumerate(rows):
        train = torch.cat([each for g, each in enumerate(rows) if g != f])
        parts = torch.stack(
            [centred_split(K, train, test)[1] @ dual[f] * w for K, w in zip(unit, weights[f].T)]
        )
        if exact:
            parts = torch.where(exact[f].isnan(), parts, exact[f])
        rest = 2 * y[test] - parts.sum(0)
        explained += (parts * rest).sum(1)
    return explained / y.square().sum(0)


def _parts(
    X: torch.Tensor,
    widths: list[int],
    train: torch.Tensor,
    test: torch.Tensor,
    y: torch.Tensor,
    alpha: torch.Tensor,
) -> torch.Tensor:
    """Parts (layers, test, v) of the predictions that come from each layer's columns of X.

    Not by the dual coefficients, whose products with small features are small differences of large
    numbers, but by predicting test rows that have the training mean in all other columns.
    """
    mean, layers = X[train].mean(0), torch.arange(len(widths), device=X.device)
    layer = layers.repeat_interleave(torch.as_tensor(widths, device=X.device))
    rows = [torch.where(layer == number, X[test], mean) for number in layers]
    every = len(X) + torch.arange(len(test) * len(widths), device=X.device)
    factor = Factor.of_singular(torch.cat([X, *rows]), train, every)
    found = factor.A @ ((factor.P @ y) / (factor.spectrum[:, None] + alpha))
    return found.unflatten(0, (len(widths), len(test)))
