"""Probe every checkpoint of a store: extract a task's sounds, fit, write, resume."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr

from dynamics import progress, sounds, store
from dynamics.analysis.scoring import without_time
from dynamics.checkpoints import Checkpoint
from dynamics.cluster import PATIENCE, cluster
from dynamics.config import Choice, Sweep
from dynamics.extraction import controls, crawl, extract
from dynamics.extraction.runner import Network
from dynamics.extraction.workers import result_of
from dynamics.lookahead import in_window
from dynamics.probes.fitting import PROBES, REGRESSIONS
from dynamics.probes.hearing import Ears, networks
from dynamics.probes.layers import ATTRS, Variables, attrs, probe_layers
from dynamics.probes.resampling import DEFAULT, check_number, draw
from dynamics.probes.scoring import chance, chroma_accuracy
from dynamics.probes.table import TASKS, load
from dynamics.probes.task import Task
from dynamics.sounds import StimulusSet
from dynamics.submitted import KilledError, on_gpu
from dynamics.tables import check_name
from dynamics.workers import threads_of

logger = logging.getLogger(__name__)

METRIC = "probe"
ANSWERS = "answers"


@dataclass(frozen=True)
class _Job:
    """A task with the group of its results, the steps it lacks, and how it is probed."""

    label: str
    task: Task
    how: Mapping[str, Any]
    attrs: Mapping[str, Mapping[str, Any]]
    group: Any  # zarr.Group; None on a worker, which writes nothing
    missing: tuple[int, ...]


_Made = tuple[_Job, int, Variables | Exception]
"""A task and step, and the variables of the probe, or what stood in the way."""


def probe(
    sweep: Sweep,
    *,
    scheduler: str | None = None,
    advance: progress.Advance | None = None,
    patience: float = PATIENCE,
) -> dict[str, int]:
    """Probe every layer at every step of a store for the sweep's tasks; only what is missing.

    The weights of each checkpoint are read once for all tasks, the sounds of each task pass
    through the network, and what comes out is probed and forgotten. Tasks of the sweep's own
    stimuli use the activations in the store. A checkpoint that cannot be read any more, or fails
    on a task's sounds, is left out with a warning and tried again by the next call.

    Parameters
    ----------
    sweep : Sweep
        The sweep, with `probes`.
    scheduler : str, optional
        Address of a running dask scheduler, whose workers see checkpoints and store under the same
        paths, and probe a step each at a time; by default it is done in this process.
    advance : callable, optional
        Called after each step of each task; by default a progress bar is drawn.
    patience : float
        Seconds without a worker of the cluster that can work, after which it is given up.

    Returns
    -------
    dict of str to int
        How many (step, task) are "new", how many were there "already" and how many "failed".

    Raises
    ------
    FileNotFoundError
        If there is no store.
    ValueError
        If a task is unknown or cannot be learned, or the store has no complete step.
    """
    stimuli = sounds.load(sweep.stimuli.name, **sweep.stimuli.arguments)
    tasks = load_tasks(sweep, stimuli)
    store.check(sweep.place)
    with store.lock(sweep.place):
        root = store.open_group(sweep.place, mode="r+")
        records = {s: r for s, r in store.records(root).items() if r["status"] == store.DONE}
        if not records:
            raise ValueError(
                f"store {sweep.store} has no complete step yet: run `dynamics crawl` first"
            )
        jobs = [_begin(root, sweep, choice, tasks[choice.label], records)
                for choice in sweep.probes]  # fmt: skip
        total, failed = sum(len(job.missing) for job in jobs), 0
        if total or not all(store.is_written(job.group, "chance") for job in jobs):
            with contextlib.ExitStack() as stack:
                client = None
                where = sweep.where(scheduler)
                if where is not None:
                    places = {"the store": str(sweep.place.resolved())}
                    client = stack.enter_context(cluster(where, patience=patience, places=places))
                if advance is None and total:
                    advance = stack.enter_context(progress.bar("probing", total))
                failed = _run(sweep, jobs, records, advance or progress.silent, client)
    already = len(jobs) * len(records) - total
    return {"new": total - failed, "already": already, "failed": failed}


def load_tasks(sweep: Sweep, stimuli: StimulusSet) -> dict[str, Task]:
    """Load the tasks of a sweep by their labels.

    Parameters
    ----------
    sweep : Sweep
        The sweep.
    stimuli : StimulusSet
        The sweep's stimuli.

    Returns
    -------
    dict of str to Task
        In the order of the sweep.

    Raises
    ------
    ValueError, TypeError, FileNotFoundError
        As of `check_names`, and if the data of a task cannot be learned from.
    """
    check_names(sweep)
    return {
        choice.label: load(choice.name, stimuli=stimuli, **_settings(choice, sweep)[1])
        for choice in sweep.probes
    }


def check_names(sweep: Sweep) -> None:
    """Find what is wrong with names and arguments of a sweep's tasks; no data are looked at.

    Parameters
    ----------
    sweep : Sweep
        The sweep.

    Raises
    ------
    ValueError, TypeError
        For an unknown task or kind of probe, an argument that a task does not take or lacks, or
        an odd number of resamples.
    """
    for choice in sweep.probes:
        how, _ = _settings(choice, sweep)
        check_name("probe", how["kind"], PROBES)
        check_number(how["resamples"])
        if (keep := choice.arguments.get("keep", "")) not in ("", ANSWERS):
            raise ValueError(f"probe {choice.label!r} keeps {keep!r}: `keep` can be {ANSWERS!r}")
        TASKS.check(choice.name, choice.arguments, more=TASKS.shared)


def _settings(choice: Choice, sweep: Sweep) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return how `probe_layers` probes a task, and the arguments of the task itself."""
    arguments = dict(choice.arguments)
    kind = str(arguments.pop("probe", "ridge"))
    # Twenty refits take once or twice as long as layers and mix together; redrawing takes no time.
    usual = sweep.resamples if kind == "mlp" else min(sweep.resamples, DEFAULT)
    how = {
        "kind": kind,
        "mix": bool(arguments.pop("mix", True)),
        "resamples": arguments.pop("resamples", usual),
        "seed": sweep.seed,
        "workers": sweep.workers,
        "answers": arguments.pop("keep", "") == ANSWERS,
    }
    return how, arguments


def check_kind(label: str, task: Task, how: Mapping[str, Any]) -> None:
    """Raise a ValueError where a kind of probe, or what it keeps, is of classes alone."""
    if task.is_regression and how["kind"] not in REGRESSIONS:
        raise ValueError(
            f"task {label!r} is of ratings, which {' and '.join(REGRESSIONS)} tell, and not "
            f"{how['kind']!r}: give it another kind"
        )
    if how["answers"] and (task.is_regression or task.multilabel):
        raise ValueError(f"task {label!r} has not one class a sound: no answer can be kept")


def _begin(
    root: zarr.Group,
    sweep: Sweep,
    choice: Choice,
    task: Task,
    records: Mapping[int, Mapping[str, Any]],
) -> _Job:
    how, _ = _settings(choice, sweep)
    check_kind(choice.label, task, how)
    kind, resamples = how["kind"], draw(task, how["kind"], how["resamples"], seed=sweep.seed)
    known: Any = root.attrs["identity"]
    identity = {
        "metric": METRIC,
        "score": task.metric,
        "task": task.name,
        "arguments": choice.arguments,
        "task_sha256": task.digest,
        "stimuli_sha256": known["stimuli_sha256"] if task.stored else task.stimuli.digest,
        "probe": kind,
        "grid": list(PROBES[kind].values),
        "baseline": sweep.baseline.model_dump() if sweep.baseline else None,
        "seed": sweep.seed,
        "resamples": how["resamples"],
        "resampling": resamples.method,
    }
    coordinates: dict[str, tuple[str, Sequence]] = {
        "layer": ("layer", store.layer_names(root)),
        "class": ("class", task.classes),
        "split": ("split", list(range(len(task.partitions)))),
    }
    if how["answers"]:
        coordinates["sound"] = ("sound", list(task.stimuli.names))
    group = store.begin_result(
        root, choice.label, METRIC, identity=identity, coordinates=coordinates
    )
    have = store.committed(group)
    missing = tuple(s for s in sorted(records) if have.get(s) != records[s]["sha256"])
    if not store.is_written(group, "chance"):
        group.attrs.update({"description": task.description, "score": task.metric, "probe": kind})
    return _Job(choice.label, task, how, attrs(resamples), group, missing)


def _write_constants(job: _Job, sweep: Sweep, baseline: Variables) -> None:
    """Write counts, the baseline's score and, last because it is looked for, the chance level."""
    group, task = job.group, job.task
    parts, labels = task.partitions, task.labels
    tested = np.unique(np.concatenate([part.test for part in parts]))
    of = np.ones_like(labels) if task.is_regression else labels
    for name, counts in (
        ("class_train_count", np.mean([of[part.train].sum(0) for part in parts], axis=0)),
        ("class_test_count", of[tested].sum(0).astype(float)),
    ):
        text = f"{name.split('_')[1]}ing sounds of a class" + ", mean over folds" * (len(parts) > 1)
        store.write_constant(group, name, ("class",), counts, description=text)
    if sweep.baseline is not None:
        for name, (dims, values) in baseline.items():
            if name in ("score", "chroma_score", "fold_score", "resample_score"):
                key = "baseline" if name == "score" else f"baseline_{name}"
                text = f"{ATTRS[name]['description']}: {sweep.baseline.name} features, no learning"
                store.write_constant(group, key, dims[1:], values[0], description=text)
    if task.chroma is not None:
        level = np.mean([_chroma_chance(task, part.train, part.test) for part in parts])
        text = "chroma accuracy of the best constant answer"
        store.write_constant(group, "chance_chroma", (), np.asarray(level), description=text)
    level = np.mean([chance(task.metric, labels[p.train], labels[p.test]) for p in parts])
    text = "score of the best constant answer, that has heard nothing"
    store.write_constant(group, "chance", (), np.asarray(level), description=text)


def _chroma_chance(task: Task, train: np.ndarray, test: np.ndarray) -> float:
    chroma = np.asarray(task.chroma)
    common = np.bincount(chroma[task.labels[train].argmax(1)]).argmax()
    answer = np.zeros((len(test), len(chroma)))
    answer[:, chroma == common] = 1.0
    return float(chroma_accuracy(answer, task.labels[test], np.ones((1, len(test))), chroma)[0])


def _run(
    sweep: Sweep,
    jobs: Sequence[_Job],
    records: Mapping[int, Mapping[str, Any]],
    advance: progress.Advance,
    client: Any = None,
) -> int:
    """Probe what is missing, here or on a cluster; return how many (step, task) failed."""
    for job in jobs:
        if not store.is_written(job.group, "chance"):
            _write_constants(job, sweep, _baseline_of(sweep, job, client))
    failed = 0
    made = _here(sweep, jobs, records) if client is None else _there(sweep, jobs, records, client)
    for job, step, found in made:
        if isinstance(found, Exception):
            failed += 1
            logger.warning("no probe of %s at step %d: %s", job.label, step, found)
        else:
            source = str(records[step]["sha256"])
            store.write_result(job.group, step, found, checkpoint=source, attrs=job.attrs)
        advance(note=f"{job.label} step {step}")
    return failed


def _baseline_of(sweep: Sweep, job: _Job, client: Any) -> Variables:
    """Probe the baseline model like a layer; nothing where the sweep has none."""
    if sweep.baseline is None or sweep.baseline.is_file:  # which is of the sweep's stimuli
        return {}
    if client is None:
        return _probed_baseline(sweep, job)
    given = (sweep.model_dump_json(), job.label)
    return result_of(client.submit(probe_baseline, *given, called=f"probe baseline of {job.label}"))


def probe_baseline(content: str, label: str) -> Variables:
    """Probe the last layer of the sweep's baseline model; what runs on a worker.

    Parameters
    ----------
    content : str
        The sweep as JSON.
    label : str
        Of the task.

    Returns
    -------
    dict of str to (dimensions, array)
        As from `probe_layers`.
    """
    bench = _bench(content)
    return _probed_baseline(bench.sweep, bench.jobs[label])


def _probed_baseline(sweep: Sweep, job: _Job) -> Variables:
    assert sweep.baseline is not None
    layers = extract.features(sweep.baseline.name, job.task.stimuli, **sweep.baseline.arguments)
    last = list(layers)[-1]
    return probe_layers({last: layers[last]}, job.task, **{**job.how, "mix": False})


def _there(
    sweep: Sweep, jobs: Sequence[_Job], records: Mapping[int, Mapping[str, Any]], client: Any
) -> Iterator[_Made]:
    """Probe on the workers of a cluster: a step a task, in the order of steps."""
    due = sorted({step for job in jobs for step in job.missing})
    found = tuple(crawl.discover(sweep)) if any(not job.task.stored for job in jobs) else ()
    content = sweep.model_dump_json()

    def submit(step: int) -> Any:
        fresh = str(records[step]["uri"]).startswith(controls.UNTRAINED)
        checkpoints = [each for each in found if fresh or each.step == step]
        labels = [job.label for job in jobs if step in job.missing]
        given = (content, step, records[step], checkpoints, labels)
        return client.submit(probe_step, *given, called=f"probe step {step} by {' '.join(labels)}")

    by_label = {job.label: job for job in jobs}
    for step, future in in_window(submit, due, lambda: 2 * threads_of(client)):
        try:
            found_of = result_of(future)
        except KilledError as fault:
            found_of = [(job.label, fault) for job in jobs if step in job.missing]
        for label, values in found_of:
            yield by_label[label], step, values


@on_gpu
def probe_step(
    content: str,
    step: int,
    record: Mapping[str, Any],
    checkpoints: Sequence[Checkpoint],
    labels: Sequence[str],
) -> list[tuple[str, Variables | Exception]]:
    """Probe one step for tasks of a sweep; what runs on a worker.

    Parameters
    ----------
    content : str
        The sweep as JSON.
    step : int
        A complete step of the store.
    record : mapping
        Its row of the table of checkpoints.
    checkpoints : sequence of Checkpoint
        That of the step; of an untrained one, all of the run.
    labels : sequence of str
        Of the tasks.

    Returns
    -------
    list of (label, variables or Exception)
        As from `probe_layers`, or why there is none.
    """
    bench = _bench(content)
    jobs = [replace(bench.jobs[label], missing=(step,)) for label in labels]
    with tempfile.TemporaryDirectory(prefix="dynamics-") as place:
        made = _here(bench.sweep, jobs, {step: record}, bench, checkpoints, Path(place))
        return [(job.label, found) for job, _, found in made]


class _Bench(NamedTuple):
    """What a process keeps from step to step: the network, and the sounds as it takes them."""

    sweep: Sweep
    jobs: Mapping[str, _Job]
    network: Network
    ears: Ears


@lru_cache(maxsize=1)
def _bench(content: str) -> _Bench:
    """Set up a worker."""
    sweep = Sweep.model_validate_json(content)
    stimuli = sounds.load(sweep.stimuli.name, **sweep.stimuli.arguments)
    jobs = {}
    for label, task in load_tasks(sweep, stimuli).items():
        (choice,) = (each for each in sweep.probes if each.label == label)
        how = {**_settings(choice, sweep)[0], "workers": 1}
        jobs[label] = _Job(label, task, how, {}, None, ())
    return _Bench(sweep, jobs, Network(sweep, stimuli), Ears(sweep, _sets(jobs.values())))


def _sets(jobs: Iterable[_Job]) -> dict[str, StimulusSet]:
    return {job.task.stimuli.digest: job.task.stimuli for job in jobs if not job.task.stored}


def _here(
    sweep: Sweep,
    jobs: Sequence[_Job],
    records: Mapping[int, Mapping[str, Any]],
    bench: _Bench | None = None,
    checkpoints: Sequence[Checkpoint] | None = None,
    place: Path | None = None,
) -> Iterator[_Made]:
    """Probe in this process, one task and step after the other."""
    for job in jobs:
        for step in job.missing if job.task.stored else ():
            yield job, step, _probed(job, store.read_activations(sweep.place, step))
    ahead = [job for job in jobs if job.missing and not job.task.stored]
    due = sorted({step for job in ahead for step in job.missing})
    ears = bench.ears if bench else Ears(sweep, _sets(ahead))
    network = bench.network if bench else None
    for step, model in networks(
        sweep, records, due, checkpoints=checkpoints, network=network, place=place
    ):
        heard: dict[str, Mapping[str, np.ndarray] | Exception] = {}
        for job in (job for job in ahead if step in job.missing):
            key = job.task.stimuli.digest
            if key not in heard:
                heard[key] = ears.hear(model, key)
            layers = heard[key]
            yield job, step, layers if isinstance(layers, Exception) else _probed(job, layers)


def _probed(job: _Job, layers: Mapping[str, np.ndarray]) -> Variables:
    flat = {name: without_time(X) for name, X in layers.items()}
    return probe_layers(flat, job.task, **job.how)
