"""Stimuli that halves keep together: parts of one recording are not independent of each other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

# Units that halves are made of at least, where stretches of recordings can be cut to that.
_UNITS = 20
# Recordings of every fold, or in all where folds cut through recordings, to be units themselves.
_FEWEST, _FEWEST_IN_ALL = 2, 8


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
