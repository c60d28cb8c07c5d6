"""Which content of a remote place is meant: a branch of the model hub, its commit, a tag.

A repository of the hub may have one branch a checkpoint; objects of a store have versions.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from dynamics.checkpoints.checkpoint import Checkpoint, placed
from dynamics.filesystems import open_storage


def is_of_hub(url: str) -> bool:
    """Whether a URL names something of a repository at a revision."""
    return url.startswith("hf://") and "@" in url


def revisions(url: str, options: Mapping[str, Any] | None) -> list[Checkpoint] | None:
    """Return the revisions that a URL's pattern matches, as checkpoints.

    Parameters
    ----------
    url : str
        ``hf://owner/name@pattern`` or ``hf://owner/name@pattern/folder``; names of branches, and
        so patterns, may have slashes.
    options : mapping or None
        Endpoint and token.

    Returns
    -------
    list of Checkpoint or None
        None where the pattern is none of revisions: that of files at one revision.

    Raises
    ------
    ValueError
        If the hub cannot be asked, or two revisions of one step are not the same commit: they
        have no age by which to choose.
    """
    repository, rest = _split(url)
    parts = rest.split("/")
    if not is_pattern(rest):
        return None
    refs = _refs(repository, options, url)
    if any("/".join(parts[:k]) in {ref.name for ref in refs} for k in range(1, len(parts) + 1)):
        return None
    for k in range(1, len(parts) + 1):
        pattern, folder = "/".join(parts[:k]), "/".join(parts[k:])
        found = [ref for ref in refs if fnmatch.fnmatchcase(ref.name, pattern)]
        if is_pattern(pattern) and found:
            return _one_a_step(repository, found, folder)
    return [] if is_pattern(parts[0]) else None


def escaped(url: str, options: Mapping[str, Any] | None) -> str:
    """Write the slashes in a revision's name as ``%2F``, as the hub's file system wants them.

    Parameters
    ----------
    url : str
        Any; only ``hf://owner/name@revision/...`` of a revision with slashes is changed.
    options : mapping or None
        Endpoint and token.

    Returns
    -------
    str
        The URL.
    """
    if not is_of_hub(url) or "/" not in _split(url)[1]:
        return url
    repository, rest = _split(url)
    parts = rest.split("/")
    if parts[0] in ("main", "refs"):
        return url
    names = {ref.name for ref in _refs(repository, options, url)}
    for k in range(1, len(parts) + 1):
        if (name := "/".join(parts[:k])) in names:
            return "/".join([f"hf://{repository}@{quote(name, safe='')}", *parts[k:]])
    return url


def is_pattern(text: str) -> bool:
    """Whether a text has the signs of a glob."""
    return any(sign in text for sign in "*?[")


def _split(url: str) -> tuple[str, str]:
    repository, _, rest = url.removeprefix("hf://").partition("@")
    return repository, rest.strip("/")


def _refs(repository: str, options: Mapping[str, Any] | None, url: str) -> list[Any]:
    options = options or {}
    try:
        from huggingface_hub import HfApi

        hub = HfApi(endpoint=options.get("endpoint"), token=options.get("token"))
        found = hub.list_repo_refs(repository)
    except ImportError as error:
        raise ValueError(f"cannot read {url!r}: install `training-dynamics[hub]`") from error
    except Exception as error:
        raise ValueError(complaint(url, error)) from error
    return [*found.branches, *found.tags]


def _one_a_step(repository: str, refs: Sequence[Any], folder: str) -> list[Checkpoint]:
    found: dict[int, tuple[Checkpoint, Any]] = {}
    for ref in refs:
        name = quote(ref.name, safe="")
        where = "/".join(filter(None, (f"hf://{repository}@{name}", folder)))
        note = f"commit {ref.target_commit[:12]}"
        commit = ref.target_commit
        one = placed(where, None, ref.name, (0, 0.0), "huggingface", note, version=commit)
        if one is None:
            continue
        if one.step in found and found[one.step][1].target_commit != ref.target_commit:
            raise ValueError(
                f"the revisions {found[one.step][1].name!r} and {ref.name!r} of {repository} both "
                f"state step {one.step}, such as of two stages of training: narrow the pattern "
                f"(hf://{repository}@...), or give `checkpoints` as a mapping of step to revision"
            )
        found.setdefault(one.step, (one, ref))
    return [one for one, _ in found.values()]


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


def complaint(url: str, error: Exception) -> str:
    """Say in one sentence why something cannot be listed."""
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    text = f"cannot list {url!r}: {reason}"
    about = f"{type(error).__name__} {reason}".lower()
    if any(w in about for w in ("credential", "denied", "forbidden", "permission", "401", "403")):
        text += "; check the credentials for it (`storage_options`, or your environment)"
    return text
