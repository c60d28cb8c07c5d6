"""Spaces prepared once and compared pair by pair: steps, layers and runs with each other.

What a comparison needs of one space (a centred Gram matrix, the order of its distances, its
neighbours) is made once; comparing two of many is then a dot product or one small decomposition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from dynamics.metrics.cca import compare_components, components_by_fold
from dynamics.metrics.dissimilarity import rdm, upper_entries
from dynamics.metrics.kernels import Array, activations, as_tensor, gram, like
from dynamics.metrics.rdm_comparison import POOLINGS
from dynamics.metrics.reuse import once
from dynamics.metrics.spaces import cka_features, neighbours, square_roots
from dynamics.metrics.validation import takes


class Form(NamedTuple):
    """How a metric sees one space, and how it compares two.

    Attributes
    ----------
    prepare : callable
        From activations (n, p) and keyword arguments to whatever is kept of a space.
    compare : callable
        From two lists of what is kept to a table of similarities.
    folded : bool
        Whether `prepare` needs folds of the stimuli.
    """

    prepare: Callable[..., Any]
    compare: Callable[[Sequence, Sequence], torch.Tensor]
    folded: bool = False


@takes(first="several", second="several")
def similarities(
    first: Sequence[Array],
    second: Sequence[Array] | None = None,
    *,
    metric: str | Form = "cka",
    **arguments: Any,
) -> Array:
    """Similarity of every space of one list with every space of another.

    Parameters
    ----------
    first, second : sequences of arrays of shape (n, p)
        Activations to the same stimuli; p may differ. By default every one of the first with
        every other.
    metric : str or Form
        A name in `PAIRWISE`, or a form of one's own. ``"procrustes"`` is the cosine of the angular
        distance, ``"rsa"`` by default the Spearman correlation of RDMs, and ``"pwcca"``, which is
        not symmetric, the mean of both directions. ``"svcca"`` and ``"pwcca"`` need `folds`.
    **arguments
        As for the metric of that name: `debiased`, `k`, `distance`, `compare`, `zscore`,
        `variance`, `rank`, `folds`.

    Returns
    -------
    array of shape (len(first), len(second))
        NaN for a space that does not vary over stimuli.

    Raises
    ------
    TypeError
        For an argument that the metric does not take.
    ValueError
        If the metric is unknown, rows do not match or a value is not finite.
    """
    form = find(metric)
    everyone = [*first, *(second or [])]
    if len(first) == 0 or (second is not None and len(second) == 0):
        raise ValueError("there is no space to compare: give at least one array of activations")
    counts = {len(X) for X in everyone}
    if len(counts) > 1:
        raise ValueError(
            f"spaces have {min(counts)} and {max(counts)} stimuli: give all the same stimuli"
        )
    a = [prepared(form, X, arguments) for X in first]
    b = a if second is None else [prepared(form, X, arguments) for X in second]
    table = form.compare(a, b)
    return like(table.to(as_tensor(everyone[0][:0]).device), *everyone)


def prepared(form: Form, X: Array, arguments: Mapping[str, Any]) -> Any:
    """Return what a metric keeps of a space; inside `shared` it is made once."""
    how = [(key, repr(np.asarray(value).tolist())) for key, value in sorted(arguments.items())]
    make = partial(form.prepare, X, **arguments)
    return once("space", make, form.prepare, as_tensor(X), *how)


def find(metric: str | Form) -> Form:
    """Return the form of a metric, or raise a ValueError that lists them."""
    if isinstance(metric, Form):
        return metric
    if metric not in PAIRWISE:
        raise ValueError(
            f"there is no similarity {metric!r} of two spaces: use one of {', '.join(PAIRWISE)}"
        )
    return PAIRWISE[metric]


def _dots(first: Sequence[torch.Tensor], second: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.stack(list(first)) @ torch.stack(list(second)).T


def _cka(X: Array, *, debiased: bool = True) -> torch.Tensor:
    return as_tensor(cka_features(gram(X), debiased=debiased))


def _knn(X: Array, *, k: int = 10) -> torch.Tensor:
    x = activations(X)
    return neighbours(x @ x.T, k)[0] / (len(x) * k) ** 0.5


def _rsa(
    X: Array, *, distance: str = "correlation", compare: str = "spearman", zscore: bool = True
) -> torch.Tensor:
    if compare not in ("spearman", "pearson", "cosine"):
        raise ValueError(
            f"there is no comparison {compare!r} of steps: use one of spearman, pearson, cosine"
        )
    x = activations(X)
    if not (x != x[0]).any():
        return x.new_full((len(x) * (len(x) - 1) // 2,), torch.nan)
    entries = as_tensor(upper_entries(rdm(x, distance=distance, zscore=zscore)))
    pooled = POOLINGS[compare](entries)
    if compare == "spearman":
        pooled = pooled - pooled.mean()
    length = torch.linalg.vector_norm(pooled)
    return torch.where(length > 0, pooled / length, torch.nan)


def _root(X: Array) -> torch.Tensor:
    return square_roots(gram(X))[0]


def _nuclear(first: Sequence[torch.Tensor], second: Sequence[torch.Tensor]) -> torch.Tensor:
    table = torch.full((len(first), len(second)), torch.nan, dtype=torch.float64)
    for i, A in enumerate(first):
        for j, B in enumerate(second):
            if first is second and j < i:
                table[i, j] = table[j, i]
            elif A.numel() and B.numel():
                table[i, j] = torch.linalg.svdvals(A.T @ B).sum().clamp(max=1)
    return table


def _components(
    X: Array, *, folds: Array | None = None, variance: float = 0.99, rank: int | None = None
) -> list | None:
    if folds is None:
        raise ValueError("canonical correlations of many spaces are cross-validated: give `folds`")
    x = activations(X)
    if not (x != x[0]).any():
        return None
    return components_by_fold(x, folds, variance=variance, rank=rank)


def _canonical(first: Sequence, second: Sequence, *, weighted: bool) -> torch.Tensor:
    table = torch.full((len(first), len(second)), torch.nan, dtype=torch.float64)
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            if first is second and j < i:
                table[i, j] = table[j, i]
            elif a is not None and b is not None:
                ways = ((a, b), (b, a)) if weighted else ((a, b),)
                found = [compare_components(*way, weighted=weighted) for way in ways]
                table[i, j] = float(np.mean(found))
    return table


PAIRWISE: dict[str, Form] = {
    "cka": Form(_cka, _dots),
    "procrustes": Form(_root, _nuclear),
    "svcca": Form(_components, partial(_canonical, weighted=False), folded=True),
    "pwcca": Form(_components, partial(_canonical, weighted=True), folded=True),
    "mutual_knn": Form(_knn, _dots),
    "rsa": Form(_rsa, _dots),
}
