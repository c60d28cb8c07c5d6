"""How much of a disk and of memory a crawl will take, said before it does."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import zarr

from dynamics import store
from dynamics.checkpoints import Checkpoint
from dynamics.extraction.poolings import Pooling
from dynamics.progress import size_of
from dynamics.sounds import StimulusSet
from dynamics.store import Place
from dynamics.store.components import Kept, in_words

logger = logging.getLogger(__name__)

# What is less is neither said nor refused.
_LEAST = 2**30

# Bytes that a value takes, at most: rounded values are stored with bits that compress to nothing.
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


def check(
    place: Place,
    features: Mapping[str, int],
    stimuli: StimulusSet,
    pooling: Pooling,
    *,
    steps: int,
    dtype: str,
    kept: Mapping[str, Kept] | None = None,
) -> int:
    """Say what the activations of a crawl will take, and refuse where the disk has less.

    Parameters
    ----------
    place : Place
        The store.
    features : mapping of str to int
        Number of features by layer.
    stimuli : StimulusSet
        The sounds.
    pooling : Pooling
        What is kept of the frames.
    steps : int
        Steps and untrained networks to come.
    dtype : str
        Of the store.
    kept : mapping of str to Kept, optional
        Where features are components, what these keep of the first network's layers.

    Returns
    -------
    int
        Bytes, before compression, which saves a tenth or so.

    Raises
    ------
    OSError
        If the store is on a disk with less room.
    """
    counts = pooling.counts(stimuli.durations)
    samples = len(stimuli) if counts is None else int(np.sum(counts))
    bytes_all = samples * sum(features.values()) * steps * _BYTES[dtype]
    if bytes_all < _LEAST:
        return bytes_all
    times = "" if counts is None else f" ({samples:,} samples in time)"
    told = (
        f"activations of {len(stimuli)} stimuli{times}, {sum(features.values()):,} features in "
        f"{len(features)} layers and {steps} steps as {dtype} take about {size_of(bytes_all)}"
    )
    if kept:
        told += f" (components: {in_words(kept)} of the first network)"
    free = None
    if place.local is not None:
        there = next(path for path in (place.local, *place.local.absolute().parents)
                     if path.exists())  # fmt: skip
        free = shutil.disk_usage(there).free
    if free is not None and bytes_all > free:
        raise OSError(
            f"no space left for store {place}: {told} and {size_of(free)} are free: lower the "
            "rate of the `pooling`, set `components`, `dtype: float16` or `select`, or make room"
        )
    logger.warning("%s%s", told, "" if free is None else f" of {size_of(free)} that are free")
    return bytes_all


# A file holds weights, two moments of each, and in some runs an average of them.
_BESIDE_WEIGHTS = 4


def check_memory(client: Any, root: zarr.Group, todo: Sequence[Checkpoint]) -> None:
    """Refuse checkpoints that no worker of a cluster has the memory for.

    A worker holds the weights as they were read and in the network, and the activations of a step,
    whose size is known where the store has some already.

    Parameters
    ----------
    client : Workers
        Of a cluster.
    root : zarr.Group
        The store.
    todo : sequence of Checkpoint
        What is to be read.

    Raises
    ------
    OSError
        If the largest needs more than any worker has, with both numbers.
    """
    largest = max(todo, key=lambda checkpoint: checkpoint.bytes)
    layers = store.bytes_of_step(root)
    also = f", with its activations, {size_of(layers)}," if layers else ""
    client.must_hold(
        2 * largest.bytes / _BESIDE_WEIGHTS + layers,
        f"extracting step {largest.step}, a checkpoint of {size_of(largest.bytes)}{also}",
        "lower the rate of the `pooling`",
    )
