"""The highest scores that repetitions, or the agreement of subjects, allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from dynamics import metrics
from dynamics.analysis import many_stimuli
from dynamics.analysis.groups import fewest_for, group_rdm, pairs_of, shared_block
from dynamics.analysis.hearing import courses_of
from dynamics.analysis.latencies import WINDOW
from dynamics.analysis.registry import METHODS, find
from dynamics.analysis.spaces import stretched
from dynamics.brains.targets import Target
from dynamics.metrics.latencies import windowed, windows_of
from dynamics.metrics.missing import mean_there
from dynamics.metrics.repeats import ceiling_over_time

_OF_LATENCIES = ("distance", "compare", "zscore", "debiased")

Constants = dict[str, tuple[tuple[str, ...], np.ndarray, str]]
"""Dimensions, values and description by name."""


def ceilings(metric: str, target: Target, arguments: Mapping[str, Any]) -> Constants:
    """Compute the noise ceilings of a metric once a target.

    Over subjects the lower bound compares each with the others and the upper bound each with all
    (Nili et al. 2014, PLoS Comput Biol 10:e1003553): with their mean RDM for RSA, else with their
    responses side by side in place of a layer, scaled so that each subject has the same variance.
    Where spaces are compared at each latency bounds are the mean over the latencies that count.

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
        Of a metric with a score a neuroid `ceiling` (neuroid), from repetitions (over time CC_max,
        see `dynamics.metrics.repeats.ceiling_over_time`): a correlation, or
        its square where scores are parts of variance. Of those whose ceiling is the agreement of
        subjects `ceiling_lower` and `ceiling_upper` over subjects, of each region where regions
        are told apart. Nothing where there are neither.
    """
    own = find(metric, arguments)
    if own.ceiling == "signal power":
        return {} if target.repeated is None else _over_time(metric, target)
    if own.ceiling == "repetitions":
        repeated = target.response.ndim == 3 and target.response.shape[2] > 1
        return _of_neuroids(metric, target) if repeated else {}
    by = arguments.get("by", "subject")
    if not own.ceiling or by == "region":
        return {}
    groups = target.groups(by)
    regions = np.array([region for _, region in groups])
    members = np.stack(list(groups.values()))
    bounds = _over_latencies if "course" in find(metric).needs else _over_subjects
    found = {
        region: bounds(metric, target, members[regions == region], arguments)
        if (regions == region).sum() > 1
        else None
        for region in set(regions)
    }
    if all(each is None for each in found.values()):
        return {}
    unknown = {"lower": np.nan, "upper": np.nan}
    out: Constants = {}
    for name in ("lower", "upper"):
        text = f"{name} bound of the noise ceiling over subjects"
        values = np.array([float((found[region] or unknown)[name]) for region in regions])
        if by == "subject":
            out[f"ceiling_{name}"] = ((), values[0], text)
        else:
            out[f"ceiling_{name}"] = (("subject",), values, text + " in the region")
    return out


def of_known(metric: str, ceiling: np.ndarray) -> np.ndarray:
    """Bring ceilings that are correlations (n_neuroids,) to the unit of a metric's scores."""
    return ceiling**2 if find(metric).unit == "variance" else ceiling


def _of_neuroids(metric: str, target: Target) -> Constants:
    values = metrics.noise_ceiling(target.response, missing="mask")["ceiling"]
    kind = "part of variance" if find(metric).unit == "variance" else "correlation"
    text = f"noise ceiling ({kind}) from repetitions"
    return {"ceiling": (("neuroid",), of_known(metric, np.asarray(values)), text)}


def _over_time(metric: str, target: Target) -> Constants:
    values = np.asarray(ceiling_over_time(courses_of(target)))
    text = "highest correlation that the signal power of repetitions allows (CC_max)"
    return {"ceiling": (("neuroid",), of_known(metric, values), text)}


def _over_subjects(
    metric: str, target: Target, members: np.ndarray, arguments: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Bounds over the subjects that can be compared; None with fewer than two."""
    if find(metric).ceiling != "rdms":
        part, kept = shared_block(target, members)
        return _of_spaces(metric, part, kept, arguments) if len(kept) > 1 else None
    options = {name: arguments[name] for name in ("distance", "zscore") if name in arguments}
    if many_stimuli.takes_rdms(target, arguments):
        return _of_many_stimuli(target, members, arguments)
    every = [(who, group_rdm(target, who, **options)) for who in members]
    rdms = [D for who, D in every if len(pairs_of(target, who, D)[1])]
    if len(rdms) < 2:
        return None
    return metrics.rdm_noise_ceiling(
        stretched(np.stack(rdms), arguments.get("geotopological")),
        compare=arguments.get("compare", "spearman"),
    )


def _of_many_stimuli(
    target: Target, members: np.ndarray, arguments: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Bounds of RDMs that are made one after another."""
    distance, zscore = arguments.get("distance", "correlation"), arguments.get("zscore", True)
    fewest = fewest_for(distance)
    usable = [who for who in members if (who & target.live).sum() >= fewest]
    if len(usable) < 2:
        return None
    made = [partial(many_stimuli.entries_of, target, who, distance, zscore) for who in usable]
    return many_stimuli.rdms.noise_ceiling(made, arguments.get("compare", "spearman"))


def _over_latencies(
    metric: str, target: Target, members: np.ndarray, arguments: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Mean over the latencies that count of the bounds at each; None where none has any."""
    assert target.course is not None and target.times is not None  # `check_fit` has looked
    windows = windows_of(target.times, arguments.get("window", WINDOW), arguments.get("step"))
    own = {name: arguments[name] for name in _OF_LATENCIES if name in arguments}
    found = []
    for number in np.flatnonzero(windows.from_onset):
        response = windowed(target.course, windows, int(number))
        part = replace(target, response=response, course=None, times=None)
        try:
            found.append(_over_subjects(metric.removesuffix("_time"), part, members, own))
        except ValueError:  # too few stimuli that subjects share, or none that vary
            continue
    known = [each for each in found if each is not None]
    if not known:
        return None
    return {name: mean_there(np.array([float(each[name]) for each in known]), 0)
            for name in ("lower", "upper")}  # fmt: skip


def _of_spaces(
    metric: str, target: Target, members: np.ndarray, arguments: Mapping[str, Any]
) -> dict[str, float]:
    """Mean bounds over subjects whose neuroids are marked in `members` (subjects, neuroids)."""
    responses = [target.mean_response[:, each] for each in members]
    scale = [np.linalg.norm(Y - Y.mean(0)) for Y in responses]
    equal = [Y / s if s > 0 else Y for Y, s in zip(responses, scale)]
    own = {name: value for name, value in arguments.items() if name != "by"}
    scores = []
    for number, Y in enumerate(responses):
        alone = replace(target, response=Y, subjects=np.full(Y.shape[1], "all"), regions=None)
        others = {"lower": np.hstack(equal[:number] + equal[number + 1 :]),
                  "upper": np.hstack(equal)}  # fmt: skip
        scores.append(METHODS[metric](others, alone, **own)["score"][1][:, 0])
    return dict(zip(("lower", "upper"), np.mean(scores, 0)))
