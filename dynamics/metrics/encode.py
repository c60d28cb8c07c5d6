"""Encoding score of layers for a brain target, by named protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from dynamics.metrics.ceilings import noise_ceiling
from dynamics.metrics.folds import make_folds
from dynamics.metrics.gram import (
    Array,
    activations,
    as_tensor,
    check_layers,
    grams,
    like,
    responses,
    same_rows,
)
from dynamics.metrics.pepino import pepino_ridge
from dynamics.metrics.ridge import nested_ridge_features
from dynamics.metrics.tuckute import tuckute_ridge


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
        What to do with neuroids that have a value that is not finite: ``"error"`` names the
        first, ``"mask"`` leaves them out and gives them NaN (-1 where the result is an index).

    Returns
    -------
    dict of arrays
        ``r2``, ``r`` (v,): score with the layer chosen inside the training folds; ``layer``,
        ``alpha`` (folds, v); ``layer_r``, ``layer_r2`` (layers, v): one score a layer;
        ``layer_names`` (layers,); ``folds`` (n,); ``alpha_edge``; and what else the protocol has.
        With repetitions the default adds ``ceiling`` (v,), see `noise_ceiling`, and
        ``r2_corrected`` (v,), ``layer_r2_corrected`` (layers, v): r^2 divided by the reliability
        of the averaged responses, NaN where that is not positive.

    Raises
    ------
    TypeError
        If activations are integers or booleans.
    ValueError
        If the protocol is unknown, rows do not match, a value is not finite, an alpha is not
        positive, or the folds cannot be made.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"there is no protocol {protocol!r}: use one of {', '.join(PROTOCOLS)}")
    named = check_layers(layers)
    given = next(iter(named.values()))
    same_rows(given, Y, names=(f"layer {next(iter(named))!r}", "Y"))
    tensors = {name: activations(X, name=name) for name, X in named.items()}
    target, kept = _finite_neuroids(Y, missing)
    target = target.to(next(iter(tensors.values())).device)

    def make() -> np.ndarray:
        return make_folds(len(target), folds=folds, seed=seed, categories=categories, groups=groups)

    if protocol == "tuckute" and (folds is not None or groups is not None):
        raise ValueError("the tuckute protocol draws its own splits: give neither folds nor groups")
    result = PROTOCOLS[protocol](tensors, target, make, alphas, seed)
    per_neuroid = result.keys() - {"folds", "alpha_edge"}
    if not kept.all():
        result |= {name: _spread(result[name], kept) for name in per_neuroid}
    result = {name: like(value, given, Y) for name, value in result.items()}
    return result | {"layer_names": np.array(list(named))}


def _finite_neuroids(Y: Array, missing: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Check responses; return those of the neuroids to use, and which of all these are."""
    if missing not in ("error", "mask"):
        raise ValueError(f"missing is {missing!r}: use one of error, mask")
    tensor = as_tensor(Y)
    tensor = tensor[:, None] if tensor.ndim == 1 else tensor
    finite = torch.isfinite(tensor.movedim(1, 0).flatten(1)).all(1)
    if missing == "mask" and finite.any():
        return responses(tensor[:, finite]), finite
    return responses(tensor), torch.ones_like(finite)


def _spread(value: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Put the last axis' neuroids back among those left out."""
    fill = torch.nan if value.is_floating_point() else -1
    full = value.new_full((*value.shape[:-1], len(kept)), fill)
    full[..., kept.to(value.device)] = value
    return full


def _default(layers, Y, make, alphas, seed) -> dict:
    folds = make()
    mean = Y.mean(2) if Y.ndim == 3 else Y
    result = nested_ridge_features(layers, mean, folds, alphas)
    if Y.ndim == 3 and Y.shape[2] > 1:
        noise = noise_ceiling(Y)
        reliability = as_tensor(noise["reliability"])
        usable = torch.where(reliability > 0, reliability, torch.nan)
        result["ceiling"] = noise["ceiling"]
        result["r2_corrected"] = result["r2"] / usable
        result["layer_r2_corrected"] = result["layer_r2"] / usable
    return result | {"folds": torch.as_tensor(folds)}


def _pepino(layers, Y, make, alphas, seed) -> dict:
    folds = make()
    result = pepino_ridge(grams(layers)[1], Y.mean(2) if Y.ndim == 3 else Y, folds, alphas)
    return result | {"folds": torch.as_tensor(folds)}


def _tuckute(layers, Y, make, alphas, seed) -> dict:
    return tuckute_ridge(grams(layers)[1], Y, alphas, seed=seed)


PROTOCOLS: dict[str, Callable] = {"default": _default, "pepino": _pepino, "tuckute": _tuckute}
