"""Inner scores of every alpha at once, without the predictions.

A pooled correlation needs of each held-out fold only the sums of p, p^2 and p y, where
p = A D b + m with D = diag(d), d_k = 1 / (lambda_k + alpha), b = P y_S and m = mean(y_S). Two of
the sums are linear in d. The sum of squares is the quadratic form b' D C D b, C = A'A, and since

    d_k d_l = (d_k - d_l) / (lambda_l - lambda_k)

it is sum_k d_k b_k (M b)_k + sum_k d_k^2 C_kk b_k^2 with M_kl = 2 C_kl / (lambda_l - lambda_k). The
one product with M serves all alphas, where predicting would need one with A for each: with 20
alphas and folds of 33 of 165 stimuli that leaves less than a third of the arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from dynamics.metrics.factorisation import Factor, Splits

BLOCK = 512
# Neuroids scored again at a time, which bounds memory where every alpha is as good.
FEW = 1024
RISING = 1e-4
# What single precision can get wrong in the difference of two scores, of responses with mean 0 and
# deviation 1; the tests measure it.
TOO_CLOSE = 2e-6
# Relative distance of eigenvalues below which differences of their d lose too many digits.
NEAR = {torch.float32: 3e-4, torch.float64: 6e-6}


class Responses(NamedTuple):
    """Responses with what the scores of all layers need of them; made once a target.

    `Y` (n, v); `blocks` of its columns in the precision of the search, cut into the rows of each
    fold; for outer fold f and inner fold g `offset` (f, g, v) is the mean of y without f and g
    less the mean without f; `sums` (f, 3, v) is what these offsets alone add to the pooled sums
    of p, p^2 and p y; `mean` and `power` (f, v) are the mean and the centred sum of squares of y
    without f.
    """

    Y: torch.Tensor
    blocks: list[tuple[torch.Tensor, ...]]
    offset: torch.Tensor
    sums: torch.Tensor
    mean: torch.Tensor
    power: torch.Tensor

    @classmethod
    def of(
        cls, Y: torch.Tensor, rows: list[torch.Tensor], dtype: torch.dtype = torch.float64
    ) -> Responses:
        """Summarise Y (n, v), double, by folds; `dtype` is the precision of the search."""
        size = torch.tensor([len(r) for r in rows], dtype=Y.dtype, device=Y.device)[:, None]
        total = torch.stack([Y[r].sum(0) for r in rows])
        within = torch.stack([(Y[r] - Y[r].mean(0)).square().sum(0) for r in rows])
        mean = (total.sum(0) - total) / (size.sum() - size)
        apart = 1 - torch.eye(len(rows), dtype=Y.dtype, device=Y.device)[..., None]
        between = size * (total / size - mean[:, None]).square()
        power = (apart * (within + between)).sum(1)
        power = torch.where(power > 1e-24 * Y.square().sum(0), power, 0.0)
        without = total.sum(0) - total[:, None] - total
        offset = (without / (size.sum() - size[:, None] - size) - mean[:, None]) * apart
        parts = size * offset, size * offset.square(), offset * (total - size * mean[:, None])
        sums = torch.stack([part.sum(1) for part in parts], 1)
        # Sorted by fold, so that most rows of a split lie side by side.
        order, sizes = torch.cat(rows), [len(r) for r in rows]
        blocks = [
            block.to(dtype).index_select(0, order).split(sizes) for block in Y.split(BLOCK, 1)
        ]
        return cls(Y, blocks, offset.to(dtype), sums, mean, power)


def best_alphas(
    splits: Splits, responses: Responses, grid: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Choose alpha for every outer fold and neuroid by `inner_scores`.

    Where a search in single precision finds several alphas within 2e-6 of the best, these are
    scored again in double precision, for that neuroid and outer fold.

    Parameters
    ----------
    splits, responses, grid
        As for `inner_scores`.

    Returns
    -------
    tensors of shape (folds, v)
        The best score, in double precision; the index of its alpha, of equal ones the largest;
        and whether it is at an edge of the grid towards which the score was rising by more than
        1e-4.
    """
    downwards = grid.flip(0)
    found = []
    for f, scores in enumerate(inner_scores(splits, responses, downwards)):
        best, place, edge = _highest(scores)
        if scores.dtype != torch.float64 and len(grid) > 1:
            who, again, which = _among_near(splits, responses.Y, downwards, f, scores, best)
            best[who], place[who] = again, which
        found.append((best, place, edge))
    best, place, edge = (torch.stack(each) for each in zip(*found))
    return best, len(grid) - 1 - place, edge


def _among_near(
    splits: Splits,
    Y: torch.Tensor,
    grid: torch.Tensor,
    f: int,
    scores: torch.Tensor,
    best: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Choose in double precision among alphas that single precision cannot tell apart.

    Returns which neuroids have more than one of them, their best score, and its place in `grid`.
    """
    near = scores > (best - TOO_CLOSE)
    who = (near.sum(0) > 1).nonzero().ravel()
    again, which = Y.new_empty(len(who)), torch.zeros_like(who)
    for start in range(0, len(who), FEW):
        part = slice(start, start + FEW)
        place, column = near.index_select(1, who[part]).nonzero(as_tuple=True)
        exact = Y.new_full((len(grid), len(who[part])), -2.0)
        y = Y.index_select(1, who[part])
        exact[place, column] = score_at(splits, y, f, column, grid[place])
        again[part], which[part] = exact.max(0)
    return who, again, which


def score_at(
    splits: Splits, Y: torch.Tensor, f: int, column: torch.Tensor, alpha: torch.Tensor
) -> torch.Tensor:
    """Inner scores (pairs,) of outer fold f of pairs of a column of Y (n, v) and an alpha."""
    total, squares, products = (Y.new_zeros(len(column)) for _ in range(3))
    for (first, second), factor in splits.inner.items():
        if f not in (first, second):
            continue
        test = splits.rows[first if f == second else second]
        A = factor.A[: len(test)] if f == second else factor.A[-len(test) :]
        known = Y.index_select(0, factor.train)
        weights = (factor.P @ known).index_select(1, column)
        p = A @ weights.div_(factor.spectrum[:, None] + alpha)
        p += known.mean(0)[column]
        total += p.sum(0)
        products += (p * Y.index_select(0, test).index_select(1, column)).sum(0)
        squares += p.square_().sum(0)
    inside = Y.index_select(0, splits.outer[f].train)
    mean = inside.mean(0)
    power = (inside - mean).square_().sum(0).index_select(0, column)
    variance = (squares - total.square() / len(inside)) * power
    covariance = products - total * mean[column]
    return torch.where(variance > 0, covariance / variance.sqrt(), 0.0)


def _highest(scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Best score, its place, whether it is a rising edge; the first of equal ones."""
    best, place = scores.max(0)
    if len(scores) == 1:
        return best.double(), place, torch.zeros_like(place, dtype=torch.bool)
    edge = (place == 0) & (best > scores[1] + RISING)
    edge |= (place == len(scores) - 1) & (best > scores[-2] + RISING)
    return best.double(), place, edge


def inner_scores(
    splits: Splits,
    responses: Responses,
    grid: torch.Tensor,
    *,
    outers: Sequence[int] | None = None,
) -> torch.Tensor:
    """Pearson r of the pooled leave-one-fold-out predictions inside each outer fold.

    Parameters
    ----------
    splits : Splits
        Of one layer.
    responses : Responses
        The target, and the precision.
    grid : tensor of shape (a,)
        Penalties.
    outers : sequence of int, optional
        Which outer folds; by default all.

    Returns
    -------
    tensor of shape (outers, a, v)
        0 where the prediction or the response is constant.
    """
    rows, dtype, v = splits.rows, responses.offset.dtype, responses.Y.shape[1]
    outers = range(len(rows)) if outers is None else outers
    # Sums of u = A D b, of p^2 and of u y, with p and y less the training mean of y.
    sums = torch.zeros(len(outers), 3, len(grid), v, dtype=dtype, device=grid.device)
    for (f, g), factor in splits.inner.items():
        if len(factor.spectrum) == 0:
            continue
        # In units of the largest eigenvalue nothing leaves the range of single precision.
        top = factor.spectrum[-1]
        unitless = Factor(factor.A / top, factor.P.to(dtype), factor.spectrum / top, factor.train)
        A = unitless.A.split([len(rows[f]), len(rows[g])])
        sides = [
            _Side(part, test, responses.offset[outer, test], sums[outers.index(outer)])
            for outer, test, part in ((g, f, A[0]), (f, g, A[1]))
            if outer in outers
        ]
        if sides:
            train = [other for other in range(len(rows)) if other not in (f, g)]
            _add(unitless, sides, train, responses.blocks, grid / top)
    for f, (total, squares, products) in zip(outers, sums):
        fixed = responses.sums[f].to(dtype)
        products.sub_(total * responses.mean[f].to(dtype)).add_(fixed[2])
        count = len(responses.Y) - len(rows[f])
        variance = squares.add_(fixed[1]).sub_(total.add_(fixed[0]).square_().div_(count))
        product = variance.mul_(responses.power[f].to(dtype))
        products.copy_(torch.where(product > 0, products / product.sqrt(), 0.0))
    return sums[:, 2]


class _Side(NamedTuple):
    """One held-out fold of a split, and the sums (3, a, v) to which its predictions add."""

    A: torch.Tensor
    fold: int
    offset: torch.Tensor
    sums: torch.Tensor


def _add(
    factor: Factor,
    sides: list[_Side],
    train: list[int],
    blocks: list[tuple[torch.Tensor, ...]],
    grid: torch.Tensor,
) -> None:
    """Add the moments of one split's held-out folds, in place."""
    dtype, (k, a) = blocks[0][0].dtype, (len(factor.spectrum), len(grid))
    D = 1 / (factor.spectrum + grid[:, None])
    # b'M b is 0, so d may be taken less that of the largest eigenvalue: no digits are lost then.
    less = (1 - factor.spectrum) * D * D[:, -1:]
    forms = [_quadratic(side.A, factor.spectrum, dtype) for side in sides]
    # What multiplies b: M of each side, and what sums its predictions.
    first = torch.cat([form[0] for form in forms] + [(D * s.A.sum(0)).to(dtype) for s in sides])
    # What multiplies (M b) * b and b * b of a side, which share a buffer.
    second = [torch.cat([less, D.square() * form[2]], 1).to(dtype) for form in forms]
    across = [side.A.T.to(dtype).contiguous() for side in sides]
    D = D.to(dtype)
    squares = D.square()
    start = 0
    for block in blocks:
        part = slice(start, start := start + block[0].shape[1])
        b = factor.P @ torch.cat([block[g] for g in train])
        mixed = first @ b
        buffer = b.new_empty(2 * k, b.shape[1])
        torch.mul(b, b, out=buffer[k:])
        for i, side in enumerate(sides):
            into = side.sums[:, :, part]
            total = mixed[len(sides) * k + i * a :][:a]
            torch.mul(mixed[i * k : (i + 1) * k], b, out=buffer[:k])
            into[0] += total
            into[1].addmm_(second[i], buffer).addcmul_(total, side.offset[part], value=2)
            close = forms[i][1]
            if close is not None:
                into[1].addmm_(squares, (close @ b).mul_(b))
            into[2].addmm_(D, (across[i] @ block[side.fold]).mul_(b))


def _quadratic(
    A: torch.Tensor, spectrum: torch.Tensor, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
    """M, C of pairs that are too close for M (None where there are none), and the diagonal of C.

    Their d_k d_l is taken as (d_k^2 + d_l^2) / 2, wrong by half the square of their relative
    distance.
    """
    C, apart = A.T @ A, spectrum - spectrum[:, None]
    near = apart.abs() <= NEAR[dtype] * spectrum
    near = (near | near.T).fill_diagonal_(False)
    same = near.clone().fill_diagonal_(True)
    M = torch.where(same, 0.0, 2 * C / torch.where(same, 1.0, apart))
    close = torch.where(near, C, 0.0).to(dtype) if bool(near.any()) else None
    return M.to(dtype), close, C.diagonal()
