"""Find the checkpoints of a run and put them in the order of training."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dynamics.checkpoints.checkpoint import STEPLESS, Checkpoint, arrange, is_remote, local_path
from dynamics.checkpoints.counting import believed, counted, doubts
from dynamics.checkpoints.formats import LAYOUTS, WHOLE
from dynamics.checkpoints.leftovers import left_out
from dynamics.checkpoints.local import container, describe, extent, from_file, from_folder
from dynamics.checkpoints.names import SUFFIXES, is_aside, words
from dynamics.checkpoints.selection import belongs, beside, best_named
from dynamics.checkpoints.twins import COPIES, same_weights
from dynamics.checkpoints.wanted import AUTO, TRAINED, check_wanted
from dynamics.filesystems import open_regular

logger = logging.getLogger(__name__)


def find(
    source: Any,
    *,
    duplicates: str = "newer",
    storage_options: Mapping[str, Any] | None = None,
    look_inside: bool = True,
    weights: str = TRAINED,
    unit: str = AUTO,
    offset: int | None = None,
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
    weights : str
        Which weights are wanted where a checkpoint holds several sets: ``trained``; ``ema``, an
        average of them; or the name of a key or file.
    unit, offset
        What their numbers count, as for `dynamics.checkpoints.counting.counted`.

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
    remote = {
        "storage_options": storage_options,
        "look_inside": look_inside,
        "weights": check_wanted(weights),
    }
    if isinstance(source, Mapping):
        found = [_given(step, where, remote) for step, where in source.items()]
    elif isinstance(source, (list, tuple)):
        found = [c for where in source for c in _listed(where, remote)]
    else:
        found = list(_anywhere(source, remote))
    if not found:
        raise FileNotFoundError(_none_in(source))
    arranged = arrange(counted(believed(found), unit, offset), duplicates, weights)
    for doubt in doubts(arranged):
        logger.warning("%s", doubt)
    return arranged


def _none_in(source: Any) -> str:
    """Say that there are no checkpoints, and what there is."""
    there = "; ".join(kind.told() for kind in left_out(source)[:4])
    what = f"it holds {there}; " if there else ""
    return (
        f"there are no checkpoints in {str(source)!r}: {what}looked for files ending in "
        f"{', '.join(SUFFIXES)} that state a training step, and for checkpoint folders, there "
        f"and in {', '.join(LAYOUTS)}"
    )


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
        before = extent(path)
        if time.time() - before[1] > quiet:
            return False
        time.sleep(wait)
        if extent(path) != before or before[0] != checkpoint.bytes:
            return True
        look = from_folder if path.is_dir() else from_file
        again = look(path, weights=checkpoint.weights)
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
        wanted = remote["weights"]
        found = list(_in_folder(path, wanted))
        beside_it = [c for c in found if Path(c.uri) != path]
        inner = [] if beside_it or not path.is_dir() else [p for x in LAYOUTS for p in path.glob(x)]
        yield from found
        for folder in sorted(inner):
            yield from _in_folder(folder, wanted)
    elif any(sign in str(path) for sign in "*?["):
        # `Path.glob` follows no symlinks below `**`, so a loop of them ends.
        start = Path(path.anchor) if path.is_absolute() else Path()
        for match in sorted(start.glob(str(path.relative_to(path.anchor)))):
            if is_aside(match.name):
                logger.info("%s is left out: a copy that was put aside", match)
                continue
            look = from_folder if match.is_dir() else from_file
            checkpoint = look(match, weights=remote["weights"])
            if checkpoint is not None:
                yield checkpoint
    else:
        unset = re.findall(r"\$\{?(\w+)\}?", str(source))
        why = f": the environment variable {unset[0]} is not set" if unset else ""
        raise FileNotFoundError(f"there is no folder or file {str(source)!r}{why}")


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
    note = "holds no weights"
    return describe(path, step, weights=remote["weights"]) or Checkpoint(
        step, str(path), *extent(path), "unreadable", note, known_by="list"
    )


def _in_folder(folder: Path, weights: str) -> Iterator[Checkpoint]:
    """Checkpoints directly in a folder, files and subfolders, and it itself where it is one."""
    if not folder.is_dir():
        alone = from_file(folder, weights=weights)
        if alone is not None:
            yield alone
        return
    kind, itself = container(folder, weights)
    if kind in WHOLE:
        if itself is not None:
            yield itself
        return
    found, stepless = [], list[Path]()
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                is_folder = entry.is_dir()
            except OSError:  # a symlink that points at itself
                continue
            is_file = not is_folder and entry.name.lower().endswith(SUFFIXES)
            if not (is_file or is_folder) or (kind and belongs(entry.name, is_file)):
                continue
            if is_aside(entry.name):
                logger.info("%s is left out: a copy that was put aside", entry.path)
                continue
            if is_file:
                found.append(from_file(Path(entry.path), weights=weights, stepless=stepless))
            else:
                found.append(from_folder(Path(entry.path), weights=weights))
    inner = list(filter(None, found))
    for path in stepless:
        # A further copy of one that is listed, such as of the best, is nothing to think about.
        copy = bool(words(path.stem) & set(COPIES)) and any(
            same_weights(path, each.uri) for each in inner
        )
        logger.log(logging.INFO if copy else logging.WARNING, STEPLESS, path)
    yield from beside(itself, inner, kind, best=lambda: _best_of(folder))


def _best_of(folder: Path) -> str:
    try:
        with open_regular(folder / "trainer_state.json") as file:
            return best_named(file)
    except (OSError, ValueError):
        return ""
