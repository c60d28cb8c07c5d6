"""Sounds made from nothing but a random generator, in kinds that differ as natural sounds do.

Every kind is a source (band-limited pulses, noise, struck modes) through a filter that moves in
time. The parameters of a kind (pitch, rate, bandwidth, vocal tract ...) are drawn over wide
ranges, so that two sounds of one kind share their structure and hardly their spectrum. A sound of
two seconds costs about ten milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.signal import lfilter

from dynamics.reference.sourcefilter import (
    attack_decay,
    bumps,
    drift,
    filtered,
    pulses,
    resonances,
    vocal_tract,
)
from dynamics.tables import check_name

Synthesiser = Callable[[np.random.Generator, int, float], np.ndarray]

RMS = 0.08
PEAK = 0.9
RAMP_SECONDS = 0.01
STEPS = 2**15


def sound(
    kind: str,
    rng: np.random.Generator,
    *,
    sample_rate: int = 24000,
    seconds: float = 2.0,
) -> np.ndarray:
    """Synthesise one sound.

    Parameters
    ----------
    kind : str
        A name in `KINDS`.
    rng : numpy.random.Generator
        Source of every random choice; the same state gives the same sound.
    sample_rate : int
        Samples a second (Hz), at least 8000.
    seconds : float
        Duration, at least 0.1 s.

    Returns
    -------
    numpy.ndarray of shape (round(sample_rate * seconds),), float32
        Root mean square `RMS` unless that would push the peak over `PEAK`; both ends are ramped
        to zero over `RAMP_SECONDS`. Whole numbers of 2**-15, as in a file of 16 bits, so that the
        same state gives the same sound, and digest, on processors that round differently.

    Raises
    ------
    ValueError
        If the kind is unknown, or rate or duration is too small.
    """
    check_name("kind of sound", kind, KINDS)
    if sample_rate < 8000:
        raise ValueError(f"sample_rate is {sample_rate} Hz: give at least 8000 Hz")
    if not seconds >= 0.1:
        raise ValueError(f"seconds is {seconds}: give at least 0.1 s")
    wave = normalise(KINDS[kind](rng, sample_rate, seconds), sample_rate)
    return np.round(wave * STEPS) / np.float32(STEPS)


def normalise(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Remove the mean, ramp both ends, and scale to the common level.

    Parameters
    ----------
    wave : numpy.ndarray of shape (samples,)
        Any real signal.
    sample_rate : int
        Samples a second (Hz).

    Returns
    -------
    numpy.ndarray of shape (samples,), float32
        Silence stays silence.
    """
    wave = np.asarray(wave, dtype=np.float64) - np.mean(wave)
    ramp = max(1, round(sample_rate * RAMP_SECONDS))
    slope = 0.5 - 0.5 * np.cos(np.pi * np.arange(ramp) / ramp)
    wave[:ramp] *= slope
    wave[-ramp:] *= slope[::-1]
    scale = max(np.sqrt(np.mean(wave**2)) / RMS, np.abs(wave).max() / PEAK, 1e-12)
    return (wave / scale).astype(np.float32)


def harmonic(rng: np.random.Generator, sample_rate: int, seconds: float) -> np.ndarray:
    """Sustained harmonic tone: steady or vibrato, with or without its fundamental."""
    t = _times(sample_rate, seconds)
    vibrato = rng.uniform(0, 0.03) * np.sin(2 * np.pi * rng.uniform(3, 8) * t + rng.uniform(0, 6))
    f0 = _log_uniform(rng, 60, 1000) * np.exp(vibrato + rng.normal(0, 0.05) * t / seconds)
    peaks = _log_uniform(rng, 200, 6000, size=int(rng.integers(1, 4)))
    lowest = rng.choice([0.0, 0.0, 2.5, 4.5]) * f0.mean()

    def gain(f: np.ndarray, _: np.ndarray) -> np.ndarray:
        return resonances(f, peaks, 0.3 * peaks + 100) * (f > lowest) / (1 + f / 2000)

    tone = filtered(pulses(f0, sample_rate), gain, sample_rate)
    return tone * attack_decay(t, _log_uniform(rng, 0.005, 0.4), _log_uniform(rng, 0.7, 10))


def melody(rng: np.random.Generator, sample_rate: int, seconds: float) -> np.ndarray:
    """Make notes of a scale, plucked or bowed, now and then with a second voice below."""
    t = _times(sample_rate, seconds)
    scale = np.array([[0, 2, 4, 5, 7, 9, 11], [0, 2, 3, 5, 7, 8, 10]][rng.integers(2)])
    tonic, beat = _log_uniform(rng, 110, 520), _log_uniform(rng, 0.11, 0.45)
    lengths = beat * rng.choice([0.5, 1.0, 1.0, 2.0], size=int(2 * seconds / beat) + 2)
    onsets = np.concatenate([[0.0], np.cumsum(lengths)])
    onsets = onsets[onsets < seconds]
    degrees = np.cumsum(rng.choice([-2, -1, -1, 0, 1, 1, 2, 4], size=onsets.size)) % 14
    decay, attack = _log_uniform(rng, 0.08, 2.0), _log_uniform(rng, 0.003, 0.06)
    brightness = _log_uniform(rng, 500, 5000)
    wave = np.zeros_like(t)
    for lower in [0.0] if rng.random() < 0.5 else [0.0, -12.0]:
        step = 1 if lower == 0.0 else 2
        starts, notes = onsets[::step], degrees[::step]
        which = np.searchsorted(starts, t, side="right") - 1
        semitones = scale[notes % 7] + 12 * (notes // 7) + lower
        since = t - starts[which]
        gap = np.clip((np.append(starts[1:], seconds)[which] - t) / 0.01, 0, 1)
        f0 = tonic * 2 ** (semitones[which] / 12)
        wave += pulses(f0, sample_rate) * attack_decay(since, attack, decay) * gap
    return filtered(wave, lambda f, _: 1 / (1 + (f / brightness) ** 2), sample_rate)


def speech(rng: np.random.Generator, sample_rate: int, seconds: float) -> np.ndarray:
    """Speech-like: syllables of gliding formants, a falling pitch contour, fricative bursts."""
    t = _times(sample_rate, seconds)
    rate = rng.uniform(2.5, 6.5)
    centres = (np.arange(int(seconds * rate) + 1) + rng.uniform(0, 0.5)) / rate
    centres = centres + rng.normal(0, 0.12 / rate, centres.size)
    loud = rng.uniform(0.4, 1, centres.size) * (rng.random(centres.size) > 0.12)
    base = _log_uniform(rng, 75, 320)
    accents = rng.normal(0, 0.12, centres.size) - 0.25 * centres / seconds
    f0 = base * np.exp(np.interp(t, centres, accents)) * drift(rng, t)
    voiced = pulses(f0, sample_rate) + 0.03 * rng.standard_normal(t.size)
    width = 0.5 / rate * rng.uniform(0.7, 1.1)
    voiced = voiced * bumps(t, centres, width, loud)
    wave = filtered(voiced, vocal_tract(rng, centres), sample_rate)

    fricative = rng.random(centres.size) < rng.uniform(0.3, 0.8)
    bursts = centres[fricative] - rng.uniform(0.7, 1.1) * width
    if bursts.size:
        colour = _log_uniform(rng, 1800, 8000, size=bursts.size)
        hiss = rng.standard_normal(t.size) * bumps(
            t, bursts, _log_uniform(rng, 0.015, 0.08), rng.uniform(0.2, 1, bursts.size)
        )

        def gain(f: np.ndarray, at: np.ndarray) -> np.ndarray:
            nearest = colour[np.abs(at[:, None] - bursts).argmin(axis=1)][:, None]
            return 1 / (1 + ((f - nearest) / (0.25 * nearest)) ** 2)

        hiss = filtered(hiss, gain, sample_rate)
        wave = wave / _level(wave) + rng.uniform(0.15, 0.6) * hiss / _level(hiss)
    return wave


def song(rng: np.random.Generator, sample_rate: int, seconds: float) -> np.ndarray:
    """Sung vowels: a melody's pitches with vibrato through slowly moving formants."""
    t = _times(sample_rate, seconds)
    length = _log_uniform(rng, 0.25, 0.9)
    onsets = np.arange(0, seconds, length)
    semitones = np.cumsum(rng.choice([-4, -2, -1, 0, 1, 2, 3, 5], size=onsets.size))
    # Two knots a note keep it level, with a short portamento between notes.
    knots = np.stack([onsets + 0.03, onsets + length - 0.03], axis=1).ravel()
    pitch = np.interp(t, knots, np.repeat(semitones, 2))
    vibrato = rng.uniform(0.1, 0.6) * np.sin(2 * np.pi * rng.uniform(4.5, 7) * t)
    f0 = _log_uniform(rng, 110, 500) * 2 ** ((pitch + vibrato) / 12)
    voice = (pulses(f0, sample_rate) + 0.02 * rng.standard_normal(t.size)) * (
        0.25 + bumps(t, onsets + length / 2, 0.55 * length, np.ones(onsets.size))
    )
    return filtered(voice, vocal_tract(rng, onsets + length / 2), sample_rate)


def call(rng: np.random.Generator, sample_rate: int, seconds: float) -> np.ndarray:
    """Animal-like calls: one gesture of rising or falling pitch, repeated with small changes."""
    t = _times(sample_rate, seconds)
    length = _log_uniform(rng, 0.04, 0.5)
    onsets = np.arange(rng.uniform(0, min(0.3, seconds / 2)), seconds, length * rng.uniform(1.2, 4))
    which = np.clip(np.searchsorted(onsets, t, side="right") - 1, 0, None)
    phase = np.clip((t - onsets[which]) / length, 0, 1)
    highest = 0.3 * sample_rate
    start = _log_uniform(rng, 150, 3500) * np.exp(rng.normal(0, 0.06, onsets.size))[which]
    turn, rise, fall = rng.uniform(0.15, 0.85), rng.normal(0, 0.5), rng.normal(0, 0.5)
    f0 = start * np.exp(np.interp(phase, [0, turn, 1], [0, rise, rise + fall]))
    f0 = np.minimum(f0 * (1 + rng.uniform(0, 0.15) * np.sin(2 * np.pi * 30 * t)), highest)
    formant, rough = start.mean() * rng.uniform(1, 4), rng.uniform(0, 0.5)
    source = pulses(f0, sample_rate) * (1 + rough * rng.standard_normal(t.size))
    source *= np.sin(np.pi * phase) ** rng.uniform(0.4, 2)
    return filtered(source, lambda f, _: 1 / (1 + ((f - formant) / formant) ** 4), sample_rate)


def chirp(rng: np.random.Generator, sample_rate: int, seconds: float) -> np.ndarray:
    """Pure sweeps, up or down, once or many times, on a logarithmic frequency axis."""
    t = _times(sample_rate, seconds)
    low, high = np.sort(_log_uniform(rng, 80, 0.42 * sample_rate, size=2))
    cycle = (t * _log_uniform(rng, 0.5, 12) + rng.random()) % 1.0
    shape = [cycle, 1 - cycle, 2 * np.abs(cycle - 0.5), 0.5 - 0.5 * np.cos(2 * np.pi * cycle)]
    f = low * (high / low) ** shape[rng.integers(4)]
    gaps = np.sin(np.pi * cycle) ** rng.choice([0.0, 0.3, 1.0])
    return np.sin(2 * np.pi * np.cumsum(f) / sample_rate) * gaps


def modulated_noise(rng: np.random.Generator, sample_rate: int, seconds: float) -> np.ndarray:
    """Noise in a band, its amplitude modulated at one rate between 2 and 60 Hz."""
    t = _times(sample_rate, seconds)
    cycle = np.sin(2 * np.pi * _log_uniform(rng, 2, 60) * t + rng.uniform(0, 6))
    envelope = (0.5 + 0.5 * cycle) ** rng.uniform(0.5, 6)
    centre = _log_uniform(rng, 200, 7000)
    width = centre * rng.uniform(0.1, 1.5)
    noise = filtered(
        rng.standard_normal(t.size),
        lambda f, _: np.exp(-(((f - centre) / width) ** 2)),
        sample_rate,
    )
    return noise * (envelope + rng.uniform(0, 0.2))


def texture(rng: np.random.Generator, sample_rate: int, seconds: float) -> np.ndarray:
    """Wind- and water-like: tilted noise under a band that wanders slowly, with slow swells."""
    t = _times(sample_rate, seconds)
    knots = np.linspace(0, seconds, rng.integers(3, 10))
    colour = np.log(_log_uniform(rng, 150, 4000)) + np.cumsum(rng.normal(0, 0.25, knots.size))
    swell = np.exp(np.interp(t, knots, rng.normal(0, 0.5, knots.size)))
    tilt, width = rng.uniform(0, 1.5), rng.uniform(0.2, 1.5)

    def gain(f: np.ndarray, at: np.ndarray) -> np.ndarray:
        octaves = (np.log(f + 1) - np.interp(at, knots, colour)[:, None]) / width
        return np.exp(-(octaves**2)) + 0.3 / (1 + f / 300) ** tilt

    return filtered(rng.standard_normal(t.size) * swell, gain, sample_rate)


def impact(rng: np.random.Generator, sample_rate: int, seconds: float) -> np.ndarray:
    """Struck objects: a few blows, or many, on a set of decaying modes."""
    samples = _times(sample_rate, seconds).size
    blows = 1 + rng.poisson(rng.choice([0.5, 3, 12]))
    strikes = np.zeros(samples)
    strikes[rng.integers(0, int(0.85 * samples), blows)] = rng.uniform(0.2, 1, blows)
    strikes[int(rng.uniform(0, 0.1) * samples)] = 1.0
    strikes = lfilter([1.0], [1.0, -np.exp(-1 / (0.0008 * sample_rate))], strikes)
    lowest, damping = _log_uniform(rng, 80, 2500), _log_uniform(rng, 0.01, 0.8)
    wave = 0.2 * strikes * rng.standard_normal(samples)
    for ratio in np.cumsum(np.concatenate([[1.0], rng.uniform(0.3, 1.6, 8)])):
        frequency = lowest * ratio
        if frequency < 0.45 * sample_rate:
            radius = np.exp(-(ratio**0.7) / (damping * sample_rate))
            angle = 2 * np.pi * frequency / sample_rate
            poles = [1.0, -2 * radius * np.cos(angle), radius**2]
            wave += lfilter([np.sin(angle) * rng.uniform(0.2, 1) / ratio], poles, strikes)
    return wave


def machine(rng: np.random.Generator, sample_rate: int, seconds: float) -> np.ndarray:
    """Engine-like: uneven low pulses, noise that follows them, a housing's fixed resonances."""
    t = _times(sample_rate, seconds)
    speed = np.exp(rng.normal(0, 0.3) * np.sin(np.pi * t / seconds + rng.uniform(0, 3)))
    rate = _log_uniform(rng, 12, 160) * speed * drift(rng, t)
    cycle = np.cumsum(rate) / sample_rate
    puff = np.exp(-rng.uniform(2, 15) * (cycle % 1.0))
    stroke = 1 + rng.uniform(0, 0.6) * np.cos(np.pi * cycle)
    source = rng.uniform(0.2, 1) * pulses(rate, sample_rate)
    source += rng.uniform(0.1, 1.5) * puff * rng.standard_normal(t.size)
    peaks = _log_uniform(rng, 100, 5000, size=4)
    return filtered(
        source * stroke, lambda f, _: resonances(f, peaks, 0.2 * peaks + 40), sample_rate
    )


def mixture(rng: np.random.Generator, sample_rate: int, seconds: float) -> np.ndarray:
    """Two sounds of other kinds at once, the second 0 to 15 dB softer."""
    names = [name for name in KINDS if name != "mixture"]
    first, second = (
        normalise(KINDS[names[i]](rng, sample_rate, seconds), sample_rate)
        for i in rng.choice(len(names), size=2, replace=False)
    )
    return first + 10 ** (-rng.uniform(0, 15) / 20) * second


KINDS: dict[str, Synthesiser] = {
    "harmonic": harmonic,
    "melody": melody,
    "speech": speech,
    "song": song,
    "call": call,
    "chirp": chirp,
    "modulated_noise": modulated_noise,
    "texture": texture,
    "impact": impact,
    "machine": machine,
    "mixture": mixture,
}


def _times(sample_rate: int, seconds: float) -> np.ndarray:
    return np.arange(round(sample_rate * seconds)) / sample_rate


def _log_uniform(rng: np.random.Generator, low: float, high: float, size: int | None = None) -> Any:
    """Draw so many numbers, or one."""
    return np.exp(rng.uniform(np.log(low), np.log(high), size))


def _level(wave: np.ndarray) -> float:
    return float(np.sqrt(np.mean(wave**2))) + 1e-12
