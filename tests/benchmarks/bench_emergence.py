"""Coverage of intervals for "when" on planted curves, and the cost of resampling.

    python tests/benchmarks/bench_emergence.py --simulations 400 --folder simulations
    python tests/benchmarks/bench_emergence.py --cost

Simulations are kept in the folder and only missing ones are computed (about 2.5 s each).
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import emergence_simulation as simulation

from dynamics import emergence
from dynamics.metrics.refit import refit_ridge
from dynamics.metrics.subsets import half_rows


def run(folder: Path, number: int, neuroids: int) -> list[dict[str, np.ndarray]]:
    """Simulations 0 to number - 1, from the folder where they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(number):
        path = folder / f"{seed}.npz"
        if not path.exists():
            np.savez(path, **simulation.simulate(seed, neuroids=neuroids))
    return [dict(np.load(path)) for path in sorted(folder.glob("*.npz"))]


def print_tables(simulations: list[dict[str, np.ndarray]]) -> None:
    """Coverage by statistic, method, shape and noise."""
    n = len(simulations)
    print(f"{n} simulations; Monte-Carlo error at .95: {np.sqrt(0.95 * 0.05 / n):.3f}")
    methods = [
        ("halves", "inversion"),
        ("halves", "normal"),
        ("fixed", "percentile"),
        ("fixed", "basic"),
        ("fixed", "normal"),
    ]
    for one in (False, True):
        print("\n== one neuroid" if one else "\n== mean of a region's neuroids")
        for statistic in emergence.STATISTICS:
            steps = emergence.STATISTICS[statistic].goal is not None
            for key, method in methods:
                if steps or method == "normal":
                    curve, resampled = simulation.gather(simulations, key=key, one=one)
                    table = simulation.coverage(
                        curve, resampled, statistic=statistic, method=method
                    )
                    row = " ".join(f"{x:6.3f}" for x in table["coverage"].data)
                    rising = float(table["coverage"][:9].mean())
                    print(f"{statistic:13}{key:7} {method:11}{row}  rising {rising:.3f}")
                    if key == "halves" and method == ("inversion" if steps else "normal"):
                        for name in ("truth", "open", "width", "error"):
                            row = " ".join(f"{x:6.2f}" for x in table[name].data)
                            print(f"{'':21}{name:11}{row}")
        curve, resampled = simulation.gather(simulations, one=one)
        print(" ".join(curve["curve"].data))
        table = simulation.difference_coverage(curve, resampled).drop_vars(["first", "second"])
        print(table.to_dataframe().round(3).to_string())
        for name, test in (
            ("onset", emergence.onset_test),
            ("decline", emergence.decline_test),
        ):
            found = test(curve, resampled)["status"]
            row = found.isin(["reached", "declines"]).mean("sim").data
            print(f"{name} test, part positive: " + " ".join(f"{x:.3f}" for x in row))


def cost(steps: int = 20, neuroids: int = 6, resamples: int = 100) -> None:
    """Time of refits as a layer's share of 100 steps x 10 layers, on one thread."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((steps, 165, 192)) * np.geomspace(1, 0.05, 192)
    Y = X[0] @ rng.standard_normal((192, neuroids)) + 9 * rng.standard_normal((165, neuroids))
    K, folds = X @ X.swapaxes(1, 2), np.arange(165) % 5
    rows = half_rows(folds, resamples)
    start = time.process_time()
    refit_ridge(K, Y, folds, rows)
    each = 1e3 * (time.process_time() - start) / steps / resamples
    print(
        f"{neuroids} neuroids: {each:.2f} ms of processor time a refit; "
        f"100 steps x 10 layers x 100 refits: {each * 1e5 / 2e3:.0f} s on 2 cores"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=400)
    parser.add_argument("--neuroids", type=int, default=6)
    parser.add_argument("--folder", type=Path, default=Path("store/emergence-simulations"))
    parser.add_argument("--cost", action="store_true")
    arguments = parser.parse_args()
    if arguments.cost:
        for number in (6, 200):
            cost(neuroids=number, steps=20 if number == 6 else 4)
    else:
        torch.set_num_threads(1)
        print_tables(run(arguments.folder, arguments.simulations, arguments.neuroids))
