"""Encoding score of layers for a brain target, by named protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dynamics.metrics.folds import make_folds
from dynamics.metrics.gram import Array, as_tensor, grams, like, responses, same_rows
from dynamics.metrics.pepino import pepino_ridge
from dynamics.metrics.ridge import nested_ridge


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
) -> dict[str, Array]:
    """Predict every neuroid from one layer or several by ridge regression.

    Parameters
    ----------
    layers : array of shape (n, p) or mapping of names to such arrays
        Activations, finite floats; p may differ between layers.
    Y : array of shape (n, v) or (n, v, repetitions)
        Responses, any unit. Repetitions are averaged before fitting.
    protocol : str
        A name in `PROTOCOLS`. ``"default"``: nested cross-validation, see `nested_ridge`.
        ``"pepino"``: Pepino et al. 2025, arXiv:2511.16849, see `pepino_ridge`.
    folds : array of shape (n,) or int, optional
        Fold of each stimulus, or how many folds to make (5).
    alphas : array of shape (a,), optional
        Penalties in the units of X X'; by default the protocol's own.
    seed : int
        Seed of the folds.
    categories : sequence of length n, optional
        Categories by which new folds are stratified.
    groups : sequence of length n, optional
        Stimuli of one group never straddle training and test.

    Returns
    -------
    dict of arrays
        ``r2``, ``r`` (v,): score with the layer chosen inside the training folds; ``layer``,
        ``alpha`` (folds, v); ``layer_r``, ``layer_r2`` (layers, v): one score a layer;
        ``layer_names`` (layers,); ``folds`` (n,); ``alpha_edge``; and what else the protocol has.

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
    names, K = grams(layers)
    same_rows(K[0], Y, names=(f"layer {names[0]!r}", "Y"))
    given, K = K, as_tensor(K)
    target = responses(Y).to(K.device)
    if target.ndim == 3:
        target = target.mean(2)
    fold = make_folds(len(target), folds=folds, seed=seed, categories=categories, groups=groups)
    result = PROTOCOLS[protocol](K, target, fold, alphas)
    result = {name: like(value, given, Y) for name, value in result.items()}
    return result | {"folds": fold, "layer_names": np.array(names)}


PROTOCOLS: dict[str, Callable] = {"default": nested_ridge, "pepino": pepino_ridge}
