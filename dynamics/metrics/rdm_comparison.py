"""Representational similarity analysis: how alike two RDMs are, and of which layer."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations_with_replacement
from typing import Any

import torch
from scipy.stats import kendalltau

from dynamics.metrics.correlation import correlations, cosines
from dynamics.metrics.dissimilarity import rdm, settled, starts, upper_entries
from dynamics.metrics.folds import check_folds
from dynamics.metrics.kernels import Array, as_tensor, like, same_rows
from dynamics.metrics.pairs import Comparison, on_shared
from dynamics.metrics.validation import takes


@takes(X="activations", Y="activations")
def rsa(
    X: Array,
    Y: Array,
    *,
    distance: str = "correlation",
    compare: str = "spearman",
    zscore: bool = True,
    missing: str = "error",
) -> float:
    """Similarity of the RDM of X with the RDM of Y (Kriegeskorte et al. 2008).

    Parameters
    ----------
    X, Y : arrays of shape (n, p) and (n, v) or (n, v, repetitions)
        Activations and responses to the same stimuli in the same order.
    distance : str
        Distance of both RDMs, see `rdm`. With ``"crossnobis"`` an X without repetitions has its
        squared euclidean distances, which are without noise.
    compare : str
        A name in `COMPARISONS`, see `compare_rdms`.
    zscore : bool
        Scale each column over stimuli before taking distances (Pepino et al. 2025, Tuckute et al.
        2023).
    missing : str
        What to do with responses that are not finite: ``"error"`` names the first; ``"mask"``
        compares the pairs of stimuli that Y has, see `rdm`, and leaves out of X the stimuli that
        are in none of them.

    Returns
    -------
    float
        Between -1 and 1; NaN if all distances of one RDM are equal (for cosine: are 0).

    Raises
    ------
    TypeError
        If an array holds integers or booleans.
    ValueError
        If rows do not match, and as in `rdm` (a value that is not finite, fewer than 3 stimuli, a
        stimulus without variance, crossnobis without repetitions) and `compare_rdms`.
    """
    same_rows(X, Y)
    own = "sqeuclidean" if distance == "crossnobis" and X.ndim == 2 else distance
    second = rdm(Y, distance=distance, zscore=zscore, name="Y", missing=missing)
    if missing == "mask" and (alone := as_tensor(second).isnan().sum(1) >= len(Y) - 1).any():
        kept = [row for row, out in enumerate(alone.tolist()) if not out]
        X, second = X[kept], second[kept][:, kept]
    first = rdm(X, distance=own, zscore=zscore)
    return float(compare_rdms(first, second, compare=compare))


@takes(D="matrices", E="matrices")
def compare_rdms(D: Array, E: Array, *, compare: str = "spearman") -> float | Array:
    """Compare RDMs on the entries above the diagonal.

    Parameters
    ----------
    D, E : arrays of shape (n, n), or stacks (d, n, n) and (e, n, n)
        RDMs of the same stimuli. Pairs of stimuli may be missing (NaN): two RDMs are compared on
        those that both have.
    compare : str
        A name in `COMPARISONS`: ``"spearman"`` (ties get their mean rank; distances are tied that
        differ by no more than 1e-11 of the largest, which is rounding), ``"pearson"``,
        ``"cosine"``, ``"kendall"`` (tau-a: ties count as neither), and ``"whitened_cosine"`` and
        ``"whitened_pearson"``, which take into account that distances sharing a stimulus vary
        together (Diedrichsen et al. 2020, arXiv:2007.02789; meant for squared distances).

    Returns
    -------
    float, or array of shape (d, e)
        Similarity; every RDM of one stack with every RDM of the other if either is a stack. NaN
        where fewer than 3 pairs are left.

    Raises
    ------
    ValueError
        If the comparison is unknown, the RDMs differ in size or a distance is infinite.
    """
    if compare not in COMPARISONS:
        raise ValueError(f"there is no comparison {compare!r}: use one of {', '.join(COMPARISONS)}")
    if D.shape[-2:] != E.shape[-2:]:
        raise ValueError(
            f"one RDM has {D.shape[-1]} stimuli, the other {E.shape[-1]}: give both the same "
            "stimuli"
        )
    first, second = as_tensor(upper_entries(D)), as_tensor(upper_entries(E))
    single = first.ndim == second.ndim == 1
    value = COMPARISONS[compare](torch.atleast_2d(first), torch.atleast_2d(second))
    return float(value) if single else like(value, D, E)


def ranks(x: torch.Tensor) -> torch.Tensor:
    """Ranks along the last axis, from 1; values equal to rounding share the mean of their ranks."""
    values, order = x.sort(-1)
    run = starts(values).cumsum(-1) - 1
    place = torch.arange(1, x.shape[-1] + 1, dtype=torch.float64, device=x.device).expand_as(x)
    zeros = torch.zeros_like(place)
    mean = zeros.scatter_add(-1, run, place) / zeros.scatter_add(-1, run, zeros + 1).clamp(min=1)
    return torch.empty_like(place).scatter_(-1, order, mean.gather(-1, run))


def _spearman(x: torch.Tensor, y: torch.Tensor, **_: Any) -> torch.Tensor:
    return correlations(ranks(x), ranks(y))


def _kendall(x: torch.Tensor, y: torch.Tensor, **_: Any) -> torch.Tensor:
    x, y, pairs = settled(x), settled(y), x.shape[1] * (x.shape[1] - 1) / 2
    untied = [[(1 - _tied_pairs(row) / pairs) ** 0.5 for row in side] for side in (x, y)]
    table = torch.empty(len(x), len(y), dtype=x.dtype)
    for i, a in enumerate(x.cpu().numpy()):
        for j, b in enumerate(y.cpu().numpy()):
            # SciPy's tau-b divides by the untied pairs of either side; tau-a by all pairs.
            table[i, j] = kendalltau(a, b).statistic * untied[0][i] * untied[1][j]
    return table.to(x.device)


def _tied_pairs(x: torch.Tensor) -> float:
    counts = x.unique(return_counts=True)[1].double()
    return float((counts * (counts - 1) / 2).sum())


def _whitened_cosine(
    x: torch.Tensor, y: torch.Tensor, *, there: torch.Tensor | None = None
) -> torch.Tensor:
    whitened = _whiten(x, there)
    lengths = torch.outer((whitened * x).sum(1).sqrt(), (_whiten(y, there) * y).sum(1).sqrt())
    return torch.where(lengths > 0, whitened @ y.T / lengths, torch.nan).clamp(-1, 1)


def _whitened_pearson(
    x: torch.Tensor, y: torch.Tensor, *, there: torch.Tensor | None = None
) -> torch.Tensor:
    centred = (z - z.mean(1, keepdim=True) for z in (x, y))
    return _whitened_cosine(*centred, there=there)


def _whiten(x: torch.Tensor, there: torch.Tensor | None = None) -> torch.Tensor:
    """V^-1 x up to a factor, V the covariance of distances between independent stimuli.

    V = 2 I + M M' with M (pairs, n) marking each pair's two stimuli, and M'M = (n - 2) I + 11';
    the inverse follows from Woodbury's identity without forming V. Of the pairs that are `there`
    V and M have these rows only, and M'M is how often two stimuli are paired.
    """
    pairs = x.shape[1] if there is None else len(there)
    n = round((1 + (1 + 8 * pairs) ** 0.5) / 2)
    i, j = torch.triu_indices(n, n, 1, device=x.device)
    if there is not None:
        i, j = i[there], j[there]
    rows = torch.zeros(len(x), n, dtype=x.dtype, device=x.device)
    rows = rows.index_add(1, i, x).index_add(1, j, x)
    if there is None:
        solved = (rows - rows.sum(1, keepdim=True) / (2 * n)) / n
    else:
        paired = torch.zeros(n, n, dtype=x.dtype, device=x.device)
        paired[i, j] = paired[j, i] = 1
        paired += torch.diag(paired.sum(1) + 2)
        solved = torch.linalg.solve(paired, rows.T).T
    return x - solved[:, i] - solved[:, j]


def _unit_rms(x: torch.Tensor) -> torch.Tensor:
    return x / x.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-300)


def _unit_variance(x: torch.Tensor) -> torch.Tensor:
    return _unit_rms(x - x.mean(-1, keepdim=True))


def _without_gaps(function: Comparison) -> Comparison:
    return lambda x, y, **_: function(x, y)


COMPARISONS: dict[str, Comparison] = {
    "spearman": on_shared(_spearman),
    "pearson": on_shared(_without_gaps(correlations)),
    "cosine": on_shared(_without_gaps(cosines)),
    "kendall": on_shared(_kendall),
    "whitened_cosine": on_shared(_whitened_cosine),
    "whitened_pearson": on_shared(_whitened_pearson),
}

POOLINGS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "spearman": ranks,
    "pearson": _unit_variance,
    "cosine": _unit_rms,
    "kendall": ranks,
    "whitened_cosine": _unit_rms,
    "whitened_pearson": _unit_variance,
}


@takes(D="matrices", E="matrices")
def rsa_choose_layer(
    D: Array,
    E: Array,
    folds: Array,
    *,
    choice: str = "disjoint",
    compare: str = "spearman",
) -> dict[str, Array]:
    """Compare the RDMs of several layers with one, stitching chosen layers' entries.

    Parameters
    ----------
    D : array of shape (layers, n, n)
        RDM of every layer.
    E : array of shape (n, n) or (e, n, n)
        RDM of the brain target, or of each of several subjects. Choices and scores are made on the
        pairs that it has (not NaN).
    folds : array of shape (n,)
        Fold of each stimulus, at least 3 (or 4, so that two are left whichever two are out).
    choice : str
        ``"disjoint"``: the entries between folds f and g come from the layer that is best on
        pairs of stimuli of the other folds. ``"pepino"``: the choice of Pepino et al. 2025
        (arXiv:2511.16849) as their code makes it. For folds f <= g, the layer is chosen on
        entries above the diagonal with row outside f and column outside g, and written to all
        others; later pairs of folds overwrite earlier ones. No entry is in its own selection set,
        but nearly every one shares a stimulus with it.
    compare : str
        A name in `COMPARISONS`, used for choosing and for the score.

    Returns
    -------
    dict of arrays
        ``score``: comparison of the stitched RDM with E; ``rdm`` (n, n): the stitched RDM;
        ``layer`` (n, n): index of the layer of each entry, -1 on the diagonal. With a stack of E
        each has (e,) in front.

    Raises
    ------
    ValueError
        If the choice or comparison is unknown or both do not go together, the RDMs differ in size,
        a distance is infinite, or there are too few folds.
    """
    if choice not in ("disjoint", "pepino"):
        raise ValueError(f"there is no layer choice {choice!r}: use one of disjoint, pepino")
    if compare not in COMPARISONS:
        raise ValueError(f"there is no comparison {compare!r}: use one of {', '.join(COMPARISONS)}")
    if choice == "pepino" and compare.startswith("whitened"):
        raise ValueError(
            f"the pepino choice looks at incomplete RDMs, which {compare} does not take: use "
            "spearman, pearson, cosine or kendall, or the choice disjoint"
        )
    candidates = as_tensor(upper_entries(D))
    stack = as_tensor(E).to(candidates.device).reshape(-1, *E.shape[-2:])
    same_rows(D[0], stack[0], names=("an RDM of D", "E"))
    truth = as_tensor(upper_entries(stack))
    n = stack.shape[-1]
    fold = torch.as_tensor(check_folds(folds, n), device=candidates.device)
    n_folds = int(fold.max()) + 1
    if n_folds < 3:
        raise ValueError(f"{n_folds} folds leave none to choose a layer on: give at least 3")
    i, j = torch.triu_indices(n, n, 1, device=candidates.device)
    a, b = fold[i], fold[j]
    layer = torch.full_like(truth, -1, dtype=torch.int64)
    for f, g in combinations_with_replacement(range(n_folds), 2):
        if choice == "pepino":
            chosen_on = (a != f) & (b != g)
            written = ~chosen_on
        else:
            chosen_on = (a != f) & (a != g) & (b != f) & (b != g)
            written = ((a == f) & (b == g)) | ((a == g) & (b == f))
        scores = COMPARISONS[compare](candidates[:, chosen_on], truth[:, chosen_on])
        best = torch.nan_to_num(scores, nan=-torch.inf).argmax(0)
        layer[:, written] = best[:, None].expand(-1, int(written.sum()))
    stitched = candidates.T.gather(1, layer.T).T
    stitched_scores = [
        COMPARISONS[compare](s[None], t[None])[0, 0] for s, t in zip(stitched, truth)
    ]
    out = {"score": torch.stack(stitched_scores)}
    out["rdm"], out["layer"] = torch.zeros_like(stack), torch.full_like(stack, -1).long()
    for rows, columns in ((i, j), (j, i)):
        out["rdm"][:, rows, columns] = stitched
        out["layer"][:, rows, columns] = layer
    if E.ndim == 2:
        out = {name: value[0] for name, value in out.items()}
    return {name: like(value, D, E) for name, value in out.items()}
