"""The transformer of EnCodecMAE: ResiDual layers, of which each carries two residual streams.

Xie et al. (2023), ResiDual: Transformer with dual residual connections, arXiv 2304.14802; in the
form and with the names of weights of Pepino, Riera & Ferrer (2023), arXiv 2309.07391.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import nn
from torch.nn import functional


class Positions(nn.Module):
    """Sinusoidal positions times a learned scale: sine and cosine in turns, 10000^(2i/width)."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the positions to x (batch, time, width)."""
        return x + self.scale * _sinusoids(x.shape[1], x.shape[2]).to(x)


class Attention(nn.Module):
    """Scaled dot-product attention without biases, heads the fastest axis of its projections."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads, self.dim = heads, width // heads
        self.wq, self.wk, self.wv = (
            nn.Linear(width, self.dim * heads, bias=False) for _ in range(3)
        )
        self.wo = nn.Linear(self.dim * heads, width, bias=False)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Attend over x (batch, time, width); `mask` (batch, 1, 1, time) is True where valid."""
        # Dense, without which torch takes a slow way of attending.
        q, k, v = (
            projection(x).unflatten(-1, (self.dim, self.heads)).permute(0, 3, 1, 2).contiguous()
            for projection in (self.wq, self.wk, self.wv)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.wo(mixed.permute(0, 2, 3, 1).flatten(2))


class Layer(nn.Module):
    """ResiDual layer: a post-norm stream x0 and beside it the plain sum x1 of all branches."""

    def __init__(self, width: int, heads: int, ff_layer: nn.Module):
        super().__init__()
        self.att_layer = Attention(width, heads)
        self.ff_layer = ff_layer
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(
        self, x0: torch.Tensor, x1: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Advance both streams (batch, time, width)."""
        attended = self.att_layer(x0, mask)
        x0, x1 = self.norm1(x0 + attended), x1 + attended
        fed = self.ff_layer(x0)
        return self.norm2(x0 + fed), x1 + fed


class Encoder(nn.Module):
    """A stack of ResiDual layers, in the original with one feed-forward block for all of them."""

    def __init__(self, layers: int, width: int, heads: int, feed_forward: int, *, share: bool):
        super().__init__()
        shared = _feed_forward(width, feed_forward)
        self.encoder_layers = nn.ModuleList(
            Layer(width, heads, shared if share else _feed_forward(width, feed_forward))
            for _ in range(layers)
        )
        self.final_norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor, valid: torch.Tensor | None = None) -> list[torch.Tensor]:
        """Every layer's activation (batch, time, width); `valid` (batch, time) masks keys."""
        mask = None if valid is None else valid[:, None, None, :]
        x0 = x1 = x
        activations = []
        for layer in self.encoder_layers:
            x0, x1 = layer(x0, x1, mask)
            activations.append(x0)
        activations[-1] = x0 + self.final_norm(x1)
        return activations


def _feed_forward(width: int, inner: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, inner), nn.ReLU(), nn.Linear(inner, width))


@lru_cache(maxsize=16)
def _sinusoids(length: int, width: int) -> torch.Tensor:
    angles = torch.arange(length, dtype=torch.float64)[:, None] / 10000.0 ** (
        torch.arange(0, width, 2, dtype=torch.float64) / width
    )
    waves = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
    return waves[:, :width].to(torch.float32)
