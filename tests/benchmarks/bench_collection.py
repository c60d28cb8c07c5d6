"""What it costs to open and tabulate 36 runs of 10 layers against 2 targets.

``python tests/benchmarks/bench_collection.py``: the goal is 10 s of one core and 1 GiB.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import many_runs

import dynamics
from dynamics.collection import compared, gather, open_runs, tables

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
        start = time.process_time()
        tree = dynamics.open_collection(paths)
        opened = open_runs(gather(paths))
        table = tables.models(compared(opened), opened)
        seconds = time.process_time() - start
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        assert tree["results/one/ridge"].sizes["run"] == RUNS and len(table) == RUNS * 2 * 3
    print(f"{RUNS} runs opened and tabulated in {seconds:.1f} s (goal {SECONDS:.0f})")
    print(f"{memory:.0f} MiB at most, with all libraries (goal {MEBIBYTES})")
    return int(seconds > SECONDS or memory > MEBIBYTES)


if __name__ == "__main__":
    sys.exit(main())
