"""The last step of results as arrays: of every layer, and of whoever has a score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from dynamics.emergence.aggregate import COUNT, resampled
from dynamics.emergence.curves import scored
from dynamics.emergence.intake import with_layers
from dynamics.emergence.levels import has_controls
from dynamics.emergence.parts import parts
from dynamics.emergence.resampling import Scheme

ALL = "all"
BESIDE = ("r2", "r2_corrected")


def is_single(results: xr.Dataset) -> bool:
    """Whether results are of one trained network and of no course of training.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.

    Returns
    -------
    bool
        True where there is one checkpoint at most beside untrained networks of the crawler's own,
        so that no statistic says when.
    """
    if "step" not in results.coords:
        return True
    if "checkpoint" in results:
        names = np.atleast_1d(results["checkpoint"].to_numpy()).astype(str)
        return int((~np.char.startswith(names, "untrained")).sum()) < 2
    return int((np.atleast_1d(results["step"]) > 0).sum()) < 2


def regions_of(results: xr.Dataset) -> dict[str, xr.Dataset]:
    """Return the whole of results, under `ALL`, and each of several regions.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.

    Returns
    -------
    dict of str to xarray.Dataset
        The regions in the order of the target.
    """
    found = {ALL: results}
    if "region" in results.coords and results["region"].ndim == 1:
        each = parts(results, "region")
        if len(each) > 1:
            found |= each
    return found


def last_of(results: xr.Dataset) -> Last:
    """Read the last step at which results have a score.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric; of other steps only the first is looked into.

    Returns
    -------
    Last
        That step as arrays.
    """
    results = with_layers(results)
    at = results.isel(step=-1)
    if not np.isfinite(at["score"].to_numpy()).any():
        results = scored(results)
        at = results.isel(step=-1)
    unit = next((dim for dim in ("neuroid", "subject") if dim in at["score"].dims), None)
    beside = {}
    for name in (*BESIDE, "best_score", "baseline", "ceiling", "ceiling_lower", "p_value"):
        if name in at:
            beside[name] = _units(at[name], at, unit)
    if has_controls(results):
        beside["untrained"] = _units(results["untrained_score"].mean("control"), at, unit)
    elif float(results["step"][0]) == 0:
        beside["untrained"] = _units(results["score"].isel(step=0), at, unit)
    found = resampled(at)
    again, scheme = None, Scheme()
    if found is not None:
        scheme = Scheme.of(found)
        own = next((dim for dim in ("group", "neuroid", "subject") if dim in found.dims), None)
        again = _units(found, found, own)
    layers = tuple(str(name) for name in at["layer"].to_numpy())
    return Last(float(at["step"]), layers, _units(at["score"], at, unit), again, scheme, beside)


class Units(NamedTuple):
    """Values of neuroids, subjects or groups of neuroids at one step, and whose they are.

    Attributes
    ----------
    values : array of shape (n_layers, ..., n_units)
        Such as scores, or scores on resamples.
    subject, region : array of str, shape (n_units,)
        Labels; one and the same where they are not told apart.
    number : array of shape (n_units,)
        Of how many neuroids each is the mean.
    """

    values: np.ndarray
    subject: np.ndarray
    region: np.ndarray
    number: np.ndarray

    def of(self, region: str) -> Units:
        """Return those of a region, or all."""
        if region == ALL:
            return self
        has = self.region == region
        return Units(self.values[..., has], self.subject[has], self.region[has], self.number[has])

    def by_subject(self) -> np.ndarray:
        """Average within subjects: array of shape (n_layers, ..., n_subjects)."""
        names = np.unique(self.subject)
        weight = (self.subject[:, None] == names) * self.number[:, None]
        known = np.isfinite(self.values)
        number = known @ weight
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = (np.where(known, self.values, 0.0) @ weight) / number
        return np.where(number > 0, mean, np.nan)


class Last(NamedTuple):
    """One step of results, as arrays.

    Attributes
    ----------
    step : float
        The last one at which there is a score.
    layers : tuple of str
        From input to output.
    score : Units
        Scores (layer, unit).
    again : Units or None
        On resamples (layer, resample, unit).
    scheme : Scheme
        Of the resamples.
    beside : dict of str to Units
        What else there is, of those units: `r2`, `untrained`, `baseline`, `ceiling`, `p_value`.
    """

    step: float
    layers: tuple[str, ...]
    score: Units
    again: Units | None
    scheme: Scheme
    beside: Mapping[str, Units]


def _units(values: xr.DataArray, labelled: Any, unit: str | None) -> Units:
    """Return values with the axis of units last, layers first, and their labels."""
    number = values.sizes[unit] if unit in values.dims else 1
    first = [dim for dim in ("layer", "resample") if dim in values.dims]
    found = values.transpose(*first, *([unit] if unit in values.dims else [])).to_numpy()
    if unit not in values.dims:
        found = found[..., None]

    def labels(name: str) -> np.ndarray:
        has = unit in values.dims and name in labelled.coords
        if has and labelled[name].dims == (unit,):
            return labelled[name].to_numpy().astype(str)
        return np.full(number, ALL)

    counts = values.coords.get(COUNT)
    count = np.ones(number) if counts is None else counts.to_numpy().astype(float)
    if count.ndim > 1:  # the same in every layer and resample
        count = count.reshape(-1, number)[0]
    return Units(found, labels("subject"), labels("region"), count)
