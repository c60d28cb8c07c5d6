"""What a sweep found, in rows and sentences: half-times, and what readers should know of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pandas as pd
import xarray as xr

from dynamics import analysis, emergence, probes, store
from dynamics.analysis import values
from dynamics.config import Sweep
from dynamics.emergence.last_step import is_single
from dynamics.emergence.levels import untrained
from dynamics.emergence.remarks import about_edges, about_shared, why_no_intervals

ONE = "one trained network"
"""Why there is no half-time where no course of training is."""


def half_times(sweep: Sweep) -> pd.DataFrame:
    """Tabulate half-time and gain of the mean curve of every target or task, metric and layer.

    Parameters
    ----------
    sweep : Sweep
        The sweep.

    Returns
    -------
    pandas.DataFrame
        Columns target, metric, value (which one the numbers are of), layer, protocol (how the
        scores were made), untrained (NaN: there
        is neither a step 0 nor a control), final, half_time (steps), status (why there is none),
        low and high (limits of 95 %; infinite: the gain itself
        is uncertain; NaN: no resamples).
    """
    tree = results_of(sweep)
    pairs = [
        (target.label, metric.label)
        for target in sweep.targets
        for metric in sweep.metrics
        if analysis.applies(metric, target.label)
    ]
    rows = []
    for target, metric in [*pairs, *((task, probes.METRIC) for task in probed(sweep, tree))]:
        results = tree[f"results/{target}/{metric}"].to_dataset()
        alone = is_single(results)
        table = emergence.summary_of(results, names=("final", *(() if alone else ("half_time",))))
        start = untrained(results)
        protocol = str(results["protocol"].item()) if "protocol" in results else ""
        for layer in table["layer"].to_numpy():
            one = table.sel(layer=layer)
            rows.append(
                {
                    "target": target,
                    "metric": metric,
                    "value": str(results.attrs.get("value", values.SCORE)),
                    "layer": str(layer),
                    "protocol": protocol,
                    "untrained": float(start.sel(layer=layer)),
                    "final": float(one["final"]),
                    "half_time": float(one.get("half_time", math.nan)),
                    "status": ONE if alone else str(one["half_time_status"].item()),
                    "low": float(one.get("half_time_lower", math.nan)),
                    "high": float(one.get("half_time_upper", math.nan)),
                }
            )
    return pd.DataFrame(rows)


def without_intervals(sweep: Sweep) -> list[str]:
    """Say what of a sweep's results has no interval, why, and what to do.

    Parameters
    ----------
    sweep : Sweep
        The sweep.

    Returns
    -------
    list of str
        A sentence for each target and metric.
    """
    said = []
    for name, results in _each(sweep, results_of(sweep)):
        if why := why_no_intervals(results):
            said.append(f"{name} has no intervals: {why}")
        elif why := str(results.attrs.get("no_intervals_of_neuroids", "")):
            said.append(f"single neuroids of {name} have no intervals: {why}")
    return said


def at_edges(sweep: Sweep) -> list[str]:
    """Say where penalties were chosen at an edge of those tried, and what to do.

    Parameters
    ----------
    sweep : Sweep
        The sweep.

    Returns
    -------
    list of str
        A sentence for each target and metric with more than 5 % of such choices at some step.
    """
    return _due(sweep, about_edges)


def shared_courses(sweep: Sweep) -> list[str]:
    """Say of which scores a time course that all stimuli share is more than a quarter.

    Parameters
    ----------
    sweep : Sweep
        The sweep.

    Returns
    -------
    list of str
        A sentence for each target and metric.
    """
    return _due(sweep, about_shared)


def _due(sweep: Sweep, about: Callable[..., str]) -> list[str]:
    """Say of each target and metric what is worth an interruption."""
    every = _each(sweep, store.open(sweep.place))
    return [f"{name}: {said}" for name, results in every if (said := about(results, due=True))]


def _each(sweep: Sweep, tree: xr.DataTree) -> Iterator[tuple[str, xr.Dataset]]:
    """Yield the results of a sweep that there are, each with its name for sentences."""
    for target in sweep.targets:
        for metric in sweep.metrics:
            path = f"results/{target.label}/{metric.label}"
            if f"/{path}" in tree.groups:
                yield f"{target.label} by {metric.label}", tree[path].to_dataset()


def results_of(sweep: Sweep) -> xr.DataTree:
    """Open the store with the values that the sweep shows in the place of scores."""
    return values.of_tree(store.open(sweep.place), getattr(sweep, "value", values.SCORE))


def probed(sweep: Sweep, tree: xr.DataTree) -> list[str]:
    """Return the labels of the tasks of which there are results."""
    groups = {choice.label: f"/results/{choice.label}/{probes.METRIC}" for choice in sweep.probes}
    return [label for label, group in groups.items() if group in tree.groups]
