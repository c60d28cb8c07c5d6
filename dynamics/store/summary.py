"""Say how far a store is."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from dynamics.store import nodes
from dynamics.store.layout import DONE, FAILED, PENDING
from dynamics.store.place import Where, reading, sizes_of
from dynamics.store.read import layer_names, open_group, records

# Table (of steps, or of untrained networks), layer and row of a chunk of activations.
_CHUNK = re.compile(r"((?:.*/)?)activations/([^/]+)/activation/c/(\d+)")


@dataclass(frozen=True)
class Summary:
    """How far a store is.

    Attributes
    ----------
    done, failed, pending : int
        Numbers of steps.
    layers : int
        Number of layers.
    bytes : int
        Size of all files.
    files : int
        Number of files (objects, in an object store).
    activation_bytes : int
        Size of the activations, compressed.
    ratio : float
        Bytes of the activations as float32 over `activation_bytes`; NaN where there are none.
    files_per_step : float
        Files of activations per step that has some.
    seconds_per_step : float
        Median time of a done step; NaN where there is none.
    seconds_left : float
        Estimate for the pending steps; NaN where there is no done step.
    """

    done: int
    failed: int
    pending: int
    layers: int
    bytes: int
    files: int
    activation_bytes: int
    ratio: float
    files_per_step: float
    seconds_per_step: float
    seconds_left: float


def summarise(where: Where) -> Summary:
    """Say how far a store is.

    Parameters
    ----------
    where : str, Path or Place
        A store.

    Returns
    -------
    Summary
        Counts, size and estimates.
    """
    root = open_group(where)
    rows = records(root, "status", "seconds").values()
    found = [row["status"] for row in rows]
    seconds = [row["seconds"] for row in rows if row["status"] == DONE]
    rate = float(np.median(seconds)) if seconds else float("nan")
    with reading(where):
        sizes = sizes_of(root)
    layers = layer_names(root)
    matches = {key: match for key in sizes if (match := _CHUNK.match(key))}
    bytes_of_chunks = sum(sizes[key] for key in matches)
    written = {match.group(1, 3) for match in matches.values()}
    whole = sum(
        4 * count * int(np.prod(nodes.array(root, f"activations/{layer}/activation").chunks))
        for layer, count in Counter(match[2] for match in matches.values()).items()
    )
    pending = found.count(PENDING)
    return Summary(
        done=found.count(DONE),
        failed=found.count(FAILED),
        pending=pending,
        layers=len(layers),
        bytes=sum(sizes.values()),
        files=len(sizes),
        activation_bytes=bytes_of_chunks,
        ratio=whole / bytes_of_chunks if matches else float("nan"),
        files_per_step=len(matches) / len(written) if written else float("nan"),
        seconds_per_step=rate,
        seconds_left=rate * pending if pending else 0.0,
    )
