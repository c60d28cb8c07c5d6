"""A simulated listener: a brain target whose ingredients, regions and noise are known."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from dynamics import sounds
from dynamics.extraction import extract

REGIONS = {"primary": 0.1, "intermediate": 0.5, "nonprimary": 0.9}
"""Share of each region's signal variance that follows categories and mid-level features."""

FLUCTUATION = "fluctuation"
"""A further region, on request, whose features a bank of modulation filters lacks."""

NOISE = (0.5, 2.0)
"""Range of the noise's standard deviation in one repetition; that of the signal is 1."""


def simulate(
    *,
    stimuli: sounds.StimulusSet | None = None,
    seed: int = 0,
    neuroids: int = 200,
    subjects: int = 8,
    repetitions: int = 3,
    fluctuating: int = 0,
) -> xr.Dataset:
    """Simulate responses to a stimulus set.

    Every neuroid is a random projection of two groups of features, mixed in a proportion that
    depends on its region: spectrotemporal modulation energies, and a mixture of category
    membership with periodicity, pitch and loudness fluctuation. Its signal has unit variance over
    the stimuli, and every repetition adds independent Gaussian noise of its own deviation s. So a
    noiseless predictor correlates with the mean over R repetitions by 1 / sqrt(1 + s^2 / R),
    which is the coordinate ``ceiling``. The spectrotemporal baseline sees one of the ingredients
    itself, so that here it is hard to beat in the primary region. Neuroids of a further region
    follow how much loudness, periodicity and the spread of the spectrum change in a sound:
    functions of its whole course, which averages of filters do not have and a network can learn.

    Parameters
    ----------
    stimuli : StimulusSet, optional
        By default ``sounds.load("synthetic")``.
    seed : int
        Seed of projections and noise.
    neuroids : int
        Total number, spread evenly over subjects and regions.
    subjects, repetitions : int
        Listeners, and presentations of each sound.
    fluctuating : int
        Neuroids of the further region, beside the others.

    Returns
    -------
    xarray.Dataset
        ``response`` (stimulus, neuroid, repetition) with the attribute ``simulated`` = 1 and,
        beside the usual coordinates, ``noise`` (s) and ``category_share`` of every neuroid.

    Raises
    ------
    ValueError
        For fewer than three stimuli, or a number below one.
    """
    stimuli = sounds.load("synthetic") if stimuli is None else stimuli
    if len(stimuli) < 3 or min(neuroids, subjects, repetitions, fluctuating + 1) < 1:
        raise ValueError(
            "a simulated listener needs at least three stimuli, and one neuroid, subject and "
            f"repetition, not {len(stimuli)}, {neuroids}, {subjects} and {repetitions}"
        )
    rng = np.random.default_rng(seed)
    index = np.arange(neuroids)
    region = np.array(list(REGIONS))[index % len(REGIONS)]
    share = np.array([REGIONS[name] for name in region])
    low, middle, course = _acoustic_features(stimuli)
    high = _standardise(_project(_one_hot(stimuli.categories), neuroids, rng))
    high = _standardise(high + 0.7 * _project(middle, neuroids, rng))
    signal = np.sqrt(1 - share) * _project(low, neuroids, rng) + np.sqrt(share) * high
    noise = np.exp(rng.uniform(math.log(NOISE[0]), math.log(NOISE[1]), neuroids))
    shape = (len(stimuli), neuroids, repetitions)
    response = _standardise(signal)[..., None] + noise[:, None] * rng.standard_normal(shape)
    if fluctuating:
        # From the same generator, after all that is there without them.
        more = _project(course, fluctuating, rng)
        own = np.exp(rng.uniform(math.log(NOISE[0]), math.log(NOISE[1]), fluctuating))
        shape = (len(stimuli), fluctuating, repetitions)
        more = more[..., None] + own[:, None] * rng.standard_normal(shape)
        response, noise = np.concatenate([response, more], axis=1), np.append(noise, own)
        index = np.arange(neuroids + fluctuating)
        region = np.append(region, [FLUCTUATION] * fluctuating)
        share = np.append(share, np.zeros(fluctuating))
    about = {"long_name": "simulated response", "units": "standard deviations of the signal"}
    ceiling = {"long_name": "noise ceiling (correlation)", "source": "known: 1 / sqrt(1 + s^2 / R)"}
    return xr.Dataset(
        {"response": (("stimulus", "neuroid", "repetition"), response, about)},
        coords={
            "stimulus": list(stimuli.names),
            "category": ("stimulus", list(stimuli.categories)),
            "neuroid": index,
            "subject": ("neuroid", [f"simulated{i % subjects + 1}" for i in index // len(REGIONS)]),
            "region": ("neuroid", region),
            "ceiling": ("neuroid", 1 / np.sqrt(1 + noise**2 / repetitions), ceiling),
            "noise": ("neuroid", noise),
            "category_share": ("neuroid", share),
        },
        attrs={
            "name": "simulated",
            "description": "SIMULATED listener: mixtures of spectrotemporal modulation, category "
            "and mid-level features with noise; not measured in any brain",
            "citation": "",
            "units": about["units"],
            "simulated": 1,
            "seed": seed,
            "stimuli": stimuli.name,
            "stimulus_digest": stimuli.digest,
        },
    )


def _acoustic_features(
    stimuli: sounds.StimulusSet,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return standardised modulation energies, mid-level features and fluctuations."""
    low = extract.features("spectrotemporal", stimuli)["spectrotemporal"]
    rate = 20000
    waves = list(stimuli.waveforms(rate))
    middle = np.array([_middle_features(wave, rate) for wave in waves])
    course = np.array([_fluctuations(wave, rate) for wave in waves])
    # The deviation of periodicity, and the fluctuation of loudness.
    course = np.concatenate([middle[:, [2, 4]], course], axis=1)
    return _standardise(low.astype(np.float64)), _standardise(middle), _standardise(course)


def _middle_features(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return periodicity, log pitch, their deviations, and the fluctuation of loudness."""
    size = round(0.06 * sample_rate)
    wave = np.pad(wave.astype(np.float64), (0, max(0, 2 * size - wave.size)))
    frames = np.lib.stride_tricks.sliding_window_view(wave, size)[:: size // 2]
    power = np.abs(np.fft.rfft(frames * np.hanning(size), 2 * size, axis=1)) ** 2
    correlation = np.fft.irfft(power, axis=1)
    lags = slice(round(sample_rate / 1000), round(sample_rate / 60))
    energy = correlation[:, 0] + 1e-9
    periodicity = correlation[:, lags].max(axis=1) / energy
    pitch = np.log2(sample_rate / (correlation[:, lags].argmax(axis=1) + lags.start))
    loudness = energy**0.15
    voiced = np.average(pitch, weights=periodicity * energy + 1e-12)
    return np.array(
        [
            np.average(periodicity, weights=energy),
            voiced,
            periodicity.std(),
            np.sqrt(np.average((pitch - voiced) ** 2, weights=periodicity * energy + 1e-12)),
            loudness.std() / loudness.mean(),
        ]
    )


def _fluctuations(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the deviations over time of the level (dB) and of the spectrum's entropy."""
    size = round(0.025 * sample_rate)
    wave = np.pad(wave.astype(np.float64), (0, max(0, 2 * size - wave.size)))
    frames = np.lib.stride_tricks.sliding_window_view(wave, size)[:: size // 2]
    power = np.abs(np.fft.rfft(frames * np.hanning(size), axis=1)) ** 2 + 1e-9
    part = power / power.sum(axis=1, keepdims=True)
    entropy = -(part * np.log(part)).sum(axis=1)
    return np.array([10 * np.log10(power.sum(axis=1)).std(), entropy.std()])


def _one_hot(categories: tuple[str, ...]) -> np.ndarray:
    return (np.array(categories)[:, None] == np.unique(categories)).astype(np.float64)


def _project(features: np.ndarray, neuroids: int, rng: np.random.Generator) -> np.ndarray:
    return _standardise(features @ rng.standard_normal((features.shape[1], neuroids)))


def _standardise(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean(axis=0)
    deviation = centred.std(axis=0)
    return np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 1e-12)
