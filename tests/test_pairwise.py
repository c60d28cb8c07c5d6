from __future__ import annotations

import numpy as np
import pytest
import torch

from dynamics import metrics
from dynamics.metrics import PAIRWISE, similarities

N = 40
FOLDS = np.arange(N) % 5


def spaces():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, 12))
    return [X, X @ rng.standard_normal((12, 7)), rng.standard_normal((N, 9))]


ALONE = {
    "cka": metrics.cka,
    "procrustes": lambda X, Y: np.cos(metrics.procrustes(X, Y)),
    "svcca": lambda X, Y: metrics.svcca(X, Y, folds=FOLDS),
    "pwcca": lambda X, Y: (metrics.pwcca(X, Y, folds=FOLDS) + metrics.pwcca(Y, X, folds=FOLDS)) / 2,
    "mutual_knn": metrics.mutual_knn,
    "rsa": metrics.rsa,
}


@pytest.mark.parametrize("metric", sorted(PAIRWISE))
def test_tables_hold_what_the_metric_gives_for_each_pair(metric):
    first, folds = spaces(), {"folds": FOLDS} if "cca" in metric else {}
    table = similarities(first, metric=metric, **folds)
    for i, X in enumerate(first):
        for j, Y in enumerate(first):
            assert table[i, j] == pytest.approx(ALONE[metric](X, Y), abs=1e-9)
    np.testing.assert_allclose(table, table.T, atol=1e-12)
    np.testing.assert_allclose(similarities(first[:1], first, metric=metric, **folds), table[:1])


@pytest.mark.parametrize("metric", sorted(PAIRWISE))
def test_a_space_that_does_not_vary_has_nan(metric):
    folds = {"folds": FOLDS} if "cca" in metric else {}
    table = similarities([spaces()[0], np.full((N, 5), 0.3)], metric=metric, **folds)
    assert table[0, 0] == pytest.approx(1) and np.isnan(table[[0, 1, 1], [1, 0, 1]]).all()


def test_arguments_are_passed_on_and_torch_gives_torch():
    first = spaces()
    for compare in ("pearson", "cosine"):
        table = similarities(first, metric="rsa", compare=compare, distance="euclidean")
        alone = metrics.rsa(first[0], first[2], compare=compare, distance="euclidean")
        assert table[0, 2] == pytest.approx(alone)
    assert similarities(first, debiased=False)[0, 2] == pytest.approx(
        metrics.cka(first[0], first[2], debiased=False)
    )
    assert isinstance(similarities([torch.as_tensor(X) for X in first]), torch.Tensor)


def test_bad_input_is_one_sentence():
    first = spaces()
    with pytest.raises(ValueError, match="no similarity 'ckka' of two spaces: use one of cka"):
        similarities(first, metric="ckka")
    with pytest.raises(ValueError, match="39 and 40 stimuli"):
        similarities(first, [first[0][:-1]])
    with pytest.raises(ValueError, match="no comparison 'kendall' of steps"):
        similarities(first, metric="rsa", compare="kendall")
