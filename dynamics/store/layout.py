"""The arrays of a store: their kinds, chunks and coordinates.

What other programs do to them is undone: consolidated metadata, arrays written anew their own way.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from dynamics.installation import OURS, version_of
from dynamics.store import nodes
from dynamics.store.hashes import HASH

SCHEMA = 1
# Attribute of a store whose contents are being removed, to be made anew.
EMPTIED = "emptied"
# What the steps of a store count, and what was added to the numbers of its checkpoints.
UNIT, OFFSET = "step_unit", "step_offset"
PENDING, DONE, FAILED = "pending", "done", "failed"
# Numbers of controls from which on they have permuted weights; those before have fresh ones.
PERMUTED_FROM = 1000

COLUMNS = {
    "step": ("int64", -1, "training step (optimiser updates)", "1"),
    "uri": (str, "", "where the checkpoint was found", ""),
    "sha256": (str, "", "content hash of the checkpoint", ""),
    "bytes": ("int64", 0, "size of the checkpoint", "byte"),
    "modified": ("float64", np.nan, "when the checkpoint was written, seconds since 1970", "s"),
    "status": (str, PENDING, "pending, done or failed", ""),
    "error": (str, "", "why it failed", ""),
    "note": (str, "", "which weights were taken and how they were fitted to the network", ""),
    "content": (str, "", "hash of the activations, by which they are verified", ""),
    "seconds": ("float64", np.nan, "time to read the checkpoint and extract from it", "s"),
    HASH: (str, "", "hash of what the other columns but the status hold", ""),
}
# Columns that stores of earlier versions may lack.
ADDED = ("modified", "note", HASH)
# Table columns are rewritten whole by the one process that holds the lock.
TABLE_CHUNK = 4096

# Zstandard after a bit shuffle. Bytes of float32 over bytes on disk, natsound165, 5 layers x 14
# steps (MB/s written, read, one core):
#                         float32            float16            bfloat16
#   Zstandard 1, bare     1.09 (306, 523)    2.18 (357, 674)*   2.15 (234, 509)
#   byte shuffle, 3       1.14 (235, 416)    2.11 (177, 505)    2.83 (226, 557)
#   bit shuffle, 3        1.13 (272, 450)    2.18 (237, 538)    2.76 (257, 529)
#   bit shuffle, 6        1.17 (134, 343)    2.25 (146, 535)    2.86 (154, 533)
# * as two bytes a value; all others as float32 with the rounded-off bits zero.
# The checksum is not for show: Blosc crashes the process on a chunk that was cut off.
CODECS = (BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"), Crc32cCodec())


class MisfitError(ValueError):
    """Activations that do not fit the store: a fault of their checkpoint, not of the store."""

    @classmethod
    def of(
        cls, layer: str, step: int, found: tuple[int, ...], known: tuple[int, ...]
    ) -> MisfitError:
        """Say which layer has another shape than in the steps before."""
        return cls(
            f"layer {layer} of step {step} has shape {found}, the store has {known}: it belongs to "
            "another architecture"
        )


def package_version() -> str:
    """Return the version of the installed distribution, for records."""
    return version_of(OURS)


def same(found: Any, expected: Any) -> bool:
    """Whether two values of an identity agree; floats up to rounding."""
    if isinstance(found, float) and isinstance(expected, float):
        return math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-6)
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    return found == expected


def difference(
    found: Mapping[str, Any], expected: Mapping[str, Any]
) -> tuple[str, Any, Any] | None:
    """Return the first key in which two identities differ, with both values."""
    for key in sorted(set(found) | set(expected)):
        if not same(found.get(key), expected.get(key)):
            return key, found.get(key), expected.get(key)
    return None


def new_array(
    group: zarr.Group,
    name: str,
    shape: tuple[int, ...],
    dtype: Any,
    *,
    fill: Any,
    dims: Sequence[str],
    chunks: tuple[int, ...],
    shards: tuple[int, ...] | None = None,
    attrs: Mapping[str, Any] | None = None,
    anew: bool = True,
) -> zarr.Array:
    """Make an array with named dimensions in a group, in place of one that is there if `anew`.

    Where there are `shards`, each is a file of many chunks, of which a reader takes what it needs.
    """
    return group.create_array(
        name,
        shape=shape,
        dtype=dtype,
        fill_value=fill,
        dimension_names=list(dims),
        chunks=tuple(max(1, size) for size in chunks),
        shards=shards,
        compressors=CODECS,
        attributes=dict(attrs or {}),
        overwrite=anew,
    )


def has_layer(root: zarr.Group, layer: str) -> bool:
    """Whether a store has a layer's group, which bears its name, and the array in it."""
    path = nodes.activation_of(layer)
    return path.rpartition("/")[0] in root and path in root


def new_layer(
    activations: zarr.Group,
    layer: str,
    number: int,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    *,
    anew: bool = True,
) -> None:
    """Make the group and the array of a layer's activations, or what of it there is not yet.

    Parameters
    ----------
    activations : zarr.Group
        Of all layers.
    layer : str
        Its name.
    number : int
        Its place, from input to output.
    shape, chunks : tuple of int
        Of (step, stimulus, feature) or (step, stimulus, time, feature).
    anew : bool
        Whether chunks that are there already are removed.
    """
    name = nodes.group_name(layer)
    if name not in activations:
        activations.create_group(name, attributes={"layer": layer, "order": number})
        if f"{name}/activation" in activations:
            return  # its name was lost, and nothing else
    new_array(
        nodes.group(activations, name),
        "activation",
        shape,
        "float32",
        fill=np.nan,
        dims=("step", "stimulus", *(["time"] if len(shape) == 4 else []), "feature"),
        chunks=chunks,
        attrs={"description": "pooled activation", "units": "arbitrary"},
        anew=anew,
    )


def new_column(table: zarr.Group, name: str, text: str = "") -> None:
    """Make a column of the table of checkpoints, without rows, with another description if any."""
    dtype, fill, description, unit = COLUMNS[name]
    new_array(
        table,
        name,
        (0,),
        dtype,
        fill=fill,
        dims=("step",),
        chunks=(TABLE_CHUNK,),
        attrs={"description": text or description} | ({"units": unit} if unit else {}),
    )


def is_written(group: zarr.Group, name: str) -> bool:
    """Whether a group has a coordinate, constant or label that was not stopped half-way.

    Its description is what is written last.
    """
    return nodes.has(group, name) and "description" in nodes.array(group, name).attrs


def new_coordinate(
    group: zarr.Group, name: str, dim: str, values: npt.ArrayLike, text: str
) -> None:
    """Write a coordinate variable, so that xarray takes it for one; see `is_written`."""
    values = np.asarray(values)
    kind: Any = str if values.dtype.kind in "UOT" else values.dtype
    fill: Any = "" if kind is str else 0
    chunks: tuple[int, ...] = (TABLE_CHUNK,) if name == "step" else values.shape
    array = new_array(group, name, values.shape, kind, fill=fill, dims=(dim,), chunks=chunks)
    if name != dim:
        # How xarray knows a coordinate that is not called after its dimension.
        known = str(group.attrs.get("coordinates", "")).split()
        group.attrs["coordinates"] = " ".join(sorted({*known, name}))
    array[...] = values.astype(object) if kind is str else values
    array.attrs["description"] = text


def write_coordinates(
    root: zarr.Group,
    stimuli: Sequence[str],
    categories: Sequence[str],
    times: np.ndarray | None = None,
    labels: Mapping[str, tuple[npt.ArrayLike, str, str]] | None = None,
    *,
    taken: Iterable[str] = (),
) -> None:
    """Write the coordinates of activations where there are none, the stimuli last.

    Parameters
    ----------
    root : zarr.Group
        The store.
    stimuli, categories : sequence of str
        Names and categories of the stimuli, in row order.
    times : array of shape (n_times,), optional
        Seconds, centres of the samples.
    labels : mapping of str to (array of shape (n_stimuli,), str, str), optional
        What else is known of the stimuli: values, description and units, by name.
    taken : iterable of str
        Names of the layers, which a label of the same name makes room for.
    """
    group = nodes.group(root, "activations")
    if is_written(group, "stimulus"):
        return
    new_coordinate(group, "category", "stimulus", categories, "category of the stimulus")
    steps = nodes.values(root, "checkpoints/step")
    new_coordinate(group, "step", "step", steps, "training step")
    if times is not None:
        new_coordinate(group, "time", "time", times, "centre of the sample in the stimulus")
        nodes.array(group, "time").attrs["units"] = "s"
    layers = {nodes.group_name(layer) for layer in taken}
    for name, (values, text, units) in (labels or {}).items():
        name = f"label_{name}" if name in layers else name
        new_coordinate(group, name, "stimulus", values, text)
        if units:
            nodes.array(group, name).attrs["units"] = units
    new_coordinate(group, "stimulus", "stimulus", stimuli, "name of the stimulus")


def resize(array: zarr.Array, total: int) -> None:
    """Give the first axis of an array a length; what is written stays."""
    if array.shape[0] != total:
        array.resize((total, *array.shape[1:]))


_ROOMS = ("", "checkpoints", "activations", "results", "controls")


def prepare_to_write(root: zarr.Group) -> None:
    """Take consolidated metadata away, and refuse a store that cannot grow.

    Consolidated metadata list what there was: whoever trusts them, as xarray does, would not see
    what is written from now on. They may be made again when all is written.

    Parameters
    ----------
    root : zarr.Group
        The root group of a store that is open for writing.

    Raises
    ------
    ValueError
        If the store was written by xarray, as a copy: texts in it have the width that they had.
    """
    sync(_unconsolidated(root))
    try:
        status = nodes.array(root, "checkpoints/status")
    except KeyError:
        return  # one that is still to be made
    if isinstance(status.dtype, np.dtype) and status.dtype.kind in "US":
        raise ValueError(
            f"the store {root.store} is a copy that xarray or another program wrote, which cannot "
            "grow: read from it, and write to the store itself or to a copy of its files "
            "(`cp -r`)"
        )


async def _unconsolidated(root: zarr.Group) -> None:
    node: Any = root._async_group
    for room in _ROOMS:
        key = "/".join(filter(None, (node.path, room, "zarr.json")))
        found = await node.store.get(key, default_buffer_prototype())
        if found is None:
            continue
        content = json.loads(found.to_bytes())
        if content.pop("consolidated_metadata", None) is not None:
            buffer = default_buffer_prototype().buffer.from_bytes(
                json.dumps(content, indent=2).encode()
            )
            await node.store.set(key, buffer)
