"""What is kept of a layer's frames: one row a stimulus, or rows at regular times.

Poolings with time view an activation as a step function: each frame holds for one spacing about
its centre (`Model.frame_times`). Sample j of the output is the mean of that function over a box
centred on (j + 1/2) / rate, as wide as 1 / rate or as one spacing, whichever is more. So

- slower than the frames, a sample averages the frames that overlap its interval, each weighted by
  its overlap, which suppresses what is faster than the output can show;
- faster than the frames, it is the linear interpolation between the two nearest;
- at the frames' own rate and phase, nothing changes.

A ramp in time comes out right to an eighth of a frame (exactly where the box is a whole number of
frames). All layers of all models have the same grid of times.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dynamics.tables import Table


@dataclass(frozen=True)
class Pooling:
    """What to keep of the frames of a layer.

    Attributes
    ----------
    name : str
        In ``POOLINGS``.
    average : callable or None
        Takes an activation (batch, frame, feature) and which frames are valid (batch, frame),
        returns (batch, feature); None for poolings with time.
    rate : float or None
        Samples a second of a pooling with time, else None.
    weighs : bool
        Whether `average` takes as valid what part of each frame counts, between 0 and 1, as well:
        so it is asked for stimuli that are parts of recordings. Else it is given the frames that
        are at least half inside.
    """

    name: str
    average: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None
    rate: float | None = None
    weighs: bool = False

    def counts(self, durations: np.ndarray) -> np.ndarray | None:
        """Count the samples of stimuli, None without time.

        Parameters
        ----------
        durations : array of shape (n_stimuli,)
            Seconds.

        Returns
        -------
        array of shape (n_stimuli,) or None
            Intervals of 1 / rate that lie at least half within the stimulus, the first always.
        """
        if self.rate is None:
            return None
        # 1e-6: durations are whole numbers of samples, their product with the rate is rounded.
        whole = np.floor(np.asarray(durations) * self.rate + 0.5 + 1e-6).astype(int)
        return np.maximum(whole, 1)

    def times(self, durations: np.ndarray) -> np.ndarray | None:
        """Return the centres of the samples of a stimulus set, None without time.

        Parameters
        ----------
        durations : array of shape (n_stimuli,)
            Seconds.

        Returns
        -------
        array of shape (n_times,) or None
            Seconds after a stimulus's beginning, up to the end of the longest.
        """
        counts = self.counts(durations)
        return None if counts is None else self.centres(int(counts.max()))

    def centres(self, count: int) -> np.ndarray:
        """Return the centres (count,) of the first samples, seconds, of a pooling with time."""
        assert self.rate is not None
        return (np.arange(count) + 0.5) / self.rate

    def __call__(
        self,
        activation: torch.Tensor,
        frames: torch.Tensor,
        *,
        frame_times: tuple[float, float] | None = None,
        samples: int = 0,
    ) -> torch.Tensor:
        """Pool one layer of one batch.

        Parameters
        ----------
        activation : tensor of shape (batch, frame, feature)
            Frames past a stimulus's own are not looked at.
        frames : tensor of shape (batch,)
            Valid frames of each stimulus.
        frame_times : (float, float)
            Centre of the first frame and spacing, seconds; needed with time.
        samples : int
            Length of the time axis that is wanted; needed with time.

        Returns
        -------
        tensor of shape (batch, feature) or (batch, samples, feature)
            With time, values past a stimulus's end are a continuation that the caller drops.
        """
        frames = frames.to(activation.device)
        places = torch.arange(activation.shape[1], device=activation.device)
        valid = places < frames.unsqueeze(1)
        if self.average is not None:
            return self.average(activation, valid)
        if self.rate is None or frame_times is None:
            raise ValueError(f"pooling {self.name!r} needs the times of the frames")
        weights = _weights(valid, frame_times, self.rate, samples)
        return weights.to(activation.dtype) @ activation.masked_fill(~valid.unsqueeze(-1), 0.0)


def make(name: str, **arguments: Any) -> Pooling:
    """Make a pooling by its name.

    Parameters
    ----------
    name : str
        A name in ``POOLINGS``.
    **arguments
        ``seconds`` of ``windows``, ``rate`` (Hz) of ``time``; the others take none.

    Returns
    -------
    Pooling
        To be called on activations.

    Raises
    ------
    ValueError
        For an unknown name, a missing or unknown argument, or a value that is not positive.
    """
    POOLINGS.check(name, arguments)
    return POOLINGS[name](**arguments)


def _average(activation: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    weight = valid.unsqueeze(-1).to(activation.dtype)
    return (activation * weight).sum(1) / weight.sum(1)


def _moments(activation: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    mean = _average(activation, valid)
    variance = _average((activation - mean.unsqueeze(1)) ** 2, valid)
    return torch.cat([mean, variance.sqrt()], dim=-1)


def _final(activation: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    last = valid.sum(1) - 1
    return activation[torch.arange(len(activation), device=activation.device), last]


def _mean() -> Pooling:
    """Mean over the frames of a stimulus."""
    return Pooling("mean", _average, weighs=True)


def _mean_and_deviation() -> Pooling:
    """Mean and standard deviation over the frames, side by side."""
    return Pooling("mean+deviation", _moments, weighs=True)


def _last() -> Pooling:
    """Last frame of a stimulus."""
    return Pooling("last", _final)


def _windows(seconds: float) -> Pooling:
    """Mean over consecutive windows; a last one that is less than half full is left out.

    Parameters
    ----------
    seconds : float
        Duration of a window.
    """
    return Pooling("windows", rate=1 / _positive("seconds", seconds))


def _time(rate: float) -> Pooling:
    """Full time resolution at a given rate.

    Parameters
    ----------
    rate : float
        Samples a second (Hz).
    """
    return Pooling("time", rate=_positive("rate", rate))


POOLINGS: Table[Callable[..., Pooling]] = Table(
    "pooling",
    {
        "last": _last,
        "mean": _mean,
        "mean+deviation": _mean_and_deviation,
        "time": _time,
        "windows": _windows,
    },
)


def _positive(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"`{name}` of a pooling is {value!r}: give a positive number")
    return float(value)


def _weights(
    valid: torch.Tensor, frame_times: tuple[float, float], rate: float, samples: int
) -> torch.Tensor:
    """Weights (batch, samples, frame) of every frame in every sample; they sum to one."""
    first, spacing = frame_times
    device, double = valid.device, torch.float64
    centres = first + spacing * torch.arange(valid.shape[1], device=device, dtype=double)
    wanted = (torch.arange(samples, device=device, dtype=double) + 0.5).unsqueeze(1) / rate
    reach = (spacing + max(spacing, 1 / rate)) / 2
    overlap = (reach - (wanted - centres).abs()).clamp(0.0, spacing)
    # Rounding must not let a frame that only touches the box count.
    overlap = overlap.where(overlap > 1e-9 * spacing, 0.0)
    weights = overlap * valid.unsqueeze(1)
    total = weights.sum(-1, keepdim=True)
    # Before the first and after the last frame, the nearest one holds.
    nearest = torch.round((wanted.squeeze(1) - first) / spacing).to(torch.int64)
    nearest = torch.minimum(nearest.unsqueeze(0), valid.sum(1, keepdim=True) - 1).clamp(min=0)
    held = torch.nn.functional.one_hot(nearest, valid.shape[1])
    return torch.where(total > 0, weights / total.clamp(min=1e-300), held.to(double))
