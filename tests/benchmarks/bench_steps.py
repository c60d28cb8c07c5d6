"""Time and memory of every statistic on long runs: 48 layers, 50 halves, 100 to 2,000 steps.

    python tests/benchmarks/bench_steps.py
    python tests/benchmarks/bench_steps.py --steps 100 500 --only half_time peak

Twenty times the steps should take some twenty times as long, and the most memory above what the
curves themselves take should not grow beyond a few blocks. Each measurement is a process of its
own, as the peak of a process' memory never falls.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time

import numpy as np
import xarray as xr
from goals import goal

from dynamics import emergence

LAYERS, RESAMPLES = 48, 50
STATISTICS = [
    *("half_time", "onset", "plateau_step", "gain", "area", "plateau", "final"),
    *("peak", "onset_test", "decline_test", "bands", "best_layer", "order", "compare"),
    *("correlate", "fit"),
]


def curves(steps: int, layers: int = LAYERS) -> tuple[xr.DataArray, xr.DataArray]:
    """Return curves that rise one after the other, the last ones slowly, and their halves."""
    rng = np.random.default_rng(0)
    at = np.r_[0, np.linspace(1, 1e5, steps - 1).astype(int)]
    x = np.log10(1 + at)[:, None]
    score = 0.4 / (1 + np.exp(-(x - np.linspace(1, 5, layers)) / 0.4))
    score = score + 0.01 * rng.standard_normal(score.shape)
    off = 0.02 * rng.standard_normal((RESAMPLES // 2, *score.shape))
    halves = np.stack([score + off, score - off], 1).reshape(RESAMPLES, *score.shape)
    named = {"step": at, "layer": [f"layer{i}" for i in range(layers)]}
    attrs = emergence.scheme("halves", n=2, kept=1, resamples=2).attrs
    dims = ("resample", "step", "layer")
    return (
        xr.DataArray(score, dims=dims[1:], coords=named),
        xr.DataArray(halves, dims=dims, coords=named, attrs=attrs),
    )


def compute(name: str, curve: xr.DataArray, resampled: xr.DataArray) -> None:
    """Ask for one of `STATISTICS`."""
    if name == "peak":
        emergence.peak_range(curve, resampled)
    elif name in emergence.STATISTICS:
        emergence.interval(curve, resampled, statistic=name)
    elif name in ("order", "compare"):
        getattr(emergence, name)(curve, resampled, dim="layer")
    elif name == "correlate":
        emergence.correlate(curve, curve.isel(layer=0) ** 2)
    elif name == "fit":
        emergence.fit(curve)
    else:
        getattr(emergence, name)(curve, resampled)


def measure(name: str, steps: int) -> tuple[float, float]:
    """Return seconds of processor time, and MiB above what the curves themselves take."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (name, steps))


def _measured(name: str, steps: int) -> tuple[float, float]:
    curve, resampled = curves(steps)
    compute(name, *curves(8, layers=3))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    compute(name, curve, resampled)
    used = time.process_time() - start
    return used, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 500, 2000])
    parser.add_argument("--only", nargs="+", default=STATISTICS, choices=STATISTICS)
    arguments = parser.parse_args()
    for name in arguments.only:
        found = [measure(name, steps) for steps in arguments.steps]
        told = [f"{n:,}: {s:.2f} s, {m:.0f} MiB" for n, (s, m) in zip(arguments.steps, found)]
        print(f"{name:13} " + "; ".join(told), flush=True)
        long = arguments.steps[-1] / arguments.steps[0]
        goal(f"time of {name} x steps", found[-1][0] / found[0][0], most=1.5 * long)
        goal(f"memory of {name}, MiB", found[-1][1], most=512)
