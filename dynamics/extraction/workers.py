"""Extraction on the workers of a cluster: a checkpoint a task, the model built once a worker."""

from __future__ import annotations

import functools
import logging
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dynamics import checkpoints, faults, sounds, store
from dynamics.checkpoints import Checkpoint
from dynamics.config import Sweep
from dynamics.extraction.outcome import described, kept_of
from dynamics.extraction.runner import (
    Control,
    Extracted,
    Layers,
    Network,
    Read,
    checked,
    of_newest,
    read_ahead,
)
from dynamics.lookahead import in_window
from dynamics.progress import size_of
from dynamics.store import Offer, Written
from dynamics.submitted import KilledError, on_gpu
from dynamics.workers import threads_of

logger = logging.getLogger(__name__)

# Tasks under way for each thread of the cluster: one runs, one waits.
_AHEAD = 2
# Where so many take their workers with them and none passes, it is the workers that are too small.
_DEADLY = 3


def extracted(
    todo: Sequence[Checkpoint],
    sweep: Sweep,
    client: Any,
    *,
    offer: Offer | None = None,
    rows: Mapping[int, int] = {},
) -> Iterator[Extracted]:
    """Extract checkpoints on the workers of a cluster, a bounded number of them at a time.

    Parameters
    ----------
    todo : sequence of Checkpoint
        The workers must see them under the same paths or URLs.
    sweep : Sweep
        The sweep.
    client : dask.distributed.Client
        A connection to the cluster.
    offer : Offer, optional
        The store, where workers that see it write their own chunks.
    rows : mapping of int to int
        Row of every step in it.

    Yields
    ------
    checkpoint, sha256, noted : Extracted
        In the order of `todo`, so that a store does not depend on which worker was quicker.

    Raises
    ------
    OSError
        If the workers die of the first few checkpoints, which are not to blame for it then.
    """
    content = sweep.model_dump_json()

    def submit(checkpoint: Checkpoint) -> Any:
        step = checkpoint.step
        given = (content, checkpoint, offer, rows.get(step))
        return client.submit(extract_one, *given, called=f"extract step {step}")

    deadly: list[Extracted] = []
    passed = said = False
    for checkpoint, future in in_window(submit, todo, lambda: _AHEAD * threads_of(client)):
        try:
            sha256, found = result_of(future)
        except KilledError as fault:
            found = ValueError(f"{fault}: give workers more memory and `dynamics redo` the step")
            deadly.append((checkpoint, "", functools.partial(checked, found)))
            if len(deadly) == _DEADLY and not passed:
                raise OSError(
                    f"{fault}, as of all of the first {_DEADLY} checkpoints: lower `batch_size` "
                    "or give workers more memory; the same command goes on from there"
                ) from fault
        else:
            passed = True
            if not said and not isinstance(found, Exception):
                said = _say_what_travels(found[0], len(todo), sweep, client)
            yield from deadly
            deadly.clear()
            yield checkpoint, sha256, functools.partial(checked, found)
    yield from deadly


def places(sweep: Sweep, found: Sequence[Checkpoint]) -> dict[str, str]:
    """Return the paths that workers must see to run networks, by what is there."""
    local = [c.uri for c in found if not checkpoints.is_remote(c.uri)]
    seen = {"the sounds": sweep.stimuli.name} if "/" in sweep.stimuli.name else {}
    return seen | ({"the checkpoints": str(checkpoints.local_path(local[-1]))} if local else {})


def result_of(future: Any) -> Any:
    """Wait for a task; what is wrong with a worker's installation or memory says so.

    A task that took its workers with it raises a `KilledError`.
    """
    try:
        return future.result()
    except (ImportError, MemoryError) as error:
        told = faults.of_machine(error) or error
        raise type(told)(f"on a worker: {told}") from error


def _say_what_travels(layers: Layers, count: int, sweep: Sweep, client: Any) -> bool:
    """Say what it costs where a worker does not write itself."""
    if isinstance(layers, Written):
        return False
    each = sum(v.nbytes for v in _arrays(layers))
    logger.warning(
        "workers of %s cannot write to the store %s: activations, %s a checkpoint, come over the "
        "network to this process, which writes them (of all %d checkpoints %s); set `store` to a "
        "folder or URL that every worker reaches",
        client.where, sweep.place, size_of(each), count, size_of(each * count),
    )  # fmt: skip
    return True


def _arrays(layers: Any) -> Iterator[np.ndarray]:
    for part in [layers] if isinstance(layers, dict) else [block.values for block in layers]:
        yield from part.values()


@on_gpu
def extract_one(
    content: str, checkpoint: Checkpoint, offer: Offer | None = None, row: int | None = None
) -> tuple[str, tuple[Layers, str] | Exception]:
    """Read and run one checkpoint; what runs on a worker.

    Parameters
    ----------
    content : str
        The sweep as JSON.
    checkpoint : Checkpoint
        The checkpoint.
    offer : Offer, optional
        The store, to which what is found is written if it is seen from here.
    row : int, optional
        Row of the step in it.

    Returns
    -------
    sha256 : str
        Its content hash; empty if it could not be read.
    found : (dict of str to array, list of Block or Written, str), or Exception
        Pooled activations by layer, or what was written of them, and what was resolved; or what is
        wrong with the checkpoint. Of long sounds all blocks: on a cluster, a worker holds what one
        checkpoint gives, and so does whoever writes for each task under way.
    """
    network = _network(content)
    with tempfile.TemporaryDirectory(prefix="dynamics-") as place:
        for _, read in read_ahead([checkpoint], network.sweep, place=Path(place)):
            if isinstance(read, Exception):
                return "", read
            sha256 = read.sha256
            try:
                layers, note = network.noted(read)
                layers = _sent(layers)
            except Exception as fault:
                return sha256, faults.row(fault)
            if offer is None or row is None or not store.reaches(offer):
                return sha256, (layers, note)
            try:
                return sha256, (_written(network, layers, offer, checkpoint.step, row), note)
            except store.MisfitError as fault:
                return sha256, fault
    raise FileNotFoundError(f"{checkpoint.uri} could not be fetched")


def _written(network: Network, layers: Any, offer: Offer, step: int, row: int) -> Written:
    """Write a step where the process that holds the lock will find it."""
    first = layers if isinstance(layers, dict) else layers[0].values
    about = described(network, blocks=first is not layers)
    try:
        return store.write_there(offer, step, row, layers, kept=kept_of(first), **about)
    except OSError as error:
        raise OSError(f"on the worker {socket.gethostname()}: {error}") from error


def controls(
    wanted: Sequence[Control], found: Sequence[Checkpoint], sweep: Sweep, client: Any
) -> Iterator[tuple[Control, tuple[Layers, str] | Exception]]:
    """Extract from control networks on the workers of a cluster, one a task.

    Parameters
    ----------
    wanted : sequence of Control
        Which.
    found : sequence of Checkpoint
        The run's, of one of which the architecture or the weights are taken.
    sweep : Sweep
        The sweep.
    client : Workers
        Of a cluster.

    Yields
    ------
    which : Control
        In the order of `wanted`.
    made : ((dict of str to array or list of Block), str), or Exception
        Pooled activations by layer, of long sounds all blocks, and the content hash of the
        checkpoint; or why none could be used.
    """
    given = (sweep.model_dump_json(), tuple(found))

    def submit(which: Control) -> Any:
        called = f"extract {which.kind} network {which.seed}"
        return client.submit(control_one, *given, which, called=called)

    for which, future in in_window(submit, wanted, lambda: _AHEAD * threads_of(client)):
        yield which, result_of(future)


@on_gpu
def control_one(
    content: str, found: Sequence[Checkpoint], which: Control
) -> tuple[Layers, str] | Exception:
    """Run a control network; what runs on a worker.

    Parameters
    ----------
    content : str
        The sweep as JSON.
    found : sequence of Checkpoint
        The run's.
    which : Control
        Which.

    Returns
    -------
    ((dict of str to array or list of Block), str), or Exception
        As `controls` yields it.
    """
    network = _network(content)

    def use(read: Read) -> tuple[Layers, str]:
        return _sent(network.control(read, which)), read.sha256

    with tempfile.TemporaryDirectory(prefix="dynamics-") as place:
        return of_newest(found, network.sweep, use, place=Path(place))


def _sent(layers: Layers) -> Layers:
    """Return activations as they can be sent: blocks all at once."""
    return layers if isinstance(layers, dict | Written) else list(layers)


@functools.lru_cache(maxsize=1)
def _network(content: str) -> Network:
    sweep = Sweep.model_validate_json(content)
    return Network(sweep, sounds.load(sweep.stimuli.name, **sweep.stimuli.arguments))
