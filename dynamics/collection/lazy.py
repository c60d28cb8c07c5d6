"""Results of many runs along a dimension `run`, read when they are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from dynamics.analysis.self_similarity import relative_depth
from dynamics.collection.opening import (
    Compared,
    Opened,
    compared,
    coordinates_of,
    gather,
    open_runs,
)
from dynamics.store.attributes import mapping, portable

_PER_STEP = "_per_step"
# What is a dimension of its own in every run, whatever its entries are called elsewhere.
_BY_PLACE = ("layer", "resample", "control", "permutation", "split")


def open_collection(what: Any) -> xr.DataTree:
    """Open many runs as one tree; values are read when they are used.

    Parameters
    ----------
    what : path, sequence of paths, or mapping of str to path
        The YAML file of a collection, or stores, by name or by their runs' names.

    Returns
    -------
    xarray.DataTree
        ``tree["results/<target>/<metric>"]`` has the dimensions `run`, `step` (all steps of any
        run; NaN, and `own_step` false, at those that a run has not), `layer` and those of the
        target. The runs' coordinates stand along `run`. Where layers bear other names from run to
        run, `layer` counts them; `layer_name` and `depth` (run, layer) say what they are called and
        how deep they lie, from 0 to 1. Beside `step` are `fraction` (run, step) of training, and
        for each coordinate ``<what>_per_step`` an axis `<what>`: `tokens`, `hours`.
        ``tree["runs/<name>"]`` is each run's store as it is, as `dynamics.open` opens it. The
        attribute `gaps` says what is not there, and why.

    Raises
    ------
    ValueError
        If nothing is named, or no store is there.

    Examples
    --------
    >>> tree = dynamics.open_collection("sizes.yaml")  # doctest: +SKIP
    >>> ridge = tree["results/nh2015-components/ridge"].to_dataset()  # doctest: +SKIP
    >>> ridge["score"].isel(step=-1).mean("neuroid").groupby("size").max()  # doctest: +SKIP
    """
    collection = gather(what)
    opened = open_runs(collection)
    if all(one.tree is None for one in opened):
        raise ValueError(f"no store of {collection.name!r} is there: {opened[0].gap}")
    coordinates, _ = coordinates_of(opened)
    names = [one.name for one in opened]
    root = xr.Dataset(
        coords={"run": names, **{key: ("run", found) for key, found in coordinates.items()}},
        attrs=portable({"collection": collection.name, "gaps": gaps(opened)}),
    )
    nodes = {"/": root}
    for each in (*compared(opened), *compared(opened, probes=True)):
        if each.results:
            nodes[f"/results/{each.target}/{each.metric}"] = side_by_side(each, opened)
    tree = _tree(nodes)
    # Given to a node that hangs in the tree already: others are copied with all that is in them.
    tree["runs"].children = {_safe(one.name): one.tree for one in opened if one.tree is not None}
    return tree


def gaps(opened: Sequence[Opened]) -> list[str]:
    """Say what is not in a comparison of runs, and why: a sentence for each gap.

    Parameters
    ----------
    opened : sequence of Opened
        The runs.

    Returns
    -------
    list of str
        Of stores that are missing or half done, results that are of another question, and
        coordinates that not all runs have.
    """
    said = [f"{one.name}: {one.gap}" for one in opened if one.gap]
    known = {one.name: one.gap for one in opened}
    for each in (*compared(opened), *compared(opened, probes=True)):
        said += [
            f"{each.target} by {each.metric} is without {name}: {why}"
            for name, why in each.left_out.items()
            if why != known[name]  # which is said once, of the run
        ]
    return said + coordinates_of(opened)[1]


def side_by_side(each: Compared, opened: Sequence[Opened]) -> xr.Dataset:
    """Put one target's results by one metric beside each other, lazily.

    Parameters
    ----------
    each : Compared
        The results of some runs.
    opened : sequence of Opened
        All runs, for their coordinates.

    Returns
    -------
    xarray.Dataset
        As ``results/<target>/<metric>`` of `open_collection`.
    """
    runs, every = list(each.results), list(each.results.values())
    dims = dict.fromkeys(str(dim) for one in every for dim in one.dims)
    labels = {dim: _labels(dim, every) for dim in dims}
    places = [_places(one, labels) for one in every]
    names = dict.fromkeys(
        str(name)
        for one in every
        for name, values in one.variables.items()
        if values.dtype.kind == "f" and name not in labels
    )
    own = {one.name: one.coordinates for one in opened}
    known, _ = coordinates_of([one for one in opened if one.name in each.results])
    coordinates: dict[str, Any] = {"run": runs}
    coordinates |= {key: ("run", found) for key, found in known.items()}
    coordinates |= {dim: found for dim, found in labels.items() if dim not in _BY_PLACE}
    coordinates |= _layers(every, labels) | _axes(every, [own[run] for run in runs], labels)
    coordinates |= _described(every[0], labels)
    identities = [mapping(one.attrs.get("identity")) for one in every]
    common = {
        key: value
        for key, value in identities[0].items()
        if all(other.get(key) == value for other in identities)
    }
    attrs = {**every[0].attrs, **portable({"identity": common, "left_out": each.left_out})}
    attrs.pop("untrained", None)
    attrs.pop("permuted", None)
    data = {
        name: _stacked(name, every, labels, places) for name in names if name not in coordinates
    }
    return xr.Dataset(data, coordinates, attrs)


class _Runs(BackendArray):
    """One variable of many runs: what is asked for is read from those that have it."""

    def __init__(self, parts: Sequence[xr.Variable | None], places: Sequence[Sequence[np.ndarray]],
                 shape: tuple[int, ...]):  # fmt: skip
        self.parts, self.places, self.shape = parts, places, shape
        self.dtype = np.dtype(float)

    def __getitem__(self, key: Any) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple) -> Any:
        wanted = [np.atleast_1d(np.arange(n)[part]) for n, part in zip(self.shape, key)]
        found = np.full([len(each) for each in wanted], np.nan)
        for row, run in enumerate(wanted[0]):
            part = self.parts[run]
            if part is None:
                continue
            own = [places[each] for places, each in zip(self.places[run], wanted[1:])]
            there = [each >= 0 for each in own]
            if all(each.any() for each in there):
                at = {dim: each[has] for dim, each, has in zip(part.dims, own, there)}
                found[row][np.ix_(*there)] = part.isel(at).to_numpy()
        scalar = tuple(0 if np.ndim(part) == 0 and not isinstance(part, slice) else slice(None)
                       for part in key)  # fmt: skip
        return found[scalar]


def _stacked(
    name: str,
    every: Sequence[xr.Dataset],
    labels: Mapping[str, np.ndarray],
    places: Sequence[Mapping[str, np.ndarray]],
) -> xr.Variable:
    own = [one.variables.get(name) for one in every]
    dims = next(part.dims for part in own if part is not None)
    parts: list[xr.Variable | None] = []
    at: list[list[np.ndarray]] = []
    for part, each in zip(own, places):
        has = part is not None and set(part.dims) == set(dims)
        parts.append(part.transpose(*dims) if part is not None and has else None)
        at.append([each[str(dim)] for dim in dims] if has else [])
    shape = (len(every), *(len(labels[str(dim)]) for dim in dims))
    schemes = [part.attrs for part in own if part is not None]
    common = {
        key: value for key, value in schemes[0].items()
        if all(_equal(other.get(key), value) for other in schemes)
    }  # fmt: skip
    lazy = indexing.LazilyIndexedArray(_Runs(parts, at, shape))
    return xr.Variable(("run", *dims), lazy, common)


def _equal(one: Any, other: Any) -> bool:
    return bool(np.array_equal(one, other))


def _labels(dim: str, every: Sequence[xr.Dataset]) -> np.ndarray:
    """Return the entries of a dimension over all runs: by name, of some by place."""
    sizes = [one.sizes[dim] for one in every if dim in one.dims]
    if dim in _BY_PLACE or any(dim in one.dims and dim not in one.coords for one in every):
        return np.arange(max(sizes))
    own = [one[dim].to_numpy() for one in every if dim in one.dims]
    if dim == "step":
        return np.unique(np.concatenate(own))
    if all(np.array_equal(each, own[0]) for each in own):
        return own[0]
    return np.array(list(dict.fromkeys(x for each in own for x in each.tolist())))


def _places(one: xr.Dataset, labels: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return by dimension where each entry is in a run's own; -1 where it has none."""
    return {dim: _places_along(one, dim, labels[dim]) for dim in map(str, one.dims)}


def _places_along(one: xr.Dataset, dim: str, labels: np.ndarray) -> np.ndarray:
    if dim in _BY_PLACE or dim not in one.coords:
        places = np.arange(len(labels))
        return np.where(places < one.sizes[dim], places, -1)
    own = {label: place for place, label in enumerate(one[dim].to_numpy().tolist())}
    return np.array([own.get(label, -1) for label in labels.tolist()], int)


def _layers(every: Sequence[xr.Dataset], labels: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return names and relative depths of layers; names alone where all runs have the same."""
    if "layer" not in labels:
        return {}
    number = len(labels["layer"])
    own = [[str(name) for name in np.atleast_1d(one["layer"].to_numpy())] for one in every]
    names = np.array([each + [""] * (number - len(each)) for each in own], dtype=object)
    depth = np.full(names.shape, np.nan)
    for row, each in enumerate(own):
        depth[row, : len(each)] = relative_depth(len(each))
    alike = all(each == own[0] for each in own)
    return {
        "layer": own[0] if alike else labels["layer"],
        "layer_name": (("run", "layer"), names.astype(str)),
        "depth": (
            ("run", "layer"),
            depth,
            {"description": "place between input, 0, and output, 1"},
        ),
    }


def _axes(
    every: Sequence[xr.Dataset],
    coordinates: Sequence[Mapping[str, Any]],
    labels: Mapping[str, np.ndarray],
) -> dict[str, Any]:
    """Return what else a step is: the part of training, and tokens or hours where they are told."""
    steps = labels["step"]
    own = np.stack([np.isin(steps, one["step"].to_numpy()) for one in every])
    last = np.array([float(one["step"].to_numpy()[-1]) for one in every])
    with np.errstate(divide="ignore", invalid="ignore"):
        axes = {"fraction": np.where(own, steps / last[:, None], np.nan)}
    for key in dict.fromkeys(key for each in coordinates for key in each):
        if key.endswith(_PER_STEP):
            rate = np.array([float(each.get(key, np.nan)) for each in coordinates])
            axes[key.removesuffix(_PER_STEP)] = np.where(own, steps * rate[:, None], np.nan)
    dims = ("run", "step")
    return {"own_step": (dims, own), **{name: (dims, found) for name, found in axes.items()}}


def _described(one: xr.Dataset, labels: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return what describes the target's neuroids, which is the same in every run."""
    found = {}
    for name, values in one.coords.items():
        dims = [str(dim) for dim in values.dims]
        if (
            name not in labels
            and dims
            and all(
                dim not in ("step", *_BY_PLACE) and len(labels[dim]) == one.sizes[dim]
                for dim in dims
            )
        ):
            found[str(name)] = values.variable
    return found


def _safe(name: str) -> str:
    return name.replace("/", "%2F")


def _tree(nodes: Mapping[str, xr.Dataset]) -> xr.DataTree:
    """Hang datasets into a tree whose root hands no coordinates down: each has its own runs."""
    root = xr.DataTree(xr.Dataset(attrs=nodes["/"].attrs), name="collection")
    targets: dict[str, dict[str, xr.DataTree]] = {}
    for path, node in nodes.items():
        if path != "/":
            _, _, target, metric = path.split("/")
            targets.setdefault(target, {})[metric] = xr.DataTree(node)
    root.children = {
        "table": xr.DataTree(nodes["/"].drop_attrs()),
        "results": xr.DataTree(),
        "runs": xr.DataTree(),
    }
    results = root["results"]
    results.children = {target: xr.DataTree() for target in targets}
    for target, own in targets.items():
        results[target].children = own
    return root
