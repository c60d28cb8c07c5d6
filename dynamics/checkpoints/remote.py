"""Checkpoints on object stores, web servers and model hubs: list them, and fetch them in turn."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from dynamics.checkpoints.checkpoint import Checkpoint, placed
from dynamics.checkpoints.choice import note_of_sets
from dynamics.checkpoints.folders import (
    Look,
    SeveralError,
    files_of,
    look_within,
    recognise_lone,
)
from dynamics.checkpoints.formats import (
    LAYOUTS,
    NO_WEIGHTS,
    WHOLE,
    note_of,
    parts_of,
    recognise,
    recognise_folder,
)
from dynamics.checkpoints.inspect import inspect
from dynamics.checkpoints.names import SUFFIXES, is_aside, step_from_name
from dynamics.checkpoints.revisions import (
    complaint,
    escaped,
    extent_of,
    is_of_hub,
    is_pattern,
    modified_of,
    open_fresh,
    revisions,
    version_of,
)
from dynamics.checkpoints.selection import belongs, beside, best_named
from dynamics.checkpoints.wanted import TRAINED

logger = logging.getLogger(__name__)

# Files are looked into side by side, because each look waits for answers.
LOOKS = 8


def find_remote(
    url: str,
    *,
    storage_options: Mapping[str, Any] | None = None,
    look_inside: bool = True,
    weights: str = TRAINED,
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
    weights : str
        Which weights are wanted, where there are several.

    Yields
    ------
    Checkpoint
        In no particular order.
    """
    if is_of_hub(url):
        branches = revisions(url, storage_options)
        if branches is not None:
            yield from branches
            return
        url = escaped(url, storage_options)
    try:
        storage, path, pin = open_fresh(url, storage_options)
        kind, itself, entries = _entries(storage, path, url, weights)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is nothing at {url!r}") from None
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(complaint(url, error)) from error

    def describe(entry):
        if entry["type"] == "directory":
            return _remote_folder(storage, entry, weights)
        return _remote_file(storage, entry, look_inside, weights)

    wanted = [] if kind in WHOLE else [entry for entry in entries if _is_wanted(entry, kind)]
    with ThreadPoolExecutor(LOOKS) as looks:
        inner = list(filter(None, looks.map(describe, wanted)))
    for found in beside(itself, inner, kind, best=lambda: _best_of(storage, path)):
        version = pin.commit or found.version
        yield replace(found, uri=pin.outward(found.uri), version=version)
    for entry in () if inner or kind in WHOLE else entries:
        if entry["type"] == "directory" and _name(entry["name"]) in LAYOUTS:
            below = pin.outward(storage.unstrip_protocol(entry["name"]))
            yield from find_remote(
                below,
                storage_options=storage_options,
                look_inside=look_inside,
                weights=weights,
            )


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
    url = escaped(url, storage_options)
    try:
        storage, path, pin = open_fresh(url, storage_options)
        entry = storage.info(path)
        extent = int(entry.get("size") or 0), modified_of(entry)
        if entry["type"] == "directory":
            extent = extent_of(storage.ls(path, detail=True))
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no checkpoint at {url!r} for step {step}") from None
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(complaint(url, error)) from error
    kind = "folder" if entry["type"] == "directory" else "remote"
    version = pin.commit or version_of(entry)
    return Checkpoint(step, url, *extent, kind, known_by="list", version=version)


def _entries(
    storage, path: str, url: str, weights: str
) -> tuple[str, Checkpoint | None, list[dict[str, Any]]]:
    """Format of a place and the checkpoint that it is, and what is in it."""
    if is_pattern(path) and not url.startswith("http"):
        found = storage.glob(path, detail=True).values()
        return "", None, [entry for entry in found if not is_aside(_name(entry["name"]))]
    if path.lower().endswith(SUFFIXES):
        entry = storage.info(path)
        if entry["type"] == "file":
            return "", None, [entry]
    entries = storage.ls(path, detail=True)
    itself = path.strip("/")
    if len(entries) == 1 and entries[0]["name"].strip("/") == itself:
        return "", None, entries
    # Some stores list a folder among its own contents.
    entries = [entry for entry in entries if entry["name"].strip("/") != itself]
    kind, found = _looked_at(storage, path, entries, weights, told=True)
    kept = [entry for entry in entries if not is_aside(_name(entry["name"]))]
    return kind, found, kept


def _is_wanted(entry: Mapping[str, Any], kind: str) -> bool:
    """Whether to look into an entry of a folder of a format, for a checkpoint of its own."""
    is_file = entry["type"] != "directory"
    name = _name(entry["name"])
    if is_file and not name.lower().endswith(SUFFIXES):
        return False
    return not (kind and belongs(name, is_file))


def _remote_file(storage, entry, look_inside: bool, weights: str) -> Checkpoint | None:
    name = _name(entry["name"])
    if NO_WEIGHTS.fullmatch(name):
        return None
    inside, note, kind = None, "", "remote"
    if look_inside or step_from_name(name) is None:
        try:
            with storage.open(entry["name"], "rb", block_size=2**16) as file:
                contents = inspect(file)
            (kind, inside), note = recognise(contents), note_of(contents)
            if kind and not note:
                note = note_of_sets(contents.tree, weights, name)
        except ValueError as error:
            # Servers without ranges cannot be looked into; that says nothing about the file.
            kind, note = "unreadable", str(error)
            if any(word in note.lower() for word in ("range", "seek")):
                kind, note = "remote", ""
        except Exception as error:
            kind, note = "remote", f"not looked into: {' '.join(str(error).split())[:100]}"
    if not kind:
        return None
    extent = int(entry.get("size") or 0), modified_of(entry)
    url = storage.unstrip_protocol(entry["name"])
    return placed(url, inside, name, extent, kind, note, version=version_of(entry))


def _remote_folder(storage, entry, weights: str) -> Checkpoint | None:
    path = entry["name"].rstrip("/")
    try:
        entries = storage.ls(path, detail=True)
    except Exception as error:
        logger.warning("cannot look into %s: %s", path, error)
        return None
    return _looked_at(storage, path, entries, weights)[1]


def _looked_at(
    storage, path: str, entries: list[dict[str, Any]], weights: str, *, told: bool = False
) -> tuple[str, Checkpoint | None]:
    """Format of a folder, and the checkpoint that it is where its step is known."""
    folders = {_name(e["name"]): e["name"].rstrip("/") for e in entries if e["type"] != "file"}

    def look(place: str, wanted: str) -> Look:
        own = entries if place == path else storage.ls(place, detail=True)
        return _recognised(storage, place, own, wanted, lone=not told)

    try:
        found = look_within(look, path, {} if told else folders, weights)
    except ValueError as error:
        found = Look("unreadable", None, str(error), path, extent=extent_of(entries))
    except Exception as error:
        logger.warning("cannot look into %s: %s", path, error)
        return "", None
    if not found.layout:
        return "", None
    kind, note = found.layout, "; ".join(filter(None, [found.note, found.choice]))
    url = storage.unstrip_protocol(found.where)
    made = placed(url, found.inside, _name(path), found.extent, kind, note, told=told)
    return kind, made and replace(made, choice=found.choice)


def _recognised(
    storage, place: str, entries: list[dict[str, Any]], weights: str, *, lone: bool
) -> Look:
    """Look at the files of a folder."""
    names = {posixpath.basename(e["name"]): e for e in entries if e["type"] == "file"}

    def open_file(name):
        return storage.open(names[name]["name"], "rb", block_size=2**16)

    kind, step = recognise_folder(names, open_file)
    note = parts_of(names) if kind == "parts" else ""
    if lone and not kind:
        kind, step, note = recognise_lone(names, open_file, weights)
    elif kind in ("huggingface", "speechbrain"):
        try:
            note = files_of(names, open_file, weights).note
        except SeveralError as error:
            kind, note = "several", str(error)
    return Look(kind, step, note, place, extent=extent_of(entries))


def _best_of(storage, path: str) -> str:
    try:
        with storage.open(f"{path.rstrip('/')}/trainer_state.json", "rb") as file:
            return best_named(file)
    except Exception:
        return ""


def _name(path: str) -> str:
    name = posixpath.basename(path.rstrip("/"))
    return unquote(name) if path.startswith("http") else name
