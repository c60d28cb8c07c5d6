"""One step against one target: what a worker does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from dynamics import methods, metrics, store
from dynamics.methods import Variables
from dynamics.targets import Target


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
        from `dynamics.methods.resamples_of`.
    orders : array of shape (n_permutations, n_joined), optional
        Shuffles of the target's stimuli, the same for every step, for the null.
    together : array of shape (n_neuroids,), optional
        Groups over which resamples are averaged; by default those of every neuroid are kept.

    Returns
    -------
    dict of str to (dimensions, array)
        Variables of the result, without the step axis.
    """
    target = replace(target, together=together)
    layers = store.read_activations(path, step)
    layers = {name: values[target.rows] for name, values in layers.items()}
    own = methods.find(metric)
    if "time" in own.needs:
        times = store.read_times(path)
        layers = {name: at_times(values, times, target) for name, values in layers.items()}
    else:
        layers = {name: without_time(values).astype(float) for name, values in layers.items()}
    found = own(layers, target, halves=halves, orders=orders, **arguments)
    return methods.with_p_value(methods.averaged(found, together))


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
