"""The one place where progress is shown."""

from __future__ import annotations

import contextlib
import sys
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


def silent(*, note: str = "", amount: int = 1) -> None:
    """Show nothing; the default of every function that reports progress."""


@contextlib.contextmanager
def bar(description: str, total: int) -> Iterator[Advance]:
    """Show a progress bar with an estimate of the time left, on the standard error stream.

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
    console = Console(file=sys.stderr)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None if console.is_terminal else 20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        # A log file gets the bar's final state instead of every redraw.
        auto_refresh=console.is_terminal,
    ) as progress:
        task = progress.add_task(description, total=total, note="")

        def advance(*, note: str = "", amount: int = 1) -> None:
            progress.update(task, advance=amount, note=note)

        yield advance


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
