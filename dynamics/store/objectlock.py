"""A lock on an object store: an object beside the store that only one process can make.

The object is made by a conditional write (``If-None-Match`` on S3, its like elsewhere). Its holder
renews it; one that was not renewed for `EXPIRY`, or whose process is gone from this machine, is
taken over by whoever first makes a second object named after it. Clocks of machines that share a
store must agree within a minute or so.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dynamics.filesystems import open_storage
from dynamics.store.place import writing

logger = logging.getLogger(__name__)

# Seconds.
RENEWAL, EXPIRY = 30.0, 300.0

# What this process holds, by URL; asked before every commit.
_held: dict[str, _Held] = {}


@contextlib.contextmanager
def hold(url: str, options: Mapping[str, Any]) -> Iterator[None]:
    """Hold the lock of a store on an object store.

    Parameters
    ----------
    url : str
        The store.
    options : mapping
        For fsspec.

    Yields
    ------
    None

    Raises
    ------
    BlockingIOError
        If another process holds it, or has taken it over meanwhile; the message names it.
    """
    with writing(url):
        held = _Held(url, options)
        held.acquire()
    _held[url] = held
    stop = threading.Event()
    threading.Thread(target=held.keep, args=(stop,), daemon=True).start()
    try:
        yield
    finally:
        stop.set()
        del _held[url]
        with contextlib.suppress(Exception):  # it expires; what went wrong before matters more
            held.release()


def check(url: str) -> None:
    """Make sure that this process, if it took the lock of a store, still has it."""
    if url in _held:
        _held[url].check()


def remove(url: str, options: Mapping[str, Any]) -> str:
    """Remove the lock of a store; return who held it."""
    held = _Held(url, options)
    found = held.read()
    for path in (held.path, *held.storage.glob(f"{held.path}.*")):
        with contextlib.suppress(FileNotFoundError):
            held.storage.rm_file(path)
    return str(found["holder"]) if found else ""


class _Held:
    def __init__(self, url: str, options: Mapping[str, Any]):
        self.url = url
        self.storage, path = open_storage(url, options)
        self.path = f"{path}.lock"
        self.token = uuid.uuid4().hex
        self.renewed = self.ticked = 0.0
        self.busy = threading.Lock()

    def acquire(self) -> None:
        if self.make(self.path):
            return
        found = self.read()
        if found is None:  # released in between
            if self.make(self.path):
                return
            found = self.read() or {}
        if not _is_stale(found):
            raise self.refusal(found)
        # Only one process can make this object, and only while the lock is still the stale one.
        claim = f"{self.path}.{found['token']}"
        if not self.make(claim):
            raise self.refusal(found)
        try:
            now = self.read()
            if now is not None and now["token"] != found["token"]:
                raise self.refusal(now)
            logger.warning("store %s was left locked by %s: taken over", self.url, found["holder"])
            self.write()
        finally:
            self.storage.rm_file(claim)

    def make(self, path: str) -> bool:
        try:
            self.storage.pipe_file(path, self.content(), mode="create")
        except FileExistsError:
            return False
        except OSError as error:
            # S3 answers 412 where the object is there, 409 where two are at it at once.
            if any(code in repr(error) for code in ("PreconditionFailed", "Conflict", "412")):
                return False
            raise
        self._renewed_now()
        return True

    def write(self) -> None:
        self.storage.pipe_file(self.path, self.content())
        self._renewed_now()

    def _renewed_now(self) -> None:
        self.renewed, self.ticked = time.time(), time.monotonic()

    def _is_due(self) -> bool:
        """Whether it is to be renewed, by either clock: one jumps, one stops while asleep."""
        by_wall, by_tick = time.time() - self.renewed, time.monotonic() - self.ticked
        return max(abs(by_wall), by_tick) >= RENEWAL

    def content(self) -> bytes:
        record = {
            "holder": f"process {os.getpid()} on {socket.gethostname()}",
            "token": self.token,
            "process": os.getpid(),
            "machine": _machine(),
            "renewed": time.time(),
        }
        return json.dumps(record).encode()

    def read(self) -> dict[str, Any] | None:
        try:
            return dict(json.loads(self.storage.cat_file(self.path)))
        except FileNotFoundError:
            return None

    def check(self) -> None:
        """Renew the lock if that is due; raise if it is another's now."""
        with self.busy:
            if not self._is_due():
                return
            found = self.read()
            if found is None or found["token"] != self.token:
                raise self.refusal(found or {"holder": "nobody, after `dynamics unlock`"})
            self.write()

    def keep(self, stop: threading.Event) -> None:
        while not stop.wait(RENEWAL):
            try:
                self.check()
            except BlockingIOError:
                return  # the next commit says so
            except Exception as error:
                logger.warning("cannot renew the lock of store %s: %s", self.url, error)

    def release(self) -> None:
        found = self.read()
        if found is not None and found["token"] == self.token:
            self.storage.rm_file(self.path)

    def refusal(self, found: Mapping[str, Any]) -> BlockingIOError:
        return BlockingIOError(
            f"store {self.url} is being written by {found.get('holder', 'another process')}: wait "
            f"for it or stop it (if it is gone: `dynamics unlock {self.url}`, or wait "
            f"{EXPIRY / 60:.0f} minutes)"
        )


def _is_stale(found: Mapping[str, Any]) -> bool:
    if found.get("machine") == _machine():
        return not Path(f"/proc/{found['process']}").exists() and Path("/proc/self").exists()
    return time.time() - float(found.get("renewed", 0.0)) > EXPIRY


def _machine() -> str:
    """Name this boot of this machine and its space of process numbers; empty where unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return f"unknown {uuid.uuid4().hex}"
