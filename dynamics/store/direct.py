"""Activations that the workers of a cluster write themselves; whoever holds the lock commits them.

A worker writes a step by the same functions as ever, into a store of which the metadata are in its
memory and the chunks are in the real one: those of a step are whole and nobody else's. It hands
back a few lines: shapes, the hash of what it reads back, and the size of every chunk, which the
committing process compares with what it sees itself.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import zarr
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import MemoryStore

from dynamics.store import nodes
from dynamics.store.activations import content_hash, write_activations
from dynamics.store.blocks import write_blocks
from dynamics.store.chunks import Chunks, key_of
from dynamics.store.components import Kept, write_kept
from dynamics.store.layout import (
    MisfitError,
    has_layer,
    new_column,
    new_layer,
    resize,
    write_coordinates,
)
from dynamics.store.nodes import activation_of
from dynamics.store.place import Place, open_zarr, writing
from dynamics.store.precision import merge_errors
from dynamics.store.read import layer_names, steps

# Beside the metadata of the root: by what it holds, a worker knows the store that it sees.
_MARK = ".writer"
# What two processes must agree on to write chunks of one array.
_FORM = ("chunk_grid", "chunk_key_encoding", "codecs", "data_type", "fill_value")
# Seconds in which a file that one machine has written is seen by another.
_SEEN = 60.0


class Offer(NamedTuple):
    """A store that workers may write chunks of activations to.

    Attributes
    ----------
    place : Place
        Where it is, seen from anywhere.
    token : str
        What its mark holds as long as the offer stands.
    attributes : dict
        Those of its root.
    known : dict of str to bytes
        Metadata of the layers that it has already, by key.
    """

    place: Place
    token: str
    attributes: dict[str, Any]
    known: dict[str, bytes]


class Written(NamedTuple):
    """What a worker has written of a step.

    Attributes
    ----------
    shapes : dict of str to tuple of int
        Of every layer without its steps, from input to output.
    forms : dict of str to dict
        Chunks and codecs of each.
    content : str
        Hash of what is on disk, as `dynamics.store.activations.content_hash` makes it.
    sizes : dict of str to int
        Bytes of every chunk by its key.
    errors : dict of str to dict
        What rounding changed, by layer.
    kept : dict of str to Kept
        What components keep of each layer, where they are components.
    """

    shapes: dict[str, tuple[int, ...]]
    forms: dict[str, dict[str, Any]]
    content: str
    sizes: dict[str, int]
    errors: dict[str, dict[str, Any]]
    kept: dict[str, Kept]


@contextlib.contextmanager
def offered(root: zarr.Group, place: Place) -> Iterator[Offer | None]:
    """Let workers write chunks of activations until the end.

    Parameters
    ----------
    root : zarr.Group
        The store, with a row for every step.
    place : Place
        Where it is.

    Yields
    ------
    Offer or None
        None where several processes cannot write: a repository whose commits are sessions of one.
    """
    if place.kind == "icechunk":
        yield None
        return
    token = uuid.uuid4().hex
    with writing(root):
        sync(root.store.set(_MARK, _buffer(token.encode())))
        known = dict(_metadata_of_layers(root))
    try:
        yield Offer(place.resolved(), token, nodes.attributes(root), known)
    finally:
        with contextlib.suppress(Exception):  # what went wrong before matters more
            sync(root.store.delete(_MARK))


def reaches(offer: Offer) -> bool:
    """Whether this process sees the store of an offer and may write to it; tried once an offer."""
    if offer.token not in _reached:
        _reached.clear()
        _reached[offer.token] = _tried(offer)
    return _reached[offer.token]


_reached: dict[str, bool] = {}


def _tried(offer: Offer) -> bool:
    try:
        found = open_zarr(offer.place)[0]
        mark = sync(found.get(_MARK, default_buffer_prototype()))
        if mark is None or mark.to_bytes() != offer.token.encode():
            return False
        found, trial = open_zarr(offer.place, write=True)[0], f"{_MARK}-{uuid.uuid4().hex}"
        sync(found.set(trial, _buffer(b"")))
        sync(found.delete(trial))
    except Exception:  # whatever is amiss, the values are sent
        return False
    return True


def write_there(
    offer: Offer,
    step: int,
    row: int,
    layers: Mapping[str, np.ndarray] | Iterable[Any],
    *,
    kept: Mapping[str, Kept] | None = None,
    **described: Any,
) -> Written:
    """Write the activations of a step from a process that does not hold the lock.

    Parameters
    ----------
    offer : Offer
        Of a store that `reaches` says is seen from here.
    step, row : int
        The step and its row.
    layers : mapping of str to array, or iterable of Block
        As for `write_activations` or `write_blocks`.
    kept : mapping of str to Kept, optional
        Where features are components, what these keep of each layer.
    **described
        Stimuli, categories, times and labels, as for the same.

    Returns
    -------
    Written
        What `adopt` takes.

    Raises
    ------
    MisfitError
        As those functions do; nothing counts then.
    OSError
        If it cannot be written.
    """
    with writing(offer.place):
        real, path = open_zarr(offer.place, write=True)
        chunks = Chunks(MemoryStore(), real, path)
        root = _stand_in(chunks, offer, step, row)
    write: Any = write_activations if isinstance(layers, Mapping) else write_blocks
    write(root, step, layers, kept=kept, **described)
    with writing(offer.place):
        names = layer_names(root)
        arrays = {name: nodes.array(root, activation_of(name)) for name in names}
        return Written(
            {name: array.shape[1:] for name, array in arrays.items()},
            {name: _form(array) for name, array in arrays.items()},
            content_hash(root, row),
            chunks.sizes,
            {name: nodes.attributes(array) for name, array in arrays.items()},
            dict(kept or {}),
        )


def adopt(root: zarr.Group, step: int, written: Written, **described: Any) -> None:
    """Take what a worker has written of a step into a store; the step stays unseen until `commit`.

    Parameters
    ----------
    root : zarr.Group
        The store, of which this process holds the lock.
    step : int
        Training step; it must have a row.
    written : Written
        What `write_there` returned.
    **described
        Stimuli, categories, times and labels, as for `write_activations`.

    Raises
    ------
    MisfitError
        If a layer has another shape than in the steps before; its chunks are removed.
    OSError
        If this process does not see what was written.
    """
    with writing(root):
        rows = steps(root)
        row, group = rows[step], nodes.group(root, "activations")
        for number, (layer, shape) in enumerate(written.shapes.items()):
            path = activation_of(layer)
            if path in root and (known := nodes.array(root, path).shape[1:]) != shape:
                discard(root, row, written)
                raise MisfitError.of(layer, step, shape, known)
            if not has_layer(root, layer):
                chunks = written.forms[layer]["chunk_grid"]["configuration"]["chunk_shape"]
                # Other steps of it may be there already.
                new_layer(group, layer, number, (len(rows), *shape), tuple(chunks), anew=False)
            array = nodes.array(root, path)
            if array.shape[0] < len(rows):
                resize(array, len(rows))
            if _form(array) != written.forms[layer]:
                raise OSError(
                    f"a worker writes layer {layer} in other chunks than this process, as other "
                    "versions of the libraries do"
                )
            _check_seen(root, f"{path}/c/{row}/", written.sizes)
            merge_errors(array, written.errors[layer])
        write_kept(root, row, written.kept)
        write_coordinates(root, taken=written.shapes, **described)


def discard(root: zarr.Group, row: int, written: Written) -> None:
    """Remove the chunks of a step that does not fit."""
    for layer in written.shapes:
        sync(root.store.delete_dir(key_of(root.path, f"{activation_of(layer)}/c/{row}")))


def _check_seen(root: zarr.Group, prefix: str, sizes: Mapping[str, int]) -> None:
    """Compare the chunks of a row with those that were written; remove what is left beside them."""
    wanted = {key: size for key, size in sizes.items() if key.startswith(prefix)}
    start, until = key_of(root.path, ""), time.monotonic() + _SEEN

    async def seen() -> dict[str, int]:
        there = [key async for key in root.store.list_prefix(key_of(root.path, prefix))]
        keys = [key.removeprefix(start) for key in there]
        for key in (key for key in keys if key not in wanted):
            await root.store.delete(key_of(root.path, key))
        return {k: await root.store.getsize(key_of(root.path, k)) for k in keys if k in wanted}

    found = sync(seen())
    while found != wanted and time.monotonic() < until:
        time.sleep(1.0)  # a shared disk shows what others wrote after a while
        found = sync(seen())
    if found != wanted:
        raise OSError(
            f"what a worker has written of {prefix} is not seen by this process after "
            f"{_SEEN:.0f} s, as where it is not the same disk"
        )


def _metadata_of_layers(root: zarr.Group) -> Iterator[tuple[str, bytes]]:
    """Yield the metadata of the layers of a store by their keys, below its root."""
    for layer in layer_names(root):
        path = activation_of(layer)
        for key in (f"{path.rpartition('/')[0]}/zarr.json", f"{path}/zarr.json"):
            found = sync(root.store.get(key_of(root.path, key), default_buffer_prototype()))
            if found is not None:
                yield key, found.to_bytes()


def _stand_in(chunks: Chunks, offer: Offer, step: int, row: int) -> zarr.Group:
    """Make a root that has what writing a step asks for: identity, the step's row, its layers."""
    root = zarr.open_group(chunks, mode="a", use_consolidated=False, attributes=offer.attributes)
    table = root.require_group("checkpoints")
    root.require_group("activations")
    for key, content in offer.known.items():
        sync(chunks.set(key, _buffer(content)))
    new_column(table, "step")
    resize(nodes.array(table, "step"), row + 1)
    # The rows before are of other steps, whichever.
    nodes.array(table, "step")[:] = [*range(step + 1, step + 1 + row), step]
    return root


def _form(array: zarr.Array[Any]) -> dict[str, Any]:
    known: dict[str, Any] = array.metadata.to_dict()  # type: ignore[assignment]
    grid = {"configuration": {"chunk_shape": list(array.chunks)}}
    return {name: str(known[name]) for name in _FORM} | {"chunk_grid": grid}


def _buffer(content: bytes) -> Buffer:
    return default_buffer_prototype().buffer.from_bytes(content)
