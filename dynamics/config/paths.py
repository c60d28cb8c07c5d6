"""Paths in a YAML: relative to its folder, with ``~`` and environment variables.

What is in the working directory, as before paths were meant so, is still found there.
"""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

_OUTPUTS = ("store", "figures")
_TABLES = ("model", "stimuli", "targets", "metrics", "probes", "self_similarity", "baseline")


def resolved(content: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Resolve the paths in what a YAML holds.

    Parameters
    ----------
    content : mapping
        Of a sweep, not validated yet.
    folder : Path
        Of the YAML.

    Returns
    -------
    dict
        A copy. A relative path is that below the folder; where there is nothing, but something
        below the working directory, it is that; what is to be written, too, but in ``store/``,
        where stores land by default, which is that of the working directory. URLs stay.
    """
    found = dict(content)
    made = isinstance(content.get("pretrain"), Mapping)
    if "checkpoints" in found:
        found["checkpoints"] = _each(found["checkpoints"], folder, output=made)
    for key in _OUTPUTS:
        if isinstance(found.get(key), str):
            found[key] = place(found[key], folder, output=True)
    if isinstance(found.get("activations"), Mapping):
        given = dict(found["activations"])
        for key, resolve in (("path", place), ("stimuli", _if_there)):
            if isinstance(given.get(key), str):
                given[key] = resolve(given[key], folder)
        found["activations"] = given
    for key in _TABLES:
        if key in found:
            found[key] = _entry(found[key], folder)
    return found


def _each(value: Any, folder: Path, *, output: bool = False) -> Any:
    """Resolve the places of checkpoints: one, a list, or steps with places."""
    if isinstance(value, str):
        return place(value, folder, output=output)
    if isinstance(value, list):
        return [_each(each, folder) for each in value]
    if isinstance(value, Mapping):
        return {step: _each(each, folder) for step, each in value.items()}
    return value


def _entry(value: Any, folder: Path) -> Any:
    """Resolve the name of an entry of a table, if it is a file, and its arguments."""
    if isinstance(value, list):
        return [_entry(each, folder) for each in value]
    if isinstance(value, str):
        return _if_there(value, folder)
    if not isinstance(value, Mapping):
        return value
    found = dict(value)
    if isinstance(found.get("name"), str):
        found["name"] = _if_there(found["name"], folder)
    if isinstance(found.get("arguments"), Mapping):
        found["arguments"] = _argument(found["arguments"], folder)
    return found


def _argument(value: Any, folder: Path) -> Any:
    if isinstance(value, Mapping):
        return {key: _argument(each, folder) for key, each in value.items()}
    if isinstance(value, list):
        return [_argument(each, folder) for each in value]
    return _if_there(value, folder) if isinstance(value, str) else value


def _if_there(text: str, folder: Path) -> str:
    """Resolve what may be a path or a mere name: a name is a path where it says so."""
    plain = _expanded(text)
    says_so = os.sep in plain or "/" in plain or bool(os.path.splitext(plain)[1])
    return place(text, folder) if says_so else text


def place(text: str, folder: Path, *, output: bool = False) -> str:
    """Resolve one path of a YAML.

    Parameters
    ----------
    text : str
        The path, a glob, or a URL, which stays.
    folder : Path
        Of the YAML.
    output : bool
        Whether it is to be written.

    Returns
    -------
    str
        As in `resolved`.
    """
    if "://" in text or not text:
        return text
    plain = _expanded(text)
    here = Path.cwd()
    if os.path.isabs(plain) or folder.absolute() == here:
        return plain
    beside = os.path.join(os.path.relpath(folder, here), plain)
    if _is_there(beside):
        if _is_there(plain) and not os.path.samefile(_first(beside), _first(plain)):
            logger.warning(
                "%r is there beside the YAML and in the working directory: that beside the YAML, "
                "%s, is taken", text, os.path.normpath(beside),
            )  # fmt: skip
        return os.path.normpath(beside)
    # `store/` is that of the working directory, where stores land by default.
    if _is_there(plain) or not output or Path(plain).parts[0] == "store":
        return plain
    return os.path.normpath(beside)


def _expanded(text: str) -> str:
    return os.path.expanduser(os.path.expandvars(text))


def _is_there(path: str) -> bool:
    return bool(_first(path))


def _first(path: str) -> str:
    """Return a file that there is by a path or a glob; empty where there is none."""
    if os.path.lexists(path):
        return path
    return next(glob.iglob(path), "") if glob.has_magic(path) else ""
