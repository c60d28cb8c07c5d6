"""Probe every checkpoint of a store: extract a task's sounds, fit, write, resume."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr

from dynamics import crawl, extract, models, poolings, progress, sounds, store
from dynamics.checkpoints import Checkpoint
from dynamics.config import Choice, Sweep
from dynamics.models import Model
from dynamics.probes.fitting import PROBES
from dynamics.probes.layers import ATTRS, probe_layers
from dynamics.probes.scoring import chance, chroma_accuracy
from dynamics.probes.table import load
from dynamics.probes.task import Task
from dynamics.sounds import StimulusSet

logger = logging.getLogger(__name__)

METRIC = "probe"


@dataclass(frozen=True)
class _Job:
    """A task with the group of its results, the steps it lacks, and how it is probed."""

    label: str
    task: Task
    kind: str
    mix: bool
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
    store.open_group(sweep.store)
    with store.lock(sweep.store):
        root = store.open_group(sweep.store, mode="r+")
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
        As of `load`, and for an unknown kind of probe.
    """
    tasks = {}
    for choice in sweep.probes:
        kind, _, arguments = _settings(choice)
        if kind not in PROBES:
            raise ValueError(f"unknown probe {kind!r}: there are {', '.join(PROBES)}")
        tasks[choice.label] = load(choice.name, stimuli=stimuli, **arguments)
    return tasks


def _settings(choice: Choice) -> tuple[str, bool, dict[str, Any]]:
    """Kind of probe, whether layers are mixed, and the arguments of the task itself."""
    arguments = dict(choice.arguments)
    kind, mix = arguments.pop("probe", "ridge"), arguments.pop("mix", True)
    return str(kind), bool(mix), arguments


def _begin(
    root: zarr.Group,
    sweep: Sweep,
    choice: Choice,
    task: Task,
    records: Mapping[int, Mapping[str, Any]],
) -> _Job:
    kind, mix, _ = _settings(choice)
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
        "resamples": sweep.resamples,
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
    if "chance" not in group:
        group.attrs.update({"description": task.description, "score": task.metric, "probe": kind})
        _write_constants(group, sweep, task, kind)
    return _Job(choice.label, task, kind, mix, group, missing)


def _write_constants(group: zarr.Group, sweep: Sweep, task: Task, kind: str) -> None:
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
        found = probe_layers(
            {last: layers[last]},
            task,
            kind=kind,
            mix=False,
            resamples=sweep.resamples,
            seed=sweep.seed,
            workers=sweep.workers,
        )
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
            layers = store.read_activations(sweep.store, step)
            _finish(sweep, job, step, layers, str(records[step]["sha256"]))
            advance(note=f"{job.label} step {step}")
    heard = [job for job in jobs if not job.task.stored]
    due = sorted({step for job in heard for step in job.missing})
    batches: dict[str, Any] = {}
    sets = {job.task.stimuli.digest for job in heard if job.missing}
    for step, model in _models(sweep, records, due):
        extracted: dict[str, Mapping[str, np.ndarray] | Exception] = {}
        for job in heard:
            if step not in job.missing:
                continue
            key = job.task.stimuli.digest
            if key not in extracted:
                extracted[key] = _extract(sweep, model, job.task.stimuli, batches, key, len(sets))
            heard_by = extracted[key]
            if isinstance(heard_by, Exception):
                failed += 1
                logger.warning("no probe of %s at step %d: %s", job.label, step, heard_by)
            else:
                _finish(sweep, job, step, heard_by, str(records[step]["sha256"]))
            advance(note=f"{job.label} step {step}")
    return failed


def _finish(
    sweep: Sweep, job: _Job, step: int, layers: Mapping[str, np.ndarray], source: str
) -> None:
    flat = {name: _without_time(X) for name, X in layers.items()}
    values = probe_layers(
        flat,
        job.task,
        kind=job.kind,
        mix=job.mix,
        resamples=sweep.resamples,
        seed=sweep.seed,
        workers=sweep.workers,
    )
    store.write_result(job.group, step, values, checkpoint=source, attrs=ATTRS)


def _without_time(values: np.ndarray) -> np.ndarray:
    """Average (stimulus, time, feature) over the time of each stimulus; NaN is past its end."""
    return np.nanmean(values, axis=1) if values.ndim == 3 else values


def _extract(
    sweep: Sweep,
    model: Model | Exception,
    stimuli: StimulusSet,
    batches: dict[str, Any],
    key: str,
    sets: int,
) -> Mapping[str, np.ndarray] | Exception:
    """Return the activations of all layers, or what stood in the way."""
    if isinstance(model, Exception):
        return model
    try:
        if key not in batches:
            batches[key] = extract.batches(
                model,
                stimuli,
                batch_size=sweep.batch_size,
                keep_bytes=extract._KEEP_BYTES // sets,
            )
        pooling = poolings.make(sweep.pooling.name, **sweep.pooling.arguments)
        # A probe has one row a sound.
        if pooling.rate is not None:
            pooling = poolings.make("mean")
        return extract.extract(model, batches[key], pooling=pooling)
    except crawl._FAULTS as fault:
        return fault


def _models(
    sweep: Sweep, records: Mapping[int, Mapping[str, Any]], steps: Sequence[int]
) -> Iterator[tuple[int, Model | Exception]]:
    """Yield the network of each step, with the weights that the store's activations came from."""
    if not steps:
        return
    found = {checkpoint.step: checkpoint for checkpoint in crawl.discover(sweep)}
    fresh = [s for s in steps if records[s]["uri"].startswith(crawl._UNTRAINED)]
    for step in fresh:
        yield step, _untrained(sweep, list(found.values())[-1])
    todo = [found[step] for step in steps if step in found and step not in fresh]
    for step in steps:
        if step not in found and step not in fresh:
            yield step, FileNotFoundError(f"its checkpoint {records[step]['uri']} is gone")
    model = None
    for checkpoint, read in crawl._read_ahead(todo, sweep):
        try:
            if isinstance(read, Exception):
                raise read
            path, weights, digest = read
            if digest != records[checkpoint.step]["sha256"]:
                raise ValueError(
                    f"{checkpoint.uri} has other content than when it was crawled: run "
                    "`dynamics crawl` first"
                )
            if model is None:
                settings = {"trust": sweep.trust_checkpoints} | sweep.model.arguments
                model = models.load(sweep.model.name, path, state=weights, **settings)
            else:
                model.load_weights(weights)
            yield checkpoint.step, model
        except crawl._FAULTS as fault:
            yield checkpoint.step, fault


def _untrained(sweep: Sweep, sample: Checkpoint) -> Model | Exception:
    try:
        _, read = next(iter(crawl._read_ahead([sample], sweep)))
        if isinstance(read, Exception):
            raise read
        settings = {"seed": sweep.seed, "trust": sweep.trust_checkpoints} | sweep.model.arguments
        return models.untrained(sweep.model.name, read[0], state=read[1], **settings)
    except crawl._FAULTS as fault:
        return fault
