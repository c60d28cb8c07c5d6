"""Weights in several files, which an index lists: what it says against what there is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import torch

from dynamics.checkpoints.choice import Taken, listed
from dynamics.checkpoints.inspect import inspect
from dynamics.checkpoints.sets import weights_of
from dynamics.checkpoints.sidecars import read_json, weight_parts_of
from dynamics.checkpoints.tensors import TensorSpec


def read_shards(
    folder: Path,
    index: str,
    *,
    read: Callable[[Path], Any],
    open_file: Callable[[Path], BinaryIO],
) -> Taken:
    """Read the shards of a folder and join them, as transformers does.

    Parameters
    ----------
    folder : Path
        A checkpoint.
    index : str
        Name of the file in it that lists its shards.
    read : callable
        Reads one of them.
    open_file : callable
        Opens a file of the folder for reading bytes.

    Returns
    -------
    Taken
        All weights of all shards. What the index lists and no shard has is said in the note, and in
        the hint for a network that needs it.

    Raises
    ------
    ValueError
        Where a shard is missing, or two have other numbers of one name.
    """
    where = repr(str(folder))
    with open_file(folder / index) as file:
        content = read_json(file)
    parts = weight_parts_of(content)
    if lacking := [name for name in parts if not (folder / name).is_file()]:
        raise ValueError(f"{where} lacks {listed(lacking)}, which its {index} lists")
    state: dict[str, torch.Tensor] = {}
    home: dict[str, str] = {}
    kept: dict[str, str] = {}
    for part in parts:
        found = weights_of(read(folder / part))
        if not found:
            raise ValueError(f"the shard {str(folder / part)!r} holds no weights")
        for name in found.keys() & state.keys():
            if not _equal(found[name], state[name]):
                raise ValueError(
                    f"{where} has {name} in {home[name]} and in {part}, with other numbers: its "
                    f"{index} lists it in {_listed_in(content, name)} alone, so remove the other"
                )
        state |= found
        home |= dict.fromkeys(found, part)
        with open_file(folder / part) as file:
            kept |= _aliases_of(file)
    state |= {n: state[k] for n, k in kept.items() if n not in state and k in state}
    lost = sorted(name for name in content["weight_map"] if name not in state)
    if not lost:
        return Taken(state)
    few = listed(lost[:3] if len(lost) <= 3 else [*lost[:3], f"{len(lost) - 3} more"])
    first = f"{lost[0]} is in {_listed_in(content, lost[0])}, which has it not"
    return Taken(state, f"no shard has {few}", f"its {index} says that {first}")


def aliases(header: dict[str, Any]) -> dict[str, str]:
    """Tied weights that a safetensors file keeps once, as its text beside the tensors says.

    Parameters
    ----------
    header : dict
        What `dynamics.checkpoints.sidecars.safetensors_header` gave.

    Returns
    -------
    dict of str to str
        By each name that has no tensor, the one that has.
    """
    said = header.get("__metadata__")
    return {
        name: kept
        for name, kept in (said.items() if isinstance(said, dict) else ())
        if name != "format" and name not in header and isinstance(header.get(str(kept)), TensorSpec)
    }


def _aliases_of(file: BinaryIO) -> dict[str, str]:
    """Names in the text of a shard that may be of tensors in other shards."""
    found = inspect(file)
    said = found.tree.get("__metadata__") if found.kind == "safetensors" else None
    return {n: k for n, k in said.items() if isinstance(k, str)} if isinstance(said, dict) else {}


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors are the same to the last bit, NaN and numbers of eight bits included."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    bits = (each.contiguous().reshape(-1).view(torch.uint8) for each in (one, other))
    return torch.equal(*bits)


def _listed_in(content: Any, name: str) -> str:
    return PurePosixPath(content["weight_map"].get(name, "none")).name
