"""What the crawler costs over the bare network, and beside a loop of the old kind.

Run ``python tests/benchmarks/bench_crawl.py``; every ratio is of times taken in this one run.
"""

from __future__ import annotations

import argparse
import pickle
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import soxr
import torch

from dynamics import crawl, extract, sounds
from dynamics.checkpoints import read
from dynamics.config import validate
from dynamics.models import encodecmae
from dynamics.progress import silent

BASE = {"layers": 10, "width": 768, "heads": 12, "feed_forward": 3072, "mels": 256}
TINY = {"layers": 2, "width": 32, "heads": 2, "feed_forward": 64, "mels": 32}


def save(folder: Path, count: int, sizes: dict[str, int]) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        state = encodecmae.build(None, **sizes, seed=number).state_dict()
        path = folder / f"epoch=0-step={number * 10}.ckpt"
        torch.save({"state_dict": state, "global_step": number * 10, "epoch": 0}, path)


def sweep_of(root: Path, folder: Path, sizes: dict[str, int], stimuli: dict) -> object:
    content = {
        "run": "bench",
        "store": str(root / "bench.zarr"),
        "checkpoints": str(folder),
        "model": {"name": "encodecmae", "arguments": {"heads": sizes["heads"]}},
        "stimuli": {"name": "synthetic", "arguments": stimuli},
        "targets": ["simulated"],
    }
    return validate(content, origin="benchmark")


def bare(folder: Path, sizes: dict[str, int], stimuli: sounds.StimulusSet) -> float:
    """Seconds to read every state and to run it on batches that are ready."""
    model = encodecmae.build(None, **sizes)
    ready = list(extract.batches(model, stimuli))
    start = time.perf_counter()
    for path in sorted(folder.glob("*.ckpt")):
        model.load_state_dict(read(path), strict=False)
        with torch.inference_mode():
            for batch in ready:
                model.forward_prepared(*batch.prepared)
    return time.perf_counter() - start


def old_loop(folder: Path, sizes: dict[str, int], stimuli: sounds.StimulusSet, out: Path) -> float:
    """One sound at a time, resampled anew for each checkpoint, a batch of one, a pickle a sound."""
    start = time.perf_counter()
    for path in sorted(folder.glob("*.ckpt")):
        model = encodecmae.build(None, **sizes)
        model.load_state_dict(torch.load(path)["state_dict"], strict=False)
        place = out / path.stem
        place.mkdir(parents=True)
        for name, source in zip(stimuli.names, stimuli.sources):
            samples, rate = source()
            wave = soxr.resample(samples, rate, model.sample_rate)
            with torch.inference_mode():
                layers = model(torch.tensor(wave)[None])
            with (place / f"{name}.pkl").open("wb") as file:
                pickle.dump({key: value[0].mean(0).numpy() for key, value in layers.items()}, file)
    return time.perf_counter() - start


def crawl_seconds(sweep: object) -> float:
    shutil.rmtree(sweep.store, ignore_errors=True)
    start = time.perf_counter()
    crawl.crawl(sweep, advance=silent)
    return time.perf_counter() - start


def peak_memory(root: Path, count: int) -> int:
    """Peak resident kibibytes of a process that crawls so many tiny checkpoints."""
    command = [sys.executable, __file__, "--crawl", str(root), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crawl", nargs=2, metavar=("FOLDER", "COUNT"), help=argparse.SUPPRESS)
    parser.add_argument("--stimuli", type=int, default=40)
    parser.add_argument("--checkpoints", type=int, default=3)
    options = parser.parse_args()
    tiny = {"per_kind": 1, "seconds": 0.5}
    if options.crawl:
        root, count = Path(options.crawl[0]), int(options.crawl[1])
        crawl.crawl(sweep_of(root / f"s{count}", root / str(count), TINY, tiny), advance=silent)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        save(root / "base", options.checkpoints, BASE)
        arguments = {"per_kind": options.stimuli // 10}
        stimuli = sounds.load("synthetic", **arguments)
        sweep = sweep_of(root, root / "base", BASE, arguments)
        crawled, needed = crawl_seconds(sweep), bare(root / "base", BASE, stimuli)
        old = old_loop(root / "base", BASE, stimuli, root / "old")
        print(f"{options.checkpoints} checkpoints, 10 layers x 768, {len(stimuli)} sounds of 2 s")
        print(f"(a) crawl {crawled:.1f} s, bare reading and forward passes {needed:.1f} s: "
              f"{crawled / needed:.2f} (goal 1.15)")  # fmt: skip
        print(f"(b) loop of the old kind {old:.1f} s: {old / crawled:.1f} times (goal 3)")
        costs, memory = {}, {}
        for count in (10, 300):
            save(root / str(count), count, TINY)
            seconds = crawl_seconds(sweep_of(root, root / str(count), TINY, tiny))
            costs[count], memory[count] = seconds / count, peak_memory(root, count)
        print(f"(c) {1000 * costs[10]:.1f} and {1000 * costs[300]:.1f} ms a checkpoint at 10 and "
              f"300: {costs[300] / costs[10] - 1:+.1%} (goal within 5 %)")  # fmt: skip
        print(f"(d) peak {memory[10] / 1024:.0f} and {memory[300] / 1024:.0f} MiB: "
              f"{memory[300] / memory[10] - 1:+.1%} (goal within 5 %)")  # fmt: skip


if __name__ == "__main__":
    main()
