"""Make a store, or open one for writing that was made for the same sweep."""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr

from dynamics.store import hashes, nodes
from dynamics.store.layout import (
    COLUMNS,
    DONE,
    EMPTIED,
    OFFSET,
    SCHEMA,
    UNIT,
    difference,
    new_column,
    package_version,
    prepare_to_write,
    resize,
)
from dynamics.store.place import Where, open_zarr, place_of, writing
from dynamics.store.read import controls_group, open_group, statuses
from dynamics.store.repository import save
from dynamics.store.tree import check_root

# What stores that were made before there was a choice have.
DEFAULTS = {"dtype": "float32", "revision": "1.1", "weights": "trained"}

_ROOMS = ("activations", "results")
_MEMBERS = {"checkpoints", "controls", *_ROOMS}


def begin(where: Where, *, run: str, identity: Mapping[str, Any]) -> zarr.Group:
    """Open a store for writing, making it where there is none.

    One that was made with another identity and holds nothing yet, such as after a crawl whose
    arguments were wrong for every checkpoint, is made anew.

    Parameters
    ----------
    where : str, Path or Place
        The store.
    run : str
        Name of the run.
    identity : mapping
        Everything that shapes the activations (adapter, arguments, stimulus digest, pooling ...),
        of plain JSON types.

    Returns
    -------
    zarr.Group
        The root group.

    Raises
    ------
    ValueError
        If the store holds steps or results of another identity: both values are named.
    OSError
        If it cannot be written.
    """
    identity = json.loads(json.dumps(identity))
    place = place_of(where)
    with writing(place):
        store, path = open_zarr(place, write=True)
        root = nodes.root_of(store, path, "a")
        prepare_to_write(root)
        if root.attrs.get("schema") == SCHEMA and EMPTIED not in root.attrs:
            mend_table(root)
        known = nodes.attributes(root)
        if known.get("schema") == SCHEMA and _differs(known, identity) and _holds_nothing(root):
            root.attrs.put({EMPTIED: True})  # so that a stop in between leaves nothing of it
        members = nodes.members(root).keys()
        if EMPTIED in root.attrs:
            for name in members & _MEMBERS:
                del root[name]
        if "schema" not in root.attrs and not members - _MEMBERS:
            # Anew, or one that was stopped while it was made.
            _make(root, run=run, identity=identity)
    _check_identity(str(place), nodes.attributes(root), identity)
    return root


def begin_controls(root: zarr.Group) -> zarr.Group:
    """Open the untrained networks of a store for writing, making their group where there is none.

    Parameters
    ----------
    root : zarr.Group
        The store.

    Returns
    -------
    zarr.Group
        A group of the same layout, in which `plan`, `write_activations` and `commit` work; the
        number of a control stands in the place of a step.
    """
    with writing(root):
        group = nodes.require_group(root, "controls")
        if "schema" not in group.attrs:
            known = nodes.attributes(root)
            step = "number of the untrained network, whose seed is the sweep's plus this number"
            _make(group, run=known["run"], identity=known["identity"], step=step)
            hashes.note_group(root, "controls")
        else:
            mend_table(group)
    return group


def _make(root: zarr.Group, *, run: str, identity: Mapping[str, Any], step: str = "") -> None:
    table = nodes.require_group(root, "checkpoints")
    for name in COLUMNS:
        new_column(table, name, step if name == "step" else "")
    for room in _ROOMS:
        nodes.require_group(root, room)
    root.attrs.put(
        {
            "schema": SCHEMA,
            "run": run,
            "identity": identity,
            "package_version": package_version(),
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
    )
    save(root, f"begin {run}")


def mend_table(root: zarr.Group) -> None:
    """Make columns and rooms anew that were lost: what they held is done again, or found again.

    Parameters
    ----------
    root : zarr.Group
        Root of a store, or its group of controls, that is open for writing.
    """
    for room in _ROOMS:
        nodes.require_group(root, room)
    table = nodes.require_group(root, "checkpoints")
    there = nodes.members(table)
    lost = [name for name in COLUMNS if name not in there]
    rows = max((n.shape[0] for n in there.values() if isinstance(n, zarr.Array)), default=0)
    for name in lost:
        new_column(table, name)
        resize(nodes.array(table, name), rows)
    steps, contents = nodes.values(table, "step"), nodes.values(table, "content")
    both = min(len(steps), len(contents))  # a writer may have been stopped while they grew
    if ((steps[:both] < 0) & (contents[:both] != "")).any():
        _name_rows(root, table, rows)


def _name_rows(root: zarr.Group, table: zarr.Group, rows: int) -> None:
    """Write the steps of rows again, which the activations have as well; else there are no rows."""
    own = np.array([])
    with contextlib.suppress(ValueError, LookupError):
        own = nodes.values(root, "activations/step")
    if len(own) == rows and (own >= 0).all() and len(np.unique(own)) == rows:
        nodes.array(table, "step")[:] = own
        return
    for name in COLUMNS:
        new_column(table, name)


def _differs(
    attrs: Mapping[str, Any], identity: Mapping[str, Any]
) -> tuple[str, object, object] | None:
    """Return the first key of an identity that a store has otherwise, and both values."""
    return difference(DEFAULTS | dict(attrs["identity"]), DEFAULTS | dict(identity))


def _holds_nothing(root: zarr.Group) -> bool:
    tables = [table for table in (root, controls_group(root)) if table is not None]
    done = any(DONE in statuses(table).values() for table in tables)
    return not done and not nodes.members(nodes.group(root, "results"))


def _check_identity(path: str, attrs: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    if attrs.get("schema") != SCHEMA:
        check_root(path, dict(attrs))
        raise ValueError(
            f"{path} is not a store of this schema (found {attrs.get('schema')}, expected "
            f"{SCHEMA}): choose another `store`"
        )
    if differs := _differs(attrs, identity):
        key, found, expected = differs
        raise ValueError(
            f"store {path} was made with {key} = {found!r}, this sweep has {expected!r}: "
            "choose another `store` or set it back"
        )


def counting(where: Where) -> tuple[str, int] | None:
    """Return what the steps of a store count, and what was added to the numbers of checkpoints.

    Parameters
    ----------
    where : str, Path or Place
        A place.

    Returns
    -------
    tuple of str and int, or None
        Such as ("epochs", 1); None where there is no store, or none with a step that is done.
    """
    try:
        root = open_group(where)
        if DONE not in statuses(root).values():
            return None
    except (OSError, ValueError, KeyError):  # whatever is amiss, who writes says it
        return None
    known = nodes.attributes(root)
    return known.get(UNIT, "steps"), int(known.get(OFFSET, 0))


def note_counting(root: zarr.Group, unit: str, offset: int) -> bool:
    """Write what the steps of a store count, where it is not steps, or was not.

    Parameters
    ----------
    root : zarr.Group
        The store, opened for writing.
    unit : str
        Such as ``"epochs"``.
    offset : int
        What was added to the numbers of checkpoints.

    Returns
    -------
    bool
        Whether that is new.
    """
    known = nodes.attributes(root)
    new: dict[str, Any] = {UNIT: unit, OFFSET: offset}
    fresh = new != {UNIT: known.get(UNIT, "steps"), OFFSET: known.get(OFFSET, 0)}
    if fresh:
        root.attrs.update(new)
    return fresh
