"""One step against targets: what a worker does."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import zarr

from dynamics import analysis, metrics, store
from dynamics.analysis import Variables
from dynamics.analysis.split_halves import narrowed
from dynamics.brains.targets import Target
from dynamics.progress import size_of


def score_step(
    path: store.Where,
    step: int,
    target: Target,
    metric: str,
    arguments: Mapping[str, Any],
    *,
    halves: np.ndarray | None = None,
    orders: np.ndarray | None = None,
    together: np.ndarray | None = None,
) -> Variables:
    """Compare one step's layers with a target; what runs on a worker.

    Parameters
    ----------
    path : str, Path or Place
        The store.
    step : int
        A committed step.
    target : Target
        The brain target.
    metric : str
        A name in `METHODS`.
    arguments : mapping
        Arguments of the metric.
    halves : array of shape (n_resamples, n_kept), optional
        Stimuli of every resample on which the score is computed again, the same for every step,
        from `dynamics.analysis.halves_of`.
    orders : array of shape (n_permutations, n_joined), optional
        Shuffles of the target's stimuli, the same for every step, for the null.
    together : array of shape (n_neuroids,), optional
        Groups over which resamples are averaged; by default those of every neuroid are kept.

    Returns
    -------
    dict of str to (dimensions, array)
        Variables of the result, without the step axis.
    """
    part = Part(metric, arguments, 0, halves, None if orders is None else 0, together)
    return score_together(path, step, [part], [target], [orders])[0]


class Part(NamedTuple):
    """What one metric makes of a step and a target.

    Attributes
    ----------
    metric : str
        A name in `METHODS`.
    arguments : mapping
        Arguments of the metric.
    target : int
        Which of the targets.
    halves : array of shape (n_resamples, n_kept) or None
        As in `score_step`.
    orders : int or None
        Which of the shuffles.
    together : array of shape (n_neuroids,) or None
        As in `score_step`.
    single, folds : bool
        What is kept, as in `dynamics.analysis.split_halves.Plan`.
    """

    metric: str
    arguments: Mapping[str, Any]
    target: int
    halves: np.ndarray | None
    orders: int | None
    together: np.ndarray | None
    single: bool = False
    folds: bool = True


def score_together(
    path: store.Where,
    step: int,
    parts: Sequence[Part],
    targets: Sequence[Target],
    orders: Sequence[np.ndarray | None],
) -> list[Variables]:
    """Compare one step's layers with targets by metrics; what runs on a worker.

    The step is read once, and each layer's Gram matrices and decompositions are made once for all
    that need the same, up to `dynamics.metrics.reuse.MOST` bytes of them.

    Parameters
    ----------
    path : str, Path or Place
        The store.
    step : int
        A committed step.
    parts : sequence of Part
        What to compare with what.
    targets : sequence of Target
        Targets of the parts.
    orders : sequence of array of shape (n_permutations, n_joined) or None
        Shuffles of the parts.

    Returns
    -------
    list of dict of str to (dimensions, array)
        As `score_step`, part by part.
    """
    times = store.read_times(path) if any(map(is_timed, parts)) else None
    return score_layers(store.read_activations(path, step), times, parts, targets, orders)


def check_memory(client: Any, root: zarr.Group, targets: Sequence[Target]) -> None:
    """Refuse steps that no worker of a cluster has the memory for.

    A worker holds the activations of a step as they are stored and, averaged over time, in double
    precision, and every target.

    Parameters
    ----------
    client : Workers
        Of a cluster.
    root : zarr.Group
        The store.
    targets : sequence of Target
        What steps are compared with.

    Raises
    ------
    OSError
        If they need more than any worker has, with both numbers.
    """
    held = [each for target in targets for each in vars(target).values()]
    given = sum(each.nbytes for each in held if isinstance(each, np.ndarray))
    stored, averaged = store.bytes_of_step(root), store.bytes_of_step(root, averaged=True)
    client.must_hold(
        stored + averaged + given,
        f"a step, of {size_of(stored)} in the store, and targets of {size_of(given)}",
        "crawl with `components`, fewer `stimuli` or a lower rate of the `pooling`",
    )


def score_layers(
    layers: Mapping[str, np.ndarray],
    times: np.ndarray | None,
    parts: Sequence[Part],
    targets: Sequence[Target],
    orders: Sequence[np.ndarray | None],
) -> list[Variables]:
    """Compare layers with targets by metrics.

    Parameters
    ----------
    layers : mapping of str to array of shape (n, p) or (n, t, p)
        Activations to the stimuli of the store.
    times : array of shape (t,) or None
        Seconds of the activations, where a metric looks at them.
    parts, targets, orders
        As for `score_together`.

    Returns
    -------
    list of dict of str to (dimensions, array)
        As `score_together`.
    """
    known: dict[tuple[str, bytes, bytes], dict[str, np.ndarray]] = {}
    found = []
    with contextlib.ExitStack() as shared:
        for part in parts:
            target = targets[part.target]
            how = how_heard(part)
            at = np.asarray(target.times).tobytes() if how == "times" else b""
            key = (how, target.rows.tobytes(), at)
            if key not in known:
                known[key] = _heard(layers, target, times, how)
                shared.enter_context(metrics.shared(*known[key].values()))
            one = analysis.METHODS[part.metric](
                known[key],
                replace(target, together=part.together, frames=times if how == "frames" else None),
                halves=part.halves,
                orders=None if part.orders is None else orders[part.orders],
                **part.arguments,
            )
            whole = analysis.with_p_value(analysis.averaged(one, part.together))
            found.append(narrowed(whole, single=part.single, folds=part.folds))
    return found


def is_timed(part: Part) -> bool:
    """Whether a metric looks at activations over time."""
    return "time" in analysis.find(part.metric, part.arguments).needs


def how_heard(part: Part) -> str:
    """Return how a metric sees activations: at ``"times"`` of responses, ``"frames"``, ``"mean"``.

    ``"frames"`` are those of the store; the ``"mean"`` is over the time of each stimulus.
    """
    if "frames" in analysis.find(part.metric, part.arguments).needs:
        return "frames"
    return "times" if is_timed(part) else "mean"


def _heard(
    layers: Mapping[str, np.ndarray], target: Target, times: np.ndarray | None, how: str
) -> dict[str, np.ndarray]:
    """Take the stimuli of a target."""
    every = np.array_equal(target.rows, np.arange(len(next(iter(layers.values())))))
    some = {name: values if every else values[target.rows] for name, values in layers.items()}
    if how == "times":
        return {name: at_times(values, times, target) for name, values in some.items()}
    if how == "mean":
        return {name: without_time(values).astype(float) for name, values in some.items()}
    return some


def at_times(values: np.ndarray, times: np.ndarray | None, target: Target) -> np.ndarray:
    """Resample activations (stimulus, time, feature) to the times of a target's responses."""
    assert times is not None and target.times is not None  # `methods.check_fit` has looked
    (here, there), many = ((t[0], t[1] - t[0]) for t in (times, target.times)), len(target.times)
    if np.array_equal(times, target.times):
        return values.astype(float)
    return np.asarray(metrics.resample_time(values, here, there, many))


def without_time(values: np.ndarray) -> np.ndarray:
    """Average (stimulus, time, feature) over the time of each stimulus; NaN is past its end."""
    return np.nanmean(values, axis=1) if values.ndim == 3 else values
