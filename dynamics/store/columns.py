"""Short columns straight from their files: coordinates and what says which rows count.

zarr hands every chunk through a thread for each of its codecs, which for a few hundred bytes costs
more than all the rest of opening a store.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs
import numpy as np


def read_column(folder: Path, node: Mapping[str, Any]) -> np.ndarray | None:
    """Read an array without axes or with one, as `dynamics.store.layout` writes them.

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
    first, *others = node["codecs"]
    text = node["data_type"] == "string"
    if (
        len(shape) > 1
        or 0 in shape
        or not isinstance(node["data_type"], str)
        or first["name"] != ("vlen-utf8" if text else "bytes")
        or first.get("configuration", {}).get("endian", "little") != "little"
        or [codec["name"] for codec in others] != ["blosc", "crc32c"]
        or node["chunk_key_encoding"] != _KEYS
    ):
        return None
    names = [f"c/{number}" for number in range(math.ceil(shape[0] / size[0]))] if shape else ["c"]
    try:
        contents = [(folder / name).read_bytes() for name in names]
    except FileNotFoundError:
        return None
    if any(google_crc32c.value(each[:-4]).to_bytes(4, "little") != each[-4:] for each in contents):
        return None
    chunks = [numcodecs.Blosc().decode(each[:-4]) for each in contents]
    if text:
        values = np.concatenate([numcodecs.VLenUTF8().decode(chunk) for chunk in chunks])
    else:
        dtype = np.dtype(node["data_type"]).newbyteorder("<")
        values = np.concatenate([np.frombuffer(chunk, dtype) for chunk in chunks])
    return values[: shape[0]] if shape else values.reshape(())


_KEYS = {"name": "default", "configuration": {"separator": "/"}}
