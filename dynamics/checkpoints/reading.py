"""Read the weights of a checkpoint; nothing in it runs unless the caller asked for that by name."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch

from dynamics.checkpoints.checksums import check_records
from dynamics.checkpoints.formats import WEIGHT_FILES, WRAPPERS, weights_among
from dynamics.checkpoints.peek import Contents, is_tree, opened_archive, peek
from dynamics.checkpoints.sidecars import read_json, weight_parts_of
from dynamics.checkpoints.tensors import Loaded

logger = logging.getLogger(__name__)

_NO_FILE = "it is no regular file but a folder, a pipe, a socket or a device"


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
    tree = read_file(path, trust=trust)
    with _one_sentence(path):
        state = weights_of(tree)
    if not state:
        raise ValueError(f"{str(path)!r} holds no weights: name a file with a state dict in it")
    return state


def read_file(path: str | Path, *, trust: bool = False) -> Any:
    """Read everything that one file holds (configuration beside weights), as safely as `read`."""
    path = Path(path)
    with _one_sentence(path):
        if trust:
            with open_regular(path) as file:
                kind = peek(file).kind
                if kind == "torch":
                    check_records(file)
            logger.warning("running whatever code %s brings: trust_checkpoints is on", path)
            if kind == "safetensors":
                return _safetensors(path)
            return torch.load(path, map_location="cpu", mmap=kind == "torch", weights_only=False)
        with open_regular(path) as file:
            kind, opened = opened_archive(file)
            if kind == "safetensors":
                return _safetensors(path)
            if kind == "torch":
                check_records(file)
            tree, foreign = opened.unpickle(Loaded(opened.storage, opened.size))
    if foreign:
        first, *others = sorted(foreign)
        raise ValueError(
            f"{str(path)!r} would construct {first}"
            + (f" and {len(others)} more" if others else "")
            + ", which may run code: set `trust_checkpoints: true` if you trust its author"
        )
    return tree


def _safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return dict(load_file(path))


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


def inspect(path: str | Path) -> Contents:
    """Structure of one local file; a ValueError or FileNotFoundError names the file."""
    path = Path(path)
    with _one_sentence(path), open_regular(path) as file:
        return peek(file)


def open_regular(path: str | Path) -> io.BufferedReader:
    """Open a file for reading bytes; a ValueError where it is a pipe, a socket or a device.

    Parameters
    ----------
    path : str or Path
        Where it is.

    Returns
    -------
    binary file
        At its beginning.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(_NO_FILE)
    # Should it become a pipe between the two looks, this does not wait for a writer.
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    file = os.fdopen(number, "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ValueError(_NO_FILE)
    return file


@contextlib.contextmanager
def _one_sentence(path: Path) -> Iterator[None]:
    """Turn whatever reading one file raises into a ValueError that names it.

    A machine without memory and a library that is missing are no faults of the file.
    """
    try:
        yield
    except (MemoryError, ImportError):
        raise
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no checkpoint at {str(path)!r}") from None
    except OSError as error:
        raise ValueError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"cannot read {str(path)!r}: {reason[:300]}") from error


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
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    total = hashlib.sha256()
    for part in sorted(weight_parts(path)):
        with open_regular(part) as file:
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
    if not is_tree(tree):
        return {}
    flat = {str(key): value for key, value in tree.items() if isinstance(value, torch.Tensor)}
    if any("." in key for key in flat) or len(flat) == len(tree):
        return flat
    for name in WRAPPERS:
        inner = tree.get(name)
        if is_tree(inner) or isinstance(inner, torch.nn.Module):
            state = weights_of(inner)
            if state:
                return state
    networks = {
        str(name): weights_of(inner)
        for name, inner in tree.items()
        if (is_tree(inner) or isinstance(inner, torch.nn.Module))
        and "optim" not in str(name).lower()
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


def _may_hold(thing: Any) -> bool:
    return is_tree(thing) or isinstance(thing, torch.nn.Module)


def weight_parts(folder: Path) -> list[Path]:
    """Files of a checkpoint folder that hold its weights."""
    if (folder / ".metadata").is_file():
        return [folder / ".metadata", *sorted(folder.glob("*.distcp"))]
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            if not name.endswith(".index.json"):
                return [folder / name]
            with _one_sentence(folder / name), open_regular(folder / name) as file:
                return [folder / part for part in weight_parts_of(read_json(file))]
    files = [path.name for path in folder.iterdir() if path.is_file()]
    return [folder / name for name in weights_among(files)]


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
