"""One writer a store."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from dynamics.store import objectlock
from dynamics.store.place import Place, Where, place_of, writing


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
        with _file_lock(place.local, str(place)), _room(place):
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
def _file_lock(path: Path, name: str) -> Iterator[None]:
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
        # A full disk must not keep anyone from the lock itself.
        with contextlib.suppress(OSError):
            file.seek(0)
            file.truncate()
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
        yield
