"""Checkpoints on object stores, web servers and model hubs: list them, and fetch them in turn."""

from __future__ import annotations

import fnmatch
import logging
import posixpath
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from dynamics.checkpoints.checkpoint import Checkpoint, placed
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
from dynamics.storage import open_storage

logger = logging.getLogger(__name__)

# Files are looked into side by side, because each look waits for answers.
LOOKS = 8


def find_remote(
    url: str,
    *,
    storage_options: Mapping[str, Any] | None = None,
    look_inside: bool = True,
) -> Iterator[Checkpoint]:
    """Find the checkpoints of a URL: a folder, a file, a glob, or the revisions of a repository.

    Parameters
    ----------
    url : str
        With its protocol.
    storage_options : mapping, optional
        For fsspec.
    look_inside : bool
        Whether files whose names state a step are opened too.

    Yields
    ------
    Checkpoint
        In no particular order.
    """
    if url.startswith("hf://") and "@" in url and _is_pattern(_revision(url)):
        yield from _revisions(url, storage_options)
        return
    storage, path = open_storage(url, storage_options)
    try:
        entries = _entries(storage, path, url)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is nothing at {url!r}") from None
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(_complaint(url, error)) from error

    def describe(entry):
        if entry["type"] == "directory":
            return _remote_folder(storage, entry)
        return _remote_file(storage, entry, look_inside)

    wanted = [
        entry
        for entry in entries
        if entry["type"] == "directory" or entry["name"].lower().endswith(SUFFIXES)
    ]
    with ThreadPoolExecutor(LOOKS) as looks:
        found = list(filter(None, looks.map(describe, wanted)))
    yield from found
    for entry in () if found else entries:
        if entry["type"] == "directory" and _name(entry["name"]) in LAYOUTS:
            inner = storage.unstrip_protocol(entry["name"])
            yield from find_remote(inner, storage_options=storage_options, look_inside=look_inside)


def describe_remote(
    url: str, step: int, storage_options: Mapping[str, Any] | None = None
) -> Checkpoint:
    """Describe one remote checkpoint whose step the user states.

    Parameters
    ----------
    url : str
        Of a file or folder.
    step : int
        Number of updates.
    storage_options : mapping, optional
        For fsspec.

    Returns
    -------
    Checkpoint
        Its size and time, without a look inside.
    """
    storage, path = open_storage(url, storage_options)
    try:
        entry = storage.info(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no checkpoint at {url!r} for step {step}") from None
    except Exception as error:
        raise ValueError(_complaint(url, error)) from error
    kind = "folder" if entry["type"] == "directory" else "remote"
    return Checkpoint(step, url, int(entry.get("size") or 0), _modified(entry), kind)


def _entries(storage, path: str, url: str) -> list[dict[str, Any]]:
    if _is_pattern(path) and not url.startswith("http"):
        return list(storage.glob(path, detail=True).values())
    if path.lower().endswith(SUFFIXES):
        entry = storage.info(path)
        if entry["type"] == "file":
            return [entry]
    entries = storage.ls(path, detail=True)
    itself = path.strip("/")
    if len(entries) == 1 and entries[0]["name"].strip("/") == itself:
        return entries
    found = _remote_folder(storage, {"name": path, "type": "directory"}, entries)
    if found is not None:
        return [{"name": path, "type": "directory"}]
    # Some stores list a folder among its own contents.
    return [entry for entry in entries if entry["name"].strip("/") != itself]


def _remote_file(storage, entry, look_inside: bool) -> Checkpoint | None:
    name = _name(entry["name"])
    if NO_WEIGHTS.fullmatch(name):
        return None
    named, inside, note, kind = step_from_name(name), None, "", "remote"
    if look_inside or named is None:
        try:
            with storage.open(entry["name"], "rb", block_size=2**16) as file:
                contents = peek(file)
            (kind, inside), note = recognise(contents), note_of(contents.classes)
        except ValueError as error:
            # Servers without ranges cannot be looked into; that says nothing about the file.
            kind, note = "unreadable", str(error)
            if any(word in note.lower() for word in ("range", "seek")):
                kind, note = "remote", ""
        except Exception as error:
            kind, note = "remote", f"not looked into: {' '.join(str(error).split())[:100]}"
    if not kind:
        return None
    size = int(entry.get("size") or 0)
    url = storage.unstrip_protocol(entry["name"])
    return placed(url, inside, named, size, _modified(entry), kind, note)


def _remote_folder(storage, entry, inside=None) -> Checkpoint | None:
    path, note = entry["name"].rstrip("/"), ""
    try:
        parts = [e for e in inside or storage.ls(path, detail=True) if e["type"] == "file"]
        names = {posixpath.basename(part["name"]): part for part in parts}

        def open_file(name):
            return storage.open(names[name]["name"], "rb", block_size=2**16)

        kind, step = recognise_folder(names, open_file)
        if inside is None and not kind:
            kind, step, note = recognise_lone(names, open_file)
    except ValueError as error:
        kind, step, note = "unreadable", None, str(error)
    except Exception as error:
        logger.warning("cannot look into %s: %s", path, error)
        return None
    if not kind:
        return None
    url = storage.unstrip_protocol(path)
    size = sum(int(part.get("size") or 0) for part in parts)
    modified = max((_modified(part) for part in parts), default=0.0)
    return placed(url, step, step_from_name(_name(path)), size, modified, kind, note)


def _revisions(url: str, options: Mapping[str, Any] | None) -> Iterator[Checkpoint]:
    """Branches and tags of a repository on the model hub whose names match a pattern."""
    repository, _, rest = url.removeprefix("hf://").partition("@")
    pattern, _, folder = rest.partition("/")
    options = options or {}
    try:
        from huggingface_hub import HfApi

        hub = HfApi(endpoint=options.get("endpoint"), token=options.get("token"))
        refs = hub.list_repo_refs(repository)
    except ImportError:
        raise ValueError(f"cannot read {url!r}: install `training-dynamics[hub]`") from None
    except Exception as error:
        raise ValueError(_complaint(url, error)) from error
    for ref in [*refs.branches, *refs.tags]:
        if fnmatch.fnmatchcase(ref.name, pattern):
            where = "/".join(filter(None, (f"hf://{repository}@{ref.name}", folder)))
            note = f"commit {ref.target_commit[:12]}"
            found = placed(where, None, step_from_name(ref.name), 0, 0.0, "huggingface", note)
            if found is not None:
                yield found


def _name(path: str) -> str:
    name = posixpath.basename(path.rstrip("/"))
    return unquote(name) if path.startswith("http") else name


def _revision(url: str) -> str:
    return url.partition("@")[2].partition("/")[0]


def _is_pattern(text: str) -> bool:
    return any(sign in text for sign in "*?[")


def _modified(entry: Mapping[str, Any]) -> float:
    for key in ("LastModified", "last_modified", "updated", "mtime", "created", "last_commit"):
        value = entry.get(key)
        value = getattr(value, "date", value) if key == "last_commit" else value
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, (int, float)):
            return float(value)
    return 0.0


def _complaint(url: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    text = f"cannot list {url!r}: {reason}"
    about = f"{type(error).__name__} {reason}".lower()
    if any(w in about for w in ("credential", "denied", "forbidden", "permission", "401", "403")):
        text += "; check the credentials for it (`storage_options`, or your environment)"
    return text
