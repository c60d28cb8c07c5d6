"""Measures of how alike a representation and the brain are: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Callable

from dynamics.metrics.encode import PROTOCOLS, encode
from dynamics.metrics.folds import stratified_folds
from dynamics.metrics.gram import centre, gram, grams
from dynamics.metrics.rdm import DISTANCES, rdm
from dynamics.metrics.ridge import default_alphas, nested_ridge
from dynamics.metrics.rsa import COMPARISONS, compare_rdms, rsa

METRICS: dict[str, Callable] = {"ridge": encode, "rsa": rsa}

__all__ = [
    "COMPARISONS",
    "DISTANCES",
    "METRICS",
    "PROTOCOLS",
    "centre",
    "compare_rdms",
    "default_alphas",
    "encode",
    "gram",
    "grams",
    "nested_ridge",
    "rdm",
    "rsa",
    "stratified_folds",
]
