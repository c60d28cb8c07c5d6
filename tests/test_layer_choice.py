from __future__ import annotations

import natsound
import numpy as np
import pytest
from scipy.stats import spearmanr

from dynamics.metrics import COMPARISONS, compare_rdms, rdm, rsa_choose_layer


def example(n=40):
    rng = np.random.default_rng(0)
    Xs = [rng.normal(size=(n, 10)) for _ in range(3)]
    Y = Xs[1] @ rng.normal(size=(10, 8)) + Xs[0][:, :8] + rng.normal(size=(n, 8))
    return np.stack([rdm(X) for X in Xs]), rdm(Y), np.arange(n) % 5


def by_loops(D, E, folds, choice):
    """The plain loop of either choice over whole matrices."""
    n, stitched = len(E), np.zeros_like(E)
    upper = np.triu(np.ones((n, n), bool), 1)
    for f in range(5):
        for g in range(f, 5):
            if choice == "pepino":
                chosen_on = (folds != f)[:, None] & (folds != g)[None]
                written = ~chosen_on
            else:
                inside = ~np.isin(folds, [f, g])
                chosen_on = inside[:, None] & inside[None]
                written = (folds == f)[:, None] & (folds == g)[None]
                written = written | written.T
            use = chosen_on & upper
            best = np.argmax([spearmanr(d[use], E[use]).statistic for d in D])
            stitched[written] = D[best][written]
    return spearmanr(stitched[upper], E[upper]).statistic


@pytest.mark.parametrize("choice", ["disjoint", "pepino"])
def test_agrees_with_plain_loops(choice):
    D, E, folds = example()
    result = rsa_choose_layer(D, E, folds, choice=choice)
    assert result["score"] == pytest.approx(by_loops(D, E, folds, choice), abs=1e-10)
    assert (result["layer"].diagonal() == -1).all()
    layer = np.maximum(result["layer"], 0)
    np.testing.assert_allclose(result["rdm"], np.take_along_axis(D, layer[None], 0)[0])


def test_pepino_choice_shares_stimuli_and_the_default_shares_none(data_root):
    sounds = natsound.load(data_root, order="number")
    folds, (i, j) = sounds.folds, np.triu_indices(165, 1)
    last = {}
    for f in range(5):
        for g in range(f, 5):
            for k in np.flatnonzero(~((folds[i] != f) & (folds[j] != g))):
                last[k] = (f, g)
    shared = own = 0
    for k, (f, g) in last.items():
        rows_used = folds != f
        columns_used = folds != g
        own += rows_used[i[k]] and columns_used[j[k]]
        # A stimulus of the entry is in the selection set as a row with some later column, or as a
        # column with some earlier row.
        shared += any(
            (rows_used[s] and columns_used[s + 1 :].any())
            or (columns_used[s] and rows_used[:s].any())
            for s in (i[k], j[k])
        )
    assert own == 0
    assert shared == 13002


def test_bad_input_is_one_sentence():
    D, E, folds = example()
    with pytest.raises(ValueError, match="disjoint, pepino"):
        rsa_choose_layer(D, E, folds, choice="x")
    with pytest.raises(ValueError, match="leave none"):
        rsa_choose_layer(D, E, folds % 2)
    for compare in ("whitened_cosine", "whitened_pearson"):
        with pytest.raises(ValueError, match=f"incomplete RDMs, which {compare} does not take"):
            rsa_choose_layer(D, E, folds, choice="pepino", compare=compare)


@pytest.mark.parametrize("choice", ["disjoint", "pepino"])
@pytest.mark.parametrize("compare", sorted(COMPARISONS))
def test_one_layer_alone_scores_as_without_a_choice(choice, compare):
    D, E, folds = example()
    if choice == "disjoint" or not compare.startswith("whitened"):
        result = rsa_choose_layer(D[:1], E, folds, choice=choice, compare=compare)
        assert result["score"] == pytest.approx(compare_rdms(D[0], E, compare=compare), abs=1e-12)
