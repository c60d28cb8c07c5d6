"""Masked prediction of discrete tokens: the training network and its objective.

The encoder is EnCodecMAE's (Pepino, Riera & Ferrer, 2023, arXiv 2309.07391). The targets come from
frozen random projections (BEST-RQ: Chiu et al., 2022, arXiv 2202.01855), and as there the encoder
sees every place, the hidden ones as one learned token, and predicts without a decoder: in short
runs that gave better representations than leaving hidden places out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from dynamics.models.encodecmae import fresh_state
from dynamics.models.residual import Encoder, Positions


class MaskedPredictor(nn.Module):
    """EnCodecMAE's encoder with a head over the codes, under the original names of the weights.

    Parameters
    ----------
    layers, width, heads, feed_forward : int
        Sizes of the encoder.
    inputs : int
        Numbers in a token: mels times stacked frames.
    codebooks, codes : int
        Targets a token, and classes of each.
    seed : int
        Of the initialisation; the encoder starts as `fresh_state` with this seed.
    """

    def __init__(
        self,
        *,
        layers: int,
        width: int,
        heads: int,
        feed_forward: int,
        inputs: int,
        codebooks: int,
        codes: int,
        seed: int,
    ):
        super().__init__()
        self.codebooks, self.codes = codebooks, codes
        sizes = {"heads": heads, "layers": layers, "width": width, "feed_forward": feed_forward}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 1)
            self.wav_encoder = nn.ModuleDict({"post_net": nn.Linear(inputs, width)})
            self.masker = nn.ModuleDict({"positional_encoder": Positions()})
            self.masker.register_parameter("mask_token", nn.Parameter(0.02 * torch.randn(width)))
            self.visible_encoder = Encoder(layers, width, heads, feed_forward, share=True)
            self.head = nn.ModuleDict({"layer": nn.Linear(width, codebooks * codes)})
        self.load_state_dict(fresh_state(**sizes, inputs=inputs, seed=seed), strict=False)

    def forward(self, tokens: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Predict the codes of the hidden tokens.

        Parameters
        ----------
        tokens : torch.Tensor of shape (batch, time, inputs)
            Normalised log-mel tokens.
        hidden : torch.Tensor of shape (batch, count), int64
            Places that the encoder must not see.

        Returns
        -------
        torch.Tensor of shape (batch, count, codebooks, codes)
            Logits.
        """
        covered = torch.zeros(tokens.shape[:2], dtype=torch.bool).scatter(1, hidden, True)
        x = self.wav_encoder["post_net"](tokens)
        x = torch.where(covered[..., None], self.masker.get_parameter("mask_token"), x)
        x = self.visible_encoder(self.masker["positional_encoder"](x))[-1]
        x = x.gather(1, hidden[..., None].expand(-1, -1, x.shape[-1]))
        return self.head["layer"](x).unflatten(-1, (self.codebooks, self.codes))


class RandomQuantiser:
    """Frozen random projections and codebooks: window of tokens to the nearest code by cosine.

    Parameters
    ----------
    sample : torch.Tensor of shape (batch, time, inputs)
        Tokens whose mean and deviation standardise inputs and projections, without which most
        tokens fall on few codes.
    windows : sequence of int
        Tokens around each place that a codebook looks at; one codebook an entry.
    codes, dimension : int
        Classes of each codebook, and size of the projection.
    seed : int
        Of projections and codes.
    """

    def __init__(
        self,
        sample: torch.Tensor,
        *,
        windows: Sequence[int],
        codes: int,
        dimension: int,
        seed: int,
    ):
        rng = np.random.default_rng([seed, 0x52515A])
        self.windows = tuple(windows)
        self.mean, self.deviation = _moments(sample)
        standard = (sample - self.mean) / self.deviation
        self._books = []
        for window in self.windows:
            inputs = window * sample.shape[-1]
            projection = _float(rng.normal(0, inputs**-0.5, (inputs, dimension)))
            directions = rng.normal(0, 1, (dimension, codes))
            table = _float(directions / np.linalg.norm(directions, axis=0))
            self._books.append(
                (projection, *_moments(_widen(standard, window) @ projection), table)
            )

    @torch.no_grad()
    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        """Codes (batch, time, codebooks), int64, of tokens (batch, time, inputs)."""
        standard = (tokens - self.mean) / self.deviation
        codes = [
            (((_widen(standard, window) @ projection - mean) / deviation) @ table).argmax(dim=-1)
            for window, (projection, mean, deviation, table) in zip(self.windows, self._books)
        ]
        return torch.stack(codes, dim=-1)


def hide(
    rng: np.random.Generator, batch: int, time: int, *, share: float, span: int
) -> torch.Tensor:
    """Choose the tokens to hide, in spans, the same number in every clip.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the choice.
    batch, time : int
        Clips, and tokens a clip.
    share : float
        Part of the tokens that is hidden; at least one is, and at least one is not.
    span : int
        Tokens a span.

    Returns
    -------
    torch.Tensor of shape (batch, hidden), int64
        Their places, rising.
    """
    visible = min(max(1, round(time * (1 - share))), time - 1)
    blocks = (np.arange(time) + rng.integers(span, size=(batch, 1))) // span
    scores = np.take_along_axis(rng.random((batch, time // span + 2)), blocks, axis=1)
    order = np.argsort(scores, axis=1, kind="stable")[:, visible:]
    return torch.from_numpy(np.sort(order, axis=1))


def prediction_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy (nats) of logits (..., codes) against targets (...)."""
    return functional.cross_entropy(logits.flatten(0, -2), targets.flatten())


def _widen(tokens: torch.Tensor, window: int) -> torch.Tensor:
    """Every token with its neighbours, (batch, time, window x inputs); the ends are repeated."""
    before = (window - 1) // 2
    first = tokens[:, :1].expand(-1, before, -1)
    last = tokens[:, -1:].expand(-1, window - 1 - before, -1)
    return torch.cat([first, tokens, last], dim=1).unfold(1, window, 1).flatten(2)


def _moments(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    flat = values.flatten(0, -2)
    return flat.mean(0), flat.std(0) + 1e-3


def _float(values: np.ndarray) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)
