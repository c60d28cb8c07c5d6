"""What the penalties of a result say of themselves: how many lie at an edge of those tried."""

from __future__ import annotations

import numpy as np
import xarray as xr

FEW = 0.01
"""Part of the choices up to which an edge is not worth a word."""

_TO_DO = (
    "a penalty beyond it may predict better, so these scores may be too low; give the metric "
    "`alphas` that reach further"
)


def about_edges(results: xr.Dataset, *, brief: bool = False) -> str:
    """Say how many penalties lie at an edge, what that means and what to do.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric, with `alpha_edge` (step) where penalties were chosen.
    brief : bool
        How many alone, as below a figure.

    Returns
    -------
    str
        A clause without a full stop; empty where no more than 1 % of the choices (neuroids and
        folds, over all layers and steps) are at an edge of the penalties that were tried.
    """
    if "alpha_edge" not in results:
        return ""
    share = results["alpha_edge"]
    known = np.isfinite(share.to_numpy())
    if not known.any() or not float(share.mean()) > FEW:
        return ""
    most = share.isel(step=int(np.nanargmax(share.to_numpy()))) if "step" in share.dims else share
    told = _percent(float(share.mean()))
    if brief:
        return f"{told} of penalties at an edge of those tried"
    if _percent(float(most)) != told:
        told += f" ({_percent(float(most))} at step {int(most['step']):,})"
    return f"{told} of the penalties chosen are at an edge of those tried: {_TO_DO}"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"
