"""What it costs to open and tabulate 36 runs of 10 layers against 2 targets.

``python tests/benchmarks/bench_collection.py``: the goal is 10 s and 1 GiB. Seconds of the clock
are those of this machine as it is; seconds of its processors hardly follow what else it does.
"""

from __future__ import annotations

import contextlib
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import many_runs

import dynamics
from dynamics.collection import compared, gather, open_runs, tables
from dynamics.collection.compare import find

RUNS, LAYERS, NEUROIDS, RESAMPLES = 36, 10, 60, 50
SECONDS, MEBIBYTES = 10.0, 1024


def main() -> int:
    """Print what it takes; 1 where a goal is missed."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [
            many_runs.make(
                Path(folder) / f"a-model-with-a-long-name-{number:02d}.zarr",
                level=0.2 + 0.01 * number,
                layers=LAYERS,
                neuroids=NEUROIDS,
                resamples=RESAMPLES,
                seed=number,
            )
            for number in range(RUNS)
        ]
        took = {}
        with timed(took, "opened as one tree"):
            tree = dynamics.open_collection(paths)
        with timed(took, "tabulated by region"):
            opened = open_runs(gather(paths))
            table = tables.models(compared(opened), opened)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        assert tree["results/one/ridge"].sizes["run"] == RUNS and len(table) == RUNS * 2 * 3
        with timed({}, "all tables, with every pair compared"):
            find(gather(paths))
    seconds = sum(took.values())
    print(f"{RUNS} runs opened and tabulated in {seconds:.1f} s of the clock (goal {SECONDS:.0f})")
    print(f"{memory:.0f} MiB at most, with all libraries (goal {MEBIBYTES})")
    return int(seconds > SECONDS or memory > MEBIBYTES)


@contextlib.contextmanager
def timed(took: dict[str, float], what: str) -> Iterator[None]:
    """Print and keep how long something takes."""
    clock, processor = time.perf_counter(), time.process_time()
    yield
    took[what] = time.perf_counter() - clock
    print(f"{what}: {took[what]:.1f} s, of processors {time.process_time() - processor:.1f} s")


if __name__ == "__main__":
    sys.exit(main())
