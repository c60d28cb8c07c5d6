"""The network of a sweep: read checkpoints ahead, exchange weights, return activations."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from dynamics import checkpoints, faults, models
from dynamics.checkpoints import Checkpoint, LeftForLater
from dynamics.config import Sweep
from dynamics.extraction import components, extract, hearing, poolings, soundcheck
from dynamics.extraction.windows import Block
from dynamics.lookahead import one_ahead
from dynamics.sounds import StimulusSet
from dynamics.store import Written

T = TypeVar("T")


class Read(NamedTuple):
    """Where a checkpoint is, its weights, its content hash, and what was said in taking them."""

    path: Path
    weights: dict[str, torch.Tensor]
    sha256: str
    taken: checkpoints.Taken


Layers = dict[str, np.ndarray] | Iterable[Block] | Written
"""Activations of all layers: as a whole, or block by block where memory is not to hold them; or
what a worker has written of them already."""


class Control(NamedTuple):
    """A network beside the curve: of `kind` fresh or permuted, by a seed."""

    kind: str
    seed: int


Extracted = tuple[Checkpoint, str, Callable[[], tuple[Layers, str]]]
"""A checkpoint, its content hash, and what gives its activations with a note, or raises."""


class Network:
    """The network of a sweep: built once, its weights exchanged, its front end run once.

    Attributes
    ----------
    steps_to_come : int
        Of which it has not been said yet what they will take of the disk.
    windows : Windows or None
        Through which long sounds are heard; None where each sound is heard at once.
    batches : iterable of Batch or None
        What the front end made of the sounds; None before the first.
    shared : bool
        Whether workers write chunks of other steps meanwhile.
    """

    def __init__(self, sweep: Sweep, stimuli: StimulusSet):
        self.sweep, self.stimuli = sweep, stimuli
        self.pooling = poolings.make(sweep.pooling.name, **sweep.pooling.arguments)
        self.windows = hearing.windows_of(sweep)
        self.batches: Iterable[extract.Batch] | None = None
        self._model: models.Model | None = None
        self.steps_to_come = 0
        self.shared = False
        self._ran = False

    def model(self, read: Read) -> models.Model:
        """Return the network with the weights of a checkpoint, until the next call."""
        try:
            if self._model is None:
                name = self.sweep.model.name
                model = models.load(name, read.path, state=read.weights, **self._settings)
                self._model = model.to(self.device)
            else:
                self._model.load_weights(read.weights)
        except ValueError as fault:
            if read.taken.hint:
                raise ValueError(f"{faults.sentence(fault)}; {read.taken.hint}") from fault
            raise
        return self._model

    def fresh_model(self, read: Read, seed: int) -> models.Model:
        """Return another network of the same architecture with fresh weights."""
        settings = self._settings | {"seed": seed}
        name = self.sweep.model.name
        model = models.untrained(name, read.path, state=read.weights, **settings)
        return model.to(self.device)

    @property
    def streams(self) -> bool:
        """Whether activations come block by block."""
        return self.windows is not None and self.pooling.rate is not None

    def layers(self, read: Read, *, like: components.Stored | None = None) -> Layers:
        """Return every layer's pooled activations with the weights of a checkpoint.

        Parameters
        ----------
        read : Read
            The checkpoint.
        like : callable, optional
            What is stored of the same step, where components are to be compared with these.

        Returns
        -------
        dict of str to array, or iterator of Block
            As from `dynamics.extraction.extract.extract`, or from
            `dynamics.extraction.hearing.blocks`, which is to be gone through before the next call;
            with `components` as from `dynamics.extraction.components`.

        Raises
        ------
        SweepError
            If a stimulus cannot pass through the network, whatever its weights, or no layer has
            as many components.
        ValueError and others
            What is wrong with the checkpoint (see `dynamics.faults`).
        """
        return self._layers(self.model(read), read, like)

    def noted(self, read: Read) -> tuple[Layers, str]:
        """Return those, and in words what was resolved to fit the weights to the network."""
        layers = self.layers(read)
        notes = [read.taken.note, *getattr(self._model, "notes", ())]
        return layers, "; ".join(filter(None, notes))

    def control(self, read: Read, which: Control) -> Layers:
        """Return those of the same architecture with fresh weights, or with permuted ones."""
        if which.kind == "fresh":
            return self._layers(self.fresh_model(read, which.seed), read)
        # A network may live in the very memory that was read, which the next one needs.
        state = copied(read.weights)
        model = models.load(self.sweep.model.name, read.path, state=state, **self._settings)
        models.permute(model, which.seed)
        return self._layers(model.to(self.device), read)

    @functools.cached_property
    def device(self) -> torch.device:
        """Where it runs; asked for late, as a process that only writes needs none."""
        return extract.device(self.sweep.device)

    @property
    def _settings(self) -> dict[str, Any]:
        return {"trust": self.sweep.trust_checkpoints} | self.sweep.model.arguments

    def _layers(
        self, model: models.Model, read: Read, like: components.Stored | None = None
    ) -> Layers:
        number = self.sweep.components
        if not self.streams:
            found = self._pooled(model, read)
            return found if number is None else components.reduced(found, number, like=like)
        blocks = functools.partial(self._blocks, model, read)
        return blocks() if number is None else components.of_blocks(blocks, number, like=like)

    def _pooled(self, model: models.Model, read: Read) -> dict[str, np.ndarray]:
        with self._blaming(model, read):
            if self.windows is None:
                return extract.extract(model, self._short(model), pooling=self.pooling)
            return hearing.gathered(self._heard(model), self.stimuli, self.pooling)

    def _blocks(self, model: models.Model, read: Read) -> Iterator[Block]:
        with self._blaming(model, read):
            yield from self._heard(model)

    def _heard(self, model: models.Model) -> Iterator[Block]:
        assert self.windows is not None
        return hearing.blocks(
            model,
            self.stimuli,
            self.windows,
            self.pooling,
            batch_size=self.sweep.batch_size,
            short=self._short,
        )

    def _short(self, model: models.Model) -> Iterable[extract.Batch]:
        """Return batches of the sounds that are heard at once."""
        if self.batches is None:
            few = hearing.short(self.stimuli, self.windows)
            self.batches = extract.batches(model, few, batch_size=self.sweep.batch_size)
        return self.batches

    @contextlib.contextmanager
    def _blaming(self, model: models.Model, read: Read) -> Iterator[None]:
        """Find out whether the sounds are to blame where a network fails that has not run yet."""
        try:
            yield
        except faults.FAULTS as fault:
            if self._ran:
                raise  # the sounds have passed before
            self._model = self.batches = None  # the next checkpoint builds its own
            raise soundcheck.blamed(
                fault,
                model,
                self.stimuli,
                pooling=self.pooling,
                fresh=lambda: self.fresh_model(read, self.sweep.seed),
                windows=self.windows,
            ) from fault
        self._ran = True


def extracted(todo: Sequence[Checkpoint], network: Network) -> Iterator[Extracted]:
    """Read checkpoints and run them, one after the other; `workers` runs many at once."""
    for checkpoint, read in read_ahead(todo, network.sweep):
        sha256 = "" if isinstance(read, Exception) else read.sha256
        yield checkpoint, sha256, lambda: network.noted(checked(read))  # noqa: B023


def checked(read: T | Exception) -> T:
    """Raise what came in place of a result."""
    if isinstance(read, Exception):
        raise read
    return read


def read_ahead(
    todo: Sequence[Checkpoint], sweep: Sweep, *, place: Path | None = None
) -> Iterator[tuple[Checkpoint, Read | Exception]]:
    """Fetch and read the next checkpoint while this one runs; a fault comes back as a value."""
    place = place or sweep.place.scratch()

    def states() -> Generator[tuple[Checkpoint, Read | Exception]]:
        # The state that is in use is mapped from a file that counts as well.
        keep = max(1, sweep.keep - 1)
        coming = checkpoints.fetched(todo, place, keep=keep, storage_options=sweep.storage_options)
        for checkpoint, path in coming:
            found: Read | Exception
            try:
                found = _read(checkpoint, path, sweep)
            except Exception as fault:
                gone = isinstance(fault.__cause__ or fault, FileNotFoundError)
                if gone and _all_gone(todo):
                    raise FileNotFoundError(
                        f"all {len(todo)} checkpoints that are still to be read are gone, such as "
                        f"{checkpoint.uri}: is their disk mounted?"
                    ) from fault
                found = faults.row(fault, file_bytes=checkpoint.bytes)
            yield checkpoint, found

    with contextlib.closing(states()) as coming:
        # Some adapters build the network from the first file itself: it must still be there.
        yield from itertools.islice(coming, 1)
        yield from one_ahead(coming)


def of_newest(
    found: Sequence[Checkpoint],
    sweep: Sweep,
    use: Callable[[Read], T],
    *,
    place: Path | None = None,
) -> T | Exception:
    """Use the newest checkpoint of a run that can be used, where any one would do.

    Parameters
    ----------
    found : sequence of Checkpoint
        In the order of training. One that was removed or written again, or that cannot be read, is
        passed over, and so are the first few that are read and cannot be used.
    sweep : Sweep
        The sweep.
    use : callable
        Takes what was read, while its file is there.
    place : Path, optional
        Folder for what is fetched; by default beside the store.

    Returns
    -------
    object or Exception
        What `use` returned; where no checkpoint could be used, what was wrong with the newest of
        those that had not been removed or written again, if there are any.

    Raises
    ------
    ImportError, MemoryError, OSError, SoundError
        Where the installation, the machine or the sounds are to blame.
    """
    faulty: list[Exception] = []
    misfits = 0
    for checkpoint in reversed(found):
        for _, read in read_ahead([checkpoint], sweep, place=place):
            try:
                return use(checked(read))
            except Exception as fault:
                faulty.append(faults.row(fault))
                misfits += not isinstance(read, Exception)
        if misfits == _MISFITS:
            break
    lasting = [fault for fault in faulty if not isinstance(fault, LeftForLater)]
    return (lasting or faulty or [LeftForLater("there is no complete checkpoint as yet")])[0]


# Where so many that can be read do not fit, it is the sweep that does not fit the run.
_MISFITS = 3


def copied(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copy weights; what is one tensor under several names stays one."""
    copies = {id(value): value.clone() for value in state.values()}
    return {name: copies[id(value)] for name, value in state.items()}


def _all_gone(todo: Sequence[Checkpoint]) -> bool:
    """Whether of several local checkpoints none is there any more."""
    paths = [checkpoints.local_path(c.uri) for c in todo if not checkpoints.is_remote(c.uri)]
    return len(paths) > 1 and len(paths) == len(todo) and not any(map(Path.exists, paths))


def _read(checkpoint: Checkpoint, path: Path | Exception, sweep: Sweep) -> Read:
    """Read a checkpoint that is still the one which was listed."""
    options = sweep.storage_options
    with checkpoints.as_listed(checkpoint, path, storage_options=options) as where:
        if checkpoint.format in ("parts", "several"):
            raise ValueError(f"{checkpoint.uri}: {checkpoint.note}")
        weights = checkpoint.weights
        taken = checkpoints.take(where, trust=sweep.trust_checkpoints, weights=weights)
        state = taken.weights
        if not checkpoints.is_remote(checkpoint.uri):
            # Mapped from a file that a training loop may write again, they could change later.
            state = copied(state)
        digest = checkpoints.digest(where, weights=weights)
        note = "; ".join(filter(None, [checkpoint.choice, taken.note]))
        return Read(where, state, digest, replace(taken, weights={}, note=note))
