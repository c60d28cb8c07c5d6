"""Tables of labels that users write beside their sounds."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import NamedTuple

from dynamics.filesystems import open_regular
from dynamics.sounds.audio import without_suffix

_HEADERS = ("name", "file", "filename")


class Label(NamedTuple):
    """What a table says of a sound."""

    category: str
    split: str


def read_labels(path: str | Path) -> dict[str, Label]:
    """Read a table of names, categories and, where there is a third column, splits.

    Parameters
    ----------
    path : str or Path
        CSV file; a first line whose first cell is ``name``, ``file`` or ``filename`` is its header.

    Returns
    -------
    dict of str to Label
        By name without an audio suffix; the split is empty where there is none.

    Raises
    ------
    ValueError
        For a line without a name and a label, a name that has a row already, or no text.
    """
    labels: dict[str, Label] = {}
    for number, row in enumerate(rows(path), start=1):
        if not any(row) or (number == 1 and row[0].lower() in _HEADERS):
            continue
        if len(row) < 2 or not row[0] or not row[1]:
            raise ValueError(f"{path}, line {number}: needs a name and a label")
        name = without_suffix(row[0])
        if name in labels:
            raise ValueError(f"{path}, line {number}: '{name}' has a row already: remove one")
        labels[name] = Label(row[1], row[2] if len(row) > 2 else "")
    return labels


def read_vocabulary(path: str | Path) -> list[str]:
    """Read a table of the classes of a task.

    Parameters
    ----------
    path : str or Path
        CSV file with the columns ``idx`` and ``label``, and others.

    Returns
    -------
    list of str
        Labels in the order of their indices.

    Raises
    ------
    ValueError
        Without these columns, for an index that is no number, or no text.
    """
    heading, *body = [row for row in rows(path) if any(row)] or [[]]
    if not body or not {"idx", "label"} <= set(heading):
        raise ValueError(f"{path} must have the columns idx and label")
    classes = [dict(zip(heading, row)) for row in body]
    for each in classes:
        if not each["idx"].isdecimal() or not each.get("label"):
            raise ValueError(f"{path}: {','.join(each.values())!r} is no number and its label")
    return [each["label"] for each in sorted(classes, key=lambda each: int(each["idx"]))]


def of_regular(path: str | Path) -> io.BufferedReader:
    """Open a table; a ValueError that names it where it is a pipe, which would be waited for."""
    try:
        return open_regular(path)
    except ValueError as error:
        raise ValueError(f"{path} is no table: {error}") from None


def rows(path: str | Path, *, delimiter: str = ",") -> list[list[str]]:
    """Read a table of text.

    Parameters
    ----------
    path : str or Path
        CSV file, in UTF-8.
    delimiter : str
        What stands between cells.

    Returns
    -------
    list of list of str
        The cells of every line, without the blanks around them.

    Raises
    ------
    ValueError
        If it is no text in UTF-8.
    """
    try:
        with io.TextIOWrapper(of_regular(path), encoding="utf-8-sig", newline="") as lines:
            return [
                [cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)
            ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no table of text ({error}): save it as CSV in UTF-8") from None
