"""Results of several runs or models as one, to be told apart in a figure."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import xarray as xr

from dynamics.emergence.comparing_runs import check_alike
from dynamics.emergence.intake import taken, with_layers
from dynamics.store.attributes import mapping

# Which neuroids the means on resamples are of.
_GROUPS = ("group_of_neuroid", "group_size", "resample_count", "r2_resample_count",
           "r2_corrected_resample_count")  # fmt: skip


def stack(results: Mapping[str, xr.Dataset], *, dim: str = "run") -> xr.Dataset:
    """Join results of several runs or models, to be told apart as hue or facet.

    Parameters
    ----------
    results : mapping of str to xarray.Dataset
        Results of the same metric by name of the run. Steps may differ; of different numbers of
        resamples the first ones are kept that all have.
    dim : str
        Name of the new dimension.

    Returns
    -------
    xarray.Dataset
        Scores, resamples, baseline and ceiling with one more dimension, NaN at steps that a run
        has not; the coordinate `own_step` (run, step) tells those from steps that failed. To be
        drawn: two runs are compared by `dynamics.emergence.compare_runs`, which looks whether
        their resamples are of the same stimuli.

    Raises
    ------
    ValueError
        If there are no results, or their scores are of different metrics or protocols.
    """
    if not results:
        raise ValueError("there are no runs to stack: give results by name")
    every = _alike([taken(each) for each in results.values()])
    # Tasks have arguments of their own, which leave the scale of the score alone.
    is_probe = mapping(every[0].attrs.get("identity")).get("metric") == "probe"
    check_alike(
        every, ("metric", *(("score", "resampling") if is_probe else ("arguments",)), "value")
    )
    fewest = min(each.sizes.get("resample", 0) for each in every)
    kept = [
        each[[v for v in each.data_vars if each[v].dtype.kind == "f" or v in _GROUPS]].isel(
            resample=slice(fewest), missing_dims="ignore"
        )
        for each in every
    ]
    if not fewest:
        kept = [each.drop_dims("resample", errors="ignore") for each in kept]
    names = xr.DataArray(list(results), dims=dim, name=dim)
    joined = xr.concat(
        kept, names, join="outer", data_vars="all", coords="minimal", compat="override",
        combine_attrs="override",
    ).sortby("step")  # fmt: skip
    own = np.stack([np.isin(joined["step"], each["step"]) for each in every])
    identities = [mapping(each.attrs.get("identity")) for each in every]
    common = {
        key: value
        for key, value in identities[0].items()
        if all(other.get(key) == value for other in identities)
    }
    # As it was: of results from a store a text, which every format takes.
    text = isinstance(every[0].attrs.get("identity"), str)
    joined.attrs["identity"] = json.dumps(common) if text else common
    return joined.assign_coords(own_step=((dim, "step"), own))


def _alike(every: list[xr.Dataset]) -> list[xr.Dataset]:
    """Give all an axis of layers where some have one: of a single layer it may be gone."""
    has = ["layer" in each["score"].dims for each in every]
    return [with_layers(each) for each in every] if any(has) and not all(has) else every
