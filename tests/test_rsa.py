from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist, squareform
from scipy.stats import pearsonr, spearmanr

from dynamics.metrics import compare_rdms, geotopological, rdm, rdms_by, rsa


def pair(n=30, p=12, v=7, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) + 2
    return X, X @ rng.normal(size=(p, v)) + rng.normal(size=(n, v))


@pytest.mark.parametrize("distance", ["correlation", "cosine", "euclidean"])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_distances_agree_with_scipy(distance, scale):
    X = pair()[0] * scale
    Z = (X - X.mean(0)) / X.std(0)
    np.testing.assert_allclose(rdm(X, distance=distance), squareform(pdist(Z, distance)), atol=1e-9)
    np.testing.assert_allclose(
        rdm(X, distance=distance, zscore=False),
        squareform(pdist(X, distance)),
        rtol=1e-9,
        atol=1e-9,
    )


@pytest.mark.parametrize("compare", ["spearman", "pearson", "cosine"])
def test_comparisons_agree_with_scipy(compare):
    X, Y = pair()
    a, b = rdm(X)[np.triu_indices(30, 1)], rdm(Y)[np.triu_indices(30, 1)]
    oracle = {
        "spearman": lambda: spearmanr(a, b).statistic,
        "pearson": lambda: pearsonr(a, b).statistic,
        "cosine": lambda: a @ b / np.linalg.norm(a) / np.linalg.norm(b),
    }
    assert rsa(X, Y, compare=compare) == pytest.approx(oracle[compare](), abs=1e-10)


def test_ties_share_their_rank_as_in_scipy():
    rng = np.random.default_rng(0)
    D, E = (squareform(rng.integers(0, 5, 190).astype(float)) for _ in range(2))
    upper = np.triu_indices(20, 1)
    assert compare_rdms(D, E) == pytest.approx(spearmanr(D[upper], E[upper]).statistic, abs=1e-10)


def test_stacks_are_compared_all_with_all():
    D = np.stack([rdm(pair(seed=s)[0]) for s in range(3)])
    E = np.stack([rdm(pair(seed=s)[1]) for s in range(2)])
    table = compare_rdms(D, E)
    assert table.shape == (3, 2)
    assert table[2, 1] == pytest.approx(compare_rdms(D[2], E[1]), abs=1e-12)


def test_rdm_with_itself_is_one_and_duplicated_stimuli_are_at_distance_zero():
    X, _ = pair()
    X[3] = X[7]
    assert rdm(X)[3, 7] == pytest.approx(0, abs=1e-12)
    assert rsa(X, X) == pytest.approx(1)


def test_constant_columns_do_not_count_after_scaling():
    X, Y = pair()
    Z = np.hstack([X, np.full((30, 2), 5.0)])
    assert rsa(Z, Y, distance="euclidean") == pytest.approx(rsa(X, Y, distance="euclidean"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda X: rdm(X, distance="x"), "correlation, "),
        (lambda X: compare_rdms(rdm(X), rdm(X), compare="x"), "spearman, "),
        (lambda X: rdm(X[:2]), "2 stimuli"),
        (lambda X: rsa(X, X[:-1]), "30 stimuli and Y has 29"),
        (lambda X: compare_rdms(rdm(X), rdm(X[:-1])), "30 stimuli, the other 29"),
        (lambda X: rdm(np.ones((5, 3))), "stimulus 0 has no variance"),
    ],
)
def test_bad_input_is_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call(pair()[0])


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(
    ("compare", "method"),
    [
        ("kendall", "tau-a"),
        ("whitened_cosine", "cosine_cov"),
        ("whitened_pearson", "corr_cov"),
        ("spearman", "spearman"),
    ],
)
@pytest.mark.guards(4)
def test_comparisons_agree_with_rsatoolbox(compare, method, ties):
    rsatoolbox = pytest.importorskip("rsatoolbox")
    X, Y = pair()
    D, E = rdm(X, distance="sqeuclidean"), rdm(Y, distance="sqeuclidean")
    if ties:
        D, E = D.round(1), E.round(1)
    upper = np.triu_indices(30, 1)
    theirs = rsatoolbox.rdm.compare(
        *(rsatoolbox.rdm.RDMs(matrix[upper][None]) for matrix in (D, E)), method=method
    )
    assert compare_rdms(D, E, compare=compare) == pytest.approx(theirs[0, 0], abs=1e-6)


def test_whitened_form_agrees_with_the_inverted_covariance():
    D, E = (rdm(Z, distance="sqeuclidean") for Z in pair(n=9))
    i, j = np.triu_indices(9, 1)
    C = np.eye(9)[i] - np.eye(9)[j]
    V = np.linalg.inv((C @ C.T) ** 2)
    x, y = D[i, j], E[i, j]
    expected = x @ V @ y / np.sqrt(x @ V @ x * (y @ V @ y))
    assert compare_rdms(D, E, compare="whitened_cosine") == pytest.approx(expected, abs=1e-10)


def test_crossnobis_agrees_with_rsatoolbox():
    rsatoolbox = pytest.importorskip("rsatoolbox")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(8, 5, 1)) + rng.normal(size=(8, 5, 3))
    data = rsatoolbox.data.Dataset(
        X.transpose(2, 0, 1).reshape(24, 5),
        obs_descriptors={"run": np.repeat(range(3), 8), "stimulus": np.tile(range(8), 3)},
    )
    theirs = rsatoolbox.rdm.calc_rdm(
        data, method="crossnobis", descriptor="stimulus", cv_descriptor="run"
    ).get_matrices()[0]
    np.testing.assert_allclose(rdm(X, distance="crossnobis", zscore=False), theirs, atol=1e-8)


def test_crossnobis_of_equal_stimuli_averages_zero():
    X = np.random.default_rng(0).normal(size=(400, 100, 2))
    D = rdm(X, distance="crossnobis", zscore=False)
    # The mean over pairs has a standard error of 2 / sqrt(400 * 100) = .01.
    assert abs(D[np.triu_indices(400, 1)].mean()) < 0.03


def test_crossnobis_without_repetitions_is_one_sentence():
    with pytest.raises(ValueError, match="needs repetitions"):
        rdm(pair()[0], distance="crossnobis")


def test_geotopological_transform_leaves_its_input_and_follows_the_formula():
    D = rdm(pair()[0])
    before = D.copy()
    result = geotopological(D, lower=0.2, upper=0.7)
    np.testing.assert_array_equal(D, before)
    low, high = np.quantile(D[np.triu_indices(30, 1)], [0.2, 0.7])
    expected = np.clip((D - low) / (high - low), 0, 1) * (1 - np.eye(30))
    np.testing.assert_allclose(result, expected, atol=1e-12)
    with pytest.raises(ValueError, match="out of order"):
        geotopological(D, lower=0.5, upper=0.5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3))
def test_rotation_and_scale_change_nothing(seed, scale):
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(12, 6)), rng.normal(size=(12, 5))
    Q, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    options = dict(distance="euclidean", zscore=False)
    assert rsa(X, Y, **options) == pytest.approx(rsa(scale * X @ Q, Y, **options), abs=1e-9)


def test_rdms_of_subjects_and_crossnobis_of_repetitions():
    X, Y = pair(v=9)
    names, D = rdms_by(Y, ["b", "a", "b"] * 3)
    assert names == ("a", "b")
    np.testing.assert_allclose(D[0], rdm(Y[:, 1::3]))
    with pytest.raises(ValueError, match="2 labels for 9 neuroids"):
        rdms_by(Y, ["a", "b"])
    repeated = Y[..., None] + 0.1 * np.random.default_rng(0).normal(size=(*Y.shape, 2))
    value = rsa(X, repeated, distance="crossnobis", zscore=False)
    expected = rsa(X, Y, distance="sqeuclidean", zscore=False)
    assert value == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("p", [4, 30, 90])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("distance", ["correlation", "cosine", "euclidean"])
def test_constant_columns_and_copies_of_stimuli_are_as_in_scipy(p, dtype, distance):
    X = pair(p=p)[0].astype(dtype)
    X[:, 1], X[4] = 7, X[9]
    varying = np.delete(X.astype(float), 1, axis=1)
    Z = np.insert((varying - varying.mean(0)) / varying.std(0), 1, 0.0, axis=1)
    expected = squareform(pdist(Z, distance))
    np.testing.assert_allclose(rdm(X, distance=distance), expected, atol=1e-9)
    assert rdm(X, distance=distance)[4, 9] == pytest.approx(0, abs=1e-12)
