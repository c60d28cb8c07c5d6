"""The table of metrics that a sweep can name, and what each needs."""

from __future__ import annotations

from collections.abc import Callable

from dynamics.methods import encoding, spaces, timed
from dynamics.methods.variables import Variables

METHODS: dict[str, Callable[..., Variables]] = {
    "ridge": encoding.ridge,
    "banded": encoding.banded,
    "variance_partition": encoding.variance_partition,
    "encode_timeresolved": timed.encode_timeresolved,
    "rsa": spaces.rsa,
    "cka": spaces.cka,
    "procrustes": spaces.procrustes,
    "svcca": spaces.svcca,
    "pwcca": spaces.pwcca,
    "mutual_knn": spaces.mutual_knn,
    "effective_dimensionality": spaces.effective_dimensionality,
}

PER_NEUROID = ("ridge", "banded", "variance_partition", "encode_timeresolved")
"""Scores have a dimension `neuroid`; the others' have `subject`."""

OF_VARIANCE = ("banded", "variance_partition")
"""Scores are parts of the variance of responses, to be compared with squared correlations."""

WITH_CEILING = ("rsa", "cka", "procrustes", "mutual_knn")
"""Of the spaces' metrics those whose score does not depend on how many dimensions a space has. The
others' cross-validated correlations may be higher for a layer of few than for other subjects."""

TIMED = ("encode_timeresolved",)
"""Need activations and responses over time; for the others both are averaged over it."""

WITH_BASELINE = ("variance_partition",)
"""Need the features of the sweep's baseline model."""

WITH_GAPS = PER_NEUROID
"""Leave out stimuli that a neuroid lacks, neuroid by neuroid, if asked to: `missing: mask`. The
others compare a group of neuroids on the stimuli that it has."""

WITHOUT_TARGET = ("effective_dimensionality",)
"""Look at the activations alone, and have no baseline to be drawn beside them."""

_CANONICAL = (
    "how many components hold 99 % of the variance depends on how many stimuli there are, so the "
    "canonical correlations of a part of them are another score; use `cka` or `procrustes`"
)
WITHOUT_RESAMPLES = {
    "svcca": _CANONICAL,
    "pwcca": _CANONICAL,
    "effective_dimensionality": (
        "the dimensions that can be seen depend on how many stimuli there are, so those of a part "
        "of them are another number; compare several runs"
    ),
}
"""Why scores of a metric have no resamples, and what has."""
