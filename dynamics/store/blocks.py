"""Write and read a step block by block, where memory is not to hold all of it.

Activations over time of long sounds have chunks (1, 1, times, feature): a stimulus owns its chunks,
and those that lie past its end are not written, so that unequal lengths cost nothing on disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import zarr

from dynamics.store import nodes
from dynamics.store.components import Kept, write_kept
from dynamics.store.layout import DONE, MisfitError, has_layer, new_layer, write_coordinates
from dynamics.store.nodes import activation_of, group_name, kept_of
from dynamics.store.place import writing
from dynamics.store.precision import Errors, round_layers
from dynamics.store.read import layer_names, statuses, steps

# Values of a chunk: 2 MiB as float32.
_CHUNK = 2**19


class Block(Protocol):
    """Activations of every layer at some consecutive samples of one stimulus.

    Attributes
    ----------
    row : int
        Place of the stimulus.
    first : int
        Number of the first sample.
    values : dict of str to array of shape (samples, features)
        By layer.
    """

    row: int
    first: int
    values: dict[str, np.ndarray]


def write_blocks(
    root: zarr.Group,
    step: int,
    blocks: Iterable[Any],
    *,
    stimuli: Sequence[str],
    categories: Sequence[str],
    times: np.ndarray,
    labels: Mapping[str, tuple[npt.ArrayLike, str, str]] | None = None,
    kept: Mapping[str, Kept] | None = None,
    shared: bool = False,
) -> None:
    """Write every layer of one step as it comes; the step stays unseen until `commit`.

    No more than a chunk of every layer is held. A step that fails in between is to be erased.

    Parameters
    ----------
    root : zarr.Group
        The store.
    step : int
        Training step; it must have a row.
    blocks : iterable of Block
        Of all stimuli, those of one after the other and in order of time.
    stimuli, categories : sequence of str
        Names and categories of the stimuli, in row order.
    times : array of shape (n_times,)
        Seconds, centres of the samples of the longest.
    labels : mapping, optional
        As for `dynamics.store.layout.write_coordinates`.
    kept, shared
        As for `dynamics.store.activations.write_activations`.

    Raises
    ------
    MisfitError
        If a layer has another shape than in the steps before, or a value beyond the largest of
        the store's `dtype`.
    OSError
        If it cannot be written.
    """
    sinks: dict[str, _Sink] = {}
    for block in blocks:
        with writing(root):
            if not sinks:
                _fit(root, step, block.values, (len(stimuli), len(times)), shared)
                write_coordinates(root, stimuli, categories, times, labels, taken=block.values)
                sinks = _sinks(root, step, block.values, (len(stimuli), len(times)), shared)
            for layer, sink in sinks.items():
                sink.add(block.row, block.first, block.values[layer])
    with writing(root):
        for sink in sinks.values():
            sink.close()
        if sinks:
            write_kept(root, steps(root)[step], kept or {})


def erase(root: zarr.Group, step: int, *, shared: bool = False) -> None:
    """Take away what was written of a step that failed; its row stays.

    Parameters
    ----------
    root : zarr.Group
        The store.
    step : int
        Training step.
    shared : bool
        Whether other processes write chunks of other steps meanwhile.
    """
    with writing(root):
        if DONE not in statuses(root).values() and not shared:
            _clear(root)
            return
        row = steps(root)[step]
        for layer in (name for name in layer_names(root) if activation_of(name) in root):
            array = nodes.array(root, activation_of(layer))
            for where in nodes.places_of(array):
                at: Any = (row, *where)
                array[at] = np.nan  # chunks without values are deleted
            if kept_of(layer) in root:
                nodes.array(root, kept_of(layer))[row] = np.nan


def _fit(
    root: zarr.Group,
    step: int,
    layers: Mapping[str, np.ndarray],
    sizes: tuple[int, int],
    shared: bool,
) -> None:
    """Raise where layers are other than those of done steps; what others left is taken away."""
    # A writer that was stopped can have left a layer's group alone.
    made = [layer for layer in layer_names(root) if activation_of(layer) in root]
    known = {layer: nodes.array(root, activation_of(layer)).shape[1:] for layer in made}
    shapes = {layer: (*sizes, values.shape[1]) for layer, values in layers.items()}
    if known and known != shapes and DONE not in statuses(root).values() and not shared:
        _clear(root)
        return
    for layer, shape in shapes.items():
        if known.get(layer, shape) != shape:
            raise MisfitError.of(layer, step, shape, known[layer])


def _sinks(
    root: zarr.Group,
    step: int,
    layers: Mapping[str, np.ndarray],
    sizes: tuple[int, int],
    shared: bool,
) -> dict[str, _Sink]:
    """Return where layers are written; those that are new are made."""
    group, rows = nodes.group(root, "activations"), steps(root)
    dtype = nodes.attributes(root)["identity"].get("dtype", "float32")
    sinks = {}
    for number, (layer, values) in enumerate(layers.items()):
        if not has_layer(root, layer):
            features = values.shape[1]
            shape = (len(rows), *sizes, features)
            block = min(sizes[1], max(1, _CHUNK // features))
            new_layer(group, layer, number, shape, (1, 1, block, features), anew=not shared)
        sinks[layer] = _Sink(layer, nodes.array(root, activation_of(layer)), rows[step], dtype)
    return sinks


def _clear(root: zarr.Group) -> None:
    group = nodes.group(root, "activations")
    for layer in layer_names(root):
        del group[group_name(layer)]


class _Sink:
    """Takes the blocks of a layer and writes whole chunks."""

    def __init__(self, layer: str, array: zarr.Array[Any], row: int, dtype: str):
        self.layer, self.array, self.row, self.dtype = layer, array, row, dtype
        self.stimulus, self.start, self.held = -1, 0, 0
        # One for all: many small arrays that wait would hold the heap's pages apart.
        self.chunk = np.empty((array.chunks[2], array.shape[3]), np.float32)
        self.errors = Errors()

    def add(self, stimulus: int, first: int, values: np.ndarray) -> None:
        if stimulus != self.stimulus:
            self._flush()
            self.stimulus, self.start = stimulus, 0
        if first != self.start + self.held:
            raise ValueError(f"samples of stimulus {stimulus} come out of order: {first} is next")
        while len(values):
            part = values[: len(self.chunk) - self.held]
            self.chunk[self.held : self.held + len(part)] = part
            self.held += len(part)
            values = values[len(part) :]
            if self.held == len(self.chunk):
                self._flush()

    def close(self) -> None:
        self._flush()
        self.errors.record(self.array, self.dtype)

    def _flush(self) -> None:
        if not self.held:
            return
        values = self.chunk[: self.held]
        rounded = round_layers({self.layer: values}, self.dtype)[self.layer]
        self.errors.add(values, rounded)
        # The whole chunk, as what an earlier try has left of it does not count.
        self.chunk[: self.held] = rounded
        self.chunk[self.held :] = np.nan
        end = min(self.start + len(self.chunk), self.array.shape[2])
        self.array[self.row, self.stimulus, self.start : end] = self.chunk[: end - self.start]
        self.start, self.held = self.start + self.held, 0
