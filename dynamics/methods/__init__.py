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
    folds_of,
    given,
    protocol,
    rehearse,
    summary,
)
from dynamics.methods.groups import counted
from dynamics.methods.resampled import MANY
from dynamics.methods.shuffles import (
    halves_of,
    orders_of,
    resamples_of,
    shuffling,
    with_p_value,
    without_resamples,
)
from dynamics.methods.table import METHODS, PER_NEUROID, TIMED, WITH_BASELINE, WITHOUT_TARGET
from dynamics.methods.timed import latencies
from dynamics.methods.variables import ATTRS, RESAMPLED, Variables, attrs_of

__all__ = [
    "ATTRS",
    "MANY",
    "METHODS",
    "PER_NEUROID",
    "RESAMPLED",
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
    "counted",
    "folds_of",
    "given",
    "halves_of",
    "latencies",
    "of_known",
    "orders_of",
    "protocol",
    "rehearse",
    "resamples_of",
    "shuffling",
    "summary",
    "with_p_value",
    "without_resamples",
]
