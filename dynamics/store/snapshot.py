"""What one look at a store has seen: all metadata and every small coordinate.

What says which rows count is read before anything else of its group. A writer sets it last, so
whatever a counted row needs was there before the rest is read, also while another process writes.
Short columns, and one step of results, come straight from their files (`dynamics.store.files`).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import Store
from zarr.core.array import AsyncArray
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import LocalStore, StorePath

from dynamics.store.damage import damaged, readable
from dynamics.store.files import read_column, read_row
from dynamics.store.folder import check_regular, is_ring
from dynamics.store.hashes import HASHES, are_texts
from dynamics.store.nodes import strings, together


@dataclass
class Snapshot:
    """A look at a store.

    Attributes
    ----------
    store : zarr.abc.store.Store
        The store.
    top : str
        Path of its root group.
    nodes : dict of str to dict
        Metadata of every group and array by its path.
    values : dict of str to array
        Values of the coordinates and of what says which rows count, by path.
    """

    store: Store
    top: str
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    values: dict[str, np.ndarray] = field(default_factory=dict)
    _arrays: dict[str, dict[str, str]] = field(default_factory=dict, repr=False)
    _columns: dict[str, list[list[Any]]] = field(default_factory=dict, repr=False)

    @property
    def folder(self) -> Path | None:
        """Where the files are, if here: a small one is read before a thread would start."""
        return self.store.root if isinstance(self.store, LocalStore) else None

    async def take(self, only: str = "") -> None:
        """Read the store, or of it one group with what is below and the coordinates above."""
        rooms = ("", "controls/")
        await together(self._read_marker(f"{room}checkpoints/status") for room in rooms)
        parts = only.split("/")
        for parent in ("/".join(parts[:depth]) for depth in range(len(parts) if only else 0)):
            await self._read_node(parent)
            if parent.endswith("activations"):
                await self._read_coordinates(parent)
        await self._walk(only)
        small = [path for path in self.nodes if path not in self.values and self._is_small(path)]
        await together(map(self._read_values, small))

    def groups(self) -> list[str]:
        """Return the paths of all groups that were read."""
        return [path for path, node in self.nodes.items() if node["node_type"] == "group"]

    def arrays(self, group: str) -> dict[str, str]:
        """Return the paths of a group's arrays by their names, in order of name."""
        if not self._arrays:
            for path in sorted(self.nodes):
                if self.nodes[path]["node_type"] == "array":
                    parent, _, name = path.rpartition("/")
                    self._arrays.setdefault(parent, {})[name] = path
        return self._arrays.get(group, {})

    def array(self, path: str) -> zarr.Array:
        """Return an array as it was seen."""
        return zarr.Array(self._array(path))

    def whole(self, path: str) -> np.ndarray:
        """Return all values of an array."""
        found = (
            read_column(self.folder / self._key(path), self.nodes[path]) if self.folder else None
        )
        return np.asarray(self.array(path)[...] if found is None else found)

    def row(self, path: str, row: int) -> np.ndarray | None:
        """Return one step of an array straight from its file; None where zarr is to read it."""
        return (
            read_row(self.folder / self._key(path), self.nodes[path], row) if self.folder else None
        )

    def expected(
        self, group: str, name: str, rows: Iterable[int]
    ) -> dict[int, tuple[str, tuple[int, str]]]:
        """Return by row the hash of a variable of results, and of which step and checkpoint."""
        if group not in self._columns:
            seen = [self.values.get(path) for path in self._columns_of(group)]
            if any(each is None for each in seen):
                self.read_columns_again(group)
            else:
                self._columns[group] = [each.tolist() for each in seen if each is not None]
        columns, wanted = self._columns[group], {}
        for row in rows:
            if row < min(map(len, columns)):
                step, source, text = (column[row] for column in columns)
                known = dict(each.rpartition(":")[::2] for each in text.split())
                if name in known:
                    wanted[row] = (known[name], (step, source))
        return wanted

    def read_columns_again(self, group: str) -> None:
        """Read steps, checkpoints and hashes of a group of results as they are now."""
        self._columns[group] = [self.whole(path).tolist() for path in self._columns_of(group)]

    def shortest(self, arrays: list[str]) -> int:
        """Return how many rows all of some arrays have along their axes of steps."""
        sizes = [
            size
            for path in arrays
            for name, size in zip(
                self.nodes[path].get("dimension_names") or (), self.nodes[path]["shape"]
            )
            if name in ("step", "step_other")
        ]
        sizes += [len(self.values[path]) for path in arrays if _is_along_steps(self, path)]
        return min(sizes, default=0)

    def rank(self, path: str) -> tuple[int, int, str]:
        """Sort parents before children, layers from input to output, everything else by name."""
        depth = path.count("/") + bool(path)
        return depth, int(self.nodes[path]["attributes"].get("order", -1)), path

    def _columns_of(self, group: str) -> list[str]:
        return [f"{group}/{name}" for name in ("step", "checkpoint", "hash")]

    async def _walk(self, path: str) -> None:
        """Read a node and, if it is a group, all below side by side."""
        if path.count("/") == 2 and path.startswith("results/"):
            with contextlib.suppress(Exception):  # damaged hashes are named when they are needed
                await self._read_marker(f"{path}/hash")
            await self._read_marker(f"{path}/checkpoint")
        if not await self._read_node(path):
            return
        if self.nodes[path]["node_type"] == "array":
            return
        below = [f"{path}/{name}".lstrip("/") for name in await self._names(path)]
        if self.folder:
            for each in below:  # nothing to wait for: tasks would cost more than the files
                await self._walk(each)
        else:
            await together(map(self._walk, below))

    async def _names(self, path: str) -> set[str]:
        """List what is in a group."""
        if self.folder:
            try:
                folder = self.folder / self._key(path)
                names = {each for each in os.listdir(folder) if not is_ring(folder, each)}
            except FileNotFoundError:  # taken away meanwhile
                return set()
        else:
            names = {name.rstrip("/") async for name in self.store.list_dir(self._key(path))}
        return {name for name in names if name != "zarr.json" and not name.startswith(".")}

    async def _read_coordinates(self, path: str) -> None:
        known = str(self.nodes[path]["attributes"].get("coordinates", "")).split()
        for name in {*known, "step", "stimulus", "time"}:
            await self._read_marker(f"{path}/{name}")

    async def _read_marker(self, path: str) -> None:
        if await self._read_node(path):
            await self._read_values(path)

    async def _read_node(self, path: str) -> bool:
        key = f"{self._key(path)}/zarr.json".lstrip("/")
        if self.folder:
            try:
                check_regular(self.folder / key)
                content = (self.folder / key).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return False
            except (ValueError, IsADirectoryError):
                raise damaged(path) from None
        else:
            found = await self.store.get(key, default_buffer_prototype())
            if found is None:
                return False
            content = found.to_bytes()
        self.nodes[path] = description(path, content)
        return True

    async def _read_values(self, path: str) -> None:
        found: Any = None
        texts = self.nodes[path].get("data_type") == "string"
        with readable(path, self.store, texts=texts):
            if self.folder:
                found = read_column(self.folder / self._key(path), self.nodes[path])
            if found is None:
                found = np.asarray(await self._array(path).getitem(...))
        # Few libraries take NumPy's variable-width strings: these have a width.
        self.values[path] = found if found.dtype.kind in "biufcM" else strings(found)

    def _is_small(self, path: str) -> bool:
        """Whether an array is a coordinate, by its name or by its group's word."""
        parent, _, name = path.rpartition("/")
        dims = tuple(self.nodes[path].get("dimension_names") or ())
        known = str(self.nodes[parent]["attributes"].get("coordinates", "")).split()
        return dims == (name,) or (len(dims) <= 1 and name in known)

    def _array(self, path: str) -> AsyncArray:
        try:
            return AsyncArray.from_dict(StorePath(self.store, self._key(path)), self.nodes[path])
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise damaged(path) from error

    def _key(self, path: str) -> str:
        return "/".join(filter(None, (self.top, path)))


def description(path: str, content: bytes) -> dict[str, Any]:
    """Read the metadata of a node; a ValueError that names it where they are damaged."""
    try:
        node = json.loads(content)
        node = {"attributes": {}, **node}
    except (ValueError, TypeError, RecursionError):
        raise damaged(path) from None
    attributes = node["attributes"]
    sound = (
        isinstance(attributes, dict)
        and isinstance(attributes.get("order", 0), int)
        and are_texts(attributes.get(HASHES, {}))
    )
    if node.get("node_type") == "array":
        sound = sound and _is_array(node)
    elif node.get("node_type") != "group":
        sound = False
    if not sound:
        raise damaged(path)
    return node


def _is_array(node: Mapping[str, Any]) -> bool:
    """Whether the metadata of an array have the form that they are looked into by."""
    try:
        chunks = node["chunk_grid"]["configuration"]["chunk_shape"]
        names = [codec["name"] for codec in node["codecs"]]
    except (KeyError, TypeError, IndexError):
        return False
    shape, dims = node.get("shape"), node.get("dimension_names")
    numbers = isinstance(shape, list) and isinstance(chunks, list)
    return (
        numbers
        and len(shape) == len(chunks)  # type: ignore[arg-type]
        and all(type(size) is int and size >= 0 for size in (*shape, *chunks))  # type: ignore[misc]
        and 0 not in chunks
        and all(isinstance(name, str) for name in names)
        and all(isinstance(codec.get("configuration", {}), dict) for codec in node["codecs"])
        and isinstance(node.get("data_type"), str | dict)
        and isinstance(node.get("chunk_key_encoding"), dict)
        and (dims is None or (isinstance(dims, list) and len(dims) == len(shape)))  # type: ignore[arg-type]
        and all(each is None or isinstance(each, str) for each in dims or ())
    )


def _is_along_steps(seen: Snapshot, path: str) -> bool:
    return path in seen.values and seen.nodes[path].get("dimension_names") == ["step"]
