"""The matrix of a collection: its values put in the place of their names in a template."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dynamics.config.activations import FIELDS

Scalar = str | bool | int | float
_PLACE = re.compile(r"\{(\w+)(?:\.(\w+))?\}")


def fill(value: Any, cell: Mapping[str, Any], origin: str) -> Any:
    """Put the values of a cell in the place of their names; of a name alone with its type.

    Parameters
    ----------
    value : object
        A text with names in braces, or what holds such.
    cell : mapping
        A value of each key of the matrix.
    origin : str
        Where it stands, for messages.

    Returns
    -------
    object
        A copy.

    Raises
    ------
    ValueError
        If it names what the matrix does not have.
    """
    if isinstance(value, Mapping):
        return {fill(key, cell, origin): fill(one, cell, origin) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [fill(one, cell, origin) for one in value]
    if not isinstance(value, str):
        return value

    def found(match: re.Match) -> Any:
        key, field = match.groups()
        if key in FIELDS and key not in cell:
            return match.group()  # of the layout of activations
        if key not in cell:
            raise ValueError(
                f"{origin}: the template names {match.group()}, and the matrix has "
                f"{', '.join(cell)}"
            )
        if field is None:
            return name_of(cell[key])
        if not isinstance(cell[key], Mapping) or field not in cell[key]:
            raise ValueError(
                f"{origin}: the value {name_of(cell[key])!r} of {key!r} has no {field!r}"
            )
        return cell[key][field]

    if whole := _PLACE.fullmatch(value):
        return found(whole)
    return _PLACE.sub(lambda match: str(found(match)), value)


def name_of(value: Any) -> Any:
    """Return a value of the matrix, or the name of one that has several fields."""
    return value.get("name", "") if isinstance(value, Mapping) else value


def told(cell: Mapping[str, Any]) -> str:
    """Write a cell out, for messages."""
    return ", ".join(f"{key} = {name_of(value)}" for key, value in cell.items())


def coordinates_of(cell: Mapping[str, Any]) -> dict[str, Scalar]:
    """Return a cell as coordinates: its values, and the fields of those that have several."""
    found: dict[str, Scalar] = {}
    for key, value in cell.items():
        for field, one in value.items() if isinstance(value, Mapping) else ():
            if field != "name" and isinstance(one, (str, bool, int, float)):
                found[str(field)] = one
        found[key] = name_of(value)
    return found
