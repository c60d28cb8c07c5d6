"""Metrics of one's own that compare two spaces: prepared once a space, compared pair by pair."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from dynamics.analysis.groups import (
    blocks,
    halves_within,
    shuffles_within,
    side_by_side,
)
from dynamics.analysis.metric import Metric
from dynamics.analysis.variables import Variables
from dynamics.brains.targets import Target
from dynamics.metrics.missing import FEWEST_IN_ALL
from dynamics.metrics.pairwise import Form, prepared

_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def of_spaces(
    prepare: Callable[..., Any],
    compare: Callable[[Any, Any], float],
    *,
    folded: bool = False,
    **fields: Any,
) -> Metric:
    """Make a metric of how one space is prepared, and of how two are compared.

    Layers are compared with the brain by it, again on halves of the stimuli and on shuffled ones,
    and steps, layers and runs with each other; a layer of a step is prepared once for all targets.

    Parameters
    ----------
    prepare : callable
        From activations or responses (n, p) and keyword arguments, its own, whose names and
        defaults are what a sweep may set, to what is kept of a space. The first line of its
        docstring is the metric's help.
    compare : callable
        From what is kept of two spaces to how alike they are.
    folded : bool
        Whether `prepare` has the argument `folds`, the fold of every stimulus.
    **fields
        Of `Metric`: `axis`, and what else is not by default.

    Returns
    -------
    Metric
        With a score a group of neuroids, and the argument `by` (see `Target.groups`).
    """
    form = Form(prepare, partial(_table, compare), folded)
    score = partial(_scored, form)
    own = [
        each.replace(kind=_KEYWORD)
        for each in list(inspect.signature(prepare).parameters.values())[1:]
        if each.name != "folds"
    ]
    ours = [
        each
        for name, each in inspect.signature(_scored).parameters.items()
        if name not in ("form", "arguments")
    ]
    given, ours = ours[:2], ours[2:]

    def function(layers: Mapping[str, np.ndarray], target: Target, **arguments: Any) -> Variables:
        return score(layers, target, **arguments)

    vars(function)["__signature__"] = inspect.Signature([*given, *own, *ours])
    function.__doc__ = inspect.getdoc(prepare)
    return Metric(function, space=form, **fields)


def _table(
    compare: Callable[[Any, Any], float], first: Sequence[Any], second: Sequence[Any]
) -> torch.Tensor:
    rows = [[float(compare(a, b)) for b in second] for a in first]
    return torch.tensor(rows, dtype=torch.float64).reshape(len(first), len(second))


def _scored(
    form: Form,
    layers: Mapping[str, np.ndarray],
    target: Target,
    *,
    by: str = "subject",
    halves: np.ndarray | None = None,
    orders: np.ndarray | None = None,
    **arguments: Any,
) -> Variables:
    """Compare layers with groups of neuroids; again on halves, and shuffled."""
    n, Y = len(target.folds), target.mean_response
    axes = ("layer", "subject")

    def fit(rows: np.ndarray, columns: list[np.ndarray]) -> Variables:
        spaces = [Y[np.ix_(rows, who)] for who in columns]

        def compared(some: np.ndarray) -> np.ndarray:
            """Compare on some of the rows."""
            how = arguments | ({"folds": target.folds[rows[some]]} if form.folded else {})
            first = [prepared(form, X[rows[some]], how) for X in layers.values()]
            return form.compare(first, [form.prepare(Z[some], **how) for Z in spaces]).numpy()

        every = np.arange(len(rows))
        values: Variables = {"score": (axes, compared(every))}
        if halves is not None:
            again = [compared(half) for half in halves_within(halves, rows, n)]
            values["resample_score"] = (("layer", "resample", "subject"), np.stack(again, 1))
        if orders is not None:
            how = arguments | ({"folds": target.folds[rows]} if form.folded else {})
            first = [prepared(form, X[rows], how) for X in layers.values()]
            null = [
                form.compare(first, [form.prepare(Z[order], **how) for Z in spaces]).numpy()
                for order in shuffles_within(orders, rows, n)
            ]
            values["null_score"] = (("layer", "permutation", "subject"), np.stack(null, 1))
        return values

    least = {"in_fold": 3} if form.folded else {"fewest": FEWEST_IN_ALL}
    return side_by_side(blocks(target, by, **least), fit)
