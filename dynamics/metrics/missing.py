"""Responses with gaps: means of what is there, and every neuroid on the stimuli that it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from dynamics.metrics.kernels import Array, as_tensor

# Stimuli that a neuroid needs in every fold, and where there are no folds.
FEWEST, FEWEST_IN_ALL = 2, 10

HANDLINGS = ("error", "mask")


def check_handling(missing: str) -> None:
    """Raise a ValueError unless gaps are to be handled in a way that there is."""
    if missing not in HANDLINGS:
        raise ValueError(f"missing is {missing!r}: use one of {', '.join(HANDLINGS)}")


def mean_there(Y: Any, axis: int) -> Any:
    """Mean along an axis over what is there.

    Parameters
    ----------
    Y : array
        Values; those that are not finite are not there.
    axis : int
        The axis that goes.

    Returns
    -------
    array
        NaN where nothing is there. Without gaps the plain mean, to the last digit.
    """
    there = np.isfinite(Y) if isinstance(Y, np.ndarray) else torch.isfinite(Y)
    if there.all():
        return Y.mean(axis)
    room = np if isinstance(Y, np.ndarray) else torch
    count = there.sum(axis)
    mean = room.where(there, Y, 0.0).sum(axis) / room.where(count > 0, count, 1)
    return room.where(count > 0, mean, room.nan)


def over_repetitions(Y: Any) -> Any:
    """Average responses (n, v) or (n, v, repetitions) over the repetitions that are there."""
    return mean_there(Y, 2) if Y.ndim == 3 else Y


def complete_block(there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stimuli and neuroids among which nothing is missing, few of either left out.

    The stimulus or neuroid that lacks the largest part of the others is left out, again and again;
    of equal ones the stimulus, of equal stimuli the first.

    Parameters
    ----------
    there : array of shape (n, v), bool
        Which responses there are.

    Returns
    -------
    rows, columns : arrays of int
        Ascending; both empty where nothing is left.
    """
    rows, columns = np.arange(there.shape[0]), np.arange(there.shape[1])
    while len(rows) and len(columns):
        lacking = ~there[np.ix_(rows, columns)]
        if not lacking.any():
            return rows, columns
        by_row, by_column = lacking.mean(1), lacking.mean(0)
        if by_row.max() >= by_column.max():
            rows = np.delete(rows, by_row.argmax())
        else:
            columns = np.delete(columns, by_column.argmax())
    return rows[:0], columns[:0]


def by_pattern(
    fit: Callable[[np.ndarray, np.ndarray], Mapping[str, Array]], Y: Array, folds: Array | None
) -> dict[str, torch.Tensor]:
    """Fit neuroids that have the same stimuli together, and put the results side by side.

    Parameters
    ----------
    fit : callable
        From row numbers of stimuli and numbers of neuroids to arrays with neuroids last, and single
        numbers.
    Y : array of shape (n, v) or (n, v, repetitions)
        Responses. A stimulus is missing where no repetition is finite.
    folds : array of shape (n,), optional
        Fold of each stimulus.

    Returns
    -------
    dict of tensors of shape (..., v)
        What `fit` returns. A neuroid with fewer than 2 stimuli in a fold, or without folds fewer
        than 10 in all, has NaN (-1 in arrays of integers). Single numbers are averaged over the
        neuroids that were fitted.

    Raises
    ------
    ValueError
        If no neuroid has enough stimuli.
    """
    there = torch.isfinite(as_tensor(Y)).reshape(len(Y), -1, *Y.shape[2:]).cpu()
    finite = (there.any(2) if there.ndim == 3 else there).numpy()
    labels = np.zeros(len(Y), int) if folds is None else np.unique(folds, return_inverse=True)[1]
    needed = np.minimum(np.bincount(labels), FEWEST_IN_ALL if folds is None else FEWEST)
    patterns, which = np.unique(finite.T, axis=0, return_inverse=True)
    out: dict[str, torch.Tensor] = {}
    numbers: dict[str, list[torch.Tensor]] = {}
    counts = []
    for number, pattern in enumerate(patterns):
        enough = np.bincount(labels[pattern], minlength=len(needed)) >= needed
        if not pattern.any() or not enough.all():
            continue
        members = np.flatnonzero(which.ravel() == number)
        counts.append(len(members))
        for name, value in fit(np.flatnonzero(pattern), members).items():
            part = torch.as_tensor(value)
            if part.ndim == 0:
                numbers.setdefault(name, []).append(part)
                continue
            if name not in out:
                fill = torch.nan if part.is_floating_point() else -1
                out[name] = part.new_full((*part.shape[:-1], finite.shape[1]), fill)
            out[name][..., torch.as_tensor(members, device=part.device)] = part
    if not out:
        raise ValueError(
            f"no neuroid has {FEWEST} stimuli in every fold ({FEWEST_IN_ALL} where there are no "
            "folds): leave out the stimuli that most lack"
        )
    for name, each in numbers.items():
        out[name] = each[0].new_tensor(np.average([float(part) for part in each], weights=counts))
    return out


def orders_within(orders: Array, rows: Array) -> np.ndarray:
    """Shuffles of some of the stimuli that follow from shuffles of all.

    Row i takes the response of the first of order[i], order[order[i]], ... that is among `rows`.
    That is as random as the shuffles, and stays within categories where they do.

    Parameters
    ----------
    orders : array of shape (shuffles, n)
        See `permutations`.
    rows : array of shape (kept,)
        Which stimuli, ascending.

    Returns
    -------
    array of shape (shuffles, kept), int64
        Orders of the stimuli kept, counted among themselves.
    """
    every = np.asarray(orders)
    place = places(rows, every.shape[1])
    found = every[:, rows]
    while (outside := place[found] < 0).any():
        found = np.where(outside, np.take_along_axis(every, found, 1), found)
    return place[found]


def places(rows: Array, n: int) -> np.ndarray:
    """Count every one of n stimuli among `rows`; -1 where it is not one of them."""
    place = np.full(n, -1)
    place[rows] = np.arange(len(rows))
    return place
