"""Stores of many runs with known scores, made by the store's own writers, without any network."""

from __future__ import annotations

import numpy as np

from dynamics import emergence, store

HALVES = emergence.scheme("halves", n=2, kept=1, resamples=2).attrs | {"correlation": 0}
REGIONS = ("primary", "anterior")
TARGETS = ("one", "two")


def make(
    path,
    *,
    level=0.4,
    steps=(0, 100_000),
    layers=3,
    neuroids=12,
    resamples=10,
    targets=TARGETS,
    seed=0,
    identity=None,
    stimuli="ab",
    noise=0.01,
    names="layer{}",
    languages=False,
    bonus=0.0,
    probe=None,
):
    """Write a store whose best layer ends at `level`; `bonus` is added for every other subject."""
    rng = np.random.default_rng(seed)
    layer_names = [names.format(i) for i in range(layers)]
    root = store.begin(path, run=path.stem, identity={"stimuli_sha256": stimuli * 32})
    store.plan(root, [(step, f"/{step}.ckpt", 100) for step in steps])
    for step in steps:
        found = {name: rng.standard_normal((4, 2)).astype("float32") for name in layer_names}
        sounds = [f"s{i}" for i in range(4)]
        store.write_activations(root, step, found, stimuli=sounds, categories=["a"] * 4)
        store.commit(root, step, sha256=f"{step:064x}", seconds=0.5)
    shape = 1 - 0.2 * np.abs(np.arange(layers) - layers // 2)
    for place, target in enumerate(targets):
        # What the sounds do is common to all runs.
        common = np.random.default_rng(place).standard_normal((resamples // 2 + 1, 1, neuroids))
        coordinates = {
            "layer": ("layer", layer_names),
            "neuroid": ("neuroid", [f"v{i}" for i in range(neuroids)]),
            "subject": ("neuroid", [f"p{i % 4}" for i in range(neuroids)]),
            "thickness": ("neuroid", np.linspace(2.0, 3.0, neuroids)),
            "region": ("neuroid", [REGIONS[i // 4 % 2] for i in range(neuroids)]),
        }
        if languages:
            spoken = ["english" if i % 2 else "mandarin" for i in range(neuroids)]
            coordinates["language"] = ("neuroid", spoken)
        group = store.begin_result(
            root,
            target,
            "ridge",
            identity={"metric": "ridge", "arguments": {}, "target": target,
                      "target_checksums": [0.5], "seed": 0, "resamples": resamples}
            | (identity or {}),
            coordinates=coordinates,
        )  # fmt: skip
        store.write_constant(
            group, "ceiling", ("neuroid",), np.full(neuroids, 0.8), description="c"
        )
        for step in steps:
            rise = np.log1p(step) / np.log1p(max(steps)) if step else 0.0
            extra = bonus * rise * (np.arange(neuroids) % 2)
            mean = (0.1 + (level - 0.1) * rise * shape)[:, None] + extra
            own = noise * rng.standard_normal((resamples // 2 + 1, layers, neuroids))
            off = own + 0.03 * common
            score = mean + off[0]
            pairs = np.stack([score + off[1:], score - off[1:]], 1)
            again = pairs.reshape(resamples, layers, neuroids).transpose(1, 0, 2)
            values = {
                "score": (("layer", "neuroid"), score),
                "r2": (("layer", "neuroid"), score**2),
                "resample_score": (("layer", "resample", "neuroid"), again),
            }
            store.write_result(
                group, step, values, checkpoint=_hash(step), attrs={"resample_score": HALVES}
            )
    if probe is not None:
        _probe(root, steps, layer_names, probe)
    return path


def _hash(step):
    return f"{step:064x}" if step else "untrained-0"


def _probe(root, steps, layers, level):
    for task, scale in (("digits", 1.0), ("birds", 30.0)):
        group = store.begin_result(
            root, task, "probe", identity={"metric": "probe", "score": "accuracy"},
            coordinates={"layer": ("layer", layers)},
        )  # fmt: skip
        for step in steps:
            score = np.full(len(layers), scale * level * (1 if step else 0.2))
            values = {"score": (("layer",), score), "layer_mix_score": ((), score[0])}
            store.write_result(group, step, values, checkpoint=_hash(step))
