"""Checkpoints of a training run: find, order, fetch and safely read them; no models here."""

from __future__ import annotations

from dynamics.checkpoints.checkpoint import Checkpoint, is_remote, local_path
from dynamics.checkpoints.discovery import find, growing
from dynamics.checkpoints.identity import LeftForLater, as_listed
from dynamics.checkpoints.reading import digest, read, read_file, weights_of
from dynamics.checkpoints.selection import select
from dynamics.checkpoints.transfer import fetch, fetched

__all__ = [
    "Checkpoint",
    "LeftForLater",
    "as_listed",
    "digest",
    "fetch",
    "fetched",
    "find",
    "growing",
    "is_remote",
    "local_path",
    "read",
    "read_file",
    "select",
    "weights_of",
]
