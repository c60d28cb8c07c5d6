"""Representational dissimilarity matrices (RDMs), one distance each pair of stimuli."""

from __future__ import annotations

from collections.abc import Callable

import torch

from dynamics.metrics.gram import Array, activations, as_tensor, like


def rdm(X: Array, *, distance: str = "correlation", zscore: bool = True) -> Array:
    """Dissimilarity of every pair of stimuli.

    Parameters
    ----------
    X : array of shape (n, p)
        Activations or responses, finite floats.
    distance : str
        A name in `DISTANCES`: ``"correlation"`` (1 - Pearson r of two rows), ``"cosine"``,
        ``"euclidean"``.
    zscore : bool
        Scale each column to mean 0 and deviation 1 over stimuli first. Constant columns become 0.

    Returns
    -------
    array of shape (n, n)
        Symmetric, zero diagonal.

    Raises
    ------
    TypeError
        If `X` holds integers or booleans.
    ValueError
        If the distance is unknown, a value is not finite, there are fewer than 3 stimuli, or a
        row has no variance (or length) although the distance divides by it.
    """
    if distance not in DISTANCES:
        raise ValueError(f"there is no distance {distance!r}: use one of {', '.join(DISTANCES)}")
    tensor = activations(X)
    if len(tensor) < 3:
        raise ValueError(f"an RDM of {len(tensor)} stimuli cannot be compared: give at least 3")
    if zscore:
        tensor = zscored(tensor)
    D = DISTANCES[distance](tensor)
    D = (D + D.T) / 2
    return like(D.fill_diagonal_(0), X)


def zscored(X: torch.Tensor) -> torch.Tensor:
    """Columns with mean 0 and (population) deviation 1; constant columns 0."""
    centred = X - X.mean(0)
    spread = centred.square().mean(0).sqrt()
    constant = spread <= 1e-12 * X.abs().amax(0)
    return torch.where(constant, 0.0, centred / torch.where(constant, 1.0, spread))


def _correlation(X: torch.Tensor) -> torch.Tensor:
    return _cosine(X - X.mean(1, keepdim=True), "varies over features")


def _cosine(X: torch.Tensor, what: str = "is zero in all features") -> torch.Tensor:
    length = torch.linalg.vector_norm(X, dim=1, keepdim=True)
    flat = (length <= 1e-12 * length.max()).ravel().nonzero().ravel()
    if len(flat):
        found = "no variance over" if what.startswith("varies") else "nothing but zeros in"
        raise ValueError(
            f"stimulus {int(flat[0])} has {found} its features, so it has no such distance to "
            "others: leave it out or use the euclidean distance"
        )
    unit = X / length
    return 1 - (unit @ unit.T).clamp(-1, 1)


def _euclidean(X: torch.Tensor) -> torch.Tensor:
    return torch.cdist(X, X, compute_mode="donot_use_mm_for_euclid_dist")


DISTANCES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "correlation": _correlation,
    "cosine": _cosine,
    "euclidean": _euclidean,
}


def upper(D: Array) -> Array:
    """Entries above the diagonal: (..., n, n) to (..., n (n - 1) / 2), row by row."""
    tensor = as_tensor(D)
    i, j = torch.triu_indices(tensor.shape[-1], tensor.shape[-1], 1, device=tensor.device)
    return like(tensor[..., i, j], D)
