"""What is under a name in a zarr group, as what it is: zarr itself says "array or group"."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import zarr
from zarr.core.sync import sync


def array(parent: zarr.Group, name: str) -> zarr.Array[Any]:
    """Return the array of a name.

    Parameters
    ----------
    parent : zarr.Group
        Where to look.
    name : str
        Its path from there.

    Returns
    -------
    zarr.Array
        The array.

    Raises
    ------
    KeyError
        If there is nothing of this name.
    TypeError
        If it is a group.
    """
    found = parent[name]
    if not isinstance(found, zarr.Array):
        raise TypeError(f"{found.path} is a group where an array was expected")
    return found


def group(parent: zarr.Group, name: str) -> zarr.Group:
    """Return the group of a name; a KeyError if there is none, a TypeError if it is an array."""
    found = parent[name]
    if not isinstance(found, zarr.Group):
        raise TypeError(f"{found.path} is an array where a group was expected")
    return found


def members(parent: zarr.Group) -> dict[str, Any]:
    """Return all groups and arrays in a group by name.

    What has no metadata is passed over: the folder of an array that is being made, or what a
    killed writer left. zarr's own listing warns of it.
    """

    async def found() -> dict[str, Any]:
        node = parent._async_group
        names = [name.rstrip("/") async for name in node.store.list_dir(node.path)]
        names = sorted(name for name in names if name != "zarr.json")
        nodes = await asyncio.gather(*(node.get(name, None) for name in names))
        return {name: node for name, node in zip(names, nodes) if node is not None}

    return {
        name: (zarr.Group if isinstance(node, zarr.AsyncGroup) else zarr.Array)(node)
        for name, node in sync(found()).items()
    }


def values(parent: zarr.Group, name: str, where: Any = ...) -> np.ndarray:
    """Return what an array holds, or of it a part such as a row; raises as `array` does."""
    return np.asarray(array(parent, name)[where])


def attributes(node: zarr.Group | zarr.Array[Any]) -> dict[str, Any]:
    """Return the attributes of a group or array; their reader knows which type each has."""
    return node.attrs.asdict()


def strings(values: Any) -> np.ndarray:
    """Return strings of any kind as an array of fixed width, which more libraries take."""
    values = np.asarray(values)
    if values.dtype.kind == "T":
        return values.astype(f"U{np.strings.str_len(values).max(initial=1)}")
    return values.astype(object).astype(str)
