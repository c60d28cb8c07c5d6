"""What each of two representations explains alone, and what both do."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dynamics.metrics.banded import banded_ridge, kept_rows, refit_banded
from dynamics.metrics.correlation import clipped_square
from dynamics.metrics.folds import check_folds
from dynamics.metrics.held import Source, sources_of
from dynamics.metrics.kernels import Array, as_tensor, gram_matrices, like, responses, same_rows
from dynamics.metrics.nested import nested_layers
from dynamics.metrics.ridge import default_alphas
from dynamics.metrics.validation import takes


@takes(K="matrices", L="matrices", Y="responses", features="several")
def variance_partition(
    K: Array,
    L: Array,
    Y: Array,
    folds: Array,
    *,
    candidates: int = 30,
    seed: int = 0,
    features: Sequence[Array] | None = None,
) -> dict[str, Array]:
    """Divide what two representations explain into unique and shared parts.

    With r^2 of K alone, of L alone and of both (banded ridge): unique to K = both - L, unique to
    L = both - K, shared = K + L - both (de Heer et al. 2017, J Neurosci 37:6539).
    Cross-validated parts may be slightly negative.

    Parameters
    ----------
    K, L : arrays of shape (n, n)
        Gram matrices, of a layer and of a baseline for instance.
    Y : array of shape (n, v)
        Responses.
    folds : array of shape (n,)
        Outer fold of each stimulus.
    candidates, seed : int
        Of the banded ridge.
    features : sequence of two arrays of shape (n, p), optional
        The activations that K and L were made of, see `banded_ridge`.

    Returns
    -------
    dict of arrays
        (v,): ``both``, ``first``, ``second`` (r^2), ``unique_first``, ``unique_second``,
        ``shared``, NaN for a constant neuroid. ``weights`` (folds, v, 2) of the banded ridge.

    Raises
    ------
    ValueError
        As for `banded_ridge`.
    """
    stack, grid = _pair(K, L)
    banded = banded_ridge(stack, Y, folds, candidates=candidates, seed=seed, features=features)
    sources, known = sources_of(stack, features), features is not None
    alone = nested_layers(sources, Y, folds, grid, open_below=known)
    both, (first, second) = banded["r2"], clipped_square(alone["layer_r"])
    out = {"both": both, "first": first, "second": second, "weights": banded["weights"]}
    out |= {"unique_first": both - second, "unique_second": both - first}
    out["shared"] = first + second - both
    return {name: like(value, K, L, Y) for name, value in out.items()}


@takes(K="matrices", L="matrices", Y="responses", weights="complete", features="several")
def refit_partition(
    K: Array,
    L: Array,
    Y: Array,
    folds: Array,
    weights: Array,
    rows: Array | Sequence[Array],
    *,
    features: Sequence[Array] | None = None,
) -> Array:
    """Compute ``unique_first`` of `variance_partition` again on every resample of the stimuli.

    Parameters
    ----------
    K, L, Y, folds, features
        As for `variance_partition`, of all stimuli.
    weights : array of shape (folds, v, 2)
        From `variance_partition`.
    rows : array of shape (resamples, kept) or sequence of arrays
        As for `refit_banded`, which also says what is fitted anew.

    Returns
    -------
    array of shape (resamples, v)
        r^2 of both less that of L.

    Raises
    ------
    ValueError
        As for `refit_banded`.
    """
    stack, grid = _pair(K, L)
    again = refit_banded(stack, Y, folds, weights, rows, features=features)
    both = clipped_square(as_tensor(again["r"]))
    y, fold, r = responses(Y).to(stack.device), check_folds(folds, len(stack[0])), []
    for some in kept_rows(rows, len(y)):
        index = torch.as_tensor(some, device=stack.device)
        X = None if features is None else features[1][some]
        source = Source(stack[1][index][:, index], features=X)
        found = nested_layers([source], y[index], fold[some], grid[1:], open_below=X is not None)
        r.append(found["layer_r"][0])
    return like(both - clipped_square(torch.stack(r)), K, L, Y)


def _pair(K: Array, L: Array) -> tuple[torch.Tensor, torch.Tensor]:
    """Stack two Gram matrices, and the default penalties of each alone."""
    same_rows(K, L, names=("K", "L"))
    first, second = gram_matrices(K), gram_matrices(L, name="L")
    stack = torch.stack([first, second.to(first.device)])
    return stack, as_tensor(default_alphas(stack))
