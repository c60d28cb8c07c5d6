"""Scores on resamples of stretches of sound: sums of products over delays, choices kept or not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce

import torch

from dynamics.metrics.plans import Plan
from dynamics.metrics.sufficient_statistics import (
    Layout,
    Moments,
    Nested,
    added,
    correlation,
    nested_moments,
    picked,
    sums_at,
)

REFITS = ("anew", "kept")
"""Whether windows and penalties are chosen anew on every resample, or kept as chosen on all."""


def scores_again(
    resampled: Iterator[Moments],
    indices: Sequence[torch.Tensor],
    fitted: Sequence[Nested],
    grids: Sequence[torch.Tensor],
    layout: Layout,
    refits: str,
) -> torch.Tensor:
    """Score one layer, with the best of its windows, on each resample.

    Parameters
    ----------
    resampled : iterator of Moments
        Of all delays, on each resample.
    indices, fitted, grids : sequences
        Of each window its columns, what was found on all samples, and its penalties.
    layout : Layout
        Which parts test and train.
    refits : str
        One of `REFITS`. Choices that are kept were made for each fold without its own samples.

    Returns
    -------
    tensor of shape (resamples, v)
        Pearson r over all samples of a resample.
    """
    chosen = torch.stack([each.inner for each in fitted]).argmax(0)
    scores = []
    for m in resampled:
        if refits == "kept":
            sums = torch.zeros_like(fitted[0].sums)
            for number in chosen.unique().tolist():
                who = chosen == number
                new = sums_at(m.columns(indices[number]), fitted[number].alpha, layout, who)
                sums = torch.where(who, new, sums)
        else:
            found = [nested_moments(m.columns(i), g, layout) for i, g in zip(indices, grids)]
            choice = torch.stack([each.inner for each in found]).argmax(0)
            sums = picked(torch.stack([each.sums for each in found]), choice)
        scores.append(correlation(m, sums.sum(1), range(len(layout.fold))))
    return torch.stack(scores)


def moments_again(
    plan: Plan,
    X: list[torch.Tensor],
    y: torch.Tensor,
    delays: Sequence[int],
    lead: int,
    again: Sequence[torch.Tensor],
    whole: Moments,
    there: torch.Tensor,
    refits: str,
) -> Iterator[Moments]:
    """Sum over the samples of each resample.

    Parameters
    ----------
    plan : Plan
        Parts of the samples.
    X : list of tensor of shape (lead + t_s, p)
        Activations to each stimulus.
    y : tensor of shape (n, v)
        Responses.
    delays : sequence of int
        Samples, ascending.
    lead : int
        Samples by which activations begin before responses.
    again : sequence of tensor of shape (n,), bool
        Samples of each resample; every other one may be what the one before leaves.
    whole : Moments
        Of all samples.
    there : tensor of shape (n,), bool
        Which these are.
    refits : str
        One of `REFITS`; where choices are kept sums are made by `of_lags`.
    """
    every = there & (plan.part >= 0)
    near = list(delays) == list(range(delays[0], delays[-1] + 1))
    m = whole
    for number, some in enumerate(again):
        if number % 2 and bool(((again[number - 1] ^ some) == every).all()):
            # Sums of the one half are those of all stimuli less those of the other.
            m = Moments(*(a - b for a, b in zip(whole, m)))
        elif refits == "kept" and near and len(delays) > 1:
            m = of_lags(plan, X, y, delays, lead, some)
        else:
            m = Moments.of(plan.pieces(X, y, delays, lead, some))
        yield m


def of_lags(
    plan: Plan,
    X: list[torch.Tensor],
    y: torch.Tensor,
    delays: Sequence[int],
    lead: int,
    some: torch.Tensor,
) -> Moments:
    """`Moments.of` for delays that follow each other, from the products with the first delay.

    Over a run of samples the products at delays d + 1 and e + 1 are those at d and e, with the
    sample before the run and without its last one. So work grows with the delays and not with
    their square.

    Parameters
    ----------
    plan, X, y, delays, lead, some
        As for `moments_again`, `some` of one resample.

    Returns
    -------
    Moments
        Equal but for rounding.
    """
    p, found = X[0].shape[1], []
    for number, pieces in enumerate(plan.pieces(X, y, delays, lead, some)):
        n, x, own, squares, first, xy = reduce(
            added,
            (
                [b.new_tensor(len(a)), a.sum(0), b.sum(0), b.square().sum(0),
                 a[:, :p].T @ a, a.T @ b]
                for a, b in pieces
            ),
        )  # fmt: skip
        before, last = _ends(plan, X, delays, lead, some & (plan.part == number))
        change = before.T @ before - last.T @ last
        xx = _along_diagonals(first, change, len(delays))
        found.append([n, x, own, squares, xx, xy])
    return Moments(*(torch.stack(each) for each in zip(*found)))


def _along_diagonals(first: torch.Tensor, change: torch.Tensor, delays: int) -> torch.Tensor:
    """Products (k, k) from those with the first delay (p, k) and from one delay to the next."""
    p, k = first.shape
    out = first.new_empty(delays, p, delays, p)
    out[0] = first.unflatten(1, (delays, p))
    change = change.view(delays, p, delays, p)
    for d in range(1, delays):
        out[d, :, 0] = out[0, :, d].T
        torch.add(out[d - 1, :, :-1], change[d - 1, :, :-1], out=out[d, :, 1:])
    return out.view(k, k)


def _ends(
    plan: Plan, X: list[torch.Tensor], delays: Sequence[int], lead: int, some: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Delayed features (runs, k) one sample before each run of samples, and at its last."""
    before, last = [], []
    for x, own in zip(X, some.split(plan.lengths)):
        padded = torch.cat([own.new_zeros(1), own, own.new_zeros(1)]).int().diff()
        before.append(_rows(x, (padded == 1).nonzero().ravel() - 1, delays, lead))
        last.append(_rows(x, (padded == -1).nonzero().ravel() - 1, delays, lead))
    return torch.cat(before), torch.cat(last)


def _rows(x: torch.Tensor, times: torch.Tensor, delays: Sequence[int], lead: int) -> torch.Tensor:
    """Delayed features (times, k) of one stimulus at some times; zero before activations begin."""
    at = lead + times[:, None] - torch.as_tensor(list(delays), device=x.device)
    return torch.where((at >= 0)[..., None], x[at.clamp(min=0)], 0.0).flatten(1)
