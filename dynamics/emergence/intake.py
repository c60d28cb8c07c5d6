"""Results as statistics and figures take them, whatever was done to them with xarray before.

What can be mended without a doubt is mended; of anything else one sentence says what is missing.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

# Dimensions of scores that averages know what to do with.
_KNOWN = ("step", "layer", "neuroid", "subject", "group")


def taken(results: xr.Dataset) -> xr.Dataset:
    """Return results in memory, in order of training, with one value a neuroid of what labels them.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric, or a part of them: selected, chunked, joined, unstacked,
        or read back from a file.

    Returns
    -------
    xarray.Dataset
        The same where nothing is to be mended.

    Raises
    ------
    ValueError
        If there is no `score`, or it has no step, or one twice.
    """
    if "score" not in results:
        raise ValueError(
            f"the dataset has {', '.join(map(str, results.data_vars)) or 'no variables'}"
            ", not `score`: select the results of one target and metric"
        )
    dims = results["score"].dims
    if "step" not in dims or "step" not in results.coords:
        have = ", ".join(f"`{dim}`" for dim in dims) or "none"
        raise ValueError(
            f"the scores have no axis `step` (their dimensions: {have}): keep it, as by "
            "`isel(step=[2])` for one step, or `rename` it back"
        )
    if results.sizes["step"] == 0:
        raise ValueError("the results have no step: select some, or wait for the first")
    if results.chunks:
        results = results.compute()
    steps = results["step"].to_numpy()
    if (np.diff(steps) < 0).any():
        results = results.sortby("step")
        steps = results["step"].to_numpy()
    if len(twice := steps[:-1][np.diff(steps) == 0]):
        raise ValueError(
            f"the results have step {twice[0]} more than once: select one of each, or put runs "
            "side by side with `dynamics.plots.stack`"
        )
    return _labelled(results)


def with_layers(results: xr.Dataset, *others: str) -> xr.Dataset:
    """Return results as `taken` does, with an axis of layers, for figures.

    Parameters
    ----------
    results : xarray.Dataset
        As for `taken`; of a single layer too, as by ``sel(layer="layer3")``.
    *others : str
        Further dimensions or coordinates that the figure tells apart.

    Returns
    -------
    xarray.Dataset
        Scores have the dimension `layer`.

    Raises
    ------
    ValueError
        As `taken`; and if there is no layer, or a dimension that no figure draws.
    """
    results = taken(results)
    score = results["score"]
    if extra := [str(d) for d in score.dims if d not in (*_KNOWN, *others)]:
        raise ValueError(
            f"the scores have the dimension `{extra[0]}` besides: select one of it, average over "
            f"it, or draw curves with `hue={extra[0]!r}`"
        )
    if "layer" in score.dims:
        return results
    if "layer" not in results.coords:
        results = results.assign_coords(layer="all layers")
    wide = [name for name, each in results.data_vars.items() if "step" in each.dims]
    if "resample_score" in results:
        wide.append("resample_score")
    grown = {
        name: results[name].drop_vars("layer").expand_dims("layer", axis=1)
        for name in dict.fromkeys(wide)
    }
    name = str(results["layer"].to_numpy())
    return results.drop_vars("layer").assign(grown).assign_coords(layer=[name])


def _labelled(results: xr.Dataset) -> xr.Dataset:
    """Take from what labels neuroids the axes that unstacking gave it, where nothing varies."""
    changed = {}
    for name, values in results.coords.items():
        units = [dim for dim in ("neuroid", "subject") if dim in values.dims]
        if not units or values.ndim < 2:
            continue
        other = {dim: 0 for dim in values.dims if dim != units[0]}
        one = values.isel(other, drop=True)
        alike = (values == one) | (values.isnull() & one.isnull())
        if bool(alike.all()):
            changed[name] = (units[0], one.to_numpy())
    return results.drop_vars(list(changed)).assign_coords(changed) if changed else results
