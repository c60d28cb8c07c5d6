"""Arrays of a store on this machine, read straight from their files.

zarr hands every chunk to another thread, and there through one for each of its codecs: for a few
kilobytes that costs more than all the rest, most of all on a machine that has other work. What is
not of the form in which `dynamics.store.layout` writes, or is damaged, is left to zarr, which reads
everything and says what is amiss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs
import numpy as np

from dynamics.store.folder import check_regular

_KEYS = {"name": "default", "configuration": {"separator": "/"}}
_TEXT = "string"


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
    if chunks is None:
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


def _chunks(folder: Path, names: Sequence[str], node: Mapping[str, Any]) -> list[np.ndarray] | None:
    """Return the flat values of some chunks; None where one is not there or is damaged."""
    try:
        contents = [_content(folder / name) for name in names]
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    if any(google_crc32c.value(each[:-4]).to_bytes(4, "little") != each[-4:] for each in contents):
        return None
    chunks = [numcodecs.Blosc().decode(each[:-4]) for each in contents]
    if node["data_type"] == _TEXT:
        # Of other bytes the first are taken for a count, for which gigabytes would be asked.
        most = math.prod(node["chunk_grid"]["configuration"]["chunk_shape"])
        counts = [int.from_bytes(each[:4], "little") for each in chunks]
        if max(counts, default=0) > most:
            raise ValueError(f"{max(counts)} texts where there are {most} at most")
        return [numcodecs.VLenUTF8().decode(chunk) for chunk in chunks]
    dtype = np.dtype(node["data_type"]).newbyteorder("<")
    return [np.frombuffer(chunk, dtype) for chunk in chunks]
