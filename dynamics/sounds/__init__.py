"""Stimulus sets: sounds by their names, decoded when they are needed."""

from __future__ import annotations

from dynamics.sounds.sets import SOUNDS, UNLABELLED, StimulusSet, from_folder, fsdd, load

__all__ = ["SOUNDS", "UNLABELLED", "StimulusSet", "from_folder", "fsdd", "load"]
