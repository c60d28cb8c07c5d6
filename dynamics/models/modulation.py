"""Filters of spectrotemporal modulation: along frequency as matrices, along time as spectra.

Chi, Ru & Shamma (2005), doi:10.1121/1.1945807.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch

ENVELOPE_RATE = 500
FRAME_SECONDS = 0.05
STEPS = round(FRAME_SECONDS * ENVELOPE_RATE)  # envelope samples a frame

RATES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
SCALES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


def spectral_filters(bands: int, per_octave: float) -> np.ndarray:
    """Return the filters along the frequency axis as matrices.

    The transfer function at s cycles per octave, for a filter of scale S, is
    (s/S)^2 exp(1 - (s/S)^2) for positive s and zero for negative ones (Chi et al. 2005): the
    impulse response is complex, its real part symmetric and its imaginary part antisymmetric.

    Parameters
    ----------
    bands : int
        Bands of the cochleagram; silence is taken to lie outside of them.
    per_octave : float
        Bands per octave.

    Returns
    -------
    ndarray of shape (n_scales, bands, bands), complex
        Output band first.
    """
    size = 8 * bands
    s = np.fft.fftfreq(size, 1 / per_octave)
    ratio = np.maximum(s, 0)[None] / np.array(SCALES)[:, None]
    impulse = np.fft.ifft(2 * ratio**2 * np.exp(1 - ratio**2), axis=1)
    return impulse[:, np.subtract.outer(np.arange(bands), np.arange(bands)) % size]


def temporal_filter(frequencies: np.ndarray, rate: float) -> np.ndarray:
    """Return the transfer function of a temporal filter at positive frequencies.

    That of the impulse response t^2 exp(-3.5 rate t) sin(2 pi rate t), t > 0 (Chi et al. 2005),
    scaled to a largest magnitude of one.

    Parameters
    ----------
    frequencies : ndarray of shape (n,)
        Hz.
    rate : float
        Best frequency of the filter (Hz).

    Returns
    -------
    ndarray of shape (n,), complex
        Zero at frequency zero.
    """

    def transfer(f):
        pole = 3.5 + 2j * np.pi * np.asarray(f)
        return 1 / (pole - 2j * np.pi) ** 3 - 1 / (pole + 2j * np.pi) ** 3

    peak = np.abs(transfer(np.linspace(0.5, 1.5, 1001))).max()
    return np.where(frequencies > 0, transfer(frequencies / rate) / (1j * peak), 0)


def power(F: torch.Tensor, size: int, rate: float) -> torch.Tensor:
    """Return the mean squared amplitude of a rate's analytic output in every frame.

    `F` (..., `bins` or more) is the spectrum over time of `size` points at 500 Hz.
    """
    count, short = _samples(rate), size // STEPS * _samples(rate)
    kept = bins(size, rate)
    H = torch.from_numpy(_transfer(size, rate)).to(F.device)
    y = torch.fft.ifft(F[..., :kept] * H, n=short)
    return (y.real**2 + y.imag**2).unflatten(-1, (-1, count)).mean(dim=-1)


def bins(size: int, rate: float) -> int:
    """Return how many frequencies of a spectrum of `size` points a rate's filter takes."""
    return min(size // STEPS * _samples(rate), size // 2 + 1)


def _samples(rate: float) -> int:
    """Return how many samples a frame has of a rate's output.

    Beyond four times its rate a filter passes less than a hundredth, so that a low rate needs few.
    """
    return min(math.ceil(4 * rate * FRAME_SECONDS), math.ceil(STEPS / 2))


@lru_cache(maxsize=2 * len(RATES))
def _transfer(size: int, rate: float) -> np.ndarray:
    """Return a temporal filter at the bins that are taken; sounds of one length share it."""
    count = _samples(rate)
    f = np.arange(bins(size, rate)) * ENVELOPE_RATE / size
    # The samples lie evenly around the centre of the frame.
    H = temporal_filter(f, rate) * np.exp(2j * np.pi * f * FRAME_SECONDS / (2 * count))
    return (2 * count / STEPS * H).astype(np.complex64)
