"""Many runs as one: opened together, tabulated, drawn and tested."""

from __future__ import annotations

from dynamics.collection.lazy import open_collection
from dynamics.collection.opening import Compared, Opened, compared, gather, open_runs

__all__ = ["Compared", "Opened", "compared", "gather", "open_collection", "open_runs"]
