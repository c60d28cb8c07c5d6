"""The crawler: plan, read, extract, commit, resume."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import zarr

from dynamics import checkpoints, extract, models, poolings, progress, sounds, store
from dynamics.checkpoints import Checkpoint
from dynamics.config import Sweep
from dynamics.sounds import StimulusSet

logger = logging.getLogger(__name__)

Read = tuple[Path, dict[str, torch.Tensor], str]
"""Where a checkpoint is, its weights, and its content hash."""

_UNTRAINED = "untrained:"

# What a broken checkpoint raises while it is read, fitted to the network or run.
_FAULTS = (ValueError, OSError, RuntimeError, KeyError, TypeError, EOFError)


def crawl(sweep: Sweep, *, advance: progress.Advance | None = None) -> dict[str, int]:
    """Extract every layer's activations at every checkpoint that the store lacks.

    Parameters
    ----------
    sweep : Sweep
        The sweep.
    advance : callable, optional
        Called after each checkpoint; by default a progress bar is drawn.

    Returns
    -------
    dict of str to int
        How many steps are "done" and "failed" in the store, and how many are "new".

    Raises
    ------
    ValueError, OSError
        For a fault of the sweep as a whole; a bad checkpoint is a row of the table instead.
    """
    models.arguments(sweep.model.name)
    poolings.make(sweep.pooling.name, **sweep.pooling.arguments)
    found = discover(sweep)
    stimuli = sounds.load(sweep.stimuli.name, **sweep.stimuli.arguments)
    identity = identify(sweep, stimuli)
    with store.lock(sweep.store):
        root = store.begin(sweep.store, run=sweep.run, identity=identity)
        store.plan(root, [(c.step, c.uri, c.bytes) for c in found])
        if sweep.untrained and found[0].step != 0:
            _add_untrained(root, sweep, stimuli, found[-1])
        records = store.records(root)
        todo = [c for c in _complete(found) if _is_due(c, records[c.step])]
        if advance is not None:
            _extract_all(root, sweep, stimuli, todo, advance)
        elif todo:
            with progress.bar("crawling", len(todo)) as advance:
                _extract_all(root, sweep, stimuli, todo, advance)
        statuses = list(store.statuses(root).values())
    return {
        "done": statuses.count(store.DONE),
        "failed": statuses.count(store.FAILED),
        "new": len(todo),
    }


def watch(
    sweep: Sweep, *, every: float = 30.0, advance: progress.Advance = progress.silent
) -> Iterator[dict[str, int]]:
    """Crawl a run that is still training, again and again; it may be stopped at any moment.

    Parameters
    ----------
    sweep : Sweep
        The sweep.
    every : float
        Seconds between two looks.
    advance : callable
        Called after each checkpoint.

    Yields
    ------
    dict of str to int
        What each `crawl` returned; nothing while there is no checkpoint yet.
    """
    while True:
        try:
            yield crawl(sweep, advance=advance)
        except FileNotFoundError as error:
            logger.info("%s: waiting", error)
        time.sleep(every)


def discover(sweep: Sweep) -> list[Checkpoint]:
    """Find a sweep's checkpoints and choose among them; nothing is loaded.

    Parameters
    ----------
    sweep : Sweep
        The sweep.

    Returns
    -------
    list of Checkpoint
        Sorted by step.
    """
    found = checkpoints.find(
        sweep.checkpoints, duplicates=sweep.duplicates, storage_options=sweep.storage_options
    )
    return checkpoints.select(found, sweep.select)


def identify(sweep: Sweep, stimuli: StimulusSet) -> dict[str, object]:
    """Return everything that shapes the activations of a sweep, of plain JSON types."""
    pooling = sweep.pooling
    return {
        "adapter": sweep.model.name,
        "arguments": sweep.model.arguments,
        "stimuli": stimuli.name,
        "stimuli_sha256": stimuli.digest,
        "pooling": {pooling.name: pooling.arguments} if pooling.arguments else pooling.name,
        "dtype": sweep.dtype,
    }


def _complete(found: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Leave out a checkpoint that is still being written; the newest or a damaged one can be."""
    newest = max(checkpoint.modified for checkpoint in found)
    complete = []
    for checkpoint in found:
        doubtful = checkpoint.modified == newest or checkpoint.format == "unreadable"
        if doubtful and checkpoints.growing(checkpoint, wait=0.5):
            logger.warning("step %d is still being written: left for later", checkpoint.step)
        else:
            complete.append(checkpoint)
    return complete


def _is_due(checkpoint: Checkpoint, record: Mapping[str, Any]) -> bool:
    if record["uri"].startswith(_UNTRAINED):
        return True  # the run's own step 0 has come and takes the control's place
    changed = record["bytes"] != checkpoint.bytes or record["uri"] != checkpoint.uri
    if record["status"] == store.DONE and changed:
        same_place = record["uri"] == checkpoint.uri
        if checkpoints.is_remote(checkpoint.uri):
            changed_content = same_place
        else:
            changed_content = checkpoints.digest(checkpoint.uri) != record["sha256"]
        if changed_content:
            raise ValueError(
                f"step {checkpoint.step} in the store came from {record['uri']} with other content "
                f"than {checkpoint.uri} has now: choose another `store`"
            )
        return False
    return record["status"] == store.PENDING or (record["status"] == store.FAILED and changed)


def _add_untrained(
    root: zarr.Group, sweep: Sweep, stimuli: StimulusSet, sample: Checkpoint
) -> None:
    """Put a network of the same architecture with fresh weights at step 0 of a run without one."""
    uri = f"{_UNTRAINED} freshly initialised from seed {sweep.seed}, not of this run"
    store.plan(root, [(0, uri, 0)])
    if store.statuses(root)[0] == store.DONE:
        return
    start = time.perf_counter()
    try:
        (_, read) = next(iter(_read_ahead([sample], sweep)))
        if isinstance(read, Exception):
            raise read
        path, weights, _ = read
        settings = {"trust": sweep.trust_checkpoints} | sweep.model.arguments
        model = models.untrained(
            sweep.model.name, path, state=weights, **({"seed": sweep.seed} | settings)
        )
        batches = extract.batches(model, stimuli, batch_size=sweep.batch_size)
        pooling = poolings.make(sweep.pooling.name, **sweep.pooling.arguments)
        layers = extract.extract(model, batches, pooling=pooling)
        names = {"stimuli": stimuli.names, "categories": stimuli.categories}
        times = pooling.times(stimuli.durations)
        store.write_activations(root, 0, layers, times=times, **names)
        outcome = {"status": store.DONE, "sha256": f"untrained-{sweep.seed}", "error": ""}
    except _FAULTS as fault:
        outcome = {"status": store.FAILED, "error": _sentence(fault)}
        logger.warning("no untrained network for step 0: %s", outcome["error"])
    store.commit(root, 0, seconds=time.perf_counter() - start, **outcome)


def _extract_all(
    root: zarr.Group,
    sweep: Sweep,
    stimuli: StimulusSet,
    todo: Sequence[Checkpoint],
    advance: progress.Advance,
) -> None:
    model = batches = None
    pooling = poolings.make(sweep.pooling.name, **sweep.pooling.arguments)
    start = time.perf_counter()
    for checkpoint, state in _read_ahead(todo, sweep):
        columns = {"uri": checkpoint.uri, "bytes": checkpoint.bytes}
        try:
            if isinstance(state, BaseException):
                raise state
            path, weights, columns["sha256"] = state
            if model is None:
                model = models.load(
                    sweep.model.name,
                    path,
                    state=weights,
                    trust=sweep.trust_checkpoints,
                    **sweep.model.arguments,
                )
                batches = extract.batches(model, stimuli, batch_size=sweep.batch_size)
            else:
                model.load_weights(weights)
            layers = extract.extract(model, batches, pooling=pooling)
            store.write_activations(
                root,
                checkpoint.step,
                layers,
                stimuli=stimuli.names,
                categories=stimuli.categories,
                times=pooling.times(stimuli.durations),
            )
            status, error = store.DONE, ""
        except _FAULTS as fault:
            status, error = store.FAILED, _sentence(fault)
            logger.warning("step %d failed: %s", checkpoint.step, error)
        store.commit(
            root,
            checkpoint.step,
            status=status,
            error=error,
            seconds=time.perf_counter() - start,
            **columns,
        )
        start = time.perf_counter()
        advance(note=f"step {checkpoint.step}")


def _sentence(fault: BaseException) -> str:
    return " ".join(str(fault).split()) or type(fault).__name__


def _read_ahead(
    todo: Sequence[Checkpoint], sweep: Sweep
) -> Iterator[tuple[Checkpoint, Read | Exception]]:
    """Fetch and read the next checkpoint while this one runs; a fault comes back as a value."""
    place = sweep.store.parent / f".{sweep.store.name}.fetched"

    def states() -> Iterator[tuple[Checkpoint, Read | Exception]]:
        # The state that is in use is mapped from a file that counts as well.
        keep = max(1, sweep.keep - 1)
        options = {"keep": keep, "storage_options": sweep.storage_options}
        for checkpoint, path in checkpoints.fetched(todo, place, **options):
            try:
                if isinstance(path, Exception):
                    raise path
                state = checkpoints.read(path, trust=sweep.trust_checkpoints)
                yield checkpoint, (path, state, checkpoints.digest(path))
            except _FAULTS as fault:
                yield checkpoint, fault

    coming, first = states(), True
    with ThreadPoolExecutor(1) as reader:
        upcoming = reader.submit(next, coming, None)
        while (current := upcoming.result()) is not None:
            if first:
                # Some adapters build the network from the file itself: it must still be there.
                first = False
                yield current
                upcoming = reader.submit(next, coming, None)
            else:
                upcoming = reader.submit(next, coming, None)
                yield current
