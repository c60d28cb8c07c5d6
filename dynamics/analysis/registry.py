"""The table of metrics that a sweep can name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dynamics.analysis import (
    continuous,
    encoding,
    latencies,
    over_time,
    spaces,
    stretches,
    unique,
    wording,
)
from dynamics.analysis.metric import Metric, Value
from dynamics.analysis.variables import ATTRS, scheme_of
from dynamics.metrics.pairwise import PAIRWISE
from dynamics.metrics.rdm_comparison import COMPARISONS
from dynamics.tables import Table

_CORRELATION = "Encoding score (Pearson r)"
_R2 = Value("r²", "Encoding score (r²)", square=True)
_CORRECTED = Value("r², noise-corrected", "Encoding score (r², noise-corrected)", square=True)
_OVER = Value("r over the ceiling", "Encoding score over noise ceiling", over_ceiling=True)
# With repetitions this protocol's own r2 is over the reliabilities of both sides.
_MEDIAN = Value(
    "r², noise-corrected if repeated", "Encoding score (r², corrected if repeated)", levels=True
)

_CANONICAL = (
    "how many components hold 99 % of the variance depends on how many stimuli there are, so the "
    "canonical correlations of a part of them are another score; use `cka` or `procrustes`"
)

# Of metrics that compare spaces latency by latency.
_LATENCIES: dict[str, Any] = {
    "needs": ("course",),
    "coordinates": latencies.coordinates,
    "told": wording.of_windows,
    "variables": {
        "cross_score": "similarity of a layer in a window of the sound to the responses in another"
    },
}
_AT_TIMES: dict[tuple[str, Any], dict[str, Any]] = {
    ("activations", "time"): {"needs": ("time",)},
    ("cross", True): {"needs": ("time",)},
}
_WHEN = (
    "at each latency, with responses averaged over windows of {window} s; the score is the mean "
    "over the latencies from the onset on"
)


def _by_feature(arguments: Mapping[str, Any]) -> str:
    """Say how an RDM is made that only distances between patterns decide."""
    euclidean = arguments.get("distance") in ("euclidean", "sqeuclidean")
    plain = euclidean and arguments.get("zscore") is False
    return "" if plain else "give it `distance: euclidean` and `zscore: false`"


RESERVED = {
    "permutations": "number of shuffles of the null, in place of the sweep's `permutations`",
    "shuffle": "how they are shuffled, in place of the sweep's `shuffle`",
    "folds": "number of folds, in place of the sweep's `folds`",
    "targets": "labels of the targets that it is for (default: all)",
}
"""Arguments that every metric takes in a sweep."""

_METRICS = {
    "ridge": Metric(
        encoding.ridge,
        axis=_CORRELATION,
        sentence="“{label}” is ridge regression from a layer's activations to each neuroid in five "
        "folds of stimuli stratified by category, with a penalty for each neuroid chosen by "
        "leave-one-fold-out inside the training folds; the score is the Pearson correlation of the "
        "pooled predictions with the responses, with its sign kept",
        per="neuroid",
        missing="mask",
        ceiling="repetitions",
        values={"r2": _R2, "r2_corrected": _CORRECTED, "over_ceiling": _OVER},
        coordinates=encoding.stimuli_of_kept,
        variants={
            ("protocol", "pepino"): {
                "sentence": "“{label}” is the encoding protocol of Pepino et al., to the letter",
                "citations": ("pepino",),
                "values": {"r2": _R2},
            },
            ("protocol", "tuckute"): {
                "sentence": "“{label}” is the encoding protocol of Tuckute, Feather et al., to the "
                "letter",
                "citations": ("tuckute",),
                "values": {"r2": _MEDIAN},
            },
        },
    ),
    "banded": Metric(
        encoding.banded,
        axis="Share of variance explained",
        sentence="“{label}” is the part of each layer in the prediction by all layers together, in "
        "banded ridge regression with a penalty for each layer",
        per="neuroid",
        unit="variance",
        missing="mask",
        ceiling="repetitions",
    ),
    "variance_partition": Metric(
        encoding.variance_partition,
        axis="Unique variance explained",
        sentence="“{label}” is what a layer adds, in variance explained, to the baseline without "
        "learning",
        per="neuroid",
        unit="variance",
        needs=("baseline",),
        missing="mask",
        ceiling="repetitions",
        values={
            "layer_r2": Value("r² of the layer", "Variance explained by the layer"),
            "shared_r2": Value("shared r²", "Variance shared with the baseline"),
            "total_r2": Value("total r²", "Variance explained together"),
        },
    ),
    "encode_timeresolved": Metric(
        over_time.encode_timeresolved,
        axis=_CORRELATION,
        sentence="“{label}” is ridge regression from a layer's activations over time, at several "
        "delays, to responses over time, split by stimulus",
        per="neuroid",
        needs=("time",),
        missing="mask",
        values={"r2": _R2},
        coordinates=over_time.coordinates,
        told=wording.of_delays,
    ),
    "encode_continuous": Metric(
        continuous.encode_continuous,
        axis=_CORRELATION,
        sentence="“{label}” is ridge regression from a layer's activations over time, at several "
        "delays, to responses to sounds of unequal length, sample by sample, split by stimulus or "
        "by blocks of time that are kept apart; responses are centred within each stimulus",
        per="neuroid",
        needs=("time", "frames"),
        missing="mask",
        ceiling="signal power",
        values={
            "r2": _R2,
            "r2_corrected": _CORRECTED,
            "over_ceiling": _OVER,
            "shared_score": Value(
                "r beyond what is shared", "Encoding score beyond the course that stimuli share (r)"
            ),
        },
        coordinates=continuous.coordinates,
        units=stretches.units_of,
        told=wording.of_continuous,
        version="halves keep choices",
        variants={
            ("refits", "anew"): {"version": ""},
            ("resamples", 0): {"version": ""},
            ("protocol", "lebel"): {
                "version": "",
                "sentence": "“{label}” is the encoding protocol of LeBel et al. for stories in "
                "fMRI, to the letter",
                "citations": ("lebel",),
                "by_feature": lambda _: "leave its `protocol` out",
                "values": {"r2": _R2},
                "ceiling": "",
                "without_resamples": "the lebel protocol scores one story that was never trained "
                "on; for intervals use the default protocol",
            },
        },
    ),
    "unique_continuous": Metric(
        unique.unique_continuous,
        axis="Unique variance explained",
        sentence="“{label}” is what a layer adds, in variance explained of responses over time, to "
        "control features, in ridge regression with a penalty for each of them",
        per="neuroid",
        unit="variance",
        needs=("time", "frames", "controls"),
        missing="mask",
        ceiling="signal power",
        values={
            "layer_r2": Value("r² of the layer", "Variance explained by the layer"),
            "shared_r2": Value("shared r²", "Variance shared with the controls"),
            "total_r2": Value("total r²", "Variance explained together"),
        },
        coordinates=unique.coordinates,
        units=unique.units,
    ),
    "rsa": Metric(
        spaces.rsa,
        axis="RSA (Spearman ρ)",
        sentence="“{label}” is representational similarity: the dissimilarities between all pairs "
        "of stimuli in a layer ({distance} distance) and in the responses of each subject, "
        "compared by {compare} correlation (Kriegeskorte et al. 2008)",
        citations=("kriegeskorte",),
        missing="pairs",
        ceiling="rdms",
        space=PAIRWISE["rsa"],
        by_feature=_by_feature,
        variants={
            ("compare", name): {"axis": f"RSA ({name})"}
            | (
                {
                    "without_resamples": "Kendall's tau on every half would take minutes a step; "
                    "`compare: spearman` has intervals: give the metric a `label` of its own"
                }
                if name == "kendall"
                else {}
            )
            for name in COMPARISONS
            if name != "spearman"
        },
    ),
    "cka": Metric(
        spaces.cka,
        axis="Linear CKA (debiased)",
        sentence="“{label}” is linear centred kernel alignment in its debiased form (Kornblith et "
        "al. 2019)",
        citations=("kornblith",),
        ceiling="subjects",
        space=PAIRWISE["cka"],
    ),
    "rsa_time": Metric(
        latencies.rsa_time,
        axis="RSA over time (Spearman ρ)",
        sentence="“{label}” is representational similarity ({distance} distance, compared by "
        "{compare} correlation; Kriegeskorte et al. 2008) " + _WHEN,
        citations=("kriegeskorte",),
        missing="pairs",
        by_feature=_by_feature,
        ceiling="rdms",
        variants=_AT_TIMES
        | {
            ("compare", name): {"axis": f"RSA over time ({name})"}
            for name in COMPARISONS
            if name != "spearman"
        },
        **_LATENCIES,
    ),
    "cka_time": Metric(
        latencies.cka_time,
        axis="Linear CKA over time (debiased)",
        sentence="“{label}” is linear centred kernel alignment in its debiased form (Kornblith et "
        "al. 2019) " + _WHEN,
        citations=("kornblith",),
        ceiling="subjects",
        variants=_AT_TIMES,
        **_LATENCIES,
    ),
    "procrustes": Metric(
        spaces.procrustes,
        axis="Procrustes similarity",
        sentence="“{label}” is the cosine of the angular Procrustes distance between layer and "
        "responses",
        citations=("williams",),
        ceiling="subjects",
        space=PAIRWISE["procrustes"],
    ),
    # Cross-validated correlations may be higher for a layer of few dimensions than for other
    # subjects, whose agreement is therefore no ceiling.
    "svcca": Metric(
        spaces.svcca,
        axis="SVCCA",
        sentence="“{label}” is the cross-validated mean canonical correlation (SVCCA)",
        citations=("raghu",),
        without_resamples=_CANONICAL,
        space=PAIRWISE["svcca"],
    ),
    "pwcca": Metric(
        spaces.pwcca,
        axis="PWCCA",
        sentence="“{label}” is cross-validated projection-weighted CCA",
        citations=("morcos",),
        without_resamples=_CANONICAL,
        space=PAIRWISE["pwcca"],
        by_feature=lambda _: "use `svcca`",
    ),
    "mutual_knn": Metric(
        spaces.mutual_knn,
        axis="Shared nearest neighbours",
        sentence="“{label}” is the share of nearest neighbours that layer and responses have in "
        "common",
        citations=("huh",),
        unit="share",
        ceiling="subjects",
        space=PAIRWISE["mutual_knn"],
        by_feature=lambda _: "use `cka`",
    ),
    "effective_dimensionality": Metric(
        spaces.effective_dimensionality,
        axis="Effective dimensionality",
        sentence="“{label}” is the effective dimensionality of a layer, (Σλ)² / Σλ² of its "
        "covariance spectrum, and says nothing of a brain",
        per="layer",
        unit="dimensions",
        without_resamples="the dimensions that can be seen depend on how many stimuli there are, "
        "so those of a part of them are another number; compare several runs",
    ),
}

METHODS = Table(
    "metric", _METRICS, filled=("layers", "target", "halves", "orders"), shared=RESERVED
)
"""By name. A sweep's `plugins` add to it."""


def find(name: str, arguments: Mapping[str, Any] | None = None) -> Metric:
    """Return the record of a metric.

    Parameters
    ----------
    name : str
        A name in `METHODS`.
    arguments : mapping, optional
        The metric's arguments, on which some of the record depends.

    Returns
    -------
    Metric
        The record.

    Raises
    ------
    ValueError
        If there is none of this name; the message lists them.
    """
    return METHODS.find(name).by(arguments or {})


def attrs_of(metric: str, arguments: Mapping[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    """Return the attributes of a metric's variables.

    Parameters
    ----------
    metric : str
        A name in `METHODS`.
    arguments : mapping, optional
        Arguments of the metric.

    Returns
    -------
    dict of str to dict
        `description`, `units`, and of resamples their scheme.
    """
    own = find(metric, arguments)
    scheme = scheme_of(correlation=own.unit == "correlation")
    attrs = {**ATTRS, **{name: {"description": text, "units": "1"}
                         for name, text in own.variables.items()}}  # fmt: skip
    for name in ATTRS:
        if name.endswith(("resample_score", "resample_mean")):
            squares = {"correlation": 0} if name.startswith("r2") else {}
            attrs[name] = ATTRS[name] | scheme | squares
    return attrs
