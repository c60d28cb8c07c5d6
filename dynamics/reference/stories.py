"""Stories, and a simulated listener to them in a scanner, whose regions and noise are known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import xarray as xr
from scipy.signal import lfilter

from dynamics import datasets, sounds
from dynamics.brains.courses import stacked
from dynamics.metrics.haemodynamics import convolved
from dynamics.sounds.audio import duration, read_audio

REGIONS = ("primary", "intermediate", "nonprimary")
"""What follows loudness in bands, its fluctuation, and how novel a sound is."""

FEATURES = 6
"""Of each region."""

RATE = 5.0
"""Samples a second of the features."""

NOISE = (0.5, 1.5)
"""Range of the noise's standard deviation; that of the signal is 1."""

MINUTES = 5
_SAMPLE_RATE = 8000
_LAGS = (1, 2, 3, 5, 8, 13)


def stories() -> sounds.StimulusSet:
    """Join recordings of `pretraining-audio` to six stories of five minutes.

    Returns
    -------
    StimulusSet
        Each is a minute in each of five languages, read by professional speakers.
    """
    folder = datasets.folder("pretraining-audio") / "speech"
    minutes = range(len(list(folder.glob("en-prompts-*"))))
    parts = [sorted(folder.glob(f"*-prompts-{number:02d}.opus"))[:MINUTES] for number in minutes]
    return sounds.StimulusSet(
        name="stories",
        names=tuple(f"story{number}" for number in range(1, len(parts) + 1)),
        categories=("story",) * len(parts),
        durations=np.array([sum(map(duration, paths)) for paths in parts]),
        sources=tuple(partial(_joined, paths) for paths in parts),
    )


def courses(stimuli: sounds.StimulusSet) -> dict[str, list[np.ndarray]]:
    """Return the features that a simulated listener's regions follow.

    Those of a region are what the regions before it do not tell: residuals over all stimuli of what
    the blood makes of them, each of unit variance.

    Parameters
    ----------
    stimuli : StimulusSet
        Of some seconds each.

    Returns
    -------
    dict of str to list of array of shape (n_samples, 6)
        By region, for each stimulus, at `RATE`, from its onset on.
    """
    waves = [np.concatenate([*stimuli.stream(row, _SAMPLE_RATE)]) for row in range(len(stimuli))]
    raw = [_raw(wave) for wave in waves]
    ends = np.cumsum([len(each[0]) for each in raw])[:-1]

    def blood(values: np.ndarray) -> np.ndarray:
        return np.concatenate([convolved(own, RATE) for own in np.split(values, ends)])

    found: dict[str, list[np.ndarray]] = {}
    before = np.ones((sum(len(each[0]) for each in raw), 1))
    for place, region in enumerate(REGIONS):
        own = np.concatenate([each[place] for each in raw])
        own = own - before @ np.linalg.lstsq(blood(before), blood(own), rcond=None)[0]
        own = own / np.maximum(own.std(0), 1e-12)
        before = np.concatenate([before, own], axis=1)
        found[region] = np.split(own, ends)
    return found


def simulate(
    *,
    stimuli: sounds.StimulusSet | None = None,
    seed: int = 0,
    neuroids: int = 500,
    tr: float = 2.0,
    noise_seconds: float = 3.0,
    repetitions: int = 2,
) -> xr.Dataset:
    """Simulate a listener to stories in a scanner.

    Every voxel is a random projection of the six features of its region (see `courses`), convolved
    with the canonical haemodynamic response and averaged over each volume, of unit variance; noise
    of its own deviation s is added, autoregressive of first order. The first story is heard several
    times.

    Parameters
    ----------
    stimuli : StimulusSet, optional
        By default ``sounds.load("stories")``.
    seed : int
        Seed of projections and noise.
    neuroids : int
        Voxels, in turn of the three regions.
    tr : float
        Seconds of a volume.
    noise_seconds : float
        Time constant of the noise's autocorrelation; 0 for none.
    repetitions : int
        How many times the first story is heard.

    Returns
    -------
    xarray.Dataset
        ``response`` (stimulus, time, neuroid, repetition) at the middle of each volume, missing in
        further repetitions of other stories, with the attribute ``simulated`` = 1 and ``noise`` (s)
        of every voxel.

    Raises
    ------
    ValueError
        For a number that is not positive, or stories that are shorter than ten volumes.
    """
    stimuli = sounds.load("stories") if stimuli is None else stimuli
    if min(neuroids, repetitions) < 1 or tr < 2 / RATE or noise_seconds < 0:
        raise ValueError(
            "a simulated listener to stories needs voxels, a repetition and a TR of "
            f"{2 / RATE:g} s at least, not {neuroids}, {repetitions} and {tr:g} s"
        )
    volumes = [int(seconds // tr) for seconds in stimuli.durations]
    if min(volumes) < 10:
        raise ValueError(
            f"stories must have ten volumes of {tr:g} s at least: '"
            f"{stimuli.names[int(np.argmin(volumes))]}' lasts {min(stimuli.durations):g} s"
        )
    rng = np.random.default_rng(seed)
    place = np.arange(neuroids) % len(REGIONS)
    drives = driven(courses(stimuli), volumes, tr)
    signals = [np.zeros((count, neuroids)) for count in volumes]
    for number, region in enumerate(REGIONS):
        weights = rng.standard_normal((FEATURES, int((place == number).sum())))
        for signal, drive in zip(signals, drives[region]):
            signal[:, place == number] = drive @ weights
    level, spread = (f(np.concatenate(signals), axis=0) for f in (np.mean, np.std))
    noise = np.exp(rng.uniform(math.log(NOISE[0]), math.log(NOISE[1]), neuroids))
    trials = [
        (name, (signal - level) / spread + noise * _noise(rng, signal.shape, tr, noise_seconds))
        for row, (name, signal) in enumerate(zip(stimuli.names, signals))
        for _ in range(repetitions if row == 0 else 1)
    ]
    target = stacked(
        trials,
        rate=1 / tr,
        start=tr / 2,
        neuroids=[f"voxel{number}" for number in range(neuroids)],
        labels={
            "subject": ["simulated"] * neuroids,
            "region": [REGIONS[number] for number in place],
            "noise": noise.tolist(),
        },
        about={
            "name": "simulated-stories",
            "description": "SIMULATED listener to stories in a scanner: features of sound through "
            "the canonical haemodynamic response, with noise; not measured in any brain",
            "units": "standard deviations of the signal",
        },
    )
    return target.assign_attrs(simulated=1, seed=seed, stimuli=stimuli.name)


def driven(
    features: dict[str, list[np.ndarray]], volumes: Sequence[int], tr: float
) -> dict[str, list[np.ndarray]]:
    """Return what the blood makes of features.

    Parameters
    ----------
    features : dict of str to list of array of shape (n_samples, n_features)
        As from `courses`.
    volumes : sequence of int
        Volumes of each stimulus.
    tr : float
        Seconds of a volume.

    Returns
    -------
    dict of str to list of array of shape (n_volumes, n_features)
        Convolved with the canonical response, averaged over each volume.
    """

    def averaged(values: np.ndarray, count: int) -> np.ndarray:
        return _averaged(np.asarray(convolved(values, RATE)), count, tr)

    return {
        region: [averaged(own, count) for own, count in zip(each, volumes)]
        for region, each in features.items()
    }


def _averaged(values: np.ndarray, volumes: int, tr: float) -> np.ndarray:
    edges = np.round(np.arange(volumes + 1) * tr * RATE).astype(int)
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    edges = np.minimum(edges, len(values))
    return np.diff(total[edges], axis=0) / np.maximum(np.diff(edges), 1)[:, None]


def _noise(
    rng: np.random.Generator, shape: tuple[int, ...], tr: float, seconds: float
) -> np.ndarray:
    """Noise of unit variance whose correlation falls to 1/e in so many seconds."""
    carried = math.exp(-tr / seconds) if seconds else 0.0
    white = rng.standard_normal(shape)
    white[1:] *= math.sqrt(1 - carried**2)
    return lfilter([1.0], [1.0, -carried], white, axis=0)


def _raw(wave: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Loudness in six bands, its fluctuation within a sample, and distance to what was before."""
    step = round(_SAMPLE_RATE / RATE)
    count, inner = len(wave) // step, step // 8
    frames = wave[: count * step].astype(float).reshape(count * 8, inner)
    power = np.abs(np.fft.rfft(frames * np.hanning(inner), axis=1)) ** 2
    edges = np.round(np.geomspace(2, power.shape[1], FEATURES + 1)).astype(int)
    bands = np.stack([power[:, a:b].mean(1) for a, b in pairwise(edges)], axis=1)
    fine = np.log(bands + 1e-4).reshape(count, 8, FEATURES)
    loudness = fine.mean(1)
    fluctuation = np.log(fine.std(1) + 0.1)
    novelty = np.stack(
        [np.linalg.norm(loudness - np.roll(loudness, lag, axis=0), axis=1) for lag in _LAGS], axis=1
    )
    novelty[: max(_LAGS)] = novelty[max(_LAGS) :].mean(0)
    return loudness, fluctuation, novelty


def _joined(paths: Sequence[Path]) -> tuple[np.ndarray, int]:
    found = [read_audio(path) for path in paths]
    return np.concatenate([samples for samples, _ in found]), found[0][1]
