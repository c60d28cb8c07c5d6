"""What the crawler costs over the bare network, and beside a loop of the old kind.

Run ``python tests/benchmarks/bench_crawl.py``. Everything uses all cores, as it would by itself;
ratios are of wall seconds where two ways of working are compared, and of processor seconds where
the crawler is compared with itself. There are about as many sounds as in the field's sets (165).
Most of either way's time are products of matrices in single precision, which bound (b): the speed
of these products is printed for one sound and for a batch.
"""

from __future__ import annotations

import argparse
import pickle
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import librosa
import soundfile
import torch
import torchaudio
from goals import goal, interleaved, peak_memory
from torch.nn import functional

from dynamics import sounds
from dynamics.checkpoints import read
from dynamics.config import validate
from dynamics.extraction import crawl, extract
from dynamics.models import encodecmae
from dynamics.models.mel import DEVIATION, MEAN
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


def bare(folder: Path, sizes: dict[str, int], stimuli: sounds.StimulusSet) -> Callable[[], None]:
    """Read every state and run it on batches that are ready."""
    model = encodecmae.build(None, **sizes)
    ready = list(extract.batches(model, stimuli))

    def run() -> None:
        for path in sorted(folder.glob("*.ckpt")):
            model.load_state_dict(read(path), strict=False)
            with torch.inference_mode():
                for batch in ready:
                    model.forward_prepared(*batch.prepared)

    return run


def plain(model: encodecmae.EnCodecMAE, wave: torch.Tensor) -> dict[str, torch.Tensor]:
    """Run the published network on one sound as its description reads, op by op."""
    mel = torchaudio.compliance.kaldi.fbank(
        wave[None],
        sample_frequency=model.sample_rate,
        frame_length=26.56,
        frame_shift=13.28,
        num_mel_bins=model.mels,
        htk_compat=True,
        window_type="hanning",
        dither=0.0,
        use_energy=False,
    )
    mel = (mel - MEAN) / DEVIATION
    x = model.masker["positional_encoder"](model.wav_encoder["post_net"](mel[None]))
    first = second = x
    found = {}
    for name, layer in zip(model.layers, model.visible_encoder.encoder_layers):
        attention = layer.att_layer
        q, k, v = (
            projection(first).unflatten(-1, (attention.dim, attention.heads)).permute(0, 3, 1, 2)
            for projection in (attention.wq, attention.wk, attention.wv)
        )
        # The mask of padding, made anew in every layer, though one sound has none.
        padded = torch.zeros(1, attention.heads, x.shape[1], x.shape[1], dtype=torch.bool)
        fit = q @ k.transpose(-1, -2) / attention.dim**0.5 + padded * -1e9
        weights = functional.softmax(fit, dim=-1)
        mixed = attention.wo((weights @ v).permute(0, 2, 3, 1).flatten(2))
        first, second = layer.norm1(first + mixed), second + mixed
        fed = layer.ff_layer(first)
        first, second = layer.norm2(first + fed), second + fed
        found[name] = first
    found[name] = first + model.visible_encoder.final_norm(second)
    return found


def old_loop(
    folder: Path, sizes: dict[str, int], files: list[Path], out: Path, forward: Callable
) -> None:
    """One file at a time, loaded and resampled anew for each checkpoint, a pickle a sound."""
    for path in sorted(folder.glob("*.ckpt")):
        model = encodecmae.build(None, **sizes)
        model.load_state_dict(torch.load(path)["state_dict"], strict=False)
        place = out / path.stem
        place.mkdir(parents=True, exist_ok=True)
        for file in files:
            wave, _ = librosa.load(file, sr=model.sample_rate)
            with torch.inference_mode():
                layers = forward(model, torch.tensor(wave))
            with (place / f"{file.stem}.pkl").open("wb") as pickled:
                pooled = {key: value[0].mean(0).numpy() for key, value in layers.items()}
                pickle.dump(pooled, pickled)


def crawled(sweep: object) -> list[float]:
    """Crawl anew; processor seconds at the moments at which each checkpoint was committed."""
    shutil.rmtree(sweep.store, ignore_errors=True)
    moments: list[float] = []
    crawl.crawl(sweep, advance=lambda **_: moments.append(time.process_time()))
    return moments


def costs(sweep: object) -> list[float]:
    """Processor seconds of each checkpoint but the first, from one commit to the next."""
    return [after - before for before, after in pairwise(crawled(sweep))]


def products(batch: int, *, width: int = 768, frames: int = 149) -> float:
    """Operations a nanosecond (GFLOP/s) of the largest product of a layer, for a batch."""
    x, weight = torch.randn(batch * frames, width), torch.randn(width, 4 * width)
    spent = []
    for _ in range(30):
        began = time.perf_counter()
        x @ weight
        spent.append(time.perf_counter() - began)
    return 2 * x.numel() * 4 * width / statistics.median(spent) / 1e9


def peak_of(root: Path, count: int) -> float:
    """Peak GiB of a process that crawls so many tiny checkpoints."""
    command = [sys.executable, __file__, "--crawl", str(root), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crawl", nargs=2, metavar=("FOLDER", "COUNT"), help=argparse.SUPPRESS)
    parser.add_argument("--stimuli", type=int, default=160)
    parser.add_argument("--checkpoints", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    tiny = {"per_kind": 1, "seconds": 0.5}
    if options.crawl:
        root, count = Path(options.crawl[0]), int(options.crawl[1])
        crawl.crawl(sweep_of(root / f"s{count}", root / str(count), TINY, tiny), advance=silent)
        print(peak_memory())
        return
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        against_old(root, options)
        growth(root, tiny)


def against_old(root: Path, options: argparse.Namespace) -> None:
    save(root / "base", options.checkpoints, BASE)
    arguments = {"per_kind": options.stimuli // 10}
    stimuli = sounds.load("synthetic", **arguments)
    sweep = sweep_of(root, root / "base", BASE, arguments)
    files = []
    for name, source in zip(stimuli.names, stimuli.sources):
        samples, rate = source()
        files.append(root / f"{name}.wav")
        soundfile.write(files[-1], samples, rate)
    model = encodecmae.build(None, **BASE)
    # What either imports or compiles at its first use is no cost of a checkpoint.
    librosa.load(files[0], sr=model.sample_rate)
    save(root / "first", 1, TINY)
    crawled(sweep_of(root, root / "first", TINY, arguments))
    wave = torch.tensor(stimuli.waveforms(model.sample_rate)[0])
    ours, theirs = model(wave[None]), plain(model, wave)
    apart = max(float((ours[name] - theirs[name]).abs().max()) for name in model.layers)
    goal("largest difference of the old loop's network from ours", apart, most=1e-4)
    found = interleaved(
        {
            "crawl": lambda: crawled(sweep),
            "bare": bare(root / "base", BASE, stimuli),
            "old loop, our network": lambda: old_loop(
                root / "base", BASE, files, root / "old", lambda m, w: m(w[None])
            ),
            "old loop, plain network": lambda: old_loop(
                root / "base", BASE, files, root / "old", plain
            ),
        },
        options.repeats,
    )
    print(f"{options.checkpoints} checkpoints, 10 layers x 768, {len(stimuli)} sounds of 2 s, "
          f"{torch.get_num_threads()} threads")  # fmt: skip
    for name, (cpu, wall) in found.items():
        print(f"  {name}: {cpu:.1f} s of processor, {wall:.1f} s")
    print(f"  products: {products(1):.0f} GFLOP/s for one sound, {products(16):.0f} for 16")
    mine = found["crawl"][1]
    goal("(a) times the bare reading and forward passes", mine / found["bare"][1], most=1.15)
    for name in ("our network", "plain network"):
        ratio = found[f"old loop, {name}"][1] / mine
        goal(f"(b) times as fast as the old loop, {name}", ratio, least=3)


def growth(root: Path, tiny: dict) -> None:
    """Cost and memory at 10 and at 300 checkpoints of a tiny network."""
    counts = (10, 300)
    for count in counts:
        save(root / str(count), count, TINY)
    sweeps = {count: sweep_of(root, root / str(count), TINY, tiny) for count in counts}
    spent: dict[int, list[float]] = {count: [] for count in counts}
    # Short crawls before and after the long one, as the machine's speed wanders.
    for count in [10] * 15 + [300] + [10] * 15:
        spent[count] += costs(sweeps[count])
    # The last hundred of the long crawl, at which a table that grows would show most.
    cost = {10: statistics.median(spent[10]), 300: statistics.median(spent[300][-100:])}
    memory = {count: peak_of(root, count) for count in counts}
    print(f"{1000 * cost[10]:.1f} and {1000 * cost[300]:.1f} ms a checkpoint at 10 and 300; "
          f"peak {1024 * memory[10]:.0f} and {1024 * memory[300]:.0f} MiB")  # fmt: skip
    goal(
        "(c) cost a checkpoint at 300 over 10, per cent",
        100 * (cost[300] / cost[10] - 1),
        most=5,
    )
    goal("(d) memory at 300 over 10, per cent", 100 * abs(memory[300] / memory[10] - 1), most=5)


if __name__ == "__main__":
    main()
