"""Look into a checkpoint without loading a tensor and without running anything from it.

A file of ``torch.save`` is a pickle beside raw storages. The pickle alone says which keys there
are, how large every tensor is, which classes the file would construct, and the training step. It is
read by an unpickler that replaces every class and function which is not plain data by an inert
stand-in, so that files which must not be loaded can still be listed, ordered and described. Reading
goes through the same unpickler and the same table: what is listed as fine can be read.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from dynamics.checkpoints.archive import LegacyArchive, ZipArchive, check_records
from dynamics.checkpoints.sidecars import SAFETENSORS_LIMIT, safetensors_header
from dynamics.checkpoints.tensors import Described, Loaded, TensorSpec

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
        Dotted names of everything that loading would construct and that is not plain data.
    storages : int
        How many tensors' numbers there are, those of objects that are not plain data as well.
    """

    kind: str
    tree: Any
    classes: frozenset[str] = field(default_factory=frozenset)
    storages: int = 0


class UnknownFormatError(ValueError):
    """Raised for a file that is no checkpoint of a known format, damaged or not."""


def inspect(file: BinaryIO) -> Contents:
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
        kind, opened = opened_archive(file)
        if kind == "safetensors":
            return Contents(kind, opened)
        tensors = Described(opened.size if kind == "torch" else None)
        tree, foreign = opened.unpickle(tensors)
        return Contents(kind, _fill_scalars(tree, opened), foreign, len(tensors.storages))
    except (ValueError, OSError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(f"its structure is damaged ({type(error).__name__}: {error})") from None


def opened_archive(file: BinaryIO) -> tuple[str, Any]:
    """Tell which of the formats a file has by its first bytes.

    Parameters
    ----------
    file : binary file
        Seekable, at its beginning.

    Returns
    -------
    kind : str
        As of `Contents`.
    opened : ZipArchive, LegacyArchive or dict
        The archive; of a safetensors file, the tree that its header states.

    Raises
    ------
    ValueError
        Where it is none of these.
    """
    head = file.read(16)
    if not head:
        raise ValueError("the file is empty (0 bytes)")
    if head[:2] == b"PK":
        return "torch", ZipArchive(file)
    if len(head) >= 9 and head[8:9] == b"{":
        (size,) = struct.unpack("<Q", head[:8])
        if size <= SAFETENSORS_LIMIT:
            return "safetensors", safetensors_header(file, size)
        raise ValueError("neither a torch.save file nor safetensors (its header would be too long)")
    if head[:1] == b"\x80":
        return "torch-legacy", LegacyArchive(file)
    if not any(head):
        raise ValueError("the file begins with zeros: it was never written completely")
    raise UnknownFormatError("neither a torch.save file nor safetensors")


def tensors(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Walk all tensors of nested mappings, as (dotted name, tensor or `TensorSpec`)."""
    if is_tree(tree):
        for key, value in tree.items():
            yield from tensors(value, f"{prefix}{key}.")
    elif isinstance(tree, TensorSpec) or hasattr(tree, "untyped_storage"):
        yield prefix[:-1], tree


def is_tree(thing: Any) -> bool:
    """Tell whether to look for weights in a thing: not in a configuration, whose look-ups run."""
    return isinstance(thing, Mapping) and not type(thing).__module__.startswith("omegaconf")


def _fill_scalars(tree: Any, archive: ZipArchive | LegacyArchive) -> Any:
    """Replace a step that was saved as a one-element tensor by its number."""
    if not isinstance(tree, dict):
        return tree
    for key in STEP_KEYS:
        value = tree.get(key)
        if isinstance(value, TensorSpec) and math.prod(value.shape) == 1:
            code = _SCALAR_CODES.get(value.dtype)
            if code is not None:
                width = struct.calcsize(code)
                raw = archive.head(value.key, value.offset * width, width)
                (tree[key],) = struct.unpack(f"<{code}", raw)
    return tree


def read_stream(file: BinaryIO) -> Any:
    """Read a torch.save file that is part of another one; a ValueError where it is damaged."""
    kind, opened = opened_archive(file)
    if kind == "safetensors":
        raise ValueError("a part of an unknown format")
    if kind == "torch":
        check_records(file)
    tree, foreign = opened.unpickle(Loaded(opened.storage, opened.size))
    if foreign:
        raise ValueError(f"a part would construct {min(foreign)}, which may run code")
    return tree
