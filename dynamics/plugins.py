"""Metrics, statistics, figures, networks, sounds and more of the user's own, in the same tables.

A module that a sweep names, or that an installed package gives as an entry point of the group
``dynamics``, holds dictionaries with the names of `TABLES`; what is in them is from then on like
what the package brings: with help, checks, intervals, figures and captions.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

GROUP = "dynamics"
"""Group of the entry points of installed packages."""

TABLES = {
    "METRICS": ("dynamics.analysis", "METHODS"),
    "ADAPTERS": ("dynamics.models", "ADAPTERS"),
    "POOLINGS": ("dynamics.extraction.poolings", "POOLINGS"),
    "TASKS": ("dynamics.probes.table", "TASKS"),
    "SOUNDS": ("dynamics.sounds", "SOUNDS"),
    "TARGETS": ("dynamics.brains.loading", "TARGETS"),
    "STATISTICS": ("dynamics.emergence", "STATISTICS"),
    "FIGURES": ("dynamics.plots", "FIGURES"),
}
"""Names of a plugin's dictionaries, and the table to which each adds."""

RECORDS = {
    "METRICS": "dynamics.analysis.Metric",
    "STATISTICS": "dynamics.emergence.Statistic",
    "FIGURES": "dynamics.plots.Kind",
}
"""Of which record the entries of a table are, where they are no functions."""

_loaded: dict[str, dict[tuple[str, str], Any]] = {}
_folders: list[str] = []


def look_in(*folders: str | Path) -> None:
    """Let modules be found in folders, such as the working directory and that of the YAML.

    Parameters
    ----------
    *folders : str or Path
        They are looked through last, so that no file there stands in for an installed package.
    """
    for folder in folders:
        place = str(Path(folder).absolute())
        if place not in _folders:
            _folders.append(place)
        if place not in sys.path:
            sys.path.append(place)


def folders() -> list[str]:
    """Return the folders that modules are looked for in, for workers to look there too."""
    return list(_folders)


def listed() -> str:
    """Return those folders in one phrase."""
    return " or ".join(_folders)


def load(names: Iterable[str]) -> None:
    """Add what modules hold to the tables.

    Parameters
    ----------
    names : iterable of str
        Modules such as ``my_package.metrics``, installed, in the working directory or beside the
        YAML file.

    Raises
    ------
    ValueError
        If a module cannot be imported, holds none of the dictionaries, holds something else than
        a table takes, or a name that there is already.
    """
    for name in names:
        if name not in _loaded:
            _loaded[name] = _add(name)


def load_installed() -> None:
    """Add what installed packages give as entry points; one that fails is told and left out."""
    for entry in entry_points(group=GROUP):
        if entry.value in _loaded:
            continue
        try:
            load([entry.value])
        except ValueError as error:
            _loaded[entry.value] = {}
            logger.warning("left out the plugin %r of an installed package: %s", entry.name, error)


def loaded() -> list[str]:
    """Return the modules that are loaded, for workers to load them too."""
    return [name for name, entries in _loaded.items() if entries]


def of_script() -> dict[str, dict[str, Any]]:
    """Return what a script or a notebook has put into the tables, for workers to have it too.

    Returns
    -------
    dict of dict
        Entries whose function is of no module that a worker could import, by table and name.
    """
    found: dict[str, dict[str, Any]] = {}
    for table, (module, _) in TABLES.items():
        if module in sys.modules:
            for name, entry in _table(table).items():
                function = getattr(entry, "function", entry)
                if getattr(function, "__module__", "") == "__main__":
                    found.setdefault(table, {})[name] = entry
    return found


def take(entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Put into the tables of a worker what `of_script` returned."""
    for table, own in entries.items():
        _table(table).update(own)


def of(table: str, name: str) -> str:
    """Return the module that an entry of a table is from; empty for the package's own."""
    return next((module for module, own in _loaded.items() if (table, name) in own), "")


def _add(name: str) -> dict[tuple[str, str], Any]:
    module = _imported(name)
    own = {table: getattr(module, table) for table in TABLES if hasattr(module, table)}
    if not own:
        raise ValueError(
            f"plugin {name!r} adds nothing: give the module a dictionary {' or '.join(TABLES)}"
        )
    added: dict[tuple[str, str], Any] = {}
    for table, entries in own.items():
        if not isinstance(entries, Mapping):
            raise ValueError(f"plugin {name!r}: {table} must be a dictionary of names")
        for key, entry in entries.items():
            _check(f"plugin {name!r}: {key!r} of {table}", table, key, entry)
            added[table, key] = entry
    for (table, key), entry in added.items():  # all or nothing
        _table(table)[key] = entry
    return added


def _table(name: str) -> dict[str, Any]:
    module, attribute = TABLES[name]
    return getattr(importlib.import_module(module), attribute)


def _imported(name: str) -> Any:
    look_in(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise ValueError(
                f"plugin {name!r}: there is no such module, installed or in {listed()}"
            ) from None
        raise ValueError(f"plugin {name!r} cannot be imported: {error}") from error
    except Exception as error:  # whatever somebody's module does
        why = f"{type(error).__name__}: {error}"
        raise ValueError(f"plugin {name!r} cannot be imported: {why}") from error


def _check(what: str, table: str, key: Any, entry: Any) -> None:
    if not isinstance(key, str) or not key:
        raise ValueError(f"{what}: a name must be a text")
    if key in _table(table):
        raise ValueError(f"{what}: there is one of this name already, choose another")
    if table not in RECORDS:
        if not callable(entry):
            raise ValueError(f"{what} must be a function, not {type(entry).__name__}")
        return
    record = RECORDS[table]
    module, _, name = record.rpartition(".")
    if not isinstance(entry, getattr(importlib.import_module(module), name)):
        raise ValueError(f"{what} must be a `{record}`, not {type(entry).__name__}")
    try:
        entry.check()
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None
