"""What every adapter returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self, runtime_checkable

import torch


@runtime_checkable
class Model(Protocol):
    """What every adapter returns: a network in evaluation mode that needs no gradients.

    Attributes
    ----------
    sample_rate : int
        Of the waveforms it takes, in Hz.
    layers : tuple of str
        Names of the layers, from input to output.
    frame_times : dict of str to (float, float)
        Each layer's centre of the first frame and spacing of frames, in seconds.
    batchable : bool
        Whether padded batches give the same numbers as single stimuli.
    why_not_batchable : str
        The reason where they do not; empty where they do.
    batch_equal_lengths : bool
        Whether batches of stimuli of one length, which need no padding, give the same numbers.
    """

    sample_rate: int
    layers: tuple[str, ...]
    frame_times: dict[str, tuple[float, float]]
    batchable: bool
    why_not_batchable: str
    batch_equal_lengths: bool

    def __call__(
        self, waveforms: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Activations (batch, time, feature) of every layer; waveforms (batch, samples)."""
        ...

    def frames(self, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
        """Count each layer's valid frames (batch,) for stimuli of these lengths in samples."""
        ...

    def prepare(
        self, waveforms: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, ...]:
        """Do the part that no weight changes; a tuple of tensors, batch first."""
        ...

    def forward_prepared(self, *prepared: torch.Tensor) -> dict[str, torch.Tensor]:
        """Do the rest; the same result as calling the model."""
        ...

    def load_weights(self, state: Mapping[str, torch.Tensor]) -> None:
        """Exchange the weights; a ValueError says what does not fit."""
        ...

    def to(self, device: torch.device) -> Self:
        """Move to a device, as any module of torch; so for the next two."""
        ...

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the weights by their names in the module."""
        ...

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> Any:
        """Set them."""
        ...
