"""A small reference pretraining run that writes real checkpoints."""

from __future__ import annotations

from typing import Any

from dynamics.pretrain.recipe import Pretraining, Source

__all__ = ["Pretraining", "Source", "pretrain"]


def __getattr__(name: str) -> Any:
    # A config is validated without waiting for torch.
    if name == "pretrain":
        from dynamics.pretrain.training import pretrain

        return pretrain
    raise AttributeError(f"module 'dynamics.pretrain' has no attribute {name!r}")
