"""Stimuli that are parts of recordings: the network hears a recording whole, each part is pooled.

A layer is a step function of time, as for the poolings with time: each frame holds for one spacing
about its centre. A part has of each frame what overlaps with it; what is before the first frame or
after the last belongs to a part that begins or ends with its recording. A part that is shorter than
a frame has the frame at its centre.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from dynamics.extraction.poolings import Pooling
from dynamics.sounds.within import Within


class Span(NamedTuple):
    """A part of one of the sounds of a batch.

    Attributes
    ----------
    place : int
        Place of the sound in the batch.
    onset, duration : float
        Seconds.
    first, last : bool
        Whether it begins, and ends, with the sound.
    """

    place: int
    onset: float
    duration: float
    first: bool
    last: bool


def spans_of(within: Within, recordings: Sequence[int]) -> tuple[np.ndarray, list[Span]]:
    """Return which stimuli are parts of some recordings, and where.

    Parameters
    ----------
    within : Within
        Where all stimuli are.
    recordings : sequence of int
        The recordings of a batch.

    Returns
    -------
    rows : array of shape (n_spans,)
        Places of the stimuli in their set.
    spans : list of Span
        Their places in the batch.
    """
    rows, spans = [], []
    for place, recording in enumerate(recordings):
        whole = float(within.recordings.durations[recording])
        for row in np.flatnonzero(within.recording == recording).tolist():
            onset, duration = float(within.onset[row]), float(within.duration[row])
            ends = onset + duration >= whole - 1e-6
            rows.append(row)
            spans.append(Span(place, onset, duration, onset <= 1e-6, ends))
    return np.array(rows, int), spans


def pooled(
    pooling: Pooling,
    activation: torch.Tensor,
    frames: torch.Tensor,
    spans: Sequence[Span] | None,
    *,
    frame_times: tuple[float, float],
    samples: int = 0,
) -> torch.Tensor:
    """Pool one layer of one batch over parts of its sounds, or over the sounds.

    Parameters
    ----------
    pooling : Pooling
        Any pooling; one with time has its grid begin with the part.
    activation : tensor of shape (batch, frame, feature)
        Frames past a sound's own are not looked at.
    frames : tensor of shape (batch,)
        Valid frames of each sound.
    spans : sequence of Span or None
        The parts; None where whole sounds are pooled.
    frame_times : (float, float)
        Centre of the first frame and spacing, seconds.
    samples : int
        Length of the time axis that is wanted; needed with time.

    Returns
    -------
    tensor of shape (n_spans, feature) or (n_spans, samples, feature)
        As from the pooling.
    """
    if spans is None:
        return pooling(activation, frames, frame_times=frame_times, samples=samples)
    counts = frames.tolist()
    return torch.cat(
        [
            _one(pooling, activation[span.place, : counts[span.place]], span, frame_times, samples)
            for span in spans
        ]
    )


def _one(
    pooling: Pooling,
    frames: torch.Tensor,
    span: Span,
    frame_times: tuple[float, float],
    samples: int,
) -> torch.Tensor:
    """Pool the frames (frame, feature) of a sound over one part: (1, [samples,] feature)."""
    weights = overlaps(span, frame_times, len(frames))
    inside = weights >= 0.5 if pooling.rate is None and not pooling.weighs else weights > 0
    (places,) = np.nonzero(inside)
    begin, end = int(places[0]), int(places[-1]) + 1
    own = frames[None, begin:end]
    if pooling.average is not None:
        valid = torch.tensor((weights if pooling.weighs else inside)[begin:end])
        return pooling.average(own, valid.to(frames.device)[None])
    start, spacing = frame_times
    counts = pooling.counts(np.array([span.duration]))
    count = samples if counts is None else min(samples, int(counts[0]))
    times = (start + begin * spacing - span.onset, spacing)
    found = pooling(own, torch.tensor([end - begin]), frame_times=times, samples=count)
    # What the longest part has beyond is dropped by the caller.
    return torch.nn.functional.pad(found, (0, 0, 0, samples - count))


def overlaps(span: Span, frame_times: tuple[float, float], count: int) -> np.ndarray:
    """Return how much of each frame belongs to a part.

    Parameters
    ----------
    span : Span
        The part.
    frame_times : (float, float)
        Centre of the first frame and spacing, seconds.
    count : int
        Frames of the sound.

    Returns
    -------
    array of shape (count,)
        Between 0 and 1; of a part that is shorter than a frame, or between frames, 1 for the frame
        nearest to its centre.
    """
    start, spacing = frame_times
    centres = start + spacing * np.arange(count)
    begin = -np.inf if span.first else span.onset
    end = np.inf if span.last else span.onset + span.duration
    inside = np.minimum(end, centres + spacing / 2) - np.maximum(begin, centres - spacing / 2)
    found = np.clip(inside / spacing, 0.0, 1.0)
    # Rounding must not let a frame count that only touches, nor spoil one that is inside.
    found[found < 1e-9], found[found > 1 - 1e-9] = 0.0, 1.0
    if span.duration < spacing * (1 - 1e-9) or not (found >= 0.5).any():
        found[:] = 0.0
        middle = span.onset + span.duration / 2
        found[int(np.clip(np.floor((middle - start) / spacing + 0.5), 0, count - 1))] = 1.0
    return found
