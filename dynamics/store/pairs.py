"""Tables of step by step: similarities of every training step with every other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import zarr

from dynamics.store import nodes
from dynamics.store.layout import new_array
from dynamics.store.results import row_of

# Entries of a row that lie together: a row of a thousand steps is a handful of small files.
_WIDTH = 256


def write_pairs(
    group: zarr.Group,
    step: int,
    others: Sequence[int],
    values: np.ndarray,
    *,
    name: str = "similarity",
    dims: Sequence[str] = ("layer",),
    attrs: Mapping[str, Any] | None = None,
) -> None:
    """Write a step's row and column of a symmetric table, before the step is committed.

    The table has a row and a column for every step in order of arrival. A reader drops those of
    steps that are not committed, so that a process killed here leaves nothing wrong behind.

    Parameters
    ----------
    group : zarr.Group
        Group of results whose steps `write_result` commits.
    step : int
        Training step; it must not be committed.
    others : sequence of int
        The steps that it was compared with: committed ones, and itself.
    values : array of shape (n_others, ...)
        The similarities.
    name : str
        Name of the variable.
    dims : sequence of str
        Names of the further dimensions.
    attrs : mapping, optional
        Description and units.
    """
    row, count = row_of(group, step)
    rows = {int(s): place for place, s in enumerate(nodes.values(group, "step"))} | {step: row}
    if row < nodes.array(group, "checkpoint").shape[0]:
        nodes.array(group, "checkpoint")[row] = ""
    size, values = max(count, row + 1), np.asarray(values, float)
    if name not in group:
        array = new_array(
            group,
            name,
            (size, size, *values.shape[1:]),
            "float64",
            fill=np.nan,
            dims=("step", "step_other", *dims),
            chunks=(1, _WIDTH, *values.shape[1:]),
        )
        array.attrs.update(attrs or {})
    array = nodes.array(group, name)
    if array.shape[0] < size or array.shape[1] < size:
        array.resize((size, size, *array.shape[2:]))
    line = np.full((size, *values.shape[1:]), np.nan)
    line[[rows[other] for other in others]] = values
    array[row] = line
    array[:, row] = line
