"""The baseline without learning: a cochleagram and a bank of spectrotemporal modulation filters.

A model of early auditory cortex after Chi, Ru & Shamma (2005, doi:10.1121/1.1945807) on the
cochleagram of Norman-Haignere & McDermott (2018, doi:10.1371/journal.pbio.2005127): half-cosine
filters, envelopes to the power 0.3, filters tuned to temporal rate, spectral scale and direction.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.fft
import torch
from torch import nn

from dynamics.models.hearing import Hearing, Windows
from dynamics.models.modulation import (
    ENVELOPE_RATE,
    FRAME_SECONDS,
    RATES,
    STEPS,
    bins,
    power,
    spectral_filters,
)

# The slowest filters ring for 6 s; those of the cochlea look some 50 ms ahead.
HEARING = Hearing(
    Windows(context=8.0, stride=20.0, lookahead=0.5),
    note="its filters themselves look some 0.05 s ahead",
)

SAMPLE_RATE = 20000
COMPRESSION = 0.3
LOG_FLOOR = 1e-3

DIRECTIONS = ("down", "up")

_BASEBAND = 8  # samples of the waveform a sample of the subbands
_BOX = SAMPLE_RATE // _BASEBAND // ENVELOPE_RATE
_HOP = round(FRAME_SECONDS * SAMPLE_RATE)


class Spectrotemporal(nn.Module):
    """Cochleagram and modulation energies as the layers of a model.

    Layers, each (batch, time, feature) in frames of 50 ms:

    - ``cochleagram``: mean compressed envelope of every band.
    - ``temporal``: amplitude of the modulation at every (rate, band), without spectral filter.
    - ``spectral``: amplitude of the modulation at every (scale, band), without temporal filter.
    - ``spectrotemporal``: root mean square of the modulation at every
      (direction, scale, rate, group of bands).
    - ``spectrotemporal-log``: its logarithm, with a floor of 0.001 (a full-scale tone has an
      envelope of 1); the strongest of these baselines for most auditory responses.

    Temporal filters are causal and see silence before the sound. Every stimulus is computed on
    its own, at its own length, so that padding changes nothing.

    Parameters
    ----------
    bands : int
        Bands of the cochleagram, evenly spaced in octaves.
    lowest, highest : float
        Centre frequencies of the first and last band (Hz).
    groups : int
        Groups of adjacent bands over which spectrotemporal energies are averaged.
    """

    sample_rate = SAMPLE_RATE
    layers = ("cochleagram", "temporal", "spectral", "spectrotemporal", "spectrotemporal-log")
    batchable = True
    why_not_batchable = ""
    batch_equal_lengths = True
    _even: torch.Tensor
    _odd: torch.Tensor

    def __init__(
        self,
        *,
        bands: int = 128,
        lowest: float = 50.0,
        highest: float = 9000.0,
        groups: int = 16,
    ):
        super().__init__()
        if bands < 8 or bands % (2 * groups):
            raise ValueError(
                f"bands must be at least 8 and a multiple of {2 * groups}, not {bands}"
            )
        if not 20 <= lowest < highest <= 0.46 * SAMPLE_RATE:
            raise ValueError(
                f"lowest and highest must be increasing frequencies between 20 and "
                f"{0.46 * SAMPLE_RATE:.0f} Hz, not {lowest} and {highest}"
            )
        self.groups = groups
        self.centres = np.geomspace(lowest, highest, bands)
        per_octave = (bands - 1) / np.log2(highest / lowest)
        # Every second band is enough after filtering: the amplitudes are averaged over groups.
        filters = spectral_filters(bands, per_octave)[:, ::2]
        self.register_buffer("_even", torch.from_numpy(filters.real.astype(np.float32)), False)
        self.register_buffer("_odd", torch.from_numpy(filters.imag.astype(np.float32)), False)
        self.frame_times = {layer: (FRAME_SECONDS / 2, FRAME_SECONDS) for layer in self.layers}
        self.eval()

    def frames(self, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
        """Count the whole frames of stimuli.

        Parameters
        ----------
        lengths : Tensor of shape (batch,)
            Samples.

        Returns
        -------
        dict of str to Tensor of shape (batch,)
            Frames of each layer; at least one.
        """
        count = torch.clamp(torch.as_tensor(lengths, dtype=torch.int64) // _HOP, min=1)
        return {layer: count.clone() for layer in self.layers}

    def prepare(
        self, waveforms: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, ...]:
        """Return the input as it is: nothing here depends on weights.

        Parameters
        ----------
        waveforms : Tensor of shape (batch, samples)
            At `sample_rate`.
        lengths : Tensor of shape (batch,), optional
            Samples of each stimulus; by default all of them.

        Returns
        -------
        tuple of Tensor
            Waveforms and lengths.

        Raises
        ------
        ValueError
            For another shape, or lengths that do not fit it.
        """
        if waveforms.ndim != 2 or waveforms.shape[1] == 0:
            raise ValueError(
                f"waveforms must be of shape (batch, samples), not {tuple(waveforms.shape)}"
            )
        if lengths is None:
            lengths = torch.full((len(waveforms),), waveforms.shape[1])
        lengths = torch.as_tensor(lengths, dtype=torch.int64)
        if lengths.shape != waveforms.shape[:1] or not (
            int(lengths.min()) >= 1 and int(lengths.max()) <= waveforms.shape[1]
        ):
            raise ValueError(
                f"lengths must be {len(waveforms)} numbers of samples from 1 to "
                f"{waveforms.shape[1]}, not {lengths.tolist()}"
            )
        return waveforms.float(), lengths

    @torch.no_grad()
    def forward_prepared(
        self, waveforms: torch.Tensor, lengths: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Compute all layers.

        Parameters
        ----------
        waveforms : Tensor of shape (batch, samples)
            At `sample_rate`.
        lengths : Tensor of shape (batch,)
            Samples of each stimulus.

        Returns
        -------
        dict of str to Tensor of shape (batch, time, feature)
            Frames past the end of a stimulus are zero.
        """
        each = [self._one(wave[: int(n)]) for wave, n in zip(waveforms, lengths)]
        return {
            layer: nn.utils.rnn.pad_sequence([item[layer] for item in each], batch_first=True)
            for layer in self.layers
        }

    def forward(
        self, waveforms: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Compute all layers: `prepare`, then `forward_prepared`."""
        return self.forward_prepared(*self.prepare(waveforms, lengths))

    def load_weights(self, state: Mapping[str, torch.Tensor]) -> None:
        """Refuse weights, of which there are none.

        Raises
        ------
        ValueError
            Where `state` is not empty.
        """
        if state:
            raise ValueError(
                f"the spectrotemporal model has no weights, but {len(state)} are left over "
                f"('{next(iter(state))}' ...): use it without a checkpoint"
            )

    def cochleagram(self, wave: torch.Tensor) -> torch.Tensor:
        """Compute compressed envelopes.

        Parameters
        ----------
        wave : Tensor of shape (samples,)
            At `sample_rate`.

        Returns
        -------
        Tensor of shape (bands, times)
            At 500 Hz; whole frames only, at least one.
        """
        count = max(1, wave.shape[0] // _HOP)
        # A filter rings past the end, and must not do so into the beginning.
        size = count * _HOP + SAMPLE_RATE // 10
        size = _BASEBAND * scipy.fft.next_fast_len(-(-size // _BASEBAND))
        bins, gains = self._cochlea(size)
        spectrum = torch.fft.rfft(wave, n=size)
        spectrum = nn.functional.pad(spectrum, (0, size // _BASEBAND))
        # Each passband alone, moved to zero frequency: its amplitude is the envelope.
        subbands = torch.fft.ifft(spectrum[bins.to(wave.device)] * gains.to(wave.device))
        envelope = (subbands.abs() * (2 / _BASEBAND)) ** COMPRESSION
        return envelope[:, : count * STEPS * _BOX].unflatten(1, (-1, _BOX)).mean(dim=2)

    def _one(self, wave: torch.Tensor) -> dict[str, torch.Tensor]:
        E = self.cochleagram(wave)
        A, B = self._even @ E, self._odd @ E
        spectral = torch.sqrt(A**2 + B**2).unflatten(2, (-1, STEPS)).mean(dim=3)
        temporal, both = [], []
        for rates, seconds in (([r for r in RATES if r <= 4], 6.0), (RATES[4:], 0.4)):
            size = E.shape[1] + round(seconds * ENVELOPE_RATE)
            size = STEPS * scipy.fft.next_fast_len(-(-size // STEPS))
            # Filters along frequency leave time as it is: they take the bins that are kept.
            F = torch.fft.rfft(E, n=size)[:, : max(bins(size, rate) for rate in rates)]
            FA, FB = _times(self._even, F), 1j * _times(self._odd, F)
            F = torch.cat([F[None, ::2], FA + FB, FA - FB])
            for rate in rates:
                energy = power(F, size, rate)[..., : E.shape[1] // STEPS]
                temporal.append(energy[0])
                both.append(energy[1:].unflatten(1, (self.groups, -1)).mean(dim=2))
        features = {
            "cochleagram": E.unflatten(1, (-1, STEPS)).mean(dim=2),
            "temporal": torch.sqrt(torch.stack(temporal)),
            "spectral": spectral,
            "spectrotemporal": torch.sqrt(torch.stack(both, dim=1)),
        }
        features["spectrotemporal-log"] = torch.log(features["spectrotemporal"] + LOG_FLOOR)
        return {name: values.flatten(0, -2).T for name, values in features.items()}

    def _cochlea(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return every band's bins and gains, (bands, size / 8), for an FFT of `size` points."""
        # Half cosines, two equivalent rectangular bandwidths wide (Glasberg & Moore 1990).
        spacing = SAMPLE_RATE / size
        first = np.ceil(_hertz(_erbs(self.centres) - 1) / spacing).astype(int)
        bins = np.maximum(first, 0)[:, None] + np.arange(size // _BASEBAND)
        distance = _erbs(bins * spacing) - _erbs(self.centres)[:, None]
        gains = np.where(np.abs(distance) < 1, np.cos(np.pi / 2 * distance), 0.0)
        gains[bins * spacing > SAMPLE_RATE / 2] = 0
        return torch.from_numpy(bins), torch.from_numpy(gains.astype(np.float32))


def build(
    state: Mapping[str, torch.Tensor] | None = None,
    *,
    bands: int = 128,
    lowest: float = 50.0,
    highest: float = 9000.0,
    groups: int = 16,
    seed: int = 0,
) -> Spectrotemporal:
    """Build the baseline model.

    Parameters
    ----------
    state : mapping, optional
        None or empty: there are no weights.
    bands, lowest, highest, groups
        As of `Spectrotemporal`.
    seed : int
        Changes nothing.

    Returns
    -------
    Spectrotemporal
        In evaluation mode.
    """
    model = Spectrotemporal(bands=bands, lowest=lowest, highest=highest, groups=groups)
    model.load_weights(state or {})
    return model


def _times(filters: torch.Tensor, spectra: torch.Tensor) -> torch.Tensor:
    """Return real filters (scales, bands / 2, bands) of complex spectra (bands, bins)."""
    parts = torch.view_as_real(spectra).flatten(1)
    return torch.view_as_complex((filters @ parts).unflatten(-1, (-1, 2)))


def _erbs(frequency: np.ndarray) -> np.ndarray:
    return 21.4 * np.log10(1 + 0.00437 * frequency)


def _hertz(erbs: np.ndarray) -> np.ndarray:
    return (10 ** (erbs / 21.4) - 1) / 0.00437
