"""What became of one network, as it is written into a store."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import zarr

from dynamics import faults, store
from dynamics.checkpoints import LeftForLater
from dynamics.extraction import components, room
from dynamics.extraction.runner import Layers, Network
from dynamics.extraction.windows import Block
from dynamics.store.components import Kept


class Outcome:
    """What became of one network: its activations, or why there are none; timed.

    The clock starts when it is made, so that waiting for a checkpoint counts. Within ``with``, what
    a bad checkpoint raises is kept as `error`.
    """

    def __init__(self, network: Network):
        self.network = network
        self.layers: Layers = {}
        self.columns: dict[str, Any] = {}
        self.error = ""
        self._start = time.perf_counter()

    def __enter__(self) -> Outcome:
        return self

    def __exit__(self, kind: object, fault: BaseException | None, trace: object) -> bool:
        if isinstance(fault, Exception) and not isinstance(fault, LeftForLater):
            self.error = faults.sentence(faults.row(fault))
            return True
        return False

    def commit(self, root: zarr.Group, step: int, *, before: Mapping[str, Any] = {}) -> None:
        """Write the activations and the row of a step; `before` is what the row holds now."""
        if not self.error:
            try:
                self._write(root, step)
            except store.MisfitError as fault:
                self.error = faults.sentence(fault)
            if self.error and self.network.streams:
                store.erase(root, step, shared=self.network.shared)
        columns = self.columns | {"error": self.error}
        if isinstance(self.layers, store.Written) and not self.error:
            columns["content"] = self.layers.content
        # A column is rewritten as a whole, so one that stays as it is costs for nothing.
        changed = {name: v for name, v in columns.items() if before.get(name) != v}
        status = store.FAILED if self.error else store.DONE
        seconds = time.perf_counter() - self._start
        store.commit(root, step, status=status, seconds=seconds, **changed)

    def _write(self, root: zarr.Group, step: int) -> None:
        network = self.network
        if isinstance(self.layers, store.Written):
            written = self.layers
            self._expect({name: s[-1] for name, s in written.shapes.items()}, written.kept)
            store.adopt(root, step, written, **described(network, blocks=network.streams))
            return
        if isinstance(self.layers, Mapping):
            kept = kept_of(self.layers)
            self._expect({name: v.shape[-1] for name, v in self.layers.items()}, kept)
            store.write_activations(
                root,
                step,
                self.layers,
                kept=kept,
                shared=network.shared,
                **described(network, blocks=False),
            )
            return
        blocks = self._whole(self.layers)
        if (first := next(blocks, None)) is None:
            return  # it failed at once
        kept = kept_of(first.values)
        self._expect({name: v.shape[-1] for name, v in first.values.items()}, kept)
        store.write_blocks(
            root,
            step,
            itertools.chain([first], blocks),
            kept=kept,
            shared=network.shared,
            **described(network, blocks=True),
        )

    def _expect(self, features: Mapping[str, int], kept: Mapping[str, Kept]) -> None:
        """Say once, when the features of the network are known, what all steps will take."""
        network = self.network
        if steps := network.steps_to_come:
            network.steps_to_come = 0
            room.check(
                network.sweep.place,
                features,
                network.stimuli,
                network.pooling,
                steps=steps,
                dtype=network.sweep.dtype,
                kept=kept,
            )

    def _whole(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Pass blocks on, up to where a fault of the checkpoint ends them."""
        with self:
            yield from blocks


def described(network: Network, *, blocks: bool) -> dict[str, Any]:
    """Return what is written of the stimuli beside activations, by how the store's writers take it.

    Parameters
    ----------
    network : Network
        Of the sweep.
    blocks : bool
        Whether activations come block by block, of sounds of unequal lengths.

    Returns
    -------
    dict
        `stimuli`, `categories`, `times` and `labels`.
    """
    stimuli = network.stimuli
    labels = dict(stimuli.within.coordinates()) if stimuli.within else {}
    if blocks:
        labels["duration"] = (stimuli.durations, "length of the stimulus", "s")
    return {
        "stimuli": stimuli.names,
        "categories": stimuli.categories,
        "times": network.pooling.times(stimuli.durations),
        "labels": labels,
    }


def kept_of(layers: Mapping[str, np.ndarray]) -> dict[str, Kept]:
    """Return what components keep of layers, nothing where these have all their features."""
    return layers.kept if isinstance(layers, components.Reduced) else {}
