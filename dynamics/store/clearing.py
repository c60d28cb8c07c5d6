"""Take away of a store what cannot be read: with it the rest could not be written to either."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import Store
from zarr.core.array import AsyncArray
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import StorePath

from dynamics.store import nodes
from dynamics.store.damage import readable
from dynamics.store.hashes import HASHES, LAYERS, hash_of
from dynamics.store.layout import COLUMNS
from dynamics.store.nodes import group_name
from dynamics.store.snapshot import description

# Folders of chunks, in which there are no groups or arrays.
_CHUNKS = "c"


def clear(store: Store, top: str) -> list[str]:
    """Remove descriptions and small arrays that cannot be read, and groups that lost their names.

    What is removed is then lost as far as `dynamics.store.health` is concerned, and is made again
    like what was never written.

    Parameters
    ----------
    store : zarr.abc.store.Store
        A store that can be written to, of which the lock is held.
    top : str
        Path of the root group inside.

    Returns
    -------
    list of str
        Paths of what was removed, from the root.
    """
    walk = _Walk(store, top)
    sync(walk.node(""))
    sync(walk.layers())
    root = None
    for path in sorted(walk.containers):
        if root is None:
            root = zarr.open_group(store, path=top, mode="r+", use_consolidated=False)
        nodes.require_group(root, path)
    return walk.removed


class _Walk:
    """Goes through all groups and arrays of a store."""

    def __init__(self, store: Store, top: str):
        self.store, self.top = store, top
        self.nodes: dict[str, dict[str, Any]] = {}
        self.seen: list[str] = []
        self.removed: list[str] = []
        self.containers: list[str] = []

    def key(self, path: str) -> str:
        return "/".join(filter(None, (self.top, path)))

    async def node(self, path: str) -> None:
        """Look at a node, and at what is below it."""
        key = f"{self.key(path)}/zarr.json".lstrip("/")
        names = {name.rstrip("/") async for name in self.store.list_dir(self.key(path))}
        below = sorted(name for name in names - {"zarr.json", _CHUNKS} if name[0] != ".")
        try:
            found = await self.store.get(key, default_buffer_prototype())
            node = None if found is None else description(path, found.to_bytes())
            kind = "array" if _CHUNKS in names else "group" if below else ""
            kind = kind or ("array" if _is_of_an_array(path) else "")
            if node and kind and node["node_type"] != kind:  # that of another lies here
                raise ValueError
            self.seen += [path] if node else []
            if node and node["node_type"] == "array":
                await self.array(path, node)
                return
        except (ValueError, TypeError, KeyError, AttributeError):
            node = None
            await self.store.delete(key)
            self.removed.append(path or "the root")
            if _CHUNKS in names:
                await self.store.delete_dir(self.key(path))
                return
        if node is not None:
            self.nodes[path] = node
        elif _is_container(path) and below:
            self.containers.append(path)
        for name in below:
            await self.node(f"{path}/{name}".lstrip("/"))

    async def array(self, path: str, node: dict[str, Any]) -> None:
        """Look at an array: at all of a short one, and at one chunk that there is of others."""
        array = AsyncArray.from_dict(StorePath(self.store, self.key(path)), node)
        parent, _, name = path.rpartition("/")
        dims = tuple(node.get("dimension_names") or ())
        room = parent.rpartition("/")[2]
        if room == "checkpoints" and name in COLUMNS:
            kind = COLUMNS[name][0]
            if dims != ("step",) or node["data_type"] != ("string" if kind is str else kind):
                raise ValueError
        if room == "activations" and len(dims) != 1:
            raise ValueError
        if name == "activation" and dims[:2] != ("step", "stimulus"):
            raise ValueError
        if not await self.fits(array):
            raise ValueError
        if len(dims) < 2:
            with contextlib.suppress(OSError), readable(path, self.store, texts=True):
                np.asarray(await array.getitem(...))
        elif not await self.any_chunk(array):
            raise ValueError

    async def fits(self, array: AsyncArray[Any]) -> bool:
        """Whether the chunks that there are lie as deep as those of an array of so many axes."""
        key = f"{array.path}/{_CHUNKS}"
        for left in reversed(range(array.ndim)):
            names = [name async for name in self.store.list_dir(key)]
            if not names:
                return True
            key = f"{key}/{min(names).rstrip('/')}"
            if await self.store.exists(key) != (left == 0):
                return False
        return True

    async def any_chunk(self, array: AsyncArray[Any]) -> bool:
        """Whether one chunk can be read, or there is none."""
        there = False
        async for name in self.store.list_dir(f"{array.path}/{_CHUNKS}"):
            row = int(name.rstrip("/")) if name.rstrip("/").isdigit() else array.shape[0]
            if row >= array.shape[0]:
                continue
            there = True
            with contextlib.suppress(ValueError, TypeError, RuntimeError, KeyError):
                await array.getitem((row, *(slice(0, size) for size in array.chunks[1:])))
                return True
        return not there

    async def layers(self) -> None:
        """Remove layers whose names or order are not what they were: they are written again."""
        for start in ("", "controls/"):
            room = f"{start}activations"
            depth = room.count("/") + 1
            below = [p for p in self.nodes if p.startswith(f"{room}/") and p.count("/") == depth]
            known = {path: self.nodes[path]["attributes"] for path in below}
            bad = [
                path
                for path, attrs in known.items()
                if not isinstance(attrs.get("layer"), str)
                or group_name(attrs["layer"]) != path.rpartition("/")[2]
                or not isinstance(attrs.get("order"), int)
            ]
            hashes = self.nodes.get(room, {}).get("attributes", {}).get(HASHES, {})
            names = [known[path]["layer"] for path in sorted(set(known) - set(bad), key=self.order)]
            if not bad and hashes.get(LAYERS, "") not in ("", hash_of(LAYERS, names)):
                bad = below
            # In folders whose descriptions are gone there is a layer whose name is not known.
            inner = {path.rpartition("/")[0] for path in self.seen if path.startswith(f"{room}/")}
            bad += sorted(path for path in inner - {room} if path not in self.nodes)
            for path in bad:
                await self.store.delete_dir(self.key(path))
                self.removed.append(path)

    def order(self, path: str) -> int:
        return int(self.nodes[path]["attributes"]["order"])


def _is_of_an_array(path: str) -> bool:
    """Whether only an array can lie somewhere: a column of a table, a variable of results."""
    rooms = path.removeprefix("controls/").split("/")
    return len(rooms) == {"checkpoints": 2, "activations": 3, "results": 4}.get(rooms[0])


def _is_container(path: str) -> bool:
    """Whether a group is one without attributes that matter: of a room, or of a target."""
    return path in ("activations", "checkpoints", "results") or (
        path.startswith("results/") and path.count("/") == 1
    )
