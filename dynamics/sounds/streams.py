"""Sounds decoded block by block, for those that memory is not to hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soxr

from dynamics.sounds.audio import CANCELLED, blocks_of, opened, read_audio, warn_once


class Stream(Protocol):
    """A sound that can be had block by block."""

    @property
    def rate(self) -> int:
        """Its own rate, in Hz."""
        ...

    def stream(self, sample_rate: int) -> Iterator[np.ndarray]:
        """Yield its samples at a rate, mono float32 arrays of shape (n_samples,)."""
        ...


def stream_of(source: Any) -> Stream | None:
    """Return what gives the sound of a source block by block; None where nothing does.

    Parameters
    ----------
    source : callable
        Of a `dynamics.sounds.StimulusSet`: ``partial(read_audio, path)``, or one that is a
        `Stream` itself.

    Returns
    -------
    Stream or None
        Of the same samples.
    """
    if isinstance(source, partial) and source.func is read_audio:
        return _File(Path(source.args[0]))
    return source if hasattr(source, "stream") else None


@dataclass(frozen=True)
class _File:
    path: Path

    @property
    def rate(self) -> int:
        with opened(self.path) as file:
            return int(file.samplerate)

    def stream(self, sample_rate: int) -> Iterator[np.ndarray]:
        return stream(self.path, sample_rate)


def stream(path: str | Path, sample_rate: int) -> Iterator[np.ndarray]:
    """Decode and resample a file block by block, for sounds that memory does not hold.

    Parameters
    ----------
    path : str or Path
        A file that libsndfile reads.
    sample_rate : int
        Rate that is wanted (Hz).

    Yields
    ------
    ndarray of shape (n_samples,)
        Mono float32, of the samples of `read_audio` and `resample` one block after the other; of a
        resampled sound, alike to single precision.

    Raises
    ------
    FileNotFoundError, ValueError
        As `read_audio`.
    """
    empty = True
    with opened(path) as file:
        first_alone = file.channels > 1 and _channels_cancel(path)
        changed = None
        if file.samplerate != sample_rate:
            changed = soxr.ResampleStream(
                file.samplerate, sample_rate, 1, dtype="float32", quality="VHQ"
            )
        for block in blocks_of(file):
            mono = block[:, 0].copy() if first_alone else block.mean(axis=1)
            if not np.isfinite(mono).all():
                raise ValueError(f"{path} has no finite samples: replace or remove it")
            empty = empty and not mono.size
            yield mono if changed is None else changed.resample_chunk(mono)
        if empty:
            raise ValueError(f"{path} has no finite samples: replace or remove it")
        if changed is not None:
            yield changed.resample_chunk(np.empty(0, np.float32), last=True)


def _channels_cancel(path: str | Path) -> bool:
    state = Path(path).stat()
    return _cancel(str(path), state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=2**12)
def _cancel(path: str, size: int, written: int) -> bool:
    """Whether the average of a file's channels is next to nothing beside them; said once."""
    with opened(path) as file:
        sums = np.zeros(3)
        for block in blocks_of(file):
            mono = block.mean(axis=1)
            sums += (
                np.square(mono, dtype=float).sum(),
                np.square(block, dtype=float).sum(),
                len(mono),
            )
        channels = file.channels
    cancel = bool(sums[2]) and sums[0] < 1e-6 * sums[1] / channels
    if cancel:
        warn_once(f"{path}: {CANCELLED}")
    return cancel
