"""What a GPU is worth: extraction, half precision, ridge of many neuroids, RSA of many stimuli.

    python tests/benchmarks/bench_gpu.py            # where there is a GPU; some ten minutes
    python tests/benchmarks/bench_gpu.py --small    # anywhere; sizes that take a minute on a CPU

Without a GPU all sizes are small and the share of the card's peak is left out. `--peak` is what the
card is said to reach in the precision of its products, in TFLOP/s (H100: 495 in TF32, 990 in bf16;
A100: 156 and 312).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from bench_crawl import BASE, TINY, plain
from goals import peak_memory

from dynamics import metrics
from dynamics.metrics import many_stimuli
from dynamics.models import encodecmae


def timed(function: Callable[[], object], device: str) -> float:
    """Wall seconds of a call, after one that warms up, with what the card still does."""
    function()
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    wait()
    start = time.perf_counter()
    function()
    wait()
    return time.perf_counter() - start


def operations(model: encodecmae.EnCodecMAE, frames: int, sizes: dict[str, int]) -> float:
    """Floating-point operations of the layers for one sound: products of weights and attention."""
    width, hidden = sizes["width"], sizes["feed_forward"]
    weights = 4 * width**2 + 2 * width * hidden
    return sizes["layers"] * (2 * frames * weights + 4 * frames**2 * width)


def extraction(device: str, small: bool, peak: float | None) -> None:
    """Sounds a second of 10 layers x 768 beside a sound at a time, and the share of the peak."""
    sizes, batch, seconds = (TINY, 4, 1.0) if small else (BASE, 64, 2.0)
    model = encodecmae.build(None, **sizes, seed=0).to(device).eval()
    rng = np.random.default_rng(0)
    sounds = torch.as_tensor(0.1 * rng.standard_normal((batch, int(seconds * model.sample_rate))))
    sounds = sounds.float().to(device)
    with torch.inference_mode():
        together = timed(lambda: model(sounds), device)
        alone = timed(lambda: [model(each[None]) for each in sounds[:8]], device) / min(8, batch)
        frames = next(iter(model(sounds[:1]).values())).shape[1]
    rate = batch / together
    print(f"extraction: {rate:.1f} sounds of {seconds:g} s a second in batches of {batch}, "
          f"{1 / alone:.1f} one at a time")  # fmt: skip
    if device == "cpu":
        first = sounds[0].cpu()
        old = timed(lambda: plain(model, first), device)
        print(f"  the old loop's network: {1 / old:.1f} a second")
    if peak is not None:
        used = rate * operations(model, frames, sizes) / 1e12
        print(f"  {used:.1f} TFLOP/s in products, {100 * used / peak:.0f} % of the peak")
    halved(model, sounds, device)


def halved(model: encodecmae.EnCodecMAE, sounds: torch.Tensor, device: str) -> None:
    """Largest change of a ridge score where the network runs in bfloat16."""
    rng = np.random.default_rng(1)
    with torch.inference_mode():
        exact = model(sounds)
        with torch.autocast(device, dtype=torch.bfloat16):
            rounded = model(sounds)
        both = [{k: v.float().mean(1).cpu() for k, v in each.items()} for each in (exact, rounded)]
    X, Z = (list(each.values())[-1] for each in both)
    apart = float((X - Z).norm() / X.norm())
    n = 200
    # More stimuli than sounds: mixtures of the sounds' activations, rounded alike.
    mix = torch.as_tensor(rng.standard_normal((n, len(X)))).float()
    noise = torch.as_tensor(rng.standard_normal((n, X.shape[1]))).float() * X.std()
    Y = ((mix @ X + noise)[:, :20] + 2 * noise[:, :20]).double().numpy()
    folds = np.arange(n) % 5
    r = [
        metrics.nested_ridge_features([(mix @ each + noise).double().numpy()], Y, folds)["layer_r"]
        for each in (X, Z)
    ]
    print(f"bfloat16: activations change by {apart:.1e} of their size, r by at most "
          f"{np.abs(np.subtract(*r)).max():.1e}")  # fmt: skip


def ridge(device: str, small: bool) -> None:
    """Nested ridge of one layer for 30,000 neuroids at 165 stimuli."""
    n, p, v = (165, 256, 500) if small else (165, 1024, 30_000)
    rng = np.random.default_rng(0)
    X = torch.as_tensor(rng.standard_normal((n, p))).to(device)
    Y = X[:, :50] @ torch.as_tensor(rng.standard_normal((50, v))).to(device)
    Y = Y + 5 * torch.as_tensor(rng.standard_normal((n, v))).to(device)
    folds = np.arange(n) % 5
    taken = timed(lambda: metrics.nested_ridge_features([X], Y, folds), device)
    print(f"ridge: a layer against {v:,} neuroids in {taken:.2f} s")


def rsa(device: str, small: bool) -> None:
    """Entries, order and comparison of two RDMs."""
    n = 600 if small else 10_000
    rng = np.random.default_rng(0)
    X = torch.as_tensor(rng.standard_normal((n, 1024))).to(device)
    Y = X[:, :100] + torch.as_tensor(rng.standard_normal((n, 100))).to(device)
    start = time.perf_counter()
    sides = [many_stimuli.side(many_stimuli.entries(each)) for each in (X, Y)]
    score = float(many_stimuli.scores(sides[:1], sides[1:], n, [None]))
    taken = time.perf_counter() - start
    print(f"RSA: {n:,} stimuli, {n * (n - 1) // 2:,} pairs, in {taken:.1f} s (r = {score:.3f})")


def main() -> None:
    """Do all of it on what there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="sizes for any machine")
    parser.add_argument("--peak", type=float, help="TFLOP/s that the card can reach")
    given = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    small = given.small or device == "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else "no GPU: the CPU, small sizes"
    print(name)
    extraction(device, small, given.peak)
    ridge(device, small)
    rsa(device, small)
    print(f"peak memory {peak_memory():.2f} GiB", end="")
    if device == "cuda":
        print(f", of the card {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB", end="")
    print()


if __name__ == "__main__":
    main()
