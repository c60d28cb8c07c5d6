"""Read the weights of a checkpoint; nothing in it runs unless the caller asked for that by name."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dynamics.checkpoints.formats import NO_WEIGHTS, SUFFIXES, WEIGHT_FILES, WRAPPERS
from dynamics.checkpoints.harmless import harmless, torch_allows
from dynamics.checkpoints.peek import Contents, peek

logger = logging.getLogger(__name__)


def read(path: str | Path, *, trust: bool = False) -> dict[str, torch.Tensor]:
    """Read the weights of one checkpoint.

    Parameters
    ----------
    path : str or Path
        A file (torch.save or safetensors) or the folder of one checkpoint.
    trust : bool
        True lets the file run whatever code it brings (`torch.load` with ``weights_only=False``);
        only for files from people you would run programs of.

    Returns
    -------
    dict of str to Tensor
        The state dict on the CPU, without its wrapper. Where a file keeps several networks
        (s3prl), the name of each is a prefix. Tensors may be memory-mapped from the file.

    Raises
    ------
    FileNotFoundError
        Where there is nothing at `path`.
    ValueError
        Where the file is empty, cut off, unreadable, holds no weights, or would run code; one
        sentence says which.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path, trust)
    state = weights_of(read_file(path, trust=trust))
    if not state:
        raise ValueError(f"{str(path)!r} holds no weights: name a file with a state dict in it")
    return state


def read_file(path: str | Path, *, trust: bool = False) -> Any:
    """Read everything that one file holds (configuration beside weights), as safely as `read`."""
    path = Path(path)
    contents = inspect(path)
    if contents.kind == "safetensors":
        from safetensors.torch import load_file

        try:
            return dict(load_file(path))
        except Exception as error:
            raise _unreadable(path, error) from error
    mmap = contents.kind == "torch"
    if trust:
        logger.warning("running whatever code %s brings: trust_checkpoints is on", path)
        return _load(path, mmap, weights_only=False)
    foreign = foreign_classes(contents)
    if foreign:
        raise ValueError(
            f"{str(path)!r} would construct {foreign[0]}"
            + (f" and {len(foreign) - 1} more" if len(foreign) > 1 else "")
            + ", which may run code: set `trust_checkpoints: true` if you trust its author"
        )
    with torch.serialization.safe_globals([(thing, name) for name, thing in harmless().items()]):
        return _load(path, mmap, weights_only=True)


def inspect(path: str | Path) -> Contents:
    """Structure of one local file; a ValueError or FileNotFoundError names the file."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            return peek(file)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no checkpoint at {str(path)!r}") from None
    except OSError as error:
        raise ValueError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    except ValueError as error:
        raise ValueError(f"cannot read {str(path)!r}: {error}") from None


def foreign_classes(contents: Contents) -> list[str]:
    """Names in a file that are neither torch's own plain data nor in the table of harmless ones."""
    if contents.kind == "safetensors":
        return []
    return sorted(contents.classes - harmless().keys() - torch_allows())


def digest(path: str | Path) -> str:
    """Content hash of a checkpoint.

    Parameters
    ----------
    path : str or Path
        A file, or the folder of one checkpoint (then its weight files, by name and content).

    Returns
    -------
    str
        SHA-256 in hexadecimal digits.
    """
    path = Path(path)
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    total = hashlib.sha256()
    for part in sorted(weight_parts(path)):
        with part.open("rb") as file:
            total.update(part.name.encode() + b"\0")
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def weights_of(tree: Any) -> dict[str, torch.Tensor]:
    """Take the state dict out of whatever a training loop wrapped around it.

    Parameters
    ----------
    tree : object
        What a file holds: a state dict, a mapping with one inside, or a whole module.

    Returns
    -------
    dict of str to Tensor
        Empty where there are no weights. The prefixes that data parallelism and compilation put
        before every name are taken off.
    """
    state = _state_dict(tree)
    for prefix in ("module.", "_orig_mod."):
        while state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _state_dict(tree: Any) -> dict[str, torch.Tensor]:
    if isinstance(tree, torch.nn.Module):
        return dict(tree.state_dict())
    if not isinstance(tree, Mapping):
        return {}
    flat = {str(key): value for key, value in tree.items() if isinstance(value, torch.Tensor)}
    if any("." in key for key in flat) or len(flat) == len(tree):
        return flat
    for name in WRAPPERS:
        inner = tree.get(name)
        if isinstance(inner, (Mapping, torch.nn.Module)):
            state = weights_of(inner)
            if state:
                return state
    networks = {
        str(name): weights_of(inner)
        for name, inner in tree.items()
        if isinstance(inner, (Mapping, torch.nn.Module)) and "optim" not in str(name).lower()
    }
    # Numbers beside bare tensors: a small network's state dict with the step among its weights.
    return (
        flat
        if not any(networks.values())
        else {
            f"{name}.{key}": value
            for name, state in networks.items()
            for key, value in state.items()
        }
    )


def weight_parts(folder: Path) -> list[Path]:
    """Files of a checkpoint folder that hold its weights."""
    if (folder / ".metadata").is_file():
        return [folder / ".metadata", *sorted(folder.glob("*.distcp"))]
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            if not name.endswith(".index.json"):
                return [folder / name]
            parts = json.loads((folder / name).read_text())["weight_map"]
            # By name alone: an index must not lead out of its folder.
            return [folder / name for name in sorted({Path(p).name for p in parts.values()})]
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file()
        and path.name.lower().endswith(SUFFIXES)
        and not NO_WEIGHTS.fullmatch(path.name)
    )


def _read_folder(folder: Path, trust: bool) -> dict[str, torch.Tensor]:
    if (folder / ".metadata").is_file():
        from dynamics.checkpoints.distributed import read_distributed

        return read_distributed(folder)
    parts = weight_parts(folder)
    if not parts:
        raise ValueError(f"{str(folder)!r} holds no weights: name the folder of one checkpoint")
    if (folder / "CKPT.yaml").is_file() and len(parts) > 1:
        # SpeechBrain saves one file a module; the module's name keeps their keys apart.
        states = {part.stem: weights_of(read_file(part, trust=trust)) for part in parts}
        return {f"{name}.{key}": value for name, s in states.items() for key, value in s.items()}
    state: dict[str, torch.Tensor] = {}
    for part in parts:
        state.update(read(part, trust=trust))
    return state


def _load(path: Path, mmap: bool, *, weights_only: bool) -> Any:
    try:
        return torch.load(path, map_location="cpu", mmap=mmap, weights_only=weights_only)
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ValueError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ValueError(f"cannot read {str(path)!r}: {reason[:300]}")
