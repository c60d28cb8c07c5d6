"""Splits of continuous stimuli: by stimulus, or by blocks of time with a guard between them.

Neighbouring samples of a response share noise, so single samples are never split. A fold is made
of whole stimuli or of whole blocks; samples that are too near to a test block train nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dynamics.metrics.folds import make_folds
from dynamics.metrics.kernels import Array

LEVEL = 0.1
"""Autocorrelation below which samples of a response count as apart."""


class Split(NamedTuple):
    """Which samples test and which train.

    Attributes
    ----------
    folds : list of array of shape (t_s,), int64
        Fold of every sample of every stimulus.
    near : list of array of shape (t_s, folds), bool
        Whether a sample is too near to a sample of a fold to train what is tested there.
    units : list of array of shape (t_s,), int64
        Number of the stimulus, or of the block, that a sample belongs to: what resamples draw.
    """

    folds: list[np.ndarray]
    near: list[np.ndarray]
    units: list[np.ndarray]


def by_stimulus(lengths: Sequence[int], fold: np.ndarray) -> Split:
    """Make every sample one of its stimulus's fold; stimuli are apart.

    Parameters
    ----------
    lengths : sequence of int
        Samples of each stimulus.
    fold : array of shape (stimuli,), int
        Fold of each stimulus.

    Returns
    -------
    Split
        Nothing is near.
    """
    count = int(np.max(fold)) + 1
    return Split(
        [np.full(t, f, np.int64) for t, f in zip(lengths, fold)],
        [np.zeros((t, count), bool) for t in lengths],
        [np.full(t, s, np.int64) for s, t in enumerate(lengths)],
    )


def by_block(
    lengths: Sequence[int], block: int, *, folds: int = 5, reach: int = 0, seed: int = 0
) -> Split:
    """Cut stimuli into blocks of samples and share these out among folds.

    Parameters
    ----------
    lengths : sequence of int
        Samples of each stimulus.
    block : int
        Samples of a block; what is left at the end of a stimulus joins its last block.
    folds : int
        How many folds.
    reach : int
        Samples of other folds that are no further away than this are near.
    seed : int
        Seed of the order in which blocks are shared out, long ones first.

    Returns
    -------
    Split
        Folds of equal length within a block.

    Raises
    ------
    ValueError
        If there are fewer blocks than folds, or a fold would have nothing to train on.
    """
    if block < 1:
        raise ValueError(f"a block has {block} samples: give at least 1")
    cuts = [np.minimum(np.arange(t) // block, max(t // block, 1) - 1) for t in lengths]
    sizes = np.concatenate([np.bincount(cut) for cut in cuts]) if cuts else np.zeros(0, int)
    if len(sizes) < folds:
        raise ValueError(
            f"{len(lengths)} stimuli make {len(sizes)} blocks of {block} samples, too few for "
            f"{folds} folds: use shorter blocks or fewer folds"
        )
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    filled, fold_of = np.zeros(folds, int), np.zeros(len(sizes), np.int64)
    for number in order:
        fold_of[number] = filled.argmin()
        filled[fold_of[number]] += sizes[number]
    first = np.cumsum([0, *(int(cut[-1]) + 1 for cut in cuts[:-1])])
    units = [start + cut for start, cut in zip(first, cuts)]
    each = [fold_of[unit] for unit in units]
    split = Split(each, [_near(labels, folds, reach) for labels in each], units)
    for f in range(folds):
        if not any(((a != f) & ~b[:, f]).any() for a, b in zip(split.folds, split.near)):
            raise ValueError(
                f"no sample is {reach} samples away from fold {f} of {folds}: use longer blocks, "
                "a shorter guard or fewer folds"
            )
    return split


def _near(labels: np.ndarray, folds: int, reach: int) -> np.ndarray:
    """Whether each sample (t,) has one of each other fold within its reach, (t, folds)."""
    out = np.zeros((len(labels), folds), bool)
    for f in range(folds):
        inside = np.concatenate([[0], np.cumsum(labels == f)])
        at = np.arange(len(labels))
        around = inside[np.minimum(at + reach + 1, len(labels))] - inside[np.maximum(at - reach, 0)]
        out[:, f] = (around > 0) & (labels != f)
    return out


def make_split(
    lengths: Sequence[int],
    *,
    rate: float,
    longest: float = 0.0,
    folds: int | Sequence | Array | None = None,
    block: float | None = None,
    guard: float = 2.0,
    seed: int = 0,
    categories: Sequence | None = None,
    groups: Sequence | None = None,
) -> Split:
    """Split by stimulus where there are enough of them, else by block.

    Parameters
    ----------
    lengths : sequence of int
        Samples of each stimulus.
    rate : float
        Samples a second.
    longest : float
        Longest delay, seconds.
    folds : int or sequence of length stimuli, optional
        How many folds (5), or the fold of each stimulus.
    block : float, optional
        Seconds of a block. By default stimuli are whole where there are at least as many (or as
        many groups) as folds, and blocks have 30 s, at least 20 samples, where there are fewer.
    guard : float
        Seconds beyond the longest delay that training keeps away from a test block.
    seed : int
        Seed of folds.
    categories, groups : sequence of length stimuli, optional
        As for `dynamics.metrics.stratified_folds`; for splits by stimulus alone.

    Returns
    -------
    Split
        Folds, and what is near.

    Raises
    ------
    ValueError
        If folds cannot be made.
    """
    wanted = 5 if folds is None else folds
    count = int(wanted) if isinstance(wanted, (int, np.integer)) else 0
    members = len(lengths) if groups is None else len(np.unique(np.asarray(groups)))
    if block is None and members >= count:
        fold = make_folds(
            len(lengths), folds=folds, seed=seed, categories=categories, groups=groups
        )
        return by_stimulus(lengths, fold)
    if not count:
        raise ValueError("folds are given for stimuli, and blocks as well: give one of them")
    if guard < 0 or (block is not None and block <= 0):
        raise ValueError(f"block is {block} and guard {guard} s: give a positive block and a "
                         "guard of 0 or more")  # fmt: skip
    samples = max(round(block * rate), 1) if block is not None else max(round(30 * rate), 20)
    reach = round((longest + guard) * rate)
    return by_block(lengths, samples, folds=count, reach=reach, seed=seed)


def time_apart(Y: Sequence[np.ndarray], rate: float, *, level: float = LEVEL) -> float:
    """Seconds after which samples of responses are no longer alike.

    Parameters
    ----------
    Y : sequence of array of shape (t_s, v)
        Responses, NaN where there is none.
    rate : float
        Samples a second.
    level : float
        What counts as no longer alike.

    Returns
    -------
    float
        First lag at which the autocorrelation, within stimuli, averaged over neuroids, is below
        `level`; the longest lag where it never is.
    """
    most = max(len(y) for y in Y)
    products = np.zeros((most, Y[0].shape[1]))
    for y in Y:
        there = np.isfinite(y)
        count = np.maximum(there.sum(0), 1)
        centred = np.where(there, y - np.where(there, y, 0.0).sum(0) / count, 0.0)
        spectrum = np.abs(np.fft.rfft(centred, 2 * len(y), axis=0)) ** 2
        products[: len(y)] += np.fft.irfft(spectrum, 2 * len(y), axis=0)[: len(y)]
    # Not divided by the pairs at each lag: few pairs at a long lag are no evidence of likeness.
    power = np.where(products[0] > 0, products[0], np.nan)
    known = np.isfinite(power)
    if not known.any():
        return 0.0
    likeness = (products[:, known] / power[known]).mean(1)
    below = np.flatnonzero(likeness < level)
    return float(below[0] if len(below) else most - 1) / rate


def circular_shifts(
    lengths: Sequence[int], shifts: int, *, reach: int, seed: int = 0
) -> list[np.ndarray]:
    """Orders of samples that move each response around in its stimulus, for a null.

    A moved response keeps its autocorrelation but for one place where its end meets its beginning.

    Parameters
    ----------
    lengths : sequence of int
        Samples of each stimulus.
    shifts : int
        How many orders to make.
    reach : int
        A response moves by more samples than this, either way round; one that is too short for it
        moves by about half of its length.
    seed : int
        Seed of the shifts.

    Returns
    -------
    list of array of shape (shifts, t_s), int64
        For each stimulus: sample i takes the response of sample order[i].

    Raises
    ------
    ValueError
        If no response is long enough.
    """
    return [
        (np.arange(t)[None] - by[:, None]) % t
        for t, by in zip(lengths, shift_lengths(lengths, shifts, reach=reach, seed=seed).T)
    ]


def shift_lengths(lengths: Sequence[int], shifts: int, *, reach: int, seed: int = 0) -> np.ndarray:
    """By how many samples `circular_shifts` moves each response.

    Parameters
    ----------
    lengths, shifts, reach, seed
        As for `circular_shifts`.

    Returns
    -------
    array of shape (shifts, stimuli), int64
        Samples.

    Raises
    ------
    ValueError
        If no response is long enough.
    """
    if all(t <= 2 * reach + 1 for t in lengths):
        raise ValueError(
            f"no response has more than {2 * reach + 1} samples, so that none can be moved by more "
            f"than {reach}: use a shorter guard or shorter delays"
        )
    rng = np.random.default_rng(seed)
    out = []
    for t in lengths:
        least = min(reach + 1, t // 2)
        out.append(rng.integers(least, max(t - least, least) + 1, size=shifts))
    return np.stack(out, 1)


def cut_units(split: Split, samples: int) -> Split:
    """Let resamples draw stretches of so many samples, each within one stimulus and fold.

    Parameters
    ----------
    split : Split
        Folds of samples.
    samples : int
        Of a stretch; what is left at the end of a run of one fold joins its last stretch.

    Returns
    -------
    Split
        With other units.
    """
    units, first = [], 0
    for fold in split.folds:
        run = np.cumsum(np.diff(fold, prepend=fold[0]) != 0)
        within = np.arange(len(fold)) - np.flatnonzero(np.diff(run, prepend=-1))[run]
        many = np.maximum(np.bincount(run) // samples, 1)
        piece = np.minimum(within // samples, many[run] - 1)
        units.append(first + np.cumsum([0, *many[:-1]])[run] + piece)
        first += int(many.sum())
    return split._replace(units=units)
