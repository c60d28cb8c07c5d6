"""Open a store as a tree of datasets whose values are read when they are used.

Metadata and small coordinates are read side by side in one walk (`dynamics.store.snapshot`); an
array is opened when it is first looked into. A store of many layers and results costs little.
"""

from __future__ import annotations

import logging
from pathlib import PurePosixPath
from typing import Any, NoReturn

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing
from zarr.core.sync import sync

from dynamics.installation import OURS
from dynamics.store.attributes import portable
from dynamics.store.damage import readable
from dynamics.store.hashes import HASH, HASHES, fault_of_rows, hash_of
from dynamics.store.layout import DONE, EMPTIED, PERMUTED_FROM, SCHEMA, UNIT, package_version
from dynamics.store.losses import losses
from dynamics.store.nodes import strings
from dynamics.store.place import Where, open_zarr, place_of, reading
from dynamics.store.snapshot import Snapshot

logger = logging.getLogger(__name__)

# Losses that one warning names.
_SHOWN = 5


def open(where: Where, *, group: str = "") -> xr.DataTree:
    """Open a store as a tree of datasets, complete steps only, in order of training.

    Parameters
    ----------
    where : str, Path or Place
        A store, such as ``store/demo.zarr``, ``s3://bucket/run.zarr`` or ``run.zip``.
    group : str
        Look only into this one, such as ``results/<target>/<metric>``, which is quicker; by
        default into all.

    Returns
    -------
    xarray.DataTree
        ``tree["activations/<layer>"]``, ``tree["results/<target>/<metric>"]`` and
        ``tree["checkpoints"]``; values are read when they are used. Where a sweep has several
        untrained networks, ``tree["controls/activations/<layer>"]`` with the dimension `control`
        and the coordinate `kind`: fresh or permuted weights.

    Raises
    ------
    FileNotFoundError
        If there is no store.
    KeyError
        If the store has no such group.
    ValueError
        If what is there is not a store.
    """
    place, group = place_of(where), group.strip("/")
    with reading(place):
        seen = Snapshot(*open_zarr(place))
        sync(seen.take(group))
        check_root(place, seen.nodes[""]["attributes"] if "" in seen.nodes else None)
        if group not in seen.groups():
            raise KeyError(f"store {place} has no group {group!r}: open the whole to see which")
        if lost := losses(seen, group):
            logger.warning(
                "store %s: %s%s; `dynamics verify` says how to mend it",
                place, "; ".join(lost[:_SHOWN]),
                f"; and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else "",
            )  # fmt: skip
        return _tree(seen, PurePosixPath(place.where).stem)


def check_root(where: object, attrs: dict[str, Any] | None) -> None:
    """Raise unless the attributes of a root group are a store's; None where there is no group."""
    if attrs is None:
        raise FileNotFoundError(f"no store at {where}: `dynamics crawl` makes one")
    if not attrs or EMPTIED in attrs:  # attributes come last: its making was stopped
        raise FileNotFoundError(f"no store at {where} yet: `dynamics crawl` makes one")
    if "schema" not in attrs:
        raise ValueError(f"{where} is a zarr group but not a store of this package")
    found = attrs["schema"]
    if not isinstance(found, int) or found > SCHEMA:
        raise ValueError(
            f"{where} was written by a newer version of this package (schema {found}, "
            f"{attrs.get('package_version', 'of an unknown version')}; this one, "
            f"{package_version()}, reads up to {SCHEMA}): `pip install -U {OURS}`"
        )


class _Stored(BackendArray):
    """A zarr array as xarray reads it piece by piece, its steps chosen and sorted."""

    def __init__(self, seen: Snapshot, path: str, rows: np.ndarray | None):
        node = seen.nodes[path]
        self.seen, self.path, self.rows = seen, path, rows
        dims = node.get("dimension_names") or ()
        self.chosen = [rows is not None and dim in ("step", "step_other") for dim in dims]
        self.shape = tuple(
            len(rows) if chosen and rows is not None else size
            for size, chosen in zip(node["shape"], self.chosen)
        )
        kind = node["data_type"]
        if not isinstance(kind, str):  # of another writer, such as texts of a fixed width
            kind = seen.array(path).dtype
        self.dtype = np.dtype(object if kind == "string" else kind)

    def __getitem__(self, key: Any) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple) -> Any:
        with readable(self.path, self.seen.store, texts=self.dtype == object):
            return self._checked(key)

    def _checked(self, key: tuple) -> Any:
        """Read what is asked for; a ValueError if of results it is not what was committed."""
        group, _, name = self.path.rpartition("/")
        hashes = self.seen.nodes[group]["attributes"].get(HASHES, {}) if group else {}
        if group.startswith("results/") and HASH in hashes:
            if name in hashes:
                if hash_of(name, self.seen.whole(self.path)) != hashes[name]:
                    self._raise("values")
            elif self.chosen and self.chosen[0] and self.rows is not None:
                if (step := self._of_one_step(group, name, key)) is not None:
                    return step
                self._check_steps(group, name, key)
        key = tuple(
            _as_slice(self.rows[part]) if chosen and self.rows is not None else part
            for part, chosen in zip(key, self.chosen)
        )
        array = self.seen.array(self.path)
        simple = all(isinstance(part, (int, np.integer, slice)) for part in key)
        found = array[key] if simple else array.oindex[key]
        return strings(found).astype(object) if self.dtype == object else found

    def _of_one_step(self, group: str, name: str, key: tuple) -> np.ndarray | None:
        """Return what is asked of a single step from one look at it; None where that is not so."""
        if isinstance(key[0], slice) or np.ndim(key[0]) or any(self.chosen[1:]):
            return None
        row = int(self.rows[key[0]])  # type: ignore[index]
        for _ in range(2):  # a writer may have done a step again since the columns were read
            if (values := self.seen.row(self.path, row)) is None:
                return None
            expected, owner = self.seen.expected(group, name, [row]).get(row, ("", (0, "")))
            if not expected or hash_of(name, values, *owner) == expected:
                return _part(values, key[1:])
            self.seen.read_columns_again(group)
        self._raise(f"values at step {owner[0]}")

    def _check_steps(self, group: str, name: str, key: tuple) -> None:
        rows = np.atleast_1d(self.rows[key[0]]).tolist()  # type: ignore[index]
        array = self.seen.array(self.path)
        for _ in range(2):
            fault = fault_of_rows(array, name, self.seen.expected(group, name, rows), key[-1])
            if not fault:
                return
            self.seen.read_columns_again(group)
        self._raise(fault)

    def _raise(self, fault: str) -> NoReturn:
        raise ValueError(
            f"{self.path} of store {self.seen.store} holds other {fault} than were committed: "
            "`dynamics verify` says how to mend it"
        )


def _part(values: np.ndarray, key: tuple) -> np.ndarray:
    """Index each axis by itself, the last first: a number takes its axis away."""
    for axis in reversed(range(len(key))):
        values = values[(slice(None),) * axis + (key[axis],)]
    return values


def _tree(seen: Snapshot, name: str) -> xr.DataTree:
    """Return all groups as a tree.

    Children are given to a node that hangs in the tree already: `DataTree.from_dict` copies and
    aligns every node twice.
    """
    children: dict[str, list[str]] = {}
    for path in sorted(seen.groups(), key=seen.rank):
        if path:
            children.setdefault(path.rpartition("/")[0], []).append(path)
    nodes = {"": xr.DataTree(_dataset(seen, ""), name=name)}
    for parent, paths in children.items():
        below = {path: xr.DataTree(_dataset(seen, path)) for path in paths}
        try:
            nodes[parent].children = {path.rpartition("/")[2]: node for path, node in below.items()}
        except ValueError as error:  # of coordinates of other lengths
            raise ValueError(
                f"what is in {parent or 'the root'} of store {seen.store} does not go together "
                "with what is above it: `dynamics verify` says what is damaged and how to mend it"
            ) from error
        nodes |= below
    return nodes[""]


def _dataset(seen: Snapshot, path: str) -> xr.Dataset:
    attrs = {k: v for k, v in seen.nodes[path]["attributes"].items() if k != HASHES}
    attrs = portable(attrs)
    known = set(str(attrs.pop("coordinates", "")).split())
    arrays = seen.arrays(path)
    rows = _visible_rows(seen, path, list(arrays.values()))
    data: dict[str, xr.Variable] = {}
    coordinates: dict[str, xr.Variable] = {}
    for name, full in arrays.items():
        if name == HASH:
            continue
        variable = _variable(seen, full, rows)
        (coordinates if name in known or variable.dims == (name,) else data)[name] = variable
    unit = seen.nodes[""]["attributes"].get(UNIT, "steps") if "" in seen.nodes else "steps"
    if unit != "steps" and "step" in coordinates and not path.startswith("controls"):
        coordinates["step"].attrs["counts"] = unit
    dataset = xr.Dataset(data, coordinates, attrs)
    if path.startswith("controls") and "step" in dataset.dims:
        room = path.split("/")[1]
        dataset = dataset.rename(step="control")
        if rows is None:  # a writer that was stopped had no steps yet
            return dataset
        kinds = np.where(
            seen.values[f"controls/{room}/step"][rows] < PERMUTED_FROM, "fresh", "permuted"
        )
        return dataset.assign_coords(kind=("control", kinds))
    if "step_other" in dataset.dims:
        return dataset.assign_coords(step_other=dataset["step"].to_numpy())
    return dataset


def _variable(seen: Snapshot, path: str, rows: np.ndarray | None) -> xr.Variable:
    node = seen.nodes[path]
    dims = tuple(node.get("dimension_names") or ())  # an array of a single value has none
    chunks = tuple(node["chunk_grid"]["configuration"]["chunk_shape"])
    # As a hint alone: what is chunked otherwise can be written without another word.
    encoding = {"preferred_chunks": dict(zip(dims, chunks))}
    values: Any = seen.values.get(path)
    if values is None:
        lazy = indexing.LazilyIndexedArray(_Stored(seen, path, rows))
        cached: Any = indexing.MemoryCachedArray(lazy)
        values = indexing.CopyOnWriteArray(cached)
    elif rows is not None and dims == ("step",):
        values = values[rows]
    return xr.Variable(dims, values, portable(node["attributes"]), encoding)


def _visible_rows(seen: Snapshot, path: str, arrays: list[str]) -> np.ndarray | None:
    """Return the rows of complete steps in order of training; None where there is no step axis."""
    start = "controls/" if path.startswith("controls/") else ""
    room = path.removeprefix(start).partition("/")[0]
    at = f"{start}activations" if room == "activations" else path
    if f"{at}/step" not in seen.values:
        return None
    steps = seen.values[f"{at}/step"]
    counts = steps >= 0  # a row whose step is not written yet holds -1
    if room == "activations" or (start and room != "checkpoints"):
        statuses = seen.values.get(f"{start}checkpoints/status", np.array([""]))
        counts &= _filled(statuses == DONE, len(steps))
    elif f"{path}/checkpoint" in seen.values:
        counts &= _filled(seen.values[f"{path}/checkpoint"] != "", len(steps))
        if (texts := seen.values.get(f"{path}/{HASH}")) is not None:
            counts &= _filled(texts != "", len(steps))  # what a writer counts as done, and no more
    # While a writer lengthens the arrays one after the other, some are longer than others.
    counts[seen.shortest(arrays) :] = False
    rows = np.flatnonzero(counts)
    return rows[np.argsort(steps[rows], kind="stable")]


def _filled(counts: np.ndarray, size: int) -> np.ndarray:
    """Return what counts with a length of `size`: what is beyond the end does not count."""
    return np.concatenate([counts, np.zeros(max(0, size - len(counts)), bool)])[:size]


def _as_slice(rows: Any) -> Any:
    """Return consecutive rows as a slice, which zarr reads faster."""
    if np.ndim(rows) == 0:
        return int(rows)
    if len(rows) and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows
