"""The nested search itself: alpha for every neuroid and layer, then the layer, then scores.

Penalties below the default grid, where the choice is at its lower edge or features hide there.

The grid is relative to the summed variance of the features, 1e-5 of it and up. Beside one feature
that is 1e5 times the others the smallest penalty leaves nothing of these, so the grid goes on
below, in its own steps, for every outer fold and neuroid by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from dynamics.metrics.correlation import CONSTANT, clipped_square, ratio, standardise
from dynamics.metrics.factorisation import are_kept, faint_alphas, faint_below
from dynamics.metrics.folds import check_folds
from dynamics.metrics.held import Held, Later, Source
from dynamics.metrics.inner_cv import FEW, RISING, TOO_CLOSE, Responses, best_alphas
from dynamics.metrics.kernels import Array, as_tensor, responses
from dynamics.metrics.threads import side_by_side

FLAT = CONSTANT**2
BLOCK = 512

# Decompositions that are kept for the end rather than made again, in bytes for all layers.
_KEPT = 2**28


def nested_layers(
    sources: Sequence[Source | Later],
    Y: Array,
    folds: Array,
    penalties: torch.Tensor,
    search_dtype: torch.dtype | None = None,
    block: int = BLOCK,
    *,
    open_below: bool = False,
) -> dict[str, torch.Tensor]:
    """Nested search over layers given as sources, side by side; see `nested_ridge`.

    Parameters
    ----------
    sources : sequence of Source or Later
        A Gram matrix with `Factor.of`, or activations with `Factor.of_features`, of each layer.
    Y, folds, search_dtype, block
        As for `nested_ridge`.
    penalties : tensor of shape (layers, a)
        Ascending.
    open_below : bool
        Go on below the smallest penalty where that is worth it, see `lowered`.

    Returns
    -------
    dict of tensors
        As for `nested_ridge`.

    Raises
    ------
    ValueError
        If Y has a value that is not finite, there are fewer than 3 folds, or every stimulus is a
        fold of its own.
    """
    later = [Later.of(each) for each in sources]
    device = later[0].device
    target, constant = standardise(responses(Y).to(device))
    fold = check_folds(folds, len(target))
    n_folds = int(fold.max()) + 1
    if n_folds < 3:
        raise ValueError("nested cross-validation needs at least 3 folds: give more `folds`")
    if n_folds == len(target):
        # A prediction without information could not be told from one that has some.
        raise ValueError("every stimulus is a fold of its own: give fewer folds, of 2 or more")
    rows = [torch.as_tensor(np.flatnonzero(fold == f), device=device) for f in range(n_folds)]
    n_layers, (n, v) = len(sources), target.shape
    # With few neuroids the decompositions are what costs, and single precision saves nothing.
    # Nor where splits would be made again for what it cannot tell apart.
    quick = v > n and are_kept(n, n_folds)
    dtype = search_dtype or (torch.float32 if quick else torch.float64)
    problem = _Problem.of(target, rows, dtype, block, open_below)
    keep = n_layers * 8 * n_folds**2 * max(each.entries for each in later) <= _KEPT

    score = target.new_empty(n_layers, n_folds, v)
    out = {
        "layer_r": target.new_empty(n_layers, v),
        "fold_r": target.new_empty(n_layers, n_folds, v),
        "layer_alpha": target.new_empty(n_layers, n_folds, v),
        "layer": torch.zeros(n_folds, v, dtype=torch.int64, device=device),
        "alpha_edge": target.new_zeros(()),
    }
    chosen = [target.new_empty(len(test), v) for test in rows]
    best = target.new_full((n_folds, v), -torch.inf)
    kept: list[Held | None] = []
    work = list(zip(later, penalties))
    for number, found in enumerate(side_by_side(lambda each: _fit(problem, *each), work)):
        score[number], out["layer_alpha"][number] = found.score, found.alpha
        out["layer_r"][number], out["fold_r"][number] = found.r, found.fold_r
        out["alpha_edge"] += found.rising.double().mean() / n_layers
        better = found.score > best
        best = torch.where(better, found.score, best)
        out["layer"][better] = number
        for old, new, won in zip(chosen, found.predictions, better):
            torch.where(won, new, old, out=old)
        kept.append(found.held if keep else None)
    if dtype != torch.float64 and n_layers > 1:
        _settle(problem, work, kept, score, out["layer_alpha"], out["layer"], chosen)
    out["alpha"] = out["layer_alpha"].gather(0, out["layer"][None])[0]
    out["r"] = torch.cat(
        [truth.r([each[:, part] for each in chosen])[0] for part, truth in problem.parts]
    )
    out["prediction"] = torch.cat(chosen)[torch.cat(rows).argsort()]

    y = as_tensor(Y).to(device).reshape(target.shape)
    spread = torch.where(constant, 0.0, y.std(0, correction=0))
    out["prediction"] = out["prediction"] * spread + y.mean(0)
    for name in ("r", "layer_r", "fold_r"):
        out[name][..., constant] = torch.nan
    out["r2"], out["layer_r2"] = clipped_square(out["r"]), clipped_square(out["layer_r"])
    return out


class _Problem(NamedTuple):
    """What all layers share: responses y (n, v), rows of each fold, summaries, blocks of y."""

    y: torch.Tensor
    rows: list[torch.Tensor]
    summary: Responses
    parts: list[tuple[slice, Truth]]
    open_below: bool

    @classmethod
    def of(
        cls,
        y: torch.Tensor,
        rows: list[torch.Tensor],
        dtype: torch.dtype,
        block: int,
        open_below: bool,
    ) -> _Problem:
        slices = [slice(i, min(i + block, y.shape[1])) for i in range(0, y.shape[1], block)]
        parts = [(part, Truth.of(y[:, part], rows)) for part in slices]
        return cls(y, rows, Responses.of(y, rows, dtype), parts, open_below)


class _Fit(NamedTuple):
    """One layer: `score`, `alpha`, `rising`, `fold_r` (folds, v), `r` (v,), `predictions`."""

    held: Held
    score: torch.Tensor
    alpha: torch.Tensor
    rising: torch.Tensor
    r: torch.Tensor
    fold_r: torch.Tensor
    predictions: list[torch.Tensor]


def _fit(problem: _Problem, source: Later, grid: torch.Tensor) -> _Fit:
    """Choose alpha inside each outer fold, and predict the fold with it."""
    held = Held(source.make(), problem.rows, lowest=float(grid[0]))
    summary = problem.summary
    if held.all_fine and summary.offset.dtype != torch.float64:
        # What single precision cannot span.
        summary = Responses.of(problem.y, problem.rows)
    score, choice, rising = best_alphas(held.splits, summary, grid)
    alpha, v = grid[choice], problem.y.shape[1]
    if problem.open_below:
        lowered(held, problem.y, score, alpha, rising, grid)
    r, fold_r = problem.y.new_empty(v), problem.y.new_empty(len(problem.rows), v)
    predictions = [problem.y.new_empty(len(test), v) for test in problem.rows]
    for part, truth in problem.parts:
        some = [held.predict(f, truth.y, alpha[f, part]) for f in range(len(problem.rows))]
        r[part], fold_r[:, part] = truth.r(some)
        for whole, piece in zip(predictions, some):
            whole[:, part] = piece
    return _Fit(held, score, alpha, rising, r, fold_r, predictions)


def _settle(
    problem: _Problem,
    work: list[tuple[Later, torch.Tensor]],
    kept: list[Held | None],
    score: torch.Tensor,
    alpha: torch.Tensor,
    layer: torch.Tensor,
    chosen: list[torch.Tensor],
) -> None:
    """Choose in double precision among layers that single precision cannot tell apart.

    Changes `layer` (folds, v) and the predictions `chosen` in place.
    """
    near = score > score.amax(0) - TOO_CLOSE
    near &= near.sum(0) > 1
    best = torch.full_like(score[0], -torch.inf)
    for number, (source, grid) in enumerate(work):
        if not near[number].any():
            continue
        held = kept[number] or Held(source.make(), problem.rows, lowest=float(grid[0]))
        for f, which in enumerate(near[number]):
            who = which.nonzero().ravel()
            y, penalty = problem.y[:, who], alpha[number, f, who]
            exact = held.score_at(y, f, torch.arange(len(who), device=y.device), penalty)
            won = exact > best[f, who]
            some = who[won]
            best[f, some], layer[f, some] = exact[won], number
            chosen[f][:, some] = held.predict(f, y[:, won], penalty[won])


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
    scale = (power * power_y).sqrt()
    return ratio(product, scale, moves=power > FLAT, varies=power_y > FLAT)


# A penalty below this part of the smallest eigenvalue shrinks nothing any more.
_NOTHING = 1e-4


def lowered(
    held: Held,
    Y: torch.Tensor,
    score: torch.Tensor,
    alpha: torch.Tensor,
    rising: torch.Tensor,
    grid: torch.Tensor,
) -> None:
    """Go on below the grid where the score was still rising at its lower edge, or features hide.

    Where the smallest penalty shrinks most directions of the training split by more than a
    hundredth, it is lowered as long as the score rises by more than 1e-4 a step. (Else what is left
    to gain is little, and the edge is counted as one.) Where the smallest features, or most
    directions that are more than rounding, are hidden from every penalty of the grid (see
    `faint_alphas`), those below it are tried for everyone; one is taken where its score is better
    by more than 1e-4.

    Parameters
    ----------
    held : Held
        Of one layer.
    Y : tensor of shape (n, v)
        Responses.
    score, alpha, rising : tensors of shape (folds, v)
        Best score, its penalty, and whether that is an edge with the score still rising. Changed in
        place.
    grid : tensor of shape (a,)
        Ascending, evenly spaced in the logarithm.
    """
    if len(grid) < 2:
        return
    if len(below := _hidden(held, grid)):
        found = best_alphas(held.fine, Responses.of(Y, held.rows), below)
        won = found[0] > score + RISING
        score[won], alpha[won] = found[0][won], below[found[1]][won]
        rising[won] = found[2][won] & (alpha[won] == below[0])
        edge = below[0]
    else:
        edge = grid[0]
    for f in range(len(held.rows)):
        start = (rising[f] & (alpha[f] == edge)).nonzero().ravel()
        for who in start.split(FEW) if len(start) else ():
            _walk(held, Y, f, who, (score[f], alpha[f], rising[f]), grid[0] / grid[1])


def _hidden(held: Held, grid: torch.Tensor) -> torch.Tensor:
    """Penalties below the grid for features that it hides; none where no direction is small."""
    X, lowest = held.features, float(grid[0])
    if X is None or held.reaches(lowest):
        return grid[:0]
    below = faint_alphas(as_tensor(X).to(grid.device), grid)
    if len(below) or not held.hides(lowest):
        return below
    # No feature is small, but most directions are, as beside a part that all features share.
    directions = held.directions()
    if not held.hides(lowest, directions.shape[1]):
        return below
    return faint_below(directions.square().mean(0), len(directions), grid)


def _walk(
    held: Held,
    Y: torch.Tensor,
    f: int,
    who: torch.Tensor,
    found: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    step: torch.Tensor,
) -> None:
    """Lower the penalty of some neuroids in one outer fold, as long as that is worth it."""
    score, alpha, rising = found
    tried = alpha[who[0]]
    if not held.shrinks(f, float(tried)):
        return
    while len(who):
        tried = tried * step
        if tried <= _NOTHING * held.smallest(f, float(tried)) or not held.holds(float(tried)):
            return
        column = torch.arange(len(who), device=who.device)
        new = held.score_at(Y[:, who], f, column, tried.expand(len(who)))
        better, more = new > score[who], new > score[who] + RISING
        rising[who] = more
        score[who[better]], alpha[who[better]] = new[better], tried
        who = who[more]
