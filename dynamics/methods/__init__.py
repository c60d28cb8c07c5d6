"""Metrics as an analyzer calls them: the layers of one step and a target in, variables out."""

from __future__ import annotations

from dynamics.methods.ceilings import ceilings, of_known
from dynamics.methods.checks import (
    RESERVED,
    applies,
    arguments,
    check_choice,
    check_fit,
    check_method,
    given,
    protocol,
    rehearse,
    summary,
)
from dynamics.methods.shuffles import halves_of, orders_of, shuffling, with_p_value
from dynamics.methods.table import METHODS, PER_NEUROID, TIMED, WITH_BASELINE, WITHOUT_TARGET
from dynamics.methods.timed import latencies
from dynamics.methods.variables import ATTRS, Variables, attrs_of

__all__ = [
    "ATTRS",
    "METHODS",
    "PER_NEUROID",
    "RESERVED",
    "TIMED",
    "WITHOUT_TARGET",
    "WITH_BASELINE",
    "Variables",
    "applies",
    "arguments",
    "attrs_of",
    "ceilings",
    "check_choice",
    "check_fit",
    "check_method",
    "given",
    "halves_of",
    "latencies",
    "of_known",
    "orders_of",
    "protocol",
    "rehearse",
    "shuffling",
    "summary",
    "with_p_value",
]
