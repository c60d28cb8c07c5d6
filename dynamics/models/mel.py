"""Kaldi-compatible log-mel spectrogram of whole batches."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

SAMPLE_RATE = 24000
FRAME_SECONDS = 0.02656
SHIFT_SECONDS = 0.01328
WINDOW = int(SAMPLE_RATE * FRAME_SECONDS)
SHIFT = int(SAMPLE_RATE * SHIFT_SECONDS)
MEAN, DEVIATION = -6.12, 4.82

_FFT = 1024
_PREEMPHASIS = 0.97
_LOWEST_HZ = 20.0


def log_mel(waveforms: torch.Tensor, *, mels: int = 256) -> torch.Tensor:
    """Normalised log-mel frames, as Kaldi's ``compute-fbank-feats`` gives them at 24 kHz.

    Frames of 26.56 ms every 13.28 ms (637 and 318 samples), mean removed, pre-emphasis 0.97,
    symmetric Hann window, power spectrum, triangles even on the scale 1127 ln(1 + f / 700) from
    20 Hz to 12 kHz, natural logarithm; then (x + 6.12) / 4.82. No dither, no energy.

    Parameters
    ----------
    waveforms : torch.Tensor of shape (batch, samples) or (samples,)
        At 24 kHz, in [-1, 1].
    mels : int
        Number of triangles.

    Returns
    -------
    torch.Tensor of shape (batch, frames, mels) or (frames, mels)
        Only frames that lie wholly inside, so a frame never sees the end's padding.
    """
    frames = waveforms.unfold(-1, WINDOW, SHIFT)
    frames = frames - frames.mean(dim=-1, keepdim=True)
    before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
    window = torch.hann_window(WINDOW, periodic=False, dtype=frames.dtype, device=frames.device)
    spectrum = torch.fft.rfft((frames - _PREEMPHASIS * before) * window, n=_FFT)
    power = spectrum.real**2 + spectrum.imag**2
    energy = power @ _triangles(mels).to(power)
    # Kaldi's floor; narrow low triangles can fall between two bins and be empty.
    energy = energy.clamp_min(torch.finfo(torch.float32).eps)
    return (energy.log() - MEAN) / DEVIATION


def frame_count(samples: torch.Tensor) -> torch.Tensor:
    """Count the frames of signals.

    Parameters
    ----------
    samples : torch.Tensor of shape (batch,)
        Lengths at 24 kHz.

    Returns
    -------
    torch.Tensor of shape (batch,), int64
        0 for what is shorter than a frame.
    """
    return ((samples.to(torch.int64) - WINDOW).div(SHIFT, rounding_mode="floor") + 1).clamp_min(0)


@lru_cache(maxsize=8)
def _triangles(mels: int) -> torch.Tensor:
    """Weights (bins, mels) of every triangle at every bin.

    In single precision like Kaldi's: with 256 mels some triangles just touch a bin, and there the
    rounding shows in the logarithm.
    """
    single = np.float32
    bins = (np.arange(_FFT // 2) * SAMPLE_RATE / _FFT).astype(single)
    scale = single(1127.0) * np.log(single(1.0) + bins / single(700.0))
    low, high = 1127.0 * np.log1p(np.array([_LOWEST_HZ, SAMPLE_RATE / 2]) / 700.0)
    step, edge = single((high - low) / (mels + 1)), np.arange(mels, dtype=single)
    left, centre, right = (single(low) + (edge + single(i)) * step for i in range(3))
    rise = (scale[:, None] - left) / (centre - left)
    fall = (right - scale[:, None]) / (right - centre)
    weights = np.zeros((_FFT // 2 + 1, mels), dtype=single)
    # Kaldi leaves the bin at half the rate out.
    weights[:-1] = np.maximum(single(0.0), np.minimum(rise, fall))
    return torch.from_numpy(weights)


def inside(count: torch.Tensor, length: int) -> torch.Tensor:
    """Mark the frames of every stimulus that are its own.

    Parameters
    ----------
    count : torch.Tensor of shape (batch,)
        How many these are.
    length : int
        Frames of the batch.

    Returns
    -------
    torch.Tensor of shape (batch, length), bool
        Whether a frame is among the first `count`.
    """
    return torch.arange(length, device=count.device) < count[:, None]
