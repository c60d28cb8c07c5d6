"""RSA with gaps: every pair of stimuli over what both have, compared on the pairs that there are.

Oracles are rsatoolbox where it has the form, and else plain loops over pairs. Sums of a hundred
products in another order differ by 1e-14 of their size: 1e-10 leaves room and is seen by no rank.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import rankdata

from dynamics import analysis, metrics
from dynamics.analysis import METHODS
from dynamics.brains.targets import Target
from dynamics.metrics.missing import complete_block
from dynamics.metrics.null import permutations
from dynamics.metrics.subsets import half_rows

N, V = 24, 7
FIRST, SECOND = np.triu_indices(N, 1)
CLOSE = {"atol": 1e-10, "rtol": 1e-10}
SAME = {"spearman": "spearman", "pearson": "corr", "cosine": "cosine", "kendall": "tau-a",
        "whitened_cosine": "cosine_cov", "whitened_pearson": "corr_cov"}  # fmt: skip
COMPARISONS = sorted(SAME)


def responses(*, seed=0, part=0.25, repetitions=0):
    """Responses with gaps all over, two stimuli that share no neuroid, and one without any."""
    rng = np.random.default_rng(seed)
    shape = (N, V, repetitions) if repetitions else (N, V)
    Y = rng.normal(size=(N, V) + (1,) * bool(repetitions)) + 0.5 * rng.normal(size=shape)
    Y[rng.random(shape) < part] = np.nan
    Y[3], Y[3, :3], Y[8], Y[8, 3:] = np.nan, 0.3, np.nan, rng.normal(size=shape[1:])[3:]
    Y[3, 1], Y[15] = -1.0, np.nan
    return Y


def toolbox_rdm(Y, method):
    """The RDM of rsatoolbox; a stimulus without any response spoils all of it, and is left out."""
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm_unbalanced

    rows = np.flatnonzero(np.isfinite(Y).reshape(N, -1).any(1))
    some = Y[rows]
    stimulus, cross = np.arange(len(rows)), {}
    if Y.ndim == 3:
        some = some.transpose(2, 0, 1).reshape(-1, V)
        stimulus = np.tile(stimulus, Y.shape[2])
        cross = {"run": np.repeat(np.arange(Y.shape[2]), len(rows))}
    data = Dataset(some, obs_descriptors={"stimulus": stimulus, **cross})
    run = "run" if cross else None
    theirs = calc_rdm_unbalanced(data, method=method, descriptor="stimulus", cv_descriptor=run)
    D = np.full((N, N), np.nan)
    D[np.ix_(rows, rows)] = theirs.get_matrices()[0]
    return D


def by_pairs(Y, distance):
    """Distances by a loop over pairs of stimuli."""
    D = np.zeros((N, N))
    for a, b in zip(FIRST, SECOND):
        both = np.isfinite(Y[a]) & np.isfinite(Y[b])
        x, y = Y[a, both], Y[b, both]
        if distance == "correlation":
            D[a, b] = 1 - np.corrcoef(x, y)[0, 1] if both.sum() > 1 else np.nan
        elif distance == "cosine":
            D[a, b] = 1 - x @ y / np.sqrt(x @ x * (y @ y)) if both.any() else np.nan
        else:
            own = sum(np.nanmean(Y[k] ** 2) for k in (a, b)) if both.any() else np.nan
            D[a, b] = own - 2 * (x * y).mean() if both.any() else np.nan
            if distance == "euclidean":
                D[a, b] = np.sqrt(V * max(D[a, b], 0))
    return D + D.T


def upper(D):
    return D[..., FIRST, SECOND]


@pytest.mark.parametrize("zscore", [False, True])
@pytest.mark.parametrize("distance", ["sqeuclidean", "crossnobis"])
def test_distances_with_gaps_are_those_of_rsatoolbox(distance, zscore):
    Y = responses(repetitions=3 * (distance == "crossnobis"))
    Z = (Y - np.nanmean(Y, 0)) / np.nanstd(Y, 0) if zscore else Y
    expected = toolbox_rdm(Z, {"sqeuclidean": "euclidean"}.get(distance, distance))
    found = metrics.rdm(Y, distance=distance, zscore=zscore, missing="mask")
    np.testing.assert_allclose(upper(found), upper(expected), **CLOSE)
    assert np.isnan(found[15, :15]).all() and np.isnan(found[3, 8])


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning")
@pytest.mark.parametrize("distance", ["correlation", "cosine", "euclidean", "sqeuclidean"])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_distances_with_gaps_are_those_of_loops_over_pairs(distance, offset):
    Y = responses() + offset * (distance == "correlation")
    expected = by_pairs(Y, distance)
    found = metrics.rdm(Y, distance=distance, zscore=False, missing="mask")
    # An offset of a thousand deviations costs six digits of the squares.
    np.testing.assert_allclose(upper(found), upper(expected), atol=1e-7 if offset else 1e-10)


def test_a_pair_is_that_of_rsatoolbox_for_the_neuroids_that_both_have():
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm

    Y = responses()
    found = metrics.rdm(Y, zscore=False, missing="mask")
    for a, b in ((0, 1), (4, 20), (9, 11), (22, 23)):
        both = np.isfinite(Y[[a, b]]).all(0)
        theirs = calc_rdm(Dataset(Y[np.ix_([a, b], both)]), method="correlation")
        assert found[a, b] == pytest.approx(theirs.get_vectors().item(), abs=1e-10)


@pytest.mark.parametrize("distance", ["correlation", "cosine", "euclidean", "sqeuclidean"])
def test_nothing_changes_to_the_last_bit_without_gaps(distance):
    Y = np.random.default_rng(0).normal(size=(N, V))
    masked = metrics.rdm(Y, distance=distance, missing="mask")
    np.testing.assert_array_equal(masked, metrics.rdm(Y, distance=distance))


def entries(*, seed=0, missing=0.3):
    """Two RDMs of which the same pairs are missing, at random."""
    rng = np.random.default_rng(seed)
    D = rng.random((2, N, N))
    D[1] += D[0]
    D = D + D.transpose(0, 2, 1)
    gone = np.triu(rng.random((N, N)) < missing, 1)
    D[:, gone | gone.T] = np.nan
    D[:, np.arange(N), np.arange(N)] = 0
    return D


def toolbox(D, E, compare):
    from rsatoolbox.rdm import RDMs
    from rsatoolbox.rdm import compare as oracle

    both = np.isfinite(upper(D)) & np.isfinite(upper(E))
    sides = (RDMs(np.where(both, upper(each), np.nan)[None]) for each in (D, E))
    return oracle(*sides, method=SAME[compare]).item()


@pytest.mark.parametrize("compare", COMPARISONS)
def test_comparisons_of_the_pairs_that_exist_are_those_of_rsatoolbox(compare):
    D, E = entries()
    found = metrics.compare_rdms(D, E, compare=compare)
    assert found == pytest.approx(toolbox(D, E, compare), abs=1e-10)
    # Stacks of RDMs that lack other pairs: each two on those that both have.
    stack = np.stack([D, entries(seed=1)[0], np.nan_to_num(D)])
    table = metrics.compare_rdms(stack, np.stack([E, entries(seed=2)[1]]), compare=compare)
    for a, first in enumerate(stack):
        for b, second in enumerate((E, entries(seed=2)[1])):
            assert table[a, b] == pytest.approx(toolbox(first, second, compare), abs=1e-10)


@pytest.mark.parametrize("compare", COMPARISONS)
def test_fewer_than_three_pairs_are_not_compared(compare):
    D, E = entries()
    few = np.full_like(E, np.nan)
    for a, b in ((0, 1), (4, 7)):
        few[a, b] = few[b, a] = a + b
    assert np.isnan(metrics.compare_rdms(np.nan_to_num(D), few, compare=compare))


@pytest.mark.filterwarnings("ignore:Noise ceiling for tau:UserWarning")
@pytest.mark.parametrize("compare", sorted(set(SAME) - {"whitened_cosine", "whitened_pearson"}))
def test_ceilings_of_the_pairs_that_exist_are_those_of_rsatoolbox(compare):
    from rsatoolbox.inference import boot_noise_ceiling
    from rsatoolbox.rdm import RDMs

    rng = np.random.default_rng(0)
    D = entries()[:1] + 0.3 * (lambda x: x + x.transpose(0, 2, 1))(rng.random((5, N, N)))
    lower, higher = boot_noise_ceiling(RDMs(upper(D)), method=SAME[compare])
    found = metrics.rdm_noise_ceiling(D, compare=compare)
    assert found["lower"] == pytest.approx(lower, abs=1e-10)
    assert found["upper"] == pytest.approx(higher, abs=1e-10)


@pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning")
def test_a_ceiling_of_subjects_that_lack_other_pairs_is_over_those_who_have_them():
    D = np.stack([entries(seed=k, missing=0.2)[1] for k in range(4)])
    x = upper(D)
    ranks = np.full(x.shape, np.nan)
    for row, each in zip(ranks, x):
        there = np.isfinite(each)
        row[there] = (rankdata(each[there]) - 0.5) / there.sum()
    found = metrics.rdm_noise_ceiling(D)
    for name, others in (("lower", lambda k: np.delete(ranks, k, 0)), ("upper", lambda k: ranks)):
        expected = []
        for k in range(len(D)):
            pooled = np.zeros((N, N))
            # Means of ranks are equal or not but for rounding.
            pooled[FIRST, SECOND] = pooled[SECOND, FIRST] = np.nanmean(others(k), 0).round(12)
            expected.append(toolbox(pooled, D[k], "spearman"))
        np.testing.assert_allclose(found[f"subject_{name}"], expected, **CLOSE)


@pytest.mark.parametrize("compare", ["spearman", "pearson", "cosine"])
def test_resamples_of_the_pairs_that_exist_are_comparisons_of_those(compare):
    D, E = entries()
    other = np.nan_to_num(entries(seed=3)[0])
    halves = half_rows(np.arange(N) % 4, 4)
    counts = np.stack([np.bincount(half[half >= 0], minlength=N) for half in halves])
    found = metrics.resampled_rsa(np.stack([D, other]), E[None], counts, compare=compare)
    for b, half in enumerate(halves):
        rows = np.ix_(half, half)
        expected = [metrics.compare_rdms(X[rows], E[rows], compare=compare) for X in (D, other)]
        np.testing.assert_allclose(found[b, :, 0], expected, **CLOSE)


@pytest.mark.parametrize("compare", ["spearman", "kendall", "whitened_pearson"])
def test_nulls_and_choices_of_layers_are_on_the_pairs_that_exist(compare):
    E, folds = entries()[1], np.arange(N) % 4
    D = np.stack([np.nan_to_num(entries(seed=k)[0]) for k in (0, 3)])
    orders = permutations(N, 3)
    null = metrics.rdm_null(D, E, orders, compare=compare)
    for row, order in zip(null, orders):
        shuffled = E[np.ix_(order, order)]
        expected = [toolbox(each, shuffled, compare) for each in D]
        np.testing.assert_allclose(row, expected, **CLOSE)
    best = metrics.rsa_choose_layer(D, E, folds, compare=compare)
    stitched = np.zeros((N, N))
    for f in range(4):
        for g in range(f, 4):
            inside = np.flatnonzero(~np.isin(folds, [f, g]))
            part = np.ix_(inside, inside)
            scores = [metrics.compare_rdms(each[part], E[part], compare=compare) for each in D]
            here = np.outer(folds == f, folds == g)
            stitched[here | here.T] = D[np.argmax(scores)][here | here.T]
    assert best["score"] == pytest.approx(toolbox(stitched, E, compare), abs=1e-10)


def make_target(Y, subjects=None):
    subjects = np.full(V, "a") if subjects is None else subjects
    return Target(np.arange(N), Y, np.arange(N) % 4, subjects)


LAYERS = {name: np.random.default_rng(k).normal(size=(N, 9)) for k, name in enumerate("xy")}


@pytest.mark.parametrize("compare", COMPARISONS)
@pytest.mark.parametrize("distance", ["sqeuclidean", "crossnobis"])
def test_scores_of_a_target_with_gaps_are_those_of_rsatoolbox(distance, compare):
    Y = responses(repetitions=3 * (distance == "crossnobis"))
    target = make_target(Y)
    found = METHODS["rsa"](LAYERS, target, distance=distance, zscore=False, compare=compare)
    E = toolbox_rdm(Y, {"sqeuclidean": "euclidean"}.get(distance, distance))
    for layer, X in enumerate(LAYERS.values()):
        D = metrics.rdm(X, distance="sqeuclidean", zscore=False)
        D[15] = D[:, 15] = np.nan
        kept = np.arange(N) != 15  # of which theirs would take account in the whitened forms
        expected = metrics.compare_rdms(D[kept][:, kept], E[kept][:, kept], compare=compare)
        assert expected == pytest.approx(toolbox(D, E, compare), abs=1e-10)
        assert found["score"][1][layer, 0] == pytest.approx(expected, abs=1e-10)
        alone = metrics.rsa(X, Y, distance=distance, zscore=False, compare=compare, missing="mask")
        assert alone == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("options", [{}, {"geotopological": (0.2, 0.8)}, {"compare": "cosine"}])
def test_halves_nulls_and_choices_of_a_target_with_gaps_are_plain_comparisons(options):
    rng = np.random.default_rng(1)
    Y = np.concatenate([responses(), rng.normal(size=(N, 4))], 1)
    Y[5:7, V] = np.nan
    target = make_target(Y, np.array(["a"] * V + ["b"] * 2 + ["c"] * 2))
    halves, orders = half_rows(target.folds, 4), permutations(N, 3)
    found = METHODS["rsa"](LAYERS, target, halves=halves, orders=orders, **options)
    rows = np.flatnonzero(np.arange(N) != 15)
    E = metrics.rdm(Y[:, :V], missing="mask")[np.ix_(rows, rows)]
    D = np.stack([metrics.rdm(X[rows]) for X in LAYERS.values()])

    def compared(first, second):
        gone = np.isnan(second)
        both = np.where(gone, np.nan, first), second
        if quantiles := options.get("geotopological"):
            both = (metrics.geotopological(z, lower=quantiles[0], upper=quantiles[1]) for z in both)
        return metrics.compare_rdms(*both, compare=options.get("compare", "spearman"))

    np.testing.assert_allclose(found["score"][1][:, 0], [compared(d, E) for d in D], **CLOSE)
    place = np.full(N, -1)
    place[rows] = np.arange(len(rows))
    for b, half in enumerate(halves):
        own = np.sort(place[half][place[half] >= 0])
        part = np.ix_(own, own)
        expected = [compared(d[part], E[part]) for d in D]
        np.testing.assert_allclose(found["resample_score"][1][:, b, 0], expected, **CLOSE)
    for b, order in enumerate(metrics.missing.orders_within(orders, rows)):
        expected = [compared(d, E[np.ix_(order, order)]) for d in D]
        np.testing.assert_allclose(found["null_score"][1][:, b, 0], expected, **CLOSE)
    assert found["layer_share"][1].sum(0) == pytest.approx([1, 1, 1])
    # A group without gaps knows nothing of those of others.
    plain = METHODS["rsa"](LAYERS, make_target(Y[:, -2:], np.full(2, "c")), halves=halves,
                           orders=orders, **options)  # fmt: skip
    for name, (_, values) in plain.items():
        np.testing.assert_array_equal(values[..., 0], found[name][1][..., 2])


def test_ceilings_and_counts_of_a_target_with_gaps_are_of_the_same_pairs():
    Y = np.concatenate([responses(seed=k) for k in range(3)], 1)
    target = make_target(Y, np.repeat(["a", "b", "c"], V))
    D = np.stack([metrics.rdm(responses(seed=k), missing="mask") for k in range(3)])
    for options in ({}, {"geotopological": (0.1, 0.9)}):
        bounds = analysis.ceilings("rsa", target, options)
        stretched = metrics.geotopological(D) if options else D
        expected = metrics.rdm_noise_ceiling(stretched)
        for name in ("lower", "upper"):
            assert bounds[f"ceiling_{name}"][1] == pytest.approx(expected[name], abs=1e-10)
    counts = analysis.counted(analysis.find("rsa"), {}, target)
    assert counts["pairs"][1].tolist() == np.isfinite(upper(D)).sum(1).tolist()
    assert counts["stimuli"][1].tolist() == [N - 1] * 3
    assert counts["neuroids"][1].tolist() == [V] * 3


SPACES = {"cka": {}, "procrustes": {}, "mutual_knn": {"k": 3}, "svcca": {"rank": 1},
          "pwcca": {"rank": 1}}  # fmt: skip


@pytest.mark.parametrize("name", SPACES)
def test_spaces_as_a_whole_are_compared_where_no_response_is_missing(name):
    Y = np.random.default_rng(0).normal(size=(N, V))
    Y[2, 1] = Y[9, 4] = Y[10, 4] = np.nan
    Y[:18:2, 6] = np.nan
    rows, columns = complete_block(np.isfinite(Y))
    assert rows.tolist() == sorted(set(range(N)) - {2, 9, 10}) and columns.tolist() == [*range(6)]
    target = make_target(Y)
    part = replace(target, rows=rows, response=Y[np.ix_(rows, columns)], folds=target.folds[rows],
                   subjects=target.subjects[columns])  # fmt: skip
    some = {key: X[rows] for key, X in LAYERS.items()}
    halves = half_rows(target.folds, 2)
    found = METHODS[name](LAYERS, target, halves=halves, **SPACES[name])
    alone = METHODS[name](some, part, **SPACES[name])
    np.testing.assert_allclose(found["score"][1], alone["score"][1], **CLOSE)
    if name == "cka":
        K, L = (np.asarray(metrics.gram(z)) for z in (some["x"], part.response))
        n = len(rows)
        H = np.eye(n) - 1 / n

        def hsic(A, B):
            A, B = (Z - np.diag(np.diag(Z)) for Z in (H @ A @ H, H @ B @ H))
            one = A.sum() * B.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (A @ B).sum()
            return np.trace(A @ B) + one

        expected = hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L))
        assert found["score"][1][0, 0] == pytest.approx(expected, abs=1e-10)
