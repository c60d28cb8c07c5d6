"""How the names of two copies of a network go together, by prefixes and shapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dynamics.checkpoints.names import is_average

State = dict[str, Any]


@dataclass(frozen=True)
class Fit:
    """How the names of a copy and of trained weights go together.

    `own` is the prefix of the copy's names, `under` that of the trained ones in its place, `known`
    are the trained ones without it; `names` translates what remains.
    """

    own: str
    under: str
    known: frozenset[str]
    names: Mapping[str, str] = field(default_factory=dict)


def aligned(state: State, trained: State) -> Fit | None:
    """Find the prefixes by which most of a copy has names and shapes of trained weights.

    Parameters
    ----------
    state : dict of str to tensor
        What may be a copy.
    trained : dict of str to tensor
        The network; of both, only names and shapes are looked at.

    Returns
    -------
    Fit or None
        None where it is no copy of the network or of a part of it.
    """
    shapes = {name: tuple(value.shape) for name, value in trained.items()}
    ends: dict[str, list[str]] = {}  # by the end of a name, what may be before it
    for name in shapes:
        for before, end in _split(name):
            ends.setdefault(end, []).append(before)
    votes: Counter[tuple[str, str]] = Counter()
    for name, value in state.items():
        shape = tuple(value.shape)
        for own, end in _split(name):
            there = ends.get(end, [])
            if len(there) <= _COMMON:
                votes.update((own, under) for under in there if shapes[under + end] == shape)
    if votes:
        own, under = min(
            votes, key=lambda pair: (-votes[pair], not is_average(pair[0]), sum(map(len, pair)))
        )
        mine, theirs = under_prefix(state, own), under_prefix(trained, under)
        whole = bool(under) and len(mine) == len(theirs) == votes[own, under]
        if whole or _enough(votes[own, under], mine, theirs, trained):
            return Fit(own, under, frozenset(theirs))
    return _dotless(state, trained)


# An end such as ``weight`` that more names have tells nothing.
_COMMON = 64


def _split(name: str) -> Iterator[tuple[str, str]]:
    place = 0
    while True:
        yield name[:place], name[place:]
        place = name.find(".", place) + 1
        if not place:
            return


def _enough(count: int, state: State, under: State, trained: State) -> bool:
    floats = sum(len(value.shape) > 0 for value in state.values())
    return 2 * count >= max(floats, len(under)) and 10 * count >= len(trained)


def _dotless(state: State, trained: State) -> Fit | None:
    """Match names whose dots were taken out, as averages that are buffers of a module have."""
    if any("." in name for name in state):
        return None
    for under in dict.fromkeys(["", *(f"{n.partition('.')[0]}." for n in trained if "." in n)]):
        known = under_prefix(trained, under)
        names = {name.replace(".", ""): name for name in known}
        count = sum(
            name in names and tuple(known[names[name]].shape) == tuple(value.shape)
            for name, value in state.items()
        )
        if count > 1 and _enough(count, state, known, trained):
            return Fit("", under, frozenset(known), names)
    return None


def under_prefix(state: State, prefix: str) -> State:
    """Return what has a prefix, by the names without it."""
    return {n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
