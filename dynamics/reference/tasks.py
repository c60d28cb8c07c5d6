"""Tasks whose sounds are generated: nothing to download, and every run hears the same."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial

import numpy as np

from dynamics.probes.task import SPLITS, Task, make_task
from dynamics.reference import synthesis
from dynamics.sounds import StimulusSet

PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_RATE = 16000
_LOWEST_OCTAVE, _OCTAVES = 2, 4
_C0 = 440.0 * 2 ** (-57 / 12)


def pitch_class(
    *,
    seed: int = 0,
    train: int = 20,
    valid: int = 6,
    test: int = 10,
    seconds: float = 1.0,
) -> Task:
    """Tell the twelve pitch classes apart, whatever octave and timbre.

    A sound is a harmonic tone in one of four octaves (C2 to B5, 65 to 988 Hz), up to 20 cents out
    of tune. Slope of the spectrum, two formants, strength of even harmonics, a missing fundamental
    in one of four, attack, decay, vibrato and some noise are drawn for every sound.

    Parameters
    ----------
    seed : int
        A sound depends on seed, split, class and number alone.
    train, valid, test : int
        Sounds of each class.
    seconds : float
        Duration of each sound.

    Returns
    -------
    Task
        12 classes.
    """

    def tone(name: str, rng: np.random.Generator) -> np.ndarray:
        return _tone(PITCH_CLASSES.index(name), rng, seconds)

    counts = {"train": train, "valid": valid, "test": test}
    text = "pitch class of generated harmonic tones of any octave and timbre"
    return _generated("pitch-class", PITCH_CLASSES, tone, counts, seconds, seed, text)


def sound_category(
    *,
    seed: int = 0,
    train: int = 20,
    valid: int = 6,
    test: int = 10,
    seconds: float = 1.0,
) -> Task:
    """Tell the kinds of generated sounds apart (all `synthesis.KINDS` but mixtures).

    Parameters
    ----------
    seed, train, valid, test, seconds
        As in `pitch_class`.

    Returns
    -------
    Task
        One class a kind.
    """
    kinds = tuple(kind for kind in synthesis.KINDS if kind != "mixture")

    def make(name: str, rng: np.random.Generator) -> np.ndarray:
        return synthesis.sound(name, rng, sample_rate=_RATE, seconds=seconds)

    counts = {"train": train, "valid": valid, "test": test}
    text = "kind of generated sound"
    return _generated("sound-category", kinds, make, counts, seconds, seed, text)


def _generated(
    task: str,
    classes: tuple[str, ...],
    make: Callable[[str, np.random.Generator], np.ndarray],
    counts: dict[str, int],
    seconds: float,
    seed: int,
    text: str,
) -> Task:
    if few := [split for split, count in counts.items() if count < 1]:
        raise ValueError(f"task '{task}': `{few[0]}` must be at least 1 sound a class")
    if not seconds >= 0.1:
        raise ValueError(f"task '{task}': `seconds` is {seconds}: give at least 0.1 s")
    members = [
        (split, name, number)
        for split, count in counts.items()
        for name in classes
        for number in range(count)
    ]

    def source(split: str, name: str, number: int) -> tuple[np.ndarray, int]:
        # The name of the task is part of the key: pretraining on synthetic sounds of the same seed
        # hears others.
        key = (seed, zlib.crc32(f"{task}/{name}".encode()), SPLITS.index(split), number)
        return make(name, np.random.default_rng(key)), _RATE

    stimuli = StimulusSet(
        name=task,
        names=tuple(f"{split}-{name}-{number:02d}" for split, name, number in members),
        categories=tuple(name for _, name, _ in members),
        durations=np.full(len(members), round(seconds * _RATE) / _RATE),
        sources=tuple(partial(source, *member) for member in members),
    )
    splits = [split for split, _, _ in members]
    return make_task(task, stimuli, stimuli.categories, splits, classes=classes, description=text)


def _tone(pitch_class: int, rng: np.random.Generator, seconds: float) -> np.ndarray:
    t = np.arange(round(seconds * _RATE)) / _RATE
    octave = _LOWEST_OCTAVE + rng.integers(_OCTAVES)
    f0 = _C0 * 2 ** (octave + (pitch_class + rng.uniform(-0.2, 0.2)) / 12)
    vibrato = rng.uniform(0, 0.006) * np.sin(2 * np.pi * rng.uniform(4, 7) * t)
    phase = 2 * np.pi * f0 * np.cumsum(np.exp(vibrato)) / _RATE
    slope, even = rng.uniform(0.5, 2.0), rng.uniform(0.1, 1.0)
    peaks = np.exp(rng.uniform(np.log(300), np.log(5000), 2))
    first = 2 if rng.random() < 0.25 else 1
    tone = np.zeros_like(t)
    for harmonic in range(first, int(min(20, 0.45 * _RATE / f0)) + 1):
        f = harmonic * f0
        gain = harmonic**-slope * (even if harmonic % 2 == 0 else 1.0)
        gain *= 0.1 + np.exp(-0.5 * (np.log2(f / peaks) / 0.5) ** 2).sum()
        tone += gain * np.sin(harmonic * phase + rng.uniform(0, 2 * np.pi))
    attack, decay = np.exp(rng.uniform(np.log([0.005, 0.3]), np.log([0.15, 3.0])))
    tone *= np.minimum(t / attack, 1) * np.exp(-t / decay)
    tone += 10 ** rng.uniform(-2.5, -1.5) * np.abs(tone).max() * rng.standard_normal(t.size)
    return synthesis.normalise(tone, _RATE)
