"""Folders that ``torch.distributed.checkpoint`` writes, read without running what they hold."""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dynamics.checkpoints.formats import WRAPPERS, step_inside
from dynamics.checkpoints.harmless import harmless, torch_allows
from dynamics.checkpoints.peek import STEP_KEYS, classes_of, peek

# What the index of such a folder is made of; every one of these only holds data.
_INDEX = {
    f"torch.distributed.checkpoint.{name}"
    for name in (
        "metadata.BytesStorageMetadata",
        "metadata.ChunkStorageMetadata",
        "metadata.Metadata",
        "metadata.MetadataIndex",
        "metadata.StorageMeta",
        "metadata.TensorProperties",
        "metadata.TensorStorageMetadata",
        "metadata._MEM_FORMAT_ENCODING",
        "filesystem._StorageInfo",
    )
}


def read_distributed(folder: str | Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a distributed checkpoint, whatever number of processes wrote it.

    Parameters
    ----------
    folder : str or Path
        Has ``.metadata`` and ``*.distcp`` files.

    Returns
    -------
    dict of str to Tensor
        By flattened name, the optimiser's left out.

    Raises
    ------
    ValueError
        Where the index names a class that may run code, or a part is missing or cut off.
    """
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    folder = Path(folder)
    index = _index(folder)
    state = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in index.state_dict_metadata.items()
        if isinstance(entry, TensorStorageMetadata) and "optim" not in name.lower()
    }
    if not state:
        raise ValueError(f"{str(folder)!r} holds no weights")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it runs as a single process
            dcp.load(state, storage_reader=dcp.FileSystemReader(str(folder)), no_dist=True)
    except (Exception, dcp.CheckpointException) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
        raise ValueError(f"cannot read {str(folder)!r}: {reason}") from error
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
    """
    folder = Path(folder)
    try:
        stored = _index(folder).storage_data
    except ValueError:
        return None
    for key in STEP_KEYS:
        for place, info in stored.items():
            if place.fqn.rpartition(".")[2] != key or "optim" in place.fqn.lower():
                continue
            with (folder / Path(info.relative_path).name).open("rb") as file:
                file.seek(info.offset)
                raw = file.read(info.length)
            try:
                value: Any = peek(io.BytesIO(raw)).tree
            except ValueError:
                continue
            return step_inside(value if isinstance(value, Mapping) else {key: value})
    return None


def _index(folder: Path) -> Any:
    path = folder / ".metadata"
    try:
        raw = path.read_bytes()
        found = classes_of(raw)
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {str(path)!r}: {error}") from error
    foreign = found - _INDEX - harmless().keys() - torch_allows()
    if foreign:
        raise ValueError(
            f"the index {str(path)!r} would construct {sorted(foreign)[0]}, which may run code: "
            "save the checkpoint again with torch.distributed.checkpoint"
        )
    return pickle.loads(raw)  # every name in it is in the table above
