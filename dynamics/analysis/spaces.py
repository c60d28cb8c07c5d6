"""Metrics that compare whole spaces: one score a layer and group of neuroids."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from dynamics import metrics
from dynamics.analysis import many_stimuli
from dynamics.analysis.groups import (
    blocks,
    check_groups,
    halves_within,
    rdms_of_groups,
    shuffles_within,
    side_by_side,
)
from dynamics.analysis.variables import Variables
from dynamics.brains.targets import Target
from dynamics.metrics import spaces_by_features
from dynamics.metrics.kernels import Array
from dynamics.metrics.missing import FEWEST_IN_ALL

Layers = Mapping[str, np.ndarray]
_AXES = ("layer", "subject")


def rsa(
    layers: Layers,
    target: Target,
    *,
    distance: str = "correlation",
    compare: str = "spearman",
    zscore: bool = True,
    geotopological: Sequence[float] | None = None,
    choose: str | None = "disjoint",
    by: str = "subject",
    halves: np.ndarray | None = None,
    orders: np.ndarray | None = None,
) -> Variables:
    """Compare dissimilarities of stimuli (RDMs) in layer and brain.

    Where responses are missing each pair of stimuli is taken over the neuroids that have both
    (`dynamics.metrics.pairs`), and RDMs are compared on the pairs that there are. A group of fewer
    neuroids than a distance takes has NaN.

    Parameters
    ----------
    layers : mapping of str to array of shape (n, p)
        Activations.
    target : Target
        The brain target.
    distance, compare, zscore
        As for `dynamics.metrics.rsa`.
    geotopological : (lower, upper), optional
        Quantiles between which both RDMs are stretched, see `dynamics.metrics.geotopological`.
    choose : str, optional
        How the layer of `best_score` is chosen: ``"disjoint"``, ``"pepino"`` or None.
    by : str
        One RDM a ``"subject"``, ``"region"`` or ``"subject_region"``.
    halves, orders
        Resamples and shuffles.

    Returns
    -------
    Variables
        `score` (layer, subject), `best_score` and `best_layer` (subject), `layer_share`.

    Raises
    ------
    ValueError
        As in `dynamics.metrics.rdm` and `dynamics.metrics.compare_rdms`, and if no group has as
        many neuroids as the distance takes.
    """
    asked = {"distance": distance, "compare": compare, "choose": choose}
    if many_stimuli.takes_rdms(target, asked | {"geotopological": geotopological}):
        check_groups(target, distance, by)
        return many_stimuli.rsa(
            layers, target, distance=distance, compare=compare, zscore=zscore, choose=choose,
            by=by, halves=halves, orders=orders,
        )  # fmt: skip
    return compared_rdms(
        rdms_of(layers, distance, zscore=zscore), layers, target, distance=distance,
        compare=compare, zscore=zscore, geotopological=geotopological, choose=choose, by=by,
        halves=halves, orders=orders,
    )  # fmt: skip


def rdms_of(layers: Layers, distance: str, *, zscore: bool) -> np.ndarray:
    """RDMs (layers, n, n) of layers, which are without noise."""
    own = "sqeuclidean" if distance == "crossnobis" else distance
    return np.stack([metrics.rdm(X, distance=own, zscore=zscore) for X in layers.values()])


def compared_rdms(
    every: np.ndarray,
    layers: Layers,
    target: Target,
    *,
    distance: str,
    compare: str,
    zscore: bool,
    by: str,
    geotopological: Sequence[float] | None = None,
    choose: str | None = None,
    halves: np.ndarray | None = None,
    orders: np.ndarray | None = None,
) -> Variables:
    """Compare RDMs of layers, from `rdms_of`, with those of a target; as `rsa`."""
    stretch = partial(stretched, quantiles=geotopological)
    n = every.shape[-1]
    check_groups(target, distance, by)

    def fit(rows: np.ndarray, rdms: list[np.ndarray]) -> Variables:
        part = {name: X[rows] for name, X in layers.items()}
        D = every if len(rows) == n else rdms_of(part, distance, zscore=zscore)
        E = np.stack(rdms)[:, rows][:, :, rows]
        # Of all groups here, so that both sides are ranked, stretched and scaled on these alone.
        missing = np.isnan(E[0])
        all_of_D, D = D, np.where(missing, np.nan, D) if missing.any() else D
        values: Variables = {
            "score": (_AXES, np.asarray(metrics.compare_rdms(stretch(D), stretch(E),
                                                             compare=compare)))}  # fmt: skip
        if choose is not None:
            values |= _chosen(stretch(D), stretch(E), target.folds[rows], choose, compare)
        if halves is not None and compare != "kendall":  # which would take minutes a step
            quick = compare in _QUICKLY_RESAMPLED and geotopological is None
            some = halves_within(halves, rows, n)
            again = _resampled(D, E, some, stretch, compare, quick=quick)
            values["resample_score"] = (("layer", "resample", "subject"), again)
        if orders is not None:
            shuffles = shuffles_within(orders, rows, n)
            if missing.any() and geotopological is not None:
                null = [_stretched_null(all_of_D, e, shuffles, stretch, compare) for e in E]
            else:
                null = [
                    np.asarray(metrics.rdm_null(stretch(all_of_D), e, shuffles, compare=compare))
                    for e in stretch(E)
                ]
            values |= _null(null)
        return values

    groups = rdms_of_groups(target, by, distance=distance, zscore=zscore)
    found = [(rows, D if len(columns) else columns) for D, (rows, columns) in groups]
    keys = [rows.tobytes() + np.isnan(D).tobytes() for D, (rows, _) in groups]
    return side_by_side(found, fit, keys=keys)


def _stretched_null(
    D: np.ndarray,
    e: np.ndarray,
    orders: np.ndarray,
    stretch: Callable[[np.ndarray], np.ndarray],
    compare: str,
) -> np.ndarray:
    """Scores (shuffles, layers) of RDMs stretched on the pairs that a shuffled one has."""
    missing, second, null = np.isnan(e), stretch(e), []
    for order in orders:
        back = np.argsort(order)  # Layers are shuffled the other way, which is the same.
        first = stretch(np.where(missing, np.nan, D[:, back][:, :, back]))
        null.append(np.asarray(metrics.compare_rdms(first, second[None], compare=compare))[:, 0])
    return np.stack(null)


def _chosen(
    D: np.ndarray, E: np.ndarray, folds: np.ndarray, choose: str, compare: str
) -> Variables:
    best = metrics.rsa_choose_layer(D, E, folds, choice=choose, compare=compare)
    there = np.triu(~np.isnan(E[0]), 1)
    chosen = np.asarray(best["layer"])[:, there]
    share = np.stack([(chosen == layer).mean(1) for layer in range(len(D))])
    return {
        "best_score": (("subject",), np.asarray(best["score"])),
        "best_layer": (("subject",), share.argmax(0)),
        "layer_share": (_AXES, share),
    }


def _resampled(
    D: np.ndarray,
    E: np.ndarray,
    halves: list[np.ndarray],
    stretch: Callable[[np.ndarray], np.ndarray],
    compare: str,
    *,
    quick: bool,
) -> np.ndarray:
    """Scores (layer, resample, subject) on halves of the stimuli."""
    if quick:
        counts = np.stack([np.bincount(half, minlength=D.shape[-1]) for half in halves])
        again = np.asarray(metrics.resampled_rsa(D, E, counts, compare=compare))
        return again.transpose(1, 0, 2)
    return np.stack(
        [
            metrics.compare_rdms(
                stretch(D[:, rows][:, :, rows]), stretch(E[:, rows][:, :, rows]), compare=compare
            )
            if len(rows) > 2
            else np.full((len(D), len(E)), np.nan)
            for rows in map(np.sort, halves)
        ],
        1,
    )


_QUICKLY_RESAMPLED = ("spearman", "pearson", "cosine")


def stretched(D: np.ndarray, quantiles: Sequence[float] | None) -> np.ndarray:
    """Apply the geo-topological transform to RDMs (d, n, n), if any is asked for."""
    if quantiles is None:
        return D
    if np.shape(quantiles) != (2,):
        raise ValueError(f"geotopological is {quantiles!r}: give two quantiles, [lower, upper]")
    lower, upper = quantiles
    return np.asarray(metrics.geotopological(D, lower=lower, upper=upper))


def cka(
    layers: Layers,
    target: Target,
    *,
    debiased: bool = True,
    by: str = "subject",
    halves: np.ndarray | None = None,
    orders: np.ndarray | None = None,
) -> Variables:
    """Compare spaces by linear centred kernel alignment, debiased by default.

    Parameters
    ----------
    debiased : bool
        Whether the form without the bias of few stimuli is used.
    by
        As for `rsa`.
    """
    if many_stimuli.is_many(target):
        form = many_stimuli.cka_form(debiased=debiased)
        return many_stimuli.compared(form, layers, target, by=by, halves=halves, orders=orders)
    return _from_grams(
        metrics.cka_gram, metrics.gram, layers, target, by, halves, orders, debiased=debiased
    )


def procrustes(
    layers: Layers,
    target: Target,
    *,
    by: str = "subject",
    halves: np.ndarray | None = None,
    orders: np.ndarray | None = None,
) -> Variables:
    """Compare spaces after the best rotation: cosine of the Procrustes angle.

    Parameters
    ----------
    by
        As for `rsa`.
    """
    if many_stimuli.is_many(target):
        form = many_stimuli.procrustes_form()
        values = many_stimuli.compared(form, layers, target, by=by, halves=halves, orders=orders)
    else:
        values = _from_grams(
            metrics.procrustes_gram, metrics.gram, layers, target, by, halves, orders
        )
    return {name: (axes, np.cos(angle)) for name, (axes, angle) in values.items()}


def mutual_knn(
    layers: Layers,
    target: Target,
    *,
    k: int = 10,
    by: str = "subject",
    halves: np.ndarray | None = None,
    orders: np.ndarray | None = None,
) -> Variables:
    """Count which part of the k nearest stimuli layer and brain share.

    Parameters
    ----------
    k : int
        How many neighbours.
    by
        As for `rsa`.
    """
    if many_stimuli.is_many(target):
        form, least = many_stimuli.knn_form(k=k), max(4, k + 1)
        return many_stimuli.compared(
            form, layers, target, by=by, halves=halves, orders=orders, least=least
        )
    return _from_grams(metrics.mutual_knn_gram, _products, layers, target, by, halves, orders, k=k)


def svcca(
    layers: Layers,
    target: Target,
    *,
    variance: float = 0.99,
    rank: int | None = None,
    by: str = "subject",
    halves: np.ndarray | None = None,
    orders: np.ndarray | None = None,
) -> Variables:
    """Correlate leading components canonically, cross-validated over stimuli.

    Parameters
    ----------
    variance, rank
        As for `dynamics.metrics.svcca`.
    by
        As for `rsa`.
    """
    score = partial(metrics.svcca, variance=variance, rank=rank)
    return _canonical(score, layers, target, by, orders)


def pwcca(
    layers: Layers,
    target: Target,
    *,
    variance: float = 0.99,
    rank: int | None = None,
    by: str = "subject",
    halves: np.ndarray | None = None,
    orders: np.ndarray | None = None,
) -> Variables:
    """Correlate canonically, weighted by what projects on the layer, cross-validated.

    Parameters
    ----------
    variance, rank
        As for `dynamics.metrics.pwcca`.
    by
        As for `rsa`.
    """
    score = partial(metrics.pwcca, variance=variance, rank=rank)
    return _canonical(score, layers, target, by, orders)


def effective_dimensionality(
    layers: Layers,
    target: Target,
    *,
    halves: np.ndarray | None = None,
    orders: np.ndarray | None = None,
) -> Variables:
    """Count each layer's dimensions by the participation ratio; looks at no brain."""
    count = metrics.effective_dimensionality
    if many_stimuli.is_many(target):
        count = spaces_by_features.effective_dimensionality
    score = [count(X) for X in layers.values()]
    return {"score": (("layer",), np.array(score))}


def _products(X: np.ndarray) -> np.ndarray:
    return X @ X.T


def _from_grams(
    metric: Callable[..., Any],
    gram: Callable[[np.ndarray], Any],
    layers: Layers,
    target: Target,
    by: str,
    halves: np.ndarray | None,
    orders: np.ndarray | None,
    **arguments,
) -> Variables:
    """Compare Gram matrices of layers and groups of neuroids."""
    every = np.stack([gram(X) for X in layers.values()])
    return compared_spaces(
        metric, gram, every, target, by=by, halves=halves, orders=orders, **arguments
    )


def compared_grams(every: np.ndarray, target: Target, **options: Any) -> Variables:
    """Compare Gram matrices (layers, n, n) with those of a target; as `cka`."""
    return compared_spaces(metrics.cka_gram, metrics.gram, every, target, **options)


def compared_spaces(
    metric: Callable[..., Any],
    gram: Callable[[np.ndarray], Any],
    every: np.ndarray,
    target: Target,
    *,
    by: str,
    halves: np.ndarray | None,
    orders: np.ndarray | None,
    **arguments: Any,
) -> Variables:
    """Compare the matrices of layers and groups of neuroids; again on halves, and shuffled."""
    n, Y = every.shape[-1], target.mean_response
    least = max(4, arguments.get("k", 0) + 1)

    def fit(rows: np.ndarray, columns: list[np.ndarray]) -> Variables:
        whole = len(rows) == n
        K = every if whole else every[:, rows][:, :, rows]
        L = np.stack([gram(Y[np.ix_(rows, who)]) for who in columns])
        values: Variables = {"score": (_AXES, np.asarray(metric(K, L, **arguments)))}
        if halves is not None:
            again = [
                metric(K[:, half][:, :, half], L[:, half][:, :, half], **arguments)
                if whole or len(half) >= least
                else np.full((len(K), len(L)), np.nan)
                for half in halves_within(halves, rows, n)
            ]
            values["resample_score"] = (("layer", "resample", "subject"), np.stack(again, 1))
        if orders is not None:
            own = shuffles_within(orders, rows, n)
            values |= _null([metrics.gram_null(metric, K, each, own, **arguments) for each in L])
        return values

    fewest = max(FEWEST_IN_ALL, least)
    return side_by_side(blocks(target, by, fewest=fewest), fit)


def _canonical(
    score: Callable[..., float],
    layers: Layers,
    target: Target,
    by: str,
    orders: np.ndarray | None,
) -> Variables:
    n, Y = len(target.folds), target.mean_response

    def fit(rows: np.ndarray, columns: list[np.ndarray]) -> Variables:
        compare = partial(score, folds=target.folds[rows])
        responses = [Y[np.ix_(rows, who)] for who in columns]
        some = [X[rows] for X in layers.values()]
        table = [[compare(X, each) for each in responses] for X in some]
        values: Variables = {"score": (_AXES, np.array(table, dtype=float))}
        if orders is not None:
            own = shuffles_within(orders, rows, n)
            null = [
                np.stack(
                    [np.asarray(metrics.permutation_null(compare, X, each, own)) for X in some], 1
                )
                for each in responses
            ]
            values |= _null(null)
        return values

    # Correlations within a fold of two stimuli are perfect whatever the data.
    return side_by_side(blocks(target, by, in_fold=3), fit)


def _null(by_group: Sequence[Array]) -> Variables:
    """Stack nulls (permutation, layer) of every group of neuroids."""
    stacked = np.stack([np.asarray(null) for null in by_group], -1)
    return {"null_score": (("layer", "permutation", "subject"), stacked.swapaxes(0, 1))}
