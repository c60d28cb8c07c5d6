"""Read a store: complete steps only, in order of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
import zarr

from dynamics.store.layout import COLUMNS, DONE, FAILED


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
        ``tree["checkpoints"]``; values are read when they are used. Where a sweep has several
        untrained networks, ``tree["controls/activations/<layer>"]`` with the dimension `control`.

    Raises
    ------
    FileNotFoundError
        If there is no store.
    """
    path = Path(path)
    open_group(path)
    tree = xr.open_datatree(path, engine="zarr", consolidated=False, chunks=None)
    table = tree["checkpoints"].to_dataset()
    done = (table["status"] == DONE).to_numpy()
    datasets = {}
    for node in sorted(tree.subtree, key=_depth_of_layer):
        dataset = _plain_strings(node.to_dataset())
        if node.path.startswith("/controls"):
            dataset = _controls(dataset, tree)
        elif node.path.startswith("/checkpoints"):
            dataset = dataset.isel(step=np.argsort(dataset["step"].to_numpy()))
        elif node.path.startswith("/activations") and "step" in dataset.dims:
            dataset = _visible(dataset, done)
        elif node.path.startswith("/results") and "checkpoint" in dataset:
            dataset = _visible(dataset, (dataset["checkpoint"] != "").to_numpy())
        datasets[node.path] = dataset
    return xr.DataTree.from_dict(datasets, name=path.stem)


def open_group(path: str | Path, *, mode: Literal["r", "r+"] = "r") -> zarr.Group:
    """Open the root group of a store, unsorted and with incomplete steps.

    Parameters
    ----------
    path : str or Path
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
    path = Path(path)
    if not (path / "zarr.json").exists():
        raise FileNotFoundError(f"no store at {path}: `dynamics crawl` makes one")
    root = zarr.open_group(path, mode=mode)
    if "schema" not in root.attrs:
        raise ValueError(f"{path} is a zarr group but not a store of this package")
    return root


def steps(root: zarr.Group) -> dict[int, int]:
    """Return the row of every step in the table of checkpoints."""
    return {int(step): row for row, step in enumerate(root["checkpoints/step"][:])}


def statuses(root: zarr.Group) -> dict[int, str]:
    """Return the status of every step in the table of checkpoints."""
    table = root["checkpoints"]
    return dict(zip(map(int, table["step"][:]), map(str, table["status"][:])))


def failures(path: Path) -> dict[int, str]:
    """Return why each failed step of a store failed, in order of step."""
    table = open_group(path)["checkpoints"]
    rows = zip(table["step"][:], table["status"][:], table["error"][:])
    return {int(step): str(error) for step, status, error in sorted(rows) if status == FAILED}


def records(root: zarr.Group) -> dict[int, dict[str, Any]]:
    """Return every row of the table of checkpoints by its step; each column is read once."""
    columns = {name: root[f"checkpoints/{name}"][:].tolist() for name in COLUMNS}
    rows = (dict(zip(columns, values)) for values in zip(*columns.values()))
    return {row["step"]: row for row in rows}


def controls(path: Path) -> dict[int, str]:
    """Return the complete untrained networks of a store, with the hash of their activations.

    Their activations are read with ``read_activations(path / "controls", number)``.
    """
    root = open_group(path)
    if "controls/checkpoints" not in root:
        return {}
    rows = sorted(records(root["controls"]).items())
    return {number: str(row["content"]) for number, row in rows if row["status"] == DONE}


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
    dict of str to array of shape (n_stimuli, n_features) or (n_stimuli, n_times, n_features)
        Activations by layer, from input to output; with time, NaN past a stimulus's end.
    """
    root = open_group(path)
    row = steps(root)[step]
    return {name: root[f"activations/{name}/activation"][row] for name in layer_names(root)}


def read_times(path: Path) -> np.ndarray | None:
    """Read the time axis of a store's activations.

    Parameters
    ----------
    path : Path
        The store.

    Returns
    -------
    array of shape (n_times,) or None
        Seconds, centres of the samples; None where activations are averaged over time.
    """
    group = open_group(path)["activations"]
    return group["time"][:] if "time" in group else None


def _depth_of_layer(node: xr.DataTree) -> int:
    """Sort layers from input to output; everything else keeps its place."""
    return int(node.attrs.get("order", -1))


def _controls(dataset: xr.Dataset, tree: xr.DataTree) -> xr.Dataset:
    """Keep the complete ones of the untrained networks, and name their axis for what it is."""
    if "step" not in dataset.dims:
        return dataset
    done = tree["controls/checkpoints"].to_dataset()["status"] == DONE
    return _visible(dataset, done.to_numpy()).rename(step="control")


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
    rows = rows[np.argsort(dataset["step"].to_numpy()[rows])]
    if "step_other" not in dataset.dims:
        return dataset.isel(step=rows)
    both = dataset.isel(step=rows, step_other=rows)
    return both.assign_coords(step_other=both["step"].to_numpy())
