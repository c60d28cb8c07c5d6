"""Checkpoints of a training run: find, order, fetch and safely read them; no models here."""

from __future__ import annotations

from dynamics.checkpoints.checkpoint import Checkpoint, is_remote, local_path
from dynamics.checkpoints.choice import TRAINED, Taken, check_wanted
from dynamics.checkpoints.counting import AUTO, about, check_unit
from dynamics.checkpoints.discovery import find, growing
from dynamics.checkpoints.identity import LeftForLater, as_listed
from dynamics.checkpoints.leftovers import left_out
from dynamics.checkpoints.reading import digest, read, read_file, take
from dynamics.checkpoints.selection import select
from dynamics.checkpoints.sets import weights_of
from dynamics.checkpoints.transfer import fetch, fetched

__all__ = [
    "AUTO",
    "TRAINED",
    "Checkpoint",
    "LeftForLater",
    "Taken",
    "about",
    "as_listed",
    "check_unit",
    "check_wanted",
    "digest",
    "fetch",
    "fetched",
    "find",
    "growing",
    "is_remote",
    "left_out",
    "local_path",
    "read",
    "read_file",
    "select",
    "take",
    "weights_of",
]
