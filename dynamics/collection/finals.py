"""Last scores of many runs, each in its best layer, to be compared with each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr

from dynamics.emergence.crossed import crossed, is_crossed
from dynamics.emergence.last_step import last_of
from dynamics.emergence.resampling import Scheme, stabilised
from dynamics.store.attributes import identity_of


class Finals(NamedTuple):
    """Last scores of the runs in each one's best layer, to be compared.

    Attributes
    ----------
    score : xarray.DataArray
        Along `run`.
    resampled : xarray.DataArray or None
        With `resample` besides, of the stimuli alone; None where some run has none, or theirs are
        not of the same stimuli.
    """

    score: xr.DataArray
    resampled: xr.DataArray | None


def finals(every: Mapping[str, xr.Dataset]) -> Finals:
    """Return the last score of every run in its best layer, and on common halves of the stimuli.

    Of halves one chooses the layer and the other has its score (`dynamics.emergence.crossed`), so
    that a run of many layers is not ahead of one of few by the luck of the highest.

    Parameters
    ----------
    every : mapping of str to xarray.Dataset
        Results of one target and metric by run.

    Returns
    -------
    Finals
        Of the runs that have scores.
    """
    scores, again, schemes = {}, {}, []
    for name, results in every.items():
        last = last_of(results)
        own = last.score
        if not own.values.size:
            continue
        mean = np.nanmean(own.by_subject(), axis=1)
        place = int(np.argmax(np.where(np.isfinite(mean), mean, -np.inf)))
        scores[name] = float(mean[place])
        if last.again is not None:
            schemes.append(last.scheme)
            halves = _cloud(mean, last.again.by_subject().mean(-1), last.scheme)
            again[name] = halves[:, place]
            if is_crossed(last.scheme, len(halves), len(mean)):
                found = crossed(mean[:, None], halves[..., None])
                scores[name], again[name] = float(found.score[0]), found.again[:, 0]
    names = list(scores)
    score = xr.DataArray(list(scores.values()), dims="run", coords={"run": names}, name="final")
    lengths = {len(values) for values in again.values()}
    together = len(again) == len(names) > 0 and len(lengths) == 1 and len(set(schemes)) == 1
    if not together or not paired(every):
        return Finals(score, None)
    cloud = xr.DataArray(
        np.stack([again[name] for name in names], 1),
        dims=("resample", "run"),
        coords={"run": names},
        attrs=schemes[0]._replace(correlation=False, squares=False).attrs,
    )
    return Finals(score, cloud)


def paired(every: Mapping[str, xr.Dataset]) -> bool:
    """Whether resample k of all runs is of the same stimuli, as far as the results say.

    Parameters
    ----------
    every : mapping of str to xarray.Dataset
        Results of one target and metric by run.

    Returns
    -------
    bool
        True where seed and number of resamples agree, and are known.
    """
    own = [identity_of(results) for results in every.values()]
    return all(
        all(one.get(key) is not None and one.get(key) == own[0].get(key) for one in own)
        for key in ("seed", "resamples")
    )


def _cloud(mean: np.ndarray, again: np.ndarray, scheme: Scheme) -> np.ndarray:
    """Return scores (layer, resample) as (resample, layer), at the level of the full sample."""
    curve = xr.DataArray(mean, dims="layer")
    found = stabilised(curve, xr.DataArray(again, dims=("layer", "resample"), attrs=scheme.attrs))
    return found.transpose("resample", "layer").to_numpy()
