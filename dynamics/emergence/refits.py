"""Scores of whole runs on resampled stimuli, with the model refitted on each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from dynamics.emergence.resampling import scheme


def resample_scores(
    steps: Mapping[int, Mapping[str, np.ndarray]],
    Y: np.ndarray,
    folds: np.ndarray,
    *,
    method: str = "halves",
    resamples: int = 100,
    seed: int = 0,
    alphas: np.ndarray | None = None,
) -> xr.DataArray:
    """Encode Y from every step and layer on the same resamples of the stimuli.

    Parameters
    ----------
    steps : mapping of int to mapping of str to array of shape (n, p)
        Activations by training step and layer; every step has the same layers.
    Y : array of shape (n, v)
        Responses, finite.
    folds : array of shape (n,)
        Fold of each stimulus.
    method : str
        A name in `dynamics.metrics.subsets.RESAMPLERS`.
    resamples : int
        How many (even for ``"halves"``; the number of groups for ``"jackknife"``).
    seed : int
        Seed of the resamples.
    alphas : array, optional
        As in `dynamics.metrics.refit.refit_ridge`.

    Returns
    -------
    xarray.DataArray
        Pearson r (step, layer, neuroid, resample), steps in ascending order, with the attributes
        that `dynamics.emergence.interval` reads.

    Raises
    ------
    ValueError
        If the method is unknown, or steps differ in their layers.
    """
    # Torch takes seconds to import, and statistics on curves do without it.
    from dynamics.metrics.gram import grams
    from dynamics.metrics.refit import refit_ridge
    from dynamics.metrics.subsets import RESAMPLERS

    if method not in RESAMPLERS:
        raise ValueError(f"there is no resampling {method!r}: use one of {', '.join(RESAMPLERS)}")
    rows = RESAMPLERS[method](folds, resamples, seed=seed)
    ordered = sorted(steps)
    names = list(steps[ordered[0]])
    scores = []
    for step in ordered:
        if list(steps[step]) != names:
            raise ValueError(
                f"step {step} has layers {', '.join(steps[step])}, step {ordered[0]} has "
                f"{', '.join(names)}: give every step the same layers"
            )
        K, features = grams(steps[step])[1], list(steps[step].values())
        scores.append(refit_ridge(K, Y, folds, rows, alphas, features=features))
    kept = int((rows >= 0).sum(1).max())
    found = scheme(method, n=len(folds), kept=kept, resamples=resamples)
    return xr.DataArray(
        np.stack(scores),
        dims=("step", "layer", "resample", "neuroid"),
        coords={"step": ordered, "layer": names},
        attrs={
            "description": "score on resampled stimuli, refitted",
            "units": "1",
            "method": method,
            "seed": seed,
            **found.attrs,
        },
    ).transpose("step", "layer", "neuroid", "resample")
