"""Correlations of predicted with true responses over time: by stimulus, beyond what all share."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dynamics.metrics.correlation import pearson_there


def by_stimulus(
    prediction: torch.Tensor, y: torch.Tensor, there: torch.Tensor, lengths: Sequence[int]
) -> torch.Tensor:
    """Correlate within each stimulus.

    Parameters
    ----------
    prediction, y : tensors of shape (n, v)
        Over the samples of all stimuli, one after another.
    there : tensor of shape (n,), bool
        Which samples count.
    lengths : sequence of int
        Samples of each stimulus.

    Returns
    -------
    tensor of shape (stimuli, v)
        Pearson r, NaN where fewer than 3 samples count.
    """
    parts = (each.split(list(lengths)) for each in (prediction, y, there))
    unknown = y.new_full((y.shape[1],), torch.nan)
    return torch.stack(
        [pearson_there(a[t], b[t]) if int(t.sum()) > 2 else unknown for a, b, t in zip(*parts)]
    )


def beyond_shared(
    prediction: torch.Tensor, y: torch.Tensor, there: torch.Tensor, lengths: Sequence[int]
) -> torch.Tensor:
    """Correlate what is left when the mean over stimuli at each time after the onset is removed.

    A time course that all stimuli share, an onset response for instance, is predicted by whatever
    changes at the onset; what is left is of what tells stimuli apart.

    Parameters
    ----------
    prediction, y, there, lengths
        As for `by_stimulus`; all stimuli begin at one time after their onset.

    Returns
    -------
    tensor of shape (v,)
        Pearson r over the times at which there are two stimuli or more; NaN where there are none.
    """
    at = torch.cat([torch.arange(t) for t in lengths]).to(y.device)
    count = torch.zeros(max(lengths), dtype=y.dtype, device=y.device)
    count.index_add_(0, at[there], torch.ones_like(at[there], dtype=y.dtype))
    kept = there & (count[at] > 1)
    if not kept.any():
        return y.new_full((y.shape[1],), torch.nan)
    left = []
    for values in (prediction, y):
        total = values.new_zeros(len(count), values.shape[1])
        for part, own in zip(values.split(list(lengths)), there.split(list(lengths))):
            total[: len(part)] += part if own.all() else torch.where(own[:, None], part, 0.0)
        left.append(values[kept] - (total / count.clamp(min=1)[:, None])[at[kept]])
    return pearson_there(*left)
