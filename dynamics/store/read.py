"""Read a store: complete steps only, in order of training."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import numpy as np
import zarr

from dynamics.store import nodes
from dynamics.store.layout import ADDED, COLUMNS, DONE, FAILED, prepare_to_write
from dynamics.store.nodes import activation_of, kept_of
from dynamics.store.place import Place, Where, open_zarr, place_of, reading, writing
from dynamics.store.tree import check_root

_FIRST = ("status", "step")


def open_group(where: Where, *, mode: Literal["r", "r+"] = "r") -> zarr.Group:
    """Open the root group of a store, unsorted and with incomplete steps.

    Parameters
    ----------
    where : str, Path or Place
        A store.
    mode : {"r", "r+"}
        "r+" to write: then hold `dynamics.store.lock`.

    Returns
    -------
    zarr.Group
        The root.

    Raises
    ------
    FileNotFoundError
        If there is no store.
    ValueError
        If what is there is not a store.
    """
    place = place_of(where)
    with reading(place):
        store, path = open_zarr(place, write=mode == "r+")
        try:
            root = nodes.root_of(store, path, mode)
        except FileNotFoundError:
            check_root(place, None)
            raise
    check_root(place, root.attrs.asdict())
    if mode == "r+":
        with writing(place):
            prepare_to_write(root)
    return root


def steps(root: zarr.Group) -> dict[int, int]:
    """Return the row of every step in the table of checkpoints."""
    found = nodes.values(root, "checkpoints/step").tolist()
    return {step: row for row, step in enumerate(found) if step >= 0}  # -1: not written yet


def statuses(root: zarr.Group) -> dict[int, str]:
    """Return the status of every step in the table of checkpoints."""
    return {step: row["status"] for step, row in records(root, "status").items()}


def failures(where: Where) -> dict[int, str]:
    """Return why each failed step of a store failed, in order of step."""
    rows = records(open_group(where), "status", "error")
    return {step: row["error"] for step, row in sorted(rows.items()) if row["status"] == FAILED}


def notes(where: Where) -> dict[str, list[int]]:
    """Return what there is to say of the weights of done steps, with the steps of each note."""
    said: dict[str, list[int]] = {}
    for step, row in sorted(records(open_group(where), "status", "note").items()):
        for note in filter(None, row.get("note", "").split("; ")) if row["status"] == DONE else ():
            said.setdefault(note, []).append(step)
    return said


def records(root: zarr.Group, *names: str) -> dict[int, dict[str, Any]]:
    """Return every row of the table of checkpoints by its step, in order of arrival.

    Each column is read once, the status first: it is what a writer sets last. All columns but the
    status and the step are left out where others are named.
    """
    wanted = ("status", "step", *(name for name in names or COLUMNS if name not in _FIRST))
    there = (n for n in wanted if n not in ADDED or nodes.has(root, f"checkpoints/{n}"))
    columns = {name: nodes.values(root, f"checkpoints/{name}").tolist() for name in there}
    rows = (dict(zip(columns, values)) for values in zip(*columns.values()))
    return {row["step"]: row for row in rows if row["step"] >= 0}


def controls(where: Where) -> dict[int, str]:
    """Return the complete untrained networks of a store, with the hash of their activations.

    Their activations are read with ``read_activations(place / "controls", number)``.
    """
    group = controls_group(open_group(where))
    rows = [] if group is None else sorted(records(group, "content").items())
    return {number: str(row["content"]) for number, row in rows if row["status"] == DONE}


def controls_group(root: zarr.Group) -> zarr.Group | None:
    """Return the group of several untrained networks; None where none was made as a whole."""
    found = nodes.group(root, "controls") if "controls" in root else None
    return found if found is not None and "schema" in found.attrs else None


def layer_names(root: zarr.Group) -> list[str]:
    """Return the layers of a store, from input to output."""
    children = nodes.members(nodes.group(root, "activations")).items()
    found = [nodes.attributes(child) for _, child in children if isinstance(child, zarr.Group)]
    return [str(attrs["layer"]) for attrs in sorted(found, key=lambda attrs: int(attrs["order"]))]


def bytes_of_step(root: zarr.Group, *, averaged: bool = False) -> int:
    """Return the bytes that the activations of a step are in memory, 0 where there are none yet.

    Parameters
    ----------
    root : zarr.Group
        The store.
    averaged : bool
        Of averages over time in double precision, in the place of what is stored.

    Returns
    -------
    int
        Of all layers.
    """
    if "activations" not in root:
        return 0
    arrays = nodes.arrays(root, [activation_of(name) for name in layer_names(root)])
    if averaged:
        return sum(8 * array.shape[1] * array.shape[-1] for array in arrays)
    return sum(array.dtype.itemsize * math.prod(array.shape[1:]) for array in arrays)


def read_activations(where: Where, step: int) -> dict[str, np.ndarray]:
    """Read every layer of one step.

    Parameters
    ----------
    where : str, Path or Place
        The store.
    step : int
        A committed step.

    Returns
    -------
    dict of str to array of shape (n_stimuli, n_features) or (n_stimuli, n_times, n_features)
        Activations by layer, from input to output; with time, NaN past a stimulus's end.

    Raises
    ------
    ValueError
        If they are not what was committed.
    """
    place = place_of(where)
    for known in (_known.get(_key(place)), None):
        # One that was opened before may have been made anew since.
        opened = known or _Opened.of(place)
        if known is not None and known.place != place:
            continue
        with contextlib.nullcontext() if known is None else contextlib.suppress(Exception):
            if (found := opened.read(step)) is not None:
                if place.kind in _KINDS:
                    _known[_key(place)] = opened
                return found
    raise ValueError(
        f"step {step} of store {place} holds other values than were committed: "
        f"`dynamics redo` it (`--step {step}`) and crawl"
    )


class _Opened(NamedTuple):
    """A store whose layers are open: a worker reads a thousand steps of one."""

    place: Place
    root: zarr.Group
    layers: dict[str, zarr.Array[Any]]
    step: zarr.Array[Any]
    content: zarr.Array[Any]

    @classmethod
    def of(cls, place: Place) -> _Opened:
        root = open_group(place)
        names = layer_names(root)
        arrays = nodes.arrays(root, [activation_of(name) for name in names])
        columns = (nodes.array(root, f"checkpoints/{name}") for name in ("step", "content"))
        return cls(place, root, dict(zip(names, arrays)), *columns)

    def read(self, step: int) -> dict[str, np.ndarray] | None:
        """Return the layers of a step; None where they are not what was committed."""
        row = {each: row for row, each in enumerate(np.asarray(self.step[:]).tolist())}[step]
        found = dict(zip(self.layers, nodes.rows(list(self.layers.values()), row)))
        expected = str(self.content[row])
        parts = ((name, [each, *kept_at(self.root, name, row)]) for name, each in found.items())
        return None if expected and content_of(parts) != expected else found


def _key(place: Place) -> tuple[str, str]:
    return place.where, place.inside


# Of a snapshot or an archive nothing newer would be seen.
_KINDS = ("folder", "object store")
_known: dict[tuple[str, str], _Opened] = {}


def kept_at(root: zarr.Group, layer: str, row: int) -> list[np.ndarray]:
    """Return what the components of a layer keep at a step; nothing where there are none."""
    if "components" not in nodes.attributes(root)["identity"]:
        return []
    return [nodes.values(root, kept_of(layer), row)]


def content_of(layers: Iterable[tuple[str, Iterable[np.ndarray]]]) -> str:
    """Hash a step's activations.

    Parameters
    ----------
    layers : iterable of (str, iterable of array)
        From input to output, the values of each in parts or as a whole.

    Returns
    -------
    str
        SHA-256 over every layer's name and values, in hexadecimal digits.
    """
    total = hashlib.sha256()
    for layer, parts in layers:
        total.update(layer.encode() + b"\0")
        for values in parts:
            total.update(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def read_times(where: Where) -> np.ndarray | None:
    """Read the time axis of a store's activations.

    Parameters
    ----------
    where : str, Path or Place
        The store.

    Returns
    -------
    array of shape (n_times,) or None
        Seconds, centres of the samples; None where activations are averaged over time.
    """
    root = open_group(where)
    return nodes.values(root, "activations/time") if "activations/time" in root else None
