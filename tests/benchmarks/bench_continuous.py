"""Stories in fMRI: time and memory of one step beside himalaya's primal ridge.

    python tests/benchmarks/bench_continuous.py [--layers 2] [--voxels 30000] [--himalaya 3000]

The whole has 20 stories of 10 minutes (TR 2 s), 24 layers of 1,024 features, 30,000 voxels and
delays of 1 to 4 TR. Layers are worked through one after another, so that the time of some of them
(`--layers`) says that of all, while the activations of all 24 are held; voxels are worked through
in blocks. himalaya's time is that of some voxels of one layer: at 3,000 of them all but 6 % of it
is products with responses, which are linear in voxels; with a few hundred it would seem far slower.
"""

import argparse
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
    Y = rng.standard_normal((STORIES, VOLUMES, voxels))
    for first in range(0, voxels, FEATURES):
        some = Y[:, 2:, first : first + FEATURES]
        some += X["layer0"][:, :-2, : some.shape[2]]
    times = (np.arange(VOLUMES) + 0.5) * TR
    target = Target(
        np.arange(STORIES), Y.mean(1), np.arange(STORIES) % 5, np.full(voxels, "a"),
        course=Y, times=times, frames=times, apart=TR,
    )  # fmt: skip
    return X, target


def himalaya(values, target, components):
    """Fit the same splits with its solver: 5 outer folds, 4 inner ones, 19 alphas."""
    from himalaya.ridge import RidgeCV
    from sklearn.model_selection import PredefinedSplit

    fold = np.repeat(target.folds, VOLUMES)
    Y = target.course.reshape(-1, target.course.shape[2]).astype(np.float32)
    flat = values.reshape(-1, FEATURES)
    _, _, V = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    parts = (flat @ V[:components].T).reshape(STORIES, VOLUMES, -1)
    delayed = np.concatenate(
        [np.pad(parts, ((0, 0), (d, 0), (0, 0)))[:, :VOLUMES] for d in (1, 2, 3, 4)], 2
    ).reshape(len(flat), -1)
    for f in range(5):
        train = fold != f
        model = RidgeCV(alphas=np.logspace(-2, 6, 19), cv=PredefinedSplit(fold[train]))
        model.fit(delayed[train], Y[train]).predict(delayed[~train])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("layers", LAYERS), ("voxels", VOXELS), ("himalaya", 3000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    X, target = stories(LAYERS, given.voxels)
    some = dict(list(X.items())[: given.layers])
    options = {"components": 32, "windows": [[2, 8]]}
    ours, wall = seconds(lambda: METHODS["encode_continuous"](some, target, **options))
    each = ours / given.layers / given.voxels * 1000
    print(f"{given.layers} layers, {given.voxels} voxels: {ours:.1f} s of CPU, {wall:.1f} s")
    goal("encode_continuous: GiB at the peak", peak_memory(), most=6)
    part = replace(target, course=target.course[..., : given.himalaya])
    theirs, _ = seconds(lambda: himalaya(X["layer0"], part, 32))
    theirs *= 1000 / given.himalaya
    print(f"CPU s a layer and 1,000 voxels: {each:.2f}, himalaya {theirs:.2f}")
    goal("encode_continuous: times as fast as himalaya", theirs / each, least=3)
