"""Find a sound inside other recordings by its content, to keep evaluation out of training.

A fingerprint is a coarse spectrogram: power in 24 bands from 100 Hz to 5 kHz, smoothed over 53 ms,
sampled every 26.5 ms and raised to the power 0.3, so that a gain is a factor and silence stays
silent. Fingerprints are compared by normalised correlation at every offset, with the mean over
bands taken out of every frame and the mean over time out of every band: what remains is the detail
that only the same recording shares. Gain, resampling, lossy coding and neighbours leave it. What
has hardly any detail, such as a single click, can be taken for another of its kind: a false alarm
costs one file to leave out, a miss would cost the result.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import soxr
import torch
from scipy.ndimage import uniform_filter1d

RATE = 12000
HOP = 159 * 2
BANDS = 24
# Of 165 natural sounds in 107 minutes of other recordings the nearest is at 0.61, and a thunder
# that is really in both at 0.86; copies by Opus at 16 kHz stay above 0.98.
THRESHOLD = 0.7

_FFT = 512
_POWER = 0.3
_BLOCK = 4096
_SHORTEST = 8
_LOCAL = 15
_LONG = 35  # frames that are compared of 1.4 s, of which other recordings are at 0.64 at most
# Recordings that hold none of some sounds, by their contents: many runs are trained on one corpus.
_CLEAR: set[tuple[str, str, float]] = set()


def first_overlap(
    evaluation: Iterable[tuple[str, np.ndarray, int]],
    recordings: Iterable[tuple[str, np.ndarray, int]],
    *,
    threshold: float = THRESHOLD,
) -> tuple[str, str, float] | None:
    """Find the first recording that contains a sound of the evaluation set.

    Parameters
    ----------
    evaluation : iterable of (name, waveform, rate)
        The sounds that must not be trained on; waveforms of shape (samples,), rates in Hz.
    recordings : iterable of (name, waveform, rate)
        What would be trained on; read one at a time.
    threshold : float
        Correlation from which two sounds count as one, of 1.4 s and more; `needed` says what a
        shorter one needs.

    Returns
    -------
    tuple of (str, str, float) or None
        Names of the evaluation sound and of the recording, and their correlation.
    """
    evaluation = list(evaluation)
    heard = _digest(evaluation)
    fresh = (
        (recording, wave, rate, key)
        for recording, wave, rate in recordings
        if (key := (heard, _digest([("", wave, rate)]), threshold)) not in _CLEAR
    )
    if (first := next(fresh, None)) is None:
        return None
    names, prints = [], []
    for name, waveform, rate in evaluation:
        # What lies before and after it in a longer file reaches into its first and last frames.
        found = fingerprint(waveform, rate)[_LOCAL // 2 + 1 : -(_LOCAL // 2) - 1]
        if len(found) >= _SHORTEST and np.ptp(found) > 0:
            names.append(name)
            prints.append(found)
    if not prints:
        return None
    longest = max(len(found) for found in prints)
    templates = [_Templates(group) for group in _by_length(prints)]
    for recording, waveform, rate, key in itertools.chain([first], fresh):
        # Silence around it lets a recording match that is itself a part of an evaluation sound.
        stream = np.pad(fingerprint(waveform, rate), ((longest // 3, longest), (0, 0)))
        for group in templates:
            score, which = group.best(stream)
            if score >= needed(group.length, threshold):
                return names[which], recording, score
        _CLEAR.add(key)
    return None


def needed(frames: int, threshold: float = THRESHOLD) -> float:
    """Return the correlation from which a sound of so many frames counts as the same.

    What is short is like some part of an hour of anything: of 33 natural sounds cut to 1 s the
    nearest in ten minutes of other recordings is at 0.82, cut to 0.7 s at 0.87. Copies stay above
    0.95, but not those that are softer than their neighbours and went through a lossy codec.

    Parameters
    ----------
    frames : int
        Of a fingerprint.
    threshold : float
        That of 1.4 s and more.

    Returns
    -------
    float
        0.87 of 20 frames (1 s), 0.97 of 8.
    """
    return 1 - (1 - threshold) * min(1.0, frames / _LONG) ** 1.5


def _digest(sounds: Iterable[tuple[str, np.ndarray, int]]) -> str:
    found = hashlib.sha256()
    for _, waveform, rate in sounds:
        values = np.ascontiguousarray(waveform)
        found.update(f"{values.dtype} {values.shape} {rate} ".encode())
        found.update(values.view(np.uint8).data)
    return found.hexdigest()


def fingerprint(waveform: np.ndarray, rate: int) -> np.ndarray:
    """Coarse spectrogram of a sound.

    Parameters
    ----------
    waveform : numpy.ndarray of shape (samples,)
        Float or int16.
    rate : int
        Hz.

    Returns
    -------
    numpy.ndarray of shape (frames, BANDS), float32
        A frame every 26.5 ms, mean over bands removed; no frames for less than about 50 ms.
    """
    waveform = np.asarray(waveform, dtype=np.float32)
    if rate != RATE:
        waveform = soxr.resample(waveform, rate, RATE, quality="HQ")
    if waveform.size < _FFT + HOP:
        return np.zeros((0, BANDS), dtype=np.float32)
    window = torch.hann_window(_FFT, periodic=False)
    pieces = []
    # Blocks keep the spectrum of an hour of sound out of memory.
    for start in range(0, waveform.size - _FFT + 1, _BLOCK * HOP):
        piece = torch.from_numpy(waveform[start : start + _BLOCK * HOP + _FFT - HOP // 2])
        spectrum = torch.fft.rfft(piece.unfold(0, _FFT, HOP // 2) * window)
        pieces.append((spectrum.real**2 + spectrum.imag**2) @ _bands())
    power = torch.cat(pieces).numpy()
    smooth = np.cumsum(np.pad(power, ((1, 0), (0, 0))), axis=0, dtype=np.float64)
    smooth = np.maximum(smooth[3:] - smooth[:-3], 0)[::2] ** _POWER
    smooth -= uniform_filter1d(smooth, _LOCAL, axis=0, mode="nearest")
    return (smooth - smooth.mean(axis=1, keepdims=True)).astype(np.float32)


class _Templates:
    """Fingerprints of one length, ready to be correlated with long ones."""

    def __init__(self, group: list[tuple[int, np.ndarray]]):
        self.indices = [index for index, _ in group]
        stacked = np.stack([found for _, found in group])
        stacked = stacked - stacked.mean(axis=1, keepdims=True)
        stacked /= np.linalg.norm(stacked, axis=(1, 2), keepdims=True) + 1e-12
        self.length = stacked.shape[1]
        self.spectra = torch.fft.rfft(torch.from_numpy(stacked), n=_BLOCK, dim=1).conj()
        # (bins, templates, bands): the sum over bands is then one product of matrices a bin.
        self.spectra = self.spectra.permute(1, 0, 2).contiguous()

    def best(self, stream: np.ndarray) -> tuple[float, int]:
        """Highest correlation with any window of (frames, bands), and whose it is."""
        scale = _window_norms(stream, self.length)
        best, which = 0.0, self.indices[0]
        for start, block in _blocks(stream, self.length):
            spectrum = torch.fft.rfft(torch.from_numpy(block), n=_BLOCK, dim=0)
            product = torch.matmul(self.spectra, spectrum[:, :, None])[..., 0]
            offsets = len(block) - self.length + 1
            scores = torch.fft.irfft(product.T, n=_BLOCK, dim=1)[:, :offsets].numpy()
            scores = scores * scale[start : start + offsets]
            highest = float(scores.max())
            if highest > best:
                best = highest
                which = self.indices[int(scores.max(axis=1).argmax())]
        return best, which


def _by_length(prints: list[np.ndarray]) -> Iterator[list[tuple[int, np.ndarray]]]:
    groups: dict[int, list[tuple[int, np.ndarray]]] = {}
    for index, found in enumerate(prints):
        # A long sound is recognised by its first half minute.
        found = found[: _BLOCK // 4]
        groups.setdefault(len(found), []).append((index, found))
    yield from groups.values()


def _blocks(stream: np.ndarray, length: int) -> Iterator[tuple[int, np.ndarray]]:
    step = _BLOCK - length + 1
    for start in range(0, len(stream) - length + 1, step):
        yield start, stream[start : start + _BLOCK]


def _window_norms(stream: np.ndarray, length: int) -> np.ndarray:
    """Inverse norm of every window after its bands' means are removed; 0 where it is silent."""
    total = np.cumsum(np.pad(stream, ((1, 0), (0, 0))), axis=0, dtype=np.float64)
    squares = np.cumsum(np.pad((stream**2).sum(axis=1), (1, 0)), dtype=np.float64)
    mean = (total[length:] - total[:-length]) / length
    variance = squares[length:] - squares[:-length] - length * (mean**2).sum(axis=1)
    floor = 1e-6 * max(float(variance.max()), 1e-30)
    return np.where(variance > floor, 1 / np.sqrt(np.maximum(variance, floor)), 0.0)


def _bands() -> torch.Tensor:
    """Triangular bands (bins, BANDS), even on a mel scale from 100 Hz to 5 kHz."""

    def mel(f):
        return np.log1p(np.asarray(f) / 700.0)

    edges = np.linspace(mel(100.0), mel(5000.0), BANDS + 2)
    bins = mel(np.fft.rfftfreq(_FFT, 1 / RATE))[:, None]
    rise = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return torch.tensor(np.maximum(0, np.minimum(rise, fall)), dtype=torch.float32)
