"""Write the results of a target and a metric, each step committed last; tables of step by step."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from dynamics.store import hashes, nodes, objectlock
from dynamics.store.layout import (
    TABLE_CHUNK,
    difference,
    new_array,
    new_coordinate,
    package_version,
    resize,
)
from dynamics.store.place import name_of, writing
from dynamics.store.repository import save

# Bytes and steps of a chunk of results: what is read and written again for every step added.
_CHUNK_BYTES, _MOST_STEPS = 2**18, 64


def begin_result(
    root: zarr.Group,
    target: str,
    metric: str,
    *,
    identity: Mapping[str, Any],
    coordinates: Mapping[str, tuple[str, npt.ArrayLike]],
) -> zarr.Group:
    """Open the group of one target and metric for writing, making it where there is none.

    One of another identity that has no complete step is made anew.

    Parameters
    ----------
    root : zarr.Group
        The store.
    target, metric : str
        Labels of the target and the metric.
    identity : mapping
        Everything that shapes the numbers (protocol, parameters, digest of the target, seed).
    coordinates : mapping of name to (dimension, values)
        Coordinates other than `step`.

    Returns
    -------
    zarr.Group
        The group.

    Raises
    ------
    ValueError
        If the group has results of another identity.
    """
    identity = json.loads(json.dumps(identity))
    name = f"results/{target}/{metric}"
    if name in root and "identity" in nodes.group(root, name).attrs:
        group = nodes.group(root, name)
        differs = difference(nodes.attributes(group)["identity"], identity)
        if differs is None:
            return group
        if committed(group):
            key, found, expected = differs
            raise ValueError(
                f"{name} in the store was computed with {key} = {found!r}, this sweep has "
                f"{expected!r}: give the target or metric another `label`"
            )
    with writing(root):
        group = nodes.require_group(root, name)
        group.attrs.put({})
        for old in nodes.members(group):
            del group[old]
        for key, (dim, values) in coordinates.items():
            new_coordinate(group, key, dim, values, key)
            hashes.note(group, key, nodes.values(group, key))
        new_array(group, "step", (0,), "int64", fill=-1, dims=("step",), chunks=(TABLE_CHUNK,))
        new_array(
            group,
            "checkpoint",
            (0,),
            str,
            fill="",
            dims=("step",),
            chunks=(TABLE_CHUNK,),
            attrs={"description": "content hash of the checkpoint, set last"},
        )
        new_array(
            group,
            hashes.HASH,
            (0,),
            str,
            fill="",
            dims=("step",),
            chunks=(TABLE_CHUNK,),
            attrs={"description": "hashes of the variables at a step, by which they are verified"},
        )
        hashes.note_variables(group)
        group.update_attributes({"package_version": package_version(), "identity": identity})
        hashes.note_group(nodes.group(root, "results"), f"{target}/{metric}")
    return group


def made_with(group: zarr.Group, name: str = "") -> dict[str, Any]:
    """Return the identity of results, or of a group of this name in it; empty where there is none.

    Parameters
    ----------
    group : zarr.Group
        The group of results, or the store.
    name : str
        Path of the group in it.

    Returns
    -------
    dict
        As it was given to `begin_result`.
    """
    if name and name not in group:
        return {}
    found = nodes.group(group, name) if name else group
    return dict(nodes.attributes(found).get("identity", {}))


def committed(group: zarr.Group) -> dict[int, str]:
    """Return the steps whose results are complete, with the content hash of their checkpoint."""
    whole: Iterable[str] = itertools.repeat("there")
    if hashes.is_hashed(group):
        # What was stopped between its checkpoint and its hash is done again.
        whole = nodes.values(group, hashes.HASH).tolist()
    sources = nodes.values(group, "checkpoint")  # before the steps: it is what is written last
    steps = nodes.values(group, "step").tolist()
    return {
        step: str(source) for step, source, each in zip(steps, sources, whole) if source and each
    }


def unmarked(group: zarr.Group, name: str) -> list[int]:
    """Return the complete steps at which a variable of marks (step) is 0."""
    marks = dict(zip(nodes.values(group, "step").tolist(), nodes.values(group, name).tolist()))
    return [step for step in committed(group) if not marks.get(step)]


def row_of(group: zarr.Group, step: int) -> tuple[int, int]:
    """Return a step's row in a group of results, a new one where it has none, and how many are."""
    return _row_in(nodes.array(group, "step"), step)


def _row_in(array: zarr.Array[Any], step: int) -> tuple[int, int]:
    known = np.asarray(array[:]).tolist()
    rows = {step: row for row, step in enumerate(known)}
    return rows.get(step, len(known)), len(known)


def write_result(
    group: zarr.Group,
    step: int,
    values: Mapping[str, tuple[Sequence[str], np.ndarray]],
    *,
    checkpoint: str,
    attrs: Mapping[str, Mapping[str, str]] | None = None,
) -> None:
    """Write and commit the results of one step.

    Parameters
    ----------
    group : zarr.Group
        Group of a target and a metric.
    step : int
        Training step.
    values : mapping of name to (dimensions, array)
        Variables, without the step axis.
    checkpoint : str
        Content hash of the checkpoint that they come from.
    attrs : mapping of name to mapping, optional
        Description and units of the variables.

    Raises
    ------
    OSError
        If they cannot be written.
    """
    objectlock.check(name_of(group))
    with writing(group):
        # Each is opened once: a store of a thousand steps is written to a thousand times.
        there = _arrays(group)
        row, count = _row_in(there["step"], step)
        total = max(count, row + 1)
        if row < count:
            uncommit(group, row)
        for name, (dims, array) in values.items():
            array = np.asarray(array)
            if name not in there:
                if hashes.is_hashed(group):
                    hashes.note_variables(group, name)
                there[name] = new_array(
                    group,
                    name,
                    (total, *array.shape),
                    array.dtype,
                    fill=np.nan if array.dtype.kind == "f" else 0,
                    dims=("step", *dims),
                    **_grid(array, dims),
                    attrs=(attrs or {}).get(name, {}),
                )
            resize(there[name], total)
            there[name][row] = array
        resize(there["checkpoint"], total)
        if hashes.is_hashed(group):
            resize(there[hashes.HASH], total)
        if row == count:
            resize(there["step"], total)
            there["step"][row] = step
        there["checkpoint"][row] = checkpoint
        if hashes.is_hashed(group):
            there[hashes.HASH][row] = hashes.of_row(group, row, known=there)
        save(group, f"{group.path} step {step}")


def _arrays(group: zarr.Group) -> dict[str, zarr.Array[Any]]:
    """Open all arrays of a group; a LostError where one is missing that each must have."""
    found = nodes.members(group)
    for name in ("step", "checkpoint", *([hashes.HASH] if hashes.is_hashed(group) else [])):
        if name not in found:
            nodes.array(group, name)
    return {name: node for name, node in found.items() if isinstance(node, zarr.Array)}


def write_constant(
    group: zarr.Group, name: str, dims: Sequence[str], values: np.ndarray, *, description: str
) -> None:
    """Write a variable without a step axis (baseline, noise ceiling) into a group of results.

    Its description is written last: see `is_written`.
    """
    values = np.asarray(values)
    objectlock.check(name_of(group))
    with writing(group):
        if name in group:
            hashes.note(group, name, None)
            del group[name]
        array = new_array(
            group,
            name,
            values.shape,
            values.dtype,
            fill=np.nan if values.dtype.kind == "f" else 0,
            dims=dims,
            chunks=values.shape,
        )
        array[...] = values
        hashes.note(group, name, array[...])
        array.update_attributes({"description": description, "units": "1"})
        save(group, f"{group.path} {name}")


def write_label(group: zarr.Group, name: str, text: str, description: str) -> None:
    """Write a word about all of a group as a coordinate without dimensions.

    Unlike an attribute it stays with every curve, and becomes one entry a curve where several are
    put side by side.
    """
    with writing(group):
        array = new_array(group, name, (), str, fill="", dims=(), chunks=())
        array[...] = text
        known = str(group.attrs.get("coordinates", "")).split()
        group.attrs["coordinates"] = " ".join(sorted({*known, name}))
        hashes.note(group, name, text)
        array.attrs["description"] = description


# Neuroids of a chunk where a step has many, so that those of a region are read without the others.
_NEUROIDS, _MANY_BYTES = 2048, 2**20


def _grid(array: np.ndarray, dims: Sequence[str]) -> dict[str, Any]:
    """Return chunks, and shards if any, of a variable of which a step is this array."""
    if array.nbytes <= _MANY_BYTES or dims[-1] != "neuroid" or array.shape[-1] <= _NEUROIDS:
        return {"chunks": (_steps_a_chunk(array.nbytes), *array.shape)}
    whole = -(-array.shape[-1] // _NEUROIDS) * _NEUROIDS
    others = (1, *array.shape[:-1])
    return {"chunks": (*others, _NEUROIDS), "shards": (*others, whole)}


def _steps_a_chunk(size: int) -> int:
    """Choose how many steps of so many bytes each stand in one chunk.

    One process writes all of them, so a chunk may be shared: it is replaced as a whole, by a
    rename or a single request, and never half-written. A curve of 1,000 steps is then a few reads.
    Results of many neuroids too are one process' work: 9 MB a step cost it 0.15 s, of the 40 s and
    more that the step takes a worker, which is not worth a second way to the store.
    """
    return max(1, min(_MOST_STEPS, _CHUNK_BYTES // max(1, size)))


# Entries of a row that lie together: a row of a thousand steps is a handful of small files.
_WIDTH = 256


def write_pairs(
    group: zarr.Group,
    step: int,
    others: Sequence[int],
    values: np.ndarray,
    *,
    name: str = "similarity",
    dims: Sequence[str] = ("layer",),
    attrs: Mapping[str, Any] | None = None,
) -> None:
    """Write a step's row and column of a symmetric table, before the step is committed.

    The table has a row and a column for every step in order of arrival. A reader drops those of
    steps that are not committed, so that a process killed here leaves nothing wrong behind.

    Parameters
    ----------
    group : zarr.Group
        Group of results whose steps `write_result` commits.
    step : int
        Training step; it must not be committed.
    others : sequence of int
        The steps that it was compared with: committed ones, and itself.
    values : array of shape (n_others, ...)
        The similarities.
    name : str
        Name of the variable.
    dims : sequence of str
        Names of the further dimensions.
    attrs : mapping, optional
        Description and units.
    """
    row, count = row_of(group, step)
    later = _later(group, row)
    rows = {int(s): place for place, s in enumerate(nodes.values(group, "step"))} | {step: row}
    if row < nodes.array(group, "checkpoint").shape[0]:
        uncommit(group, row)
    size, values = max(count, row + 1), np.asarray(values, float)
    if name not in group:
        if hashes.is_hashed(group):
            hashes.note_variables(group, name)
        array = new_array(
            group,
            name,
            (size, size, *values.shape[1:]),
            "float64",
            fill=np.nan,
            dims=("step", "step_other", *dims),
            chunks=(1, _WIDTH, *values.shape[1:]),
        )
        array.attrs.update(attrs or {})
    array = nodes.array(group, name)
    if array.shape[0] < size or array.shape[1] < size:
        array.resize((size, size, *array.shape[2:]))
    line = np.full((size, *values.shape[1:]), np.nan)
    line[[rows[other] for other in others]] = values
    array[row] = line
    array[:, row] = line
    for each in later:
        nodes.array(group, hashes.HASH)[each] = hashes.of_row(group, each)


def _later(group: zarr.Group, row: int) -> list[int]:
    """Return rows whose hashes a row that is written again changes; of damaged ones they stay."""
    if not hashes.is_hashed(group) or row + 1 >= nodes.array(group, "checkpoint").shape[0]:
        return []
    known = nodes.values(group, hashes.HASH).tolist()
    damaged = hashes.faults_of_steps(group)
    return [each for each in range(row + 1, len(known)) if known[each] and each not in damaged]


def uncommit(group: zarr.Group, row: int) -> None:
    """Have a step of a group of results not count any more."""
    nodes.array(group, "checkpoint")[row] = ""
    # One that was stopped while its arrays grew has no place for a hash yet.
    if hashes.is_hashed(group) and row < nodes.array(group, hashes.HASH).shape[0]:
        nodes.array(group, hashes.HASH)[row] = ""
