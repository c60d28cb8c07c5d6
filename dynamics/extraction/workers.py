"""Extraction on the workers of a cluster: a checkpoint a task, the model built once a worker."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dynamics import faults, sounds
from dynamics.checkpoints import Checkpoint
from dynamics.cluster import threads_of
from dynamics.config import Sweep
from dynamics.extraction.runner import (
    Extracted,
    Layers,
    Network,
    checked,
    read_ahead,
)
from dynamics.lookahead import in_window

# Tasks under way for each thread of the cluster: one runs, one waits.
_AHEAD = 2


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
    """
    submit = functools.partial(client.submit, extract_one, sweep.model_dump_json(), pure=False)
    for checkpoint, future in in_window(submit, todo, lambda: _AHEAD * threads_of(client)):
        sha256, found = result_of(future)
        yield checkpoint, sha256, functools.partial(checked, found)


def result_of(future: Any) -> Any:
    """Wait for a task; what is wrong with a worker's installation or memory says so."""
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
                return read.sha256, (layers if isinstance(layers, dict) else list(layers), note)
            except Exception as fault:
                return read.sha256, faults.row(fault)
    raise FileNotFoundError(f"{checkpoint.uri} could not be fetched")


@functools.lru_cache(maxsize=1)
def _network(content: str) -> Network:
    sweep = Sweep.model_validate_json(content)
    return Network(sweep, sounds.load(sweep.stimuli.name, **sweep.stimuli.arguments))
