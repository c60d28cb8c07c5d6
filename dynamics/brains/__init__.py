"""Brain targets: responses to sounds as labelled arrays, joined to stimuli by name."""

from __future__ import annotations

from dynamics.brains.loading import TARGETS, ceiling, check_name, from_file, join, load
from dynamics.brains.natsound import folds

__all__ = ["TARGETS", "ceiling", "check_name", "folds", "from_file", "join", "load"]
