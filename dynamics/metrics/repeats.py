"""How much of a response over time repeats when its stimulus does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from dynamics.metrics.kernels import Array, as_tensor, like
from dynamics.metrics.missing import mean_there
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


def ceiling_over_time(Y: Sequence[Array]) -> Array:
    """CC_max of several stimuli together, each with repetitions of its own number.

    Signal power SP and noise power NP are those of `signal_power` over the stimuli that have all
    repetitions; each repetition is centred within its stimulus, as scores are. The mean of R
    repetitions has the variance SP + NP / R, so that CC_max^2 is SP over the mean of that over all
    samples: what can be reached where some stimuli were heard more often than others.

    Parameters
    ----------
    Y : sequence of array of shape (t_s, v, repetitions)
        Responses to each stimulus, NaN where there is none.

    Returns
    -------
    array of shape (v,)
        NaN where the signal power is not above 0, or nothing is repeated.

    Raises
    ------
    ValueError
        If there are no repetitions.
    """
    values = [as_tensor(y) for y in Y]
    values = [y - mean_there(y, 0) for y in values]
    found = signal_power(torch.cat(values))
    power, total = (as_tensor(found[name]) for name in ("signal_power", "total_power"))
    count = torch.cat([torch.isfinite(y).sum(2) for y in values])
    share = torch.where(count > 0, 1.0 / count.clamp(min=1), 0.0).double()
    heard = (count > 0).sum(0).clamp(min=1)
    mean = power + (total - power) * share.sum(0) / heard
    known = torch.isfinite(as_tensor(found["ceiling"]))
    return like(torch.where(known, power / mean, torch.nan).sqrt(), Y[0])
