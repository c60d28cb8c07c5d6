"""What is under a name in a zarr group, as what it is, and which names a store takes.

zarr itself says "array or group"; names of layers and texts of columns become ones that fit.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import zarr
from zarr.core.sync import sync
from zarr.storage import LocalStore

from dynamics.faults import written_out
from dynamics.secrets import redacted
from dynamics.store.damage import KindError, LostError, damaged, readable
from dynamics.store.files import read_column, rows_of


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
    found = _there(parent, name)
    if not isinstance(found, zarr.Array):
        raise KindError(f"{found.path} is a group where an array was expected")
    return found


def group(parent: zarr.Group, name: str) -> zarr.Group:
    """Return the group of a name; a KeyError if there is none, a TypeError if it is an array."""
    found = _there(parent, name)
    if not isinstance(found, zarr.Group):
        raise KindError(f"{found.path} is an array where a group was expected")
    return found


def root_of(store: Any, path: str, mode: Any) -> zarr.Group:
    """Open the root group of a store; a ValueError where its description is damaged."""
    try:
        # What somebody consolidated stands still while the store grows.
        return zarr.open_group(store, path=path, mode=mode, use_consolidated=False)
    except (TypeError, KeyError, AttributeError, json.JSONDecodeError) as error:
        raise damaged(f"the root of {store}") from error


def require_group(parent: zarr.Group, name: str) -> zarr.Group:
    """Return the group of a name, made where there is none; raises as `group` does."""
    return group(parent, name) if has(parent, name) else parent.require_group(name)


def has(parent: zarr.Group, name: str) -> bool:
    """Whether there is anything of a name; raises a ValueError where its description is damaged."""
    try:
        return name in parent
    except Exception as error:
        raise _damaged(parent, name, error) from error


def _there(parent: zarr.Group, name: str) -> Any:
    try:
        return parent[name]
    except KeyError:
        path = f"{parent.path}/{name}".strip("/")
        raise LostError(
            f"`{path}` is not in the store {parent.store}: `dynamics verify` says what else is "
            "lost and how to mend it"
        ) from None
    except Exception as error:
        raise _damaged(parent, name, error) from error


def _damaged(parent: zarr.Group, name: str, error: Exception) -> Exception:
    """Return what is to be raised in the place of what zarr makes of a description."""
    if isinstance(error, OSError | MemoryError | ImportError):
        return error
    # zarr says of JSON what is wrong to those who wrote it, of other things what Python says.
    return damaged(f"`{parent.path}/{name}`".replace("`/", "`") + f" in the store {parent.store}")


def members(parent: zarr.Group) -> dict[str, Any]:
    """Return all groups and arrays in a group by name.

    What has no metadata is passed over: the folder of an array that is being made, or what a
    killed writer left. zarr's own listing warns of it.
    """

    async def found() -> dict[str, Any]:
        node = parent._async_group
        names = [name.rstrip("/") async for name in node.store.list_dir(node.path)]
        names = sorted(name for name in names if name != "zarr.json")
        read = (node.get(name, None) for name in names)
        nodes = await asyncio.gather(*read, return_exceptions=True)
        for name, each in zip(names, nodes):
            if isinstance(each, Exception):
                raise _damaged(parent, name, each) from each
        return {name: node for name, node in zip(names, nodes) if node is not None}

    return {
        name: (zarr.Group if isinstance(node, zarr.AsyncGroup) else zarr.Array)(node)
        for name, node in sync(found()).items()
    }


def names(parent: zarr.Group) -> list[str]:
    """Return the names of what is in a group, whether it can be opened or not."""

    async def found() -> list[str]:
        node = parent._async_group
        return sorted({name.rstrip("/") async for name in node.store.list_dir(node.path)})

    return [name for name in sync(found()) if name != "zarr.json"]


def member(parent: zarr.Group, name: str) -> zarr.Group | zarr.Array[Any] | None:
    """Return what is under a name; None where it has no description, as in `members`."""
    return _there(parent, name) if has(parent, name) else None


def values(parent: zarr.Group, name: str, where: Any = ...) -> np.ndarray:
    """Return what an array holds, or of it a part such as a row; raises as `array` does.

    A ValueError where a file of it is damaged.
    """
    found = array(parent, name)
    texts = found.dtype.kind in "TO"
    with readable(found.path, parent.store, texts=texts):
        if texts and where is ... and isinstance(parent.store, LocalStore):
            short = read_column(parent.store.root / found.path, found.metadata.to_dict())
            if short is not None:
                return short
        return np.asarray(found[where])


def rows(arrays: Sequence[zarr.Array[Any]], row: int) -> list[np.ndarray]:
    """Read a row of several arrays side by side: a store is slow to answer, not to tell."""
    straight = rows_of(arrays, row)
    left = [array for array, found in zip(arrays, straight) if found is None]

    async def the_others() -> list[Any]:
        return await together(each._async_array.getitem(row) for each in left)

    names = ", ".join(each.path for each in left[:3]) + (" ..." if len(left) > 3 else "")
    with readable(names, left[0].store if left else ""):
        others = iter(sync(the_others()) if left else [])
    return [np.asarray(next(others)) if found is None else found for found in straight]


async def together(reads: Iterable[Awaitable[Any]]) -> list[Any]:
    """Wait for several reads side by side, for all of them where one fails.

    A read that is left while it is under way is torn down when the program ends, which the clients
    of object stores tell in tracebacks.

    Parameters
    ----------
    reads : iterable of awaitables
        What to wait for.

    Returns
    -------
    list
        What they gave.

    Raises
    ------
    Exception
        The first in order of those that they raised.
    """
    found = await asyncio.gather(*reads, return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return found


def arrays(parent: zarr.Group, names: Sequence[str]) -> list[zarr.Array[Any]]:
    """Open several arrays side by side; raises as `array` does."""

    async def opened() -> list[Any]:
        each = (parent._async_group.getitem(name) for name in names)
        return list(await asyncio.gather(*each, return_exceptions=True))

    found = [
        zarr.Array(one) if isinstance(one, zarr.AsyncArray) else array(parent, name)
        for name, one in zip(names, sync(opened()))
    ]
    return found


def parts_of(array: zarr.Array[Any], row: int) -> Iterator[tuple[int, int, np.ndarray]]:
    """Read a step of a layer, a chunk at a time.

    Parameters
    ----------
    array : zarr.Array
        Activations (step, stimulus, [time,] feature).
    row : int
        Row of the step.

    Yields
    ------
    stimulus, first : int
        Places of the first stimulus and sample of the part.
    values : array of shape (n_stimuli, [n_times,] n_features)
        The parts one after the other are the bytes of the whole, in its order.
    """
    (whole,) = rows_of([array], row)
    if whole is not None:
        yield 0, 0, whole
        return
    for where in places_of(array):
        first = where[1].start if len(where) > 1 else 0
        at: Any = (row, *where)
        yield where[0].start, first, np.asarray(array[at])


def places_of(array: zarr.Array[Any]) -> Iterator[tuple[slice, ...]]:
    """Yield the places of the chunks of a row of activations, in order."""
    _, n_stimuli, *others = array.shape
    _, stimuli, *sizes = array.chunks
    for start in range(0, n_stimuli, stimuli):
        at = slice(start, min(start + stimuli, n_stimuli))
        if len(others) < 2 or sizes[0] >= others[0]:
            yield (at,) if len(others) < 2 else (at, slice(0, others[0]))
            continue
        if stimuli > 1:  # parts of several stimuli would not be in order
            raise ValueError(f"{array.path} has chunks of several stimuli and of parts of the time")
        for first in range(0, others[0], sizes[0]):
            yield at, slice(first, min(first + sizes[0], others[0]))


def attributes(node: zarr.Group | zarr.Array[Any]) -> dict[str, Any]:
    """Return the attributes of a group or array; their reader knows which type each has."""
    return node.attrs.asdict()


def strings(values: Any) -> np.ndarray:
    """Return strings of any kind as an array of fixed width, which more libraries take."""
    values = np.asarray(values)
    if values.dtype.kind == "T":
        return values.astype(f"U{np.strings.str_len(values).max(initial=1)}")
    return values.astype(object).astype(str)


# Coordinates beside the groups of layers: xarray refuses a child with the name of a variable.
TAKEN = ("step", "stimulus", "category", "time", "feature", "control", "zarr.json", "c")
_LONGEST = 200  # of the 255 bytes that disks allow


def group_name(layer: str) -> str:
    """Return the name of a layer's group; the layer's own is among the group's attributes.

    Parameters
    ----------
    layer : str
        Name of a layer, such as ``encoder.layers.3`` or ``block/3``.

    Returns
    -------
    str
        The same where it can be one; else with the signs that cannot be as ``%2F`` and the like,
        so that different layers have different groups.
    """
    name = "".join(quote(sign, safe="") if sign in '/\\%:*?"<>|' or ord(sign) < 32 else sign
                   for sign in layer)  # fmt: skip
    if not name or name in TAKEN or name[0] == "." or name.startswith("__") or name != name.strip():
        name = "".join(f"%{byte:02X}" for byte in (name[:1] or "%").encode()) + name[1:]
        name = name[:-1] + "%20" if name.endswith(" ") else name
    if len(name.encode()) > _LONGEST:
        mark = hashlib.sha256(layer.encode()).hexdigest()[:16]
        name = f"{name.encode()[: _LONGEST - 20].decode(errors='ignore')}%{mark}"
    return name


def activation_of(layer: str) -> str:
    """Return the path of a layer's array of activations in a store."""
    return f"activations/{group_name(layer)}/activation"


def kept_of(layer: str) -> str:
    """Return the path of what the components of a layer keep of its variance, if it has some."""
    return f"activations/{group_name(layer)}/variance_kept"


def storable(value: Any) -> Any:
    """Return a value of a row as a store can hold it, and may: letters only, and no secrets."""
    return redacted(written_out(value)) if isinstance(value, str) else value
