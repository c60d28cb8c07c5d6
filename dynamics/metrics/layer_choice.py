"""RSA with the layer chosen on other stimuli than those it is scored on."""

from __future__ import annotations

from itertools import combinations_with_replacement

import torch

from dynamics.metrics.door import takes
from dynamics.metrics.folds import check_folds
from dynamics.metrics.gram import Array, as_tensor, like, same_rows
from dynamics.metrics.rdm import upper_entries
from dynamics.metrics.rsa import COMPARISONS


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
