"""Representational similarity analysis: how alike two RDMs are."""

from __future__ import annotations

from collections.abc import Callable

import torch

from dynamics.metrics.gram import Array, as_tensor, like, same_rows
from dynamics.metrics.rdm import rdm, upper


def rsa(
    X: Array,
    Y: Array,
    *,
    distance: str = "correlation",
    compare: str = "spearman",
    zscore: bool = True,
) -> float:
    """Similarity of the RDM of X with the RDM of Y.

    Parameters
    ----------
    X, Y : arrays of shape (n, p) and (n, v)
        Activations and responses to the same stimuli in the same order.
    distance : str
        Distance of both RDMs, see `rdm`.
    compare : str
        A name in `COMPARISONS`, see `compare_rdms`.
    zscore : bool
        Scale each column over stimuli before taking distances (Pepino et al. 2025, Tuckute et al.
        2023).

    Returns
    -------
    float
        Between -1 and 1; NaN if all distances of one RDM are equal.

    Raises
    ------
    ValueError
        If rows do not match, and as in `rdm` and `compare_rdms`.
    """
    same_rows(X, Y)
    first = rdm(X, distance=distance, zscore=zscore)
    return compare_rdms(first, rdm(Y, distance=distance, zscore=zscore), compare=compare)


def compare_rdms(D: Array, E: Array, *, compare: str = "spearman") -> float | Array:
    """Compare RDMs on the entries above the diagonal.

    Parameters
    ----------
    D, E : arrays of shape (n, n), or stacks (d, n, n) and (e, n, n)
        RDMs of the same stimuli.
    compare : str
        A name in `COMPARISONS`: ``"spearman"`` (ties get their mean rank), ``"pearson"``,
        ``"cosine"``.

    Returns
    -------
    float, or array of shape (d, e)
        Similarity; every RDM of one stack with every RDM of the other if either is a stack.

    Raises
    ------
    ValueError
        If the comparison is unknown or the RDMs differ in size.
    """
    if compare not in COMPARISONS:
        raise ValueError(f"there is no comparison {compare!r}: use one of {', '.join(COMPARISONS)}")
    if D.shape[-2:] != E.shape[-2:]:
        raise ValueError(
            f"one RDM has {D.shape[-1]} stimuli, the other {E.shape[-1]}: give both the same "
            "stimuli"
        )
    first, second = as_tensor(upper(D)), as_tensor(upper(E))
    single = first.ndim == second.ndim == 1
    value = COMPARISONS[compare](torch.atleast_2d(first), torch.atleast_2d(second))
    return float(value) if single else like(value, D, E)


def ranks(x: torch.Tensor) -> torch.Tensor:
    """Ranks along the last axis, from 1; equal values share the mean of their ranks."""
    values, order = x.sort(-1)
    new = torch.ones_like(values, dtype=torch.bool)
    new[..., 1:] = values[..., 1:] != values[..., :-1]
    run = new.cumsum(-1) - 1
    place = torch.arange(1, x.shape[-1] + 1, dtype=torch.float64, device=x.device).expand_as(x)
    zeros = torch.zeros_like(place)
    mean = zeros.scatter_add(-1, run, place) / zeros.scatter_add(-1, run, zeros + 1).clamp(min=1)
    return torch.empty_like(place).scatter_(-1, order, mean.gather(-1, run))


def _cosine(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    lengths = torch.outer(torch.linalg.vector_norm(x, dim=1), torch.linalg.vector_norm(y, dim=1))
    return torch.where(lengths > 0, x @ y.T / lengths, torch.nan).clamp(-1, 1)


def _pearson(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return _cosine(x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True))


def _spearman(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return _pearson(ranks(x), ranks(y))


COMPARISONS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "spearman": _spearman,
    "pearson": _pearson,
    "cosine": _cosine,
}
