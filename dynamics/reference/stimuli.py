"""A stimulus set of synthesised sounds."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import partial

import numpy as np

from dynamics.reference.synthesis import KINDS, sound
from dynamics.sounds import StimulusSet
from dynamics.tables import check_name


def synthetic(
    *,
    seed: int = 0,
    per_kind: int = 8,
    kinds: Sequence[str] | None = None,
    seconds: float = 2.0,
    sample_rate: int = 24000,
) -> StimulusSet:
    """Generate sounds of several kinds; the categories are the kinds.

    Parameters
    ----------
    seed : int
        Every sound depends on the seed, its kind and its index alone.
    per_kind : int
        Sounds of each kind.
    kinds : sequence of str, optional
        Names in `dynamics.reference.synthesis.KINDS`; by default all but mixtures.
    seconds : float
        Duration of each sound.
    sample_rate : int
        Rate (Hz) at which the sounds are made.

    Returns
    -------
    StimulusSet
        Named ``<kind>_<index>``.
    """
    kinds = [kind for kind in KINDS if kind != "mixture"] if kinds is None else kinds
    for kind in kinds:
        check_name("kind of sound", kind, KINDS)
    if per_kind < 1:
        raise ValueError(f"per_kind must be at least 1, not {per_kind}")
    members = [(kind, index) for kind in kinds for index in range(per_kind)]
    return StimulusSet(
        name="synthetic",
        names=tuple(f"{kind}_{index:02d}" for kind, index in members),
        categories=tuple(kind for kind, _ in members),
        durations=np.full(len(members), round(seconds * sample_rate) / sample_rate),
        sources=tuple(
            partial(
                _synthesise, kind, (seed, zlib.crc32(kind.encode()), index), sample_rate, seconds
            )
            for kind, index in members
        ),
    )


def _synthesise(
    kind: str, key: tuple[int, ...], sample_rate: int, seconds: float
) -> tuple[np.ndarray, int]:
    rng = np.random.default_rng(key)
    return sound(kind, rng, sample_rate=sample_rate, seconds=seconds), sample_rate
