"""Building blocks of synthesised sounds: sources, envelopes, and filters that move in time.

The source-filter account of sound production: Fant (1960), Acoustic Theory of Speech Production.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Gain = Callable[[np.ndarray, np.ndarray], np.ndarray]

# Rows: F1, F2, F3 in Hz of a long vocal tract (near the averages of Peterson & Barney, 1952,
# doi:10.1121/1.1906875, for i e ae a o u and a neutral vowel).
VOWELS = np.array(
    [
        [270, 2290, 3010],
        [530, 1840, 2480],
        [660, 1720, 2410],
        [730, 1090, 2440],
        [570, 840, 2410],
        [300, 870, 2240],
        [500, 1500, 2500],
    ],
    dtype=float,
)


def pulses(f0: np.ndarray, sample_rate: int) -> np.ndarray:
    """Pulse train of all harmonics below half the rate, by the closed form of their sum.

    sum over k of cos(k x), k = 1 ... K, is sin((K + 1/2) x) / (2 sin(x / 2)) - 1/2. K follows the
    pitch; its fraction fades the next harmonic in, so that a gliding pitch neither aliases nor
    clicks.

    Parameters
    ----------
    f0 : numpy.ndarray of shape (samples,)
        Pitch (Hz).
    sample_rate : int
        Samples a second (Hz).

    Returns
    -------
    numpy.ndarray of shape (samples,)
        Of about unit power, whatever the pitch.
    """
    x = 2 * np.pi * ((np.cumsum(f0) / sample_rate) % 1.0)
    harmonics = np.maximum(1.0, 0.48 * sample_rate / f0 - 1)
    K = np.floor(harmonics)
    half = np.sin(x / 2)
    near = np.abs(half) < 1e-6
    total = np.sin((K + 0.5) * x) / np.where(near, 1.0, 2 * half) - 0.5
    total = np.where(near, K, total) + (harmonics - K) * np.cos((K + 1) * x)
    return total * np.sqrt(2 / harmonics)


def drift(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    """Factor on a pitch that wanders by about one percent, with a new target every 20 ms.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the targets.
    t : numpy.ndarray of shape (samples,)
        Times (s), rising.

    Returns
    -------
    numpy.ndarray of shape (samples,)
        Around 1.
    """
    knots = np.arange(0, t[-1] + 0.04, 0.02)
    return np.exp(np.interp(t, knots, rng.normal(0, 0.01, knots.size)))


def attack_decay(since: np.ndarray, attack: float, decay: float) -> np.ndarray:
    """Envelope of a note: a linear rise over `attack`, an exponential fall with constant `decay`.

    Parameters
    ----------
    since : numpy.ndarray of shape (samples,)
        Time since the note began (s).
    attack, decay : float
        Both in s.

    Returns
    -------
    numpy.ndarray of shape (samples,)
        Between 0 and 1.
    """
    return np.clip(since / attack, 0, 1) * np.exp(-since / decay)


def bumps(t: np.ndarray, centres: np.ndarray, width: float, heights: np.ndarray) -> np.ndarray:
    """Sum of raised-cosine bumps, as of syllables.

    Parameters
    ----------
    t : numpy.ndarray of shape (samples,)
        Evenly spaced times from 0 (s).
    centres, heights : numpy.ndarray of shape (bumps,)
        Where (s) and how high.
    width : float
        Half-width (s).

    Returns
    -------
    numpy.ndarray of shape (samples,)
        The envelope.
    """
    envelope = np.zeros_like(t)
    rate = (t.size - 1) / t[-1]
    for centre, height in zip(centres, heights):
        start = int(np.clip(np.ceil((centre - width) * rate), 0, t.size))
        stop = int(np.clip(np.floor((centre + width) * rate) + 1, 0, t.size))
        span = slice(start, stop)
        envelope[span] += height * (0.5 + 0.5 * np.cos(np.pi * (t[span] - centre) / width))
    return envelope


def resonances(f: np.ndarray, centres: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Gain of parallel resonances over a floor of 0.01.

    Parameters
    ----------
    f : numpy.ndarray of shape (1, bins)
        Frequencies (Hz).
    centres, widths : numpy.ndarray of shape (peaks,)
        In Hz.

    Returns
    -------
    numpy.ndarray of shape (1, bins)
        Gain.
    """
    distance = (f[..., None] - centres) / widths
    return (1 / (1 + distance**2)).sum(axis=-1) + 0.01


def vocal_tract(rng: np.random.Generator, centres: np.ndarray) -> Gain:
    """Vocal tract of random length that glides from vowel to vowel.

    Parameters
    ----------
    rng : numpy.random.Generator
        Chooses length and vowels.
    centres : numpy.ndarray of shape (vowels,)
        When each vowel is reached (s), rising.

    Returns
    -------
    callable
        A gain for `filtered`.
    """
    targets = VOWELS[rng.integers(len(VOWELS), size=centres.size)] * rng.uniform(0.9, 1.3)
    targets = targets * np.exp(rng.normal(0, 0.05, targets.shape))
    weights = np.array([1.0, 0.6, 0.35])

    def gain(f: np.ndarray, at: np.ndarray) -> np.ndarray:
        formants = np.stack([np.interp(at, centres, column) for column in targets.T], axis=1)
        distance = (f[..., None] - formants[:, None, :]) / (40 + 0.05 * formants[:, None, :])
        return (weights / (1 + distance**2)).sum(axis=-1) / (1 + f / 1500) + 0.002

    return gain


def filtered(wave: np.ndarray, gain: Gain, sample_rate: int) -> np.ndarray:
    """Multiply the short-time spectrum of a signal by a gain that may move in time.

    Frames of about 40 ms, half overlapping; half a sine as the window on both sides, whose square
    sums to one.

    Parameters
    ----------
    wave : numpy.ndarray of shape (samples,)
        The signal.
    gain : callable
        Of frequencies (1, bins) in Hz and times (frames,) in s; its result broadcasts to
        (frames, bins).
    sample_rate : int
        Samples a second (Hz).

    Returns
    -------
    numpy.ndarray of shape (samples,)
        The filtered signal; a gain of one leaves it as it was.
    """
    hop = round(0.02 * sample_rate)
    window = np.sin(np.pi * (np.arange(2 * hop) + 0.5) / (2 * hop))
    blocks = -(-wave.size // hop) + 1
    padded = np.zeros((blocks + 1) * hop)
    padded[hop : hop + wave.size] = wave
    halves = padded.reshape(blocks + 1, hop)
    frames = np.concatenate([halves[:-1], halves[1:]], axis=1) * window
    f = np.fft.rfftfreq(2 * hop, 1 / sample_rate)[None, :]
    spectrum = np.fft.rfft(frames, axis=1) * gain(f, np.arange(blocks) * hop / sample_rate)
    frames = np.fft.irfft(spectrum, n=2 * hop, axis=1) * window
    out = np.zeros_like(halves)
    out[:-1] += frames[:, :hop]
    out[1:] += frames[:, hop:]
    return out.ravel()[hop : hop + wave.size]
