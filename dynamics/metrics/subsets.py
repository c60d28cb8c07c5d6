"""Subsets and resamples of the stimuli, stratified by fold: row numbers, drawn once for a run.

One array of rows serves all steps, layers, neuroids and runs; that is what makes differences
between them paired.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dynamics.metrics.folds import check_folds
from dynamics.metrics.kernels import Array


def subsamples(
    folds: Array, resamples: int = 100, *, fraction: float = 1 / 3, seed: int = 0
) -> np.ndarray:
    """Subsets of the stimuli with a fraction deleted, the same fraction of every fold.

    Parameters
    ----------
    folds : array of shape (n,)
        Fold of each stimulus.
    resamples : int
        Number of subsets.
    fraction : float
        Which part to delete, above 0 and below 1. Shao & Wu (1989, Ann Stat 17:1176,
        10.1214/aos/1176347263) show consistency for statistics that are not smooth when the
        part deleted does not vanish. With 165 stimuli the errors of refitted scores come out
        about 1.4 times too large, those of `half_rows` 1.05 times.
    seed : int
        Seed of the draws.

    Returns
    -------
    array of shape (resamples, kept), int64
        Ascending row numbers. One array serves all steps, layers, neuroids and runs, which is
        what makes their differences paired.

    Raises
    ------
    ValueError
        If the fraction is not between 0 and 1, or a fold would keep fewer than 2 stimuli.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must be between 0 and 1, found {fraction}")
    members = _members(folds)
    kept = [len(rows) - round(fraction * len(rows)) for rows in members]
    if min(kept) < 2:
        raise ValueError(
            f"deleting {fraction:.3g} of the stimuli leaves a fold with {min(kept)}: delete less "
            "or use fewer `folds`"
        )
    rng = np.random.default_rng(seed)
    return np.stack(
        [
            np.sort(
                np.concatenate(
                    [
                        rng.choice(rows, size, replace=False)
                        for rows, size in zip(members, kept, strict=True)
                    ]
                )
            )
            for _ in range(resamples)
        ]
    )


def half_rows(
    folds: Array, resamples: int = 100, *, seed: int = 0, units: Array | None = None
) -> np.ndarray:
    """Random halves of the stimuli in complementary pairs, every fold cut in half.

    The two halves of a pair share no stimulus, so their scores are independent given the network
    and the brain, and half of the squared difference is the variance of a score of half as many
    stimuli, without bias and however rough the score is as a function of the stimuli. Overlapping
    subsets have no such property: what refitting adds at random counts fully in each of them.

    Parameters
    ----------
    folds : array of shape (n,)
        Fold of each stimulus.
    resamples : int
        Number of halves, even.
    seed : int
        Seed of the draws.
    units : array of shape (n,), int, optional
        Stimuli of one unit, parts of one recording say, share a half: by fold where every unit is
        within one, else half of all units.

    Returns
    -------
    array of shape (resamples, kept), int64
        Ascending row numbers; row 2 k + 1 complements row 2 k; -1 fills up the end.

    Raises
    ------
    ValueError
        If `resamples` is odd, a fold has fewer than 4 stimuli, or units make no halves of which
        each has 2 stimuli of every fold.
    """
    members, rng = _members(folds), np.random.default_rng(seed)
    if resamples < 2 or resamples % 2:
        raise ValueError(f"halves come in pairs: give an even number of resamples, not {resamples}")
    if min(map(len, members)) < 4:
        raise ValueError(
            f"a fold has {min(map(len, members))} stimuli: half of it is no fold, use fewer `folds`"
        )
    if units is not None:
        return _halves_of_units(members, np.asarray(units), resamples, rng)
    halves = []
    for _ in range(resamples // 2):
        # Folds of odd size give the larger half to either side in turn.
        odd = np.cumsum([len(rows) % 2 for rows in members])
        first = [
            rng.choice(rows, (len(rows) + turn % 2) // 2, replace=False)
            for rows, turn in zip(members, odd, strict=True)
        ]
        one = np.sort(np.concatenate(first))
        halves += [one, np.setdiff1d(np.concatenate(members), one)]
    return _padded(halves)


def _halves_of_units(
    members: list[np.ndarray], units: np.ndarray, resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """As `half_rows`; halves with fewer than 2 stimuli of a fold are drawn again."""
    strata = [np.unique(units[rows]) for rows in members]
    if sum(map(len, strata)) > len(np.unique(units)):
        strata = [np.unique(units)]
    halves: list[np.ndarray] = []
    for _ in range(50 * resamples):
        odd = np.cumsum([len(each) % 2 for each in strata])
        drawn = [rng.choice(each, (len(each) + turn % 2) // 2, replace=False)
                 for each, turn in zip(strata, odd, strict=True)]  # fmt: skip
        inside = np.isin(units, np.concatenate(drawn))
        if all(2 <= inside[rows].sum() <= len(rows) - 2 for rows in members):
            halves += [np.flatnonzero(inside), np.flatnonzero(~inside)]
        if len(halves) == resamples:
            return _padded(halves)
    raise ValueError(
        f"{len(np.unique(units))} recordings, or stretches of them, make no halves that both have "
        "2 stimuli of every fold: use fewer `folds`, or `resamples: 0`"
    )


def bootstrap_rows(folds: Array, resamples: int = 100, *, seed: int = 0) -> np.ndarray:
    """Stimuli drawn with replacement inside each fold, so that copies never straddle a split.

    Parameters
    ----------
    folds : array of shape (n,)
        Fold of each stimulus.
    resamples : int
        Number of draws.
    seed : int
        Seed of the draws.

    Returns
    -------
    array of shape (resamples, n), int64
        Ascending row numbers with repetitions.
    """
    members, rng = _members(folds), np.random.default_rng(seed)
    draws = [
        np.concatenate([rng.choice(rows, len(rows)) for rows in members]) for _ in range(resamples)
    ]
    return np.sort(np.stack(draws), axis=1)


def jackknife_rows(folds: Array, resamples: int = 33, *, seed: int = 0) -> np.ndarray:
    """Stimuli without one group of a random partition, each group spread over the folds.

    Parameters
    ----------
    folds : array of shape (n,)
        Fold of each stimulus.
    resamples : int
        Number of groups.
    seed : int
        Seed of the partition.

    Returns
    -------
    array of shape (resamples, kept), int64
        Ascending row numbers; -1 fills up the end where groups differ in size.

    Raises
    ------
    ValueError
        If there are more groups than stimuli.
    """
    members, rng = _members(folds), np.random.default_rng(seed)
    n = sum(map(len, members))
    if not 2 <= resamples <= n:
        raise ValueError(f"{n} stimuli make no {resamples} groups: use between 2 and {n}")
    order = np.concatenate([rng.permutation(rows) for rows in members])
    group = np.empty(n, dtype=int)
    group[order] = np.arange(n) % resamples
    return _padded([np.flatnonzero(group != g) for g in range(resamples)])


RESAMPLERS: dict[str, Callable[..., np.ndarray]] = {
    "halves": half_rows,
    "subsample": subsamples,
    "bootstrap": bootstrap_rows,
    "jackknife": jackknife_rows,
}


def counts(rows: np.ndarray, n: int) -> np.ndarray:
    """How often each stimulus occurs in each resample, the form that RSA takes.

    Parameters
    ----------
    rows : array of shape (resamples, kept)
        Row numbers; negative ones are not counted.
    n : int
        Number of stimuli.

    Returns
    -------
    array of shape (resamples, n), int64
        Counts.
    """
    return np.stack([np.bincount(each[each >= 0], minlength=n) for each in np.asarray(rows)])


def _members(folds: Array) -> list[np.ndarray]:
    fold = check_folds(folds, len(folds))
    return [np.flatnonzero(fold == f) for f in range(int(fold.max()) + 1)]


def _padded(rows: list[np.ndarray]) -> np.ndarray:
    """Stack row numbers of resamples that differ in size, -1 at the ends of the shorter ones."""
    width = max(map(len, rows))
    return np.stack([np.pad(each, (0, width - len(each)), constant_values=-1) for each in rows])
