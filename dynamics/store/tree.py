"""Open a store as a tree of datasets whose values are read when they are used.

Metadata are read in one walk, and arrays are opened when they are first looked into: a store of
many layers and results costs little to open. What one walk has seen fits together, even while
another process writes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import xarray as xr
import zarr
from xarray.backends import BackendArray
from xarray.core import indexing
from zarr.abc.store import Store
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import StorePath

from dynamics.store.layout import DONE
from dynamics.store.place import Where, open_zarr, place_of, reading

Nodes = dict[str, dict[str, Any]]
"""The metadata of every group and array by its path."""


def open(where: Where) -> xr.DataTree:
    """Open a store as a tree of datasets, complete steps only, in order of training.

    Parameters
    ----------
    where : str, Path or Place
        A store, such as ``store/demo.zarr``, ``s3://bucket/run.zarr`` or ``run.zip``.

    Returns
    -------
    xarray.DataTree
        ``tree["activations/<layer>"]``, ``tree["results/<target>/<metric>"]`` and
        ``tree["checkpoints"]``; values are read when they are used. Where a sweep has several
        untrained networks, ``tree["controls/activations/<layer>"]`` with the dimension `control`.

    Raises
    ------
    FileNotFoundError
        If there is no store.
    ValueError
        If what is there is not a store.
    """
    place = place_of(where)
    with reading(place):
        store, top = open_zarr(place)
        nodes: Nodes = {}
        sync(_walk(store, top, "", nodes))
        check_root(place, nodes[""]["attributes"] if "" in nodes else None)
        groups = [path for path, node in nodes.items() if node["node_type"] == "group"]
        done = {
            room: _strings(_zarr_array(store, top, nodes, f"{room}checkpoints/status")[:]) == DONE
            for room in ("", "controls/")
            if f"{room}checkpoints/status" in nodes
        }
        datasets = {
            f"/{path}": _dataset(store, top, nodes, path, done)
            for path in sorted(groups, key=lambda path: _place_in_tree(nodes, path))
        }
    return xr.DataTree.from_dict(datasets, name=PurePosixPath(place.where).stem)


def check_root(where: object, attrs: Mapping[str, Any] | None) -> None:
    """Raise unless the attributes of a root group are a store's; None where there is no group."""
    if attrs is None:
        raise FileNotFoundError(f"no store at {where}: `dynamics crawl` makes one")
    if "schema" not in attrs:
        raise ValueError(f"{where} is a zarr group but not a store of this package")


class _Stored(BackendArray):
    """A zarr array as xarray reads it piece by piece, its rows chosen and sorted."""

    def __init__(self, store: Store, top: str, nodes: Nodes, path: str, rows: np.ndarray | None):
        self.where = store, top, nodes, path
        self.rows = rows
        shape = tuple(nodes[path]["shape"])
        self.shape = shape if rows is None else (len(rows), *shape[1:])
        kind = nodes[path]["data_type"]
        self.dtype = np.dtype(object if kind == "string" else kind)

    def __getitem__(self, key: Any) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple) -> Any:
        if self.rows is not None and key:
            key = (_as_slice(self.rows[key[0]]), *key[1:])
        array = _zarr_array(*self.where)
        simple = all(isinstance(part, (int, np.integer, slice)) for part in key)
        found = array[key] if simple else array.oindex[key]
        return _strings(found).astype(object) if self.dtype == object else found


async def _walk(store: Store, top: str, path: str, nodes: Nodes) -> None:
    """Read the metadata of a node and, if it is a group, of all below, side by side."""
    inside = "/".join(filter(None, (top, path)))
    key = f"{inside}/zarr.json" if inside else "zarr.json"
    content = await store.get(key, default_buffer_prototype())
    if content is None:
        return
    node = json.loads(content.to_bytes())
    nodes[path] = {"attributes": {}, **node}
    if node["node_type"] == "group":
        names = {name.rstrip("/") async for name in store.list_dir(inside)} - {"zarr.json"}
        below = [f"{path}/{name}".lstrip("/") for name in names if not name.startswith(".")]
        await asyncio.gather(*(_walk(store, top, name, nodes) for name in below))


def _dataset(
    store: Store, top: str, nodes: Nodes, path: str, done: Mapping[str, np.ndarray]
) -> xr.Dataset:
    attrs = dict(nodes[path]["attributes"])
    known = set(str(attrs.pop("coordinates", "")).split())
    arrays = {
        name.rpartition("/")[2]: name
        for name in sorted(nodes)
        if nodes[name]["node_type"] == "array" and name.rpartition("/")[0] == path
    }
    rows = _visible_rows(store, top, nodes, path, done)
    data, coordinates = {}, {}
    for name, full in arrays.items():
        variable = _variable(store, top, nodes, full, rows)
        (coordinates if name in known or variable.dims == (name,) else data)[name] = variable
    dataset = xr.Dataset(data, coordinates, attrs)
    if path.startswith("controls") and "step" in dataset.dims:
        return dataset.rename(step="control")
    if "step_other" in dataset.dims:
        return dataset.isel(step_other=rows).assign_coords(step_other=dataset["step"].to_numpy())
    return dataset


def _variable(
    store: Store, top: str, nodes: Nodes, path: str, rows: np.ndarray | None
) -> xr.Variable:
    node = nodes[path]
    dims = tuple(node.get("dimension_names") or ())  # an array of a single value has none
    stored = _Stored(store, top, nodes, path, rows if dims[:1] == ("step",) else None)
    lazy = indexing.LazilyIndexedArray(stored)
    chunks = node["chunk_grid"]["configuration"]["chunk_shape"]
    encoding = {"chunks": tuple(chunks), "preferred_chunks": dict(zip(dims, chunks))}
    values: Any = indexing.CopyOnWriteArray(indexing.MemoryCachedArray(lazy))
    small = len(dims) <= 1 and path.rpartition("/")[2] not in ("uri", "sha256", "error", "content")
    if small:
        # Few libraries take NumPy's variable-width strings: these have a width, or are objects.
        values = np.asarray(values.get_duck_array())
        values = values.astype(str) if values.dtype == object else values
    return xr.Variable(dims, values, node["attributes"], encoding)


def _visible_rows(
    store: Store, top: str, nodes: Nodes, path: str, done: Mapping[str, np.ndarray]
) -> np.ndarray | None:
    """Return the rows of complete steps in order of training; None where there is no step axis."""
    start = "controls/" if path.startswith("controls/") else ""
    room = path.removeprefix(start).partition("/")[0]
    at = f"{start}activations" if room == "activations" else path
    if f"{at}/step" not in nodes:
        return None
    steps = _zarr_array(store, top, nodes, f"{at}/step")[:]
    counts = np.ones(len(steps), bool)
    if room == "activations" or start:
        counts[:] = False
        counts[: len(done[start])] = done[start][: len(steps)]
    elif f"{at}/checkpoint" in nodes:
        counts = _strings(_zarr_array(store, top, nodes, f"{at}/checkpoint")[: len(steps)]) != ""
    rows = np.flatnonzero(counts)
    return rows[np.argsort(steps[rows], kind="stable")]


def _zarr_array(store: Store, top: str, nodes: Nodes, path: str) -> zarr.Array:
    return zarr.Array.from_dict(StorePath(store, "/".join(filter(None, (top, path)))), nodes[path])


def _strings(values: Any) -> np.ndarray:
    return np.asarray(values).astype(object).astype(str)


def _as_slice(rows: Any) -> Any:
    """Return consecutive rows as a slice, which zarr reads faster."""
    if np.ndim(rows) == 0:
        return int(rows)
    if len(rows) and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows


def _place_in_tree(nodes: Nodes, path: str) -> tuple[int, int, str]:
    """Sort parents before children, layers from input to output, everything else by name."""
    depth = path.count("/") + bool(path)
    return depth, int(nodes[path]["attributes"].get("order", -1)), path
