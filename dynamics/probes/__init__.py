"""Downstream tasks along training: what can be read off each layer, step by step."""

from __future__ import annotations

from dynamics.probes.behaviour import agreement, brain_like
from dynamics.probes.fitting import PROBES
from dynamics.probes.layers import probe_layers
from dynamics.probes.overall_score import overall
from dynamics.probes.run import METRIC, check_names, load_tasks, probe
from dynamics.probes.table import TASKS, load
from dynamics.probes.task import Task, make_task

__all__ = [
    "METRIC",
    "PROBES",
    "TASKS",
    "Task",
    "agreement",
    "brain_like",
    "check_names",
    "load",
    "load_tasks",
    "make_task",
    "overall",
    "probe",
    "probe_layers",
]
