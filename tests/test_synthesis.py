"""Synthesised sounds are reproducible, level, free of clicks, and what their kind says."""

from __future__ import annotations

import numpy as np
import pytest

from dynamics.reference.sourcefilter import filtered, pulses
from dynamics.reference.synthesis import KINDS, PEAK, RMS, sound

RATE = 24000


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_level_finite_and_quiet_at_the_ends(kind):
    rng = np.random.default_rng(0)
    for _ in range(12):
        wave = sound(kind, rng, seconds=1.3)
        assert wave.dtype == np.float32
        assert wave.shape == (31200,)
        assert np.isfinite(wave).all()
        level, peak = np.sqrt(np.mean(wave.astype(float) ** 2)), np.abs(wave).max()
        assert np.isclose(level, RMS, rtol=1e-3) or np.isclose(peak, PEAK, rtol=1e-3)
        assert level <= RMS * 1.001
        assert peak <= PEAK * 1.001
        assert np.abs(wave[[0, -1]]).max() < 0.002


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_the_sound(kind):
    first, again = (sound(kind, np.random.default_rng(5)) for _ in range(2))
    other = sound(kind, np.random.default_rng(6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [8000, 44100])
def test_other_rates_and_durations(kind, rate):
    wave = sound(kind, np.random.default_rng(1), sample_rate=rate, seconds=0.5)
    assert wave.shape == (rate // 2,)
    assert np.isfinite(wave).all()


def test_sounds_of_a_kind_vary_in_spectrum():
    for kind in KINDS:
        rng = np.random.default_rng(2)
        spectra = [np.abs(np.fft.rfft(sound(kind, rng), 4096)) ** 2 for _ in range(10)]
        frequency = np.fft.rfftfreq(4096, 1 / RATE)
        centroids = [float(frequency @ s / s.sum()) for s in spectra]
        assert max(centroids) / min(centroids) > 1.3, kind


def test_harmonic_tones_are_periodic_and_noise_is_not():
    def periodicity(kind):
        rng = np.random.default_rng(3)
        peaks = []
        for _ in range(20):
            middle = sound(kind, rng)[12000:14400].astype(float)
            spectrum = np.abs(np.fft.rfft(middle, 8192)) ** 2
            correlation = np.fft.irfft(spectrum)
            peaks.append(correlation[24:480].max() / correlation[0])
        return np.median(peaks)

    assert periodicity("harmonic") > 0.7
    assert periodicity("texture") < 0.5


def test_pulses_equal_the_sum_of_their_harmonics():
    f0 = np.full(2400, 997.0)
    x = 2 * np.pi * ((np.cumsum(f0) / RATE) % 1.0)
    harmonics = 0.48 * RATE / 997.0 - 1
    K = int(harmonics)
    expected = sum(np.cos(k * x) for k in range(1, K + 1)) + (harmonics - K) * np.cos((K + 1) * x)
    assert np.allclose(pulses(f0, RATE), expected * np.sqrt(2 / harmonics), atol=1e-9)


def test_a_gain_of_one_leaves_a_signal_as_it_was():
    wave = np.random.default_rng(4).standard_normal(10001)
    assert np.allclose(filtered(wave, lambda f, _: np.ones_like(f), RATE), wave, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "moo"}, "unknown kind of sound 'moo'"),
        ({"kind": "call", "sample_rate": 4000}, "at least 8000 Hz"),
        ({"kind": "call", "seconds": 0.0}, "at least 0.1 s"),
        ({"kind": "call", "seconds": float("nan")}, "at least 0.1 s"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        sound(rng=np.random.default_rng(0), **arguments)
