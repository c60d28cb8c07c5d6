"""A store of a report, made by the store's own writers: known curves, hostile names."""

from __future__ import annotations

import numpy as np

from dynamics import emergence, store

STEPS = (0, 10, 100, 1000, 10000)
LAYERS = ("layer1", "layer2", "layer3")
PARTS = ("speech", "music", "hum")
HALVES = emergence.scheme("halves", n=2, kept=1, resamples=2).attrs
BOOTSTRAP = {
    "method": "bootstrap of test sounds",
    **emergence.scheme("bootstrap", n=12, kept=12, resamples=20).attrs,
}
IDENTITY = {
    "adapter": "encodecmae",
    "arguments": {"heads": 4},
    "stimuli": "sounds",
    "stimuli_sha256": "ab" * 32,
    "pooling": "mean",
}


def curve_of(part: int, layer: int) -> np.ndarray:
    """Speech rises and stays, music rises and falls again, what else there is never moves."""
    rise = (
        np.array([0.1, 0.1, 0.5, 0.6, 0.6]),
        np.array([0.1, 0.3, 0.6, 0.4, 0.2]),
        np.array([0.2, 0.2, 0.2, 0.2, 0.2]),
    )[min(part, 2)]
    return rise + 0.05 * layer * (rise - 0.1)


def make(
    path,
    *,
    run="run",
    steps=STEPS,
    failed=None,
    pending=(),
    target="cortex",
    parts=PARTS,
    simulated=0,
    resamples=20,
    results=True,
    noise=0.01,
    nulls=0,
    probe=False,
    categories=("speech", "music"),
):
    """Write a store with one encoding and one RSA result.

    `failed` maps steps to error messages, `pending` are rows without activations.
    """
    failed = failed or {}
    root = store.begin(path, run=run, identity=IDENTITY)
    rng = np.random.default_rng(0)
    stimuli = [f"s{i}" for i in range(12)]
    labels = [categories[i % len(categories)] for i in range(12)]
    store.plan(root, [(s, f"/runs/{s}.ckpt", 100 + s) for s in (*steps, *failed, *pending)])
    for step in steps:
        layers = {name: rng.standard_normal((12, 6)).astype("float32") for name in LAYERS}
        store.write_activations(root, step, layers, stimuli=stimuli, categories=labels)
        store.commit(root, step, sha256=f"{step:064x}", seconds=0.5)
    for step, error in failed.items():
        store.commit(root, step, status=store.FAILED, error=error, sha256="f" * 64)
    if results:
        add_result(root, target, "ridge", steps, parts, simulated, resamples, noise, nulls, rng)
        add_result(root, target, "rsa", steps, ("all",), simulated, resamples, noise, nulls, rng)
    if probe:
        _probe(root, steps)
    return path


def add_result(root, target, metric, steps, parts, simulated, resamples, noise, nulls, rng):
    dim = "neuroid" if metric == "ridge" else "subject"
    coordinates = {"layer": ("layer", LAYERS), dim: (dim, list(parts))}
    if metric == "ridge":
        coordinates["subject"] = ("neuroid", ["all"] * len(parts))
        coordinates["region"] = ("neuroid", ["cortex"] * len(parts))
    identity = {
        "metric": metric,
        "arguments": {},
        "target": target,
        "target_checksums": [0.5, 0.25, 0.125],
        "baseline": {"name": "spectrotemporal", "arguments": {}},
        "seed": 7,
        "resamples": resamples,
    }
    group = store.begin_result(root, target, metric, identity=identity, coordinates=coordinates)
    group.attrs["simulated"] = simulated
    group.attrs["description"] = "three parts of a cortex"
    level = np.full(len(parts), 0.35)
    store.write_constant(group, "baseline", (dim,), level, description="no learning")
    if metric == "ridge":
        store.write_constant(group, "ceiling", (dim,), level + 0.45, description="ceiling")
    known = np.array(
        [[curve_of(part, layer) for part in range(len(parts))] for layer in range(len(LAYERS))]
    )
    for step in steps:
        score = known[:, :, STEPS.index(step)]
        values = {"score": (("layer", dim), score)}
        if resamples:
            off = noise * rng.standard_normal((len(LAYERS), resamples, len(parts)))
            values["resample_score"] = (("layer", "resample", dim), score[:, None] + off)
        if nulls:
            values["null_score"] = (
                ("layer", "permutation", dim),
                0.01 * rng.standard_normal((len(LAYERS), nulls, len(parts))),
            )
        attrs = {"resample_score": HALVES}
        store.write_result(group, step, values, checkpoint=f"{step:064x}", attrs=attrs)


def _probe(root, steps):
    identity = {"metric": "probe", "arguments": {}, "seed": 7}
    coordinates = {"layer": ("layer", LAYERS)}
    group = store.begin_result(root, "digits", "probe", identity=identity, coordinates=coordinates)
    store.write_constant(group, "chance", (), np.asarray(0.1), description="chance")
    for step in steps:
        score = np.array([curve_of(0, layer)[STEPS.index(step)] for layer in range(len(LAYERS))])
        again = score[:, None] + 0.01 * np.random.default_rng(step).standard_normal(
            (len(LAYERS), 20)
        )
        values = {"score": (("layer",), score), "resample_score": (("layer", "resample"), again)}
        attrs = {"resample_score": BOOTSTRAP}
        store.write_result(group, step, values, checkpoint=f"{step:064x}", attrs=attrs)
