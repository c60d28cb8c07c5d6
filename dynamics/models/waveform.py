"""What the adapters of other people's networks share: the face, and facts that are measured.

Whether padding changes numbers, how many frames a stimulus gives and where they lie in time is
known by formula for some architectures only. For the others it is measured on the network itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Self

import torch

from dynamics.models.model import Model

# Two stimuli of a padding test may differ by this much, relative to a layer's largest value.
TOLERANCE = 1e-5


class WaveformModel(torch.nn.Module):
    """Face of a network that takes waveforms; subclasses fill in the parts that differ.

    Attributes
    ----------
    sample_rate : int
        In Hz.
    layers : tuple of str
        From input to output.
    frame_times : dict of str to (float, float)
        Centre of the first frame and spacing, seconds.
    batchable : bool
        Whether padding leaves the numbers alone.
    why_not_batchable : str
        Where it does not.
    batch_equal_lengths : bool
        Whether stimuli of one length can share a batch.
    """

    sample_rate: int = 16000
    layers: tuple[str, ...] = ()
    frame_times: dict[str, tuple[float, float]]
    batchable: bool = True
    why_not_batchable: str = ""
    batch_equal_lengths: bool = True

    def forward(
        self, waveforms: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Return activations (batch, time, feature) of every layer."""
        return self.forward_prepared(*self.prepare(waveforms, lengths))

    def prepare(
        self, waveforms: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, ...]:
        """Return the waveforms (batch, samples) with zeros after each end, and the lengths."""
        if waveforms.ndim != 2:
            raise ValueError(
                f"waveforms must have shape (batch, samples), not {tuple(waveforms.shape)}"
            )
        if lengths is None:
            lengths = torch.full((len(waveforms),), waveforms.shape[1])
        lengths = lengths.to(waveforms.device, torch.int64)
        return waveforms * inside(lengths, waveforms.shape[1]), lengths

    def forward_prepared(self, *prepared: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return activations from what `prepare` gave."""
        raise NotImplementedError

    def frames(self, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
        """Count valid frames by running silence of each new length once.

        A length under a second with which the network cannot run is shorter than its receptive
        field: there are no frames.
        """
        known = self.__dict__.setdefault("_counted", {})
        for length in sorted(set(lengths.tolist()) - known.keys()):
            try:
                known[length] = self._frames_of_silence(length)
            except torch.OutOfMemoryError:
                raise
            except (RuntimeError, ValueError, IndexError, AssertionError):
                if length >= self.sample_rate:
                    raise
                known[length] = dict.fromkeys(self.layers, 0)
        return {
            layer: torch.tensor([known[length][layer] for length in lengths.tolist()])
            for layer in self.layers
        }

    def _frames_of_silence(self, length: int) -> dict[str, int]:
        place = next((p.device for p in self.parameters()), None)
        with torch.no_grad():
            out = self(torch.zeros(1, length, device=place))
        return {layer: values.shape[1] for layer, values in out.items()}

    def settle(self) -> Self:
        """Put into evaluation mode without gradients, for good."""
        self.requires_grad_(False)
        return self.eval()


def shortest(model: Model, *, longest: int | None = None) -> int:
    """Find the least number of samples that gives every layer of a network a frame.

    Parameters
    ----------
    model : Model
        Any adapter's.
    longest : int, optional
        Samples up to which it is looked for; by default a minute.

    Returns
    -------
    int
        Samples at the model's rate, such as the receptive field of its convolutions.

    Raises
    ------
    ValueError
        Where none up to `longest` does.
    """
    longest = longest or 60 * model.sample_rate
    low, high = 1, 1
    while not has_frames(model, high):
        if high >= longest:
            raise ValueError(f"a sound of {longest} samples gives the network no frame")
        low, high = high + 1, min(2 * high, longest)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if has_frames(model, middle) else (middle + 1, high)
    return low


def has_frames(model: Model, length: int) -> bool:
    """Whether a stimulus of so many samples gives every layer of a model a frame."""
    return all(int(n.min()) > 0 for n in model.frames(torch.tensor([length])).values())


def inside(lengths: torch.Tensor, samples: int) -> torch.Tensor:
    """Mark (batch, samples) what belongs to each stimulus and not to its padding."""
    return torch.arange(samples, device=lengths.device) < lengths.unsqueeze(1)


def normalised(waveforms: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Bring each stimulus (not its padding) to zero mean and unit variance.

    Parameters
    ----------
    waveforms : tensor of shape (batch, samples)
        Zeros after each stimulus's end.
    lengths : tensor of shape (batch,)
        Samples.

    Returns
    -------
    tensor of shape (batch, samples)
        As wav2vec 2.0's feature extractor does it, the variance floor of 1e-7 included.
    """
    count = lengths.unsqueeze(1).to(waveforms.dtype)
    mean = waveforms.sum(1, keepdim=True) / count
    centred = (waveforms - mean) * inside(lengths, waveforms.shape[1])
    variance = (centred**2).sum(1, keepdim=True) / count
    return centred / (variance + 1e-7).sqrt()


def decide_batchable(model: WaveformModel, reason: str = "") -> None:
    """Find out whether a stimulus alone and in a batch agree, and note it on the model.

    Parameters
    ----------
    model : WaveformModel
        Complete but for ``batchable`` and ``batch_equal_lengths``.
    reason : str
        Known reason why padding would matter, used for ``why_not_batchable``.
    """
    difference = padding_error(model)
    model.batchable = difference <= TOLERANCE
    effect = f"padding changes activations by {difference:.1g} of their largest value"
    if difference == float("inf"):
        effect = "it cannot run a padded batch at all"
    reason = reason or "the network looks at the padding"
    model.why_not_batchable = "" if model.batchable else f"{reason} ({effect})"
    model.batch_equal_lengths = model.batchable or padding_error(model, longer=1.0) <= TOLERANCE


def padding_error(
    model: WaveformModel, *, seconds: float = 0.6, longer: float = 1.5, seed: int = 0
) -> float:
    """Measure how far a batch moves activations, as a part of each layer's largest value.

    Biases and norms are perturbed for the measurement: in an untrained network many are zero, and
    hide what padding does after training.

    Parameters
    ----------
    model : WaveformModel
        Its `frames` must work already.
    seconds : float
        Length of the stimulus that is run alone and in a batch.
    longer : float
        Length of the other stimulus of the batch, over this one's; 1 for a batch without padding.
    seed : int
        Of the noise and the perturbation.

    Returns
    -------
    float
        Largest relative difference over all layers; infinite where a batch cannot be run.
    """
    rng = torch.Generator().manual_seed(seed)
    short, long = int(seconds * model.sample_rate), int(longer * seconds * model.sample_rate)
    waveforms = 0.1 * torch.randn(2, long, generator=rng)
    waveforms[0, short:] = 0
    lengths = torch.tensor([short, long])
    with torch.no_grad(), _perturbed(model, rng):
        alone = model(waveforms[:1, :short], lengths[:1])
        try:
            together = model(waveforms, lengths)
        except (RuntimeError, ValueError, AssertionError):
            return float("inf")
        counts = model.frames(lengths[:1])
    worst = 0.0
    for layer in model.layers:
        count = int(counts[layer][0])
        if together[layer].shape[1] < count:
            return float("inf")
        difference = (alone[layer][0, :count] - together[layer][0, :count]).abs().max()
        scale = alone[layer][0, :count].abs().max().clamp(min=1e-12)
        worst = max(worst, float(difference / scale))
    return worst


def measure_frame_times(model: WaveformModel) -> dict[str, tuple[float, float]]:
    """Measure where each layer's frames lie, from the lengths at which one more frame appears.

    Parameters
    ----------
    model : WaveformModel
        With layers and `frames`.

    Returns
    -------
    dict of str to (float, float)
        Centre of the first frame and spacing, seconds. A layer without a time axis has one frame
        in the middle of a second.
    """
    rate = model.sample_rate
    one, two = (model.frames(torch.tensor([rate * n])) for n in (1, 2))
    times = {}
    for layer in model.layers:
        count, further = int(one[layer][0]), int(two[layer][0])
        if further <= count:
            times[layer] = (0.5, 1.0)
            continue
        spacing = rate / (further - count)
        # The shortest stimulus with as many frames: what it spans is spacing and receptive field.
        low, high = max(1, int(rate - 2 * spacing)), rate
        while low < high:
            middle = (low + high) // 2
            if int(model.frames(torch.tensor([middle]))[layer][0]) >= count:
                high = middle
            else:
                low = middle + 1
        field = low - (count - 1) * spacing
        times[layer] = (max(field, 0.0) / 2 / rate, spacing / rate)
    return times


@contextlib.contextmanager
def _perturbed(model: torch.nn.Module, rng: torch.Generator) -> Iterator[None]:
    small = [p for p in model.parameters() if p.ndim <= 1 and p.is_floating_point()]
    kept = [p.detach().clone() for p in small]
    try:
        with torch.no_grad():
            for p in small:
                p.add_(0.1 * torch.randn(p.shape, generator=rng).to(p))
        yield
    finally:
        with torch.no_grad():
            for p, value in zip(small, kept):
                p.copy_(value)
