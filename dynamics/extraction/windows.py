"""Long sounds, heard by a network through windows: memory is that of a batch of windows.

The samples of the output in [t, t + stride) come from the network's run on
[t - context, t + stride + lookahead). Windows begin on the frames that the network would have
without windows, so that away from their edges, further than the network sees, nothing changes. A
sound that fits into one window is heard as it is without.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from dynamics.extraction.extract import NotFiniteError, device_of
from dynamics.extraction.poolings import Pooling
from dynamics.faults import SoundError
from dynamics.models import Model, Windows


class Piece(NamedTuple):
    """One window of one sound.

    Attributes
    ----------
    row : int
        Place of the sound in its set.
    begin, end : int
        Of the waveform, in samples of the network's rate.
    start, stop : float
        Seconds of the sound that are kept of it; the first starts before, and the last stops after
        all frames.
    first, last : int
        Samples of the output that are kept of it, `last` not among them; none without time.
    """

    row: int
    begin: int
    end: int
    start: float
    stop: float
    first: int
    last: int


class Frames(NamedTuple):
    """What a layer makes of a window.

    Attributes
    ----------
    values : tensor of shape (frames, features)
        Those of the sound, not of padding.
    first, spacing : float
        Centre of the first and distance, in seconds of the sound that the window is of.
    origin : float
        Centre of the first frame of the sound.
    timed : bool
        False where the layer has one frame, however long the window is.
    """

    values: torch.Tensor
    first: float
    spacing: float
    origin: float
    timed: bool


class Block(NamedTuple):
    """Activations of every layer at some consecutive samples of one sound.

    Attributes
    ----------
    row : int
        Place of the sound in its set.
    first : int
        Number of the first sample; 0 without time.
    values : dict of str to array of shape (samples, features), or (features,) without time
        float32, by layer.
    """

    row: int
    first: int
    values: dict[str, np.ndarray]


def fits(windows: Windows, duration: float) -> bool:
    """Whether a sound of so many seconds is heard at once."""
    return duration <= windows.length + 1e-9


def plan(
    model: Model, windows: Windows, pooling: Pooling, row: int, duration: float
) -> list[Piece]:
    """Cut a sound into windows.

    Parameters
    ----------
    model : Model
        Any adapter's model.
    windows : Windows
        How to hear it.
    pooling : Pooling
        What to keep.
    row : int
        Place of the sound.
    duration : float
        Seconds.

    Returns
    -------
    list of Piece
        In order of time; they keep every sample of the output once. Where a sample is longer than
        a frame, a window reaches to its end, and further back by less.
    """
    counts, rate = pooling.counts(np.array([duration])), model.sample_rate
    count = 0 if counts is None else int(counts[0])
    length = round(duration * rate)
    if fits(windows, duration):
        return [Piece(row, 0, length, -math.inf, math.inf, 0, count)]
    hop = _hop(model)
    out: list[Piece] = []
    number = math.ceil(duration / windows.stride - 1e-9)
    first, kept = 0, -math.inf
    for start in (windows.stride * each for each in range(number)):
        stop = start + windows.stride
        ends = stop >= duration - 1e-9
        low, high, last = start, stop, 0
        if pooling.rate is not None:
            # Samples whose centres, (i + 1/2) / rate, are in [start, stop).
            last = count if ends else min(count, math.ceil(stop * pooling.rate - 0.5 - 1e-9))
            if last <= first:
                continue
            low, high = min(low, first / pooling.rate), max(high, last / pooling.rate)
        high += windows.lookahead
        low = min(low, max(low - windows.context, high - windows.length))
        begin, end = max(0, math.floor(low * rate / hop + 1e-9) * hop), round(high * rate)
        if end - begin > getattr(model, "window", math.inf):
            begin += hop
        piece = Piece(row, begin, min(length, end), kept, stop, first, last)
        out.append(piece._replace(stop=math.inf) if ends else piece)
        first, kept = last, stop
    out[-1] = out[-1]._replace(stop=math.inf)
    return out


def _hop(model: Model) -> int:
    """Return the samples between the slowest frames, among which those of other layers stand."""
    spacing = max((model.frame_times[layer][1] for layer in _timed(model)), default=0.0)
    return max(1, round(spacing * model.sample_rate))


def _timed(model: Model) -> set[str]:
    """Return the layers whose frames are more for a longer sound."""
    one, two = (model.frames(torch.tensor([model.sample_rate * n])) for n in (1, 2))
    return {layer for layer in model.layers if int(two[layer][0]) > int(one[layer][0])}


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
        If the sound ends before its last window does, by more than rounding.
    """
    source, held, start = iter(blocks), np.zeros(0, np.float32), 0
    for piece in pieces:
        parts, size = [held], len(held)
        while start + size < piece.end:
            block = next(source, None)
            if block is None:
                if start + size >= piece.end - _ROUNDING:
                    break
                raise SoundError(
                    f"a sound ended after {start + size} samples and {piece.end} were stated: "
                    "decode it anew, or replace it"
                )
            parts.append(block)
            size += len(block)
        held = np.concatenate(parts)[max(piece.begin - start, 0) :]
        start = max(piece.begin, start)
        yield held[: piece.end - start]


# Samples by which a resampled sound may be shorter than its duration says.
_ROUNDING = 4


def frames_of(
    model: Model,
    sounds: Iterable[tuple[Sequence[Piece], Iterable[np.ndarray]]],
    *,
    batch_size: int = 16,
) -> Iterator[tuple[Piece, dict[str, Frames]]]:
    """Run a network over the windows of all sounds.

    Parameters
    ----------
    model : Model
        Any adapter's model.
    sounds : iterable of (pieces, blocks)
        For each sound its windows from `plan`, and its waveform block by block.
    batch_size : int
        Windows that pass through the network together, of different sounds as well; only those of
        one length where padding would change its numbers.

    Yields
    ------
    piece, layers : (Piece, dict of str to Frames)
        Of each window, those of a sound in order of time.
    """
    waiting: list[tuple[Piece, np.ndarray]] = []
    most = batch_size if model.batchable or model.batch_equal_lengths else 1
    timed = _timed(model)
    for pieces, blocks in sounds:
        for piece, waveform in zip(pieces, cut(blocks, pieces)):
            alike = not waiting or len(waiting[0][1]) == len(waveform) or model.batchable
            if waiting and (not alike or len(waiting) >= most):
                yield from _run(model, waiting, timed)
                waiting = []
            waiting.append((piece, waveform))
    if waiting:
        yield from _run(model, waiting, timed)


def heard(
    model: Model,
    sounds: Iterable[tuple[Sequence[Piece], Iterable[np.ndarray]]],
    pooling: Pooling,
    *,
    batch_size: int = 16,
) -> Iterator[Block]:
    """Run a network over the windows of all sounds, and pool what it makes of them.

    Parameters
    ----------
    model, sounds, batch_size
        As for `frames_of`.
    pooling : Pooling
        With time, or one of `GATHERED`.

    Yields
    ------
    Block
        With time, of each window, those of a sound in order of time; else of each sound.

    Raises
    ------
    NotFiniteError
        If an activation is not finite.
    ValueError
        If a pooling without time is not known to work window by window.
    """
    check_pooling(pooling)
    gathered: dict[str, _Moments] = {}
    for piece, layers in frames_of(model, sounds, batch_size=batch_size):
        if pooling.rate is not None:
            values = {name: _sampled(pooling, piece, each) for name, each in layers.items()}
            yield Block(piece.row, piece.first, finite(values))
            continue
        for name, each in layers.items():
            gathered.setdefault(name, _Moments()).add(piece, each)
        if piece.stop == math.inf:
            found = {name: GATHERED[pooling.name](each) for name, each in gathered.items()}
            gathered = {}
            yield Block(piece.row, 0, finite(found))


def check_pooling(pooling: Pooling) -> None:
    """Raise a ValueError where a pooling without time is not known to work window by window."""
    if pooling.rate is None and pooling.name not in GATHERED:
        raise ValueError(
            f"the pooling {pooling.name!r} cannot go through windows: use {', '.join(GATHERED)} or "
            "one with time, or leave out the sounds that are longer than a window"
        )


def _run(
    model: Model, windows: Sequence[tuple[Piece, np.ndarray]], timed: set[str]
) -> Iterator[tuple[Piece, dict[str, Frames]]]:
    sizes = torch.tensor([len(waveform) for _, waveform in windows])
    padded = torch.zeros(len(windows), int(sizes.max()))
    for place, (_, waveform) in enumerate(windows):
        padded[place, : len(waveform)] = torch.tensor(waveform)
    device = device_of(model)
    with torch.inference_mode():
        prepared = [part.to(device) for part in model.prepare(padded, sizes)]
        activations = model.forward_prepared(*prepared)
    counts = {layer: frames.tolist() for layer, frames in model.frames(sizes).items()}
    for place, (piece, _) in enumerate(windows):
        begin = piece.begin / model.sample_rate
        layers = {}
        for layer, count in counts.items():
            origin, spacing = model.frame_times[layer]
            values = activations[layer][place, : count[place]]
            layers[layer] = Frames(values, origin + begin, spacing, origin, layer in timed)
        yield piece, layers


def _sampled(pooling: Pooling, piece: Piece, frames: Frames) -> np.ndarray:
    """Return the samples (kept, features) of a window."""
    assert pooling.rate is not None
    with torch.inference_mode():
        values = pooling(
            frames.values[None],
            torch.tensor([len(frames.values)]),
            frame_times=(frames.first - piece.first / pooling.rate, frames.spacing),
            samples=piece.last - piece.first,
        )
    return values[0].cpu().numpy()


def finite(layers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return layers as float32; a NotFiniteError if a value is not finite."""
    for layer, values in layers.items():
        if not np.isfinite(values).all():
            raise NotFiniteError(
                f"activations of layer {layer} are not finite: the weights are broken or overflow"
            )
    return {layer: np.ascontiguousarray(values, "float32") for layer, values in layers.items()}


class Once:
    """Takes the frames of a layer that are kept of each window: every frame of a sound once."""

    def __init__(self) -> None:
        self.next = 0  # number of the frame of the sound that is still to come

    def take(self, piece: Piece, frames: Frames) -> torch.Tensor:
        """Return the frames (kept, features) of the next window of a sound.

        Where a window ends before the last frame that it is to keep, the next one has it. Of a
        layer without an axis of time, the one frame of each window is kept.
        """
        values, begin, end = frames.values, self.next, self.next + len(frames.values)
        if frames.timed:
            begin = round((frames.first - frames.origin) / frames.spacing)
            end = begin + len(values)
            if math.isfinite(piece.stop):
                end = min(end, math.ceil((piece.stop - frames.origin) / frames.spacing - 1e-6))
        kept = values[max(self.next - begin, 0) : max(end - begin, 0)]
        self.next = max(self.next, end)
        return kept


class _Moments:
    """Number, mean and squared deviations of the frames of a layer so far, and the last of them.

    Parts are put together as Chan, Golub & LeVeque (1983, doi:10.1080/00031305.1983.10483115) do.
    """

    def __init__(self) -> None:
        self.once = Once()
        self.count = 0
        self.mean: np.ndarray | float = 0.0
        self.squares: np.ndarray | float = 0.0
        self.last = np.zeros(0)

    def add(self, piece: Piece, frames: Frames) -> None:
        """Take the frames that are kept of a window."""
        values = self.once.take(piece, frames).double().cpu().numpy()
        if not len(values):
            return
        mean, squares = values.mean(0), values.var(0) * len(values)
        total = self.count + len(values)
        apart = mean - self.mean
        self.squares = self.squares + squares + apart**2 * (self.count * len(values) / total)
        self.mean = self.mean + apart * (len(values) / total)
        self.count, self.last = total, values[-1]


GATHERED = {
    "last": lambda moments: moments.last,
    "mean": lambda moments: moments.mean,
    "mean+deviation": lambda moments: np.concatenate(
        [moments.mean, np.sqrt(moments.squares / moments.count)]
    ),
}
"""Poolings without time that go through windows: what each keeps of a sound's moments."""
