"""What names of files and keys say of weights: averages over training, and other copies."""

from __future__ import annotations

import re
from collections.abc import Iterable

AVERAGES = ("ema", "swa", "avg", "average", "averaged", "averaging", "polyak", "shadow")
# Copies that a network is trained with; which of two is meant, nobody knows but the user.
_PARTNERS = ("teacher", "target", "momentum", "student", "online")


def is_average(name: str) -> bool:
    """Whether a file or entry by this name holds an average of weights over training."""
    return bool(words(name) & set(AVERAGES))


def has_role(name: str) -> bool:
    """Whether a name says that weights are an average, or one of two copies of a network."""
    return bool(roles(name))


def roles(name: str) -> frozenset[str]:
    """Return the words of a name that say so."""
    return frozenset(words(name) & {*AVERAGES, *_PARTNERS})


def words(name: str) -> set[str]:
    """Split a name into its words, in small letters: ``EMAModel_2`` has ema, model and 2."""
    parted = re.sub(r"(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return set(filter(None, re.split(r"[^a-z\d]+", parted.lower())))


def plain_among(names: Iterable[str]) -> str | None:
    """Return the one of several names that is plainly the trained network's; None where none is."""
    names = list(names)
    for choose in (lambda name: not is_average(name), lambda name: not has_role(name)):
        left = [name for name in names if choose(name)]
        if len(left) == 1:
            return left[0]
        names = left or names
    # ``encoder`` beside ``best_encoder``.
    short = [n for n in names if all(words(n) <= words(other) for other in names)]
    return short[0] if len(short) == 1 else None
