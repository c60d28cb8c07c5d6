"""Stimuli that halves keep together: parts of a recording, or whole categories.

Parts of one recording are not independent of each other. And where the claim is about other
categories, or other groups of sounds, these are what is drawn from a population: halves of sounds
would say what other sounds of the same categories do, and their errors would be too small.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

# Units that halves are made of at least, where stretches of recordings can be cut to that.
_UNITS = 20
# Recordings of every fold, or in all where folds cut through recordings, to be units themselves.
_FEWEST, _FEWEST_IN_ALL = 2, 8


BY = ("stimuli", "categories", "groups")


class Together(NamedTuple):
    """Which stimuli halves keep together.

    Attributes
    ----------
    unit : array of shape (n,), int
        Unit of every stimulus, 0 and on.
    called : str
        What units are, in the plural.
    """

    unit: np.ndarray
    called: str

    @property
    def number(self) -> int:
        """How many units there are."""
        return int(self.unit.max()) + 1


def whole(labels: np.ndarray | None, by: str) -> Together:
    """Keep every category or group of stimuli in one half.

    Parameters
    ----------
    labels : array of shape (n,), or None
        Category or group of every stimulus.
    by : str
        ``"categories"`` or ``"groups"``.

    Returns
    -------
    Together
        They are the units.

    Raises
    ------
    ValueError
        If there are none, or fewer than 8, of which halves tell little.
    """
    number = 0 if labels is None else len(np.unique(labels.astype(str)))
    if labels is None or number < _FEWEST_IN_ALL:
        raise ValueError(
            f"`halves: {by}` takes {_FEWEST_IN_ALL} {by} of stimuli and there are {number}: "
            "leave it out, for limits over other stimuli of these"
        )
    unit = np.unique(labels.astype(str), return_inverse=True)[1].ravel()
    return Together(unit, f"{by} of stimuli")


def together(heard: xr.Dataset, folds: np.ndarray) -> Together | None:
    """Find the units of parts of recordings.

    Parameters
    ----------
    heard : xarray.Dataset
        Of a store, its stimuli those of a target; parts have coordinates `recording` and `onset`.
    folds : array of shape (n,)
        Fold of every stimulus.

    Returns
    -------
    Together or None
        Recordings where there are enough of them, else stretches of neighbouring parts, some 20
        in all. None where stimuli are recordings of their own.
    """
    if not {"recording", "onset"} <= set(heard.coords) or (folds < 0).any():
        return None
    return of_parts(heard["recording"].to_numpy().astype(str), heard["onset"].to_numpy(), folds)


def of_parts(recordings: np.ndarray, onset: np.ndarray, folds: np.ndarray) -> Together | None:
    """Find the units of parts by where they are.

    Parameters
    ----------
    recordings : array of shape (n,)
        Name or number of every part's recording.
    onset : array of shape (n,)
        Where in it the part begins.
    folds : array of shape (n,), int
        Fold of every part.

    Returns
    -------
    Together or None
        As `together`.
    """
    recording = np.unique(recordings, return_inverse=True)[1].ravel()
    count = int(recording.max()) + 1
    if count == len(recording):
        return None
    pairs = np.unique(np.stack([recording, folds], 1), axis=0)
    whole = len(pairs) == count  # every recording in one fold
    fewest = np.bincount(pairs[:, 1]).min() >= _FEWEST if whole else count >= _FEWEST_IN_ALL
    if fewest:
        return Together(recording, "recordings")
    unit, first = np.empty(len(recording), int), 0
    for number in range(count):
        members = np.flatnonzero(recording == number)
        members = members[np.argsort(onset[members], kind="stable")]
        pieces = min(-(-_UNITS // count), len(members))
        unit[members] = first + np.arange(len(members)) * pieces // len(members)
        first += pieces
    return Together(unit, "stretches of neighbouring parts of recordings")
