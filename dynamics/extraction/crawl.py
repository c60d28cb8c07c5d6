"""The crawler: plan, read, extract, commit, resume."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import zarr

from dynamics import (
    checkpoints,
    models,
    progress,
    sounds,
    store,
)
from dynamics.checkpoints import Checkpoint, LeftForLater
from dynamics.cluster import PATIENCE, cluster
from dynamics.config import Sweep
from dynamics.extraction import (
    components,
    controls,
    extract,
    hearing,
    imported,
    poolings,
    reproducibility,
    room,
    workers,
)
from dynamics.extraction.outcome import Outcome
from dynamics.extraction.runner import Control, Extracted, Network, extracted
from dynamics.sounds import StimulusSet
from dynamics.sounds.copies import note_copies

logger = logging.getLogger(__name__)


def crawl(
    sweep: Sweep,
    *,
    scheduler: str | None = None,
    advance: progress.Advance | None = None,
    stimuli: StimulusSet | None = None,
    found: Sequence[Checkpoint] | None = None,
    patience: float = PATIENCE,
) -> dict[str, int]:
    """Extract every layer's activations at every checkpoint that the store lacks.

    A run without a step 0 gets an untrained network there; where the sweep wants several
    (`untrained`), all of them are in the store's `controls` as well, and stay there if the run's
    own step 0 comes later and takes its place on the curve. Where the run has a step 0 that fails,
    they are in `controls` alone.

    Parameters
    ----------
    sweep : Sweep
        The sweep.
    scheduler : str, optional
        Address of a running dask scheduler, or a batch system, in the place of the sweep's
        `compute`: its workers, which must see the checkpoints under the
        same paths, read and run a checkpoint each; those that see the store as well write what they
        find, which this process commits, and for the others it writes. By default this process
        does everything.
    advance : callable, optional
        Called after each checkpoint; by default a progress bar is drawn.
    stimuli : StimulusSet, optional
        The sweep's sounds, where they have been loaded already.
    found : sequence of Checkpoint, optional
        Its checkpoints, where `discover` has been called already.
    patience : float
        Seconds without a worker of the cluster that can work, after which it is given up.

    Returns
    -------
    dict of str to int
        How many steps are "done" and "failed" in the store, and how many are "new".

    Raises
    ------
    ValueError, OSError, ImportError, MemoryError
        For a fault of the sweep, the sounds, the installation or the machine (see
        `dynamics.faults`), also where the versions of the libraries have changed
        since the store was begun and give other numbers, or the checkpoint of a done step is
        another network now; a bad checkpoint is a row of the table instead.
    """
    imports = sweep.activations is not None
    where = None if imports else sweep.where(scheduler)
    if not imports:
        _check(sweep, elsewhere=where is not None)
    found = discover(sweep) if found is None else found
    stimuli = stimuli or sounds.load(sweep.stimuli.name, **sweep.stimuli.arguments)
    components.check(sweep, stimuli)
    if imports:
        imported.check(sweep, stimuli)
    else:
        sweep = hearing.resolved(sweep, stimuli, found)
    network = Network(sweep, stimuli)
    with store.lock(sweep.place):
        root = store.begin(sweep.place, run=sweep.run, identity=identify(sweep, stimuli))
        if store.note_counting(root, found[0].unit, max(c.offset for c in found)):
            logger.warning("%s", checkpoints.about(found))
        note_copies(root, stimuli)
        if said := hearing.positions(sweep, found):
            logger.warning("%s", said)
            root.attrs["positions"] = said
        store.plan(
            root, [(c.step, c.uri, c.bytes) for c in found], modified=[c.modified for c in found]
        )
        records = store.records(root)
        complete = list(found) if imports else _complete(found)
        todo = [c for c in complete if _is_due(c, records[c.step])]
        done = [c for c in complete if records[c.step]["status"] == store.DONE and c not in todo]
        seeds: dict[Control, list[tuple[zarr.Group, int]]] = {}
        if imports:
            imported.check_done(done, records, sweep, stimuli)
        else:
            reproducibility.check_files(root, network, done, records)
            seeds = controls.missing(root, sweep, fresh=found[0].step != 0)
        if (todo or seeds) and not imports:
            reproducibility.check_versions(root, network, done)
        for step in (c.step for c in todo if records[c.step]["status"] == store.DONE):
            store.commit(root, step, status=store.PENDING)  # nobody reads what is being replaced
        network.steps_to_come = len(todo) + sum(map(len, seeds.values()))
        with contextlib.ExitStack() as stack:
            client: Any = None
            if where is not None and (todo or seeds):
                places = workers.places(sweep, complete)
                client = stack.enter_context(cluster(where, patience=patience, places=places))
                if todo:
                    room.check_memory(client, root, todo)
            if seeds:
                controls.add(seeds, network, complete, client)
            if imports:
                coming = imported.extracted(todo, sweep, stimuli)
            elif client is None:
                coming = extracted(todo, network)
            else:
                offer = stack.enter_context(store.offered(root, sweep.place)) if todo else None
                network.shared = offer is not None
                rows = store.steps(root)
                coming = workers.extracted(todo, sweep, client, offer=offer, rows=rows)
            if advance is None and todo:
                advance = stack.enter_context(progress.bar("crawling", len(todo)))
            _commit_all(root, network, coming, records, advance or progress.silent)
            if found[0].step == 0 and not imports:
                _stand_in(root, network, [c for c in complete if c.step != 0], client)
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
        What each `crawl` returned; nothing while there is no checkpoint yet. Controls with permuted
        weights wait for `crawl`: the last checkpoint is not known yet.
    """
    sweep = sweep.model_copy(update={"untrained": sweep.controls.fresh})
    stimuli = sounds.load(sweep.stimuli.name, **sweep.stimuli.arguments)
    while True:
        try:
            found = discover(sweep)
        except FileNotFoundError as error:
            logger.info("%s: waiting", error)
        else:
            yield crawl(sweep, advance=advance, stimuli=stimuli, found=found)
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
    if sweep.activations is not None:
        return checkpoints.select(imported.find(sweep), sweep.select)
    unit, offset = _counting(sweep)
    found = checkpoints.find(
        sweep.checkpoints,
        duplicates=sweep.duplicates,
        storage_options=sweep.storage_options,
        weights=sweep.weights,
        unit=unit,
        offset=offset,
    )
    chosen = checkpoints.select(found, sweep.select)
    controls.check(sweep, chosen)
    return chosen


def _counting(sweep: Sweep) -> tuple[str, int | None]:
    """Return what numbers of checkpoints count and what is added, as the store has them already."""
    known = store.counting(sweep.place)
    if known is None:
        return sweep.step_unit, None
    unit, offset = known
    return unit if sweep.step_unit == checkpoints.AUTO else sweep.step_unit, offset


def identify(sweep: Sweep, stimuli: StimulusSet) -> dict[str, object]:
    """Return everything that shapes the activations of a sweep, of plain JSON types.

    Its `windows` are those that `dynamics.extraction.hearing.resolved` found.
    """
    if sweep.activations is not None:
        return {
            "adapter": sweep.model.name,
            "arguments": sweep.activations.model_dump(exclude={"path"}, exclude_defaults=True),
            "stimuli": stimuli.name,
            "stimuli_sha256": stimuli.digest,
            "pooling": "of those who computed them",
            "revision": f"{extract.REVISION}.1",
            "dtype": sweep.dtype,
        }
    pooling = sweep.pooling
    # The default is left out, as stores of before there was a choice have none.
    chosen: dict[str, object] = {}
    if sweep.weights != checkpoints.TRAINED:
        chosen["weights"] = sweep.weights
    if (how := hearing.windows_of(sweep)) is not None:
        chosen["windows"] = asdict(how)
    if sweep.components is not None:
        chosen["components"] = sweep.components
    return chosen | {
        "adapter": sweep.model.name,
        "arguments": sweep.model.arguments,
        "stimuli": stimuli.name,
        "stimuli_sha256": stimuli.digest,
        "pooling": {pooling.name: pooling.arguments} if pooling.arguments else pooling.name,
        "revision": f"{extract.REVISION}.{models.revision(sweep.model.name)}",
        "dtype": sweep.dtype,
    }


def _check(sweep: Sweep, *, elsewhere: bool) -> None:
    """Find what no checkpoint can be blamed for; a head process needs no model and no device."""
    models.check_arguments(sweep.model.name, sweep.model.arguments)
    if not elsewhere:
        models.check(sweep.model.name, sweep.model.arguments, trust=sweep.trust_checkpoints)
        extract.device(sweep.device)
    poolings.make(sweep.pooling.name, **sweep.pooling.arguments)


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
    if record["uri"].startswith(controls.UNTRAINED):
        return True  # the run's own step 0 has come and takes the control's place
    changed = reproducibility.has_changed(checkpoint, record)
    return record["status"] == store.PENDING or (record["status"] == store.FAILED and changed)


def _stand_in(
    root: zarr.Group, network: Network, found: Sequence[Checkpoint], client: Any = None
) -> None:
    """Where the run's own step 0 failed, give the store untrained networks as controls."""
    now = store.statuses(root)
    # Where no checkpoint fits the network, the next sweep may still set the store right.
    if now[0] != store.FAILED or store.DONE not in now.values():
        return
    if seeds := controls.missing(root, network.sweep, on_curve=False):
        logger.warning("step 0 failed: untrained networks stand in for it, as controls")
        controls.add(seeds, network, found, client)


def _commit_all(
    root: zarr.Group,
    network: Network,
    coming: Iterable[Extracted],
    records: Mapping[int, Mapping[str, Any]],
    advance: progress.Advance,
) -> None:
    """Write what comes, a step after the other; a fault becomes a row."""
    outcome = Outcome(network)
    for checkpoint, sha256, noted in coming:
        outcome.columns = {
            "uri": checkpoint.uri,
            "bytes": checkpoint.bytes,
            "modified": checkpoint.modified,
            "sha256": sha256,
            "note": "",
        }
        try:
            with outcome:
                outcome.layers, outcome.columns["note"] = noted()
        except LeftForLater as reason:
            _leave(root, checkpoint.step, records[checkpoint.step], str(reason))
            outcome = Outcome(network)
            advance(note=f"step {checkpoint.step}: left for later")
            continue
        outcome.commit(root, checkpoint.step, before=records[checkpoint.step])
        if outcome.error:
            logger.warning("step %d failed: %s", checkpoint.step, outcome.error)
        outcome = Outcome(network)
        advance(note=f"step {checkpoint.step}")


def _leave(root: zarr.Group, step: int, record: Mapping[str, Any], reason: str) -> None:
    """Say once why a checkpoint is not done; its row waits until one of its step comes."""
    logger.warning("step %d: %s", step, reason)
    if record["error"] != reason or record["status"] != store.PENDING:
        store.commit(root, step, status=store.PENDING, error=reason)
