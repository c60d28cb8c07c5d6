"""Checkpoints of a training run: find, order, fetch and safely read them; no models here."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dynamics.checkpoints.checkpoint import Checkpoint, is_remote, local_path
    from dynamics.checkpoints.choice import Taken
    from dynamics.checkpoints.counting import about
    from dynamics.checkpoints.discovery import find, growing
    from dynamics.checkpoints.identity import LeftForLater, as_listed
    from dynamics.checkpoints.leftovers import left_out
    from dynamics.checkpoints.reading import digest, read, read_file, take
    from dynamics.checkpoints.selection import select
    from dynamics.checkpoints.sets import weights_of
    from dynamics.checkpoints.transfer import fetch, fetched
    from dynamics.checkpoints.wanted import AUTO, TRAINED, check_unit, check_wanted

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

# Where each is: torch takes seconds to import, and who validates a sweep does not wait for it.
_PLACES = {
    "checkpoint": (
        "Checkpoint",
        "is_remote",
        "local_path",
    ),
    "choice": ("Taken",),
    "counting": ("about",),
    "discovery": (
        "find",
        "growing",
    ),
    "identity": (
        "LeftForLater",
        "as_listed",
    ),
    "leftovers": ("left_out",),
    "reading": (
        "digest",
        "read",
        "read_file",
        "take",
    ),
    "selection": ("select",),
    "sets": ("weights_of",),
    "transfer": (
        "fetch",
        "fetched",
    ),
    "wanted": (
        "AUTO",
        "TRAINED",
        "check_unit",
        "check_wanted",
    ),
}


def __getattr__(name: str) -> Any:
    for place, names in _PLACES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{place}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
