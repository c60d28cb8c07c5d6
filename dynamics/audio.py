"""Audio files: duration, samples, resampling, and names made from their paths."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import soundfile
import soxr

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff")


def read_audio(path: str | Path) -> tuple[np.ndarray, int]:
    """Decode a file and average its channels.

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
    duration(path)
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise _not_audio(path) from error
    mono = samples.mean(axis=1)
    if not mono.size or not np.isfinite(mono).all():
        raise ValueError(f"{path} has no finite samples: replace or remove it")
    return mono, int(rate)


def duration(path: str | Path) -> float:
    """Return the duration that a file's header states.

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
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} does not exist: complete the stimulus folder")
    if Path(path).stat().st_size == 0:
        raise ValueError(f"{path} is an empty file: replace or remove it")
    try:
        info = soundfile.info(str(path))
    except soundfile.SoundFileError as error:
        raise _not_audio(path) from error
    if info.frames < 1:
        raise ValueError(f"{path} holds no samples: replace or remove it")
    return info.frames / info.samplerate


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


def without_suffix(name: str) -> str:
    """Return a stimulus name without an audio file's suffix.

    Parameters
    ----------
    name : str
        Such as ``stim5_alarm_clock.wav``.

    Returns
    -------
    str
        Such as ``stim5_alarm_clock``.
    """
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in SUFFIXES else name


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


def _not_audio(path: str | Path) -> ValueError:
    return ValueError(f"{path} is not readable audio: replace or remove it")
