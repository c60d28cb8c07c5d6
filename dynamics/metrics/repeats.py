"""How much of a response over time repeats when its stimulus does."""

from __future__ import annotations

from typing import Any

import torch

from dynamics.metrics.kernels import Array, as_tensor, like
from dynamics.metrics.validation import takes


@takes(Y="numbers")
def signal_power(Y: Array) -> dict[str, Any]:
    """Power of what repeats, and the most that a correlation with the mean response can reach.

    With R repetitions y_r of one stimulus, SP = (Var(sum_r y_r) - sum_r Var(y_r)) / (R (R - 1))
    and CC_max = sqrt(SP / Var(mean_r y_r)) (Hsu, Borst & Theunissen 2004, Network 15:91; Schoppe et
    al. 2016, Front Comput Neurosci 10:10, 10.3389/fncom.2016.00010). A score divided by CC_max is
    noise-corrected.

    Parameters
    ----------
    Y : array of shape (t, v, repetitions)
        Responses to one stimulus, or to several after another; at least 2 repetitions. Samples that
        a neuroid lacks (NaN) in any of its repetitions are left out for it.

    Returns
    -------
    dict of arrays
        ``signal_power`` (v,), may be negative; ``total_power`` (v,): mean variance of single
        repetitions; ``ceiling`` (v,): CC_max, NaN where the signal power is not above 0.

    Raises
    ------
    ValueError
        If there are no repetitions.
    """
    values = as_tensor(Y)
    if values.ndim != 3 or values.shape[2] < 2:
        raise ValueError(
            f"signal power needs repetitions but Y has shape {tuple(values.shape)}: give (times, "
            "neuroids, repetitions) with at least 2 repetitions"
        )
    R = values.shape[2]
    there = torch.isfinite(values).all(2, keepdim=True)
    single = _variance(values, there.expand_as(values)).sum(1)
    total = _variance(torch.where(there, values, 0.0).sum(2, keepdim=True), there)[:, 0]
    power = (total - single) / (R * (R - 1))
    # What is left where repetitions are alike but for rounding, or constant, is no signal.
    real = power > 1e-12 * total / R**2
    ceiling = torch.where(real, power / (total / R**2), torch.nan).sqrt()
    out = {"signal_power": power, "total_power": single / R, "ceiling": ceiling}
    return {name: like(value, Y) for name, value in out.items()}


def _variance(values: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """Variance (v, repetitions) over the samples that are there."""
    count = there.sum(0)
    known = torch.where(there, values, 0.0)
    mean = known.sum(0) / count.clamp(min=1)
    found = torch.where(there, values - mean, 0.0).square().sum(0) / count.clamp(min=1)
    return torch.where(count > 1, found, torch.nan)
