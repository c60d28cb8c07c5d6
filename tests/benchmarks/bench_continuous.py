"""Stories in fMRI: time and memory of one step beside himalaya's primal ridge.

    python tests/benchmarks/bench_continuous.py [scale]

The whole has 20 stories of 10 minutes (TR 2 s), 24 layers of 1,024 features, 30,000 voxels and
delays of 1 to 4 TR. With a scale below 1 there are that many times fewer voxels and layers, of
which the time of either side is a multiple.
"""

import sys
from dataclasses import replace

import numpy as np
from goals import goal, peak_memory, seconds

from dynamics.analysis import METHODS
from dynamics.brains.targets import Target

STORIES, VOLUMES, FEATURES, LAYERS, VOXELS, TR = 20, 300, 1024, 24, 30_000, 2.0


def stories(layers, voxels):
    """Activations at the TR, and responses that follow some of them."""
    rng = np.random.default_rng(0)
    X = {f"layer{i}": rng.standard_normal((STORIES, VOLUMES, FEATURES), dtype=np.float32)
         for i in range(layers)}  # fmt: skip
    Y = rng.standard_normal((STORIES, VOLUMES, voxels), dtype=np.float32)
    Y[:, 2:] += X["layer0"][:, :-2, :voxels].mean(2, keepdims=True) * 20
    times = (np.arange(VOLUMES) + 0.5) * TR
    target = Target(
        np.arange(STORIES), Y.mean(1), np.arange(STORIES) % 5, np.full(voxels, "a"),
        course=Y.astype(float), times=times, frames=times, apart=TR,
    )  # fmt: skip
    return X, target


def himalaya(X, target, components):
    """Fit the same splits with its solver: 5 outer folds, 4 inner ones, the same alphas."""
    from himalaya.ridge import RidgeCV
    from sklearn.model_selection import PredefinedSplit

    fold = np.repeat(target.folds, VOLUMES)
    Y = target.course.reshape(-1, target.course.shape[2]).astype(np.float32)
    for values in X.values():
        flat = values.reshape(-1, FEATURES).astype(np.float32)
        if components:
            _, _, V = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
            flat = flat @ V[:components].T
        parts = flat.reshape(STORIES, VOLUMES, -1)
        delayed = np.concatenate(
            [np.pad(parts, ((0, 0), (d, 0), (0, 0)))[:, :VOLUMES] for d in (1, 2, 3, 4)], 2
        ).reshape(len(flat), -1)
        for f in range(5):
            train = fold != f
            model = RidgeCV(alphas=np.logspace(-2, 6, 19), cv=PredefinedSplit(fold[train]))
            model.fit(delayed[train], Y[train]).predict(delayed[~train])


if __name__ == "__main__":
    scale = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    layers, voxels = max(round(LAYERS * scale), 1), max(round(VOXELS * scale), 100)
    X, target = stories(layers, voxels)
    options = {"components": 32, "windows": [[2, 8]]}
    ours = seconds(lambda: METHODS["encode_continuous"](X, replace(target), **options))
    memory = peak_memory()
    theirs = seconds(lambda: himalaya(X, target, 32))
    print(f"{layers} layers, {voxels} voxels: {ours[0]:.1f} s, himalaya {theirs[0]:.1f} s of CPU")
    goal("encode_continuous: times as fast as himalaya", theirs[0] / ours[0], least=3)
    goal("encode_continuous: GiB", memory, most=6)
