"""The encoding protocol of Pepino et al. 2025 (arXiv:2511.16849), faults included.

Layer and alpha are chosen together, for each outer fold and neuroid, by leave-one-fold-out over
the training folds. The search starts from a grid of eight alphas; while the winner's alpha is the
smallest or largest tried so far for any layer, half or twice of it is tried for the winning layer.
Scores are squared Pearson correlations of pooled out-of-fold predictions, 0 where negative.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from dynamics.metrics.correlation import clipped_square, pearson
from dynamics.metrics.folds import check_folds
from dynamics.metrics.held import Held, sources_of
from dynamics.metrics.inner_cv import Responses
from dynamics.metrics.kernels import Array, gram_matrices, like, responses, same_rows
from dynamics.metrics.ridge import check_alphas
from dynamics.metrics.threads import side_by_side
from dynamics.metrics.validation import takes

ALPHAS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 50.0)
LIMITS = (1e-49, 1e50)
BLOCK = 2048


@takes(K="matrices", Y="responses", features="several")
def pepino_ridge(
    K: Array,
    Y: Array,
    folds: Array,
    alphas: Array | None = None,
    *,
    features: Sequence[Array] | None = None,
) -> dict[str, Array]:
    """Encode Y from every layer, and from layers chosen fold by fold.

    Parameters
    ----------
    K : array of shape (layers, n, n)
        Linear Gram matrices in the activations' own units, since the alphas are absolute.
    Y : array of shape (n, v)
        Responses, repetitions averaged.
    folds : array of shape (n,)
        Outer fold of each stimulus; the study's own have 33 stimuli each.
    alphas : array of shape (a,), optional
        Where the search starts, by default the study's eight.
    features : sequence of arrays of shape (n, p), optional
        The activations that K was made of, one a layer. With them a layer goes by singular values
        where penalties fall below what its Gram matrix holds, see `dynamics.metrics.factorisation`.

    Returns
    -------
    dict of arrays
        ``r``, ``r2`` (v,), ``layer``, ``alpha`` (folds, v), ``prediction`` (n, v): layer and alpha
        chosen together. ``layer_r``, ``layer_r2`` (layers, v), ``layer_alpha``
        (layers, folds, v): the same search with a single layer to choose from. ``fold_r``
        (layers, folds, v). ``alpha_edge``: fraction of joint choices next to a limit of the
        expansion. Constant neuroids score 0.

    Raises
    ------
    ValueError
        If shapes do not fit, a value is not finite, an alpha is not positive, or there are fewer
        than 3 folds.
    """
    gram, target, rows, grid = _checked(K, Y, folds, alphas)
    splits = _splits(gram, rows, grid, features)
    parts = target.to(gram.device).split(BLOCK, 1)
    blocks = list(side_by_side(lambda part: _block(splits, rows, part, grid), parts))
    out = {name: torch.cat([b[name] for b in blocks], -1) for name in blocks[0]}
    out["r2"], out["layer_r2"] = clipped_square(out["r"]), clipped_square(out["layer_r"])
    at_limit = (out["alpha"] / 2 < LIMITS[0]) | (out["alpha"] * 2 > LIMITS[1])
    out["alpha_edge"] = at_limit.double().mean()
    return {name: like(value, K, Y) for name, value in out.items()}


@takes(K="matrices", Y="responses", features="several")
def pepino_layers(
    K: Array,
    Y: Array,
    folds: Array,
    alphas: Array | None = None,
    *,
    features: Sequence[Array] | None = None,
) -> Array:
    """Encode Y from every layer by itself: ``layer_r`` of `pepino_ridge`, and nothing else.

    Parameters
    ----------
    K, Y, folds, alphas, features
        As for `pepino_ridge`.

    Returns
    -------
    array of shape (layers, v)
        Pearson r of pooled out-of-fold predictions, with its sign; 0 of constant neuroids.

    Raises
    ------
    ValueError
        As for `pepino_ridge`.
    """
    gram, target, rows, grid = _checked(K, Y, folds, alphas)
    splits = _splits(gram, rows, grid, features)

    def block(y: torch.Tensor) -> torch.Tensor:
        summary, found = Responses.of(y, rows), []
        for one in splits:
            scores = clipped_square(one.inner_scores(summary, grid))[:, :, None]
            alpha = _choose([one], scores, y, grid, [0])[1]
            found.append(_r(one.predict_outer(y, alpha), y))
        return torch.stack(found)

    parts = target.to(gram.device).split(BLOCK, 1)
    return like(torch.cat(list(side_by_side(block, parts)), -1), K, Y)


def _checked(
    K: Array, Y: Array, folds: Array, alphas: Array | None
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor], torch.Tensor]:
    """Return Gram matrices, responses, the rows of every fold, and where the search starts."""
    gram, target = gram_matrices(K), responses(Y)
    same_rows(gram[0], target, names=("K", "Y"))
    fold = check_folds(folds, len(target))
    if fold.max() < 2:
        raise ValueError("nested cross-validation needs at least 3 folds: give more `folds`")
    grid = check_alphas(np.array(ALPHAS) if alphas is None else alphas, gram)[0]
    labels = torch.as_tensor(fold, device=gram.device)
    rows = [(labels == f).nonzero().ravel() for f in range(int(fold.max()) + 1)]
    return gram, target, rows, grid


def _splits(
    gram: torch.Tensor,
    rows: list[torch.Tensor],
    grid: torch.Tensor,
    features: Sequence[Array] | None,
) -> list[Held]:
    lowest = float(grid.min())
    sources = sources_of(gram, features)
    return list(side_by_side(lambda source: Held(source, rows, lowest=lowest), sources))


def _block(
    splits: list[Held], rows: list[torch.Tensor], y: torch.Tensor, grid: torch.Tensor
) -> dict[str, torch.Tensor]:
    summary = Responses.of(y, rows)
    scores = torch.stack([clipped_square(s.inner_scores(summary, grid)) for s in splits], 2)
    layer, alpha = _choose(splits, scores, y, grid, range(len(splits)))
    prediction = torch.stack([s.predict_outer(y, alpha) for s in splits])
    chosen = torch.empty_like(y)
    for f, test in enumerate(rows):
        picked = layer[f].expand(1, len(test), -1)
        chosen[test] = prediction[:, test].gather(0, picked)[0]
    out = {"r": _r(chosen, y), "layer": layer, "alpha": alpha, "prediction": chosen}

    layer_alpha = [_choose(splits, scores, y, grid, [i])[1] for i in range(len(splits))]
    predictions = [s.predict_outer(y, a) for s, a in zip(splits, layer_alpha)]
    out["layer_alpha"] = torch.stack(layer_alpha)
    out["layer_r"] = torch.stack([_r(p, y) for p in predictions])
    out["fold_r"] = torch.stack(
        [torch.stack([_r(p[test], y[test]) for test in rows]) for p in predictions]
    )
    return out


def _choose(splits, scores, y, grid, allowed) -> tuple[torch.Tensor, torch.Tensor]:
    """Layer and alpha (folds, v) by the expanding search; scores (folds, alphas, layers, v)."""
    allowed = torch.as_tensor(list(allowed), device=y.device)
    # The first of equal candidates wins, and candidates are ordered alpha by alpha.
    best, index = scores[:, :, allowed].flatten(1, 2).max(1)
    layer, alpha = allowed[index % len(allowed)], grid[index // len(allowed)]
    low, high = torch.full_like(alpha, grid.min()), torch.full_like(alpha, grid.max())
    while True:
        at_low, at_high = alpha == low, alpha == high
        within = (alpha / 2 >= LIMITS[0]) & (alpha * 2 <= LIMITS[1])
        active = (at_low | at_high) & within
        if not active.any():
            return layer, alpha
        tried = torch.where(at_low, alpha / 2, alpha * 2)
        low = torch.where(active & at_low, tried, low)
        high = torch.where(active & ~at_low, tried, high)
        for f, number in {(row, int(layer[row, j])) for row, j in active.nonzero().tolist()}:
            which = (active[f] & (layer[f] == number)).nonzero().ravel()
            new = clipped_square(splits[number].score_of(y[:, which], tried[f, which], f))
            won = new > best[f, which]
            best[f, which] = torch.where(won, new, best[f, which])
            alpha[f, which] = torch.where(won, tried[f, which], alpha[f, which])


def _r(prediction: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.nan_to_num(pearson(prediction, y))
