"""Metrics as an analyzer calls them: the layers of one step and a target in, variables out."""

from __future__ import annotations

from dynamics.analysis.checks import (
    applies,
    arguments,
    check_choice,
    check_components,
    check_fit,
    folds_of,
    given,
    protocol,
    rehearse,
    summary,
    told_of_groups,
)
from dynamics.analysis.groups import counted
from dynamics.analysis.metric import Metric, Value
from dynamics.analysis.noise_ceilings import ceilings, of_known
from dynamics.analysis.permutations import (
    AUTO,
    check_shuffles,
    describe_shuffles,
    distinct,
    halves_of,
    orders_of,
    scheme_of,
    shuffling,
    with_p_value,
    without_resamples,
)
from dynamics.analysis.prepared import of_spaces
from dynamics.analysis.registry import (
    METHODS,
    RESERVED,
    attrs_of,
    find,
)
from dynamics.analysis.resampled import MANY, averaged
from dynamics.analysis.variables import ATTRS, RESAMPLED, Variables

__all__ = [
    "ATTRS",
    "AUTO",
    "MANY",
    "METHODS",
    "RESAMPLED",
    "RESERVED",
    "Metric",
    "Value",
    "Variables",
    "applies",
    "arguments",
    "attrs_of",
    "averaged",
    "ceilings",
    "check_choice",
    "check_components",
    "check_fit",
    "check_shuffles",
    "counted",
    "describe_shuffles",
    "distinct",
    "find",
    "folds_of",
    "given",
    "halves_of",
    "of_known",
    "of_spaces",
    "orders_of",
    "protocol",
    "rehearse",
    "scheme_of",
    "shuffling",
    "summary",
    "told_of_groups",
    "with_p_value",
    "without_resamples",
]
