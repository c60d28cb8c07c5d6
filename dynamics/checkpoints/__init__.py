"""Checkpoints of a training run: find, order, fetch and safely read them; no models here."""

from __future__ import annotations

from dynamics.checkpoints.find import Checkpoint, find
from dynamics.checkpoints.read import digest, read, read_file, weights_of

__all__ = ["Checkpoint", "digest", "find", "read", "read_file", "weights_of"]
