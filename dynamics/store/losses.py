"""What a look at a store finds missing: arrays that were deleted, swapped or only half copied.

Little is read for it: names, the coordinates that are read anyway, and which chunks there are.
`dynamics.store.health` reads all.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dynamics.store.damage import some
from dynamics.store.hashes import HASH, HASHES, LAYERS, fault_of_rows, hash_of, of_record
from dynamics.store.layout import ADDED, COLUMNS, DONE, FAILED, PENDING
from dynamics.store.snapshot import Snapshot

_SHOWN = 3


def losses(seen: Snapshot, only: str = "") -> list[str]:
    """Name what is missing in what was seen of a store, and put steps right that are there twice.

    Parameters
    ----------
    seen : Snapshot
        After a look; the steps of activations are taken from the table where theirs are lost.
    only : str
        Path of the group that was looked into; of those above little was read.

    Returns
    -------
    list of str
        What is wrong, such as ``results/brain/ridge/baseline is lost``.
    """
    found = []
    for start in ("", "controls/"):
        table = f"{start}checkpoints"
        made = "schema" in seen.nodes.get(start.rstrip("/"), {}).get("attributes", {})
        if made and not only:
            rooms = (f"{start}{room}" for room in ("checkpoints", "activations", "results"))
            found += [f"{room} is lost" for room in rooms if room not in seen.nodes]
        if made and table in seen.nodes and table.startswith(only):
            wanted = (f"{table}/{name}" for name in COLUMNS if name not in ADDED)
            found += [f"{path} is lost" for path in wanted if path not in seen.nodes]
            found += _of_rows(seen, table)
        found += _of_activations(seen, start)
    for path in seen.groups():
        if not only or f"{path}/".startswith(f"{only}/"):
            found += _of_hashes(seen, path)
    return found


def _of_hashes(seen: Snapshot, path: str) -> Iterator[str]:
    for name, expected in seen.nodes[path]["attributes"].get(HASHES, {}).items():
        own = f"{path}/{name}"
        if name == HASH:
            rows = seen.values.get(f"{path}/checkpoint", ())
            wanted = ["step", "checkpoint", HASH, *(expected.split() if any(rows) else ())]
            each = (f"{path}/{variable}" for variable in wanted)
            yield from (f"{variable} is lost" for variable in each if variable not in seen.nodes)
            yield from _of_texts(seen, path)
            yield from _of_chunks(seen, path, expected.split())
            continue
        if name.endswith("/"):
            if seen.nodes.get(own.strip("/"), {}).get("node_type") != "group":
                yield f"{own.strip('/')} is lost"
            continue
        values: Any = _layers(seen, path) if name == LAYERS else seen.values.get(own)
        if values is None and own in seen.nodes and _lacks(seen, own, [0]):
            values = np.asarray(seen.array(own)[...])  # all of it may be what is not written
        if name != LAYERS and seen.nodes.get(own, {}).get("node_type") != "array":
            yield f"{own} is lost"
        elif values is not None and hash_of(name, values) != expected:
            yield f"{own} holds other values than were written"


def _of_texts(seen: Snapshot, path: str) -> Iterator[str]:
    """Name steps with half of their marks: a writer that was stopped leaves one at most."""
    names = ("step", "checkpoint", HASH)
    columns = [
        seen.values[own].tolist() for name in names if (own := f"{path}/{name}") in seen.values
    ]
    if len(columns) == len(names):
        for place, name in enumerate(names):
            # A step that is not written yet has neither a checkpoint nor a hash.
            marks = [(row[0] >= 0, bool(row[1]), bool(row[2])) for row in zip(*columns)]
            lost = [k for k, row in enumerate(marks) if not row[place] and any(row[1:])]
            if len(lost) > 1:
                at = (
                    ""
                    if name == "step"
                    else f" of step {some([columns[0][k] for k in lost], _SHOWN)}"
                )
                yield f"{path}/{name}{at} is lost"


def _of_chunks(seen: Snapshot, path: str, names: Sequence[str]) -> Iterator[str]:
    """Name variables of results of which a file is not there that held something."""
    sources = seen.values.get(f"{path}/checkpoint", np.array([]))
    rows = np.flatnonzero(np.asarray(sources) != "")
    for own in (f"{path}/{name}" for name in names if f"{path}/{name}" in seen.nodes):
        # Of chunks that are all NaN there are no files.
        if lost := _lacks(seen, own, rows.tolist()):
            with contextlib.suppress(Exception):  # what is damaged is said when it is read
                name, array = own.rpartition("/")[2], seen.array(own)
                if fault_of_rows(array, name, seen.expected(path, name, lost)):
                    yield f"{own} of some steps is lost"


def _of_rows(seen: Snapshot, table: str) -> Iterator[str]:
    """Look at a row of the table of checkpoints, if a file that rows mostly have is not there."""
    names = [name for name in COLUMNS if name in _FILLED and f"{table}/{name}" in seen.nodes]
    statuses = seen.values.get(f"{table}/status", np.array([]))
    done = np.flatnonzero(np.asarray(statuses) == DONE)[:1].tolist()
    if not done or not any(_lacks(seen, f"{table}/{name}", done) for name in names):
        return
    with contextlib.suppress(Exception):  # what is damaged is said when it is read
        there = [name for name in COLUMNS if f"{table}/{name}" in seen.nodes]
        record = {name: seen.array(f"{table}/{name}")[done[0]] for name in there}
        record = {name: np.asarray(value).item() for name, value in record.items()}
        if record.get(HASH) and of_record(record) != record[HASH]:
            yield f"{table} holds other values than were written"


# Columns of which a done row has a value as a rule.
_FILLED = ("uri", "sha256", "bytes", "modified", "content", "seconds")


def _lacks(seen: Snapshot, path: str, rows: Sequence[int]) -> list[int]:
    """Return those of some rows whose first chunk is not in the folder of an array."""
    if seen.folder is None:
        return []
    node = seen.nodes[path]
    if node["node_type"] != "array" or not node["shape"]:
        return []
    size, rest = node["chunk_grid"]["configuration"]["chunk_shape"][0], len(node["shape"]) - 1
    folder, first = seen.folder / seen.top / path / "c", "/0" * rest
    known = {row // size for row in rows}
    lost = {place for place in known if not os.path.isfile(f"{folder}/{place}{first}")}
    return [row for row in rows if row // size in lost]


def _layers(seen: Snapshot, path: str) -> list[str]:
    below = [each for each in seen.groups() if each.rpartition("/")[0] == path]
    below = sorted(below, key=seen.rank)
    return [str(seen.nodes[each]["attributes"].get("layer")) for each in below]


def _of_activations(seen: Snapshot, start: str) -> list[str]:
    table, axis = f"{start}checkpoints/step", f"{start}activations/step"
    statuses = seen.values.get(f"{start}checkpoints/status")
    if statuses is None or table not in seen.values or f"{start}activations" not in seen.nodes:
        return []
    done = np.flatnonzero(statuses == DONE)
    steps = seen.values[table]
    found = []
    columns = [f"{start}checkpoints/{name}" for name in ("status", "content")]
    # What writes a content writes a status after it; one may have been stopped between the two.
    if [bool(own in seen.nodes and _lacks(seen, own, [0])) for own in columns] == [True, False]:
        with contextlib.suppress(Exception):  # what is damaged is said when it is read
            if (seen.whole(columns[1]) != "").sum() > 1:
                found.append(f"{columns[0]} is lost")
    if not np.isin(statuses, (DONE, FAILED, PENDING)).all():
        found.append(f"{start}checkpoints/status holds other values than were written")
    if len(done) and done[-1] < len(steps):
        own = seen.values.get(axis)
        if own is None or len(own) <= done[-1] or (own[done] != steps[done]).any():
            found.append(f"{axis} is lost" if own is None else f"{axis} holds other steps")
            seen.values[axis], seen.nodes[axis] = steps, seen.nodes[table]
    if seen.folder is None:
        return found
    for path in seen.nodes:
        if path.endswith("/activation") and path.startswith(f"{start}activations/"):
            rows = [row for row in done.tolist() if row < len(steps)]
            lost = [int(steps[row]) for row in _lacks(seen, path, rows)]
            if lost:
                found.append(f"{path} of step {some(lost, _SHOWN)} is lost")
    return found
