"""Sounds synthesised from a generator of random numbers, in kinds."""

from __future__ import annotations

from dynamics.synthesis.kinds import KINDS, PEAK, RMS, normalise, sound

__all__ = ["KINDS", "PEAK", "RMS", "normalise", "sound"]
