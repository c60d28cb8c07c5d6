"""What a pretraining run hears: folders of recordings, and sounds synthesised from a seed."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soxr

from dynamics.models.mel import SAMPLE_RATE
from dynamics.reference.synthesis import KINDS, sound
from dynamics.sounds.audio import (
    SUFFIXES,
    duration,
    read_audio,
    sounds_in,
)
from dynamics.tables import check_name

logger = logging.getLogger(__name__)

_GAP = SAMPLE_RATE // 10
_QUIET = 1e-3
_TRIES = 8


class Recordings:
    """All audio files of a folder, decoded once into memory (16 bit, 24 kHz, mono).

    Parameters
    ----------
    folder : str or Path
        Searched with its subfolders.
    leave_out : sequence of str
        Patterns (``fnmatch``) of file names to leave out.
    hours : float
        Files are taken in an order drawn from `seed` until this much is loaded.
    seed : int
        Of that order.

    Raises
    ------
    FileNotFoundError
        Where there is no such folder, or no audio in it.
    ValueError
        Where a file is empty or not audio; the message names it.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        leave_out: Sequence[str] = (),
        hours: float = 20.0,
        seed: int = 0,
    ):
        paths = _audio_files(Path(folder).expanduser(), leave_out)
        durations = [duration(path) for path in paths]
        chosen: list[int] = []
        seconds = 0.0
        for i in np.random.default_rng(seed).permutation(len(paths)):
            if chosen and seconds + durations[i] > hours * 3600:
                continue
            chosen.append(int(i))
            seconds += durations[i]
        if len(chosen) < len(paths):
            logger.info("%s: %d of %d files fill %g h", folder, len(chosen), len(paths), hours)
        self.paths = [paths[i] for i in sorted(chosen)]
        with ThreadPoolExecutor(2) as pool:
            files = list(pool.map(_decode, self.paths))
        # One long tape: short files become parts of a clip instead of needing padding.
        gap = np.zeros(_GAP, dtype=np.int16)
        self._tape = np.concatenate([part for file in files for part in (file, gap)])
        self._ends = np.cumsum([file.size + _GAP for file in files])

    @property
    def seconds(self) -> float:
        """Duration of everything that is loaded (s)."""
        return self._tape.size / SAMPLE_RATE

    def clip(self, rng: np.random.Generator, samples: int) -> np.ndarray:
        """Random excerpt (samples,), float32; silent places are avoided."""
        for _ in range(_TRIES):
            start = int(rng.integers(max(1, self._tape.size - samples + 1)))
            part = self._tape[start : start + samples].astype(np.float32) / 32768
            if part.std() > _QUIET:
                break
        return np.pad(part, (0, samples - part.size), mode="wrap")

    def files(self) -> Iterator[tuple[str, np.ndarray, int]]:
        """Path, waveform (int16) and rate of every file, for `dynamics.reference.overlap`."""
        for path, end, start in zip(self.paths, self._ends, np.append(0, self._ends)):
            yield str(path), self._tape[start : end - _GAP], SAMPLE_RATE


class Synthesised:
    """A bank of synthesised sounds; each is made when it is first needed, from (seed, number).

    Parameters
    ----------
    kinds : sequence of str
        Names in `dynamics.reference.synthesis.KINDS`, in turn.
    sounds : int
        How many different ones.
    seconds : float
        Duration of each; clips are excerpts.
    seed : int
        Of all of them.

    Raises
    ------
    ValueError
        For an unknown kind.
    """

    def __init__(self, kinds: Sequence[str], *, sounds: int, seconds: float, seed: int):
        for kind in kinds:
            check_name("kind of sound", kind, KINDS)
        self.kinds, self.sounds, self.duration, self.seed = tuple(kinds), sounds, seconds, seed
        self._bank: dict[int, np.ndarray] = {}

    def clip(self, rng: np.random.Generator, samples: int) -> np.ndarray:
        """Random excerpt (samples,), float32, of a random sound."""
        number = int(rng.integers(self.sounds))
        if number not in self._bank:
            # The word keeps these generators apart from those of an evaluation set.
            own = np.random.default_rng([self.seed, number, 0x707265])
            kind = self.kinds[number % len(self.kinds)]
            made = sound(kind, own, sample_rate=SAMPLE_RATE, seconds=self.duration)
            self._bank[number] = np.round(made * 32767).astype(np.int16)
        whole = self._bank[number]
        for _ in range(_TRIES):
            start = int(rng.integers(max(1, whole.size - samples + 1)))
            part = whole[start : start + samples].astype(np.float32) / 32768
            if part.std() > _QUIET:
                break
        return np.pad(part, (0, samples - part.size), mode="wrap")

    def files(self) -> Iterator[tuple[str, np.ndarray, int]]:
        """Nothing: these sounds come from no file."""
        yield from ()


def _audio_files(folder: Path, leave_out: Sequence[str]) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {str(folder)!r} to pretrain on")
    found = [
        path
        for path in sounds_in(folder)[0]
        if not any(fnmatch.fnmatchcase(path.name, pattern) for pattern in leave_out)
    ]
    if not found:
        raise FileNotFoundError(
            f"there is no audio to pretrain on in {str(folder)!r}: looked for files ending in "
            f"{', '.join(SUFFIXES)}"
        )
    return found


def _decode(path: Path) -> np.ndarray:
    mono, rate = read_audio(path)
    if rate != SAMPLE_RATE:
        mono = soxr.resample(mono, rate, SAMPLE_RATE, quality="HQ")
    return np.round(np.clip(mono, -1, 1) * 32767).astype(np.int16)
