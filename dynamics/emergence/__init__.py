"""When a curve over training steps gets where, with what certainty, and which comes first."""

from __future__ import annotations

from dynamics.emergence.curves import (
    area,
    ceiling_fraction,
    gain,
    half_time,
    onset,
    peak,
    plateau,
    plateau_step,
    summarize,
)

__all__ = [
    "area",
    "ceiling_fraction",
    "gain",
    "half_time",
    "onset",
    "peak",
    "plateau",
    "plateau_step",
    "summarize",
]
