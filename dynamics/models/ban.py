"""BAN: four areas of auditory cortex in a row, each recurrent, over log-mel frames.

After Wang, Xiao, Liu, Zhang & Shan (2025), BAN: Neuroanatomical Aligning in Auditory Recognition
between Artificial Neural Network and Human Cortex, arXiv 2502.15503: areas A1, belt, parabelt (PB)
and T2/T3. Neither code nor weights of it could be had. ASSUMED here: log-mel frames in the place of
its own front end; an area is a convolution over time of what it is given, added to one of its own
state, layer-normalised and rectified, run so many times over (as in CORnet-S: Kubilius et al. 2019,
arXiv 1909.06161); the answer is a linear readout of the last area's mean over time. The reference
trainer trains it on labels (``objective: labels``).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

from dynamics.models.hearing import Hearing
from dynamics.models.mel import SAMPLE_RATE, SHIFT, WINDOW, frame_count, inside, log_mel
from dynamics.models.weights import load_strictly

HEARING = Hearing(causal=False)

AREAS = ("A1", "belt", "PB", "T2T3")
_READOUT = "readout.*"


def build(
    state: Mapping[str, torch.Tensor] | None = None,
    *,
    recurrences: int = 2,
    width: int = 64,
    mels: int = 64,
    kernel: int = 5,
    seed: int = 0,
) -> BAN:
    """Build the four areas for a state dict, or freshly initialised.

    Parameters
    ----------
    state : mapping of str to Tensor, optional
        Weights as the reference trainer saves them; `width`, `mels` and `kernel` are then read off
        their shapes.
    recurrences : int
        How many times an area hears its own state after the first pass; no weight's shape tells.
    width, mels, kernel : int
        Features of an area, bands of the front end and frames that a convolution sees, of a fresh
        network.
    seed : int
        Of its initialisation.

    Returns
    -------
    BAN
        In evaluation mode; layers ``A1``, ``belt``, ``PB`` and ``T2T3``.

    Raises
    ------
    ValueError
        Where the weights are not those of such a network, or a size is none.
    """
    sizes = {"width": width, "mels": mels, "kernel": kernel}
    if state is not None:
        sizes = _sizes(state)
    if recurrences < 0 or sizes["kernel"] % 2 == 0:
        raise ValueError(
            f"recurrences is {recurrences} and kernel {sizes['kernel']}: give 0 or more, and an "
            "odd number of frames"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BAN(recurrences=recurrences, **sizes).requires_grad_(False).eval()
    if state is not None:
        model.load_weights(state)
    return model


def untrained(
    state: Mapping[str, torch.Tensor], *, seed: int = 0, recurrences: int = 2, **_: object
) -> BAN:
    """Build a network of the sizes of a state dict with fresh weights.

    Parameters
    ----------
    state : mapping of str to Tensor
        Weights whose shapes tell the sizes.
    seed : int
        Of the initialisation.
    recurrences : int
        As for `build`.

    Returns
    -------
    BAN
        In evaluation mode.
    """
    return build(None, recurrences=recurrences, seed=seed, **_sizes(state))


def _sizes(state: Mapping[str, torch.Tensor]) -> dict[str, int]:
    name = "areas.A1.feed.weight"
    first = next((each for key, each in state.items() if key.endswith(name)), None)
    if first is None or first.ndim != 3:
        raise ValueError(
            f"the checkpoint is not a BAN: it has no weight {name}; choose the adapter of its "
            "family"
        )
    return dict(zip(("width", "mels", "kernel"), first.shape))


class Area(nn.Module):
    """One area: what it is given and its own state, so many times over."""

    def __init__(self, inputs: int, width: int, kernel: int, recurrences: int):
        super().__init__()
        self.recurrences = recurrences
        self.feed = nn.Conv1d(inputs, width, kernel, padding=kernel // 2)
        self.lateral = nn.Conv1d(width, width, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        """From (batch, inputs, time) to (batch, width, time), zero where `valid` is not."""
        given = self.feed(x)
        state = self._settled(given, valid)
        for _ in range(self.recurrences):
            state = self._settled(given + self.lateral(state), valid)
        return state

    def _settled(self, drive: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        normed = self.norm(drive.transpose(1, 2)).transpose(1, 2)
        return functional.relu(normed) * valid


class BAN(nn.Module):
    """The network as an adapter: waveforms in, activations of every area out."""

    batchable = True
    why_not_batchable = ""
    batch_equal_lengths = True
    sample_rate = SAMPLE_RATE

    def __init__(self, *, width: int, mels: int, kernel: int, recurrences: int, classes: int = 0):
        super().__init__()
        self.mels = mels
        self.layers = AREAS
        times = (WINDOW / 2 / SAMPLE_RATE, SHIFT / SAMPLE_RATE)
        self.frame_times = dict.fromkeys(self.layers, times)
        inputs = (mels, *[width] * (len(AREAS) - 1))
        self.areas = nn.ModuleDict(
            {name: Area(own, width, kernel, recurrences) for name, own in zip(AREAS, inputs)}
        )
        if classes:
            self.readout = nn.Linear(width, classes)

    def forward(
        self, waveforms: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Activations (batch, time, width) of every area to waveforms (batch, samples)."""
        return self.forward_prepared(*self.prepare(waveforms, lengths))

    def frames(self, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
        """Count the valid frames of stimuli of these lengths (batch,), in samples."""
        return dict.fromkeys(self.layers, frame_count(lengths))

    @torch.no_grad()
    def prepare(
        self, waveforms: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-mel frames (batch, time, mels), zero after each end, and valid ones (batch,).

        Raises
        ------
        ValueError
            Where a stimulus is shorter than one frame.
        """
        if lengths is None:
            lengths = torch.full((waveforms.shape[0],), waveforms.shape[1])
        count = frame_count(lengths.to(waveforms.device))
        if count.numel() and int(count.min()) < 1:
            raise ValueError(
                f"a stimulus has {int(lengths.min())} samples at {SAMPLE_RATE} Hz: BAN needs at "
                f"least {WINDOW}, so leave it out or lengthen it"
            )
        mel = log_mel(waveforms, mels=self.mels)[:, : int(count.max())]
        return mel * inside(count, mel.shape[1])[..., None], count

    @torch.no_grad()
    def forward_prepared(self, mel: torch.Tensor, count: torch.Tensor) -> dict[str, torch.Tensor]:
        """Activations of every area for what `prepare` gave."""
        return {name: x.transpose(1, 2) for name, x in self.responses(mel, count).items()}

    def responses(self, mel: torch.Tensor, count: torch.Tensor) -> dict[str, torch.Tensor]:
        """States (batch, width, time) of every area, with gradients."""
        valid = inside(count, mel.shape[1])[:, None].to(mel.dtype)
        x, found = mel.transpose(1, 2), {}
        for name, area in self.areas.items():
            x = found[name] = area(x, valid)
        return found

    def answers(self, mel: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
        """Logits (batch, classes) of a network with a readout, for training."""
        last = self.responses(mel, count)[AREAS[-1]]
        return self.readout(last.sum(2) / count[:, None])

    def load_weights(self, state: Mapping[str, torch.Tensor]) -> None:
        """Exchange the weights; the readout is left aside.

        Raises
        ------
        ValueError
            One sentence naming missing, left over, wrongly shaped or non-finite weights.
        """
        self.notes = load_strictly(self, state, ignore=(_READOUT,), what="BAN")
