"""Probe every checkpoint of a store: extract a task's sounds, fit, write, resume."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr

from dynamics import extract, progress, sounds, store
from dynamics.config import Choice, Sweep
from dynamics.probes.fitting import PROBES
from dynamics.probes.hearing import Ears, networks
from dynamics.probes.layers import ATTRS, attrs, probe_layers
from dynamics.probes.resampling import DEFAULT, check_number, draw
from dynamics.probes.scoring import chance, chroma_accuracy
from dynamics.probes.table import TASKS, load
from dynamics.probes.task import Task
from dynamics.scoring import without_time
from dynamics.sounds import StimulusSet
from dynamics.tables import check_name

logger = logging.getLogger(__name__)

METRIC = "probe"


@dataclass(frozen=True)
class _Job:
    """A task with the group of its results, the steps it lacks, and how it is probed."""

    label: str
    task: Task
    how: Mapping[str, Any]
    attrs: Mapping[str, Mapping[str, Any]]
    group: zarr.Group
    missing: tuple[int, ...]


def probe(sweep: Sweep, *, advance: progress.Advance | None = None) -> dict[str, int]:
    """Probe every layer at every step of a store for the sweep's tasks; only what is missing.

    The weights of each checkpoint are read once for all tasks, the sounds of each task pass
    through the network, and what comes out is probed and forgotten. Tasks of the sweep's own
    stimuli use the activations in the store. A checkpoint that cannot be read any more, or fails
    on a task's sounds, is left out with a warning and tried again by the next call.

    Parameters
    ----------
    sweep : Sweep
        The sweep, with `probes`.
    advance : callable, optional
        Called after each step of each task; by default a progress bar is drawn.

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
    store.open_group(sweep.place)
    with store.lock(sweep.place):
        root = store.open_group(sweep.place, mode="r+")
        records = {s: r for s, r in store.records(root).items() if r["status"] == store.DONE}
        if not records:
            raise ValueError(
                f"store {sweep.store} has no complete step yet: run `dynamics crawl` first"
            )
        jobs = [_begin(root, sweep, choice, tasks[choice.label], records)
                for choice in sweep.probes]  # fmt: skip
        total = sum(len(job.missing) for job in jobs)
        if not total:
            failed = 0
        elif advance is not None:
            failed = _run(sweep, jobs, records, advance)
        else:
            with progress.bar("probing", total) as advance:
                failed = _run(sweep, jobs, records, advance)
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
    }
    return how, arguments


def _begin(
    root: zarr.Group,
    sweep: Sweep,
    choice: Choice,
    task: Task,
    records: Mapping[int, Mapping[str, Any]],
) -> _Job:
    how, _ = _settings(choice, sweep)
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
    group = store.begin_result(
        root, choice.label, METRIC, identity=identity, coordinates=coordinates
    )
    have = store.committed(group)
    missing = tuple(s for s in sorted(records) if have.get(s) != records[s]["sha256"])
    if not store.is_written(group, "chance"):
        group.attrs.update({"description": task.description, "score": task.metric, "probe": kind})
        _write_constants(group, sweep, task, how)
    return _Job(choice.label, task, how, attrs(resamples), group, missing)


def _write_constants(group: zarr.Group, sweep: Sweep, task: Task, how: Mapping[str, Any]) -> None:
    """Write counts, the baseline's score and, last because it is looked for, the chance level."""
    parts, labels = task.partitions, task.labels
    tested = np.unique(np.concatenate([part.test for part in parts]))
    for name, counts in (
        ("class_train_count", np.mean([labels[part.train].sum(0) for part in parts], axis=0)),
        ("class_test_count", labels[tested].sum(0).astype(float)),
    ):
        text = f"{name.split('_')[1]}ing sounds of a class" + ", mean over folds" * (len(parts) > 1)
        store.write_constant(group, name, ("class",), counts, description=text)
    if sweep.baseline is not None:
        layers = extract.features(sweep.baseline.name, task.stimuli, **sweep.baseline.arguments)
        last = list(layers)[-1]
        found = probe_layers({last: layers[last]}, task, **{**how, "mix": False})
        for name, (dims, values) in found.items():
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
) -> int:
    """Probe what is missing; return how many (step, task) failed."""
    failed = 0
    for job in jobs:
        for step in job.missing if job.task.stored else ():
            layers = store.read_activations(sweep.place, step)
            _finish(job, step, layers, str(records[step]["sha256"]))
            advance(note=f"{job.label} step {step}")
    ahead = [job for job in jobs if job.missing and not job.task.stored]
    due = sorted({step for job in ahead for step in job.missing})
    sets = {job.task.stimuli.digest: job.task.stimuli for job in ahead}
    ears = Ears(sweep, sets)
    for step, model in networks(sweep, records, due):
        found: dict[str, Mapping[str, np.ndarray] | Exception] = {}
        for job in ahead:
            if step not in job.missing:
                continue
            key = job.task.stimuli.digest
            if key not in found:
                found[key] = ears.hear(model, key)
            heard = found[key]
            if isinstance(heard, Exception):
                failed += 1
                logger.warning("no probe of %s at step %d: %s", job.label, step, heard)
            else:
                _finish(job, step, heard, str(records[step]["sha256"]))
            advance(note=f"{job.label} step {step}")
    return failed


def _finish(job: _Job, step: int, layers: Mapping[str, np.ndarray], source: str) -> None:
    flat = {name: without_time(X) for name, X in layers.items()}
    values = probe_layers(flat, job.task, **job.how)
    store.write_result(job.group, step, values, checkpoint=source, attrs=job.attrs)
