"""Read the weights of a checkpoint; nothing in it runs unless the caller asked for that by name."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from dynamics.checkpoints.archive import check_records
from dynamics.checkpoints.choice import Taken, choose, listed, matching, of_name
from dynamics.checkpoints.folders import Files, SeveralError, files_of, noted_choice
from dynamics.checkpoints.formats import here
from dynamics.checkpoints.inspect import Contents, inspect, opened_archive
from dynamics.checkpoints.sets import Sets, sets_of
from dynamics.checkpoints.shards import aliases, read_shards
from dynamics.checkpoints.tensors import Loaded, TensorSpec
from dynamics.checkpoints.wanted import TRAINED
from dynamics.filesystems import open_regular

logger = logging.getLogger(__name__)


def read(
    path: str | Path, *, trust: bool = False, weights: str = TRAINED
) -> dict[str, torch.Tensor]:
    """Read the weights of one checkpoint.

    Parameters
    ----------
    path : str or Path
        A file (torch.save or safetensors) or the folder of one checkpoint.
    trust : bool
        True lets the file run whatever code it brings (`torch.load` with ``weights_only=False``);
        only for files from people you would run programs of.
    weights : str
        Which weights are taken where there are several: ``trained``; ``ema``, an average of them;
        or the name of a key or file.

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
        Where the file is empty, cut off, unreadable, holds no weights or not those that are
        wanted, or would run code; one sentence says which.
    """
    return take(path, trust=trust, weights=weights).weights


def take(path: str | Path, *, trust: bool = False, weights: str = TRAINED) -> Taken:
    """Read the weights of one checkpoint as `read` does, and say which they are."""
    path = Path(path)
    called = weights != TRAINED and bool(matching([path.stem, path.name], weights))
    if path.is_dir():
        try:
            return of_name(_read_folder(path, trust, weights), path.name)
        except ValueError:
            if not called:
                raise
            return of_name(_read_folder(path, trust, TRAINED), path.name)
    passed: set[str] = set()
    found = _sets(read_file(path, trust=trust, passed=passed), path)
    if called and not matching(found.others, weights, averages=found.averages):
        weights = TRAINED  # the file as a whole is what is wanted
    return _read_past(passed, of_name(choose(found, weights, repr(str(path))), path.stem))


def _read_past(passed: set[str], taken: Taken) -> Taken:
    """Say of what stand-ins are in the file's tree."""
    if not passed:
        return taken
    note = f"without its objects of {listed(sorted(passed))}, which are not installed here"
    return replace(taken, note="; ".join(filter(None, [taken.note, note])))


def _sets(tree: Any, path: Path) -> Sets:
    with _one_sentence(path):
        found = sets_of(tree)
    if not found.trained:
        raise ValueError(f"{str(path)!r} holds no weights: name a file with a state dict in it")
    return found


@functools.cache
def _say_once(folder: Path) -> None:
    logger.warning("running whatever code the files in %s bring: trust_checkpoints is on", folder)


def read_file(path: str | Path, *, trust: bool = False, passed: set[str] | None = None) -> Any:
    """Read everything that one file holds (configuration beside weights), as safely as `read`.

    Parameters
    ----------
    path, trust
        As for `read`.
    passed : set of str, optional
        Is given the classes of objects that are not plain data and that are not installed here
        either: stand-ins are in their places.

    Returns
    -------
    object
        What the file holds.
    """
    path = Path(path)
    with _one_sentence(path):
        if trust:
            with open_regular(path) as file:
                kind = inspect(file).kind
                if kind == "torch":
                    check_records(file)
            _say_once(path.parent)
            if kind == "safetensors":
                return _safetensors(path, inspect_file(path).tree)
            return torch.load(path, map_location="cpu", mmap=kind == "torch", weights_only=False)
        with open_regular(path) as file:
            kind, opened = opened_archive(file)
            if kind == "safetensors":
                return _safetensors(path, opened)
            if kind == "torch":
                check_records(file)
            tree, foreign = opened.unpickle(Loaded(opened.storage, opened.size))
    if foreign and not here(foreign) and sets_of(tree).trained:
        if passed is not None:
            passed |= foreign
        return tree
    if foreign:
        first, *others = sorted(foreign)
        raise ValueError(
            f"{str(path)!r} would construct {first}"
            + (f" and {len(others)} more" if others else "")
            + ", which may run code: set `trust_checkpoints: true` if you trust its author"
        )
    return tree


def _safetensors(path: Path, header: dict[str, Any]) -> dict[str, torch.Tensor]:
    from safetensors.torch import _TYPES, load_file

    specs = {name: spec for name, spec in header.items() if isinstance(spec, TensorSpec)}
    for name, spec in specs.items():
        if spec.dtype not in _TYPES:
            raise ValueError(
                f"{name} is of the type {spec.dtype}, which torch has not: give the weights as "
                "they were before"
            )
    state = dict(load_file(path))
    return state | {name: state[kept] for name, kept in aliases(header).items()}


def inspect_file(path: str | Path) -> Contents:
    """Structure of one local file; a ValueError or FileNotFoundError names the file."""
    path = Path(path)
    with _one_sentence(path), open_regular(path) as file:
        return inspect(file)


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


def digest(path: str | Path, *, weights: str = TRAINED) -> str:
    """Content hash of a checkpoint.

    Parameters
    ----------
    path : str or Path
        A file, or the folder of one checkpoint (then its weight files, by name and content).
    weights : str
        As for `read`: of a folder, only the files that they are in count.

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
    for part in sorted(path / name for name in weight_files(path, weights).taken):
        with open_regular(part) as file:
            total.update(part.name.encode() + b"\0")
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def weight_files(folder: Path, weights: str = TRAINED) -> Files:
    """Files of a checkpoint folder that hold its weights; a ValueError names the folder."""
    names = [path.name for path in folder.iterdir() if path.is_file()]
    try:
        files = files_of(names, lambda name: open_regular(folder / name), weights)
        return noted_choice(folder, files)
    except SeveralError as error:
        raise SeveralError(f"{str(folder)!r}: {error}") from None
    except ValueError as error:
        raise ValueError(f"cannot read the index of weights in {str(folder)!r}: {error}") from error


def _read_folder(folder: Path, trust: bool, weights: str) -> Taken:
    files = weight_files(folder, weights)
    where, parts = repr(str(folder)), [folder / name for name in files.taken]
    beside = [files.name, *files.others] if files.others else []
    if not parts:
        raise ValueError(f"{where} holds no weights: name the folder of one checkpoint")
    if (folder / ".metadata").is_file():
        from dynamics.checkpoints.distributed import read_flat, unwrapped

        taken = choose(sets_of(read_flat(folder)), files.inside, where)
        return replace(taken, weights=unwrapped(taken.weights))
    if files.index:
        taken = read_shards(
            folder,
            files.index,
            read=lambda part: read_file(part, trust=trust),
            open_file=open_regular,
        )
        chosen = choose(sets_of(taken.weights), files.inside, where, beside)
        notes = [files.note, taken.note, chosen.note]
        hint = taken.hint or chosen.hint
        return replace(chosen, note="; ".join(filter(None, notes)), hint=hint)
    passed: set[str] = set()
    trees = {part: read_file(part, trust=trust, passed=passed) for part in parts}
    if len(parts) == 1:
        taken = choose(_sets(trees[parts[0]], parts[0]), files.inside, where, beside)
    elif (folder / "CKPT.yaml").is_file():
        # SpeechBrain saves one file a module; the module's name keeps their keys apart.
        named = {part.stem: _sets(tree, part).trained for part, tree in trees.items()}
        taken = choose(sets_of(named), files.inside, where, beside)
    else:
        whole = {n: v for part, tree in trees.items() for n, v in _sets(tree, part).trained.items()}
        taken = choose(sets_of(whole), files.inside, where, beside)
    note = "; ".join(filter(None, [files.note, taken.note]))
    return _read_past(passed, replace(taken, note=note))
