"""Timing, peak memory, and the line that says whether a goal is reached."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable

Timed = tuple[float, float]


def seconds(function: Callable[[], object]) -> Timed:
    """Processor and wall seconds of one call; threads and ended child processes count."""
    before, start = os.times(), time.perf_counter()
    function()
    after = os.times()
    return sum(after[:4]) - sum(before[:4]), time.perf_counter() - start


def interleaved(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, Timed]:
    """Median seconds of several functions called in turn, so that all meet the same machine."""
    found: dict[str, list[Timed]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            found[name].append(seconds(function))
    return {
        name: (statistics.median(c for c, _ in runs), statistics.median(w for _, w in runs))
        for name, runs in found.items()
    }


def peak_memory() -> float:
    """Peak memory of this process in GiB; ru_maxrss would carry over that of its parent."""
    with open("/proc/self/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    return int(fields["VmHWM"].split()[0]) / 2**20


def goal(what: str, value: float, *, least: float | None = None, most: float | None = None) -> None:
    """Print one line: what was measured, the goal, and whether it is reached."""
    reached = (least is None or value >= least) and (most is None or value <= most)
    limit = f"at least {least:g}" if least is not None else f"at most {most:g}"
    print(
        f"goal {what}: {value:.3g}, {limit}: {'reached' if reached else 'NOT reached'}", flush=True
    )
