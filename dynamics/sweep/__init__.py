"""The main job: crawl, analyze and plot one sweep; and the demonstration that needs no data."""

from __future__ import annotations

from dynamics.sweep.checks import check, check_names, fits
from dynamics.sweep.demonstration import DEMO, demo, pretrain
from dynamics.sweep.drawing import plot
from dynamics.sweep.findings import at_edges, half_times, shared_courses, without_intervals
from dynamics.sweep.running import run, stages

__all__ = [
    "DEMO",
    "at_edges",
    "check",
    "check_names",
    "demo",
    "fits",
    "half_times",
    "plot",
    "pretrain",
    "run",
    "shared_courses",
    "stages",
    "without_intervals",
]
