"""A store of three sounds and two layers, whose values a step alone decides."""

from __future__ import annotations

import numpy as np

from dynamics import store

STIMULI, CATEGORIES = ["a", "b", "c"], ["x", "x", "y"]
IDENTITY = {"adapter": "test", "pooling": "mean"}


def activations(step):
    """Return what the layers are at a step."""
    rng = np.random.default_rng(step)
    return {
        "first": rng.standard_normal((3, 4)).astype("float32"),
        "second": rng.standard_normal((3, 2)).astype("float32"),
    }


def fill(path, steps, *, commit=True):
    """Write steps, in this order, and commit them."""
    root = store.begin(path, run="test", identity=IDENTITY)
    store.plan(root, [(step, f"file-{step}", 10) for step in steps])
    for step in steps:
        layers = activations(step)
        store.write_activations(root, step, layers, stimuli=STIMULI, categories=CATEGORIES)
        if commit:
            store.commit(root, step, sha256=f"hash-{step}", seconds=1.0)
    return root
