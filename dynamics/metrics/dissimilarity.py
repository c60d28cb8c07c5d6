"""Representational dissimilarity matrices (RDMs), one distance each pair of stimuli."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from dynamics.metrics import pairs
from dynamics.metrics.correlation import CONSTANT, standardise
from dynamics.metrics.kernels import Array, activations, as_tensor, like
from dynamics.metrics.missing import check_handling, mean_there
from dynamics.metrics.validation import takes

# Distances that differ by no more than this part of the largest are tied: a hundred times what
# sums over features leave of rounding, and a millionth of the usual gap between two of 13,530.
TIED = 1e-11


@takes(X="activations")
def rdm(
    X: Array,
    *,
    distance: str = "correlation",
    zscore: bool = True,
    name: str = "X",
    missing: str = "error",
) -> Array:
    """Dissimilarity of every pair of stimuli (Kriegeskorte et al. 2008, Front Syst Neurosci 2:4).

    Parameters
    ----------
    X : array of shape (n, p), or (n, p, repetitions)
        Activations or responses, finite floats. Repetitions are averaged, except by crossnobis.
    distance : str
        A name in `DISTANCES`: ``"correlation"`` (1 - Pearson r of two rows), ``"cosine"``,
        ``"euclidean"``, ``"sqeuclidean"`` (divided by p) and ``"crossnobis"``, the squared distance
        divided by p from products of different repetitions (Walther et al. 2016, NeuroImage
        137:188), which is 0 on average for equal stimuli and may be negative.
    zscore : bool
        Scale each column to mean 0 and deviation 1 over stimuli first. Constant columns become 0.
        Without it they do count in correlation and cosine distances.
    name : str
        What to call the array in an error.
    missing : str
        What to do with values that are not finite: ``"error"`` names the first; ``"mask"`` takes
        every pair of stimuli over the features that both have, see `dynamics.metrics.pairs`
        (columns are scaled over the stimuli that they have, repetitions averaged over those that
        there are). Distances from mean products (euclidean, sqeuclidean, crossnobis) are sound if
        columns have mean 0, as by `zscore`.

    Returns
    -------
    array of shape (n, n)
        Symmetric, zero diagonal; with ``"mask"`` NaN for a pair that no feature has both of (for
        correlation: over which one of both does not vary).

    Raises
    ------
    TypeError
        If `X` holds integers or booleans.
    ValueError
        If the distance is unknown, a value is not finite, there are fewer than 3 stimuli, or a
        row has no variance (or length) although the distance divides by it.
    """
    check_handling(missing)
    if distance not in DISTANCES:
        raise ValueError(f"there is no distance {distance!r}: use one of {', '.join(DISTANCES)}")
    tensor = _checked(X, name, missing)
    repeated = tensor.ndim == 3
    if len(tensor) < 3:
        raise ValueError(f"an RDM of {len(tensor)} stimuli cannot be compared: give at least 3")
    if distance == "crossnobis" and (not repeated or tensor.shape[2] < 2):
        raise ValueError(
            f"crossnobis needs repetitions but {name} has shape {tuple(tensor.shape)}: give "
            "(stimuli, features, repetitions) with at least 2 repetitions, or another distance"
        )
    if repeated and distance != "crossnobis":
        tensor = mean_there(tensor, 2)
    if zscore:
        tensor = standardise(tensor)[0]
    D = (DISTANCES if tensor.isfinite().all() else DISTANCES_THERE)[distance](tensor)
    D = (D + D.T) / 2
    return like(D.fill_diagonal_(0), X)


@takes(Y="activations", labels="labels")
def rdms_by(
    Y: Array,
    labels: Sequence,
    *,
    distance: str = "correlation",
    zscore: bool = True,
    missing: str = "error",
) -> tuple[tuple, Array]:
    """RDMs of groups of neuroids: one a subject, a region, or both together.

    Parameters
    ----------
    Y : array of shape (n, v) or (n, v, repetitions)
        Responses.
    labels : sequence of length v
        Subject or region of each neuroid.
    distance, zscore, missing
        As for `rdm`.

    Returns
    -------
    names : tuple
        The different labels, sorted.
    rdms : array of shape (labels, n, n)
        One RDM each.

    Raises
    ------
    ValueError
        If there is not one label a neuroid, and as in `rdm`.
    """
    marks = np.asarray(labels)
    if marks.shape != (Y.shape[1],):
        raise ValueError(f"there are {len(marks)} labels for {Y.shape[1]} neuroids: give one each")
    names = np.unique(marks)
    own = partial(rdm, distance=distance, zscore=zscore, missing=missing)
    found = [own(Y[:, marks == name]) for name in names]
    return tuple(names.tolist()), like(torch.stack([as_tensor(D) for D in found]), Y)


@takes(D="matrices")
def geotopological(D: Array, *, lower: float = 0.1, upper: float = 0.9) -> Array:
    """Flatten an RDM's small and large distances: geo-topological RSA.

    Lin & Kriegeskorte 2023 (The topology and geometry of neural representations,
    arXiv:2309.11028). With l and u the quantiles of the distances above the diagonal: 0 below l,
    (d - l) / (u - l) between, 1 above u.

    Parameters
    ----------
    D : array of shape (n, n) or (d, n, n)
        RDMs; not changed. Pairs that are missing (NaN) stay so, and are in no quantile.
    lower, upper : float
        Quantiles, 0 <= lower < upper <= 1.

    Returns
    -------
    array of the shape of D
        Transformed RDMs with zero diagonal.

    Raises
    ------
    ValueError
        If the quantiles are out of order, or a distance is infinite.
    """
    if not 0 <= lower < upper <= 1:
        raise ValueError(f"quantiles {lower} and {upper} are out of order: 0 <= lower < upper <= 1")
    tensor, entries = as_tensor(D), pairs.rows_there(settled, as_tensor(upper_entries(D)))
    i, j = torch.triu_indices(tensor.shape[-1], tensor.shape[-1], 1, device=tensor.device)
    tensor = torch.zeros_like(tensor)
    tensor[..., i, j] = tensor[..., j, i] = entries
    quantile = torch.nanquantile if entries.isnan().any() else torch.quantile
    low, high = (quantile(entries, q, -1)[..., None, None] for q in (lower, upper))
    scaled = torch.where(high > low, (tensor - low) / (high - low), (tensor > low).double())
    off = 1 - torch.eye(tensor.shape[-1], dtype=tensor.dtype, device=tensor.device)
    return like(torch.where(tensor.isnan(), torch.nan, scaled.clamp(0, 1) * off), D)


def starts(values: torch.Tensor) -> torch.Tensor:
    """Mark where values sorted along the last axis are new, not the last again but for rounding.

    Neighbours no further apart than `TIED` of the largest absolute value are one value, and so are
    those that are linked by others.
    """
    new = torch.ones_like(values, dtype=torch.bool)
    scale = values[..., [0, -1]].abs().amax(-1, keepdim=True)
    new[..., 1:] = values.diff(dim=-1) > TIED * scale
    return new


def settled(x: torch.Tensor) -> torch.Tensor:
    """Give values that are equal but for rounding (see `starts`) the lowest of them; last axis."""
    values, order = x.sort(-1)
    new = starts(values)
    if new.all():
        return x
    here = torch.arange(x.shape[-1], device=x.device).expand_as(order)
    first = torch.where(new, here, 0).cummax(-1).values
    return torch.empty_like(x).scatter_(-1, order, values.gather(-1, first))


def _checked(X: Array, name: str, missing: str) -> torch.Tensor:
    if missing == "error":
        return activations(X, name=name, repeated=True)
    tensor = as_tensor(X)
    there = tensor.isfinite()
    whole = activations(torch.where(there, tensor, 0.0), name=name, repeated=True)
    return torch.where(there, whole, torch.nan)


def _correlation(X: torch.Tensor) -> torch.Tensor:
    return _cosine(X - X.mean(1, keepdim=True), "varies over features")


def _cosine(X: torch.Tensor, what: str = "is zero in all features") -> torch.Tensor:
    unit = X / length_checked(X, what)
    return 1 - (unit @ unit.T).clamp(-1, 1)


def length_checked(X: torch.Tensor, what: str) -> torch.Tensor:
    """Lengths of patterns (n, 1); a ValueError where one has none, so no cosine with others."""
    length = torch.linalg.vector_norm(X, dim=1, keepdim=True)
    flat = (length <= CONSTANT * length.max()).ravel().nonzero().ravel()
    if len(flat):
        found = "no variance over" if what.startswith("varies") else "nothing but zeros in"
        raise ValueError(
            f"stimulus {int(flat[0])} has {found} its features, so it has no such distance to "
            "others: leave it out or use the euclidean distance"
        )
    return length


def _euclidean(X: torch.Tensor) -> torch.Tensor:
    return torch.cdist(X, X, compute_mode="donot_use_mm_for_euclid_dist")


def _sqeuclidean(X: torch.Tensor) -> torch.Tensor:
    return _euclidean(X).square() / X.shape[1]


def _crossnobis(X: torch.Tensor) -> torch.Tensor:
    total, R = X.sum(2), X.shape[2]
    same = torch.einsum("ipr,jpr->ij", X, X)
    G = (total @ total.T - same) / (R * (R - 1) * X.shape[1])
    own = torch.diagonal(G)
    return own[:, None] + own - G - G.T


DISTANCES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "correlation": _correlation,
    "cosine": _cosine,
    "euclidean": _euclidean,
    "sqeuclidean": _sqeuclidean,
    "crossnobis": _crossnobis,
}

DISTANCES_THERE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    name: getattr(pairs, name) for name in DISTANCES
}
"""The same of patterns with gaps."""


def upper_entries(D: Array) -> Array:
    """Entries above the diagonal: (..., n, n) to (..., n (n - 1) / 2), row by row.

    NaN, a pair that is missing, stays.
    """
    tensor = as_tensor(D)
    if tensor.ndim < 2 or tensor.shape[-1] != tensor.shape[-2]:
        raise ValueError(f"an RDM has shape {tuple(tensor.shape)}: give ([RDMs, ]stimuli, stimuli)")
    i, j = torch.triu_indices(tensor.shape[-1], tensor.shape[-1], 1, device=tensor.device)
    entries = tensor[..., i, j]
    infinite = torch.isinf(entries)
    if infinite.any():
        pair = infinite.nonzero()[0, -1]
        raise ValueError(
            f"an RDM has distances that are not finite, the first between stimuli {int(i[pair])} "
            f"and {int(j[pair])}: leave out the stimuli concerned"
        )
    return like(entries, D)
