"""Stretches of continuous sound: how a metric over time is split, resampled and shuffled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from dynamics.analysis.metric import Units
from dynamics.brains.targets import Target
from dynamics.metrics.blocks import Split, by_stimulus, cut_units, make_split
from dynamics.metrics.continuous import LEAST_GUARD, WINDOWS
from dynamics.metrics.delays import samples

# Stimuli or stretches of every fold that halves are made of, at least.
_FEWEST = 4
# Seconds between samples from which they are volumes of fMRI.
_SLOW = 0.5


class Setting(NamedTuple):
    """What the arguments of a metric over time come to for a target.

    Attributes
    ----------
    windows : list of (float, float)
        Delays in seconds.
    split : Split
        Folds of samples; its units are what resamples draw.
    reach : int
        Samples of the guard and the longest delay together.
    longest : int
        Longest delay, samples.
    enough : bool
        Whether every fold has units enough to be cut in half.
    guard : float
        Seconds between training and test beyond the longest delay.
    """

    windows: list[tuple[float, float]]
    split: Split
    reach: int
    longest: int
    enough: bool
    guard: float


def setting(arguments: Mapping[str, Any], target: Target) -> Setting:
    """Work out windows of delays and the split of a target.

    Parameters
    ----------
    arguments : mapping
        Of the metric: `windows`, `unit`, `hrf`, `block`, `guard`, `seed`.
    target : Target
        With responses over time.

    Returns
    -------
    Setting
        The same whenever it is asked for.

    Raises
    ------
    ValueError
        If windows are not causal or longer than all responses, or folds cannot be made.
    """
    if target.course is None:
        raise ValueError("responses have no time axis: use a target with a time axis")
    rate, lengths = target.rate, target.lengths
    windows = windows_of(arguments, rate)
    longest = max(samples(window, rate, max(lengths))[-1] for window in windows)
    block, guard = arguments.get("block"), arguments.get("guard")
    guard = max(LEAST_GUARD, target.apart) if guard is None else float(guard)
    folds = len(set(target.folds.tolist())) if target.has_folds else target.n_folds
    if folds < 3:
        raise ValueError(
            f"there are {folds} folds, and one is held out inside the training folds: set "
            "`folds: 3` or more"
        )
    if block is None and target.has_folds:
        known = np.unique(target.folds, return_inverse=True)[1]
        split = by_stimulus(lengths, known)
    else:
        try:
            split = make_split(
                lengths,
                rate=rate,
                longest=longest / rate,
                folds=folds,
                block=block or max(30.0, 20 / rate),
                guard=guard,
                seed=int(arguments.get("seed", 0)),
            )
        except ValueError as error:
            raise ValueError(
                f"{error} (the metric's `block` and `guard` in seconds, and `folds`)"
            ) from None
    split, enough = _with_units(split, rate, max(LEAST_GUARD, 2 * target.apart, 8 / rate))
    return Setting(windows, split, round(guard * rate) + longest, longest, enough, guard)


def windows_of(arguments: Mapping[str, Any], rate: float) -> list[tuple[float, float]]:
    """Return windows of delays in seconds.

    By default those of `dynamics.metrics.encode_continuous`; for samples that are half a second
    apart or more (fMRI) one window of 1 to 4 samples; no delay where the canonical response to
    what was heard before is predicted from.
    """
    given = arguments.get("windows")
    if given is None:
        if arguments.get("hrf", "none") != "none":
            return [(0.0, 0.0)]
        return list(WINDOWS) if rate > 1 / _SLOW else [(1 / rate, 4 / rate)]
    unit = arguments.get("unit", "seconds")
    if unit not in ("seconds", "samples"):
        raise ValueError(f"delays have the unit {unit!r}: use 'seconds' or 'samples'")
    try:
        pairs = [(float(start), float(end)) for start, end in given]
    except (TypeError, ValueError):
        raise ValueError(
            f"windows is {given!r}: give a list of [shortest, longest] delays"
        ) from None
    if not pairs:
        raise ValueError("there are no windows: give a list of [shortest, longest] delays")
    return pairs if unit == "seconds" else [(a / rate, b / rate) for a, b in pairs]


def _with_units(split: Split, rate: float, least: float) -> tuple[Split, bool]:
    """Keep the units of a split where there are many, else cut it into shorter stretches.

    No shorter than what is alike (`least` seconds); whether there are enough of them.
    """
    seconds = 30.0
    while not (enough := _fewest(split) >= _FEWEST) and seconds >= least:
        split = cut_units(split, max(round(seconds * rate), 1))
        seconds /= 2
    return split, enough


def _fewest(split: Split) -> int:
    fold = folds_of_units(split)
    return int(np.bincount(fold).min())


def folds_of_units(split: Split) -> np.ndarray:
    """Return the fold of every unit of a split."""
    units, first = np.unique(np.concatenate(split.units), return_index=True)
    return np.concatenate(split.folds)[first][units]


def units_of(arguments: Mapping[str, Any], target: Target) -> Units:
    """Say what a metric over time resamples and shuffles in the place of stimuli."""
    if arguments.get("protocol") == "lebel":  # which draws blocks of its predictions
        return Units(None, target.lengths, 0, "", "blocks")
    found = setting(arguments, target)
    return Units(
        folds_of_units(found.split) if found.enough else None,
        target.lengths,
        found.reach,
        "folds have too few stretches of sound that are apart from each other; for intervals use "
        "more or longer stimuli, or fewer `folds`",
        "shifts" if _are_moved(target.lengths, found.reach) else "",
    )


def _are_moved(lengths: list[int], reach: int) -> bool:
    """Whether responses are long enough, most of them, to be moved around for a null.

    With hardly more room than the reach on either side all shifts would be the same one.
    """
    return 2 * sum(t for t in lengths if t > 3 * reach + 1) >= sum(lengths)
