"""Pickles of plain data and NumPy's arrays, read without running anything of theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from dynamics.checkpoints import safe_globals
from dynamics.checkpoints.unpickling import Name, Unpickler


def read_pickle(
    path: str | Path,
    *,
    more: Mapping[tuple[str, str], Name] | None = None,
    states: Mapping[type, Callable[[Any, Any], Any]] | None = None,
) -> Any:
    """Read a pickle that holds plain data and arrays of NumPy alone.

    Parameters
    ----------
    path : str or Path
        The file.
    more, states : mapping, optional
        Names beyond these, and how their objects take up a state.

    Returns
    -------
    object
        Mappings, lists, tuples, texts, numbers and arrays.

    Raises
    ------
    ValueError
        If it is cut off or no pickle, or names anything else: that could run code.
    """
    with Path(path).open("rb") as file:
        return unpickled(file, str(path), more=more, states=states)


def unpickled(
    file: BinaryIO,
    where: str,
    *,
    more: Mapping[tuple[str, str], Name] | None = None,
    states: Mapping[type, Callable[[Any, Any], Any]] | None = None,
) -> Any:
    """Read such a pickle at the position of a file; arguments and errors as of `read_pickle`."""
    names = safe_globals.names() | dict(more or {})
    reader = Unpickler(file, names, safe_globals.states() | dict(states or {}), _refused)
    try:
        tree = reader.load()
    except ValueError as error:
        raise ValueError(f"'{where}' cannot be read as a pickle: {error}") from None
    if reader.foreign:
        raise ValueError(
            f"'{where}' would construct {min(reader.foreign)}, which may run code, so it is not "
            "read: save arrays of NumPy alone, as numpy.savez does"
        )
    return tree


def _refused(_: Any) -> Any:
    raise ValueError("it mentions something that is not in it")
