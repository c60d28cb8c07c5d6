"""Control networks beside the curve: of fresh weights, or of a checkpoint's in another order."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import zarr

from dynamics import faults, store
from dynamics.checkpoints import Checkpoint, LeftForLater
from dynamics.config import Sweep
from dynamics.extraction import workers
from dynamics.extraction.outcome import Outcome
from dynamics.extraction.runner import Control, Layers, Network, Read, of_newest

logger = logging.getLogger(__name__)

UNTRAINED = "untrained:"


def check(sweep: Sweep, found: Sequence[Checkpoint]) -> None:
    """Find out whether there is the step whose weights are to be permuted.

    Parameters
    ----------
    sweep : Sweep
        The sweep.
    found : sequence of Checkpoint
        Its checkpoints.

    Raises
    ------
    ValueError
        If there is none.
    """
    step, there = sweep.controls.of, [checkpoint.step for checkpoint in found]
    if step is not None and step not in there:
        few = ", ".join(map(str, there[:10])) + (", ..." if len(there) > 10 else "")
        raise ValueError(
            f"`untrained` permutes the weights of step {step}, of which there is no checkpoint: "
            f"there are {few}"
        )


def missing(
    root: zarr.Group, sweep: Sweep, *, fresh: bool = True, on_curve: bool = True
) -> dict[Control, list[tuple[zarr.Group, int]]]:
    """Give control networks their rows; find the places that are still empty.

    Parameters
    ----------
    root : zarr.Group
        The store.
    sweep : Sweep
        The sweep.
    fresh : bool
        Whether there are to be networks with fresh weights: the run has no step 0 of its own.
    on_curve : bool
        Whether the first of them is step 0, and permuted ones are asked for; else fresh ones
        alone, all beside the curve.

    Returns
    -------
    dict of Control to list of (zarr.Group, int)
        Group and row of each that is missing.
    """
    missing: dict[Control, list[tuple[zarr.Group, int]]] = {}
    asked, seed = sweep.controls, sweep.seed
    if fresh and asked.fresh and on_curve:
        store.plan(root, [(0, _uri(Control("fresh", seed), sweep), 0)])
        if store.statuses(root)[0] != store.DONE:
            missing[Control("fresh", seed)] = [(root, 0)]
    beside = asked.fresh if fresh and asked.fresh > on_curve else 0
    wanted = {number: Control("fresh", seed + number) for number in range(beside)}
    for number in range(asked.permuted if on_curve else 0):
        wanted[store.PERMUTED_FROM + number] = Control("permuted", seed + number)
    if wanted:
        controls = store.begin_controls(root)
        store.plan(controls, [(number, _uri(one, sweep), 0) for number, one in wanted.items()])
        statuses = store.statuses(controls)
        for number, one in wanted.items():
            if statuses[number] != store.DONE:
                missing.setdefault(one, []).append((controls, number))
    return missing


def _uri(control: Control, sweep: Sweep) -> str:
    """Say in a row of the table of what kind a control is."""
    if control.kind == "fresh":
        return f"{UNTRAINED} freshly initialised from seed {control.seed}, not of this run"
    step = sweep.controls.of
    which = "the last checkpoint" if step is None else f"step {step}"
    return f"permuted: the entries of every tensor of {which} shuffled by seed {control.seed}"


def add(
    wanted: Mapping[Control, Sequence[tuple[zarr.Group, int]]],
    network: Network,
    found: Sequence[Checkpoint],
    client: Any = None,
) -> None:
    """Put control networks, one kind after the other, into their places.

    Parameters
    ----------
    wanted : mapping of Control to sequence of (zarr.Group, int)
        As from `missing`.
    network : Network
        Of the sweep.
    found : sequence of Checkpoint
        The run's; the newest that can be read gives architecture and weights.
    client : Workers, optional
        Of a cluster.
    """
    step = network.sweep.controls.of
    for kind in dict.fromkeys(one.kind for one in wanted):
        some = {one: places for one, places in wanted.items() if one.kind == kind}
        of = found
        if kind == "permuted" and step is not None:
            of = [checkpoint for checkpoint in found if checkpoint.step == step]
        _add_kind(some, network, of, client)


def _add_kind(
    wanted: Mapping[Control, Sequence[tuple[zarr.Group, int]]],
    network: Network,
    found: Sequence[Checkpoint],
    client: Any,
) -> None:
    """Put networks of the architecture or weights of a checkpoint into their places."""
    missing = dict(wanted)

    def put(which: Control, sha256: str, layers: Callable[[], Layers]) -> None:
        if which not in missing:
            return  # made from another checkpoint already
        outcome = Outcome(network)
        for group, row in missing[which]:
            if network.streams or not outcome.layers:  # what was written is not held
                outcome.layers = layers()
            outcome.columns["sha256"] = (
                f"untrained-{which.seed}"
                if which.kind == "fresh"
                else f"permuted-{which.seed} of {sha256}"
            )
            outcome.commit(group, row)
        if outcome.error:  # of another architecture than what the store holds
            raise store.MisfitError(outcome.error)
        del missing[which]

    def fill(read: Read) -> None:
        for which in wanted:
            put(which, read.sha256, functools.partial(network.control, read, which))

    fault: Exception | None = None
    if client is None:
        fault = of_newest(found, network.sweep, fill)
    else:
        for which, made in workers.controls(list(wanted), found, network.sweep, client):
            if isinstance(made, Exception):
                fault = made
            else:
                layers, sha256 = made
                put(which, sha256, lambda layers=layers: layers)  # type: ignore[misc]
    for which, places in missing.items():
        reason = faults.sentence(fault) if fault else ""
        kind = "untrained" if which.kind == "fresh" else "permuted"
        logger.warning("no %s network of seed %d: %s", kind, which.seed, reason)
        # What was removed or written again is no fault of the run: the row waits.
        status = store.PENDING if isinstance(fault, LeftForLater) else store.FAILED
        for group, row in places:
            store.commit(group, row, status=status, error=reason)
    if not isinstance(network.batches, list):
        network.batches = None  # they would hold on to a control's front end
