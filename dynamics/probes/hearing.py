"""Networks of a store's checkpoints, and what they make of sounds that the store has not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dynamics import faults, sounds
from dynamics.checkpoints import Checkpoint
from dynamics.config import Sweep
from dynamics.extraction import (
    controls,
    crawl,
    extract,
    poolings,
    soundcheck,
)
from dynamics.extraction.runner import (
    Network,
    Read,
    checked,
    of_newest,
    read_ahead,
)
from dynamics.models import Model
from dynamics.sounds import StimulusSet


class Ears:
    """Passes stimulus sets through networks; each set's front end is run once."""

    def __init__(self, sweep: Sweep, sets: Mapping[str, StimulusSet]):
        self.sweep, self.sets = sweep, sets
        self.batches: dict[str, Iterable[extract.Batch]] = {}
        pooling = poolings.make(sweep.pooling.name, **sweep.pooling.arguments)
        # A probe has one row a sound.
        self.pooling = pooling if pooling.rate is None else poolings.make("mean")

    def hear(self, model: Model | Exception, key: str) -> Mapping[str, np.ndarray] | Exception:
        """Return the activations of all layers, or what stood in the way."""
        try:
            if isinstance(model, Exception):
                raise model
            if key not in self.batches:
                self.batches[key] = extract.batches(
                    model,
                    self.sets[key],
                    batch_size=self.sweep.batch_size,
                    keep_bytes=extract.KEEP_BYTES // len(self.sets),
                )
            return extract.extract(model, self.batches[key], pooling=self.pooling)
        except faults.FAULTS as fault:
            return faults.row(self._blamed(fault, model, key))

    def _blamed(self, fault: Exception, model: Model | Exception, key: str) -> Exception:
        if isinstance(model, Exception) or isinstance(fault, extract.NotFiniteError):
            return fault  # of this step: the network that was crawled ran on the sweep's sounds

        def same() -> Model:
            return model

        return soundcheck.blamed(fault, model, self.sets[key], pooling=self.pooling, fresh=same)


def networks(
    sweep: Sweep,
    records: Mapping[int, Mapping[str, Any]],
    steps: Sequence[int],
    *,
    checkpoints: Sequence[Checkpoint] | None = None,
    network: Network | None = None,
    place: Path | None = None,
) -> Iterator[tuple[int, Model | Exception]]:
    """Yield the network of each step, with the weights that the store's activations came from.

    Checkpoints, network and folder for copies are the sweep's own, where none are given.
    """
    if not steps:
        return
    checkpoints = crawl.discover(sweep) if checkpoints is None else checkpoints
    found = {checkpoint.step: checkpoint for checkpoint in checkpoints}
    network = network or Network(sweep, sounds.load(sweep.stimuli.name, **sweep.stimuli.arguments))
    fresh = [step for step in steps if records[step]["uri"].startswith(controls.UNTRAINED)]
    for step in steps:
        if step not in found and step not in fresh:
            yield step, FileNotFoundError(f"its checkpoint {records[step]['uri']} is gone")
    if fresh:
        control = of_newest(
            list(found.values()), sweep, lambda read: network.fresh_model(read, sweep.seed)
        )
        for step in fresh:
            yield step, control
    todo = [found[step] for step in steps if step in found and step not in fresh]
    for checkpoint, read in read_ahead(todo, sweep, place=place):
        if not isinstance(read, Exception) and read.sha256 != records[checkpoint.step]["sha256"]:
            read = ValueError(
                f"{checkpoint.uri} has other content than when it was crawled: run "
                "`dynamics crawl` first"
            )
        yield checkpoint.step, _tried(network.model, read)


def _tried(make: Callable[[Read], Model], read: Read | Exception) -> Model | Exception:
    try:
        return make(checked(read))
    except Exception as fault:
        return faults.row(fault)
