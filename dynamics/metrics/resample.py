"""RSA on resampled stimuli without sorting again: bootstrap and subsampling, exact.

In a resample in which stimulus i occurs c_i times, the pair (i, j) of different stimuli occurs
c_i c_j times (pairs of copies of one stimulus have distance 0 by construction and are left out).
The ranks of all pairs follow from running sums of these counts along the order of the distances,
which is found once.
"""

from __future__ import annotations

import numpy as np
import torch

from dynamics.metrics.dissimilarity import starts, upper_entries
from dynamics.metrics.kernels import Array, as_tensor, like
from dynamics.metrics.pairs import shared_patterns
from dynamics.metrics.validation import takes


@takes(D="matrices", E="matrices", counts="complete")
def resampled_rsa(D: Array, E: Array, counts: Array, *, compare: str = "spearman") -> Array:
    """Compare RDMs on every resample of the stimuli.

    Parameters
    ----------
    D, E : arrays of shape (d, n, n) and (e, n, n)
        RDMs of the same stimuli. Two are compared on the pairs that both have (not NaN).
    counts : array of shape (resamples, n)
        How often each stimulus occurs: `bootstrap_counts`, or 0 and 1 for a subsample.
    compare : str
        ``"spearman"``, ``"pearson"`` or ``"cosine"``.

    Returns
    -------
    array of shape (resamples, d, e)
        Exactly what the comparison gives on the resampled RDMs; NaN where fewer than 3 pairs of
        different stimuli are left.

    Raises
    ------
    ValueError
        If the comparison is unknown, the number of stimuli differs or a distance is infinite.
    """
    if compare not in ("spearman", "pearson", "cosine"):
        raise ValueError(
            f"there is no resampled comparison {compare!r}: use one of spearman, pearson, cosine"
        )
    n = np.shape(counts)[-1]
    if D.shape[-1] != n or E.shape[-1] != n:
        raise ValueError(
            f"counts are of {n} stimuli, the RDMs of {D.shape[-1]} and {E.shape[-1]}: give all the "
            "same stimuli"
        )
    first, second = as_tensor(upper_entries(D)), as_tensor(upper_entries(E))
    second, times = second.to(first.device), as_tensor(counts).to(first.device)
    if not (first.isnan().any() or second.isnan().any()):
        return like(_resampled(first, second, times, compare), D, E)
    out = first.new_full((len(times), len(first), len(second)), torch.nan)
    for rows, columns, both in shared_patterns(first, second):
        x, y = (torch.where(both, each, 0.0) for each in (first[rows], second[columns]))
        out[:, rows[:, None], columns] = _resampled(x, y, times, compare, both)
    return like(out, D, E)


def _resampled(
    first: torch.Tensor,
    second: torch.Tensor,
    counts: torch.Tensor,
    compare: str,
    there: torch.Tensor | None = None,
) -> torch.Tensor:
    """`resampled_rsa` of entries (d, pairs) and (e, pairs); those not `there` weigh nothing."""
    n, cut = counts.shape[1], len(first)
    entries = torch.cat([first, second])
    i, j = torch.triu_indices(n, n, 1, device=entries.device)
    if compare == "spearman":
        orders = _Orders(entries)
    out = torch.empty(len(counts), cut, len(entries) - cut, dtype=torch.float64)
    for b, count in enumerate(counts):
        weight = count[i] * count[j]
        if there is not None:
            weight = weight * there
        total = weight.sum()
        if total < 3:
            out[b] = torch.nan
            continue
        if compare == "spearman":
            values = orders.ranks(weight).sub_((total + 1) / 2)
        elif compare == "pearson":
            values = entries - (entries @ weight / total)[:, None]
        else:
            values = entries
        weighted = values[cut:] * weight
        lengths = torch.outer(
            (values[:cut].square() @ weight).sqrt(), (weighted * values[cut:]).sum(1).sqrt()
        )
        out[b] = torch.where(lengths > 0, values[:cut] @ weighted.T / lengths, torch.nan).cpu()
    return out.to(entries.device)


def bootstrap_counts(n: int, resamples: int, *, seed: int = 0) -> np.ndarray:
    """How often each of n stimuli is drawn when n are drawn with replacement.

    Parameters
    ----------
    n, resamples : int
        Stimuli, and how many times to draw them.
    seed : int
        Seed of the draws.

    Returns
    -------
    array of shape (resamples, n), int64
        Rows sum to n.
    """
    rng = np.random.default_rng(seed)
    return rng.multinomial(n, np.full(n, 1 / n), size=resamples)


class _Orders:
    """The orders of several RDMs' distances (rows, pairs), found once."""

    def __init__(self, entries: torch.Tensor):
        values, self.index = entries.sort(-1)
        self.place = self.index.argsort(-1)
        new = starts(values)
        self.distinct = bool(new.all())
        # Where the run of equal values around each sorted entry starts and ends.
        here = torch.arange(values.shape[1], device=values.device).expand_as(values)
        self.start = torch.where(new, here, 0).cummax(-1).values
        ends = torch.ones_like(new)
        ends[:, :-1] = new[:, 1:]
        last = values.shape[1] - 1
        self.end = torch.where(ends, here, last).flip(-1).cummin(-1).values.flip(-1)

    def ranks(self, weight: torch.Tensor) -> torch.Tensor:
        """Mean rank of every entry when entry i occurs weight[i] times."""
        # Ranks are whole or half numbers: single precision holds them exactly below 2^22.
        exact = torch.float32 if weight.sum() < 2**22 else torch.float64
        sorted_weight = weight.to(exact).take(self.index)
        up_to = sorted_weight.cumsum(-1)
        if self.distinct:
            middle = up_to.sub_(sorted_weight.sub_(1).mul_(0.5))
        else:
            before = (up_to - sorted_weight).gather(-1, self.start)
            middle = (before + up_to.gather(-1, self.end) + 1) / 2
        return middle.gather(-1, self.place).to(weight.dtype)
