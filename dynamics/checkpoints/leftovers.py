"""What is in a folder beside its checkpoints: of which kind, and what to do if it is wanted."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from dynamics.checkpoints.checkpoint import is_remote, local_path
from dynamics.checkpoints.formats import NO_WEIGHTS, recognise
from dynamics.checkpoints.inspect import inspect
from dynamics.checkpoints.names import SUFFIXES, is_aside, step_from_name
from dynamics.filesystems import open_regular

# Files of such a folder that are opened, at most, to see whether they hold weights.
_MOST_OPENED = 100
# Levels of folders in a folder in which something like a checkpoint is looked for.
_DEEPEST = 3


class Kind(NamedTuple):
    """Entries of one kind that are no checkpoints of a run.

    Attributes
    ----------
    what : str
        What they are.
    names : tuple of str
        Their names, sorted.
    cure : str
        What to do if they are wanted; may be empty.
    """

    what: str
    names: tuple[str, ...]
    cure: str = ""

    def told(self) -> str:
        """Return them in one phrase."""
        some = ", ".join(self.names[:3]) + (", ..." if len(self.names) > 3 else "")
        cure = f": {self.cure}" if self.cure else ""
        return f"{len(self.names)} {self.what} ({some}){cure}"


_CURES = {
    "put aside (copies that are hidden, backed up or being written)": "rename them to have them",
    "without weights by their names (optimisers, schedulers, states of a trainer)": "",
    "with weights but no training step in name or contents": "name them by step, "
    "`checkpoints: {0: FILE, 1000: FILE}`",
    "of a step that another has": "",
    "with weights, but another ending than those of checkpoints": "name them by a glob, such as "
    "FOLDER/*, or by step, `checkpoints: {0: FILE, 1000: FILE}`",
    "without weights in them": "",
    "that are damaged, or no files of torch or safetensors": "",
    "folders that are no checkpoint themselves": "",
}
_ASIDE, _NAMED, _STEPLESS, _SAME, _ENDING, _EMPTY, _BROKEN, _FOLDERS = _CURES


def left_out(source: Any, taken: Collection[str] = ()) -> list[Kind]:
    """Say what is in a folder that `find` does not list.

    Parameters
    ----------
    source : object
        As for `dynamics.checkpoints.find`; anything but a local folder has nothing left out.
    taken : collection of str
        Where the checkpoints are that were found.

    Returns
    -------
    list of Kind
        Other files, such as logs, are counted by their endings.
    """
    if not isinstance(source, str | Path) or is_remote(str(source)):
        return []
    folder = local_path(str(source)).expanduser()
    if not folder.is_dir():
        return []
    known = {os.path.abspath(where) for where in taken}
    entries = sorted(folder.iterdir())
    rest = [e for e in entries if os.path.abspath(e) not in known and not _holds(e, known)]
    kinds: dict[str, list[str]] = {}
    opened = 0
    for entry in rest:
        opened += entry.is_file()
        what = _kind(entry, look=opened <= _MOST_OPENED)
        kinds.setdefault(what, []).append(entry.name)
    found = [Kind(what, tuple(names), _cure(what, folder, names)) for what, names in kinds.items()]
    return sorted(found, key=lambda kind: (kind.what not in _CURES, kind.what))


def _holds(entry: Path, known: Collection[str]) -> bool:
    start = os.path.abspath(entry) + os.sep
    return entry.is_dir() and any(where.startswith(start) for where in known)


def _kind(entry: Path, *, look: bool) -> str:
    """Tell what a file that could be a checkpoint, or a folder, is."""
    if is_aside(entry.name):
        return _ASIDE
    if entry.is_dir():
        return _FOLDERS
    if not entry.name.lower().endswith(SUFFIXES):
        found = look and _holds_weights(entry)
        return _ENDING if found else entry.suffix or "without an ending"
    if NO_WEIGHTS.fullmatch(entry.name):
        return _NAMED
    if not look:
        return _STEPLESS
    try:
        with open_regular(entry) as file:
            holds, step = recognise(inspect(file))
    except (OSError, ValueError):
        return _BROKEN
    # What has a step and was not taken is of one that another file has.
    stepped = step is not None or step_from_name(entry.name) is not None
    return (_SAME if stepped else _STEPLESS) if holds else _EMPTY


def _holds_weights(entry: Path) -> bool:
    try:
        with open_regular(entry) as file:
            return bool(recognise(inspect(file))[0])
    except (OSError, ValueError):
        return False


def _cure(what: str, folder: Path, names: list[str]) -> str:
    return _inside(folder, names) if what == _FOLDERS else _CURES.get(what, "")


def _entries(place: Path) -> list[Path]:
    try:
        return sorted(place.iterdir())
    except OSError:
        return []


def _inside(folder: Path, names: list[str]) -> str:
    """Say how to name what is in folders, where there is something like a checkpoint in them."""
    level, inner = [folder / name for name in names[:_MOST_OPENED]], []
    for _ in range(_DEEPEST):
        there = [each for place in level for each in _entries(place)]
        files = (each for each in there if each.name.lower().endswith(SUFFIXES) and each.is_file())
        inner = [each for each in files if not NO_WEIGHTS.fullmatch(each.name)]
        level = [each for each in there if each.is_dir()][:_MOST_OPENED]
        if inner:
            break
    else:
        return ""
    stepped = [each for each in inner if step_from_name(each.name) is not None]
    if stepped:
        between = ["*"] * (len(stepped[0].relative_to(folder).parts) - 1)
        glob = folder.joinpath(*between, f"*{stepped[0].suffix}")
        return f"name what is in them by a glob, such as `{glob}`, or one of the folders"
    return f"name what is in them by step, `checkpoints: {{0: {inner[0]}, ...}}`"
