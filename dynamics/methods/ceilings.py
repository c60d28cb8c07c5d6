"""The highest scores that repetitions, or the agreement of subjects, allow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dynamics import metrics
from dynamics.methods.spaces import group_rdms, stretched
from dynamics.methods.table import PER_NEUROID, TIMED
from dynamics.metrics.missing import by_pattern
from dynamics.targets import Target

Constants = dict[str, tuple[tuple[str, ...], np.ndarray, str]]
"""Dimensions, values and description by name."""


def ceilings(metric: str, target: Target, arguments: Mapping[str, Any]) -> Constants:
    """Compute the noise ceilings of a metric once a target.

    Parameters
    ----------
    metric : str
        A name in `METHODS`.
    target : Target
        The brain target.
    arguments : mapping
        Arguments of the metric.

    Returns
    -------
    Constants
        `ceiling` (neuroid) from repetitions; `ceiling_lower` and `ceiling_upper` over subjects
        for RSA, of each region where regions are told apart. Nothing where there are neither.
    """
    repeated = target.response.ndim == 3 and target.response.shape[2] > 1
    if metric in PER_NEUROID and metric not in TIMED and repeated:
        Y = target.response
        values = by_pattern(
            lambda rows, members: metrics.noise_ceiling(Y[rows][:, members]), Y, target.folds
        )["ceiling"]
        text = "noise ceiling (correlation) from repetitions"
        return {"ceiling": (("neuroid",), np.asarray(values), text)}
    by = arguments.get("by", "subject")
    if metric != "rsa" or by == "region":
        return {}
    groups = list(target.groups(by))
    regions = np.array([region for _, region in groups])
    if min(np.unique(regions, return_counts=True)[1]) < 2:
        return {}
    options = {name: arguments[name] for name in ("distance", "zscore") if name in arguments}
    E = stretched(group_rdms(target, by=by, **options), arguments.get("geotopological"))
    compare = arguments.get("compare", "spearman")
    found = {r: metrics.rdm_noise_ceiling(E[regions == r], compare=compare) for r in set(regions)}
    out: Constants = {}
    for name in ("lower", "upper"):
        text = f"{name} bound of the RSA noise ceiling over subjects"
        values = np.array([float(found[region][name]) for region in regions])
        if by == "subject":
            out[f"ceiling_{name}"] = ((), values[0], text)
        else:
            out[f"ceiling_{name}"] = (("subject",), values, text + " in the region")
    return out
