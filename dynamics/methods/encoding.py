"""Metrics that predict every neuroid: one score a layer and neuroid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from dynamics import metrics
from dynamics.methods.variables import Variables
from dynamics.metrics import refit
from dynamics.metrics.null import columns_null
from dynamics.targets import Target

Layers = Mapping[str, np.ndarray]

_RIDGE = {
    "layer_r": ("score", ("layer", "neuroid")),
    "layer_r2": ("r2", ("layer", "neuroid")),
    "layer_r2_corrected": ("r2_corrected", ("layer", "neuroid")),
    "fold_r": ("fold_score", ("layer", "split", "neuroid")),
    "r": ("best_score", ("neuroid",)),
    "r2": ("best_r2", ("neuroid",)),
    "layer": ("best_layer", ("split", "neuroid")),
}


def ridge(
    layers: Layers,
    target: Target,
    *,
    protocol: str = "default",
    alphas: Sequence[float] | None = None,
    missing: str = "error",
    seed: int = 0,
    halves: np.ndarray | None = None,
    orders: np.ndarray | None = None,
) -> Variables:
    """Predict every neuroid from each layer, and from the best one, by ridge regression.

    Parameters
    ----------
    layers : mapping of str to array of shape (n, p)
        Activations.
    target : Target
        The brain target.
    protocol, alphas, missing, seed
        As for `dynamics.metrics.encode`.
    halves, orders
        Resamples and shuffles.

    Returns
    -------
    Variables
        `score`, `r2` (layer, neuroid), `fold_score`, `best_score`, `best_r2`, `best_layer`.

    Raises
    ------
    ValueError
        As for `dynamics.metrics.encode`.
    """
    given: dict[str, Any] = {"protocol": protocol, "seed": seed, "missing": missing}
    if alphas is not None:
        given["alphas"] = np.asarray(alphas, float)
    if protocol != "tuckute":
        given["folds"] = target.folds
    found = metrics.encode(dict(layers), target.response, **given)
    values: Variables = {
        name: (axes, np.asarray(found[key]))
        for key, (name, axes) in _RIDGE.items()
        if key in found and np.ndim(found[key]) == len(axes)
    }
    if halves is not None and protocol == "default":
        K = metrics.grams(dict(layers))[1]
        again = refit.refit_ridge(K, target.mean_response, target.folds, halves, alphas)
        values["resample_score"] = (("layer", "resample", "neuroid"), np.asarray(again))
    if orders is not None:
        # Only one protocol looks at single repetitions.
        responses = target.response if protocol == "tuckute" else target.mean_response
        score = partial(metrics.encode, dict(layers), **given)
        null = columns_null(lambda Y: score(Y.numpy()), responses, orders, ("layer_r", "r"))
        values |= _null(null["layer_r"], null["r"])
    return values


def banded(
    layers: Layers,
    target: Target,
    *,
    candidates: int = 100,
    seed: int = 0,
    halves: np.ndarray | None = None,
    orders: np.ndarray | None = None,
) -> Variables:
    """Predict every neuroid from all layers together, one ridge penalty a layer.

    Parameters
    ----------
    layers : mapping of str to array of shape (n, p)
        Activations.
    target : Target
        The brain target.
    candidates, seed
        As for `dynamics.metrics.banded_ridge`.
    halves, orders
        Resamples (not used) and shuffles.

    Returns
    -------
    Variables
        `score` (layer, neuroid): what each layer contributes, shares that add up to the part of
        variance explained; `total_score`, `total_r2` (neuroid); `weight` (layer, split, neuroid).

    Raises
    ------
    ValueError
        As for `dynamics.metrics.banded_ridge`.
    """
    K = metrics.grams(dict(layers))[1]
    fit = partial(metrics.banded_ridge, K, folds=target.folds, candidates=candidates, seed=seed)
    found = fit(target.mean_response)
    values: Variables = {
        "score": (("layer", "neuroid"), np.asarray(found["layer_share"])),
        "total_score": (("neuroid",), np.asarray(found["r"])),
        "total_r2": (("neuroid",), np.asarray(found["r2"])),
        "weight": (("layer", "split", "neuroid"), np.asarray(found["weights"]).transpose(2, 0, 1)),
    }
    if orders is not None:
        null = columns_null(
            lambda Y: fit(Y.numpy()), target.mean_response, orders, ("layer_share", "r")
        )
        values |= _null(null["layer_share"], null["r"])
        values["null_total_score"] = values.pop("null_best_score")
    return values


def variance_partition(
    layers: Layers,
    target: Target,
    *,
    candidates: int = 30,
    seed: int = 0,
    halves: np.ndarray | None = None,
    orders: np.ndarray | None = None,
) -> Variables:
    """Divide r^2 into what a layer adds to the baseline model, what that adds, and the rest.

    Parameters
    ----------
    layers : mapping of str to array of shape (n, p)
        Activations.
    target : Target
        The brain target, with the features of the baseline.
    candidates, seed
        As for `dynamics.metrics.variance_partition`.
    halves, orders
        Resamples (not used) and shuffles.

    Returns
    -------
    Variables
        (layer, neuroid): `score` and `unique_r2` (the same), `baseline_unique_r2`, `shared_r2`,
        `total_r2`, `layer_r2`; `baseline_r2` (neuroid). The null has no relation of the target to
        either model.

    Raises
    ------
    ValueError
        If the target has no baseline, and as for `dynamics.metrics.variance_partition`.
    """
    if target.baseline is None:
        raise ValueError(
            "variance_partition needs a baseline model to compare with: add the key `baseline`"
        )
    L = metrics.gram(target.baseline, name="baseline")
    fit = partial(metrics.variance_partition, folds=target.folds, candidates=candidates, seed=seed)
    grams = [metrics.gram(X, name=name) for name, X in layers.items()]
    found = [fit(K, L, target.mean_response) for K in grams]
    parts = {
        "score": "unique_first",
        "unique_r2": "unique_first",
        "baseline_unique_r2": "unique_second",
        "shared_r2": "shared",
        "total_r2": "both",
        "layer_r2": "first",
    }
    axes = ("layer", "neuroid")
    values: Variables = {
        name: (axes, np.stack([each[key] for each in found])) for name, key in parts.items()
    }
    values["baseline_r2"] = (("neuroid",), np.asarray(found[0]["second"]))
    if orders is not None:
        null = []
        for K in grams:
            score = partial(fit, K, L)
            shuffled = columns_null(
                lambda Y, score=score: score(Y.numpy()),
                target.mean_response,
                orders,
                ("unique_first",),
            )
            null.append(shuffled["unique_first"].numpy())
        values["null_score"] = (("layer", "permutation", "neuroid"), np.stack(null))
    return values


def _null(by_layer, best) -> Variables:
    """Name nulls (permutation, layer, neuroid) and (permutation, neuroid)."""
    axes = ("layer", "permutation", "neuroid")
    return {
        "null_score": (axes, np.asarray(by_layer).swapaxes(0, 1)),
        "null_best_score": (("permutation", "neuroid"), np.asarray(best)),
    }
