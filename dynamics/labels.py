"""Tables of labels that users write beside their sounds."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

from dynamics.audio import without_suffix

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
    try:
        with open(path, newline="", encoding="utf-8-sig") as lines:
            rows = [[cell.strip() for cell in row] for row in csv.reader(lines)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no table of text ({error}): save it as CSV in UTF-8") from None
    for number, row in enumerate(rows, start=1):
        if not any(row) or (number == 1 and row[0].lower() in _HEADERS):
            continue
        if len(row) < 2 or not row[0] or not row[1]:
            raise ValueError(f"{path}, line {number}: needs a name and a label")
        name = without_suffix(row[0])
        if name in labels:
            raise ValueError(f"{path}, line {number}: '{name}' has a row already: remove one")
        labels[name] = Label(row[1], row[2] if len(row) > 2 else "")
    return labels
