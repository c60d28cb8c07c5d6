"""Long sounds, heard by a network through windows: memory is that of a batch of windows.

The samples of the output in [t, t + stride) come from the network's run on
[t - context, t + stride + lookahead). Windows begin on the frames that the network would have
without windows, so that away from their edges, further than the network sees, nothing changes. A
sound that fits into one window is heard as it is without.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from dynamics.extraction.extract import NotFiniteError, device_of
from dynamics.extraction.poolings import Pooling
from dynamics.models import Model


@dataclass(frozen=True)
class Windows:
    """How a network hears a sound that is too long for it.

    Attributes
    ----------
    context : float
        Seconds before those that are kept of a window.
    stride : float
        Seconds of each window that are kept.
    lookahead : float
        Seconds after those; 0 where a layer is to be causal at the resolution of the stride.
    """

    context: float = 16.0
    stride: float = 4.0
    lookahead: float = 0.0

    def __post_init__(self) -> None:
        for name, least in (("context", 0.0), ("stride", 1e-3), ("lookahead", 0.0)):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not least <= value < math.inf:
                raise ValueError(
                    f"`{name}` of windows is {value!r}: give seconds, at least {least:g}"
                )

    @property
    def length(self) -> float:
        """Seconds of a whole window."""
        return self.context + self.stride + self.lookahead


class Piece(NamedTuple):
    """One window of one sound.

    Attributes
    ----------
    row : int
        Place of the sound in its set.
    begin, end : int
        Of the waveform, in samples of the network's rate.
    first, last : int
        Samples of the output that are kept of it, `last` not among them.
    """

    row: int
    begin: int
    end: int
    first: int
    last: int


class Block(NamedTuple):
    """Activations of every layer at some consecutive samples of one sound.

    Attributes
    ----------
    row : int
        Place of the sound in its set.
    first : int
        Number of the first sample.
    values : dict of str to array of shape (samples, features)
        float32, by layer.
    """

    row: int
    first: int
    values: dict[str, np.ndarray]


def plan(
    model: Model, windows: Windows, pooling: Pooling, row: int, length: int, duration: float
) -> list[Piece]:
    """Cut a sound into windows.

    Parameters
    ----------
    model : Model
        Any adapter's model.
    windows : Windows
        How to hear it.
    pooling : Pooling
        One with time.
    row : int
        Place of the sound.
    length : int
        Samples at the network's rate.
    duration : float
        Seconds.

    Returns
    -------
    list of Piece
        In order of time; they keep every sample of the output once.

    Raises
    ------
    ValueError
        If the pooling has no time.
    """
    counts = pooling.counts(np.array([duration]))
    if counts is None or pooling.rate is None:
        raise ValueError(f"windows need a pooling with time, not {pooling.name!r}")
    rate, count = model.sample_rate, int(counts[0])
    if length <= round(windows.length * rate):
        return [Piece(row, 0, length, 0, count)]
    # On the grid of the slowest frames, in which those of the faster layers stand too.
    hop = max(1, round(max(spacing for _, spacing in model.frame_times.values()) * rate))
    out, first = [], 0
    for number in range(math.ceil(length / (windows.stride * rate))):
        start, stop = number * windows.stride, (number + 1) * windows.stride
        # Samples whose centres, (i + 1/2) / rate, are in [start, stop).
        last = min(count, math.ceil(stop * pooling.rate - 0.5 - 1e-9))
        if stop * rate >= length:
            last = count
        if last <= first:
            continue
        begin = max(0, math.floor((start - windows.context) * rate / hop) * hop)
        end = min(length, round((stop + windows.lookahead) * rate))
        out.append(Piece(row, begin, end, first, last))
        first = last
    return out


def cut(blocks: Iterable[np.ndarray], pieces: Sequence[Piece]) -> Iterator[np.ndarray]:
    """Cut the waveforms of windows out of a sound that is decoded block by block.

    Parameters
    ----------
    blocks : iterable of array of shape (n_samples,)
        The sound, in order.
    pieces : sequence of Piece
        Its windows, in order.

    Yields
    ------
    array of shape (n_samples,)
        The waveform of each window. No more than a window and a block are held.

    Raises
    ------
    ValueError
        If the sound ends before its last window does.
    """
    source, held, start = iter(blocks), np.zeros(0, np.float32), 0
    for piece in pieces:
        parts, size = [held], len(held)
        while start + size < piece.end:
            block = next(source, None)
            if block is None:
                raise ValueError(
                    f"a sound ended after {start + size} samples and {piece.end} were stated: "
                    "decode it anew, or replace it"
                )
            parts.append(block)
            size += len(block)
        held = np.concatenate(parts)[max(piece.begin - start, 0) :]
        start = max(piece.begin, start)
        yield held[: piece.end - start]


def heard(
    model: Model,
    sounds: Iterable[tuple[Sequence[Piece], Iterable[np.ndarray]]],
    pooling: Pooling,
    *,
    batch_size: int = 16,
) -> Iterator[Block]:
    """Run a network over the windows of all sounds.

    Parameters
    ----------
    model : Model
        Any adapter's model.
    sounds : iterable of (pieces, blocks)
        For each sound its windows from `plan`, and its waveform block by block.
    pooling : Pooling
        One with time.
    batch_size : int
        Windows that pass through the network together, of different sounds as well; only those of
        one length where padding would change its numbers.

    Yields
    ------
    Block
        Of each window, those of a sound in order of time.

    Raises
    ------
    NotFiniteError
        If an activation is not finite.
    """
    waiting: list[tuple[Piece, np.ndarray]] = []
    for pieces, blocks in sounds:
        for piece, waveform in zip(pieces, cut(blocks, pieces)):
            alike = not waiting or len(waiting[0][1]) == len(waveform) or model.batchable
            whole = 1 if not (model.batchable or model.batch_equal_lengths) else batch_size
            if waiting and (not alike or len(waiting) >= whole):
                yield from _run(model, waiting, pooling)
                waiting = []
            waiting.append((piece, waveform))
    if waiting:
        yield from _run(model, waiting, pooling)


def _run(
    model: Model, windows: Sequence[tuple[Piece, np.ndarray]], pooling: Pooling
) -> Iterator[Block]:
    sizes = torch.tensor([len(waveform) for _, waveform in windows])
    padded = torch.zeros(len(windows), int(sizes.max()))
    for place, (_, waveform) in enumerate(windows):
        padded[place, : len(waveform)] = torch.tensor(waveform)
    device = device_of(model)
    with torch.inference_mode():
        prepared = [part.to(device) for part in model.prepare(padded, sizes)]
        activations: dict[str, Any] = model.forward_prepared(*prepared)
        found = {
            layer: _pooled(model, activations[layer], frames, layer, windows, pooling)
            for layer, frames in model.frames(sizes).items()
        }
    for place, (piece, _) in enumerate(windows):
        yield Block(piece.row, piece.first, {layer: found[layer][place] for layer in found})


def _pooled(
    model: Model,
    activation: torch.Tensor,
    frames: torch.Tensor,
    layer: str,
    windows: Sequence[tuple[Piece, np.ndarray]],
    pooling: Pooling,
) -> list[np.ndarray]:
    """Return the samples (kept, features) of each window of one layer."""
    assert pooling.rate is not None
    first, spacing = model.frame_times[layer]
    out = []
    for place, (piece, _) in enumerate(windows):
        # The window's frames on the times of its first sample that is kept.
        offset = piece.begin / model.sample_rate - piece.first / pooling.rate
        values = pooling(
            activation[place : place + 1],
            frames[place : place + 1],
            frame_times=(first + offset, spacing),
            samples=piece.last - piece.first,
        )[0]
        numbers = values.cpu().numpy()
        if not np.isfinite(numbers).all():
            raise NotFiniteError(
                f"activations of layer {layer} are not finite: the weights are broken or overflow"
            )
        out.append(np.ascontiguousarray(numbers, "float32"))
    return out
