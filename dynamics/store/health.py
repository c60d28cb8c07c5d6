"""Say how a store is doing, verify what it holds, and mark steps to be done again."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import zarr

from dynamics.store import nodes
from dynamics.store.activations import content_hash
from dynamics.store.layout import DONE, FAILED, PENDING
from dynamics.store.locking import lock
from dynamics.store.nodes import activation_of
from dynamics.store.place import Where, place_of, reading, sizes_of, writing
from dynamics.store.read import (
    controls,
    controls_group,
    layer_names,
    open_group,
    records,
    steps,
)
from dynamics.store.repository import save

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


def verify(where: Where) -> dict[int, str]:
    """Read every done step and compare it with the hash that was taken when it was committed.

    Parameters
    ----------
    where : str, Path or Place
        A store.

    Returns
    -------
    dict of int to str
        What is wrong with each bad step; empty for a sound store.
    """
    root = open_group(where)
    found, rows, faults = records(root, "content"), steps(root), {}
    for step, record in sorted(found.items()):
        if record["status"] != DONE or not (fault := _fault(root, rows[step], record["content"])):
            continue
        if records(root, "content")[step] == record:  # not one that is being done again meanwhile
            faults[step] = fault
    return faults


def verify_controls(where: Where) -> dict[int, str]:
    """Return what `verify` finds in the several untrained networks of a store, by their number."""
    return verify(place_of(where) / "controls") if controls(where) else {}


def redo(where: Where, chosen: Sequence[int], *, untrained: Sequence[int] = ()) -> None:
    """Mark steps as pending, so that the next crawl does them again.

    Parameters
    ----------
    where : str, Path or Place
        A store.
    chosen : sequence of int
        Training steps.
    untrained : sequence of int
        Numbers of untrained networks.

    Raises
    ------
    ValueError
        If a step or network is not in the store; none is marked then.
    """
    with lock(where):
        root = open_group(where, mode="r+")
        tables = [(root, "step", chosen)]
        if untrained:
            group = controls_group(root)
            if group is None:
                raise ValueError(f"store {where} has no controls: its sweep asks for none")
            tables.append((group, "untrained network", untrained))
        for group, name, numbers in tables:
            rows = steps(group)
            if unknown := [number for number in numbers if number not in rows]:
                raise ValueError(
                    f"store {where} has no {name} {unknown[0]}: it has {_some(sorted(rows))}"
                )
        with writing(root):
            for group, _, numbers in tables:
                rows = steps(group)
                for number in numbers:
                    nodes.array(group, "checkpoints/status")[rows[number]] = PENDING
            save(root, f"redo {', '.join(map(str, [*chosen, *untrained]))}")


def _fault(root: zarr.Group, row: int, expected: str) -> str:
    try:
        found = content_hash(root, row)
    except Exception as error:  # whatever the decompressor makes of a damaged chunk
        return f"cannot be read ({' '.join(str(error).split()) or type(error).__name__})"
    if found != expected:
        return "holds other values than were committed"
    for layer in layer_names(root):
        if not _whole(nodes.parts_of(nodes.array(root, activation_of(layer)), row)):
            return f"has values of layer {layer} that are not finite"
    return ""


def _whole(parts: Iterable[tuple[int, int, np.ndarray]]) -> bool:
    """Whether values are finite; with time, NaN may stand past the end of a stimulus."""
    over = False
    for _, first, values in parts:
        finite = np.isfinite(values)
        over = over and first > 0  # where a stimulus's parts have ended, no other has values
        if finite.all() and not over:
            continue
        ended = np.isnan(values).all(axis=2) if values.ndim == 3 else np.zeros(len(values), bool)
        inside = finite | ended[..., None]
        if values.ndim < 3 or not inside.all() or (np.diff(ended.astype(int)) < 0).any():
            return False
        if over and not ended.all():
            return False
        over = bool(ended[:, -1].all())
    return True


def _some(values: Sequence[int], most: int = 12) -> str:
    shown = ", ".join(map(str, values[:most]))
    return shown + (f" and {len(values) - most} more" if len(values) > most else "")
