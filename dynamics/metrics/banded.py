"""Several layers at once: banded ridge with one penalty a layer, and variance partitioning."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from dynamics.metrics.folds import check_folds
from dynamics.metrics.gram import Array, as_tensor, centre, like, responses, same_rows
from dynamics.metrics.ridge import RELATIVE_ALPHAS, check_alphas, clipped_square, nested_layers
from dynamics.metrics.splits import Factor


def banded_ridge(
    K: Array,
    Y: Array,
    folds: Array,
    alphas: Array | None = None,
    *,
    candidates: int = 100,
    seed: int = 0,
) -> dict[str, Array]:
    """Encode Y from all layers together, one penalty a layer, by random search.

    Dupre la Tour et al. 2022 (NeuroImage 264:119728): weights g on the simplex are drawn, the
    kernel is sum_i g_i K_i with every K_i scaled to unit variance, and (g, alpha) is chosen for
    each outer fold and neuroid inside the training folds, by the rule of `nested_ridge`. The
    penalty of layer i is alpha / g_i. The first candidates are each layer alone and all alike.

    Parameters
    ----------
    K : array of shape (layers, n, n)
        Gram matrices.
    Y : array of shape (n, v)
        Responses.
    folds : array of shape (n,)
        Outer fold of each stimulus, at least 3 different ones.
    alphas : array of shape (a,), optional
        Penalties for kernels of unit variance; by default 10^-5 ... 10^4.5.
    candidates : int
        Weight vectors in all, at least layers + 1.
    seed : int
        Seed of the weights.

    Returns
    -------
    dict of arrays
        ``r``, ``r2`` (v,), ``prediction`` (n, v), ``alpha`` (folds, v), ``weights``
        (folds, v, layers), ``candidates`` (candidates, layers), ``alpha_edge``. ``layer_share``
        (layers, v): with d_i the part of the prediction that comes from layer i, less the training
        mean, and d their sum, sum d_i (2 y - d) / sum y^2 for y centred (the product measure in
        the form of himalaya's `r2_score_split`). The shares add up to the part of variance
        explained, 1 - sum (y - d)^2 / sum y^2; a share may be negative.

    Raises
    ------
    ValueError
        If shapes do not fit or an alpha is not positive.
    """
    gram = as_tensor(centre(K))
    same_rows(gram[0], Y, names=("K", "Y"))
    variance = torch.diagonal(gram, dim1=-2, dim2=-1).mean(-1)
    if not (variance > 0).all():
        layer = int((variance <= 0).nonzero()[0])
        raise ValueError(f"layer {layer} does not vary over stimuli: leave it out")
    unit = gram / variance[:, None, None]
    weights = torch.as_tensor(simplex(len(gram), candidates, seed=seed), device=gram.device)
    grid = check_alphas(RELATIVE_ALPHAS if alphas is None else alphas, weights)
    result = nested_layers([(w, partial(_combined, unit)) for w in weights], Y, folds, grid)
    out = {name: result[name] for name in ("r", "r2", "prediction", "alpha", "alpha_edge")}
    out["weights"], out["candidates"] = weights[result["layer"]], weights
    target = responses(Y).to(gram.device)
    parts = _parts(unit, target, check_folds(folds, len(target)), weights, result)
    centred = target - target.mean(0)
    power = centred.square().sum(0)
    explained = (parts * (2 * centred - parts.sum(0))).sum(1)
    out["layer_share"] = torch.where(result["r"].isnan(), torch.nan, explained / power)
    return {name: like(value, K) for name, value in out.items()}


def simplex(layers: int, candidates: int, *, seed: int = 0) -> np.ndarray:
    """Weight vectors: each layer alone, all alike, then half sparse, half even random ones.

    Parameters
    ----------
    layers, candidates : int
        How many entries and how many vectors; candidates >= layers + 1.
    seed : int
        Seed of the random ones, drawn from Dirichlet distributions of concentration .1 and 1.

    Returns
    -------
    array of shape (candidates, layers)
        Rows are not negative and sum to 1.

    Raises
    ------
    ValueError
        If there are too few candidates.
    """
    if candidates < layers + 1:
        raise ValueError(
            f"{candidates} candidates cannot hold {layers} layers alone and together: give at "
            f"least {layers + 1}"
        )
    rng = np.random.default_rng(seed)
    count = candidates - layers - 1
    sparse = rng.dirichlet(np.full(layers, 0.1), size=count // 2)
    even = rng.dirichlet(np.ones(layers), size=count - count // 2)
    return np.concatenate([np.eye(layers), np.full((1, layers), 1 / layers), sparse, even])


def variance_partition(
    K: Array, L: Array, Y: Array, folds: Array, *, candidates: int = 30, seed: int = 0
) -> dict[str, Array]:
    """Divide what two representations explain into unique and shared parts.

    With r^2 of K alone, of L alone and of both (banded ridge): unique to K = both - L, unique to
    L = both - K, shared = K + L - both. Cross-validated parts may be slightly negative.

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

    Returns
    -------
    dict of arrays of shape (v,)
        ``both``, ``first``, ``second`` (r^2), ``unique_first``, ``unique_second``, ``shared``.

    Raises
    ------
    ValueError
        As for `banded_ridge`.
    """
    same_rows(K, L, names=("K", "L"))
    stack = torch.stack([as_tensor(K), as_tensor(L).to(as_tensor(K).device)])
    both = banded_ridge(stack, Y, folds, candidates=candidates, seed=seed)["r2"]
    variance = torch.diagonal(as_tensor(centre(stack)), dim1=-2, dim2=-1).mean(-1)
    grid = variance[:, None] * torch.as_tensor(RELATIVE_ALPHAS, device=stack.device)
    alone = nested_layers([(matrix, Factor.of) for matrix in stack], Y, folds, grid)
    first, second = clipped_square(alone["layer_r"])
    out = {"both": both, "first": first, "second": second}
    out |= {"unique_first": both - second, "unique_second": both - first}
    out["shared"] = first + second - both
    return {name: like(value, K, L) for name, value in out.items()}


def _parts(
    unit: torch.Tensor,
    y: torch.Tensor,
    fold: np.ndarray,
    weights: torch.Tensor,
    result: dict[str, torch.Tensor],
) -> torch.Tensor:
    """Split the predictions into layers, (layers, n, v), without the training means."""
    parts = y.new_zeros(len(unit), *y.shape)
    numbers = torch.as_tensor(fold, device=y.device)
    for f, choice in enumerate(result["layer"]):
        test, train = (numbers == f).nonzero().ravel(), (numbers != f).nonzero().ravel()
        inside, across = unit[:, train][:, :, train], unit[:, test][:, :, train]
        means = inside.mean(1, keepdim=True)
        across = across - means - across.mean(2, keepdim=True) + means.mean(2, keepdim=True)
        for number in choice.unique().tolist():
            who, w = (choice == number).nonzero().ravel(), weights[number]
            spectrum, Q = torch.linalg.eigh(centre(torch.tensordot(w, inside, 1)))
            known = y[train][:, who] - y[train][:, who].mean(0)
            shrunk = spectrum.clamp(min=0)[:, None] + result["alpha"][f, who]
            dual = Q @ ((Q.T @ known) / shrunk)
            for layer in w.nonzero().ravel().tolist():
                part = w[layer] * (across[layer] @ dual)
                parts[layer, test[:, None], who] = part
    return parts


def _combined(unit: torch.Tensor, weights: torch.Tensor, train, test) -> Factor:
    return Factor.of(torch.tensordot(weights, unit, 1), train, test)
