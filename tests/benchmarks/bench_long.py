"""Peak memory of the crawl of a long sound beside that of a short one.

Run ``python tests/benchmarks/bench_long.py``. A sound of two hours and one of two minutes, at a low
rate, pass through a tiny network; each crawl is a process of its own, of which the system counts
the peak.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from goals import goal

RATE = 2000

CRAWL = """
import resource, sys
import torch
torch.set_num_threads(1)
sys.path.insert(0, {here!r})
from bench_long import sweep_of
from pathlib import Path
from dynamics.extraction import crawl
from dynamics.progress import silent
found = crawl.crawl(sweep_of(Path(sys.argv[1]), sys.argv[2]), advance=silent)
assert found["done"] == 1, found
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


class Net(torch.nn.Module):
    """Two layers of causal filters, in frames of 20 ms."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv1d(1, 16, RATE // 50, RATE // 50)
        self.second = torch.nn.Conv1d(16, 16, 5)

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        """Activations (batch, feature, frame) of waveforms (batch, 1, samples)."""
        return self.second(torch.nn.functional.pad(self.first(waveforms).relu(), (4, 0)))


def sweep_of(folder: Path, name: str):
    """Return the sweep of a sound."""
    from dynamics.config import validate

    content = {
        "run": name,
        "store": str(folder / f"{name}.zarr"),
        "checkpoints": str(folder / "checkpoints"),
        "model": {
            "name": "module",
            "arguments": {
                "factory": "bench_long:Net",
                "layers": ["first", "second"],
                "sample_rate": RATE,
                "takes": "batch channel samples",
            },
        },
        "stimuli": str(folder / name),
        "pooling": {"name": "time", "arguments": {"rate": 50}},
        "untrained": 0,
        "batch_size": 8,
    }
    return validate(content, origin="benchmark")


def main() -> None:
    """Write the sounds, crawl both, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=7200)
    seconds = parser.parse_args().seconds
    here = str(Path(__file__).parent)
    peaks = {}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "checkpoints").mkdir()
        torch.manual_seed(0)
        torch.save(Net().state_dict(), folder / "checkpoints" / "step=0.pt")
        rng = np.random.default_rng(0)
        for name, length in (("short", 120.0), ("long", seconds)):
            (folder / name).mkdir()
            with soundfile.SoundFile(
                folder / name / "sound.flac", "w", samplerate=RATE, channels=1
            ) as file:
                for _ in range(int(length // 20)):
                    file.write(0.1 * rng.standard_normal(20 * RATE))
            start = time.perf_counter()
            run = [sys.executable, "-c", CRAWL.format(here=here), str(folder), name]
            ended = subprocess.run(run, capture_output=True, text=True, check=True, timeout=1200)
            peaks[name] = float(ended.stdout.split()[-1])
            print(f"{length:6.0f} s: peak {peaks[name]:.0f} MiB, "
                  f"{time.perf_counter() - start:.0f} s in all")  # fmt: skip
        goal("peak memory of the long one over the short", peaks["long"] / peaks["short"], most=1.1)


if __name__ == "__main__":
    main()
