"""When and where in a network, during pretraining, representations become brain-like."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dynamics.config import load_config
from dynamics.store import open, package_version

if TYPE_CHECKING:
    from dynamics import brains, metrics, models, sounds
    from dynamics.sweep import run

__all__ = ["brains", "load_config", "metrics", "models", "open", "run", "sounds"]

__version__ = package_version()

_ROOMS = ("brains", "metrics", "models", "sounds", "emergence", "plots")


def __getattr__(name: str) -> Any:
    # Torch takes seconds to import: whoever only opens a store does not wait for it.
    if name == "run":
        return importlib.import_module("dynamics.sweep").run
    if name in _ROOMS:
        return importlib.import_module(f"dynamics.{name}")
    raise AttributeError(f"module 'dynamics' has no attribute {name!r}")
