"""The group of results of a target and a metric: what it depends on, and what it is over."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr

from dynamics import analysis, plugins, store
from dynamics.analysis import Metric
from dynamics.brains.gaps import describe_gaps
from dynamics.brains.targets import Target, checksums
from dynamics.config import Choice, Sweep

logger = logging.getLogger(__name__)

_SCHEMES = {"category": "within categories", "overall": "over all stimuli"}


def begin(
    root: zarr.Group,
    sweep: Sweep,
    metric: Choice,
    label: str,
    target: Target,
    data: xr.Dataset,
) -> zarr.Group:
    """Open the group of a target and metric, with the target's coordinates and ceiling.

    Parameters
    ----------
    root : zarr.Group
        The store, of which this process holds the lock.
    sweep : Sweep
        The sweep.
    metric : Choice
        The metric with its arguments.
    label : str
        Of the target.
    target : Target
        The target, joined with the sounds of the store.
    data : xarray.Dataset
        The target as it was loaded.

    Returns
    -------
    zarr.Group
        Made where there was none.

    Raises
    ------
    ValueError
        If it has results that depend on something else.
    """
    own = analysis.find(metric.name, metric.arguments)
    group = store.begin_result(
        root,
        label,
        metric.label,
        identity=_identity(sweep, metric, label, target, data)
        | (shuffles := _shuffles(root, sweep, metric, label, target)),
        coordinates={"layer": ("layer", store.layer_names(root))}
        | _coordinates(own, metric, target, data),
    )
    if not store.is_written(group, "protocol"):
        store.write_label(group, "protocol", analysis.protocol(metric), "how the scores were made")
    if "score" not in group:
        found = analysis.ceilings(metric.name, target, analysis.given(metric))
        for name, (dims, values, text) in found.items():
            store.write_constant(group, name, dims, values, description=text)
    if plugins.of("METRICS", metric.name):  # results speak for themselves where it is not loaded
        group.attrs.update({"score_name": own.axis, "sentence": own.sentence})
    every = analysis.arguments(metric.name) | analysis.given(metric)
    if target.parts is not None and own.units is None:
        group.attrs.update({"halves": target.parts.called, "halves_units": target.parts.number})
    group.attrs.update(own.told(every, target))
    group.attrs["simulated"] = int(data.attrs.get("simulated", 0))
    if data.attrs.get("of_stimuli"):
        group.attrs["of_stimuli"] = 1
    if target.gaps:
        group.attrs["gaps"] = describe_gaps(target.gaps)
    if shuffles:
        group.attrs["shuffled"] = analysis.describe_shuffles(target, shuffles["shuffle"])
        there = analysis.distinct(target, shuffles["shuffle"])
        if there <= shuffles["permutations"]:
            group.attrs["distinct_shuffles"] = int(there)
    group.attrs["description"] = str(data.attrs.get("description", ""))
    return group


def _coordinates(
    own: Metric, metric: Choice, target: Target, data: xr.Dataset
) -> dict[str, tuple[str, npt.ArrayLike]]:
    """Return what a metric's results are over, beside layers."""
    coordinates: dict[str, tuple[str, npt.ArrayLike]] = {}
    if own.per == "neuroid":
        coordinates["split"] = ("split", np.arange(len(set(target.folds.tolist()))))
        # That of averages over time is none of responses over time.
        other = {"ceiling"} if own.ceiling == "signal power" else set()
        for key, values in data.coords.items():
            if values.dims == ("neuroid",) and key not in other:
                known = values.to_numpy()
                known = analysis.of_known(metric.name, known) if key == "ceiling" else known
                coordinates[str(key)] = ("neuroid", known)
    elif own.per == "group":
        by = metric.arguments.get("by", "subject")
        groups = list(target.groups(by))
        coordinates["subject"] = ("subject", [subject for subject, _ in groups])
        if "region" in by:
            coordinates["region"] = ("subject", [region for _, region in groups])
    coordinates |= own.coordinates(analysis.arguments(metric.name) | analysis.given(metric), target)
    if target.gaps:
        coordinates |= analysis.counted(own, metric.arguments, target)
    return coordinates


def _identity(
    sweep: Sweep, metric: Choice, label: str, target: Target, data: xr.Dataset
) -> dict[str, Any]:
    """Return all that results depend on beside the activations, by which they are known again."""
    own = analysis.find(metric.name, metric.arguments)
    # Results of a target without gaps know nothing of them.
    found = {key: each for key, each in target.gaps.items() if key not in ("lacking", "sizes")}
    averaged: dict[str, Any] = {"gaps": found} if found else {}
    if own.missing == "pairs" and "lacking" in target.gaps:
        averaged["pairs"] = "over the neuroids that have both"  # and not of a complete block
    return {
        "metric": metric.name,
        "arguments": analysis.given(metric),
        "target": data.attrs.get("name", label),
        "target_checksums": checksums(target),
        "baseline": sweep.baseline.model_dump() if sweep.baseline else None,
        "seed": sweep.seed,
        "resamples": sweep.resamples,
        **averaged,
        **({"version": own.version} if own.version else {}),
        **({"halves": target.parts.called} if target.parts and own.units is None else {}),
    }


def _shuffles(
    root: zarr.Group, sweep: Sweep, metric: Choice, label: str, target: Target
) -> dict[str, Any]:
    """Return what the identity of results says of shuffles; what is there goes on as it is."""
    count, asked = analysis.shuffling(metric, sweep)
    if not count:
        return {}
    scheme = analysis.scheme_of(target, metric, sweep)
    if asked == analysis.AUTO:
        kept = store.made_with(root, f"results/{label}/{metric.label}").get("shuffle", scheme)
        if kept != scheme:
            logger.warning(
                "the null of %r by %r goes on with stimuli shuffled %r, as it was begun; the "
                "default is %r now: for that give the metric a `label` of its own",
                label, metric.label, kept, scheme,
            )  # fmt: skip
            scheme = kept
    if (there := analysis.distinct(target, scheme)) <= count:
        logger.warning(
            "%r by %r: only %d of the %d shuffles %s can be distinct, so no p value below %.2g is "
            "to be expected",
            label, metric.label, there, count, _SCHEMES.get(scheme, ""), 1 / there,
        )  # fmt: skip
    return {"permutations": count, "shuffle": scheme}
