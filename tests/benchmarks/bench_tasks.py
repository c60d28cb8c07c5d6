"""One step against three metrics and two targets, beside the dearest of them alone.

    python tests/benchmarks/bench_tasks.py [--neuroids 50] [--stimuli 165] [--permutations 0]

Processor seconds of calls made in turn. How often activations were turned into a Gram matrix and
how often something was decomposed is counted beside.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections import Counter
from collections.abc import Iterator

import numpy as np
import torch
from goals import goal, interleaved

from dynamics import analysis
from dynamics.analysis import scoring
from dynamics.brains.targets import Target
from dynamics.metrics import permutations, subsets

METRICS, LAYERS, FEATURES, TARGETS = ("ridge", "rsa", "cka"), 10, 768, 2


def data(stimuli: int, neuroids: int) -> tuple[dict[str, np.ndarray], list[Target]]:
    """Layers with power-law spectra, and recordings of the same stimuli that are mixtures."""
    rng = np.random.default_rng(0)
    spectrum = np.arange(1, FEATURES + 1) ** -0.5
    common = rng.standard_normal((stimuli, FEATURES))
    layers = {
        f"layer{i}": (common + rng.standard_normal((stimuli, FEATURES))) * spectrum
        for i in range(LAYERS)
    }
    targets = []
    for _ in range(TARGETS):
        Y = common[:, :99] @ rng.standard_normal((99, neuroids))
        Y += 5 * rng.standard_normal(Y.shape)
        subjects = np.array([f"subject{i % 4}" for i in range(neuroids)])
        targets.append(Target(np.arange(stimuli), Y, np.arange(stimuli) % 5, subjects))
    return layers, targets


@contextlib.contextmanager
def counted() -> Iterator[Counter]:
    """Count Gram matrices of activations, and what torch decomposes."""
    gram = sys.modules["dynamics.metrics.kernels"]
    found: Counter = Counter()
    with contextlib.ExitStack() as stack:
        for owner, name, kind in (
            (gram, "_gram", "Gram matrices"),
            (torch.linalg, "eigh", "decompositions"),
            (torch.linalg, "svd", "decompositions"),
        ):
            usual = getattr(owner, name)

            def count(*given, _usual=usual, _kind=kind, **named):
                found[_kind] += 1
                return _usual(*given, **named)

            setattr(owner, name, count)
            stack.callback(setattr, owner, name, usual)
        yield found


def main() -> None:
    """Time all together and each alone; the goal is one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--neuroids", type=int, default=50)
    parser.add_argument("--stimuli", type=int, default=165)
    parser.add_argument("--resamples", type=int, default=50)
    parser.add_argument("--permutations", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    layers, targets = data(given.stimuli, given.neuroids)
    halves = subsets.half_rows(targets[0].folds, given.resamples) if given.resamples else None
    shuffles = permutations(given.stimuli, given.permutations) if given.permutations else None

    def score(*which: tuple[str, int]) -> list[analysis.Variables]:
        order = None if shuffles is None else 0
        parts = [scoring.Part(metric, {}, t, halves, order, None) for metric, t in which]
        return scoring.score_layers(layers, None, parts, targets, [shuffles])

    alone = {f"{metric}, target {t}": (metric, t) for metric in METRICS for t in range(TARGETS)}
    tried = {name: lambda one=one: score(one) for name, one in alone.items()}
    together = "together"
    found = interleaved(tried | {together: lambda: score(*alone.values())}, given.repeats)
    for name, (processor, wall) in found.items():
        print(f"{name:16} {processor:7.2f} s of processor, {wall:7.2f} s")
    for name, which in ((together, list(alone.values())), ("ridge, target 0", [("ridge", 0)])):
        with counted() as many:
            score(*which)
        print(f"{name}: " + ", ".join(f"{count} {kind}" for kind, count in many.items()))
    each = {name: processor for name, (processor, _) in found.items() if name != together}
    dearest = max(each.values())
    print(f"one by one: {sum(each.values()) / dearest:.2f} times the dearest")
    goal("together, times the dearest alone", found[together][0] / dearest, most=1.3)


if __name__ == "__main__":
    main()
