"""Metrics of whole spaces where there are thousands of stimuli: layer by layer, half by half.

The numbers are those of `dynamics.analysis.spaces`, to rounding; what is held at a time is a few
RDMs, or none at all where a space is compared by its features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations_with_replacement
from typing import Any, NamedTuple

import numpy as np
import torch

from dynamics.analysis.groups import (
    blocks,
    fewest_for,
    halves_within,
    shuffles_within,
    side_by_side,
)
from dynamics.analysis.variables import Variables
from dynamics.brains.targets import Target
from dynamics.metrics import many_stimuli as rdms
from dynamics.metrics import spaces_by_features as spaces
from dynamics.metrics.factorisation import MANY
from dynamics.metrics.missing import FEWEST_IN_ALL

Layers = Mapping[str, np.ndarray]
_AXES = ("layer", "subject")

HELD = 2**30
"""Bytes of entries of RDMs of layers, and of groups of neuroids, that are held at a time."""


def is_many(target: Target) -> bool:
    """Whether a target has so many stimuli that its spaces are compared here."""
    return len(target.folds) > MANY


def takes_rdms(target: Target, arguments: Mapping[str, Any]) -> bool:
    """Whether RDMs of a target are compared here, by the arguments of `rsa`."""
    return (
        is_many(target)
        and arguments.get("compare", "spearman") in rdms.COMPARED
        and arguments.get("choose", "disjoint") in ("disjoint", None)
        and arguments.get("geotopological") is None
        and bool(np.isfinite(_responses(target, arguments.get("distance", "correlation"))).all())
    )


def rsa(
    layers: Layers,
    target: Target,
    *,
    distance: str,
    compare: str,
    zscore: bool,
    choose: str | None,
    by: str,
    halves: np.ndarray | None,
    orders: np.ndarray | None,
) -> Variables:
    """Compare dissimilarities of stimuli in layer and brain, as `dynamics.analysis.spaces.rsa`."""
    job = _Rdms(layers, target, distance, compare, zscore)
    columns = [members & target.live for members in target.groups(by).values()]
    fewest = fewest_for(distance)
    usable = [number for number, own in enumerate(columns) if own.sum() >= fewest]
    if not usable:
        raise ValueError("no group of neuroids can be compared: leave out those that do not vary")
    again = [] if halves is None else [np.sort(half[half >= 0]) for half in halves]
    apart = _folds_apart(target.folds) if choose is not None else {}
    subsets = [None, *(torch.as_tensor(rows) for rows in (*again, *apart.values()))]
    shape = (len(layers), len(columns))
    table = np.full((len(subsets), *shape), np.nan)
    shuffles = np.empty((0, job.n), int) if orders is None else orders
    null = np.full((len(shuffles), *shape), np.nan)
    values: Variables = {}
    if choose is not None:
        values["best_score"] = (("subject",), np.full(len(columns), np.nan))
        values["best_layer"] = (("subject",), np.full(len(columns), -1))
        values["layer_share"] = (_AXES, np.full(shape, np.nan))
    for some in job.cut(usable):
        theirs = [job.of_group(columns[number]) for number in some]
        for part in job.cut(range(len(layers))):
            mine = [job.of_layer(number) for number in part]
            at = np.ix_(range(len(subsets)), part, some)
            table[at] = rdms.scores(mine, theirs, job.n, subsets).numpy()
            for number, other in zip(some, theirs) if len(shuffles) else ():
                found = torch.stack(list(rdms.null_scores(mine, other, job.n, shuffles)))
                null[:, part, number] = found.numpy()
            del mine
        for number, other in zip(some, theirs) if apart else ():
            chosen = table[len(again) + 1 :, :, number]
            best = _chosen(job, other, dict(zip(apart, chosen)))
            for name, found in best.items():
                values[name][1][..., number] = found
    values = {"score": (_AXES, table[0]), **values}
    if halves is not None:
        resampled = table[1 : len(again) + 1].swapaxes(0, 1)
        values["resample_score"] = (("layer", "resample", "subject"), resampled)
    if orders is not None:
        values["null_score"] = (("layer", "permutation", "subject"), null.swapaxes(0, 1))
    return values


class _Rdms(NamedTuple):
    """Layers and responses of which RDMs are made, and how."""

    layers: Layers
    target: Target
    distance: str
    compare: str
    zscore: bool

    @property
    def n(self) -> int:
        return len(self.target.folds)

    def cut(self, numbers: Sequence[int]) -> Iterator[list[int]]:
        """Cut numbers of RDMs into parts that may be held at a time."""
        size = 4 if self.compare == "spearman" else 8
        many = max(1, HELD // (size * self.n * (self.n - 1) // 2))
        for start in range(0, len(numbers), many):
            yield list(numbers[start : start + many])

    def entries(self, layer: int) -> torch.Tensor:
        own = "sqeuclidean" if self.distance == "crossnobis" else self.distance
        return rdms.entries(list(self.layers.values())[layer], distance=own, zscore=self.zscore)

    def of_layer(self, layer: int) -> rdms.Side:
        return rdms.side(self.entries(layer), self.compare)

    def of_group(self, members: np.ndarray) -> rdms.Side:
        return rdms.side(entries_of(self.target, members, self.distance, self.zscore), self.compare)


def entries_of(target: Target, members: np.ndarray, distance: str, zscore: bool) -> torch.Tensor:
    """Distances of all pairs of stimuli over some neuroids of a target, (pairs,)."""
    values = _responses(target, distance)[:, members & target.live]
    return rdms.entries(values, distance=distance, zscore=zscore)


def _responses(target: Target, distance: str) -> np.ndarray:
    return target.response if distance == "crossnobis" else target.mean_response


def _folds_apart(folds: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """Stimuli of the other folds, for every pair of folds."""
    number = np.unique(folds, return_inverse=True)[1]
    many = int(number.max()) + 1
    if many < 3:
        raise ValueError(f"{many} folds leave none to choose a layer on: give at least 3")
    pairs = combinations_with_replacement(range(many), 2)
    return {pair: np.flatnonzero(~np.isin(number, pair)) for pair in pairs}


def _chosen(
    job: _Rdms, other: rdms.Side, scores: Mapping[tuple[int, int], np.ndarray]
) -> dict[str, Any]:
    """Choose a layer for the pairs of every two folds, and score what is put together of them."""
    folds = np.unique(job.target.folds, return_inverse=True)[1]
    sizes, many = np.bincount(folds), len(job.layers)
    layer_of, share = np.zeros((len(sizes), len(sizes)), int), np.zeros(many)
    for (f, g), each in scores.items():
        layer_of[f, g] = layer_of[g, f] = best = np.nan_to_num(each, nan=-np.inf).argmax()
        share[best] += sizes[f] * (sizes[f] - 1) / 2 if f == g else sizes[f] * sizes[g]
    if (layer_of == layer_of[0, 0]).all():
        mine = job.of_layer(int(layer_of[0, 0]))
    else:
        made = rdms.stitched(job.entries, torch.as_tensor(layer_of), torch.as_tensor(folds))
        mine = rdms.side(made, job.compare)
        del made
    score = float(rdms.scores([mine], [other], job.n, [None]))
    share = share / share.sum()
    return {"best_score": score, "best_layer": share.argmax(), "layer_share": share}


class Form(NamedTuple):
    """How a metric sees a space of many stimuli, compares two of them, and shuffles one."""

    prepare: Callable[[np.ndarray], Any]
    compare: Callable[[Any, Any], float]
    shuffle: Callable[[Any, torch.Tensor], Any]


def cka_form(*, debiased: bool = True) -> Form:
    """Return the form of CKA."""
    return Form(
        lambda X: spaces.cka_space(X, debiased=debiased),
        lambda a, b: spaces.cka(a, b, debiased=debiased),
        spaces.Space.shuffled,
    )


def procrustes_form() -> Form:
    """Return the form of the Procrustes distance."""
    return Form(spaces.procrustes_space, spaces.procrustes, spaces.Space.shuffled)


def knn_form(*, k: int = 10) -> Form:
    """Return the form of mutual nearest neighbours."""
    return Form(
        lambda X: spaces.neighbours(X, k),
        spaces.shared_neighbours,
        lambda near, order: order.argsort()[near[order]].sort(-1).values,
    )


def compared(
    form: Form,
    layers: Layers,
    target: Target,
    *,
    by: str,
    halves: np.ndarray | None,
    orders: np.ndarray | None,
    least: int = 4,
) -> Variables:
    """Compare layers and groups of neuroids as spaces; again on halves, and shuffled.

    Parameters
    ----------
    form : Form
        Of the metric.
    layers, target, by, halves, orders
        As for `dynamics.analysis.spaces.cka`.
    least : int
        Stimuli below which there is no score.

    Returns
    -------
    Variables
        As `dynamics.analysis.spaces.compared_spaces`.
    """
    n, Y = len(target.folds), target.mean_response

    def fit(rows: np.ndarray, columns: list[np.ndarray]) -> Variables:
        responses = [Y[np.ix_(rows, who)] for who in columns]
        subsets = [np.arange(len(rows))]
        if halves is not None:
            subsets += halves_within(halves, rows, n)
        shuffles = () if orders is None else torch.as_tensor(shuffles_within(orders, rows, n))
        table = np.full((len(subsets), len(layers), len(columns)), np.nan)
        null = np.full((len(shuffles), len(layers), len(columns)), np.nan)
        for number, some in enumerate(subsets):
            if len(some) < least:
                continue
            theirs = [form.prepare(each[some]) for each in responses]
            for place, X in enumerate(layers.values()):
                mine = form.prepare(X[rows[some]])
                table[number, place] = [form.compare(mine, other) for other in theirs]
                for k, order in enumerate(shuffles if number == 0 else ()):
                    null[k, place] = [
                        form.compare(mine, form.shuffle(other, order)) for other in theirs
                    ]
        values: Variables = {"score": (_AXES, table[0])}
        if halves is not None:
            values["resample_score"] = (("layer", "resample", "subject"), table[1:].swapaxes(0, 1))
        if orders is not None:
            values["null_score"] = (("layer", "permutation", "subject"), null.swapaxes(0, 1))
        return values

    return side_by_side(blocks(target, by, fewest=max(FEWEST_IN_ALL, least)), fit)
