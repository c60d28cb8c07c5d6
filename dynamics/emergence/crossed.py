"""Scores of the layer, and of the run, that is best: chosen on some stimuli, told of others.

The highest of many scores on the same stimuli is too high: of ten layers that are alike by one and
a half standard errors. Of two complementary halves one chooses the layer and the other has its
score, and the other way round; the mean over all halves is that of a layer that was not chosen for
its luck. It speaks of the layer that half of the stimuli find, which is lower than the best where
they cannot tell: never higher.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from dynamics.emergence.contrasts import Noise
from dynamics.emergence.resampling import Scheme

_DRAWS = 500


class Crossed(NamedTuple):
    """Scores of the layer that the other half of the stimuli chose.

    Attributes
    ----------
    score : array of shape (n_steps,)
        Mean over all halves.
    again : array of shape (n_resamples, n_steps)
        On every half, at the level of the full sample; its scheme is that of the scores.
    support : array of shape (n_layers,)
        The part of the halves on which each layer is the best.
    """

    score: np.ndarray
    again: np.ndarray
    support: np.ndarray


def crossed(score: np.ndarray, again: np.ndarray) -> Crossed:
    """Take at every step the score of the layer that ends best on the other half of the stimuli.

    Parameters
    ----------
    score : array of shape (n_layers, n_steps)
        Scores on all stimuli.
    again : array of shape (n_resamples, n_layers, n_steps)
        The same on complementary halves, two by two, as `stabilised` returns them.

    Returns
    -------
    Crossed
        Of the layer that has the highest last score, half by half.

    Raises
    ------
    ValueError
        If halves have no complement, or no layer has a last score.
    """
    if len(again) % 2 or not len(again):
        raise ValueError(f"{len(again)} resamples are no pairs of halves: give all of them")
    last = np.where(np.isfinite(score[:, -1]), score[:, -1], -np.inf)
    if not np.isfinite(last).any():
        raise ValueError("no layer has a score at the last step: there is none to choose")
    off = (again[0::2] - again[1::2]) / 2
    halves = np.stack([score + off, score - off], 1).reshape(again.shape)
    ends = np.where(np.isfinite(halves[..., -1]), halves[..., -1], last)
    chosen = ends.argmax(1)
    others = chosen.reshape(-1, 2)[:, ::-1].reshape(-1)
    found = halves[np.arange(len(halves)), others]
    support = np.bincount(chosen, minlength=len(score)) / len(chosen)
    return Crossed(found.mean(0), found, support)


def shown_lower(score: np.ndarray, resampled: xr.DataArray, *, seed: int = 0) -> np.ndarray:
    """Test of every run whether some other one is better, by the largest of all differences.

    Runs that are not shown to be lower are those among which the best one is (Hsu 1996, Multiple
    Comparisons): of runs that are alike none is left out in 95 % of cases.

    Parameters
    ----------
    score : array of shape (n_runs,)
        Scores, compared on the same stimuli.
    resampled : xarray.DataArray
        The same with `resample` first, and the attributes of a `Scheme`.
    seed : int
        Of the draws.

    Returns
    -------
    array of shape (n_runs,)
        p, corrected for all pairs of runs; 1 of a single run.
    """
    number = len(score)
    if number < 2:
        return np.ones(number)
    low, high = np.nonzero(~np.eye(number, dtype=bool))
    cloud = resampled.to_numpy()
    noise = Noise(resampled, _DRAWS, seed)
    _, p = noise.largest(score[high] - score[low], cloud[:, high] - cloud[:, low])
    return np.nanmin(np.where(np.isfinite(p), p, 1.0).reshape(number, number - 1), axis=1)


def is_crossed(scheme: Scheme, resamples: int, layers: int) -> bool:
    """Whether a layer can be chosen on the other half: there are several, and halves."""
    return scheme.paired and resamples > 2 and layers > 1
