"""The one place where progress is shown."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Advance = Callable[..., None]

STYLES = ("auto", "bar", "lines", "json", "none")
"""A bar on a terminal and lines elsewhere; one of them; a line of JSON a unit; nothing."""

# Seconds between two lines of a log.
EVERY = 30.0

_chosen = "auto"


def choose(style: str) -> None:
    """Set how progress is shown from now on, by this process.

    Parameters
    ----------
    style : str
        One of `STYLES`.

    Raises
    ------
    ValueError
        If it is none.
    """
    global _chosen
    if style not in STYLES:
        raise ValueError(f"progress is not shown as {style!r}: use one of {', '.join(STYLES)}")
    _chosen = style


def silent(*, note: str = "", amount: int = 1) -> None:
    """Show nothing; the default of every function that reports progress."""


@contextlib.contextmanager
def bar(description: str, total: int) -> Iterator[Advance]:
    """Show progress with an estimate of the time left, on the standard error stream.

    Parameters
    ----------
    description : str
        What is being done.
    total : int
        How many units there are.

    Yields
    ------
    callable
        ``advance(note="", amount=1)``.
    """
    style = _chosen
    if style == "auto":
        style = "bar" if Console(file=sys.stderr).is_terminal else "lines"
    with _SHOWN[style](description, total) as advance:
        yield advance


@contextlib.contextmanager
def _bar(description: str, total: int) -> Iterator[Advance]:
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(file=sys.stderr),
    ) as progress:
        task = progress.add_task(description, total=total, note="")

        def advance(*, note: str = "", amount: int = 1) -> None:
            progress.update(task, advance=amount, note=note)

        yield advance


@contextlib.contextmanager
def _lines(description: str, total: int) -> Iterator[Advance]:
    """Write the first unit, the last, and every so many seconds one between, for log files."""
    done, start, told = 0, time.monotonic(), -math.inf

    def advance(*, note: str = "", amount: int = 1) -> None:
        nonlocal done, told
        done, now = done + amount, time.monotonic()
        if now - told < EVERY and done < total:
            return
        told, each = now, (now - start) / max(done, 1)
        left = f", {time_of(each * (total - done))} left" if done < total else ""
        also = f": {note}" if note else ""
        print(
            f"{description} {done} of {total}, {time_of(now - start)} so far{left}{also}",
            file=sys.stderr,
            flush=True,
        )

    yield advance


@contextlib.contextmanager
def _json(description: str, total: int) -> Iterator[Advance]:
    done, start = 0, time.monotonic()

    def advance(*, note: str = "", amount: int = 1) -> None:
        nonlocal done
        done, seconds = done + amount, time.monotonic() - start
        left = seconds / max(done, 1) * (total - done)
        found = {"stage": description, "done": done, "total": total, "note": note}
        rates = {"seconds": round(seconds, 3), "seconds_left": round(left, 3)}
        print(json.dumps(found | rates), file=sys.stderr, flush=True)

    yield advance


@contextlib.contextmanager
def _none(description: str, total: int) -> Iterator[Advance]:
    yield silent


_SHOWN = {"bar": _bar, "lines": _lines, "json": _json, "none": _none}


def size_of(count: float) -> str:
    """Return a number of bytes as it is printed."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def time_of(seconds: float) -> str:
    """Return a span of time as it is printed."""
    for unit, size in (("s", 60), ("min", 60), ("h", 24)):
        if seconds < 3 * size:
            return f"{seconds:.0f} {unit}"
        seconds /= size
    return f"{seconds:.0f} days"
