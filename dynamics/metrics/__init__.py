"""Measures of how alike a representation and the brain are: arrays in, arrays out.

Arrays are NumPy's or torch's, on any device; results are of the same kind on the same device, in
double precision (choices and folds are whole numbers, names of layers a NumPy array). A measure of
two whole spaces is a float.
"""

from __future__ import annotations

from collections.abc import Callable

from dynamics.metrics.banded import banded_ridge
from dynamics.metrics.cca import pwcca, svcca
from dynamics.metrics.ceilings import noise_ceiling, rdm_noise_ceiling
from dynamics.metrics.composite import (
    auditory_score,
    prediction_score,
    spatial_score,
    temporal_score,
)
from dynamics.metrics.continuous import encode_continuous
from dynamics.metrics.delays import resample_time
from dynamics.metrics.dissimilarity import DISTANCES, geotopological, rdm, rdms_by
from dynamics.metrics.encoding import PROTOCOLS, encode
from dynamics.metrics.folds import merge_small, stratified_folds
from dynamics.metrics.haemodynamics import convolved, lanczos
from dynamics.metrics.kernels import centre, gram, grams
from dynamics.metrics.latencies import cka_time, rsa_time
from dynamics.metrics.lebel import lebel_ridge
from dynamics.metrics.null import (
    gram_null,
    p_value,
    permutation_null,
    permutations,
    rdm_null,
    ridge_null,
)
from dynamics.metrics.pairwise import PAIRWISE, similarities
from dynamics.metrics.partition import variance_partition
from dynamics.metrics.rdm_comparison import COMPARISONS, compare_rdms, rsa, rsa_choose_layer
from dynamics.metrics.repeats import signal_power
from dynamics.metrics.resample import bootstrap_counts, resampled_rsa
from dynamics.metrics.reuse import shared
from dynamics.metrics.ridge import default_alphas, nested_ridge, nested_ridge_features
from dynamics.metrics.spaces import (
    cka,
    cka_gram,
    effective_dimensionality,
    effective_dimensionality_gram,
    mutual_knn,
    mutual_knn_gram,
    procrustes,
    procrustes_gram,
)
from dynamics.metrics.timeresolved import encode_timeresolved
from dynamics.metrics.unique import unique_continuous

METRICS: dict[str, Callable] = {
    "ridge": encode,
    "banded": banded_ridge,
    "variance_partition": variance_partition,
    "encode_timeresolved": encode_timeresolved,
    "encode_continuous": encode_continuous,
    "unique_continuous": unique_continuous,
    "rsa": rsa,
    "rsa_time": rsa_time,
    "cka_time": cka_time,
    "cka": cka,
    "procrustes": procrustes,
    "svcca": svcca,
    "pwcca": pwcca,
    "mutual_knn": mutual_knn,
    "effective_dimensionality": effective_dimensionality,
}

GRAM_METRICS: dict[str, Callable] = {
    "cka": cka_gram,
    "procrustes": procrustes_gram,
    "mutual_knn": mutual_knn_gram,
}

__all__ = [
    "COMPARISONS",
    "DISTANCES",
    "GRAM_METRICS",
    "METRICS",
    "PAIRWISE",
    "PROTOCOLS",
    "auditory_score",
    "banded_ridge",
    "bootstrap_counts",
    "centre",
    "cka",
    "cka_gram",
    "cka_time",
    "compare_rdms",
    "convolved",
    "default_alphas",
    "effective_dimensionality",
    "effective_dimensionality_gram",
    "encode",
    "encode_continuous",
    "encode_timeresolved",
    "geotopological",
    "gram",
    "gram_null",
    "grams",
    "lanczos",
    "lebel_ridge",
    "merge_small",
    "mutual_knn",
    "mutual_knn_gram",
    "nested_ridge",
    "nested_ridge_features",
    "noise_ceiling",
    "p_value",
    "permutation_null",
    "permutations",
    "prediction_score",
    "procrustes",
    "procrustes_gram",
    "pwcca",
    "rdm",
    "rdm_noise_ceiling",
    "rdm_null",
    "rdms_by",
    "resample_time",
    "resampled_rsa",
    "ridge_null",
    "rsa",
    "rsa_choose_layer",
    "rsa_time",
    "shared",
    "signal_power",
    "similarities",
    "spatial_score",
    "stratified_folds",
    "svcca",
    "temporal_score",
    "unique_continuous",
    "variance_partition",
]
