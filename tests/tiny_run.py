"""A pretraining run of the smallest networks: its checkpoints, and a sweep of them."""

from __future__ import annotations

import torch

from dynamics.config import validate
from dynamics.models import encodecmae

SIZES = {"layers": 2, "width": 16, "heads": 2, "feed_forward": 24, "mels": 32}


def save_checkpoint(folder, step, *, seed, **sizes):
    """Save what Lightning would at a step: fresh weights of a seed."""
    model = encodecmae.build(None, **SIZES | sizes, seed=seed)
    content = {"state_dict": model.state_dict(), "global_step": step, "epoch": 0}
    torch.save(content, folder / f"epoch=0-step={step}.ckpt")


def sweep_in(folder, steps, **changes):
    """Save checkpoints of these steps, seeds 0 and on; return what their sweep's file holds."""
    (folder / "checkpoints").mkdir()
    for number, step in enumerate(steps):
        save_checkpoint(folder / "checkpoints", step, seed=number)
    return {
        "run": "tiny",
        "store": str(folder / "tiny.zarr"),
        "checkpoints": str(folder / "checkpoints"),
        "model": {"name": "encodecmae", "arguments": {"heads": 2}},
        "stimuli": {"name": "synthetic", "arguments": {"per_kind": 1, "seconds": 0.4}},
        "targets": ["simulated"],
        **changes,
    }


def sweep_of(content, **changes):
    """Return the sweep of what its file holds."""
    return validate(content | changes, origin="test")
