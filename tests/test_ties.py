"""Distances and similarities that are equal but for rounding are equal, everywhere alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import rankdata, spearmanr

from dynamics import analysis
from dynamics.analysis import METHODS
from dynamics.brains import targets
from dynamics.metrics import (
    compare_rdms,
    geotopological,
    mutual_knn_gram,
    permutations,
    rdm,
    rdm_noise_ceiling,
    rdm_null,
    resampled_rsa,
    rsa,
    rsa_choose_layer,
)
from dynamics.metrics.dissimilarity import settled
from dynamics.metrics.rdm_comparison import ranks

N = 24
UPPER = np.triu_indices(N, 1)


def tied(seed=0):
    """Three RDMs of a few levels each: categories, categories in classes, and levels by chance."""
    category = np.arange(N) // 4
    apart = (category[:, None] != category).astype(float)
    classes = apart + (category[:, None] // 2 != category // 2)
    chance = np.zeros((N, N))
    chance[UPPER] = np.random.default_rng(seed).integers(1, 6, len(UPPER[0])) / 3
    return np.stack([apart, classes, chance + chance.T])


def shaken(D, size=1e-15, seed=1):
    noise = np.random.default_rng(seed).uniform(-size, size, D.shape)
    return D + (noise + noise.swapaxes(-1, -2)) / 2 * (1 - np.eye(N))


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("compare", ["spearman", "kendall"])
def test_rounding_does_not_break_ties(compare, scale):
    D = tied()
    clean, noisy = (compare_rdms(E * scale, E * scale, compare=compare) for E in (D, shaken(D)))
    np.testing.assert_array_equal(noisy, clean)
    if compare == "spearman":
        oracle = spearmanr(np.stack([each[UPPER] for each in D]), axis=1).statistic
        np.testing.assert_allclose(noisy, oracle, atol=1e-12)
    # Ranked as they are, such distances give another number.
    broken = spearmanr(shaken(D)[0][UPPER], shaken(D)[2][UPPER]).statistic
    assert abs(broken - clean[0, 2]) > 0.01 or compare == "kendall"


@pytest.mark.parametrize(("compare", "theirs"), [("spearman", "spearman"), ("kendall", "tau-a")])
def test_rounded_ties_are_those_of_rsatoolbox(compare, theirs):
    rsatoolbox = pytest.importorskip("rsatoolbox")
    D = tied()
    pair = [rsatoolbox.rdm.RDMs(D[k][UPPER][None]) for k in (1, 2)]
    expected = rsatoolbox.rdm.compare(*pair, method=theirs)[0, 0]
    found = compare_rdms(*shaken(D)[1:], compare=compare)
    assert found == pytest.approx(expected, abs=1e-9)


def test_nulls_halves_ceilings_and_chosen_layers_see_the_same_ties():
    D, rng = tied(), np.random.default_rng(3)
    counts = np.stack([np.bincount(rng.permutation(N)[:12], minlength=N) for _ in range(4)])
    drawn = rng.multinomial(N, np.full(N, 1 / N), size=3)
    orders, folds = permutations(N, 5), np.arange(N) % 4
    calls = {
        "null": lambda E: rdm_null(E[:2], E[2], orders),
        "kendall null": lambda E: rdm_null(E[:2], E[2], orders, compare="kendall"),
        "halves": lambda E: resampled_rsa(E[:2], E[2:], counts),
        "bootstrap": lambda E: resampled_rsa(E[:2], E[2:], drawn),
        "ceilings": lambda E: np.stack(list(rdm_noise_ceiling(E).values())[2:]),
        "stretched": lambda E: geotopological(E),
        "chosen": lambda E: np.asarray(rsa_choose_layer(E[:2], E[2], folds)["score"]),
    }
    for name, call in calls.items():
        np.testing.assert_allclose(call(shaken(D)), call(D), atol=1e-11, err_msg=name)
    half = np.flatnonzero(counts[0])
    alone = compare_rdms(*(shaken(D)[k][half][:, half] for k in (0, 2)))
    assert resampled_rsa(shaken(D)[:1], shaken(D)[2:], counts)[0, 0, 0] == pytest.approx(alone)


@pytest.mark.parametrize("distance", ["correlation", "cosine", "euclidean", "sqeuclidean"])
def test_categories_and_repeated_stimuli_as_features(distance):
    """Every stimulus occurs twice, in one-hot categories: a handful of distances in all."""
    rng = np.random.default_rng(0)
    X = np.eye(6)[np.arange(N) // 4]
    Y = np.repeat(rng.normal(size=(N // 2, 40)), 2, axis=0)
    expected = spearmanr(
        *(rankdata(np.round(rdm(Z, distance=distance)[UPPER], 9)) for Z in (X, Y))
    ).statistic
    for seed in range(3):
        noise = np.random.default_rng(seed)
        close = [Z * (1 + noise.normal(size=Z.shape) * 1e-15) for Z in (X, Y)]
        assert rsa(*close, distance=distance) == pytest.approx(expected, abs=1e-12)


def test_equally_near_neighbours_are_the_first_ones():
    rng = np.random.default_rng(0)
    K = np.eye(6)[np.arange(N) // 4] @ np.eye(6)[np.arange(N) // 4].T
    X = rng.normal(size=(N, 5))
    clean = mutual_knn_gram(K, X @ X.T, k=7)
    for seed in range(5):
        assert mutual_knn_gram(shaken(K, seed=seed), X @ X.T, k=7) == clean
    # Three others of the category, then the first that are in no way near.
    first = [[j for j in range(N) if j // 4 == i // 4 and j != i] for i in range(N)]
    first = [set(own) | set([j for j in range(N) if j // 4 != i // 4][:4])
             for i, own in enumerate(first)]  # fmt: skip
    C = X @ X.T / np.outer(*[np.linalg.norm(X, axis=1)] * 2) - 4 * np.eye(N)
    other = [set(np.argsort(-row, kind="stable")[:7]) for row in C]
    assert clean == pytest.approx(np.mean([len(a & b) / 7 for a, b in zip(first, other)]))


@pytest.mark.parametrize("name", ["rsa", "mutual_knn"])
def test_scores_of_a_sweep_do_not_depend_on_rounding(name):
    rng = np.random.default_rng(0)
    X = np.eye(6)[np.arange(N) // 4]
    Y = np.repeat(rng.normal(size=(N // 2, 12)), 2, axis=0)
    orders, folds = permutations(N, 5), np.arange(N) % 4
    halves = np.stack([np.sort(rng.permutation(N)[:16]) for _ in range(2)])
    found = []
    for size in (0, 1e-15):
        layer = X * (1 + rng.normal(size=X.shape) * size)
        response = Y * (1 + rng.normal(size=Y.shape) * size)
        target = targets.Target(np.arange(N), response, folds, np.repeat(["s1", "s2"], 6))
        more = {"choose": None} if name == "rsa" else {"k": 5}
        one = METHODS[name]({"a": layer}, target, halves=halves, orders=orders, **more)
        found.append(analysis.with_p_value(one))
    for variable in ("score", "resample_score", "null_score", "p_value"):
        np.testing.assert_allclose(
            found[1][variable][1], found[0][variable][1], atol=1e-7, err_msg=variable
        )


def test_ties_are_linked_and_what_is_no_tie_keeps_its_last_digit():
    x = torch.as_tensor([[1.0, 1 + 7e-12, 1 + 14e-12, 0.5, -0.5, 0.5 + 1e-9]], dtype=torch.float64)
    assert ranks(x).tolist() == [[5, 5, 5, 2, 1, 3]]
    assert settled(x)[0, :3].tolist() == [1.0] * 3
    y = torch.as_tensor(np.random.default_rng(0).normal(size=(3, 500)))
    assert torch.equal(settled(y), y)
    np.testing.assert_array_equal(ranks(y), rankdata(y, axis=1))
    assert ranks(torch.zeros(1, 3, dtype=torch.float64)).tolist() == [[2, 2, 2]]
