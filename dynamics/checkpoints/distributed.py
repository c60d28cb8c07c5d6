"""Folders that ``torch.distributed.checkpoint`` writes, read without running what they hold.

The index is a pickle of plain records. torch's own reader would unpickle it freely, so both the
index and the parts are read here.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from dynamics.checkpoints.archive import unpickle
from dynamics.checkpoints.formats import WRAPPERS, step_inside
from dynamics.checkpoints.inspect import STEP_KEYS, inspect, is_tree, read_stream
from dynamics.checkpoints.safe_globals import StandIn
from dynamics.checkpoints.tensors import Described
from dynamics.checkpoints.unpickling import Name
from dynamics.filesystems import open_regular


class _Record(StandIn):
    """A record of the index; its fields are in `state`."""


# What the index of such a folder is made of; every one of these only holds data.
_RECORDS = (
    "metadata.BytesStorageMetadata",
    "metadata.ChunkStorageMetadata",
    "metadata.Metadata",
    "metadata.MetadataIndex",
    "metadata.StorageMeta",
    "metadata.TensorProperties",
    "metadata.TensorStorageMetadata",
    "metadata._MEM_FORMAT_ENCODING",
    "filesystem._StorageInfo",
    "filesystem._StoragePrefix",
)

_KINDS = {name: type(name.rpartition(".")[2], (_Record,), {}) for name in _RECORDS}

_NAMES = {
    (f"{module}.{name.partition('.')[0]}", name.partition(".")[2]): Name(kind, kind)
    for name, kind in _KINDS.items()
    for module in ("torch.distributed.checkpoint", "torch.distributed._shard.checkpoint")
}


def read_flat(folder: str | Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a distributed checkpoint, whatever number of processes wrote it.

    Parameters
    ----------
    folder : str or Path
        Has ``.metadata`` and ``*.distcp`` files.

    Returns
    -------
    dict of str to Tensor
        By flattened name with those of its wrappers (see `unwrapped`), the optimiser's left out.

    Raises
    ------
    ValueError
        Where the index names a class that may run code, or a part is missing or cut off.
    """
    folder = Path(folder)
    index = _Index(folder)
    wanted = {name: entry for name, entry in index.tensors() if "optim" not in name.lower()}
    if not wanted:
        raise ValueError(f"{str(folder)!r} holds no weights")
    try:
        state = {name: index.read(name, entry) for name, entry in wanted.items()}
    except MemoryError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
        raise ValueError(f"cannot read {str(folder)!r}: {reason}") from error
    return state


def unwrapped(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Take the network out of the tensors of a distributed checkpoint."""
    for wrapper in WRAPPERS:
        # Nested dictionaries are flattened into dotted names; the wrapper becomes a prefix.
        inner = {n: v for n, v in state.items() if n.startswith(f"{wrapper}.")}
        if inner:
            return {name.removeprefix(f"{wrapper}."): value for name, value in inner.items()}
    return state


def distributed_step(folder: str | Path) -> int | None:
    """Read the step that a distributed checkpoint keeps as a plain value, or None.

    Parameters
    ----------
    folder : str or Path
        Has ``.metadata`` and ``*.distcp`` files.

    Returns
    -------
    int or None
        Number of updates.

    Raises
    ------
    ValueError
        Where the index is damaged or names a class that may run code.
    """
    index = _Index(Path(folder))
    for key in STEP_KEYS:
        for name in index.places:
            if name.rpartition(".")[2] != key or "optim" in name.lower():
                continue
            try:
                value: Any = inspect(io.BytesIO(index.raw(name, ()))).tree
            except ValueError:
                continue
            return step_inside(value if is_tree(value) else {key: value})
    return None


class _Index:
    """The index of a folder: which tensors there are, and where their pieces lie."""

    def __init__(self, folder: Path):
        self.folder = folder
        path = folder / ".metadata"
        try:
            with open_regular(path) as file:
                tree, foreign = unpickle(file, Described(), _NAMES, _STATES)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ValueError(f"cannot read {str(path)!r}: {reason}") from error
        if foreign:
            raise ValueError(
                f"the index {str(path)!r} would construct {min(foreign)}, which may run code: "
                "save the checkpoint again with torch.distributed.checkpoint"
            )
        try:
            self.entries: dict[str, Any] = _fields(tree, "Metadata")["state_dict_metadata"]
            stored = _fields(tree, "Metadata")["storage_data"]
            # By the name of a tensor, the pieces by where they begin.
            self.places: dict[str, dict[tuple[int, ...], Any]] = {}
            for place, info in stored.items():
                place = _fields(place, "MetadataIndex")
                begin = tuple(place.get("offset") or ())
                self.places.setdefault(place["fqn"], {})[begin] = _fields(info, "_StorageInfo")
            names = (*self.entries, *self.places)
            if not isinstance(self.entries, dict) or not all(isinstance(n, str) for n in names):
                raise TypeError
        except (AttributeError, KeyError, TypeError):
            raise ValueError(
                f"cannot read {str(path)!r}: it is no index of torch.distributed.checkpoint"
            ) from None

    def tensors(self) -> Iterator[tuple[str, Any]]:
        """Walk the tensors, as (name, fields of what is said of it)."""
        for name, entry in self.entries.items():
            if type(entry).__name__ == "TensorStorageMetadata":
                yield name, _fields(entry, "TensorStorageMetadata")

    def read(self, name: str, entry: dict[str, Any]) -> torch.Tensor:
        """Put the pieces of a tensor together."""
        dtype, size = _properties(entry["properties"])[0], tuple(entry["size"])
        if not isinstance(dtype, torch.dtype):
            raise ValueError(f"the index gives {name!r} no dtype")
        chunks = [_fields(chunk, "ChunkStorageMetadata") for chunk in entry["chunks"]]
        pieces = [(tuple(c["offsets"]), tuple(c["sizes"])) for c in chunks]
        if sum(math.prod(sizes) for _, sizes in pieces) != math.prod(size):
            raise ValueError(f"the pieces of {name!r} do not make up its shape {list(size)}")
        # The numbers must be there before a place is made for them.
        needed = math.prod(size) * dtype.itemsize
        if needed > sum(self.length(name, begin) for begin, _ in pieces):
            raise ValueError(f"a part is cut off: the numbers of {name!r} are gone")
        whole = torch.empty(size, dtype=dtype)
        for begin, sizes in pieces:
            piece = read_stream(io.BytesIO(self.raw(name, begin)))
            if not isinstance(piece, torch.Tensor) or tuple(piece.shape) != sizes:
                raise ValueError(f"a piece of {name!r} does not fit the index")
            whole[tuple(slice(b, b + n) for b, n in zip(begin, sizes, strict=True))] = piece
        return whole

    def length(self, name: str, begin: tuple[int, ...]) -> int:
        """Bytes of one piece, at most what its file has."""
        info = self._place(name, begin)
        return min(info["length"], self._part(info).stat().st_size)

    def raw(self, name: str, begin: tuple[int, ...]) -> bytes:
        """Bytes of one piece."""
        info = self._place(name, begin)
        with open_regular(self._part(info)) as file:
            file.seek(info["offset"])
            raw = file.read(self.length(name, begin))
        if len(raw) < info["length"]:
            raise ValueError(f"the part {info['relative_path']!r:.60} is cut off")
        return raw

    def _place(self, name: str, begin: tuple[int, ...]) -> dict[str, Any]:
        info = self.places.get(name, {}).get(begin)
        numbers = (info or {}).get("offset"), (info or {}).get("length")
        if info is None or not all(type(n) is int and 0 <= n < 2**62 for n in numbers):
            raise ValueError(f"the index does not say where {name!r} lies")
        if info.get("transform_descriptors"):
            raise ValueError("its parts are compressed: save it without extensions")
        return info

    def _part(self, info: dict[str, Any]) -> Path:
        # By name alone: an index must not lead out of its folder.
        return self.folder / PurePosixPath(str(info["relative_path"])).name


def _fields(record: Any, kind: str) -> dict[str, Any]:
    if not isinstance(record, _Record) or type(record).__name__ != kind:
        raise TypeError(f"no {kind}")
    return record.state if isinstance(record.state, dict) else {}


def _properties(record: Any) -> tuple:
    if type(record).__name__ != "TensorProperties" or not isinstance(record.state, tuple):
        raise TypeError("no TensorProperties")
    return record.state


def _keep(record: _Record, state: Any) -> _Record:
    record.state = state
    return record


_STATES = dict.fromkeys(_KINDS.values(), _keep)
