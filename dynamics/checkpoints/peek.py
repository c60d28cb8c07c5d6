"""Look into a checkpoint without loading a tensor and without running anything from it.

A file of ``torch.save`` is a pickle beside raw storages. The pickle alone says which keys there
are, how large every tensor is, which classes the file would construct, and the training step. It is
read here with an unpickler that replaces every class and function by an inert stand-in, so that
files which must not be loaded can still be listed, ordered and described.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import struct
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
SAFETENSORS_HEADER_LIMIT = 100_000_000

# Keys under which the formats of the field keep the number of updates, most telling first.
STEP_KEYS = (
    "global_step", "Step", "num_updates", "step", "steps", "optimizer_step", "global_steps",
    "iteration", "iterations", "iter", "n_updates", "update", "updates", "train_step",
)  # fmt: skip

# Struct codes of the scalars that can hold a step.
_SCALAR_CODES = {
    "LongStorage": "q", "IntStorage": "i", "ShortStorage": "h", "ByteStorage": "B",
    "FloatStorage": "f", "DoubleStorage": "d",
}  # fmt: skip


@dataclass(frozen=True)
class TensorSpec:
    """What a checkpoint says of a tensor without its numbers.

    Attributes
    ----------
    shape : tuple of int
        Size along each axis.
    dtype : str
        Storage type as the file names it, for example ``"FloatStorage"`` or ``"F32"``.
    key : str
        Name of the storage inside the file; empty where there is none.
    offset : int
        First element within the storage.
    """

    shape: tuple[int, ...]
    dtype: str
    key: str = ""
    offset: int = 0


@dataclass
class Contents:
    """The inside of one file.

    Attributes
    ----------
    kind : str
        ``"torch"`` (zip), ``"torch-legacy"`` (before torch 1.6) or ``"safetensors"``.
    tree : object
        What the file holds, tensors replaced by `TensorSpec` and unknown objects by inert ones.
    classes : frozenset of str
        Dotted names of everything that loading would import, tensors and plain containers apart.
    """

    kind: str
    tree: Any
    classes: frozenset[str] = field(default_factory=frozenset)


def peek(file: BinaryIO) -> Contents:
    """Read the structure of a checkpoint from an open binary file.

    Parameters
    ----------
    file : binary file
        Seekable, at its beginning. Only the parts that are needed are read, so a remote file
        that fetches ranges costs a few small requests.

    Returns
    -------
    Contents
        Structure, step and classes are in it; no tensor is.

    Raises
    ------
    ValueError
        Where the file is empty, cut off, or no checkpoint; the sentence says which.
    """
    try:
        return _peek(file)
    except (ValueError, OSError):
        raise
    except Exception as error:
        raise ValueError(f"its structure is damaged ({type(error).__name__}: {error})") from None


def _peek(file: BinaryIO) -> Contents:
    head = file.read(16)
    if not head:
        raise ValueError("the file is empty (0 bytes)")
    if head[:2] == b"PK":
        return _peek_zip(file)
    if len(head) >= 9 and head[8:9] == b"{":
        (size,) = struct.unpack("<Q", head[:8])
        if size <= SAFETENSORS_HEADER_LIMIT:
            return _peek_safetensors(file, size)
    if head[:1] == b"\x80":
        return _peek_legacy(file)
    if not any(head):
        raise ValueError("the file begins with zeros: it was never written completely")
    raise ValueError("neither a torch.save file nor safetensors")


def tensors(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Walk all tensors of nested mappings, as (dotted name, tensor or `TensorSpec`)."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from tensors(value, f"{prefix}{key}.")
    elif isinstance(tree, TensorSpec) or hasattr(tree, "untyped_storage"):
        yield prefix[:-1], tree


def classes_of(raw: bytes) -> set[str]:
    """Name what a pickle would import, without importing it; a ValueError where it is malformed."""
    return _unpickle(io.BytesIO(raw))[1]


class _Inert:
    """Stands for any object of a pickle; takes every argument and does nothing."""

    def __new__(cls, *args, **kwargs):
        self = super().__new__(cls)
        self.arguments = args
        self.items = {}
        return self

    def __init__(self, *args, **kwargs):
        pass

    def __call__(self, *args, **kwargs):
        return _Inert(*args)

    def __setstate__(self, state):
        if isinstance(state, Mapping):
            self.items.update(state)

    def __setitem__(self, key, value):
        self.items[key] = value

    def append(self, value):
        """Take an element and forget it."""

    def extend(self, values):
        """Take elements and forget them."""

    def add(self, value):
        """Take an element and forget it."""


@dataclass(frozen=True)
class _Storage:
    dtype: str
    key: str


def _tensor(storage, offset, size, stride=(), *rest):
    if isinstance(storage, _Storage):
        return TensorSpec(tuple(size), storage.dtype, storage.key, offset)
    return _Inert()


def _numpy_scalar(dtype, raw=b""):
    """Give a number for a numpy scalar, in which some training loops keep the step."""
    try:
        return np.frombuffer(raw, dtype=np.dtype(dtype.arguments[0]))[0].item()
    except (AttributeError, IndexError, TypeError, ValueError):
        return _Inert()


def _typed_tensor(function, _type, arguments, _state=None):
    return function(*arguments)


# The only names that a pickle gets for what they are: plain containers and TensorSpecs.
_KNOWN = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): lambda data, *rest: data,
    ("torch._utils", "_rebuild_parameter_with_state"): lambda data, *rest: data,
    ("torch._tensor", "_rebuild_from_type_v2"): _typed_tensor,
    ("torch", "Size"): tuple,
    ("_codecs", "encode"): lambda text, encoding="latin1": text.encode("latin1"),
    ("numpy.core.multiarray", "scalar"): _numpy_scalar,
    ("numpy._core.multiarray", "scalar"): _numpy_scalar,
}


class _Skimmer(pickle.Unpickler):
    """An unpickler that imports nothing."""

    def __init__(self, file):
        super().__init__(file, encoding="utf-8", errors="replace")
        self.classes: set[str] = set()

    def find_class(self, module, name):
        # Pickles of protocol 2, torch's own, carry the names that modules had in Python 2.
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        known = _KNOWN.get((module, name))
        if known is not None:
            return known
        self.classes.add(f"{module}.{name}")
        return type(name, (_Inert,), {"__module__": module})

    def persistent_load(self, pid):
        _, storage, key, *_ = pid
        return _Storage(getattr(storage, "__name__", str(storage)), str(key))


def _unpickle(file) -> tuple[Any, set[str]]:
    skimmer = _Skimmer(file)
    try:
        tree = skimmer.load()
    except (MemoryError, RecursionError) as error:
        raise ValueError(f"its pickle is malformed ({type(error).__name__})") from None
    except Exception as error:
        raise ValueError(f"its pickle is cut off or malformed ({error})") from None
    return tree, {name for name in skimmer.classes if not name.endswith("Storage")}


def _peek_zip(file: BinaryIO) -> Contents:
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError):
        raise ValueError("the file is cut off: its zip directory is missing") from None
    with archive:
        found = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
        if not found:
            raise ValueError("a zip archive, but not one of torch.save")
        with archive.open(found[0]) as inside:
            tree, classes = _unpickle(inside)
        root = found[0].rpartition("/")[0]

        def scalar(spec: TensorSpec) -> float | None:
            code = _SCALAR_CODES.get(spec.dtype)
            if code is None:
                return None
            width = struct.calcsize(code)
            try:
                raw = archive.read(f"{root}/data/{spec.key}" if root else f"data/{spec.key}")
            except KeyError:
                return None
            return struct.unpack_from(f"<{code}", raw, spec.offset * width)[0]

        return Contents("torch", _fill_scalars(tree, scalar), frozenset(classes))


def _fill_scalars(tree, scalar):
    """Replace a step that was saved as a one-element tensor by its number."""
    if not isinstance(tree, Mapping):
        return tree
    for key in STEP_KEYS:
        value = tree.get(key)
        if isinstance(value, TensorSpec) and math.prod(value.shape) == 1:
            number = scalar(value)
            if number is not None:
                tree[key] = number
    return tree


def _peek_legacy(file: BinaryIO) -> Contents:
    file.seek(0)
    magic, _ = _unpickle(file)
    if magic != MAGIC:
        # A bare pickle: torch reads none, but its contents still tell what the file is.
        raise ValueError("a bare pickle, not a file of torch.save")
    _unpickle(file)
    _unpickle(file)
    tree, classes = _unpickle(file)
    return Contents("torch-legacy", tree, frozenset(classes))


def _peek_safetensors(file: BinaryIO, size: int) -> Contents:
    file.seek(8)
    raw = file.read(size)
    if len(raw) < size:
        raise ValueError("the file is cut off within its safetensors header")
    try:
        header = json.loads(raw)
    except ValueError:
        raise ValueError("its safetensors header is no JSON") from None
    metadata = header.pop("__metadata__", {})
    end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    actual = file.seek(0, 2)
    if actual < 8 + size + end:
        raise ValueError(f"the file is cut off: {actual} bytes of {8 + size + end}")
    tree = {
        name: TensorSpec(tuple(entry["shape"]), entry["dtype"]) for name, entry in header.items()
    }
    return Contents("safetensors", {"__metadata__": metadata, **tree})
