"""TextGrid files of Praat: what was said when, in tiers of intervals."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from dynamics.sounds.labels import of_regular

# Praat reads what stands free and passes over all else (``xmin =``, ``intervals [1]:``), so that
# the long and the short text format hold the same: texts in quotes, numbers, <flags>.
_FREE = re.compile(
    r'"(?P<text>(?:[^"]|"")*)"|(?<!\S)(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?!\S)'
    r"|(?P<flag><\w+>)|![^\n]*"
)
_INTERVALS, _POINTS = "IntervalTier", "TextTier"


class Interval(NamedTuple):
    """One interval of a tier: from when to when, in seconds, and its text."""

    begin: float
    end: float
    text: str


def read_textgrid(path: str | Path) -> dict[str, list[Interval] | None]:
    """Read all tiers of a TextGrid.

    Parameters
    ----------
    path : str or Path
        A TextGrid in the long or short text format, in UTF-8 or UTF-16.

    Returns
    -------
    dict of str to list of Interval, or None
        Intervals with a text, by the name of their tier in the order of the file; None of a tier of
        points.

    Raises
    ------
    ValueError
        If it is no such file, in another encoding, or breaks off.
    """
    free = iter(_free(path))
    try:
        if [next(free), next(free)] != ["ooTextFile", "TextGrid"]:
            raise _fault(path)
        _numbers(free, 2)
        if next(free) != "<exists>":
            return {}
        tiers: dict[str, list[Interval] | None] = {}
        for _ in range(int(_numbers(free, 1)[0])):
            kind, name = str(next(free)), str(next(free))
            *_, count = _numbers(free, 3)
            if kind not in (_INTERVALS, _POINTS):
                raise _fault(path)
            size = 2 if kind == _INTERVALS else 1
            found = [(_numbers(free, size), str(next(free)).strip()) for _ in range(int(count))]
            intervals = [Interval(times[0], times[-1], text) for times, text in found if text]
            tiers.setdefault(name.strip(), intervals if kind == _INTERVALS else None)
    except (StopIteration, TypeError):
        raise ValueError(f"{path} breaks off, or is damaged: save it in Praat again") from None
    return tiers


def _free(path: str | Path) -> list[str | float]:
    with of_regular(path) as file:
        raw = file.read()
    if raw.startswith(b"ooBinaryFile"):
        raise ValueError(f"{path} is a binary TextGrid: save it as a text file in Praat")
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        raise ValueError(
            f"{path} is text in neither UTF-8 nor UTF-16: save it in UTF-8 (in Praat, Text "
            "writing preferences)"
        ) from None
    free: list[str | float] = []
    for found in _FREE.finditer(text):
        if found["text"] is not None:
            free.append(found["text"].replace('""', '"'))
        elif found["number"]:
            free.append(float(found["number"]))
        elif found["flag"]:
            free.append(found["flag"])
    if free and isinstance(free[0], str) and free[0].startswith("ooTextFile"):
        free[0] = "ooTextFile"  # older files say "ooTextFile short" there
    return free


def _numbers(free: Iterator[str | float], count: int) -> list[float]:
    """Take so many numbers; a text in their place is a TypeError."""
    found = [value for value in islice(free, count) if isinstance(value, float)]
    if len(found) < count:
        raise TypeError
    return found


def _fault(path: str | Path) -> ValueError:
    return ValueError(f"{path} is no TextGrid: save it in Praat as a text file")
