"""One writer a store."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold the right to write to a store; released by the system even after a kill.

    Parameters
    ----------
    path : Path
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
    """
    import fcntl

    holder = path.parent / f".{path.name}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = holder.open("a+", encoding="utf-8")
    except OSError as error:
        raise OSError(
            f"cannot write store {path} ({error.strerror}): set `store` to a place that is writable"
        ) from None
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = file.read().strip() or "another process"
            raise BlockingIOError(
                f"store {path} is being written by {who}: wait for it or stop it"
            ) from None
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
