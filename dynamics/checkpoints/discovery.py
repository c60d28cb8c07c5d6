"""Find the checkpoints of a run and put them in the order of training."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from dynamics.checkpoints.checkpoint import Checkpoint, arrange, is_remote, local_path, placed
from dynamics.checkpoints.formats import (
    LAYOUTS,
    NO_WEIGHTS,
    SUFFIXES,
    note_of,
    recognise,
    recognise_folder,
    recognise_lone,
    step_from_name,
)
from dynamics.checkpoints.peek import peek
from dynamics.checkpoints.reading import inspect, open_regular, weight_parts

logger = logging.getLogger(__name__)


def find(
    source: Any,
    *,
    duplicates: str = "newer",
    storage_options: Mapping[str, Any] | None = None,
    look_inside: bool = True,
) -> list[Checkpoint]:
    """Find the checkpoints of a source, in the order of training.

    Parameters
    ----------
    source : str, Path, mapping or sequence
        A folder; one file; a glob such as ``runs/*/last.ckpt``; a URL of fsspec (``s3://``,
        ``gs://``, ``https://``) of a folder, a file or a glob; ``hf://owner/name/folder`` or
        ``hf://owner/name@step*`` for the revisions of a repository on the model hub; a mapping of
        steps to any single one of these; or a list of single ones.
    duplicates : {"newer", "older", "error"}
        Which of two checkpoints of one step is used; the other is named in the note.
    storage_options : mapping, optional
        For fsspec: credentials, endpoint and the like.
    look_inside : bool
        Whether a remote file whose name states a step is opened too (a few small requests each).
        Local files always are.

    Returns
    -------
    list of Checkpoint
        Sorted by step, one a step. A damaged file whose name states a step is listed as
        ``unreadable``, so that it becomes a row and not a gap.

    Raises
    ------
    FileNotFoundError
        Where the source does not exist or holds no checkpoint.
    ValueError
        Where no checkpoint states its step, a URL cannot be listed, or `duplicates` is
        ``"error"`` and there are some.
    """
    remote = {"storage_options": storage_options, "look_inside": look_inside}
    if isinstance(source, Mapping):
        found = [_given(step, where, remote) for step, where in source.items()]
    elif isinstance(source, (list, tuple)):
        found = [c for where in source for c in _listed(where, remote)]
    else:
        found = list(_anywhere(source, remote))
    if not found:
        raise FileNotFoundError(
            f"there are no checkpoints in {str(source)!r}: looked for files ending in "
            f"{', '.join(SUFFIXES)} that state a training step, and for checkpoint folders, there "
            f"and in {', '.join(LAYOUTS)}"
        )
    return arrange(found, duplicates)


def growing(checkpoint: Checkpoint, *, quiet: float = 30.0, wait: float = 1.0) -> bool:
    """Tell whether a local checkpoint is still being written.

    Parameters
    ----------
    checkpoint : Checkpoint
        As `find` gave it.
    quiet : float
        A file that nobody touched for so many seconds is complete.
    wait : float
        Seconds between two looks at a younger one.

    Returns
    -------
    bool
        True where a young checkpoint changed between the looks or since it was found, or cannot be
        read yet. Objects of remote stores appear when they are complete, so False for them.
    """
    if is_remote(checkpoint.uri):
        return False
    path = Path(checkpoint.uri)
    try:
        before = _extent(path)
        if time.time() - before[1] > quiet:
            return False
        time.sleep(wait)
        if _extent(path) != before or before[0] != checkpoint.bytes:
            return True
        again = _from_folder(path) if path.is_dir() else _from_file(path)
    except OSError:
        return True
    return again is None or again.format == "unreadable"


def _anywhere(source: Any, remote: dict[str, Any]) -> Iterator[Checkpoint]:
    """Checkpoints of a single source: a folder, a file, a glob or a URL."""
    if is_remote(source):
        from dynamics.checkpoints.remote import find_remote

        yield from find_remote(str(source), **remote)
        return
    path = local_path(str(source)).expanduser()
    if path.exists():
        found = list(_in_folder(path))
        inner = [] if found or not path.is_dir() else [p for x in LAYOUTS for p in path.glob(x)]
        yield from found
        for folder in sorted(inner):
            yield from _in_folder(folder)
    elif any(sign in str(path) for sign in "*?["):
        # `Path.glob` follows no symlinks below `**`, so a loop of them ends.
        start = Path(path.anchor) if path.is_absolute() else Path()
        for match in sorted(start.glob(str(path.relative_to(path.anchor)))):
            checkpoint = _from_folder(match) if match.is_dir() else _from_file(match)
            if checkpoint is not None:
                yield checkpoint
    else:
        raise FileNotFoundError(f"there is no folder or file {str(source)!r}")


def _listed(where: Any, remote: dict[str, Any]) -> Iterator[Checkpoint]:
    """Entry of a list: a path, or a step with a path."""
    if isinstance(where, Mapping):
        path = where.get("path", where.get("uri"))
        if path is None or "step" not in where:
            raise ValueError(f"the checkpoint {dict(where)!r} needs a `step` and a `path`")
        yield _given(where["step"], path, remote)
    elif isinstance(where, (list, tuple)) and len(where) == 2:
        yield _given(where[0], where[1], remote)
    else:
        yield from _anywhere(where, remote)


def _given(step: Any, where: Any, remote: dict[str, Any]) -> Checkpoint:
    """Checkpoint whose step the user states; what the file says of it is noted only."""
    if isinstance(step, bool) or not isinstance(step, int) or step < 0:
        raise ValueError(f"the step {step!r} of {str(where)!r} is not a whole number from 0")
    if is_remote(where):
        from dynamics.checkpoints.remote import describe_remote

        return describe_remote(str(where), step, remote["storage_options"])
    path = Path(where).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"there is no checkpoint at {str(where)!r} for step {step}")
    found = _from_folder(path, step) if path.is_dir() else _from_file(path, step)
    return found or Checkpoint(step, str(path), *_extent(path), "unreadable", "holds no weights")


def _extent(path: Path) -> tuple[int, float]:
    parts = [part for part in path.iterdir() if part.is_file()] if path.is_dir() else [path]
    stats = [part.stat() for part in parts]
    return sum(s.st_size for s in stats), max((s.st_mtime for s in stats), default=0.0)


def _in_folder(folder: Path) -> Iterator[Checkpoint]:
    """Checkpoints directly in a folder, files and subfolders; the folder itself where it is one."""
    if not folder.is_dir():
        found = _from_file(folder)
        if found is not None:
            yield found
        return
    itself = _from_folder(folder, lone=False)
    if itself is not None:
        yield itself
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                is_folder = entry.is_dir()
            except OSError:  # a symlink that points at itself
                continue
            if is_folder:
                checkpoint = _from_folder(Path(entry.path))
            elif entry.name.lower().endswith(SUFFIXES):
                checkpoint = _from_file(Path(entry.path))
            else:
                continue
            if checkpoint is not None:
                yield checkpoint


def _from_file(path: Path, given: int | None = None) -> Checkpoint | None:
    if given is None and NO_WEIGHTS.fullmatch(path.name):
        return None
    try:
        path.stat()
    except OSError:  # removed just now by a training loop that keeps the best, or a link to itself
        return None
    return _row(path, given, _look_at_file)


def _from_folder(folder: Path, given: int | None = None, *, lone: bool = True) -> Checkpoint | None:
    return _row(folder, given, _look_at_folder if lone else _look_at_whole_folder)


Look = tuple[str, int | None, str]
"""Format, the step that the contents state, and a note; an empty format where it is nothing."""


def _row(path: Path, given: int | None, look: Callable[[Path], Look]) -> Checkpoint | None:
    """Look at one entry; whatever it holds, what that raises is a note in its own row.

    A machine without memory and a missing library end the listing: they are no faults of the entry.
    """
    try:
        kind, inside, note = look(path)
    except FileNotFoundError:  # removed since the folder was listed
        return None
    except (MemoryError, ImportError):
        raise
    except Exception as error:
        text = getattr(error, "strerror", None) or str(error) or type(error).__name__
        kind, inside, note = "unreadable", None, " ".join(text.split())
    if not kind:
        logger.debug("%s holds no weights", path)
        return None
    try:
        extent = _extent(path)
    except OSError:
        extent = 0, 0.0
    return placed(str(path), inside, step_from_name(path.name), *extent, kind, note, given)


def _look_at_file(path: Path) -> Look:
    with open_regular(path) as file:
        contents = peek(file)
    return *recognise(contents), note_of(contents.classes)


def _look_at_folder(folder: Path, *, lone: bool = True) -> Look:
    def open_file(name: str) -> BinaryIO:
        return open_regular(folder / name)

    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if _is_file(entry)]
    kind, inside = recognise_folder(names, open_file)
    if lone and not kind:
        kind, inside, _ = recognise_lone(names, open_file)
    if not kind:
        return "", None, ""
    if kind == "torch-distributed":
        from dynamics.checkpoints.distributed import distributed_step

        return kind, distributed_step(folder), ""
    try:
        classes = {name for part in weight_parts(folder) for name in inspect(part).classes}
    except (OSError, ValueError) as error:  # a part may be missing: that is a row
        return "unreadable", inside, str(error)
    return kind, inside, note_of(classes)


def _look_at_whole_folder(folder: Path) -> Look:
    return _look_at_folder(folder, lone=False)


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link that points at itself
        return False
