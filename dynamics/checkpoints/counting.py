"""What the numbers of a run's checkpoints count, and which of the numbers are believed.

An epoch is not a step. Names and contents say which it is where they can; where they cannot, the
user does. What is saved under epoch 0 was trained for one epoch.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from dynamics.checkpoints.checkpoint import Checkpoint, is_remote, last_part
from dynamics.checkpoints.names import read_name
from dynamics.checkpoints.twins import same_weights
from dynamics.checkpoints.wanted import AUTO

logger = logging.getLogger(__name__)

STEPS, EPOCHS, SAVES = "steps", "epochs", "saves"

_FEWEST = 3  # numbers one after the other that are taken for a count of saves
_CLOSE = 2.0  # seconds between times of writing that say nothing of an order
_SHOWN = 3  # pairs that a sentence shows


def believed(found: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Take steps from names where all contents state one and the same, which none can be.

    Parameters
    ----------
    found : sequence of Checkpoint
        As they were looked at, in any order.

    Returns
    -------
    list of Checkpoint
        The same, in the same order.
    """
    stating = [c for c in found if c.known_by == "inside" and c.inside is not None]
    named = {c.uri: read_name(last_part(c.uri)) for c in stating}
    steps = {reading.step for reading in named.values()}
    if len({c.inside for c in stating}) != 1 or None in steps or len(steps) < len(stating):
        return list(found)
    if len(stating) < 2 or same_weights(stating[0].uri, stating[1].uri):
        return list(found)
    logger.warning(
        "%d checkpoints state step %d inside, every one of them: the numbers in their names are "
        "taken, such as %d of %r",
        len(stating), stating[0].inside, named[stating[0].uri].step, last_part(stating[0].uri),
    )  # fmt: skip
    return [_by_name(c) if c.uri in named else c for c in found]


def _by_name(checkpoint: Checkpoint) -> Checkpoint:
    reading = read_name(last_part(checkpoint.uri))
    notes = (n for n in checkpoint.note.split("; ") if n and not n.startswith("its name says"))
    said = f"its inside says step {checkpoint.inside}, as all do, which is not believed"
    step, unit = reading.step or 0, reading.unit
    return replace(
        checkpoint, step=step, known_by="name", unit=unit, note="; ".join([*notes, said])
    )


def counted(
    found: Sequence[Checkpoint], unit: str = AUTO, offset: int | None = None
) -> list[Checkpoint]:
    """Say of every checkpoint what its number counts; count finished epochs, not their names.

    Parameters
    ----------
    found : sequence of Checkpoint
        As they were looked at, in any order.
    unit : str
        What they count, such as ``"epochs"``; ``"auto"``: what names and contents say.
    offset : int, optional
        What is added to the numbers that checkpoints state; by default 1 where epochs are counted
        from 0, as what is saved under epoch 0 was trained for one.

    Returns
    -------
    list of Checkpoint
        In the same order, all of one unit.
    """
    own = [c for c in found if c.known_by != "list"]
    unit = _unit_of(own) if unit == AUTO else unit
    if offset is None:
        offset = int(unit == EPOCHS and any(c.step == 0 for c in own))
    return [
        replace(c, unit=unit) if c.known_by == "list"
        else replace(c, unit=unit, step=c.step + offset, offset=offset)
        for c in found
    ]  # fmt: skip


def _unit_of(own: Sequence[Checkpoint]) -> str:
    # What was not looked into may state a step.
    kinds = {STEPS if c.format == "remote" else c.unit for c in own}
    if kinds == {EPOCHS}:
        return EPOCHS
    if EPOCHS in kinds:
        some = [last_part(c.uri) for c in own if c.unit == EPOCHS]
        logger.warning(
            "%d of %d checkpoints, such as %r, state an epoch, and others a step: both are on one "
            "axis unless `checkpoints` is a mapping of step to place",
            len(some), len(own), some[0],
        )  # fmt: skip
    numbers = sorted({c.step for c in own})
    row = len(numbers) >= _FEWEST and numbers == list(range(numbers[0], numbers[-1] + 1))
    return SAVES if kinds == {""} and row else STEPS


def about(found: Sequence[Checkpoint]) -> str:
    """Say in one sentence what checkpoints count; empty where that is steps."""
    if not found or (unit := found[0].unit) == STEPS:
        return ""
    said = f"their numbers count {unit}"
    if offset := max(c.offset for c in found):
        first = next(c for c in found if c.offset)
        said += (
            f", from 0: {last_part(first.uri)!r} was trained for {first.step} and is no untrained "
            f"network ({offset} is added; a mapping of number to place says otherwise)"
        )
    elif unit == SAVES and found[0].step == 0 and found[0].known_by != "list":
        said += (
            ", the first of which is taken for the untrained network (`step_unit: epochs` if it "
            "was trained for one)"
        )
    return said + "; `step_unit` names another unit"


def doubts(found: Sequence[Checkpoint]) -> Iterator[str]:
    """Say where names or times of writing are in another order than the steps.

    Parameters
    ----------
    found : sequence of Checkpoint
        In the order of their steps.

    Yields
    ------
    str
        A sentence that shows both, for names and for times.
    """
    word = found[0].unit.removesuffix("s") if found else ""
    named = [(c, read_name(last_part(c.uri))) for c in found if c.known_by == "inside"]
    named = [(c, read) for c, read in named if read.step is not None]
    pairs = [
        f"{last_part(a.uri)!r} is of {word} {a.step:,}, {last_part(b.uri)!r} of {b.step:,}"
        for (a, one), (b, two) in itertools.pairwise(named)
        if one.epoch == two.epoch and one.step > two.step  # type: ignore[operator]
    ]
    if pairs:
        yield (
            f"names are in another order than the {word}s inside, which count: {_some(pairs)} "
            "(a mapping of step to place as `checkpoints` says otherwise)"
        )
    timed = [c for c in found if c.modified and not is_remote(c.uri)]
    pairs = [
        f"{word} {a.step:,} ({last_part(a.uri)!r}) at {_when(a)}, {word} {b.step:,} "
        f"({last_part(b.uri)!r}) at {_when(b)}"
        for a, b in itertools.pairwise(timed)
        if a.modified > b.modified + _CLOSE
    ]
    if pairs:
        yield (
            f"checkpoints were written in another order than their {word}s, which count: "
            f"{_some(pairs)} (times may be those of a copy; else give `checkpoints` as a mapping "
            "of step to place)"
        )


def _some(pairs: Sequence[str]) -> str:
    more = f"; and {len(pairs) - _SHOWN} more" if len(pairs) > _SHOWN else ""
    return "; ".join(pairs[:_SHOWN]) + more


def _when(checkpoint: Checkpoint) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(checkpoint.modified))
