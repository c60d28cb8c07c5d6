"""Hashes of what is committed, by which a loss shows itself.

A group of results has one for every variable of every step, in a column of texts that is written
last, and for every array without steps in an attribute; so have the coordinates of activations.
What stores of before have not is not looked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from dynamics.store import nodes
from dynamics.store.damage import damaged, reason

# The column of a group of results, and the attribute of any group: readers do not see them.
HASH, HASHES = "hash", "hashes"
# Among the hashes of activations, that of the names of all layers.
LAYERS = "layers"
_DIGITS = 16
_AXES = ("step", "checkpoint", HASH)


def hash_of(name: str, values: npt.ArrayLike, *more: object) -> str:
    """Hash values with the name that they go by.

    Parameters
    ----------
    name : str
        Name of the array: values under the name of another are others.
    values : array
        Numbers or texts. All zeros are the same, and all NaN: a store need not keep which.
    *more : object
        What they belong to, such as the step and its checkpoint.

    Returns
    -------
    str
        16 hexadecimal digits of SHA-256.
    """
    given = np.asarray(values)
    total = hashlib.sha256(repr((name, given.shape, *map(str, more))).encode())
    if given.dtype.kind in "UOT":
        total.update("\0".join(map(str, given.ravel().tolist())).encode(errors="backslashreplace"))
    else:
        if given.dtype.kind == "f":
            given = np.array(given + 0.0, given.dtype, copy=None)
            np.copyto(given, np.nan, where=np.isnan(given))
        total.update(np.ascontiguousarray(given).reshape(-1).view(np.uint8).data)
    return total.hexdigest()[:_DIGITS]


def of_record(record: Mapping[str, Any]) -> str:
    """Hash a row of the table of checkpoints, but for its status, which `redo` changes.

    Of the seconds that it took, only whether they are there: the same run gives the same hash.
    """
    values = {**record, "seconds": bool(record["seconds"] == record["seconds"])}
    return hash_of("record", [f"{n}={values[n]}" for n in sorted({*values} - {HASH, "status"})])


def note(group: zarr.Group, name: str, values: npt.ArrayLike | None) -> None:
    """Write the hash of an array without steps beside it; None where it is taken away."""
    known = _known(group)
    known.pop(name, None)
    if values is not None:
        known[name] = hash_of(name, values)
    group.update_attributes({HASHES: known})


def note_group(group: zarr.Group, name: str, *, there: bool = True) -> None:
    """Have a group know that there is another below it, or that it was taken away."""
    known = _known(group)
    if (f"{name}/" in known) != there:
        known.pop(f"{name}/", None)
        group.update_attributes({HASHES: known | ({f"{name}/": ""} if there else {})})


def note_new(group: zarr.Group, *, layers: Sequence[str]) -> None:
    """Write the hashes of coordinates of activations, and of the layers, that have none yet."""
    known = stated(group)
    new = {
        name: hash_of(name, node[...])
        for name, node in nodes.members(group).items()
        if isinstance(node, zarr.Array) and name != "step" and name not in known
    }
    if (of_layers := hash_of(LAYERS, layers)) != known.get(LAYERS):
        new[LAYERS] = of_layers
    if new:
        group.update_attributes({HASHES: {**_known(group), **new}})


def note_variables(group: zarr.Group, *names: str) -> None:
    """Have a group of results know that its steps have hashes, and of which variables."""
    known = _known(group)
    every = " ".join(sorted({*known.get(HASH, "").split(), *names}))
    if known.get(HASH) != every:
        group.update_attributes({HASHES: known | {HASH: every}})


def _known(group: zarr.Group) -> dict[str, str]:
    """Return the hashes that a group has on disk, where another handle may have written some."""
    now = zarr.open_group(group.store, path=group.path, mode="r+", use_consolidated=False)
    attributes = group.metadata.attributes
    attributes.clear()
    attributes.update(now.attrs.asdict())
    return dict(stated(group))


def stated(group: zarr.Group) -> Mapping[str, str]:
    """Return the hashes that a group has by name; none where it was made before there were any."""
    found = nodes.attributes(group).get(HASHES, {})
    if not are_texts(found):
        raise damaged(f"`{group.path}`")
    return found


def are_texts(found: Any) -> bool:
    """Whether an attribute of hashes has the form of one: texts by name."""
    return isinstance(found, dict) and all(isinstance(each, str) for each in found.values())


def is_hashed(group: zarr.Group) -> bool:
    """Whether the steps of a group of results have hashes."""
    return HASH in stated(group)


def _variables(members: Mapping[str, Any]) -> list[str]:
    return [
        name
        for name, node in members.items()
        if isinstance(node, zarr.Array) and name not in _AXES and has_steps(node)
    ]


def has_steps(node: Any) -> bool:
    """Whether the first axis of an array is that of the steps."""
    return isinstance(node, zarr.Array) and (
        (node.metadata.dimension_names or ("",))[0] == "step"  # type: ignore[union-attr]
    )


def of_row(
    group: zarr.Group,
    row: int,
    names: Sequence[str] = (),
    known: Mapping[str, zarr.Array[Any]] | None = None,
) -> str:
    """Hash a step of a group of results as it is on disk.

    Parameters
    ----------
    group : zarr.Group
        Group of a target and a metric.
    row : int
        Row of the step, which is committed.
    names : sequence of str
        The variables; by default all.
    known : mapping of str to zarr.Array, optional
        All arrays of the group, where they have been opened.

    Returns
    -------
    str
        Names and hashes, as ``score:0123456789abcdef r2:...``.
    """
    # In an order that is the same wherever a writer was stopped before.
    wanted = [*_AXES[:2], *sorted(names or _variables(known or nodes.members(group)))]
    arrays = [known[name] for name in wanted] if known else nodes.arrays(group, wanted)
    values = nodes.rows(arrays, row)
    owner = tuple(each.item() for each in values[:2])
    each = list(zip(wanted, arrays, values))[2:]
    return " ".join(f"{n}:{_of_values(n, array, row, v, owner)}" for n, array, v in each)


def faults_of_steps(group: zarr.Group) -> dict[int, str]:
    """Say what is wrong with the steps of a group of results.

    Parameters
    ----------
    group : zarr.Group
        Group of a target and a metric.

    Returns
    -------
    dict of int to str
        By row; empty for one that is whole, or has no hashes as it was made before.
    """
    if not is_hashed(group):
        return {}
    promised = stated(group)[HASH].split()
    members = nodes.members(group)
    if lost := [name for name in (*_AXES, *promised) if name not in members]:
        return {-1: f"`{lost[0]}` is lost"}
    if odd := [name for name in (*_AXES, *promised) if not has_steps(members[name])]:
        return {-1: f"`{odd[0]}` has lost its steps"}
    try:
        columns = {name: nodes.values(group, name).tolist() for name in _AXES}
    except Exception as error:  # whatever a damaged array or chunk makes of it
        return {-1: f"its steps or hashes cannot be read ({reason(error)[:120]})"}
    faults: dict[int, str] = {}
    wanted: dict[str, dict[int, tuple[str, Any]]] = {}
    for row, (step, source, text) in enumerate(zip(*columns.values())):
        if (text and not source) or (source and (step < 0 or not text)):
            faults[row] = "has lost its step, its checkpoint or its hash"
        for each in text.split() if source else ():
            if ":" not in each:  # of another column
                faults[row] = "has lost its hash"
                continue
            name, _, expected = each.rpartition(":")
            wanted.setdefault(name, {})[row] = (expected, (step, source))
    for name, rows in wanted.items():
        for row, fault in _faults_of(group, name, rows):
            faults.setdefault(row, fault)
    return faults


def fault_of_rows(
    array: zarr.Array[Any],
    name: str,
    wanted: Mapping[int, tuple[str, tuple[int, str]]],
    last: Any = slice(None),
) -> str:
    """Say which step of a variable of results holds other values than were committed.

    Parameters
    ----------
    array : zarr.Array
        The variable.
    name : str
        Its name.
    wanted : mapping of int to (hash, (step, checkpoint))
        By row that is looked at.
    last : int, slice or array of int
        What is looked at along the last axis. Where a step lies in several chunks, each has its
        own hash, and no others are read.

    Returns
    -------
    str
        As ``values at step 20``; empty where all is well or there are no hashes.
    """
    if array.shards is None:
        for row, _ in _faults_of_array(array, name, wanted):
            return f"values at step {wanted[row][1][0]}"
        return ""
    chosen = _blocks_of(array, last)
    for row, (expected, owner) in wanted.items():
        parts = expected.split(",")
        for number in chosen:
            part = slice(number * array.chunks[-1], (number + 1) * array.chunks[-1])
            found = hash_of(name, array[row, ..., part], *owner, part.start)
            if number >= len(parts) or found != parts[number]:
                return f"values at step {owner[0]}"
    return ""


def _blocks_of(array: zarr.Array[Any], last: Any) -> list[int]:
    """Return the numbers of the chunks along the last axis that hold some places of it."""
    places = np.atleast_1d(np.arange(array.shape[-1])[last])
    return np.unique(places // array.chunks[-1]).tolist()


def faults_of_constants(group: zarr.Group) -> dict[str, str]:
    """Say what is wrong with the arrays of a group that have no steps, by name."""
    faults = {}
    for name, expected in stated(group).items():
        if name in (HASH, LAYERS):
            continue
        try:
            if name.endswith("/"):
                if not nodes.has(group, name.rstrip("/")):
                    faults[name.rstrip("/")] = "is lost"
                continue
            found = hash_of(name, nodes.values(group, name)) if nodes.has(group, name) else ""
        except Exception as error:  # whatever the decompressor makes of a damaged chunk
            faults[name.rstrip("/")] = f"cannot be read ({reason(error)[:120]})"
            continue
        if found != expected:
            faults[name] = "holds other values than were written" if found else "is lost"
    return faults


def _faults_of(
    group: zarr.Group, name: str, rows: Mapping[int, tuple[str, Any]]
) -> Iterator[tuple[int, str]]:
    if not nodes.has(group, name):
        yield from ((row, f"has lost `{name}`") for row in rows)
        return
    try:
        array = nodes.array(group, name)
    except Exception as error:  # another file may lie in the place of its description
        told = reason(error)[:120]
        yield from ((row, f"cannot be read in `{name}` ({told})") for row in rows)
        return
    yield from _faults_of_array(array, name, rows)


def _faults_of_array(
    array: zarr.Array[Any], name: str, rows: Mapping[int, tuple[str, Any]]
) -> Iterator[tuple[int, str]]:
    size = max(1, array.chunks[0])
    for start in range(0, array.shape[0], size):
        some = [row for row in rows if start <= row < start + size]
        try:
            block = np.asarray(array[start : start + size]) if some else None
        except Exception as error:
            told = reason(error)[:120]
            yield from ((row, f"cannot be read in `{name}` ({told})") for row in some)
            continue
        for row in some:
            expected, owner = rows[row]
            if block is None or expected != _of_values(name, array, row, block[row - start], owner):
                yield row, f"holds other values of `{name}` than were committed"
    yield from ((row, f"has lost `{name}`") for row in rows if row >= array.shape[0])


def _of_values(
    name: str, array: zarr.Array[Any], row: int, values: np.ndarray, owner: tuple[int, str]
) -> str:
    """Hash a row of a variable with the step and checkpoint that it belongs to."""
    dims = array.metadata.dimension_names or ()  # type: ignore[union-attr]
    if "step_other" in dims:  # what came later is in the rows of those
        values = values[: row + 1]
    if array.shards is not None:  # a hash for every chunk
        width = array.chunks[-1]
        starts = range(0, array.shape[-1], width)
        each = (hash_of(name, values[..., k : k + width], *owner, k) for k in starts)
        return ",".join(each)
    return hash_of(name, values, *owner)
