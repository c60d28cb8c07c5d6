"""Arrays of a store on this machine, read straight from their files.

zarr hands every chunk to another thread, and there through one for each of its codecs: for a few
kilobytes that costs more than all the rest, most of all on a machine that has other work. What is
not of the form in which `dynamics.store.layout` writes, or is damaged, is left to zarr, which reads
everything and says what is amiss.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs
import numpy as np
import zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec
from zarr.storage import LocalStore

from dynamics.store.folder import check_regular

_KEYS = {"name": "default", "configuration": {"separator": "/"}}
_TEXT = "string"
_CODECS = (BytesCodec, BloscCodec, Crc32cCodec)
_CHECKSUM = 4  # bytes
_LARGE, _ALIGNED = 2**22, 64


def read_column(folder: Path, node: Mapping[str, Any]) -> np.ndarray | None:
    """Read an array without axes or with one.

    Parameters
    ----------
    folder : Path
        Folder of the array.
    node : mapping
        Its metadata.

    Returns
    -------
    array or None
        Its values, strings as objects. None where zarr is to read it: an array of another kind or
        another writer, a chunk that is not there or is damaged.
    """
    shape, size = tuple(node["shape"]), node["chunk_grid"]["configuration"]["chunk_shape"]
    if len(shape) > 1 or 0 in shape or not _is_plain(node):
        return None
    names = [f"c/{number}" for number in range(math.ceil(shape[0] / size[0]))] if shape else ["c"]
    chunks = _chunks(folder, names, node)
    if chunks is None or any(each.size != math.prod(size) for each in chunks):
        return None
    values = np.concatenate(chunks)
    return values[: shape[0]] if shape else values.reshape(())


def read_row(folder: Path, node: Mapping[str, Any], row: int) -> np.ndarray | None:
    """Read one entry along the first axis, where it lies in a single chunk.

    Parameters
    ----------
    folder : Path
        Folder of the array.
    node : mapping
        Its metadata.
    row : int
        Which entry.

    Returns
    -------
    array or None
        Numbers of the shape of the array without its first axis; None as for `read_column`, and
        where an entry lies in several chunks.
    """
    shape, size = tuple(node["shape"]), tuple(node["chunk_grid"]["configuration"]["chunk_shape"])
    if len(shape) < 1 or size[1:] != shape[1:] or node["data_type"] == _TEXT or not _is_plain(node):
        return None
    place, within = divmod(row, size[0])
    chunks = _chunks(folder, ["/".join(["c", str(place), *("0" * len(shape[1:]))])], node)
    if chunks is None or chunks[0].size != math.prod(size):
        return None
    return chunks[0].reshape(size)[within]


def rows_of(arrays: Sequence[zarr.Array[Any]], row: int) -> list[np.ndarray | None]:
    """Read a row of several arrays where it is one chunk in a folder of this machine.

    Parameters
    ----------
    arrays : sequence of zarr.Array
        Such as layers' activations, whose first axis is that of steps.
    row : int
        Which row, from 0.

    Returns
    -------
    list of array or None
        The row of each; None where zarr is to read it. Small ones lie in one block of memory,
        which the system hands over faster than many.
    """
    plain = [_is_a_chunk_a_row(array) and 0 <= row < array.shape[0] for array in arrays]
    sizes = [
        array.dtype.itemsize * math.prod(array.shape[1:]) if there else 0
        for array, there in zip(arrays, plain)
    ]
    block = np.empty(sum(_reserved(size) for size in sizes if size < _LARGE), np.uint8)
    start, found = 0, []
    for array, there, size in zip(arrays, plain, sizes):
        own = np.empty(size, np.uint8) if size >= _LARGE else block[start : start + size]
        start += _reserved(size) if size < _LARGE else 0
        done = there and _read_into(own, array, row)
        found.append(own.view(array.dtype).reshape(array.shape[1:]) if done else None)
    return found


def _reserved(size: int) -> int:
    """Return so many bytes that what comes behind them is aligned."""
    return -(-size // _ALIGNED) * _ALIGNED


def _read_into(values: np.ndarray, array: zarr.Array[Any], row: int) -> bool:
    """Read a row into memory; False where zarr is to read it."""
    meta: Any = array.metadata
    key = meta.encode_chunk_key((row, *[0] * (array.ndim - 1)))
    try:
        body = _checked(_content(Path(array.store.root, array.path, key)))  # type: ignore[attr-defined]
        if body is not None:
            numcodecs.Blosc().decode(body, out=values)
    except (OSError, ValueError, RuntimeError):
        return False
    return body is not None


def _is_a_chunk_a_row(array: zarr.Array[Any]) -> bool:
    """Whether each row of an array is a chunk as `rows_of` reads them."""
    codecs: Any = getattr(array.metadata, "codecs", ())
    if not isinstance(array.store, LocalStore) or tuple(map(type, codecs)) != _CODECS:
        return False
    order = codecs[0].endian
    return (
        array.ndim > 1
        and array.chunks[0] == 1
        and array.chunks[1:] == array.shape[1:]
        and array.dtype.kind in "fiub"
        and (order is None or order.value == sys.byteorder)
    )


def _is_plain(node: Mapping[str, Any]) -> bool:
    """Whether chunks are files of their own, with the codecs that this package writes."""
    first, *others = node["codecs"]
    return (
        isinstance(node["data_type"], str)
        and first["name"] == ("vlen-utf8" if node["data_type"] == _TEXT else "bytes")
        and first.get("configuration", {}).get("endian", "little") == "little"
        and [codec["name"] for codec in others] == ["blosc", "crc32c"]
        and node["chunk_key_encoding"] == _KEYS
    )


def _content(path: Path) -> bytes:
    check_regular(path)
    return path.read_bytes()


def _checked(content: bytes) -> bytes | None:
    """Return a chunk without its checksum; None where that is another one's."""
    body, end = content[:-_CHECKSUM], content[-_CHECKSUM:]
    return body if google_crc32c.value(body).to_bytes(_CHECKSUM, "little") == end else None


def _chunks(folder: Path, names: Sequence[str], node: Mapping[str, Any]) -> list[np.ndarray] | None:
    """Return the flat values of some chunks; None where one is not there or is damaged."""
    try:
        contents = [_content(folder / name) for name in names]
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    bodies = [each for each in map(_checked, contents) if each is not None]
    if len(bodies) < len(contents):
        return None
    chunks = [numcodecs.Blosc().decode(each) for each in bodies]
    if node["data_type"] == _TEXT:
        # Of other bytes the first are taken for a count, for which gigabytes would be asked.
        most = math.prod(node["chunk_grid"]["configuration"]["chunk_shape"])
        counts = [int.from_bytes(each[:4], "little") for each in chunks]
        if max(counts, default=0) > most:
            raise ValueError(f"{max(counts)} texts where there are {most} at most")
        return [numcodecs.VLenUTF8().decode(chunk) for chunk in chunks]
    dtype = np.dtype(node["data_type"]).newbyteorder("<")
    return [np.frombuffer(chunk, dtype) for chunk in chunks]
