"""Sounds are heard in milliseconds, blood answers in seconds: activations at the rate of fMRI."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import gamma

from dynamics.metrics.kernels import Array, as_tensor, like
from dynamics.metrics.validation import takes

LOBES = 3
"""Lobes of the sinc that a Lanczos filter keeps on either side."""


@takes(X="activations")
def lanczos(
    X: Array, times: np.ndarray, samples: np.ndarray, *, lobes: int = LOBES, unit: bool = True
) -> Array:
    """Resample activations with a Lanczos filter whose cut-off is the samples' Nyquist rate.

    The weight of time t in the sample at s is sinc(u) sinc(u / lobes) with u = (s - t) / spacing
    for |u| <= lobes (Duchon 1979, J Appl Meteorol 18:1016; in encoding models Huth et al. 2016,
    Nature 532:453).

    Parameters
    ----------
    X : array of shape (t, p)
        Activations.
    times : array of shape (t,)
        Of the activations, seconds.
    samples : array of shape (s,)
        Evenly spaced times that are wanted, at least 2, seconds.
    lobes : int
        Lobes kept on either side.
    unit : bool
        Let the weights of a sample sum to one, so that what is constant stays so up to both ends;
        as published they do not.

    Returns
    -------
    array of shape (s, p)
        Resampled; with `unit`, NaN where no activation is within reach.

    Raises
    ------
    ValueError
        If the samples are not evenly spaced, or times do not fit the activations.
    """
    steps = np.diff(samples)
    if len(steps) < 1 or steps.min() <= 0 or np.ptp(steps) > 1e-6 * steps.mean():
        raise ValueError("samples are not evenly spaced: give ascending times, at least 2")
    if len(times) != len(X):
        raise ValueError(f"there are {len(times)} times for {len(X)} activations: give one each")
    u = (np.asarray(samples)[:, None] - np.asarray(times)[None]) / steps.mean()
    weights = np.where(np.abs(u) <= lobes, np.sinc(u) * np.sinc(u / lobes), 0.0)
    if unit:
        total = weights.sum(1, keepdims=True)
        weights = np.divide(weights, total, out=np.full_like(weights, np.nan),
                            where=np.abs(total) > 1e-3)  # fmt: skip
    tensor = as_tensor(X)
    return like(torch.as_tensor(weights, device=tensor.device) @ tensor, X)


def canonical_response(seconds: np.ndarray) -> np.ndarray:
    """Return the canonical haemodynamic response, two gammas, with a peak of 1.

    A gamma density of shape 6 less a sixth of one of shape 16, both of scale 1 s (Friston et al.
    1998, NeuroImage 7:30; the default of SPM).

    Parameters
    ----------
    seconds : array
        Times after the sound.

    Returns
    -------
    array
        Of the same shape; 0 before the sound.
    """
    fine = np.arange(0, 32, 0.01)
    peak = (gamma.pdf(fine, 6) - gamma.pdf(fine, 16) / 6).max()
    return (gamma.pdf(seconds, 6) - gamma.pdf(seconds, 16) / 6) / peak


@takes(X="activations")
def convolved(X: Array, rate: float) -> Array:
    """Convolve activations with the canonical response, of sum 1 over 32 s.

    Parameters
    ----------
    X : array of shape (t, p)
        Activations to one stimulus; before it there is nothing.
    rate : float
        Samples a second.

    Returns
    -------
    array of shape (t, p)
        At the same times.

    Raises
    ------
    ValueError
        If the rate is too low for the response's form, below one sample in 4 s.
    """
    if rate < 0.25:
        raise ValueError(f"a rate of {rate:g} samples a second cannot hold a haemodynamic response")
    response = canonical_response(np.arange(0, 32, 1 / rate))
    kernel = torch.as_tensor(response / response.sum())
    tensor = as_tensor(X)
    n = len(tensor) + len(kernel) - 1
    spectrum = torch.fft.rfft(tensor, n, dim=0)
    spectrum = spectrum * torch.fft.rfft(kernel.to(tensor.device), n)[:, None]
    return like(torch.fft.irfft(spectrum, n, dim=0)[: len(tensor)], X)
