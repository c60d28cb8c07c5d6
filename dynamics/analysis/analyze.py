"""Store x target x metric -> results, in parallel.

One task is one training step against all that is missing for it: a worker reads the step's
activations from the store once, and every layer's Gram matrix is made once for all targets,
metrics, neuroids and alphas. Only this process writes.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr

from dynamics import (
    analysis,
    plugins,
    progress,
    sounds,
    store,
)
from dynamics.analysis import (
    Metric,
    Variables,
    baselines,
    controls,
    self_similarity,
    sizes,
    split_halves,
)
from dynamics.analysis.scoring import Part, check_memory, score_together
from dynamics.brains.gaps import describe_gaps
from dynamics.brains.targets import (
    Loaded,
    Target,
    checksums,
    gaps,
    load_brain,
    make_target,
)
from dynamics.cluster import PATIENCE, cluster, threads_of
from dynamics.config import Choice, Sweep
from dynamics.lookahead import in_window
from dynamics.progress import size_of
from dynamics.sounds.copies import kept_together, noted_copies

logger = logging.getLogger(__name__)


def analyze(
    sweep: Sweep,
    *,
    scheduler: str | None = None,
    advance: progress.Advance | None = None,
    loaded: Loaded | None = None,
    patience: float = PATIENCE,
) -> dict[str, int]:
    """Compare every layer at every step of a store with the targets; only what is missing.

    Parameters
    ----------
    sweep : Sweep
        The sweep.
    scheduler : str, optional
        Address of a running dask scheduler whose workers see the store under the same path, or a
        batch system, in the place of the sweep's `compute`; by default a local cluster of processes
        is started.
    advance : callable, optional
        Called after each step; by default a progress bar is drawn.
    loaded : Loaded, optional
        Sounds and targets of the sweep; by default they are loaded.
    patience : float
        Seconds without a worker of the cluster that can work, after which it is given up.

    Returns
    -------
    dict of str to int
        How many (step, target, metric) were "new" and how many there were "already"; the
        comparison of steps with each other counts as one more target.

    Raises
    ------
    FileNotFoundError
        If there is no store.
    ValueError
        If a metric or target is unknown, a metric lacks what it needs, or names of stimuli do
        not match.
    """
    if not sweep.targets and not sweep.self_similarity:
        raise ValueError(
            f"run {sweep.run!r} has nothing to be compared with: give it `targets`, or "
            "`self_similarity` to compare its steps with each other"
        )
    for choice in sweep.metrics:
        analysis.check_choice(choice, [target.label for target in sweep.targets])
    tree = store.open(sweep.place)
    activations = tree["activations"].to_dataset()
    if activations.sizes.get("step", 0) == 0:
        raise ValueError(
            f"store {sweep.store} has no complete step yet: run `dynamics crawl` first"
        )
    every = _joined(sweep, activations, loaded or load(sweep))
    table = tree["checkpoints"].to_dataset().set_coords("sha256")
    hashes = dict(zip(table["step"].to_numpy().tolist(), table["sha256"].to_numpy().tolist()))
    steps = activations["step"].to_numpy().tolist()

    with store.lock(sweep.place):
        todo = _missing(sweep, every, {step: hashes[step] for step in steps})
        alone = self_similarity.missing(sweep)
        new = len(todo.steps) + len(alone)
        if new or todo.baseline or todo.untrained:
            with contextlib.ExitStack() as stack:
                client = stack.enter_context(
                    cluster(
                        sweep.where(scheduler),
                        workers=sweep.workers,
                        patience=patience,
                        places={"the store": str(sweep.place.resolved())},
                    )
                )
                root = store.open_group(sweep.place)
                check_memory(client, root, list(every.targets.values()))
                known = [(metric, label, every.targets[_key(sweep, label, metric)])
                         for label, metric in every.pairs]  # fmt: skip
                sizes.check(client, known, len(store.layer_names(root)))
                if advance is None and new:
                    advance = stack.enter_context(progress.bar("analyzing", new))
                jobs = [*todo.baseline, *todo.untrained, *todo.steps]
                work = _Work(client, sweep, _with_levels(every.targets, jobs, sweep, client))
                work.hand_out(jobs)
                _levels(todo.baseline, todo.untrained, work)
                _run(todo.steps, work, hashes, advance or progress.silent)
                if alone and advance is not None:
                    self_similarity.analyze(sweep, client, advance=advance)
    total = len(steps) * (len(every.pairs) + bool(sweep.self_similarity))
    return {"new": new, "already": total - new}


class _Joined(NamedTuple):
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


def load(sweep: Sweep) -> Loaded:
    """Load the sounds and the targets of a sweep; no sound is decoded."""
    stimuli = sounds.load(sweep.stimuli.name, **sweep.stimuli.arguments)
    return Loaded(stimuli, {choice.label: load_brain(choice, stimuli) for choice in sweep.targets})


def _joined(sweep: Sweep, activations: xr.Dataset, loaded: Loaded) -> _Joined:
    """Join targets with a store, and find what a metric lacks before anything is computed."""
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
        for key in dict.fromkeys(_key(sweep, *pair) for pair in pairs)
    }
    times = store.read_times(sweep.place) is not None
    for label, metric in pairs:
        target = targets[_key(sweep, label, metric)]
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
    return _Joined(pairs, datasets, targets)


class _Todo(NamedTuple):
    """Jobs of the steps, of the baseline, and of the untrained networks."""

    steps: list[Job]
    baseline: list[Job]
    untrained: list[Job]


def _missing(sweep: Sweep, every: _Joined, hashes: Mapping[int, str]) -> _Todo:
    """Find what is not in the store yet; groups of new results are begun."""
    root, todo = store.open_group(sweep.place, mode="r+"), _Todo([], [], [])
    layers = len(store.layer_names(root))
    for label, metric in every.pairs:
        target, data = every.targets[_key(sweep, label, metric)], every.datasets[label]
        group = _begin(root, sweep, metric, label, target, data)
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


def _say_what_is_kept(metric: Choice, label: str, target: Target, number: int) -> None:
    """Say what predictions will take of the disk before they are made."""
    count, neuroids = target.mean_response.shape
    logger.warning(
        "predictions of %r by %r, %d stimuli x %d neuroids in %d layers of steps, take %s before "
        "compression",
        label, metric.label, count, neuroids, number, size_of(4 * count * neuroids * number),
    )  # fmt: skip


class Job(NamedTuple):
    """One step against one target by one metric, and where its results go.

    The step is that of a control where it is of one, and 0 of the baseline, which has none.
    """

    group: zarr.Group
    metric: Choice
    label: str
    step: int
    plan: split_halves.Plan


def _key(sweep: Sweep, label: str, metric: Choice) -> tuple[str, int]:
    """Return what tells targets apart: the label, and how many folds a metric has."""
    return label, analysis.folds_of(metric, sweep)


def _begin(
    root: zarr.Group,
    sweep: Sweep,
    metric: Choice,
    label: str,
    target: Target,
    data: xr.Dataset,
) -> zarr.Group:
    """Open the group of a target and metric, with the target's coordinates and ceiling."""
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


# Metrics and targets that the name of a task names.
_NAMED = 4
_SCHEMES = {"category": "within categories", "overall": "over all stimuli"}


class _Work:
    """Hands tasks to the workers, which are given every target and all shuffles once."""

    def __init__(self, client: Any, sweep: Sweep, targets: Mapping[tuple[str, int], Target]):
        self.client, self.sweep, self._targets = client, sweep, targets
        self._orders: dict[tuple[str, str], Any] = {}
        self._held: dict[tuple[str, int], Any] = {}

    def hand_out(self, jobs: Sequence[Job]) -> None:
        """Give the workers what these need."""
        for job in jobs:
            place, key = _key(self.sweep, job.label, job.metric), (job.label, job.metric.label)
            if place not in self._held:
                self._held[place] = self.client.scatter(self._targets[place], hash=False)
            if key not in self._orders:
                scheme = store.made_with(job.group).get("shuffle")
                found = analysis.orders_of(self._targets[place], job.metric, self.sweep, scheme)
                given = None if found is None else self.client.scatter(found, hash=False)
                self._orders[key] = given

    def submit(
        self,
        function: Callable,
        *given: Any,
        task: Sequence[Job],
        called: str,
        shuffled: bool = True,
    ) -> Any:
        """Submit a function of `scoring.Part`, of targets and of their shuffles."""
        places = {place: number for number, place in enumerate(self._held)}
        orders = [self._orders[job.label, job.metric.label] if shuffled else None for job in task]
        parts = [
            Part(
                job.metric.name,
                analysis.given(job.metric),
                places[_key(self.sweep, job.label, job.metric)],
                job.plan.rows,
                None if order is None else number,
                job.plan.together,
                job.plan.single,
                job.plan.folds,
            )
            for number, (job, order) in enumerate(zip(task, orders))
        ]
        held = list(self._held.values())
        by = " ".join(dict.fromkeys(f"{job.label} {job.metric.label}" for job in task[:_NAMED]))
        return self.client.submit(function, *given, parts, held, orders, called=f"{called} by {by}")


def _with_levels(
    targets: Mapping[tuple[str, int], Target],
    jobs: Sequence[Job],
    sweep: Sweep,
    client: Any,
) -> Mapping[tuple[str, int], Target]:
    """Give what metrics of the jobs are compared with to the targets: baseline, controls."""
    every = [analysis.find(job.metric.name, job.metric.arguments) for job in jobs]
    if any("baseline" in own.needs for own in every):
        features = client.submit(
            baselines.baseline_features, sweep, called="extract baseline"
        ).result()
        targets = {
            key: replace(target, baseline=features[target.rows].astype(float))
            for key, target in targets.items()
        }
    wanted = {
        control.label: control
        for own, job in zip(every, jobs)
        if "controls" in own.needs
        for control in controls.entries(job.metric.arguments.get("controls"))
    }
    if not wanted:
        return targets
    found = {
        label: client.submit(
            controls.course, control, sweep, called=f"extract control {label}"
        ).result()
        for label, control in wanted.items()
    }
    return {key: replace(target, controls=found) for key, target in targets.items()}


def _levels(baseline: Sequence[Job], untrained: Sequence[Job], work: _Work) -> None:
    """Score the baseline, a task, and the controls, a task each, and write what is found.

    On the same resamples as the layers, so that what those have in common cancels in the gain.
    """
    sweep = work.sweep
    if baseline:
        task = work.submit(
            baselines.score_baseline, sweep, task=baseline, called="score baseline", shuffled=False
        )
        for job, found in zip(baseline, task.result()):
            baselines.write_baseline(job.group, sweep, found)
    path = sweep.place.resolved() / "controls"
    every: dict[tuple[str, str], tuple[Job, dict[int, Variables]]] = {}

    def submit(task: list[Job]) -> Any:
        step = task[0].step
        return work.submit(
            score_together, path, step, task=task, called=f"score control {step}", shuffled=False
        )

    window = 4 * threads_of(work.client)
    for task, future in in_window(submit, _tasks(untrained, 1), window):
        for job, found in zip(task, future.result()):
            every.setdefault((job.label, job.metric.label), (job, {}))[1][job.step] = found
    for job, each in every.values():
        baselines.write_controls(job.group, sweep, each)


def _run(
    jobs: Sequence[Job], work: _Work, hashes: Mapping[int, str], advance: progress.Advance
) -> None:
    path, workers = work.sweep.place.resolved(), threads_of(work.client)

    def submit(task: list[Job]) -> Any:
        step = task[0].step
        return work.submit(score_together, path, step, task=task, called=f"score step {step}")

    # Results are written in the order of the jobs, so that the store does not depend on
    # which worker was quicker.
    for task, future in in_window(submit, _tasks(jobs, workers), 4 * workers):
        for job, found in zip(task, future.result()):
            values, label, metric = job.plan.marked(found), job.label, job.metric
            attrs = job.plan.limited(analysis.attrs_of(metric.name, analysis.given(metric)))
            store.write_result(
                job.group, job.step, values, checkpoint=hashes[job.step], attrs=attrs
            )
            advance(note=f"{label} {metric.label} step {job.step}")


def _tasks(jobs: Sequence[Job], workers: int) -> list[list[Job]]:
    """Put what is missing of a step into one task; into more where that leaves workers idle."""
    by_step: dict[int, list[Job]] = {}
    for job in jobs:
        by_step.setdefault(job.step, []).append(job)
    parts = -(-workers // max(1, len(by_step)))
    return [some[k::parts] for _, some in sorted(by_step.items()) for k in range(parts)
            if some[k::parts]]  # fmt: skip
