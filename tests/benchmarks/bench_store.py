"""Open a store of many steps and layers and select one curve, against plain zarr.

Run as ``python tests/benchmarks/bench_store.py``: it makes its own store, results and the metadata
of the activations (chunks that were never written are not looked at when a store is opened).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import zarr
from goals import goal, interleaved

import dynamics
from dynamics import store

RESULT = "results/brain/ridge"


def make(path: Path, *, steps: int, layers: int, neuroids: int = 20) -> None:
    """Make a store of `steps` committed steps, each with a row of results a layer."""
    rng = np.random.default_rng(0)
    names = [f"layer{number}" for number in range(layers)]
    root = store.begin(path, run="bench", identity={"adapter": "synthetic"})
    store.plan(root, [(10 * step, f"checkpoint-{step}", 1) for step in range(steps)])
    values = {name: np.zeros((165, 768), "float32") for name in names}
    stimuli = [f"sound{number}" for number in range(165)]
    store.write_activations(root, 0, values, stimuli=stimuli, categories=["speech"] * 165)
    root["checkpoints/status"][:] = np.array([store.DONE] * steps, dtype=object)
    identity, coordinates = {"metric": "ridge"}, {"layer": ("layer", names)}
    group = store.begin_result(root, "brain", "ridge", identity=identity, coordinates=coordinates)
    scores = rng.standard_normal((steps, layers, neuroids)).astype("float32")
    # The first step by the package makes the arrays; the others at once, as it would leave them.
    store.write_result(
        group, 0, {"score": (("layer", "neuroid"), scores[0])}, checkpoint=f"{0:064x}"
    )
    for name in ("score", "checkpoint", "step"):
        group[name].resize((steps, *group[name].shape[1:]))
    group["score"][:] = scores
    group["step"][:] = 10 * np.arange(steps)
    group["checkpoint"][:] = np.array([f"{step:064x}" for step in range(steps)], dtype=object)


def main() -> None:
    """Print the times and the goals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=15)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.zarr"
        make(path, steps=chosen.steps, layers=chosen.layers)
        layer = f"layer{chosen.layers // 2}"

        def raw() -> np.ndarray:
            group = zarr.open_group(path, mode="r")[RESULT]
            _, names, _ = group["step"][:], group["layer"][:], group["checkpoint"][:]
            return group["score"][:][:, list(names).index(layer)]

        def opened() -> np.ndarray:
            tree = dynamics.open(path, group=RESULT)
            return tree[RESULT]["score"].sel(layer=layer).to_numpy()

        def whole() -> np.ndarray:
            return dynamics.open(path)[RESULT]["score"].sel(layer=layer).to_numpy()

        assert np.array_equal(raw(), opened()) and np.array_equal(raw(), whole())
        found = interleaved({"raw": raw, "opened": opened, "whole": whole}, chosen.repeats)
    for name, (processor, wall) in found.items():
        print(f"{name}: {1e3 * wall:.1f} ms ({1e3 * processor:.1f} ms of processor)")
    for name, what in {"whole": "the whole store", "opened": "one group"}.items():
        goal(
            f"opening {what} and selecting a curve over plain zarr",
            found[name][1] / found["raw"][1],
            most=2,
        )


if __name__ == "__main__":
    main()
