"""Parts of long recordings: pooled as soon as the windows have come past them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from dynamics.extraction import spans
from dynamics.extraction.poolings import Pooling
from dynamics.extraction.spans import Span
from dynamics.extraction.windows import Block, Frames, Once, Piece, finite
from dynamics.sounds.within import Within


def pooled(
    windows: Iterable[tuple[Piece, dict[str, Frames]]], within: Within, pooling: Pooling
) -> Iterator[Block]:
    """Pool what a network makes of the windows of recordings over the parts of these.

    Frames are held as long as a part that is still to be pooled needs them.

    Parameters
    ----------
    windows : iterable of (Piece, dict of str to Frames)
        As from `dynamics.extraction.windows.frames_of`; rows are those of the recordings.
    within : Within
        Where the parts are.
    pooling : Pooling
        Any pooling.

    Yields
    ------
    Block
        A part each, all its samples; rows are those of the parts.

    Raises
    ------
    NotFiniteError
        If an activation is not finite.
    """
    waiting: list[tuple[int, Span]] = []
    layers: dict[str, _Held] = {}
    for piece, found in windows:
        if piece.start == -math.inf:
            rows, places = spans.spans_of(within, [piece.row])
            each = [span._replace(place=0) for span in places]
            waiting = sorted(zip(rows.tolist(), each), key=lambda one: _end(one[1]))
            layers = {name: _Held(_spread(piece, frames)) for name, frames in found.items()}
        for name, frames in found.items():
            layers[name].add(piece, frames)
        known = min(held.known for held in layers.values())
        margin = _margin(layers, pooling)
        while waiting and (piece.stop == math.inf or _end(waiting[0][1]) + margin <= known):
            row, span = waiting.pop(0)
            values = {name: held.pooled(pooling, span) for name, held in layers.items()}
            yield Block(row, 0, finite(values))
        needed = min((span.onset for _, span in waiting), default=math.inf) - margin
        for held in layers.values():
            held.forget(needed)


def _spread(piece: Piece, frames: Frames) -> Frames:
    """Let the one frame that a layer without time has a window hold for what is kept of it."""
    return frames if frames.timed else frames._replace(origin=piece.stop / 2, spacing=piece.stop)


def _end(span: Span) -> float:
    return span.onset + span.duration


def _margin(layers: dict[str, _Held], pooling: Pooling) -> float:
    """Return the seconds about a part whose frames it can take."""
    slowest = max(held.spacing for held in layers.values())
    return 2 * max(slowest, 0.0 if pooling.rate is None else 1 / pooling.rate)


@dataclass
class _Held:
    """Frames of a layer that parts still need."""

    like: Frames
    once: Once = field(default_factory=Once)
    first: int = 0
    parts: list[torch.Tensor] = field(default_factory=list)

    @property
    def spacing(self) -> float:
        return self.like.spacing

    @property
    def known(self) -> float:
        """The time up to which frames have come."""
        return self.like.origin + (self.once.next - 0.5) * self.spacing

    def add(self, piece: Piece, frames: Frames) -> None:
        self.parts.append(self.once.take(piece, frames))

    def pooled(self, pooling: Pooling, span: Span) -> np.ndarray:
        """Return (samples, features), or (features,) without time, of a part."""
        self.parts = [torch.cat(self.parts)]
        frames = self.parts[0]
        counts = pooling.counts(np.array([span.duration]))
        how: dict[str, Any] = {
            "frame_times": (self.like.origin + self.first * self.spacing, self.spacing),
            "samples": 0 if counts is None else int(counts[0]),
        }
        with torch.inference_mode():
            found = spans.pooled(pooling, frames[None], torch.tensor([len(frames)]), [span], **how)
        return found[0].cpu().numpy()

    def forget(self, before: float) -> None:
        """Let go of the frames that no part needs; the last one always stays."""
        whole = torch.cat(self.parts)
        gone = math.floor((min(before, self.known) - self.like.origin) / self.spacing) - self.first
        gone = max(0, min(gone, len(whole) - 1))
        self.parts, self.first = [whole[gone:].clone()], self.first + gone
