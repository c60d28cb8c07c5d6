"""A run to try things on: pretraining that writes checkpoints, sounds, tasks and a listener.

Nothing else imports it; tables name what is in it.
"""

from __future__ import annotations

from typing import Any

from dynamics.config import Pretraining, Source

__all__ = ["Pretraining", "Source", "pretrain"]


def __getattr__(name: str) -> Any:
    # A config is validated without waiting for torch.
    if name == "pretrain":
        from dynamics.reference.training import pretrain

        return pretrain
    raise AttributeError(f"module 'dynamics.reference' has no attribute {name!r}")
