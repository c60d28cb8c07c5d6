"""Which content of a remote place is meant: its commit on a model hub, or the tag of an object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dynamics.storage import open_storage

# Where stores say which content an entry has; what changes with every overwriting.
_TAGS = ("ETag", "etag", "generation", "blob_id", "oid", "md5Hash")


@dataclass(frozen=True)
class Pin:
    """A branch of a hub repository at one commit.

    Attributes
    ----------
    named, pinned : str
        Beginning of a path as the user wrote it, and with the commit in it.
    commit : str
        The commit; empty where the place is on no hub.
    """

    named: str = ""
    pinned: str = ""
    commit: str = ""

    def inward(self, path: str) -> str:
        """Put the commit into a path or URL."""
        return path.replace(self.named, self.pinned, 1) if self.commit else path

    def outward(self, path: str) -> str:
        """Take the commit out again, so that a checkpoint keeps its name over commits."""
        return path.replace(self.pinned, self.named, 1) if self.commit else path


def open_fresh(
    url: str, options: Mapping[str, Any] | None = None, *, commit: str = ""
) -> tuple[Any, str, Pin]:
    """Open a remote place as it is now: no listing that was kept, a branch at its commit.

    Parameters
    ----------
    url : str
        With its protocol.
    options : mapping, optional
        For fsspec.
    commit : str
        The commit to read at; by default the one that the branch has now.

    Returns
    -------
    storage : fsspec.AbstractFileSystem
        The store.
    path : str
        Inside it, with the commit.
    pin : Pin
        How to take the commit out again.

    Raises
    ------
    FileNotFoundError, ValueError
        Where there is no such repository or branch, or no library for the protocol.
    """
    storage, path = open_storage(url, options)
    storage.invalidate_cache()
    if not url.startswith("hf://"):
        return storage, path, Pin()
    resolved = storage.resolve_path(path)
    if not hasattr(resolved, "repo_id"):  # a bucket has no commits
        return storage, path, Pin()
    inner = resolved.path_in_repo
    if not commit:
        api, kind = storage._api, resolved.repo_type
        info = api.repo_info(resolved.repo_id, revision=resolved.revision, repo_type=kind)
        commit = info.sha
    if not commit:
        return storage, path, Pin()
    named = path.removesuffix(inner).rstrip("/") if inner else path.rstrip("/")
    pin = Pin(named, f"{named.partition('@')[0]}@{commit}", commit)
    return storage, pin.inward(path), pin


def version_of(entry: Mapping[str, Any]) -> str:
    """Return what a store calls the content of an entry; empty where it does not say."""
    return next((str(entry[key]) for key in _TAGS if entry.get(key)), "")


def modified_of(entry: Mapping[str, Any]) -> float:
    """Return when an entry was last changed, seconds since 1970; 0 where the store is silent."""
    for key in ("LastModified", "last_modified", "updated", "mtime", "created", "last_commit"):
        value = entry.get(key)
        value = getattr(value, "date", value) if key == "last_commit" else value
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, (int, float)):
            return float(value)
    return 0.0


def extent_now(url: str, options: Mapping[str, Any] | None = None) -> tuple[int, float, str]:
    """Ask a store for the size, time and version of a file or folder as they are now.

    Parameters
    ----------
    url : str
        Of a checkpoint.
    options : mapping, optional
        For fsspec.

    Returns
    -------
    bytes : int
        0 where the store does not say.
    modified : float
        The same.
    version : str
        Empty where the store does not say, and for a folder.
    """
    storage, path = open_storage(url, options)
    storage.invalidate_cache()
    entry = storage.info(path)
    if entry["type"] != "directory":
        return int(entry.get("size") or 0), modified_of(entry), version_of(entry)
    return (*extent_of(storage.ls(path, detail=True)), "")


def extent_of(entries: list[dict[str, Any]]) -> tuple[int, float]:
    """Return the size of all files of a folder's listing, and when the last one changed."""
    files = [entry for entry in entries if entry["type"] == "file"]
    return (
        sum(int(entry.get("size") or 0) for entry in files),
        max((modified_of(entry) for entry in files), default=0.0),
    )
