"""The crawler: plan, read, extract, commit, resume."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import zarr

from dynamics import (
    checkpoints,
    faults,
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
    extract,
    hearing,
    poolings,
    reproducibility,
    room,
    workers,
)
from dynamics.extraction.runner import (
    Extracted,
    Layers,
    Network,
    Read,
    extracted,
    of_newest,
)
from dynamics.extraction.windows import Block
from dynamics.sounds import StimulusSet
from dynamics.sounds.copies import note_copies
from dynamics.store.components import Kept

logger = logging.getLogger(__name__)

UNTRAINED = "untrained:"


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
        Address of a running dask scheduler: its workers, which must see the checkpoints under the
        same paths, read and run a checkpoint each, and this process writes; by default this
        process does everything.
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
    _check(sweep, scheduler)
    found = discover(sweep) if found is None else found
    stimuli = stimuli or sounds.load(sweep.stimuli.name, **sweep.stimuli.arguments)
    components.check(sweep, stimuli)
    sweep = hearing.resolved(sweep, stimuli, found)
    network = Network(sweep, stimuli)
    with store.lock(sweep.place):
        root = store.begin(sweep.place, run=sweep.run, identity=identify(sweep, stimuli))
        if store.note_counting(root, found[0].unit, max(c.offset for c in found)):
            logger.warning("%s", checkpoints.about(found))
        note_copies(root, stimuli)
        store.plan(
            root, [(c.step, c.uri, c.bytes) for c in found], modified=[c.modified for c in found]
        )
        records, complete = store.records(root), _complete(found)
        todo = [c for c in complete if _is_due(c, records[c.step])]
        done = [c for c in complete if records[c.step]["status"] == store.DONE and c not in todo]
        reproducibility.check_files(root, network, done, records)
        seeds = _missing_controls(root, sweep) if found[0].step != 0 else {}
        if todo or seeds:
            reproducibility.check_versions(root, network, done)
        for step in (c.step for c in todo if records[c.step]["status"] == store.DONE):
            store.commit(root, step, status=store.PENDING)  # nobody reads what is being replaced
        network.steps_to_come = len(todo) + sum(map(len, seeds.values()))
        with contextlib.ExitStack() as stack:
            client: Any = None
            if scheduler is not None and (todo or seeds):
                client = stack.enter_context(cluster(scheduler, patience=patience))
            if seeds:
                _add_untrained(root, seeds, network, complete, client)
            if client is None:
                coming = extracted(todo, network)
            else:
                coming = workers.extracted(todo, sweep, client)
            if advance is None and todo:
                advance = stack.enter_context(progress.bar("crawling", len(todo)))
            _commit_all(root, network, coming, records, advance or progress.silent)
            if found[0].step == 0:
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
        What each `crawl` returned; nothing while there is no checkpoint yet.
    """
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
    unit, offset = _counting(sweep)
    found = checkpoints.find(
        sweep.checkpoints,
        duplicates=sweep.duplicates,
        storage_options=sweep.storage_options,
        weights=sweep.weights,
        unit=unit,
        offset=offset,
    )
    return checkpoints.select(found, sweep.select)


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


def _check(sweep: Sweep, scheduler: str | None) -> None:
    """Find what no checkpoint can be blamed for; a head process needs no model and no device."""
    models.check_arguments(sweep.model.name, sweep.model.arguments)
    if scheduler is None:
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
    if record["uri"].startswith(UNTRAINED):
        return True  # the run's own step 0 has come and takes the control's place
    changed = reproducibility.has_changed(checkpoint, record)
    return record["status"] == store.PENDING or (record["status"] == store.FAILED and changed)


def _missing_controls(
    root: zarr.Group, sweep: Sweep, *, on_curve: bool = True
) -> dict[int, list[tuple[zarr.Group, int]]]:
    """Give untrained networks their rows; return by seed the places that are still empty."""
    missing: dict[int, list[tuple[zarr.Group, int]]] = {}
    uri = UNTRAINED + " freshly initialised from seed {}, not of this run"
    if sweep.untrained and on_curve:
        store.plan(root, [(0, uri.format(sweep.seed), 0)])
        if store.statuses(root)[0] != store.DONE:
            missing[sweep.seed] = [(root, 0)]
    if sweep.untrained > on_curve:
        seeds = {number: sweep.seed + number for number in range(sweep.untrained)}
        controls = store.begin_controls(root)
        store.plan(controls, [(number, uri.format(seed), 0) for number, seed in seeds.items()])
        statuses = store.statuses(controls)
        for number, seed in seeds.items():
            if statuses[number] != store.DONE:
                missing.setdefault(seed, []).append((controls, number))
    return missing


def _add_untrained(
    root: zarr.Group,
    seeds: Mapping[int, Sequence[tuple[zarr.Group, int]]],
    network: Network,
    found: Sequence[Checkpoint],
    client: Any = None,
) -> None:
    """Put networks of the architecture of a checkpoint with fresh weights into their places."""
    missing = dict(seeds)

    def put(seed: int, layers: Callable[[], Layers]) -> None:
        if seed not in missing:
            return  # made from another checkpoint already
        outcome = _Outcome(network)
        for group, row in missing[seed]:
            if network.streams or not outcome.layers:  # what was written is not held
                outcome.layers = layers()
            outcome.columns["sha256"] = f"untrained-{seed}"
            outcome.commit(group, row)
        if outcome.error:  # of another architecture than what the store holds
            raise store.MisfitError(outcome.error)
        del missing[seed]

    def fill(read: Read) -> None:
        for seed in seeds:
            put(seed, functools.partial(network.fresh, read, seed))

    fault: Exception | None = None
    if client is None:
        fault = of_newest(found, network.sweep, fill)
    else:
        for seed, made in workers.untrained(list(seeds), found, network.sweep, client):
            if isinstance(made, Exception):
                fault = made
            else:
                put(seed, lambda made=made: made)  # type: ignore[misc]
    for seed, places in missing.items():
        reason = faults.sentence(fault) if fault else ""
        logger.warning("no untrained network of seed %d: %s", seed, reason)
        # What was removed or written again is no fault of the run: the row waits.
        status = store.PENDING if isinstance(fault, LeftForLater) else store.FAILED
        for group, row in places:
            store.commit(group, row, status=status, error=reason)
    if not isinstance(network.batches, list):
        network.batches = None  # they would hold on to a control's front end


def _stand_in(
    root: zarr.Group, network: Network, found: Sequence[Checkpoint], client: Any = None
) -> None:
    """Where the run's own step 0 failed, give the store untrained networks as controls."""
    now = store.statuses(root)
    # Where no checkpoint fits the network, the next sweep may still set the store right.
    if now[0] != store.FAILED or store.DONE not in now.values():
        return
    if seeds := _missing_controls(root, network.sweep, on_curve=False):
        logger.warning("step 0 failed: untrained networks stand in for it, as controls")
        _add_untrained(root, seeds, network, found, client)


def _commit_all(
    root: zarr.Group,
    network: Network,
    coming: Iterable[Extracted],
    records: Mapping[int, Mapping[str, Any]],
    advance: progress.Advance,
) -> None:
    """Write what comes, a step after the other; a fault becomes a row."""
    outcome = _Outcome(network)
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
            outcome = _Outcome(network)
            advance(note=f"step {checkpoint.step}: left for later")
            continue
        outcome.commit(root, checkpoint.step, before=records[checkpoint.step])
        if outcome.error:
            logger.warning("step %d failed: %s", checkpoint.step, outcome.error)
        outcome = _Outcome(network)
        advance(note=f"step {checkpoint.step}")


def _leave(root: zarr.Group, step: int, record: Mapping[str, Any], reason: str) -> None:
    """Say once why a checkpoint is not done; its row waits until one of its step comes."""
    logger.warning("step %d: %s", step, reason)
    if record["error"] != reason or record["status"] != store.PENDING:
        store.commit(root, step, status=store.PENDING, error=reason)


class _Outcome:
    """What became of one network: its activations, or why there are none; timed.

    The clock starts when it is made, so that waiting for a checkpoint counts. Within ``with``, what
    a bad checkpoint raises is kept as `error`.
    """

    def __init__(self, network: Network):
        self.network = network
        self.layers: Layers = {}
        self.columns: dict[str, Any] = {}
        self.error = ""
        self._start = time.perf_counter()

    def __enter__(self) -> _Outcome:
        return self

    def __exit__(self, kind: object, fault: BaseException | None, trace: object) -> bool:
        if isinstance(fault, Exception) and not isinstance(fault, LeftForLater):
            self.error = faults.sentence(faults.row(fault))
            return True
        return False

    def commit(self, root: zarr.Group, step: int, *, before: Mapping[str, Any] = {}) -> None:
        """Write the activations and the row of a step; `before` is what the row holds now."""
        if not self.error:
            try:
                self._write(root, step)
            except store.MisfitError as fault:
                self.error = faults.sentence(fault)
            if self.error and self.network.streams:
                store.erase(root, step)
        columns = self.columns | {"error": self.error}
        # A column is rewritten as a whole, so one that stays as it is costs for nothing.
        changed = {name: v for name, v in columns.items() if before.get(name) != v}
        status = store.FAILED if self.error else store.DONE
        seconds = time.perf_counter() - self._start
        store.commit(root, step, status=status, seconds=seconds, **changed)

    def _write(self, root: zarr.Group, step: int) -> None:
        stimuli = self.network.stimuli
        names, categories = stimuli.names, stimuli.categories
        times = self.network.pooling.times(stimuli.durations)
        labels = dict(stimuli.within.coordinates()) if stimuli.within else {}
        if isinstance(self.layers, Mapping):
            self._expect(self.layers)
            store.write_activations(
                root,
                step,
                self.layers,
                stimuli=names,
                categories=categories,
                times=times,
                labels=labels,
                kept=_kept(self.layers),
            )
            return
        assert times is not None
        labels["duration"] = (stimuli.durations, "length of the stimulus", "s")
        blocks = self._whole(self.layers)
        if (first := next(blocks, None)) is None:
            return  # it failed at once
        self._expect(first.values)
        store.write_blocks(
            root,
            step,
            itertools.chain([first], blocks),
            stimuli=names,
            categories=categories,
            times=times,
            labels=labels,
            kept=_kept(first.values),
        )

    def _expect(self, layers: Mapping[str, np.ndarray]) -> None:
        """Say once, when the features of the network are known, what all steps will take."""
        network, features = self.network, {name: v.shape[-1] for name, v in layers.items()}
        if steps := network.steps_to_come:
            network.steps_to_come = 0
            room.check(
                network.sweep.place,
                features,
                network.stimuli,
                network.pooling,
                steps=steps,
                dtype=network.sweep.dtype,
                kept=_kept(layers),
            )

    def _whole(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Pass blocks on, up to where a fault of the checkpoint ends them."""
        with self:
            yield from blocks


def _kept(layers: Mapping[str, np.ndarray]) -> dict[str, Kept]:
    """Return what components keep of layers, nothing where these have all their features."""
    return layers.kept if isinstance(layers, components.Reduced) else {}
