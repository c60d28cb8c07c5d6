"""Where a store is: a folder, an object store, a zip file to read, or an Icechunk repository."""

from __future__ import annotations

import contextlib
import errno
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import zarr
from zarr.abc.store import Store
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore, ZipStore

from dynamics.filesystems import open_storage
from dynamics.store import repository
from dynamics.store.folder import Folder


@dataclass(frozen=True)
class Place:
    """A store's whereabouts.

    Attributes
    ----------
    where : str
        A path, a path that ends in ``.zip``, or a URL (``s3://bucket/run.zarr``, any other protocol
        of fsspec, ``icechunk:///path``, ``icechunk+s3://bucket/prefix``).
    options : mapping
        What the library for the URL needs: credentials, endpoint and the like.
    inside : str
        Path of a group inside that is a store of its own, such as ``controls``.
    """

    where: str
    options: Mapping[str, Any] = field(default_factory=dict)
    inside: str = ""

    def __str__(self) -> str:
        return self.where

    def __truediv__(self, name: str) -> Place:
        """Return a group inside the store as a place."""
        return Place(self.where, self.options, f"{self.inside}/{name}".strip("/"))

    @property
    def kind(self) -> str:
        """``folder``, ``zip``, ``icechunk`` or ``object store``."""
        protocol = self.where.partition("://")[0] if "://" in self.where else ""
        if protocol.partition("+")[0] == "icechunk":
            return "icechunk"
        if protocol not in ("", "file"):
            return "object store"
        return "zip" if self.where.endswith(".zip") else "folder"

    @property
    def local(self) -> Path | None:
        """The path on this machine; None where there is none."""
        if self.kind == "object store" or self.where.startswith("icechunk+"):
            return None
        return Path(self.where.removeprefix("icechunk://").removeprefix("file://"))

    def resolved(self) -> Place:
        """Return the same place, whatever the working directory."""
        if self.local is None or "://" in self.where:
            return self
        return Place(str(self.local.resolve()), self.options, self.inside)

    def scratch(self) -> Path:
        """Return a local folder for files that are on their way into the store."""
        local = self.local or Path("store") / PurePosixPath(self.where).name
        return local.parent / f".{local.name}.fetched"


# Otherwise s3fs asks for the size of every object before it reads it, to read large ones in parts.
_ONE_REQUEST = {protocol: {"max_concurrency": 1} for protocol in ("s3", "s3a")}

Where = str | Path | Place
"""What names a store."""


def place_of(where: Where) -> Place:
    """Return what names a store as a `Place`."""
    return where if isinstance(where, Place) else Place(str(where))


def open_zarr(where: Where, *, write: bool = False) -> tuple[Store, str]:
    """Open the zarr store of a place.

    Parameters
    ----------
    where : str, Path or Place
        The place.
    write : bool
        Whether it will be written to.

    Returns
    -------
    store : zarr.abc.store.Store
        The store; empty where there is nothing yet.
    path : str
        Path of the root group inside it.

    Raises
    ------
    ValueError
        If the place cannot be written to as a matter of principle, or its library is missing.
    """
    place = place_of(where)
    if place.kind == "zip":
        if write:
            raise ValueError(
                f"a zip file is read, not written ({place}): set `store` to a folder or URL"
            )
        store, top = _open_zip(Path(place.where))
        return store, f"{top}/{place.inside}".strip("/")
    if place.kind == "icechunk":
        return repository.open_repository(place.where, place.options, write=write), place.inside
    if place.kind == "object store":
        options = {**_ONE_REQUEST.get(place.where.partition(":")[0], {}), **place.options}
        storage, path = open_storage(place.where, options, asynchronous=True)
        if not storage.async_impl:
            return FsspecStore.from_url(
                place.where, dict(place.options), read_only=not write
            ), place.inside
        return FsspecStore(storage, path=path, read_only=not write), place.inside
    assert place.local is not None
    if not write and not (place.local / place.inside / "zarr.json").exists():
        if (place.local / place.inside / ".zgroup").exists():
            raise ValueError(
                f"{place} is of zarr format 2: write the copy with `zarr_format=3`, or read it "
                "with xarray.open_datatree"
            )
        raise FileNotFoundError(f"no store at {place}: `dynamics crawl` makes one")
    return Folder(place.local, read_only=not write), place.inside


def name_of(root: zarr.Group) -> str:
    """Return the place of an open store, for messages and for its lock."""
    store = root.store
    if isinstance(store, LocalStore):
        return str(store.root)
    if isinstance(store, FsspecStore):
        return str(store.fs.unstrip_protocol(store.path))
    return str(getattr(store, "where", store))


def sizes_of(root: zarr.Group) -> dict[str, int]:
    """Return the size of every file of an open store in bytes, by its key."""
    store = root.store
    if isinstance(store, LocalStore):
        return _sizes_of_files(store.root)
    if isinstance(store, FsspecStore):
        found = sync(store.fs._find(store.path, detail=True))
        start = len(store.path.rstrip("/")) + 1
        return {key[start:]: int(entry["size"]) for key, entry in found.items()}
    if isinstance(store, ZipStore):
        with zipfile.ZipFile(store.path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        return {entry.filename: entry.compress_size for entry in entries}

    async def sizes() -> dict[str, int]:
        return {key: await store.getsize(key) async for key in store.list()}

    return sync(sizes())


@contextlib.contextmanager
def writing(where: object) -> Iterator[None]:
    """Say in one sentence why a store cannot be written to.

    Parameters
    ----------
    where : zarr.Group or Place
        What is written to.

    Yields
    ------
    None

    Raises
    ------
    OSError
        A full disk, an object store that does not answer or refuses; what was committed is whole.
    """
    try:
        yield
    except (ValueError, BlockingIOError):
        raise
    except Exception as error:
        if str(error).startswith("cannot write store"):
            raise
        place = name_of(where) if isinstance(where, zarr.Group) else str(where)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = "no space left: make room and run the same command again"
        elif isinstance(error, OSError) or _is_remote(error):
            text = " ".join(str(error).split())[:200] or type(error).__name__
            reason = f"{text}: once that is mended, the same command goes on from here"
        else:
            raise
        raise OSError(f"cannot write store {place}: {reason}") from error


@contextlib.contextmanager
def reading(where: Where) -> Iterator[None]:
    """Say in one sentence why a remote store cannot be read.

    Parameters
    ----------
    where : str, Path or Place
        The store.

    Yields
    ------
    None

    Raises
    ------
    OSError
        If it does not answer or refuses.
    """
    try:
        yield
    except Exception as error:
        plain = (PermissionError, ConnectionError, TimeoutError)
        if not _is_remote(error) and not isinstance(error, plain):
            raise
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise OSError(
            f"cannot read store {where}: {text}; check `store_options` or your environment"
        ) from error


def _sizes_of_files(root: Path) -> dict[str, int]:
    sizes = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            # A writer's file has this name until it is whole, and may be gone when it is asked.
            if not name.endswith(".partial"):
                with contextlib.suppress(OSError):  # a link to nothing has no size either
                    sizes[path.relative_to(root).as_posix()] = path.stat().st_size
    return sizes


def _is_remote(error: Exception) -> bool:
    """Whether a fault comes from a library that talks to a server."""
    known = ("botocore", "aiobotocore", "aiohttp", "icechunk", "gcsfs", "asyncio", "fsspec")
    return any(kind.__module__.split(".")[0] in known for kind in type(error).__mro__)


def _open_zip(path: Path) -> tuple[Store, str]:
    if not path.is_file():
        raise FileNotFoundError(f"no store at {path}: `dynamics crawl` makes one")
    try:
        with zipfile.ZipFile(path) as archive:
            groups = [name for name in archive.namelist() if _is_group(name)]
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is not a whole zip file ({error}): make it again") from None
    if not groups:
        raise ValueError(f"{path} holds no zarr group: make it with `zip -0 -r` of a store")
    # Zipped with or without the folder itself.
    root = min(groups, key=lambda name: (name.count("/"), name)).removesuffix("zarr.json")
    return sync(ZipStore.open(path, mode="r")), root.strip("/")


def _is_group(name: str) -> bool:
    return name == "zarr.json" or name.endswith("/zarr.json")
