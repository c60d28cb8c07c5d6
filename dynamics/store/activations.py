"""Write checkpoints and their activations, each step committed last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from dynamics.store import hashes, nodes, objectlock
from dynamics.store.components import Kept, write_kept
from dynamics.store.layout import (
    ADDED,
    COLUMNS,
    DONE,
    PENDING,
    MisfitError,
    has_layer,
    is_written,
    new_column,
    new_coordinate,
    new_layer,
    resize,
    write_coordinates,
)
from dynamics.store.nodes import activation_of, group_name, kept_of, storable
from dynamics.store.place import name_of, writing
from dynamics.store.precision import record_errors, round_layers
from dynamics.store.read import content_of, kept_at, layer_names, records, steps
from dynamics.store.repository import save


def plan(
    root: zarr.Group, found: Sequence[tuple[int, str, int]], *, modified: Sequence[float] = ()
) -> None:
    """Give every checkpoint a row, and mend a store that was stopped while it grew.

    Parameters
    ----------
    root : zarr.Group
        The store.
    found : sequence of (step, uri, bytes)
        The checkpoints; those that have a row already keep it.
    modified : sequence of float, optional
        When each of them was written.
    """
    times = [*modified, *[np.nan] * (len(found) - len(modified))]
    with writing(root):
        known = steps(root)
        new = [(*item, time) for item, time in zip(found, times) if item[0] not in known]
        # Every array but `step` is resized first: only rows that `step` names are looked at.
        total = len(known) + len(new)
        for layer in layer_names(root):
            for path in (activation_of(layer), kept_of(layer)):
                if nodes.has(root, path):
                    resize(nodes.array(root, path), total)
        if nodes.has(root, "activations/stimulus") and not is_written(root, "activations/step"):
            new_coordinate(nodes.group(root, "activations"), "step", "step", [], "training step")
        if nodes.has(root, "activations/step"):
            every = np.array([*known, *(item[0] for item in new)], dtype="int64")
            axis = nodes.array(root, "activations/step")
            resize(axis, total)
            if not np.array_equal(axis[:], every):
                axis[:] = every
        for name in (name for name in ADDED if not nodes.has(root, f"checkpoints/{name}")):
            new_column(nodes.group(root, "checkpoints"), name)
        for name in (*(name for name in COLUMNS if name != "step"), "step"):
            resize(nodes.array(root, f"checkpoints/{name}"), total)
        # The step last: with it there is a row, which is never filled in again.
        for column, name in ((1, "uri"), (2, "bytes"), (3, "modified"), (0, "step")):
            if new:
                kind: Any = object if name == "uri" else COLUMNS[name][0]
                values = np.array([storable(item[column]) for item in new], dtype=kind)
                nodes.array(root, f"checkpoints/{name}")[len(known) :] = values


def write_activations(
    root: zarr.Group,
    step: int,
    layers: Mapping[str, np.ndarray],
    *,
    stimuli: Sequence[str],
    categories: Sequence[str],
    times: np.ndarray | None = None,
    labels: Mapping[str, tuple[npt.ArrayLike, str, str]] | None = None,
    kept: Mapping[str, Kept] | None = None,
    shared: bool = False,
) -> None:
    """Write every layer of one step; the step stays unseen until `commit`.

    Parameters
    ----------
    root : zarr.Group
        The store.
    step : int
        Training step; it must have a row.
    layers : mapping of str to array of shape (n_stimuli, n_features)
        Pooled activations; (n_stimuli, n_times, n_features) where they keep time.
    stimuli, categories : sequence of str
        Names and categories of the stimuli, in row order.
    times : array of shape (n_times,), optional
        Seconds, centres of the samples: the same for all layers and steps.
    labels : mapping of str to (array of shape (n_stimuli,), str, str), optional
        What else is known of the stimuli: values, description and units, by name.
    kept : mapping of str to Kept, optional
        Where features are components, what these keep of each layer.
    shared : bool
        Whether other processes write chunks of other steps meanwhile (`dynamics.store.direct`).

    Raises
    ------
    MisfitError
        If a layer has another shape than in the steps before, or a value beyond the largest of
        the store's `dtype`; nothing is written then.
    OSError
        If it cannot be written.
    """
    layers = {name: np.asarray(values) for name, values in layers.items()}
    dtype = nodes.attributes(root)["identity"].get("dtype", "float32")
    rounded = round_layers(layers, dtype)
    with writing(root):
        group = nodes.group(root, "activations")
        rows = steps(root)
        row, total = rows[step], len(rows)
        _check_shapes(group, step, rounded)
        for number, (layer, values) in enumerate(rounded.items()):
            if not has_layer(root, layer):
                shape = (total, *values.shape)
                new_layer(group, layer, number, shape, (1, *values.shape), anew=not shared)
            array = nodes.array(root, activation_of(layer))
            array[row] = values
            record_errors(array, layers[layer], values, dtype)
        write_kept(root, row, kept or {})
        write_coordinates(root, stimuli, categories, times, labels, taken=layers)


def commit(root: zarr.Group, step: int, *, status: str = DONE, **columns: Any) -> None:
    """Write a step's row in the table of checkpoints, its status last.

    Parameters
    ----------
    root : zarr.Group
        The store.
    step : int
        Training step.
    status : str
        "done" or "failed".
    **columns
        Values of the other columns (uri, sha256, bytes, modified, error, note, seconds), and
        `content` where whoever wrote the activations has read and hashed them.
    """
    objectlock.check(name_of(root))
    with writing(root):
        row = steps(root)[step]
        if status == DONE:
            columns["content"] = columns.get("content") or content_hash(root, row)
            hashes.note_new(nodes.group(root, "activations"), layers=layer_names(root))
        written = {**columns, **_hash_of_row(root, row, columns, status), "status": status}
        for name, value in written.items():
            nodes.array(root, f"checkpoints/{name}")[row] = storable(value)
        save(root, f"step {step}" if status == DONE else f"step {step}: {status}")


def _hash_of_row(
    root: zarr.Group, row: int, columns: Mapping[str, Any], status: str
) -> dict[str, str]:
    """Return the column by which a row is verified; none of one that is to be written again."""
    column = f"checkpoints/{hashes.HASH}"
    if column not in root:  # of an earlier version
        return {}
    if nodes.values(root, column, row):
        # What is stopped now leaves a row that is not verified, and none that looks damaged.
        nodes.array(root, column)[row] = ""
    if status == PENDING:
        return {}
    table = nodes.group(root, "checkpoints")
    rest = [name for name in COLUMNS if name not in (hashes.HASH, "status", *columns)]
    there = [found.item() for found in nodes.rows(nodes.arrays(table, rest), row)]
    given = {name: storable(value) for name, value in columns.items()}
    return {hashes.HASH: hashes.of_record(dict(zip(rest, there)) | given)}


def amend(root: zarr.Group, changes: Mapping[int, Mapping[str, Any]]) -> None:
    """Change what the table of checkpoints says of steps whose activations stay as they are.

    Parameters
    ----------
    root : zarr.Group
        The store.
    changes : mapping of int to mapping
        New values of columns by step, such as where a checkpoint is now.
    """
    objectlock.check(name_of(root))
    with writing(root):
        rows = steps(root)
        hashed = _without_hashes(root, {step: rows[step] for step in changes})
        for name in {name: None for each in changes.values() for name in each}:
            column = nodes.array(root, f"checkpoints/{name}")
            values = np.asarray(column[:])
            for step, each in changes.items():
                values[rows[step]] = storable(each.get(name, values[rows[step]]))
            column[:] = values
        if hashed:
            now, column = records(root), nodes.array(root, f"checkpoints/{hashes.HASH}")
            values = np.asarray(column[:])
            for step in hashed:
                values[rows[step]] = hashes.of_record(now[step])
            column[:] = values
        save(root, f"moved: {', '.join(map(str, changes))}")


def _without_hashes(root: zarr.Group, rows: Mapping[int, int]) -> list[int]:
    """Take the hashes of rows away that are to be written again; return the steps that had one.

    What is stopped then leaves rows that are not verified, and none that look damaged.
    """
    if f"checkpoints/{hashes.HASH}" not in root:
        return []
    column = nodes.array(root, f"checkpoints/{hashes.HASH}")
    values = np.asarray(column[:])
    hashed = [step for step, row in rows.items() if values[row]]
    values[[rows[step] for step in hashed]] = ""
    if hashed:
        column[:] = values
    return hashed


def content_hash(root: zarr.Group, row: int) -> str:
    """Hash a step's activations as they are on disk.

    Parameters
    ----------
    root : zarr.Group
        The store.
    row : int
        Row of the step.

    Returns
    -------
    str
        SHA-256 over every layer's name and values, in hexadecimal digits; where these are
        components, also over what they keep.
    """
    arrays = {layer: nodes.array(root, activation_of(layer)) for layer in layer_names(root)}
    return content_of(
        (layer, chain((v for _, _, v in nodes.parts_of(array, row)), kept_at(root, layer, row)))
        for layer, array in arrays.items()
    )


def _check_shapes(group: zarr.Group, step: int, layers: Mapping[str, np.ndarray]) -> None:
    for layer, values in layers.items():
        name = f"{group_name(layer)}/activation"
        if name in group and (known := nodes.array(group, name).shape[1:]) != values.shape:
            raise MisfitError.of(layer, step, values.shape, known)
