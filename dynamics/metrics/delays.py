"""Activations at the times of a target's responses, and delayed copies of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.sparse import csr_array

from dynamics.metrics.kernels import Array, as_tensor, like
from dynamics.metrics.validation import takes

# Part of a sample that a sound must fill.
SLIVER = 0.05


@takes(X="responses")
def resample_time(
    X: Array, time: tuple[float, float], target: tuple[float, float], length: int
) -> Array:
    """Average activations over the time bins of a target.

    Parameters
    ----------
    X : array of shape (n, t, p)
        Activations in frames; NaN where there are none.
    time : (float, float)
        Centre of the first frame and spacing of frames, seconds.
    target : (float, float)
        The same of the target's samples.
    length : int
        Number of target samples.

    Returns
    -------
    array of shape (n, length, p)
        Mean over each bin of width `target[1]`, frames taken as constant, over the part of the
        bin for which there are activations; NaN where there are none.

    Raises
    ------
    ValueError
        If a spacing is not positive.
    """
    if time[1] <= 0 or target[1] <= 0:
        raise ValueError(f"spacings {time[1]} and {target[1]} s: give positive ones")
    tensor = as_tensor(X)
    frames = time[0] - time[1] / 2 + time[1] * np.arange(tensor.shape[1] + 1)
    bins = target[0] - target[1] / 2 + target[1] * np.arange(length + 1)
    starts = np.maximum(bins[:-1, None], frames[None, :-1])
    ends = np.minimum(bins[1:, None], frames[None, 1:])
    overlap = torch.as_tensor(np.clip(ends - starts, 0, None) / target[1], device=tensor.device)
    there = torch.isfinite(tensor).all(2, keepdim=True)
    covered = torch.einsum("st,ntp->nsp", overlap, there.to(tensor.dtype))
    total = torch.einsum("st,ntp->nsp", overlap, torch.where(there, tensor, 0.0))
    # A sliver of a frame at the end of a sound is no sample of it.
    return like(torch.where(covered > SLIVER, total / covered, torch.nan), X)


def binned(X: np.ndarray, time: tuple[float, float], samples: np.ndarray) -> np.ndarray:
    """Average the activations to one stimulus over samples' intervals, as `resample_time`.

    With weights that are kept only where a frame and a sample overlap, for sounds of hours.

    Parameters
    ----------
    X : array of shape (t, p)
        Activations in frames; NaN where there are none.
    time : (float, float)
        Centre of the first frame and spacing of frames, seconds.
    samples : array of shape (s,)
        Centres of evenly spaced samples, at least 2.

    Returns
    -------
    array of shape (s, p)
        NaN where there are no activations.
    """
    width, t = float(samples[-1] - samples[0]) / (len(samples) - 1), len(X)
    first, spacing = time[0] - time[1] / 2, time[1]
    starts, ends = samples - width / 2, samples + width / 2
    from_, to = (
        np.clip(np.floor((edge - first) / spacing + sign * 1e-9).astype(int), 0, t - 1)
        for edge, sign in ((starts, 1), (ends, -1))
    )
    count = to - from_ + 1
    rows = np.repeat(np.arange(len(samples)), count)
    columns = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    columns += np.repeat(from_, count)
    begin = first + spacing * columns
    overlap = np.minimum(begin + spacing, ends[rows]) - np.maximum(begin, starts[rows])
    weights = csr_array(
        (np.clip(overlap, 0, None) / width, (rows, columns)), shape=(len(samples), t)
    )
    there = np.isfinite(X).all(1)
    covered = (weights @ there.astype(float))[:, None]
    total = weights @ np.where(there[:, None], X, 0.0)
    return np.divide(total, covered, out=np.full_like(total, np.nan), where=covered > SLIVER)


def delayed(x: torch.Tensor, samples: Sequence[int], lead: int = 0) -> torch.Tensor:
    """Put delayed copies of the activations to one stimulus side by side.

    Parameters
    ----------
    x : tensor of shape (lead + t, p)
        Activations; the first `lead` times are before the first response.
    samples : sequence of int
        Delays.
    lead : int
        Times before the first response.

    Returns
    -------
    tensor of shape (t, delays * p)
        At each time of the responses; zero where a delay reaches beyond the activations.
    """
    t, p = len(x) - lead, x.shape[1]
    copies = x.new_zeros(t, len(samples), p)
    for place, d in enumerate(samples):
        first = max(d - lead, 0)
        copies[first:, place] = x[lead - d + first : max(lead + t - d, 0)]
    return copies.flatten(1)


def samples(window: tuple[float, float], rate: float, t: int) -> range:
    """Delays in samples of a window in seconds, checked against the length of the responses."""
    shortest, longest = window
    if not 0 <= shortest <= longest:
        raise ValueError(
            f"window {tuple(window)} is not causal: give delays with 0 <= shortest <= longest"
        )
    if round(longest * rate) >= t:
        raise ValueError(
            f"window {tuple(window)} reaches further back than the {t / rate:g} s of responses: "
            "give shorter delays"
        )
    return range(round(shortest * rate), round(longest * rate) + 1)
