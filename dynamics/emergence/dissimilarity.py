"""Dissimilarities of the stimuli in one layer along training, for figures and report."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xarray as xr


def rdm_of(activation: xr.DataArray, *, distance: str = "correlation") -> np.ndarray:
    """Return the dissimilarity matrix of the stimuli at one step.

    Parameters
    ----------
    activation : xarray.DataArray
        Dimensions stimulus, feature and maybe time, which is averaged away.
    distance : str
        As in `dynamics.metrics.rdm`.

    Returns
    -------
    array of shape (n, n)
        Features are z-scored over the stimuli.
    """
    # Torch takes seconds to import, and statistics on curves do without it.
    from dynamics import metrics

    if "time" in activation.dims:
        activation = activation.mean("time")
    X = activation.transpose("stimulus", "feature").to_numpy().astype(float)
    return np.asarray(metrics.rdm(X, distance=distance))


def rdm_of_some(X: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the dissimilarity matrix of some stimuli, of features z-scored over all of them.

    Parameters
    ----------
    X : array of shape (n, p) or (n, times, p)
        Activations; NaN at times that a stimulus has not.
    rows : array of int, shape (m,)
        Which stimuli.

    Returns
    -------
    array of shape (m, m)
        1 - Pearson r; NaN where a stimulus does not vary over the features.
    """
    from dynamics import metrics

    X = X.astype(float)
    if X.ndim == 3:
        X = np.nanmean(X, axis=1)
    deviation = X.std(0)
    X = (X - X.mean(0)) / np.where(deviation > 0, deviation, 1.0)
    try:
        return np.asarray(metrics.rdm(X[rows], zscore=False))
    except ValueError:  # a stimulus without variance over the features
        return np.full((len(rows), len(rows)), np.nan)


def shade_limits(matrices: Iterable[np.ndarray]) -> tuple[float, float]:
    """Return the 1st and 99th percentile of the dissimilarities of different stimuli.

    Parameters
    ----------
    matrices : iterable of array of shape (..., n, n)
        Dissimilarity matrices.

    Returns
    -------
    low, high : float
        NaN where nothing is known.
    """
    apart = [D[..., *np.triu_indices(D.shape[-1], 1)].ravel() for D in matrices]
    low, high = np.nanquantile(np.concatenate(apart), [0.01, 0.99])
    return float(low), float(high)
