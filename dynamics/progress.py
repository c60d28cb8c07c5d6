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

from dynamics.letters import lines, readable

Advance = Callable[..., None]

STYLES = ("auto", "bar", "lines", "json", "none")
"""A bar on a terminal and lines elsewhere; one of them; a line of JSON a unit; nothing."""

# Seconds between two lines of a log.
EVERY = 30.0

# Units after the first from which the time left is estimated.
FEWEST = 3

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


def say(text: str) -> None:
    """Show a sentence where progress is shown; the same one once.

    Parameters
    ----------
    text : str
        Such as where a cluster can be looked at.
    """
    if _chosen == "none" or text in _said:
        return
    _said.add(text)
    shown = json.dumps({"note": text}) if _chosen == "json" else lines(text)
    print(shown, file=sys.stderr, flush=True)


_said: set[str] = set()


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


class _Pace:
    """How fast it goes once it goes: what comes before the first unit is no part of it."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.start = total, 0, time.monotonic()
        self._first: tuple[float, int] | None = None

    def after(self, amount: int) -> float:
        """Count units that are done; return the time."""
        now = time.monotonic()
        self.done += amount
        if self._first is None:
            self._first = now, self.done
        return now

    def left(self, now: float, fewest: int = FEWEST) -> float | None:
        """Estimate the seconds left; None until some units after the first tell."""
        if self.done >= self.total:
            return 0.0
        since, before = self._first or (now, self.done)
        if self.done - before < fewest:
            return None
        return (now - since) / (self.done - before) * (self.total - self.done)


@contextlib.contextmanager
def _lines(description: str, total: int) -> Iterator[Advance]:
    """Write the first unit, the last, and every so many seconds one between, for log files."""
    pace, told = _Pace(total), -math.inf

    def advance(*, note: str = "", amount: int = 1) -> None:
        nonlocal told
        now, left = pace.after(amount), ""
        if now - told < EVERY and pace.done < total:
            return
        told = now
        if pace.done < total and (seconds := pace.left(now)) is not None:
            left = f", {time_of(seconds)} left"
        also = f": {readable(note)}" if note else ""
        print(
            f"{description} {pace.done} of {total}, {time_of(now - pace.start)} so far{left}{also}",
            file=sys.stderr,
            flush=True,
        )

    yield advance


@contextlib.contextmanager
def _json(description: str, total: int) -> Iterator[Advance]:
    pace = _Pace(total)

    def advance(*, note: str = "", amount: int = 1) -> None:
        now = pace.after(amount)
        left = pace.left(now, fewest=1)  # a program can wait for more by itself
        found = {"stage": description, "done": pace.done, "total": total, "note": note}
        rates = {
            "seconds": round(now - pace.start, 3),
            "seconds_left": None if left is None else round(left, 3),
        }
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
