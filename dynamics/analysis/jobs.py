"""What is missing in a store, as jobs: one step against one target by one metric."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import xarray as xr
import zarr

from dynamics import analysis, store
from dynamics.analysis import baselines, split_halves
from dynamics.analysis.result_groups import begin
from dynamics.brains.targets import Loaded, Target, gaps, make_target
from dynamics.config import Choice, Sweep
from dynamics.progress import size_of
from dynamics.sounds.copies import kept_together, noted_copies

logger = logging.getLogger(__name__)

_LARGE = 2**30  # bytes of predictions, of which one is warned


class Joined(NamedTuple):
    """The targets of a sweep, joined with the stimuli of its store.

    Attributes
    ----------
    pairs : list of (str, Choice)
        Labels of targets with the metrics that apply to them.
    datasets : dict of str to xarray.Dataset
        Targets as they were loaded, by label; copies of a sound share a group.
    targets : dict of (str, int) to Target
        By label and number of folds.
    """

    pairs: list[tuple[str, Choice]]
    datasets: dict[str, xr.Dataset]
    targets: dict[tuple[str, int], Target]


def joined(sweep: Sweep, activations: xr.Dataset, loaded: Loaded) -> Joined:
    """Join targets with a store, and find what a metric lacks before anything is computed.

    Parameters
    ----------
    sweep : Sweep
        The sweep.
    activations : xarray.Dataset
        Of its store, with the coordinate `stimulus`.
    loaded : Loaded
        Its sounds and targets.

    Returns
    -------
    Joined
        What is compared with what.

    Raises
    ------
    ValueError
        If a metric lacks what it needs, or names of stimuli do not match.
    """
    copies = noted_copies(store.open_group(sweep.place))
    datasets = {label: kept_together(data, copies) for label, data in loaded.brains.items()}
    if any("time" in data["response"].dims for data in loaded.brains.values()):
        seconds = dict(zip(loaded.stimuli.names, loaded.stimuli.durations))
        lengths = [seconds[name] for name in activations["stimulus"].to_numpy().tolist()]
        activations = activations.assign_coords(duration=("stimulus", lengths))
    pairs = [
        (label, metric)
        for label in datasets
        for metric in sweep.metrics
        if analysis.applies(metric, label)
    ]
    targets = {
        key: make_target(
            datasets[key[0]], activations, seed=sweep.seed, n_folds=key[1], halves=sweep.halves
        )
        for key in dict.fromkeys(key_of(sweep, *pair) for pair in pairs)
    }
    times = store.read_times(sweep.place) is not None
    for label, metric in pairs:
        target = targets[key_of(sweep, label, metric)]
        analysis.check_fit(
            metric,
            label,
            {str(dim): size for dim, size in datasets[label]["response"].sizes.items()},
            baseline=sweep.baseline is not None,
            times=times,
            gaps=gaps(datasets[label]) if target.gaps.get("lacking") else "",
            own_folds="fold" in datasets[label].coords,
            target=target,
        )
    return Joined(pairs, datasets, targets)


class Todo(NamedTuple):
    """Jobs of the steps, of the baseline, and of the untrained networks."""

    steps: list[Job]
    baseline: list[Job]
    untrained: list[Job]


def find_missing(sweep: Sweep, every: Joined, hashes: Mapping[int, str]) -> Todo:
    """Find what is not in the store yet; groups of new results are begun.

    Parameters
    ----------
    sweep : Sweep
        The sweep, of whose store this process holds the lock.
    every : Joined
        Its targets.
    hashes : mapping of int to str
        Content hashes of checkpoints, by the steps that the store has.

    Returns
    -------
    Todo
        The jobs; those of steps are in the order of targets, metrics and steps.
    """
    root, todo = store.open_group(sweep.place, mode="r+"), Todo([], [], [])
    layers = len(store.layer_names(root))
    for label, metric in every.pairs:
        target, data = every.targets[key_of(sweep, label, metric)], every.datasets[label]
        group = begin(root, sweep, metric, label, target, data)
        plan = split_halves.plan(group, sweep, metric, label, target, data)
        have = store.committed(group)
        missing = [
            step
            for step, sha256 in hashes.items()
            if have.get(step) != sha256 or step in plan.again
        ]
        written = split_halves.is_complete(group, "baseline", plan)
        if not written and baselines.has_baseline(sweep, metric):
            todo.baseline.append(Job(group, metric, label, 0, plan))
        numbers = baselines.controls_missing(group, sweep, plan.promised)
        todo.untrained.extend(Job(group, metric, label, number, plan) for number in numbers)
        todo.steps.extend(Job(group, metric, label, step, plan) for step in missing)
        if missing:
            if metric.arguments.get("keep") == "predictions":
                _say_what_is_kept(metric, label, target, len(missing) * layers)
            split_halves.say_size(metric, label, target, plan, layers, len(missing))
    return todo


class Job(NamedTuple):
    """One step against one target by one metric, and where its results go.

    The step is that of a control where it is of one, and 0 of the baseline, which has none.
    """

    group: zarr.Group
    metric: Choice
    label: str
    step: int
    plan: split_halves.Plan


def key_of(sweep: Sweep, label: str, metric: Choice) -> tuple[str, int]:
    """Return what tells targets apart: the label, and how many folds a metric has."""
    return label, analysis.folds_of(metric, sweep)


def tasks_of(jobs: Sequence[Job], workers: int) -> list[list[Job]]:
    """Put what is missing of a step into one task; into more where that leaves workers idle.

    Parameters
    ----------
    jobs : sequence of Job
        What is missing.
    workers : int
        How many tasks run at a time.

    Returns
    -------
    list of list of Job
        In the order of steps.
    """
    by_step: dict[int, list[Job]] = {}
    for job in jobs:
        by_step.setdefault(job.step, []).append(job)
    parts = -(-workers // max(1, len(by_step)))
    return [some[k::parts] for _, some in sorted(by_step.items()) for k in range(parts)
            if some[k::parts]]  # fmt: skip


def _say_what_is_kept(metric: Choice, label: str, target: Target, number: int) -> None:
    """Say what predictions will take of the disk before they are made."""
    count, neuroids = target.mean_response.shape
    size = 4 * count * neuroids * number
    logger.log(
        logging.WARNING if size > _LARGE else logging.INFO,
        "predictions of %r by %r, %d stimuli x %d neuroids in %d layers of steps, take %s before "
        "compression",
        label, metric.label, count, neuroids, number, size_of(size),
    )  # fmt: skip
