"""Audio files: what they hold, resampling, and names made from their paths."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import sys
import tempfile
import threading
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
import soxr

logger = logging.getLogger(__name__)

SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd"),
    *(".w64", ".rf64", ".caf", ".sph", ".nist", ".voc", ".wve"),
)
"""Of files that libsndfile reads."""

UNREADABLE = (
    *(".m4a", ".m4b", ".mp4", ".aac", ".wma", ".asf", ".webm", ".mka", ".mkv", ".mov", ".avi"),
    *(".amr", ".ape", ".wv", ".tta", ".ac3", ".dts", ".dsf", ".ra", ".mid", ".midi", ".shn"),
)
"""Of sounds and films that it does not."""

_BLOCK = 2**16
# Encoded as a stream: only decoding tells how long these are.
_STREAMS = ("FLAC", "OGG", "MP3")
_PLAIN = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")
# A header that knows nothing of the length holds this much, in bytes, or more.
_UNKNOWN = 2**32 - 2**10
_CHATTER = (b"libmpg123", b"Xing stream size", b"Frankenstein", b"mpg123", b"Note: Illegal Audio",
            b"Note: Trying to resync", b"Note: Skipped", b"Note: Hit end of")  # fmt: skip
CANCELLED = "its channels cancel each other when averaged, so the first is used alone"
_stderr = threading.Lock()


def read_audio(path: str | Path) -> tuple[np.ndarray, int]:
    """Decode a file to its end, whatever its header states, and average its channels.

    Of channels that cancel each other (one is the other upside down) the first is used, and a
    warning says so.

    Parameters
    ----------
    path : str or Path
        A file that libsndfile reads.

    Returns
    -------
    samples : ndarray of shape (n_samples,)
        Float32.
    sample_rate : int
        Hz.

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        Where the file is empty, is not audio, or holds values that are not finite.
    """
    with opened(path) as file:
        blocks = list(blocks_of(file))
        rate = int(file.samplerate)
    samples = np.concatenate(blocks) if blocks else np.empty((0, 1), np.float32)
    mono = samples.mean(axis=1)
    if not mono.size or not np.isfinite(mono).all():
        raise ValueError(f"{path} has no finite samples: replace or remove it")
    if samples.shape[1] > 1 and _power(mono) < 1e-6 * _power(samples):
        warn_once(f"{path}: {CANCELLED}")
        mono = samples[:, 0].copy()
    return mono, rate


def duration(path: str | Path) -> float:
    """Return how long a sound is once decoded, whatever its header states.

    Parameters
    ----------
    path : str or Path
        A file that libsndfile reads.

    Returns
    -------
    float
        Seconds.

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        Where the file is empty or is not audio.
    """
    return _durations(path)[0]


def disagreements(paths: Iterable[str | Path]) -> list[str]:
    """Say which sounds are longer or shorter than their headers state.

    Parameters
    ----------
    paths : iterable of str or Path
        Files that libsndfile reads.

    Returns
    -------
    list of str
        Such as ``"cut.mp3: 2 s stated, 0.94 s decoded"``; of those that differ by more than a
        hundredth and 50 ms, which is what padding and estimates of whole files come to.
    """
    out = []
    for path in paths:
        decoded, stated = _durations(path)
        if stated is not None and abs(stated - decoded) > max(0.05, 0.01 * decoded):
            out.append(f"{Path(path).name}: {stated:.3g} s stated, {decoded:.3g} s decoded")
    return out


def _durations(path: str | Path) -> tuple[float, float | None]:
    """Seconds decoded and seconds stated, None where the header leaves them open."""
    there = Path(path)
    if not there.is_file():
        raise FileNotFoundError(f"{path} does not exist: complete the stimulus folder")
    state = there.stat()
    return _measured(str(path), state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=2**16)
def _measured(path: str, size: int, written: int) -> tuple[float, float | None]:
    with opened(path) as file:
        stated: float | None = file.frames
        if file.format not in _STREAMS and file.subtype.startswith(_PLAIN):
            frames = file.frames
            if isinstance(file.name, io.BytesIO):
                stated = 0.0
            for chunk, right in re.findall(
                r"(?:data|SSND|Data Size) *: *(\d+) \(should be (\d+)\)", file.extra_info
            ):
                known = int(chunk) < _UNKNOWN and int(right) > 0
                stated = frames * int(chunk) / int(right) if known else None
        else:
            frames = sum(len(block) for block in blocks_of(file))
            if file.frames >= 2**62 or file.frames < 1:
                stated = None
        rate = file.samplerate
    if frames < 1:
        raise ValueError(f"{path} holds no samples: replace or remove it")
    return frames / rate, None if stated is None else stated / rate


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[soundfile.SoundFile]:
    """Open a file that libsndfile reads; what is none raises as `read_audio` does."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} does not exist: complete the stimulus folder")
    if Path(path).stat().st_size == 0:
        raise ValueError(f"{path} is an empty file: replace or remove it")
    try:
        with _quiet() if Path(path).suffix.lower() == ".mp3" else contextlib.nullcontext():
            file = soundfile.SoundFile(str(path))
        if file.format == "WAV" and file.frames == 0:
            file = soundfile.SoundFile(_open_ended(Path(path)))
    except soundfile.SoundFileError as error:
        raise ValueError(
            f"{path} is not readable audio, or was cut off: replace or remove it"
        ) from error
    with file:
        yield file


def _open_ended(path: Path) -> io.BytesIO:
    """Return a WAV file whose recorder never came back to write its length, with none stated."""
    content = bytearray(path.read_bytes())
    place = content.find(b"data", 12)
    if place > 0:
        content[4:8] = content[place + 4 : place + 8] = b"\xff" * 4
    return io.BytesIO(bytes(content))


def blocks_of(file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    """Yield (n, channels) until the end, or until a stream breaks off."""
    if file.format == "MP3" and file.seekable():
        with contextlib.suppress(soundfile.SoundFileError):
            file.seek(0)  # after which its decoder rounds as `soundfile.read` has it
    while True:
        block = np.full((_BLOCK, file.channels), np.nan, np.float32)
        try:
            # A block at a time, as what reads it may have something to say in between.
            with _quiet() if file.format == "MP3" else contextlib.nullcontext():
                got = len(file.read(_BLOCK, out=block))
        except soundfile.SoundFileError:
            # A stream that breaks off; what came before is in the block already.
            yield block[: int(np.isfinite(block[:, 0]).sum())]
            return
        if not got:
            return
        yield block[:got]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the MP3 decoder prints by itself off standard error; all else goes there after."""
    with _stderr, tempfile.TemporaryFile() as caught:
        sys.stderr.flush()
        try:
            usual = os.dup(2)
        except OSError:  # there is no standard error
            yield
            return
        try:
            os.dup2(caught.fileno(), 2)
            yield
        finally:
            sys.stderr.flush()
            os.dup2(usual, 2)
            os.close(usual)
            caught.seek(0)
            for line in caught:
                if line.strip() and not any(word in line for word in _CHATTER):
                    os.write(2, line)


@lru_cache(maxsize=64)  # a command decodes, and loads, its sounds several times
def warn_once(message: str) -> None:
    """Log a warning about sounds, the first time that it is given."""
    logger.warning("%s", message)


def _power(samples: np.ndarray) -> float:
    return float(np.mean(np.square(samples, dtype=np.float64)))


def resample(samples: np.ndarray, rate: int, sample_rate: int) -> np.ndarray:
    """Change the sampling rate of a sound.

    Parameters
    ----------
    samples : ndarray of shape (n_samples,)
        Mono.
    rate, sample_rate : int
        Rate of `samples`, and the one wanted (Hz).

    Returns
    -------
    ndarray of shape (n_resampled,)
        Float32, read-only.
    """
    if rate != sample_rate:
        samples = soxr.resample(samples, rate, sample_rate, quality="VHQ")
    samples = np.ascontiguousarray(samples, dtype=np.float32)
    samples.setflags(write=False)
    return samples


def sounds_in(folder: str | Path) -> tuple[list[Path], list[Path]]:
    """Look for sounds in a folder and its subfolders.

    What a system put there for itself (hidden files and folders such as ``._x.wav``, and
    ``__MACOSX``) is none.

    Parameters
    ----------
    folder : str or Path
        Where to look.

    Returns
    -------
    readable : list of Path
        Files that libsndfile reads, sorted.
    unreadable : list of Path
        Sounds and films that it does not.
    """
    root = Path(folder)
    readable: list[Path] = []
    unreadable: list[Path] = []
    for path in sorted(root.rglob("*")):
        suffix, places = path.suffix.lower(), path.relative_to(root).parts
        if suffix not in SUFFIXES + UNREADABLE or not path.is_file():
            continue
        if any(part.startswith(".") or part == "__MACOSX" for part in places):
            continue
        (readable if suffix in SUFFIXES else unreadable).append(path)
    return readable, unreadable


def without_suffix(name: str) -> str:
    """Return a stimulus name: without an audio file's suffix, in one spelling.

    One letter can be one sign or two (an accent of its own, as some file systems have it): names
    are compared, and kept, in the composed form (NFC).

    Parameters
    ----------
    name : str
        Such as ``stim5_alarm_clock.wav``.

    Returns
    -------
    str
        Such as ``stim5_alarm_clock``.
    """
    name = unicodedata.normalize("NFC", name)
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in SUFFIXES else name


def spelled(path: Path) -> Path:
    """Return the file that there is under a name, in whichever spelling (NFC, NFD) it was saved.

    Parameters
    ----------
    path : Path
        A file that may be there.

    Returns
    -------
    Path
        The path itself where there is a file, or none in any spelling.
    """
    if path.exists() or not path.parent.is_dir():
        return path
    wanted = unicodedata.normalize("NFC", path.name)
    alike = (p for p in path.parent.iterdir() if unicodedata.normalize("NFC", p.name) == wanted)
    return next(alike, path)


def natural_order(name: str) -> list[tuple[int, int | str]]:
    """Sorting key in which ``stim5`` comes before ``stim10``.

    Parameters
    ----------
    name : str
        Any name.

    Returns
    -------
    list
        Comparable parts of the name: numbers and what is between them.
    """
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]
