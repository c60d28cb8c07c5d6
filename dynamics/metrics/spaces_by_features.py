"""Spaces of thousands of stimuli compared by their features, without a Gram matrix of them.

With X (n, p) and Y (n, v) centred, K = XX' and L = YY', tr(KL) = ||X'Y||^2, and the nuclear norm of
K^(1/2) L^(1/2) is that of X'Y: n enters through products alone. Neighbours are found for some
stimuli at a time. Scores are those of `dynamics.metrics.spaces`, to rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from dynamics.metrics.dissimilarity import settled
from dynamics.metrics.kernels import Array, activations

_BLOCK = 2**23  # entries of a block of products


class Space(NamedTuple):
    """What CKA and Procrustes need of a space.

    Attributes
    ----------
    x : tensor of shape (n, p)
        Centred activations.
    k : tensor of shape (n,)
        Diagonal of x x'.
    own : float
        HSIC of the space with itself, or the squared length of x; NaN where it does not vary.
    """

    x: torch.Tensor
    k: torch.Tensor
    own: float

    def shuffled(self, order: torch.Tensor) -> Space:
        """Return the same with the stimuli in another order."""
        return self._replace(x=self.x[order], k=self.k[order])


def cka_space(X: Array, *, debiased: bool = True) -> Space:
    """Prepare activations for `cka`.

    Parameters
    ----------
    X : array of shape (n, p)
        Finite floats.
    debiased : bool
        As for `dynamics.metrics.cka`.

    Returns
    -------
    Space
        For `cka` with others that were prepared alike.

    Raises
    ------
    ValueError
        If a value is not finite, or there are fewer than 4 stimuli.
    """
    x = activations(X)
    if len(x) < 4:
        raise ValueError(f"CKA of {len(x)} stimuli is not defined: give at least 4")
    x = x - x.mean(0)
    k = x.square().sum(1)
    own, size = _hsic((x, k), (x, k), debiased), float(k.sum())
    return Space(x, k, own if size > 0 and own > (1e-13 * size) ** 2 else float("nan"))


def cka(first: Space, second: Space, *, debiased: bool = True) -> float:
    """Linear CKA, as `dynamics.metrics.cka`.

    Parameters
    ----------
    first, second : Space
        From `cka_space`.
    debiased : bool
        Whether HSIC is estimated without bias: with k and l the diagonals of K and L, of which the
        rows sum to 0, HSIC n (n - 3) = tr(KL) + sum k sum l / ((n - 1)(n - 2)) - k'l n / (n - 2).

    Returns
    -------
    float
        NaN if one of the two does not vary over stimuli.
    """
    return _hsic(first[:2], second[:2], debiased) / (first.own * second.own) ** 0.5


def _hsic(
    first: tuple[torch.Tensor, torch.Tensor],
    second: tuple[torch.Tensor, torch.Tensor],
    debiased: bool,
) -> float:
    (x, k), (y, m) = first, second
    n, total = len(x), squared_product(x, y)
    if debiased:
        total += float(k.sum() * m.sum()) / ((n - 1) * (n - 2)) - float(k @ m) * n / (n - 2)
    return total


def procrustes_space(X: Array) -> Space:
    """Prepare activations (n, p) for `procrustes`: turned into n columns at most."""
    x = activations(X)
    x = x - x.mean(0)
    if x.shape[1] > len(x):
        x = torch.linalg.qr(x.T, mode="r")[1].T
    k = x.square().sum(1)
    own = float(k.sum())
    return Space(x, k, own if own > 0 else float("nan"))


def procrustes(first: Space, second: Space) -> float:
    """Angular Procrustes distance, as `dynamics.metrics.procrustes`.

    Parameters
    ----------
    first, second : Space
        From `procrustes_space`; decomposed is (p, v).

    Returns
    -------
    float
        Radians; NaN if one of the two does not vary over stimuli.
    """
    lengths = (first.own * second.own) ** 0.5
    if not lengths > 0:
        return float("nan")
    nuclear = float(torch.linalg.svdvals(first.x.T @ second.x).sum())
    return float(np.arccos(min(1.0, nuclear / lengths)))


def neighbours(X: Array, k: int) -> torch.Tensor:
    """Return the k nearest of every stimulus by cosine, some stimuli at a time.

    Parameters
    ----------
    X : array of shape (n, p)
        Activations.
    k : int
        How many.

    Returns
    -------
    tensor of shape (n, k), int64
        Ascending numbers; -1 everywhere where all stimuli are alike.

    Raises
    ------
    ValueError
        If a value is not finite, or k does not fit.
    """
    x = activations(X)
    n = len(x)
    if not isinstance(k, (int, np.integer)) or not 1 <= k < n:
        raise ValueError(f"{k} neighbours among {n} stimuli: use k between 1 and {n - 1}")
    length = x.square().sum(1).clamp(min=1e-300).sqrt()
    low, high, found = torch.inf, -torch.inf, []
    rows = max(1, _BLOCK // n)
    for first in range(0, n, rows):
        products = x[first : first + rows] @ x.T
        low, high = min(low, float(products.min())), max(high, float(products.max()))
        cosine = products.div_(length[first : first + rows, None]).div_(length)
        here = torch.arange(len(cosine))
        cosine[here, first + here] -= 4
        nearest = settled(cosine).sort(dim=-1, descending=True, stable=True).indices[:, :k]
        found.append(nearest.sort(-1).values)
    every = torch.cat(found)
    return every.fill_(-1) if high - low <= 1e-13 * max(abs(low), abs(high)) else every


def shared_neighbours(first: torch.Tensor, second: torch.Tensor) -> float:
    """Fraction of neighbours that two spaces share, as `dynamics.metrics.mutual_knn`.

    Parameters
    ----------
    first, second : tensors of shape (n, k)
        From `neighbours`.

    Returns
    -------
    float
        NaN where all stimuli of one are alike.
    """
    if bool((first < 0).any()) or bool((second < 0).any()):
        return float("nan")
    n = len(first)
    keys = [(each + n * torch.arange(n)[:, None]).flatten() for each in (first, second)]
    return float(torch.isin(*keys).sum()) / first.numel()


def effective_dimensionality(X: Array) -> float:
    """Participation ratio, as `dynamics.metrics.effective_dimensionality`.

    Parameters
    ----------
    X : array of shape (n, p)
        Activations.

    Returns
    -------
    float
        NaN if X does not vary over stimuli.
    """
    x = activations(X)
    x = x - x.mean(0)
    total = float(x.square().sum())
    return total**2 / squared_product(x, x) if total > 0 else float("nan")


def squared_product(X: torch.Tensor, Y: torch.Tensor) -> float:
    """||X'Y||^2 of (n, p) and (n, v), which is tr(XX' YY'), by blocks.

    Parameters
    ----------
    X, Y : tensors of shape (n, p) and (n, v)
        Double.

    Returns
    -------
    float
        By products of stimuli where both have more features than there are stimuli.
    """
    n = len(X)
    if min(X.shape[1], Y.shape[1]) > n:
        rows = max(1, _BLOCK // n)
        parts = zip(X.split(rows), Y.split(rows))
        return sum(float(((a @ X.T) * (b @ Y.T)).sum()) for a, b in parts)
    if X.shape[1] < Y.shape[1]:
        X, Y = Y, X
    width = max(1, _BLOCK // Y.shape[1])
    return sum(float((part.T @ Y).square().sum()) for part in X.split(width, 1))
