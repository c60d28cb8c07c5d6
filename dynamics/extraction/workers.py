"""Extraction on the workers of a cluster: a checkpoint a task, the model built once a worker."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dynamics import faults, sounds
from dynamics.checkpoints import Checkpoint
from dynamics.cluster import KilledError, threads_of
from dynamics.config import Sweep
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

# Tasks under way for each thread of the cluster: one runs, one waits.
_AHEAD = 2
# Where so many take their workers with them and none passes, it is the workers that are too small.
_DEADLY = 3


def extracted(todo: Sequence[Checkpoint], sweep: Sweep, client: Any) -> Iterator[Extracted]:
    """Extract checkpoints on the workers of a cluster, a bounded number of them at a time.

    Parameters
    ----------
    todo : sequence of Checkpoint
        The workers must see them under the same paths or URLs.
    sweep : Sweep
        The sweep.
    client : dask.distributed.Client
        A connection to the cluster.

    Yields
    ------
    checkpoint, sha256, noted : Extracted
        In the order of `todo`, so that a store does not depend on which worker was quicker.

    Raises
    ------
    OSError
        If the workers die of the first few checkpoints, which are not to blame for it then.
    """
    submit = functools.partial(client.submit, extract_one, sweep.model_dump_json(), pure=False)
    deadly: list[Extracted] = []
    passed = False
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
            yield from deadly
            deadly.clear()
            yield checkpoint, sha256, functools.partial(checked, found)
    yield from deadly


def result_of(future: Any) -> Any:
    """Wait for a task; what is wrong with a worker's installation or memory says so.

    A task that took its workers with it raises a `KilledError`.
    """
    try:
        return future.result()
    except (ImportError, MemoryError) as error:
        told = faults.of_machine(error) or error
        raise type(told)(f"on a worker: {told}") from error


def extract_one(content: str, checkpoint: Checkpoint) -> tuple[str, tuple[Layers, str] | Exception]:
    """Read and run one checkpoint; what runs on a worker.

    Parameters
    ----------
    content : str
        The sweep as JSON.
    checkpoint : Checkpoint
        The checkpoint.

    Returns
    -------
    sha256 : str
        Its content hash; empty if it could not be read.
    found : (dict of str to array or list of Block, str), or Exception
        Pooled activations by layer and what was resolved, or what is wrong with the checkpoint. Of
        long sounds all blocks: on a cluster, a worker and whoever writes hold what one checkpoint
        gives, for each task under way.
    """
    network = _network(content)
    with tempfile.TemporaryDirectory(prefix="dynamics-") as place:
        for _, read in read_ahead([checkpoint], network.sweep, place=Path(place)):
            if isinstance(read, Exception):
                return "", read
            try:
                layers, note = network.noted(read)
                return read.sha256, (_sent(layers), note)
            except Exception as fault:
                return read.sha256, faults.row(fault)
    raise FileNotFoundError(f"{checkpoint.uri} could not be fetched")


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
    submit = functools.partial(client.submit, control_one, sweep.model_dump_json(), tuple(found))
    for which, future in in_window(submit, wanted, lambda: _AHEAD * threads_of(client)):
        yield which, result_of(future)


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
    return layers if isinstance(layers, dict) else list(layers)


@functools.lru_cache(maxsize=1)
def _network(content: str) -> Network:
    sweep = Sweep.model_validate_json(content)
    return Network(sweep, sounds.load(sweep.stimuli.name, **sweep.stimuli.arguments))
