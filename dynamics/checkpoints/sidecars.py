"""Text beside and before the weights, written by anybody: JSON and its kin, read within bounds."""

from __future__ import annotations

import json
import math
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from dynamics.checkpoints.tensors import TensorSpec
from dynamics.checkpoints.unpickling import check_extent

SAFETENSORS_LIMIT = 100_000_000  # bytes of a header, as the library itself has it
JSON_LIMIT = 2**28  # bytes of a file of JSON
JSON_ENTRIES = 4_000_000  # what an entry takes once it is read is fifty times its bytes

_WIDTHS = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2,
    "BF16": 2, "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8,
}  # fmt: skip


def read_json(file: BinaryIO) -> Any:
    """Read a JSON file that may hold anything.

    Parameters
    ----------
    file : binary file
        At its beginning.

    Returns
    -------
    object
        Its content.

    Raises
    ------
    ValueError
        Where it is too large, has too many entries, is nested too deeply or no JSON.
    """
    raw = file.read(JSON_LIMIT + 1)
    if len(raw) > JSON_LIMIT:
        raise ValueError(f"its JSON takes more than {JSON_LIMIT >> 20} MiB")
    return parse_json(raw)


def parse_json(raw: bytes) -> Any:
    """Read JSON; a ValueError where it is none, nested too deeply or has too many entries."""
    if sum(map(raw.count, (b",", b"[", b"{"))) > JSON_ENTRIES:
        raise ValueError(f"its JSON has more than {JSON_ENTRIES:,} entries")
    try:
        content = json.loads(raw)
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None
    except ValueError:
        raise ValueError("its JSON is damaged") from None
    check_extent(content)
    return content


def weight_parts_of(index: Any) -> list[str]:
    """Names of the files that an index of weights lists; none leads out of its folder.

    Parameters
    ----------
    index : object
        Content of a ``*.index.json``.

    Returns
    -------
    list of str
        Sorted, without folders.

    Raises
    ------
    ValueError
        Where it is not such an index.
    """
    parts = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(parts, dict) or not all(isinstance(p, str) for p in parts.values()):
        raise ValueError("its index of weights has no `weight_map`")
    return sorted({PurePosixPath(part).name for part in parts.values()})


def safetensors_header(file: BinaryIO, size: int) -> dict[str, Any]:
    """Read and check the header of a safetensors file.

    Parameters
    ----------
    file : binary file
        Seekable.
    size : int
        Bytes of the header, as the first eight bytes state it.

    Returns
    -------
    dict
        `TensorSpec` by name; the text beside them under ``__metadata__``.

    Raises
    ------
    ValueError
        Where the file is cut off, or its tensors overlap, leave gaps or do not fit their shapes.
    """
    file.seek(8)
    raw = file.read(size)
    if len(raw) < size:
        raise ValueError("the file is cut off within its safetensors header")
    try:
        header = parse_json(raw)
    except ValueError:
        raise ValueError("its safetensors header is no JSON") from None
    if not isinstance(header, dict):
        raise ValueError("its safetensors header is no mapping")
    metadata = header.pop("__metadata__", {})
    places = sorted((_place(name, entry), name) for name, entry in header.items())
    end = 0
    for (begin, stop), name in places:
        if begin != end:
            raise ValueError(f"its tensors overlap or leave gaps at {name!r:.60}")
        end = stop
    actual = file.seek(0, 2)
    if actual != 8 + size + end:
        what = "cut off" if actual < 8 + size + end else "longer than its header says"
        raise ValueError(f"the file is {what}: {actual} bytes of {8 + size + end}")
    tree = {
        name: TensorSpec(tuple(entry["shape"]), entry["dtype"]) for name, entry in header.items()
    }
    return {"__metadata__": metadata, **tree}


def _place(name: str, entry: Any) -> tuple[int, int]:
    """Return where a tensor begins and ends; a ValueError where its shape does not say so."""
    try:
        shape, (begin, end), kind = entry["shape"], entry["data_offsets"], entry["dtype"]
        numbers = [*shape, begin, end]
        whole = all(type(number) is int and 0 <= number < 2**62 for number in numbers)
    except (KeyError, TypeError, ValueError):
        whole = False
    if not whole or not isinstance(kind, str) or begin > end:
        raise ValueError(f"its safetensors header is damaged at {name!r:.60}")
    width = _WIDTHS.get(kind)
    if width is not None and math.prod(shape) * width != end - begin:
        raise ValueError(f"the shape of {name!r:.60} does not fit its place in the file")
    return begin, end
