"""Whether what was read is what was listed: training loops write on while checkpoints are read."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dynamics.checkpoints.checkpoint import Checkpoint, is_remote
from dynamics.checkpoints.local import describe, extent
from dynamics.checkpoints.revisions import extent_now

logger = logging.getLogger(__name__)


class LeftForLater(ValueError):  # noqa: N818
    """A checkpoint is not what it was when it was listed; looking again says what it is now."""


@contextlib.contextmanager
def as_listed(
    checkpoint: Checkpoint,
    path: Path | Exception,
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> Iterator[Path]:
    """Read a checkpoint within a ``with`` block, and know that it is the one that was listed.

    Parameters
    ----------
    checkpoint : Checkpoint
        As `find` gave it.
    path : Path or Exception
        Where it is on this machine, or what fetching it raised.
    storage_options : mapping, optional
        For fsspec.

    Yields
    ------
    Path
        Where to read it.

    Raises
    ------
    LeftForLater
        Where it has been removed or written again since it was listed, or while it was read.
    ValueError
        Where it was listed by its name alone, and its inside states another step.
    Exception
        What fetching or reading it raised.
    """
    try:
        if isinstance(path, Exception):
            raise path
        if not is_remote(checkpoint.uri):
            before = _stamp(path)
            if before is None:
                raise FileNotFoundError(path)
            _compare(checkpoint, *extent(path))
    except FileNotFoundError as error:
        raise LeftForLater(
            f"{checkpoint.uri} was removed before its turn came: it is left, and is done if it "
            "comes again"
        ) from error
    if is_remote(checkpoint.uri):
        _compare_remote(checkpoint, storage_options)
        yield path
        _compare_steps(checkpoint, path)
        return
    try:
        yield path
    finally:  # what was wrong with a file that is being written is no fault of the checkpoint
        if _stamp(path) != before:
            raise LeftForLater(
                f"{checkpoint.uri} was written again while it was read: it is left for later"
            )
    _compare_steps(checkpoint, path)


def _compare(checkpoint: Checkpoint, size: int, modified: float, version: str = "") -> None:
    """Raise LeftForLater where size, time or version are others; what is not known is passed."""
    pairs = (
        (checkpoint.bytes, size),
        (checkpoint.modified, modified),
        (checkpoint.version, version),
    )
    if any(then and now and then != now for then, now in pairs):
        raise LeftForLater(
            f"{checkpoint.uri} was written again since it was listed: it is left for later"
        )


def _compare_remote(checkpoint: Checkpoint, options: Mapping[str, Any] | None) -> None:
    if checkpoint.uri.startswith("hf://") and checkpoint.version:
        return  # read at the commit that was listed, which does not change
    try:
        now = extent_now(checkpoint.uri, options)
    except FileNotFoundError:
        return  # removed after it was fetched as a whole
    except Exception as error:
        logger.warning("cannot ask whether %s has changed: %s", checkpoint.uri, error)
        return
    _compare(checkpoint, *now)


def _compare_steps(checkpoint: Checkpoint, path: Path) -> None:
    """Compare the step inside a checkpoint with the one that it was listed under."""
    found = describe(path, checkpoint.step, weights=checkpoint.weights)
    now = None if found is None else found.inside
    looked = not is_remote(checkpoint.uri) or checkpoint.format not in ("remote", "folder")
    if checkpoint.format in ("unreadable", "parts", "several") or now == checkpoint.inside:
        return
    if looked or checkpoint.inside is not None:
        raise LeftForLater(
            f"{checkpoint.uri} stated step {checkpoint.inside} when it was listed and states "
            f"{now} now: it is left for later"
        )
    if checkpoint.known_by == "name" and now != checkpoint.step:
        raise ValueError(
            f"{checkpoint.uri} is of step {now} by its inside, and of {checkpoint.step} by its "
            "name, which alone could be read when it was listed: give `checkpoints` as a mapping "
            "of step to place"
        )


def _stamp(path: Path) -> dict[str, tuple[int, int, int]] | None:
    """Size, time and number of every file of a checkpoint; None where there is none."""
    try:
        parts = [Path(e.path) for e in os.scandir(path) if e.is_file()] if path.is_dir() else [path]
        stats = {part.name: part.stat() for part in parts}
    except OSError:
        return None
    return {name: (s.st_size, s.st_mtime_ns, s.st_ino) for name, s in stats.items()}
