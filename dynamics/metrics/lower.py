"""Penalties below the default grid, where the choice is at its lower edge or features hide there.

The grid is relative to the summed variance of the features, 1e-5 of it and up. Beside one feature
that is 1e5 times the others the smallest penalty leaves nothing of these, so the grid goes on
below, in its own steps, for every outer fold and neuroid by itself.
"""

from __future__ import annotations

import torch

from dynamics.metrics.gram import as_tensor
from dynamics.metrics.held import Held
from dynamics.metrics.search import FEW, RISING, Responses, best_alphas
from dynamics.metrics.singular import faint_alphas, faint_below

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
