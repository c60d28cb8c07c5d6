"""Noise ceilings: the highest score that the reliability of the data allows."""

from __future__ import annotations

from itertools import combinations

import torch

from dynamics.metrics.correlation import averaged, pearson_there, spearman_brown, varying
from dynamics.metrics.dissimilarity import upper_entries
from dynamics.metrics.kernels import Array, as_tensor, like, responses
from dynamics.metrics.missing import check_handling
from dynamics.metrics.pairs import rows_there
from dynamics.metrics.rdm_comparison import COMPARISONS, POOLINGS
from dynamics.metrics.validation import takes

LEAST_RELIABILITY = 0.4
"""Below this a squared score is not divided by the reliability of single neuroids.

The relative error of the quotient is that of the reliability, of 0.2 (60 stimuli, 3 repetitions)
over a half: means of such quotients are several times the truth.
"""


def divisor(reliability: Array) -> Array:
    """Return by what squared scores are divided to be noise-corrected.

    Parameters
    ----------
    reliability : array of shape (v,)
        Of the averaged responses, as from `noise_ceiling`.

    Returns
    -------
    array of shape (v,)
        The reliability, NaN where it is below `LEAST_RELIABILITY`.
    """
    values = as_tensor(reliability)
    return like(torch.where(values >= LEAST_RELIABILITY, values, torch.nan), reliability)


@takes(Y="responses")
def noise_ceiling(Y: Array, *, missing: str = "error") -> dict[str, Array]:
    """Reliability of each neuroid from repetitions.

    The correlation over stimuli between two repetitions, averaged over all pairs, stepped up to
    the average of R repetitions: R r / (1 + (R - 1) r) (Spearman 1910, Brown 1910, both in Br J
    Psychol 3). The ceiling of a correlation between the averaged responses and any model is its
    square root.

    Parameters
    ----------
    Y : array of shape (n, v, repetitions)
        Responses, at least 2 repetitions. A repetition in which a neuroid is constant says nothing
        and is left out for it.
    missing : str
        What to do with responses that are not finite: ``"error"`` names the first neuroid that has
        one; ``"mask"`` correlates two repetitions over the stimuli that both have, at least 3, and
        steps up to the average of what there is: with R_i repetitions of stimulus i the noise of
        the average is that of R = n / sum_i (1 / R_i) repetitions.

    Returns
    -------
    dict of arrays
        ``reliability`` (v,): of the average over repetitions, may be negative. ``ceiling`` (v,):
        its square root, a correlation; NaN where the reliability is not above 0, for no score is a
        part of such a ceiling. ``pair_r`` (v,): mean correlation of two repetitions. All are NaN
        where no two repetitions can be compared.

    Raises
    ------
    ValueError
        If there are no repetitions, fewer than 3 stimuli, or a value that is not finite.
    """
    check_handling(missing)
    target = responses(Y) if missing == "error" else as_tensor(Y)
    if target.ndim != 3 or target.shape[2] < 2:
        raise ValueError(
            f"a noise ceiling needs repetitions but Y has shape {tuple(target.shape)}: give "
            "(stimuli, neuroids, repetitions) with at least 2 repetitions"
        )
    if len(target) < 3:
        raise ValueError(f"{len(target)} stimuli have no noise ceiling: give at least 3")
    there = torch.isfinite(target)
    there &= varying(target)
    single = torch.where(there, target, torch.nan).unbind(2)
    pairs = torch.stack([pearson_there(a, b) for a, b in combinations(single, 2)])
    r = torch.where(pairs.isnan().any(0), pairs.nanmean(0), pairs.mean(0))
    reliability = spearman_brown(r, averaged(there.sum(2)))
    ceiling = torch.where(reliability > 0, reliability, torch.nan).sqrt()
    out = {"reliability": reliability, "ceiling": ceiling, "pair_r": r}
    return {name: like(value, Y) for name, value in out.items()}


@takes(D="matrices")
def rdm_noise_ceiling(D: Array, *, compare: str = "spearman") -> dict[str, Array]:
    """Noise ceiling of an RDM comparison from the RDMs of several subjects.

    Nili et al. 2014 (PLoS Comput Biol 10:e1003553): the upper bound compares each subject with the
    mean over all subjects, the lower bound with the mean over the others. RDMs are brought to a
    common scale before averaging as the comparison demands: unit root mean square for cosine,
    z-scores for Pearson, ranks for Spearman and Kendall.

    Parameters
    ----------
    D : array of shape (subjects, n, n)
        One RDM a subject, at least 2. Pairs of stimuli may be missing (NaN): each RDM is brought
        to scale over its own (ranks as parts of how many these are), a mean is over the subjects
        that have the pair, and an RDM is compared with it on the pairs that both have.
    compare : str
        A name in `COMPARISONS`.

    Returns
    -------
    dict of arrays
        ``lower``, ``upper``: scalars; ``subject_lower``, ``subject_upper`` (subjects,).

    Raises
    ------
    ValueError
        If there is one subject only, the comparison is unknown or a distance is infinite.
    """
    if compare not in COMPARISONS:
        raise ValueError(f"there is no comparison {compare!r}: use one of {', '.join(COMPARISONS)}")
    if D.ndim != 3 or len(D) < 2:
        raise ValueError(
            f"a noise ceiling over subjects needs at least 2 RDMs but got shape {tuple(D.shape)}: "
            "give (subjects, stimuli, stimuli)"
        )
    own = as_tensor(upper_entries(D))
    if own.isnan().any():
        return _with_gaps(own, compare, D)
    pooled = POOLINGS[compare](own)
    function, total = COMPARISONS[compare], pooled.sum(0)
    high = function(total[None] / len(own), own)[0]
    low = torch.stack(
        [function((total - p)[None] / (len(own) - 1), o[None])[0, 0] for p, o in zip(pooled, own)]
    )
    return _bounds(low, high, D)


def _with_gaps(own: torch.Tensor, compare: str, D: Array) -> dict[str, Array]:
    """`rdm_noise_ceiling` of entries (subjects, pairs) some of which are missing."""
    pooled = rows_there(POOLINGS[compare], own)
    there = ~own.isnan()
    if compare in ("spearman", "kendall"):
        # Of RDMs with different numbers of pairs, the middle rank is the same.
        pooled = (pooled - 0.5) / there.sum(1, keepdim=True)
    known = torch.where(there, pooled, 0.0)
    total, count, function = known.sum(0), there.sum(0), COMPARISONS[compare]
    high = function(torch.where(count > 0, total / count, torch.nan)[None], own)[0]
    low = []
    for p, own_there, o in zip(known, there, own):
        others = count - own_there.long()
        mean = torch.where(others > 0, (total - p) / others, torch.nan)
        low.append(function(mean[None], o[None])[0, 0])
    return _bounds(torch.stack(low), high, D)


def _bounds(low: torch.Tensor, high: torch.Tensor, D: Array) -> dict[str, Array]:
    out = {"lower": low.mean(), "upper": high.mean(), "subject_lower": low, "subject_upper": high}
    return {name: like(value, D) for name, value in out.items()}
