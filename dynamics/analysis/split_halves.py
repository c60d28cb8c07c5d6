"""Which resamples the results of a target and metric have, and which are still to be made.

Whatever has none says so: the attributes `no_intervals` and `no_intervals_of_neuroids` of a group
of results are the reason and what to do, for console, figures and report.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
import zarr

from dynamics import analysis, store
from dynamics.analysis import ATTRS, Variables
from dynamics.analysis.variables import RESAMPLED
from dynamics.brains.targets import Target, groups_of_neuroids
from dynamics.config import Choice, Sweep
from dynamics.progress import size_of
from dynamics.store import nodes

logger = logging.getLogger(__name__)

# 1 at the steps of older results that have been computed again, with resamples.
MARK = "has_resamples"

SINGLE_FROM = 5000
"""Neuroids beyond which values of each are kept in single precision and those of folds are not."""

OF_FOLDS = "fold_score"


class Plan(NamedTuple):
    """How the scores of a target and metric are resampled.

    Attributes
    ----------
    rows : array of shape (resamples, kept) or None
        Stimuli of every resample; None for none.
    together : array of shape (neuroids,) or None
        Groups over which resamples are averaged; None where those of every neuroid are kept.
    again : frozenset of int
        Steps whose results lack the resamples that they would have by now.
    mark : bool
        Whether steps are marked that are not among `again` any more.
    limit : float
        Most degrees of freedom that halves of few units have; 0: no limit.
    single, folds : bool
        Whether values of neuroids are kept in single precision, and those of single folds at all.
    """

    rows: np.ndarray | None
    together: np.ndarray | None
    again: frozenset[int] = frozenset()
    mark: bool = False
    limit: float = 0.0
    single: bool = False
    folds: bool = True

    def limited(self, attrs: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Add the limit to the attributes of variables, where there is one."""
        if not self.limit:
            return attrs
        return {
            name: own | ({"limit": self.limit} if name in RESAMPLED else {})
            for name, own in attrs.items()
        }

    @property
    def promised(self) -> str:
        """Name of the variable with the resamples; empty where there is none."""
        if self.rows is None:
            return ""
        return "resample_score" if self.together is None else "resample_mean"

    def marked(self, values: Variables) -> Variables:
        """Add the mark to the results of a step, before what it speaks of."""
        return {MARK: ((), np.array(1, np.int8)), **values} if self.mark else values


def narrowed(values: Variables, *, single: bool, folds: bool) -> Variables:
    """Return what is kept of results, as `Plan` says: a worker sends no more."""
    return {
        name: (dims, _single(each) if single and "neuroid" in dims else each)
        for name, (dims, each) in values.items()
        if folds or name != OF_FOLDS
    }


def _single(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    return values.astype(np.float32) if values.dtype == np.float64 else values


def plan(
    group: zarr.Group, sweep: Sweep, metric: Choice, label: str, target: Target, data: xr.Dataset
) -> Plan:
    """Find out which resamples results are to have, and which steps still lack them.

    Parameters
    ----------
    group : zarr.Group
        The results, as begun; gets its attributes about intervals, and which neuroid is of which
        group.
    sweep : Sweep
        The sweep.
    metric : Choice
        The metric.
    label : str
        Label of the target.
    target : Target
        The target.
    data : xarray.Dataset
        The same as `dynamics.brains.load` returned it.

    Returns
    -------
    Plan
        The plan.
    """
    rows = analysis.halves_of(target, metric, sweep)
    number = target.response.shape[1]
    each = analysis.find(metric.name).per != "neuroid" or number <= sweep.resample_neuroids
    if rows is not None and not each and "resample_score" in group:
        each = True  # it goes on as it was begun
    together = None if rows is None or each else groups_of_neuroids(data, most=analysis.MANY)
    limit = 0.0 if rows is None else _limit(metric, target)
    many = analysis.find(metric.name).per == "neuroid" and number > SINGLE_FROM
    if many and "score" in group:  # as it was begun
        single, folds = nodes.array(group, "score").dtype == np.float32, OF_FOLDS in group
    else:
        single, folds = many, not many or metric.arguments.get("keep") == "folds"
    found = Plan(rows, together, limit=limit, single=single, folds=folds)
    _say(group, sweep, metric, found, label, target)
    if together is not None and not store.is_written(group, "group_size"):
        for name, dims, values in (
            ("group_of_neuroid", ("neuroid",), together),
            ("group_size", ("group",), np.bincount(together)),
        ):
            text = ATTRS[name]["description"]
            store.write_constant(group, name, dims, values, description=text)
    if not found.promised:
        return found
    _without_subsamples(group, found.promised)
    have = store.committed(group)
    lacking, mark = frozenset[int](), MARK in group
    if have and found.promised not in group:
        lacking, mark = frozenset(have), True
    elif mark:
        lacking = frozenset(store.unmarked(group, MARK))
    if lacking:
        logger.warning(
            "results of %r by %r were made before they had %s: %d steps are computed again",
            label, metric.label,
            "intervals" if found.promised not in group else "those of all steps", len(lacking),
        )  # fmt: skip
    return found._replace(again=lacking, mark=mark)


def _limit(metric: Choice, target: Target) -> float:
    """Count the units of halves less the folds, between which no difference counts."""
    parts = target.parts
    if parts is None or analysis.find(metric.name, metric.arguments).units is not None:
        return 0.0
    units = len(set(parts.unit.tolist()))
    within = len(set(zip(parts.unit.tolist(), target.folds.tolist()))) == units
    return float(max(units - (len(set(target.folds.tolist())) if within else 1), 1))


def _without_subsamples(group: zarr.Group, promised: str) -> None:
    """Take out resamples without a third of the stimuli, as two protocols once had: too wide."""
    if promised in group and nodes.array(group, promised).attrs.get("method") == "subsample":
        for name in [name for name in group.array_keys() if "resample_" in name]:
            del group[name]


def is_complete(group: zarr.Group, name: str, plan: Plan) -> bool:
    """Whether a group has a constant such as "baseline", with its resamples where there are any."""
    resampled = not plan.promised or f"{name}_{plan.promised}" in group
    return store.is_written(group, name) and resampled


def _say(
    group: zarr.Group, sweep: Sweep, metric: Choice, plan: Plan, label: str, target: Target
) -> None:
    """Write down what has no interval, why, and what to do; tell how large single ones are."""
    layers, count = nodes.array(group, "layer").shape[0], 0 if plan.rows is None else len(plan.rows)
    number = target.response.shape[1]
    size = size_of(8 * layers * count * number)
    told = {"no_intervals": analysis.without_resamples(metric, sweep, target)}
    if plan.together is not None:
        told["no_intervals_of_neuroids"] = (
            f"their resamples are kept as means of subjects and regions; to keep those of each set "
            f"`resample_neuroids: {number}` (up to {size} a step)"
        )
    elif (
        plan.rows is not None
        and number > analysis.MANY
        and analysis.find(metric.name).per == "neuroid"
    ):
        logger.warning(
            "resamples of each of the %s neuroids of %r by %r are kept: up to %s a step",
            f"{number:,}", label, metric.label, size,
        )  # fmt: skip
    for name in ("no_intervals", "no_intervals_of_neuroids"):
        if group.attrs.get(name, "") != told.get(name, ""):
            group.attrs[name] = told.get(name, "")


_LEAST_SAID = 2**30
# Values of each neuroid and layer that the protocols have beside those of folds: r, r2, corrected.
_VALUES = 3


def bytes_of(target: Target, found: Plan, layers: int) -> int:
    """Return the bytes that the scores of a step take at most, before compression.

    Parameters
    ----------
    target : Target
        The target.
    found : Plan
        What is kept.
    layers : int
        How many there are.

    Returns
    -------
    int
        Of a metric with a score a neuroid; resamples are counted too.
    """
    number, folds = target.response.shape[1], len(set(target.folds.tolist()))
    each = layers * number * (4 if found.single else 8)
    again = 0
    if found.rows is not None:
        many = number if found.together is None else 2 * (int(found.together.max()) + 1)
        again = 8 * _VALUES * layers * len(found.rows) * many
    return each * (_VALUES + (folds if found.folds else 0)) + again


def say_size(
    metric: Choice, label: str, target: Target, found: Plan, layers: int, steps: int
) -> None:
    """Say what the results of steps to come take of the disk, where that is a gigabyte or more."""
    if analysis.find(metric.name).per != "neuroid":
        return
    size = bytes_of(target, found, layers)
    if size * steps < _LEAST_SAID:
        return
    kept = "single precision, without those of folds" if found.single else "double precision"
    if found.single and found.folds:
        kept = "single precision"
    logger.warning(
        "results of %r by %r, %s neuroids x %d layers in %s, take up to %s a step, %s for %s steps",
        label, metric.label, f"{target.response.shape[1]:,}", layers, kept, size_of(size),
        size_of(size * steps), f"{steps:,}",
    )  # fmt: skip
