"""Activations at the times of responses to each stimulus, and before these begin."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dynamics.brains.targets import Target
from dynamics.metrics.delays import binned
from dynamics.metrics.haemodynamics import convolved, lanczos

# Seconds for which the canonical response goes on after a sound.
_AFTER = 32.0


def courses_of(target: Target) -> list[np.ndarray]:
    """Return responses (t_s, v, repetitions) to each stimulus, where these are repeated."""
    assert target.repeated is not None
    return [course[:t] for course, t in zip(target.repeated, target.lengths)]


def lead_of(target: Target, longest: int) -> int:
    """Count the samples before the first response that are of the sound and that delays reach."""
    assert target.times is not None
    before = int(np.ceil(target.times[0] * target.rate + 0.5 - 1e-6)) - 1
    return min(max(before, 0), longest)


def heard(
    layers: Mapping[str, np.ndarray],
    target: Target,
    longest: int,
    *,
    hrf: str = "none",
    resampling: str = "box",
) -> tuple[int, dict[str, list[np.ndarray]]]:
    """Bring activations to the times of responses.

    Parameters
    ----------
    layers : mapping of str to array of shape (n, t, p)
        Activations, NaN past the end of a sound.
    target : Target
        With `frames`, the times of the activations.
    longest : int
        Longest delay, samples.
    hrf, resampling : str
        As for `dynamics.analysis.continuous.encode_continuous`.

    Returns
    -------
    lead : int
        Samples by which activations begin before the responses, see `lead_of`.
    layers : dict of str to list of array of shape (lead + t_s, p)
        NaN where there is no sound.

    Raises
    ------
    ValueError
        If `hrf` or `resampling` is none that there is, or a sound has one frame only.
    """
    if hrf not in ("none", "canonical"):
        raise ValueError(f"there is no haemodynamic response {hrf!r}: use 'none' or 'canonical'")
    if resampling not in ("box", "lanczos"):
        raise ValueError(f"there is no resampling {resampling!r}: use 'box' or 'lanczos'")
    lead = lead_of(target, longest)
    found = {}
    for name, values in layers.items():
        sounds, frames = list(values), frames_of(target)
        if hrf == "canonical":
            sounds, frames = _after_blood(sounds, frames)
        found[name] = [
            at_samples(x, frames, sample_times(target, lead + t, -lead), resampling)
            for x, t in zip(sounds, target.lengths)
        ]
    return lead, found


def frames_of(target: Target) -> np.ndarray:
    """Return the times of the activations (t,), at least 2 of them."""
    assert target.frames is not None
    if len(target.frames) < 2:
        raise ValueError(
            "activations have one sample a stimulus: set a higher `rate` of the pooling `time`"
        )
    return target.frames


def sample_times(target: Target, count: int, first: int = 0) -> np.ndarray:
    """Return times of samples (count,), the first of them so many after that of the responses."""
    assert target.times is not None
    return target.times[0] + (first + np.arange(count)) / target.rate


def at_samples(
    x: np.ndarray, frames: np.ndarray, samples: np.ndarray, resampling: str, *, unit: bool = True
) -> np.ndarray:
    """Resample the activations (t, p) to one stimulus; NaN where there are none.

    Parameters
    ----------
    x : array of shape (t, p)
        NaN past the end of the sound.
    frames : array of shape (t,)
        Their times.
    samples : array of shape (s,)
        Times that are wanted.
    resampling : str
        ``"box"`` or ``"lanczos"``.
    unit : bool
        As for `dynamics.metrics.lanczos`.

    Returns
    -------
    array of shape (s, p)
        Double.
    """
    there = np.isfinite(x).all(1)
    x, frames = x[: (end := _end(there))].astype(float), frames[:end]
    if resampling == "lanczos":
        return np.asarray(lanczos(x[there[:end]], frames[there[:end]], samples, unit=unit))
    if len(frames) == len(samples) and np.allclose(frames, samples, rtol=0, atol=1e-9):
        return x
    spacing = frames[1] - frames[0] if len(frames) > 1 else 2 * frames[0]
    return binned(x, (float(frames[0]), float(spacing)), samples)


def _end(there: np.ndarray) -> int:
    """Count the frames up to the last one that is there, at least 1."""
    return max(len(there) - int(there[::-1].argmax()), 1)


def _after_blood(
    sounds: list[np.ndarray], frames: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray]:
    """Convolve activations, less their mean over all stimuli, with the canonical response."""
    rate = 1 / float(np.diff(frames).mean())
    known = [x[np.isfinite(x).all(1)].astype(float) for x in sounds]
    mean = np.concatenate(known).mean(0)
    after = round(_AFTER * rate)
    out = [
        np.asarray(convolved(np.concatenate([x - mean, np.zeros((after, len(mean)))]), rate))
        for x in known
    ]
    longest = max(map(len, out))
    return out, frames[0] + np.arange(longest) / rate
