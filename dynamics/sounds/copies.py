"""Sounds that are there twice: a recording under two names, or a near copy of another."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
import zarr
from scipy.fft import irfft, next_fast_len, rfft
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from dynamics.sounds import StimulusSet

logger = logging.getLogger(__name__)

THRESHOLD = 0.99
"""Correlation of two waveforms, at the best alignment, from which one is a copy of the other."""

RATE = 16000
"""Hz, at which a stimulus set is looked through."""

# Of longer sounds the beginning tells.
_LONGEST = 2**21
_BANDS = 512
_BLOCK = 2048
_KEY = "near_copies"


def near_copies(waveforms: Sequence[np.ndarray], *, threshold: float = THRESHOLD) -> np.ndarray:
    """Tell which sounds are copies of each other, shifted, louder or upside down as they may be.

    Two waveforms are compared by the largest absolute value of their normalised cross-correlation,
    which no pair can exceed that has less than that of the inner product of its amplitude spectra,
    and so (Cauchy and Schwarz, band by band) of the roots of its powers in bands: only the pairs
    that pass this bound are correlated at all lags.

    Parameters
    ----------
    waveforms : sequence of arrays of shape (n_samples,)
        At one sampling rate; lengths may differ.
    threshold : float
        Least correlation of a copy.

    Returns
    -------
    array of shape (n_sounds,)
        One number a group of copies, counted from 0 in the order of their first members; a sound
        without copies is a group of its own. Silence is a copy of nothing.
    """
    n = len(waveforms)
    waves = [np.asarray(wave)[:_LONGEST].astype(np.float32) for wave in waveforms]
    size = next_fast_len(2 * max((wave.size for wave in waves), default=1), real=True)
    roots = np.zeros((n, _BANDS), np.float32)
    for row, wave in enumerate(waves):
        power = np.abs(rfft(wave.astype(float), size)) ** 2
        power[1 : -1 if size % 2 == 0 else None] *= 2  # both signs of each frequency
        bands = np.add.reduceat(power, np.arange(_BANDS) * power.size // _BANDS)
        roots[row] = np.sqrt(bands / max(bands.sum(), np.finfo(float).tiny))
    pairs = []
    for start in range(0, n, _BLOCK):
        bound = roots[start : start + _BLOCK] @ roots.T
        # Rounding of single precision must not lose a pair.
        first, second = np.nonzero(bound > threshold - 1e-4)
        pairs += [(a + start, b) for a, b in zip(first.tolist(), second.tolist()) if a + start < b]
    alike = [(a, b) for a, b in pairs if _correlation(waves[a], waves[b]) >= threshold]
    return _connected(n, alike)


def note_copies(root: zarr.Group, stimuli: StimulusSet) -> None:
    """Write into a store which of its stimuli are copies of each other, if nobody has looked yet.

    Parameters
    ----------
    root : zarr.Group
        The store, writable.
    stimuli : StimulusSet
        Its stimuli.
    """
    if _KEY not in root.attrs:
        root.attrs[_KEY] = names_of_copies(stimuli)


def noted_copies(root: zarr.Group) -> list[list[str]]:
    """Return the copies among the stimuli of a store, as its crawl has noted them.

    Parameters
    ----------
    root : zarr.Group
        The store.

    Returns
    -------
    list of list of str
        Names of the stimuli that are copies of each other, two or more at a time.
    """
    noted: Any = root.attrs.get(_KEY, [])
    return [list(map(str, group)) for group in noted]


def names_of_copies(stimuli: StimulusSet) -> list[list[str]]:
    """Look for copies in a stimulus set.

    Parameters
    ----------
    stimuli : StimulusSet
        The set; it is decoded.

    Returns
    -------
    list of list of str
        As from `noted_copies`; of parts of recordings, all parts of recordings that are copies.
    """
    heard = stimuli.heard
    if len(heard) < 2:
        return []
    if any(map(heard.is_streamed, range(len(heard)))):
        waves = [_beginning(heard, row) for row in range(len(heard))]
    else:
        waves = heard.waveforms(RATE)
    groups, names = near_copies(waves), np.array(stimuli.names)
    copied = np.flatnonzero(np.bincount(groups) > 1)
    if stimuli.within is not None:
        groups = groups[stimuli.within.recording]
    return [names[groups == k].tolist() for k in copied]


def _beginning(stimuli: StimulusSet, row: int) -> np.ndarray:
    """Return the samples of a sound that are looked at, without the others in memory."""
    parts: list[np.ndarray] = []
    for block in stimuli.stream(row, RATE):
        parts.append(block)
        if sum(map(len, parts)) >= _LONGEST:
            break
    return np.concatenate(parts)[:_LONGEST]


def kept_together(data: xr.Dataset, copies: Sequence[Sequence[str]]) -> xr.Dataset:
    """Give copies of a sound one group, so that none trains what is tested on another.

    Parameters
    ----------
    data : xarray.Dataset
        A brain target, with or without `group` and `fold` of its stimuli.
    copies : sequence of sequence of str
        Names of stimuli, as from `noted_copies`.

    Returns
    -------
    xarray.Dataset
        The same where there are no copies in it, or where it brings folds of its own: these are
        left, and a warning says which copies they tear apart.
    """
    names = data["stimulus"].to_numpy().astype(str)
    inside = [[str(name) for name in group if name in set(names)] for group in copies]
    inside = [group for group in inside if len(group) > 1]
    if not inside:
        return data
    title, first = data.attrs.get("name", "target"), " and ".join(inside[0][:2])
    told = f"brain target '{title}': {first} are the same recording, or nearly"
    told += f" ({len(inside)} such groups)" if len(inside) > 1 else ""
    place = {name: row for row, name in enumerate(names)}
    rows = [[place[name] for name in group] for group in inside]
    if "fold" in data.coords:
        folds = data["fold"].to_numpy()
        if any(len({str(folds[row]) for row in group}) > 1 for group in rows):
            logger.warning("%s, and are in several of its folds: scores are too high", told)
        return data
    logger.warning("%s: they are kept in one fold", told)
    pairs = [(group[0], row) for group in rows for row in group[1:]]
    if "group" in data.coords:
        own = data["group"].to_numpy().astype(str)
        first_of = {name: row for row, name in reversed(list(enumerate(own)))}
        pairs += [(first_of[name], row) for row, name in enumerate(own)]
    return data.assign_coords(group=("stimulus", _connected(len(names), pairs)))


def _connected(n: int, pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """Give numbers to what pairs connect among n things, in the order of first members."""
    a, b = np.array(pairs, int).reshape(-1, 2).T
    graph = coo_matrix((np.ones(len(a)), (a, b)), shape=(n, n))
    labels = connected_components(graph, directed=False)[1]
    _, first_of, group = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first_of))[group]


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Largest absolute cross-correlation over all lags, over the norms."""
    x, y = x.astype(float), y.astype(float)
    size = next_fast_len(x.size + y.size, real=True)
    products = irfft(rfft(x, size) * np.conj(rfft(y, size)), size)
    return float(np.abs(products).max() / (np.linalg.norm(x) * np.linalg.norm(y)))
