"""Look at one checkpoint on this machine: its format, its step, its size, what is amiss with it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from dynamics.checkpoints.checkpoint import Checkpoint, placed
from dynamics.checkpoints.choice import note_of_sets
from dynamics.checkpoints.folders import Look, SeveralError, look_within, recognise_lone
from dynamics.checkpoints.formats import (
    NO_WEIGHTS,
    epoch_inside,
    note_of,
    parts_of,
    recognise,
    recognise_folder,
)
from dynamics.checkpoints.inspect import inspect
from dynamics.checkpoints.reading import inspect_file, weight_files
from dynamics.checkpoints.selection import own
from dynamics.checkpoints.wanted import TRAINED
from dynamics.filesystems import open_regular

logger = logging.getLogger(__name__)


def describe(path: Path, step: int, *, weights: str = TRAINED) -> Checkpoint | None:
    """Look into a local file or folder whose step is known.

    Parameters
    ----------
    path : Path
        Where it is.
    step : int
        Number of updates.
    weights : str
        Which weights are wanted, where there are several.

    Returns
    -------
    Checkpoint or None
        None where it holds no weights.
    """
    return (from_folder if path.is_dir() else from_file)(path, step, weights=weights)


def from_file(
    path: Path,
    given: int | None = None,
    *,
    weights: str = TRAINED,
    stepless: list[Path] | None = None,
) -> Checkpoint | None:
    """Look into a file; None where it holds no weights or nothing states a step.

    One of which nothing states a step is put into `stepless`; without that a warning names it.
    """
    if given is None and NO_WEIGHTS.fullmatch(path.name):
        return None
    try:
        path.stat()
    except OSError:  # removed just now by a training loop that keeps the best, or a link to itself
        return None
    return _row(path, _look_at_file, given, weights=weights, stepless=stepless)[1]


def from_folder(
    folder: Path, given: int | None = None, *, weights: str = TRAINED
) -> Checkpoint | None:
    """Look into a folder; None where it is no checkpoint or nothing states a step."""
    return _row(folder, _look_at_folder, given, weights=weights)[1]


def container(folder: Path, weights: str = TRAINED) -> tuple[str, Checkpoint | None]:
    """Look at a folder that others may be in.

    Parameters
    ----------
    folder : Path
        The folder that the user named.
    weights : str
        As for `describe`.

    Returns
    -------
    layout : str
        Its format as a checkpoint; empty where it is none.
    checkpoint : Checkpoint or None
        None also where its step is not known: a number in the name of such a folder counts only
        where a word says that it is a step.
    """
    return _row(folder, _look_at_whole_folder, told=True, weights=weights)


def extent(path: Path) -> tuple[int, float]:
    """Return the size of a file or of the files of a folder, and when the last one was written.

    Parameters
    ----------
    path : Path
        Where it is.

    Returns
    -------
    bytes : int
        Together.
    modified : float
        Seconds since 1970.
    """
    parts = [part for part in path.iterdir() if part.is_file()] if path.is_dir() else [path]
    stats = [part.stat() for part in parts]
    return sum(s.st_size for s in stats), max((s.st_mtime for s in stats), default=0.0)


def _row(
    path: Path,
    look: Callable[[Path, str], Look],
    given: int | None = None,
    *,
    told: bool = False,
    weights: str = TRAINED,
    stepless: list[Path] | None = None,
) -> tuple[str, Checkpoint | None]:
    """Look at one entry; whatever it holds, what that raises is a note in its own row.

    A machine without memory and a missing library end the listing: they are no faults of the entry.
    """
    try:
        found = look(path, weights)
    except FileNotFoundError:  # removed since the folder was listed
        return "", None
    except (MemoryError, ImportError):
        raise
    except Exception as error:
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        found = Look("unreadable", None, " ".join(text.split()))
    if not found.layout:
        logger.debug("%s holds no weights", path)
        return "", None
    where = found.where or path
    try:
        size = extent(where)
    except OSError:
        size = 0, 0.0
    uri, name = own(path, found.inside, given)
    uri = uri if where == path else str(where)
    kind = found.kind or found.layout
    note = "; ".join(filter(None, [found.note, found.choice]))
    quiet = stepless is not None
    made = placed(
        uri, found.inside, name, size, kind, note,
        given=given, told=told, quiet=quiet, epoch=found.epoch,
    )  # fmt: skip
    if made is None and stepless is not None:
        stepless.append(path)
    return found.layout, made and replace(made, choice=found.choice)


def _look_at_file(path: Path, weights: str) -> Look:
    with open_regular(path) as file:
        contents = inspect(file)
    layout, inside = recognise(contents)
    if not layout:
        return Look("")
    note = note_of(contents) or note_of_sets(contents.tree, weights, path.name)
    return Look(layout, inside, note, epoch=epoch_inside(contents.tree))


def _look_at_whole_folder(folder: Path, weights: str) -> Look:
    return _look_into(folder, weights, lone=False)


def _look_at_folder(folder: Path, weights: str) -> Look:
    """Look into a folder, or into the one in it that has what is wanted, such as ``ema``."""
    with os.scandir(folder) as entries:
        inner = {e.name: folder / e.name for e in entries if _is(os.DirEntry.is_dir, e)}
    return look_within(_look_into, folder, inner, weights)


def _look_into(folder: Path, weights: str, *, lone: bool = True) -> Look:
    def open_file(name: str) -> BinaryIO:
        return open_regular(folder / name)

    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if _is(os.DirEntry.is_file, entry)]
    kind, inside = recognise_folder(names, open_file)
    if lone and not kind:
        kind, inside, said = recognise_lone(names, open_file, weights)
    if not kind:
        return Look("")
    if kind == "parts":
        return Look(kind, None, parts_of(names), folder)
    if kind == "several":
        return Look(kind, inside, said, folder)
    if kind == "torch-distributed":
        from dynamics.checkpoints.distributed import distributed_step

        return Look(kind, distributed_step(folder), "", folder)
    try:
        files = weight_files(folder, weights)
        contents = [inspect_file(folder / name) for name in files.taken]
    except SeveralError as error:
        return Look(kind, inside, str(error), folder, "several")
    except (OSError, ValueError) as error:  # a part may be missing: that is a row
        return Look(kind, inside, str(error), folder, "unreadable")
    note = next(filter(None, map(note_of, contents)), "")
    if not note and len(contents) == 1:
        note = note_of_sets(contents[0].tree, files.inside, folder.name)
    return Look(kind, inside, "; ".join(filter(None, [note, files.note])), folder)


def _is(what: Callable[[os.DirEntry[str]], bool], entry: os.DirEntry[str]) -> bool:
    try:
        return what(entry)
    except OSError:  # a link that points at itself
        return False
