"""Noise ceilings: the highest score that the reliability of the data allows."""

from __future__ import annotations

from itertools import combinations

import torch

from dynamics.metrics.gram import Array, as_tensor, like, responses
from dynamics.metrics.rdm import upper_entries
from dynamics.metrics.rsa import COMPARISONS, POOLINGS
from dynamics.metrics.splits import pearson


def noise_ceiling(Y: Array) -> dict[str, Array]:
    """Reliability of each neuroid from repetitions.

    The correlation over stimuli between two repetitions, averaged over all pairs, stepped up to
    the average of R repetitions: R r / (1 + (R - 1) r) (Spearman 1910, Brown 1910, both in Br J
    Psychol 3). The ceiling of a correlation between the averaged responses and any model is its
    square root.

    Parameters
    ----------
    Y : array of shape (n, v, repetitions)
        Responses, finite, at least 2 repetitions.

    Returns
    -------
    dict of arrays
        ``reliability`` (v,): of the average over repetitions, may be negative. ``ceiling`` (v,):
        its square root, a correlation; 0 where the reliability is negative. ``pair_r`` (v,):
        mean correlation of two repetitions. A neuroid that is constant in a repetition has NaN.

    Raises
    ------
    ValueError
        If there are no repetitions, fewer than 3 stimuli, or a value that is not finite.
    """
    target = responses(Y)
    if target.ndim != 3 or target.shape[2] < 2:
        raise ValueError(
            f"a noise ceiling needs repetitions but Y has shape {tuple(target.shape)}: give "
            "(stimuli, neuroids, repetitions) with at least 2 repetitions"
        )
    if len(target) < 3:
        raise ValueError(f"{len(target)} stimuli have no noise ceiling: give at least 3")
    R = target.shape[2]
    pairs = torch.stack(
        [constant_is_nan(target[:, :, a], target[:, :, b]) for a, b in combinations(range(R), 2)]
    )
    r = pairs.mean(0)
    reliability = spearman_brown(r, R)
    ceiling = reliability.clamp(min=0).sqrt()
    out = {"reliability": reliability, "ceiling": ceiling, "pair_r": r}
    return {name: like(value, Y) for name, value in out.items()}


def rdm_noise_ceiling(D: Array, *, compare: str = "spearman") -> dict[str, Array]:
    """Noise ceiling of an RDM comparison from the RDMs of several subjects.

    Nili et al. 2014 (PLoS Comput Biol 10:e1003553): the upper bound compares each subject with the
    mean over all subjects, the lower bound with the mean over the others. RDMs are brought to a
    common scale before averaging as the comparison demands: unit root mean square for cosine,
    z-scores for Pearson, ranks for Spearman and Kendall.

    Parameters
    ----------
    D : array of shape (subjects, n, n)
        One RDM a subject, at least 2.
    compare : str
        A name in `COMPARISONS`.

    Returns
    -------
    dict of arrays
        ``lower``, ``upper``: scalars; ``subject_lower``, ``subject_upper`` (subjects,).

    Raises
    ------
    ValueError
        If there is one subject only, the comparison is unknown or a distance is not finite.
    """
    if compare not in COMPARISONS:
        raise ValueError(f"there is no comparison {compare!r}: use one of {', '.join(COMPARISONS)}")
    if D.ndim != 3 or len(D) < 2:
        raise ValueError(
            f"a noise ceiling over subjects needs at least 2 RDMs but got shape {tuple(D.shape)}: "
            "give (subjects, stimuli, stimuli)"
        )
    own = as_tensor(upper_entries(D))
    pooled = POOLINGS[compare](own)
    function, total = COMPARISONS[compare], pooled.sum(0)
    high = function(total[None] / len(own), own)[0]
    low = torch.stack(
        [function((total - p)[None] / (len(own) - 1), o[None])[0, 0] for p, o in zip(pooled, own)]
    )
    out = {"lower": low.mean(), "upper": high.mean(), "subject_lower": low, "subject_upper": high}
    return {name: like(value, D) for name, value in out.items()}


def spearman_brown(r: torch.Tensor, repetitions: int) -> torch.Tensor:
    """Reliability of the mean of so many repetitions from that of one."""
    return repetitions * r / (1 + (repetitions - 1) * r)


def constant_is_nan(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Column-wise Pearson r, NaN where either column is constant."""
    flat = (x == x[:1]).all(0)
    return torch.where(flat, torch.nan, pearson(x, y))
