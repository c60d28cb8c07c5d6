"""One writer a store."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

from dynamics.store import objectlock
from dynamics.store.place import Place, Where, place_of, writing

logger = logging.getLogger(__name__)

_PARTIAL = re.compile(r"\.[0-9a-f]{32}\.partial$")


@contextlib.contextmanager
def lock(where: Where) -> Iterator[None]:
    """Hold the right to write to a store.

    On a local disk the system releases it even after a kill. On an object store it is an object
    beside the store (`dynamics.store.objectlock`); an Icechunk repository on one needs none,
    because the second of two writers is refused when it commits.

    Parameters
    ----------
    where : str, Path or Place
        The store.

    Yields
    ------
    None

    Raises
    ------
    BlockingIOError
        If another process holds it; the message names host and process.
    OSError
        If the place cannot be written to.
    ValueError
        If the place is one that is only read.
    """
    place = place_of(where)
    if place.kind == "zip":
        raise ValueError(
            f"a zip file is read, not written ({place}): set `store` to a folder or URL"
        )
    if place.local is not None:
        with _file_lock(place.local, str(place)) as stopped, _room(place):
            if stopped:
                _remove_leftovers(place.local)
            yield
    elif place.kind == "object store":
        with objectlock.hold(place.where, place.options):
            yield
    else:
        yield


def unlock(where: Where) -> str:
    """Take away the lock of a store whose writer is gone.

    Parameters
    ----------
    where : str, Path or Place
        The store.

    Returns
    -------
    str
        Who held it; empty where nobody did, or where the system releases locks by itself.
    """
    place = place_of(where)
    if place.kind != "object store":
        return ""
    with writing(place):
        return objectlock.remove(place.where, place.options)


@contextlib.contextmanager
def _room(place: Place) -> Iterator[None]:
    """Say in one sentence that a disk is full, whatever was being written."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        with writing(place):
            raise


@contextlib.contextmanager
def _file_lock(path: Path, name: str) -> Iterator[bool]:
    """Hold the lock; yield whether the last to hold it was stopped in the middle."""
    # Not `filelock`: before its version 4 it empties the file, which names who holds the lock and
    # says whether the last was stopped; from 4 on it makes do, where a file system has no `flock`,
    # with a marker that a killed process leaves behind.
    import fcntl

    holder = path.parent / f".{path.name}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = holder.open("a+", encoding="utf-8")
    except OSError as error:
        raise OSError(
            f"cannot write store {name} ({error.strerror}): set `store` to a place that is writable"
        ) from None
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = file.read().strip() or "another process"
            raise BlockingIOError(
                f"store {name} is being written by {who}: wait for it or stop it"
            ) from None
        stopped = bool(file.seek(0, os.SEEK_END))
        # A full disk must not keep anyone from the lock itself.
        with contextlib.suppress(OSError):
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
        yield stopped
        with contextlib.suppress(OSError):
            file.truncate(0)


def _remove_leftovers(path: Path) -> None:
    """Remove the files that a killed process was writing; zarr renames each once it is whole."""
    for folder, _, names in os.walk(path):
        for name in filter(_PARTIAL.search, names):
            logger.info("removing %s, which was never finished", Path(folder, name))
            Path(folder, name).unlink(missing_ok=True)
