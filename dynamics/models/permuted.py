"""Control networks whose weights are those of a checkpoint, in another order."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch

# What normalisation keeps of training beside its parameters.
_STATISTICS = ("running_mean", "running_var")


def permute(model: Any, seed: int) -> None:
    """Shuffle the entries of every tensor that training made, each by itself, in place.

    Each tensor keeps its values, and so its mean and spread, and loses their order: what is left
    of a score is due to architecture and sizes of weights (Tuckute, Feather et al. 2023, PLoS Biol
    21(12):e3002366, who shuffled every entry of the weights' dictionary).

    Parameters
    ----------
    model : torch.nn.Module
        The network. All its parameters are shuffled, one that is used in several places once, and
        the running statistics of normalisation. Constants, such as mel filters, windows and
        tables of positions, stay: no training made them.
    seed : int
        With the name of a tensor it says the order of its entries, so that a tensor's order does
        not depend on which others there are.
    """
    named = list(model.named_parameters())
    named += [(n, each) for n, each in model.named_buffers() if n.split(".")[-1] in _STATISTICS]
    for name, tensor in named:
        digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
        order = np.random.default_rng(list(digest)).permutation(tensor.numel())
        with torch.no_grad():
            flat = tensor.reshape(-1)
            tensor.copy_(flat[torch.from_numpy(order).to(flat.device)].view_as(tensor))
