"""What is to be said of results beside their numbers: no intervals, gaps, penalties at an edge."""

from __future__ import annotations

import re

import numpy as np
import xarray as xr

from dynamics.emergence.aggregate import average, has_resamples
from dynamics.emergence.best_layers import pick_layer
from dynamics.emergence.statistics import unit_of

FEW = 0.01
"""Part of the choices up to which an edge is not worth a word."""
MANY = 0.05
"""Part of the choices at some step beyond which an edge is worth an interruption."""

_TO_DO = (
    "a penalty beyond it may predict better, so these scores may be too low; give the metric "
    "`alphas` that reach further"
)
_POOLED = "their resamples are kept as means of subjects and regions"
_NONE = (
    "they have no `resample_score`, scores on resamples of the stimuli; set `resamples: 50` in the "
    "sweep, and give the metric a `label` of its own"
)


def why_no_intervals(results: xr.Dataset) -> str:
    """Say why results have no intervals and what to do; empty where they have.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric, or of some of its neuroids.

    Returns
    -------
    str
        A clause without a full stop.
    """
    if has_resamples(results):
        return ""
    attrs = results.attrs
    if "resample_mean" in results:
        return f"single neuroids have none, as {attrs.get('no_intervals_of_neuroids', _POOLED)}"
    return str(attrs.get("no_intervals") or _NONE)


def briefly(why: str) -> str:
    """Return the reason of `why_no_intervals` without what to do, for the margin of a figure."""
    said = []
    for place, part in enumerate(why.split("`")):
        # Every other part is a setting in backticks, which may hold a colon of its own.
        cut = re.split(r";|: ", part, maxsplit=1) if place % 2 == 0 else [part]
        said.append(cut[0])
        if len(cut) > 1:
            break
    return "`".join(said)


def with_gaps(results: xr.Dataset) -> int:
    """Count the neuroids that have a score at some steps of a curve only.

    Means at the other steps are over other neuroids than these, which is to be said.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.

    Returns
    -------
    int
        Of neuroids or subjects; steps at which a layer has no score at all do not count.
    """
    score = results["score"]
    unit = next((dim for dim in ("neuroid", "subject") if dim in score.dims), None)
    if unit is None or "step" not in score.dims:
        return 0
    there = score.notnull()
    lacks = (~there & there.any(unit)).any("step") & there.any("step")
    return int(lacks.any([dim for dim in lacks.dims if dim != unit]).sum())


def about_edges(results: xr.Dataset, *, brief: bool = False, due: bool = False) -> str:
    """Say how many penalties lie at an edge, what that means and what to do.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric, with `alpha_edge` (step) where penalties were chosen.
    brief : bool
        How many alone, as below a figure.
    due : bool
        Only where it is more than 5 % at some step.

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
    if due and not float(share.max()) > MANY:
        return ""
    most = share.isel(step=int(np.nanargmax(share.to_numpy()))) if "step" in share.dims else share
    told = _percent(float(share.mean()))
    if brief:
        return f"{told} of penalties at an edge of those tried"
    if _percent(float(most)) != told:
        told += f" ({_percent(float(most))} at {unit_of(results)} {int(most['step']):,})"
    return f"{told} of the penalties chosen are at an edge of those tried: {_TO_DO}"


def about_shared(results: xr.Dataset, *, due: bool = False) -> str:
    """Say how much of the last score a time course that all stimuli share predicts by itself.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric, with `shared_score` (step, layer, neuroid): the score once
        the mean over stimuli at each time is removed from responses and predictions.
    due : bool
        Only where that is more than a quarter of the score.

    Returns
    -------
    str
        A clause without a full stop, of the layer that ends best; empty where there is nothing to
        say, or where another value than the score is shown.
    """
    if "shared_score" not in results or results.attrs.get("value", "score") != "score":
        return ""
    one, layer = pick_layer(results)
    both = one["score"].notnull() & one["shared_score"].notnull()
    score, beyond = (average(one[name].where(both)) for name in ("score", "shared_score"))
    score = score.dropna("step")
    if not score.sizes["step"]:
        return ""
    step = int(score["step"][-1])
    whole, left = float(score[-1]), float(beyond.sel(step=step))
    part = 1 - left / whole if whole > 0 else 0.0
    if not np.isfinite(part) or (due and part <= _SHARED):
        return ""
    where = f"at the last {unit_of(results)} ({layer or 'all layers'})"
    told = f"of the score of {whole:.2f} {where} {left:.2f} is "
    told += "left once the mean over stimuli at each time is removed from responses and predictions"
    verdict = "so most of it is" if part > 0.5 else "so a part of it is" if part > _SHARED else ""
    return told + (f", {verdict} a time course that all stimuli share" if verdict else "")


# Part of a score from which a time course that stimuli share is worth a warning.
_SHARED = 0.25


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"
