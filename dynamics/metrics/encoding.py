"""Encoding score of layers for a brain target, by named protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from dynamics.metrics.ceilings import divisor, noise_ceiling
from dynamics.metrics.folds import make_folds
from dynamics.metrics.kernels import (
    Array,
    activations,
    as_tensor,
    check_layers,
    grams,
    like,
    responses,
    same_rows,
)
from dynamics.metrics.missing import by_pattern, check_handling, over_repetitions
from dynamics.metrics.pepino import pepino_ridge
from dynamics.metrics.ridge import nested_ridge_features
from dynamics.metrics.tuckute import tuckute_ridge
from dynamics.metrics.validation import takes


@takes(layers="layers", Y="responses")
def encode(
    layers: Array | Mapping[str, Array],
    Y: Array,
    *,
    protocol: str = "default",
    folds: int | Array | None = None,
    alphas: Array | None = None,
    seed: int = 0,
    categories: Sequence | None = None,
    groups: Sequence | None = None,
    missing: str = "error",
) -> dict[str, Array]:
    """Predict every neuroid from one layer or several by ridge regression.

    A constant neuroid has NaN scores (0 by the rules of ``"pepino"`` and ``"tuckute"``), a constant
    feature adds nothing, and a prediction that is constant scores 0.

    Parameters
    ----------
    layers : array of shape (n, p) or mapping of names to such arrays
        Activations, finite floats; p may differ between layers.
    Y : array of shape (n, v) or (n, v, repetitions)
        Responses, any unit. Repetitions are averaged before fitting and give a noise-corrected
        score beside the plain one.
    protocol : str
        A name in `PROTOCOLS`. ``"default"``: nested cross-validation, see `nested_ridge`.
        ``"pepino"``: Pepino et al. 2025, arXiv:2511.16849, see `pepino_ridge`. ``"tuckute"``:
        Tuckute, Feather et al. 2023, PLoS Biol 21(12):e3002366, see `tuckute_ridge`.
    folds : array of shape (n,) or int, optional
        Fold of each stimulus, or how many folds to make (5). ``"tuckute"`` makes its own splits.
    alphas : array of shape (a,), optional
        Penalties in the units of X X'; by default the protocol's own.
    seed : int
        Seed of the folds.
    categories : sequence of length n, optional
        Categories by which new folds are stratified.
    groups : sequence of length n, optional
        Stimuli of one group never straddle training and test.
    missing : str
        What to do with responses that are not finite: ``"error"`` names the first neuroid that
        has one; ``"mask"`` averages the repetitions that there are, and fits and scores every
        neuroid on the stimuli that it has, those with the same ones together. One with fewer than
        2 in a fold gets NaN (-1 where the result is an index).

    Returns
    -------
    dict of arrays
        ``r2``, ``r`` (v,): score with the layer chosen inside the training folds; ``layer``,
        ``alpha`` (folds, v); ``layer_r``, ``layer_r2`` (layers, v): one score a layer;
        ``layer_names`` (layers,); ``folds`` (n,); ``alpha_edge``; and what else the protocol has.
        With repetitions the default adds ``ceiling`` (v,), see `noise_ceiling`, and
        ``r2_corrected`` (v,), ``layer_r2_corrected`` (layers, v): r^2 divided by the reliability
        of the averaged responses, NaN where that is below `LEAST_RELIABILITY`.

    Raises
    ------
    TypeError
        If activations are integers or booleans.
    ValueError
        If the protocol is unknown, rows do not match, a value is not finite, an alpha is not
        positive, or the folds cannot be made: with fewer stimuli (or groups) than folds, a
        category with fewer members than folds, or fewer than 3 folds.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"there is no protocol {protocol!r}: use one of {', '.join(PROTOCOLS)}")
    named = check_layers(layers)
    given = next(iter(named.values()))
    same_rows(given, Y, names=(f"layer {next(iter(named))!r}", "Y"))
    tensors = {name: activations(X, name=name) for name, X in named.items()}
    check_handling(missing)
    target = as_tensor(Y).to(next(iter(tensors.values())).device)
    target = target[:, None] if target.ndim == 1 else target
    if missing == "error" or target.ndim not in (2, 3):
        target = responses(target)

    def make() -> np.ndarray:
        return make_folds(len(target), folds=folds, seed=seed, categories=categories, groups=groups)

    if protocol == "tuckute" and (folds is not None or groups is not None):
        raise ValueError("the tuckute protocol draws its own splits: give neither folds nor groups")
    if torch.isfinite(as_tensor(over_repetitions(target))).all():
        result = PROTOCOLS[protocol](tensors, target, make, alphas, seed)
    else:
        result = _masked(PROTOCOLS[protocol], tensors, target, make, alphas, seed)
    result = {name: like(value, given, Y) for name, value in result.items()}
    return result | {"layer_names": np.array(list(named))}


def _masked(protocol: Callable, layers, Y, make, alphas, seed) -> dict:
    """Every neuroid on the stimuli that it has."""
    folds = None if protocol is _tuckute else make()

    def fit(rows: np.ndarray, members: np.ndarray) -> dict:
        some = {name: X[rows] for name, X in layers.items()}
        part = None if folds is None else folds[rows]
        found = protocol(some, Y[rows][:, members], lambda: part, alphas, seed)
        found.pop("folds", None)
        if "prediction" in found:
            whole = Y.new_full((len(Y), len(members)), torch.nan)
            whole[rows] = found["prediction"]
            found["prediction"] = whole
        return found

    out = by_pattern(fit, Y, folds)
    return out if folds is None else out | {"folds": torch.as_tensor(folds, device=Y.device)}


def _default(layers, Y, make, alphas, seed) -> dict:
    folds = make()
    result = nested_ridge_features(layers, over_repetitions(Y), folds, alphas)
    if Y.ndim == 3 and Y.shape[2] > 1:
        noise = noise_ceiling(Y, missing="mask")
        usable = divisor(as_tensor(noise["reliability"]))
        result["ceiling"] = noise["ceiling"]
        result["r2_corrected"] = result["r2"] / usable
        result["layer_r2_corrected"] = result["layer_r2"] / usable
    return result | {"folds": torch.as_tensor(folds, device=Y.device)}


def _pepino(layers, Y, make, alphas, seed) -> dict:
    folds = make()
    K, features = grams(layers)[1], list(layers.values())
    result = pepino_ridge(K, over_repetitions(Y), folds, alphas, features=features)
    return result | {"folds": torch.as_tensor(folds, device=Y.device)}


def _tuckute(layers, Y, make, alphas, seed) -> dict:
    features = list(layers.values())
    return tuckute_ridge(grams(layers)[1], Y, alphas, seed=seed, features=features)


PROTOCOLS: dict[str, Callable] = {"default": _default, "pepino": _pepino, "tuckute": _tuckute}
