"""The zarr schema of a run: the only writer of arrays.

Layout of ``<run>.zarr`` (zarr format 3)::

    attrs                     schema, run, identity of everything that shaped the numbers
    checkpoints/              step, uri, sha256, bytes, status, error, seconds    (step)
    activations/              step, stimulus, category: coordinates of every layer
    activations/<layer>/      activation (step, stimulus, feature), one chunk a step
    results/<target>/<metric> step, checkpoint, score (step, layer, ...), one chunk a step

Rows of a step axis stand in order of arrival and are never moved. A row counts once its step is
committed (its ``status`` is "done", or its ``checkpoint`` hash is set), which is the last thing
written for it; `open` drops the others and sorts the rest.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import ZstdCodec

SCHEMA = 1
PENDING, DONE, FAILED = "pending", "done", "failed"

_COLUMNS = {
    "step": ("int64", -1, "training step (optimiser updates)", "1"),
    "uri": (str, "", "where the checkpoint was found", ""),
    "sha256": (str, "", "content hash of the checkpoint", ""),
    "bytes": ("int64", 0, "size of the checkpoint", "byte"),
    "status": (str, PENDING, "pending, done or failed", ""),
    "error": (str, "", "why it failed", ""),
    "seconds": ("float64", np.nan, "time to read the checkpoint and extract from it", "s"),
}
# Table columns are rewritten whole by the one process that holds the lock.
_TABLE_CHUNK = 4096


def package_version() -> str:
    """Return the version of the installed distribution, for records."""
    try:
        return version("training-dynamics")
    except PackageNotFoundError:
        return "unknown"


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold the right to write to a store; released by the system even after a kill.

    Parameters
    ----------
    path : Path
        The store.

    Yields
    ------
    None

    Raises
    ------
    BlockingIOError
        If another process holds it; the message names host and process.
    OSError
        If the place cannot be written to.
    """
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    holder = path.parent / f".{path.name}.lock"
    with holder.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = file.read().strip() or "another process"
            raise BlockingIOError(
                f"store {path} is being written by {who}: wait for it or stop it"
            ) from None
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def begin(path: Path, *, run: str, identity: Mapping[str, Any]) -> zarr.Group:
    """Open a store for writing, making it where there is none.

    Parameters
    ----------
    path : Path
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
        If the store was made with another identity: both values are named.
    """
    identity = json.loads(json.dumps(identity))
    if (path / "zarr.json").exists():
        root = zarr.open_group(path, mode="r+")
        _check_identity(path, root.attrs.asdict(), identity)
        return root
    root = zarr.open_group(path, mode="w")
    table = root.create_group("checkpoints")
    for name, (dtype, fill, description, unit) in _COLUMNS.items():
        array = _array(table, name, (0,), dtype, fill=fill, dims=("step",), chunks=(_TABLE_CHUNK,))
        array.attrs.update({"description": description} | ({"units": unit} if unit else {}))
    root.create_group("activations")
    root.create_group("results")
    root.attrs.update(
        {
            "schema": SCHEMA,
            "run": run,
            "identity": identity,
            "package_version": package_version(),
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
    )
    return root


def _check_identity(path: Path, attrs: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    if attrs.get("schema") != SCHEMA:
        raise ValueError(
            f"{path} is not a store of this schema (found {attrs.get('schema')}, expected "
            f"{SCHEMA}): choose another `store`"
        )
    found = attrs["identity"]
    for key in sorted(set(found) | set(identity)):
        if not _same(found.get(key), identity.get(key)):
            raise ValueError(
                f"store {path} was made with {key} = {found.get(key)!r}, this sweep has "
                f"{identity.get(key)!r}: choose another `store` or set it back"
            )


def _same(found: Any, expected: Any) -> bool:
    """Whether two values of an identity agree; floats up to rounding."""
    if isinstance(found, float) and isinstance(expected, float):
        return math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-6)
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(_same, found, expected))
    return found == expected


def steps(root: zarr.Group) -> dict[int, int]:
    """Return the row of every step in the table of checkpoints."""
    return {int(step): row for row, step in enumerate(root["checkpoints/step"][:])}


def statuses(root: zarr.Group) -> dict[int, str]:
    """Return the status of every step in the table of checkpoints."""
    table = root["checkpoints"]
    return dict(zip(map(int, table["step"][:]), map(str, table["status"][:])))


def failures(path: Path) -> dict[int, str]:
    """Return why each failed step of a store failed, in order of step."""
    table = zarr.open_group(path, mode="r")["checkpoints"]
    rows = zip(table["step"][:], table["status"][:], table["error"][:])
    return {int(step): str(error) for step, status, error in sorted(rows) if status == FAILED}


def record(root: zarr.Group, step: int) -> dict[str, Any]:
    """Return one row of the table of checkpoints."""
    row = steps(root)[step]
    return {name: root[f"checkpoints/{name}"][row].item() for name in _COLUMNS}


def plan(root: zarr.Group, found: Sequence[tuple[int, str, int]]) -> None:
    """Give every checkpoint a row, and mend a store that was stopped while it grew.

    Parameters
    ----------
    root : zarr.Group
        The store.
    found : sequence of (step, uri, bytes)
        The checkpoints; those that have a row already keep it.
    """
    known = steps(root)
    new = [item for item in found if item[0] not in known]
    table = root["checkpoints"]
    # Every array but `step` is resized first: only rows that `step` names are looked at.
    total = len(known) + len(new)
    for _, layer in root["activations"].groups():
        if "activation" in layer:
            _resize(layer["activation"], total)
    if "step" in root["activations"]:
        every = np.array([*known, *(item[0] for item in new)], dtype="int64")
        _resize(root["activations/step"], total)
        if not np.array_equal(root["activations/step"][:], every):
            root["activations/step"][:] = every
    for name in ("uri", "sha256", "bytes", "status", "error", "seconds", "step"):
        _resize(table[name], total)
    for column, name in enumerate(("step", "uri", "bytes")):
        if new:
            table[name][len(known) :] = np.array(
                [item[column] for item in new], dtype=object if name == "uri" else "int64"
            )


def write_activations(
    root: zarr.Group,
    step: int,
    layers: Mapping[str, np.ndarray],
    *,
    stimuli: Sequence[str],
    categories: Sequence[str],
) -> None:
    """Write every layer of one step; the step stays unseen until `commit`.

    Parameters
    ----------
    root : zarr.Group
        The store.
    step : int
        Training step; it must have a row.
    layers : mapping of str to array of shape (n_stimuli, n_features)
        Pooled activations.
    stimuli, categories : sequence of str
        Names and categories of the stimuli, in row order.

    Raises
    ------
    ValueError
        If a layer has another shape than in the steps before.
    """
    group, row, total = root["activations"], steps(root)[step], len(steps(root))
    for number, (layer, values) in enumerate(layers.items()):
        if layer not in group:
            child = group.create_group(layer)
            child.attrs.update({"layer": layer, "order": number})
            array = _array(
                child,
                "activation",
                (total, *values.shape),
                values.dtype,
                fill=np.nan,
                dims=("step", "stimulus", "feature"),
                chunks=(1, *values.shape),
            )
            array.attrs.update({"description": "pooled activation", "units": "arbitrary"})
        array = group[f"{layer}/activation"]
        if array.shape[1:] != values.shape:
            raise ValueError(
                f"layer {layer} of step {step} has shape {values.shape}, the store has "
                f"{array.shape[1:]}: it belongs to another architecture"
            )
        array[row] = values
    if "stimulus" not in group:
        _coordinate(group, "category", "stimulus", categories, "category of the stimulus")
        _coordinate(group, "step", "step", root["checkpoints/step"][:], "training step")
        _coordinate(group, "stimulus", "stimulus", stimuli, "name of the stimulus")


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
        Values of the other columns (uri, sha256, bytes, error, seconds).
    """
    row = steps(root)[step]
    for name, value in (*columns.items(), ("status", status)):
        root[f"checkpoints/{name}"][row] = value


def layer_names(root: zarr.Group) -> list[str]:
    """Return the layers of a store, from input to output."""
    groups = [(child.attrs["order"], name) for name, child in root["activations"].groups()]
    return [name for _, name in sorted(groups)]


def read_activations(path: Path, step: int) -> dict[str, np.ndarray]:
    """Read every layer of one step.

    Parameters
    ----------
    path : Path
        The store.
    step : int
        A committed step.

    Returns
    -------
    dict of str to array of shape (n_stimuli, n_features)
        Activations by layer, from input to output.
    """
    root = zarr.open_group(path, mode="r")
    row = steps(root)[step]
    return {name: root[f"activations/{name}/activation"][row] for name in layer_names(root)}


def begin_result(
    root: zarr.Group,
    target: str,
    metric: str,
    *,
    identity: Mapping[str, Any],
    coordinates: Mapping[str, tuple[str, Sequence]],
) -> zarr.Group:
    """Open the group of one target and metric for writing, making it where there is none.

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
        If the group was made with another identity.
    """
    identity = json.loads(json.dumps(identity))
    name = f"results/{target}/{metric}"
    if name in root and "identity" in root[name].attrs:
        group = root[name]
        found = group.attrs["identity"]
        for key in sorted(set(found) | set(identity)):
            if not _same(found.get(key), identity.get(key)):
                raise ValueError(
                    f"{name} in the store was computed with {key} = {found.get(key)!r}, this sweep "
                    f"has {identity.get(key)!r}: give the target or metric another `label`"
                )
        return group
    group = root.require_group(name)
    for array in list(group.array_keys()):
        del group[array]
    for key, (dim, values) in coordinates.items():
        _coordinate(group, key, dim, values, key)
    _array(group, "step", (0,), "int64", fill=-1, dims=("step",), chunks=(_TABLE_CHUNK,))
    _array(group, "checkpoint", (0,), str, fill="", dims=("step",), chunks=(_TABLE_CHUNK,))
    group["checkpoint"].attrs["description"] = "content hash of the checkpoint, set last"
    group.attrs["package_version"] = package_version()
    group.attrs["identity"] = identity
    return group


def committed(group: zarr.Group) -> dict[int, str]:
    """Return the steps whose results are complete, with the content hash of their checkpoint."""
    pairs = zip(group["step"][:], group["checkpoint"][:])
    return {int(step): str(source) for step, source in pairs if source}


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
    """
    rows = {int(s): row for row, s in enumerate(group["step"][:])}
    row = rows.get(step, len(rows))
    total = max(len(rows), row + 1)
    if row < len(rows):
        group["checkpoint"][row] = ""
    for name, (dims, array) in values.items():
        array = np.asarray(array)
        if name not in group:
            new = _array(
                group,
                name,
                (total, *array.shape),
                array.dtype,
                fill=np.nan if array.dtype.kind == "f" else 0,
                dims=("step", *dims),
                chunks=(1, *array.shape),
            )
            new.attrs.update((attrs or {}).get(name, {}))
        _resize(group[name], total)
        group[name][row] = array
    _resize(group["checkpoint"], total)
    if row == len(rows):
        _resize(group["step"], total)
        group["step"][row] = step
    group["checkpoint"][row] = checkpoint


def write_constant(
    group: zarr.Group, name: str, dims: Sequence[str], values: np.ndarray, *, description: str
) -> None:
    """Write a variable without a step axis (baseline, noise ceiling) into a group of results."""
    values = np.asarray(values)
    if name in group:
        del group[name]
    array = _array(
        group, name, values.shape, values.dtype, fill=np.nan, dims=dims, chunks=values.shape
    )
    array.attrs.update({"description": description, "units": "1"})
    array[...] = values


def open(path: str | Path) -> xr.DataTree:
    """Open a store as a tree of datasets, complete steps only, in order of training.

    Parameters
    ----------
    path : str or Path
        A store, such as ``store/demo.zarr``.

    Returns
    -------
    xarray.DataTree
        ``tree["activations/<layer>"]``, ``tree["results/<target>/<metric>"]`` and
        ``tree["checkpoints"]``; values are read when they are used.

    Raises
    ------
    FileNotFoundError
        If there is no store.
    """
    path = Path(path)
    if not (path / "zarr.json").exists():
        raise FileNotFoundError(f"no store at {path}: `dynamics crawl` makes one")
    tree = xr.open_datatree(path, engine="zarr", consolidated=False, chunks=None)
    table = tree["checkpoints"].to_dataset()
    done = (table["status"] == DONE).to_numpy()
    datasets = {}
    for node in tree.subtree:
        dataset = _plain_strings(node.to_dataset())
        if node.path.startswith("/checkpoints"):
            dataset = dataset.isel(step=np.argsort(dataset["step"].to_numpy()))
        elif node.path.startswith("/activations") and "step" in dataset.dims:
            dataset = _visible(dataset, done)
        elif node.path.startswith("/results") and "checkpoint" in dataset:
            dataset = _visible(dataset, (dataset["checkpoint"] != "").to_numpy())
        datasets[node.path] = dataset
    return xr.DataTree.from_dict(datasets, name=path.stem)


def _plain_strings(dataset: xr.Dataset) -> xr.Dataset:
    """Turn NumPy's new variable-width strings, which few libraries take, into its old ones."""
    changed = {}
    for name, variable in dataset.variables.items():
        if variable.dtype.kind == "T":
            values = variable.to_numpy().astype(object).astype(str)
            changed[name] = (variable.dims, values, variable.attrs)
    return dataset.assign(
        {name: changed[name] for name in changed if name in dataset.data_vars}
    ).assign_coords({name: changed[name] for name in changed if name in dataset.coords})


def _visible(dataset: xr.Dataset, committed: np.ndarray) -> xr.Dataset:
    rows = np.flatnonzero(committed)
    return dataset.isel(step=rows[np.argsort(dataset["step"].to_numpy()[rows])])


def _resize(array: zarr.Array, total: int) -> None:
    if array.shape[0] != total:
        array.resize((total, *array.shape[1:]))


def _array(
    group: zarr.Group,
    name: str,
    shape: tuple[int, ...],
    dtype: Any,
    *,
    fill: Any,
    dims: Sequence[str],
    chunks: tuple[int, ...],
) -> zarr.Array:
    # Activations compress by a tenth at most: Zstandard's fastest level gets most of that.
    return group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        fill_value=fill,
        dimension_names=list(dims),
        chunks=tuple(max(1, size) for size in chunks),
        compressors=[ZstdCodec(level=1)],
        overwrite=True,
    )


def _coordinate(group: zarr.Group, name: str, dim: str, values: Sequence, text: str) -> None:
    values = np.asarray(values)
    kind: Any = str if values.dtype.kind in "UOT" else values.dtype
    fill: Any = "" if kind is str else 0
    chunks = (_TABLE_CHUNK,) if name == "step" else values.shape
    array = _array(group, name, values.shape, kind, fill=fill, dims=(dim,), chunks=chunks)
    array.attrs["description"] = text
    if name != dim:
        # How xarray knows a coordinate that is not called after its dimension.
        known = str(group.attrs.get("coordinates", "")).split()
        group.attrs["coordinates"] = " ".join(sorted({*known, name}))
    array[...] = values.astype(object) if kind is str else values
