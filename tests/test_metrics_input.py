"""What metrics say to input that they cannot use: one sentence with what, where and what to do."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from dynamics import brains, metrics
from dynamics.brains import targets

N = 20
rng = np.random.default_rng(0)
X, Y = rng.standard_normal((N, 5)), rng.standard_normal((N, 3))

OF_TWO = {
    "ridge": metrics.encode,
    "rsa": metrics.rsa,
    "cka": metrics.cka,
    "procrustes": metrics.procrustes,
    "svcca": lambda X, Y: metrics.svcca(X, Y, folds=np.arange(len(X)) % 5),
    "pwcca": lambda X, Y: metrics.pwcca(X, Y, folds=np.arange(len(X)) % 5),
    "mutual_knn": lambda X, Y: metrics.mutual_knn(X, Y, k=3),
    "banded": lambda X, Y: metrics.banded_ridge(
        metrics.gram(X)[None], Y, np.arange(N) % 5, candidates=3
    ),
}


OF_ONE = {
    "effective_dimensionality": metrics.effective_dimensionality,
    "rdm": metrics.rdm,
    "gram": metrics.gram,
    "encode_timeresolved": lambda X: metrics.encode_timeresolved(
        np.repeat(X[:, None], 4, 1), np.repeat(Y[:, None], 4, 1), rate=10.0, windows=((0, 0.1),)
    ),
    "similarities": lambda X: metrics.similarities([X, X + 1], metric="mutual_knn", k=3),
}


@pytest.mark.parametrize("name", sorted(OF_ONE))
def test_metrics_of_one_space_refuse_what_is_no_activation(name):
    for kind in ("int64", "bool"):
        with pytest.raises(TypeError, match=f"holds {kind} values, not activations"):
            OF_ONE[name]((X > 0).astype(kind))
    for value in (np.nan, np.inf, -np.inf):
        broken = X.copy()
        broken[4, 2] = value
        with pytest.raises(ValueError, match="not finite, the first at stimulus 4"):
            OF_ONE[name](broken)


def test_who_has_the_broken_value_is_named():
    gap, repeated = Y.copy(), np.repeat(Y[..., None], 3, 2)
    gap[3, 1] = repeated[3, 1, 2] = np.nan
    for function in (metrics.rsa, metrics.cka, metrics.procrustes, metrics.mutual_knn):
        with pytest.raises(ValueError, match=r"^Y has 1 values.*at stimulus 3, feature 1:"):
            function(X, gap)
    with pytest.raises(ValueError, match=r"^Y has 1 values.*at stimulus 3, feature 1:"):
        metrics.rsa(X, repeated)
    with pytest.raises(ValueError, match="in 1 neuroids, the first is neuroid 1:"):
        metrics.noise_ceiling(repeated)
    course = np.repeat(X[:, None], 4, 1)
    course[2, 3, 1] = np.nan
    with pytest.raises(ValueError, match=r"first at stimulus 2, time 3: .*NaN in all features"):
        metrics.encode_timeresolved(
            course, np.repeat(Y[:, None], 4, 1), rate=10.0, windows=[(0, 0)]
        )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_gram_matrices_and_rdms_are_finite_and_square(value):
    K, D, folds = metrics.gram(X)[None], metrics.rdm(X), np.arange(N) % 5
    of_grams = [
        lambda K: metrics.nested_ridge(K, Y, folds),
        lambda K: metrics.banded_ridge(K, Y, folds, candidates=3),
        lambda K: metrics.variance_partition(K[0], K[0], Y, folds, candidates=3),
        metrics.cka_gram,
        metrics.procrustes_gram,
        metrics.mutual_knn_gram,
        metrics.effective_dimensionality_gram,
        lambda K: metrics.ridge_null(K, Y, folds, metrics.permutations(N, 1)),
    ]
    of_rdms = [
        lambda D: metrics.compare_rdms(D, metrics.rdm(Y)),
        lambda D: metrics.compare_rdms(metrics.rdm(Y), D, compare="whitened_cosine"),
        lambda D: metrics.rdm_noise_ceiling(np.stack([D, D])),
        metrics.geotopological,
        lambda D: metrics.rsa_choose_layer(D[None], metrics.rdm(Y), folds),
        lambda D: metrics.rsa_choose_layer(metrics.rdm(Y)[None], D, folds),
        lambda D: metrics.resampled_rsa(D[None], D[None], metrics.bootstrap_counts(N, 2)),
        lambda D: metrics.rdm_null(metrics.rdm(Y)[None], D, metrics.permutations(N, 1)),
    ]
    broken = K.copy()
    broken[0, 2, 7] = broken[0, 7, 2] = value
    for function in of_grams:
        with pytest.raises(ValueError, match="not finite, the first at stimuli 2 and 7"):
            function(broken)
        with pytest.raises(ValueError, match="give Gram matrices"):
            function(K[:, :-1])
    broken = D.copy()
    broken[2, 7] = broken[7, 2] = np.inf  # NaN is a pair that is missing
    for function in of_rdms:
        with pytest.raises(ValueError, match="not finite, the first between stimuli 2 and 7"):
            function(broken)
    with pytest.raises(ValueError, match="an RDM has shape"):
        metrics.geotopological(D[:, :-1])


def test_too_few_stimuli():
    few = np.arange(len(X)) % 8
    for call, message in (
        (lambda: metrics.encode(X[:4], Y[:4]), "4 stimuli cannot be split into 5 folds"),
        (lambda: metrics.encode(X[:5], Y[:5], protocol="tuckute"), "5 stimuli are too few"),
        (lambda: metrics.rsa(X[:2], Y[:2]), "an RDM of 2 stimuli"),
        (lambda: metrics.cka(X[:3], Y[:3]), "CKA of 3 stimuli"),
        (lambda: metrics.procrustes(X[:2], Y[:2]), "Procrustes distance of 2 stimuli is 0"),
        (lambda: metrics.svcca(X[:7], Y[:7]), "components for 7 stimuli make canonical"),
        (lambda: metrics.pwcca(X, Y, folds=few), "a fold has 2 stimuli"),
        (lambda: metrics.svcca(X, Y, folds=few), "a fold has 2 stimuli"),
        (lambda: metrics.svcca(X, Y, rank=0), "rank is 0"),
        (lambda: metrics.mutual_knn(X[:9], Y[:9]), "10 neighbours among 9 stimuli"),
        (lambda: metrics.noise_ceiling(np.ones((2, 3, 2))), "2 stimuli have no noise ceiling"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert np.isnan(metrics.effective_dimensionality(X[:1]))


@pytest.mark.parametrize("name", sorted(OF_TWO))
def test_both_numbers_of_stimuli_are_named(name):
    with pytest.raises(ValueError, match=r"20 stimuli.* 19|20 stimuli and Y has 19"):
        OF_TWO[name](X, Y[:-1])


@pytest.mark.parametrize("name", sorted(OF_TWO))
@pytest.mark.parametrize("kind", ["int64", "bool"])
def test_integers_and_booleans_are_no_activations(name, kind):
    with pytest.raises(TypeError, match=f"holds {kind} values, not activations"):
        OF_TWO[name]((X > 0).astype(kind), Y)


@pytest.mark.parametrize("name", sorted(OF_TWO))
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_found(name, value):
    broken = X.copy()
    broken[4, 2] = value
    with pytest.raises(ValueError, match="not finite, the first at stimulus 4, feature 2"):
        OF_TWO[name](broken, Y)
    gap = Y.copy()
    gap[3, 1] = value
    with pytest.raises(ValueError, match=r"not finite.*(neuroid 1|stimulus 3, feature 1)"):
        OF_TWO[name](X, gap)


def test_neuroids_with_gaps_can_be_masked():
    gap = Y.copy()
    gap[3, 1] = np.nan
    with pytest.raises(ValueError, match="neuroid 1"):
        metrics.encode(X, gap)
    masked = metrics.encode(X, gap, missing="mask")
    np.testing.assert_allclose(masked["r"][[0, 2]], metrics.encode(X, Y)["r"][[0, 2]], atol=1e-9)
    assert np.isfinite(masked["r"][1])


@pytest.mark.parametrize("alpha", [0.0, -1.0, np.nan, np.inf])
def test_penalties_are_positive(alpha):
    message = f"alphas holds {alpha:g}: give penalties that are positive and finite"
    for protocol in metrics.PROTOCOLS:
        with pytest.raises(ValueError, match=message):
            metrics.encode(X, Y, protocol=protocol, alphas=[1.0, alpha])


def test_folds_that_cannot_be_made():
    with pytest.raises(ValueError, match="4 stimuli cannot be split into 5 folds"):
        metrics.encode(X[:4], Y[:4])
    with pytest.raises(ValueError, match=r"category 'b' has 3 stimuli for 5 folds.*merge_small"):
        metrics.encode(X, Y, categories=["a"] * 17 + ["b"] * 3)
    with pytest.raises(ValueError, match="at least 3 folds"):
        metrics.encode(X, Y, folds=2)


@pytest.mark.parametrize("kind", [object, str, complex])
def test_what_is_no_number_is_no_activation(kind):
    with pytest.raises(TypeError, match=r"X holds .* values, not activations"):
        metrics.cka(X.astype(kind), Y)


def test_nothing_to_compare():
    nothing = X[:, :0]
    for name in sorted(OF_TWO):
        with pytest.raises(ValueError, match="has no features"):
            OF_TWO[name](nothing, Y)
    with pytest.raises(ValueError, match=r"shape \(20, 0\): give at least one neuroid"):
        metrics.encode(X, nothing)
    with pytest.raises(ValueError, match="no space to compare"):
        metrics.similarities([])


def test_folds_and_numbers_that_make_no_sense():
    course, response = np.repeat(X[:, None], 4, 1), np.repeat(Y[:, None], 4, 1)
    broken = np.where(np.arange(N) == 3, np.nan, np.arange(N) % 5)
    for call, message in (
        (lambda: metrics.encode(X, Y, folds=broken), "no label for stimulus 3"),
        (lambda: metrics.encode(X, Y, folds=N), "every stimulus is a fold of its own"),
        (
            lambda: metrics.banded_ridge(metrics.gram(X)[None], Y, np.arange(N), candidates=3),
            "every stimulus is a fold of its own",
        ),
        (
            lambda: metrics.encode(X, Y, folds=np.arange(N) % 5, groups=np.arange(N) // 2),
            "group 0 is in several of the given folds",
        ),
        (lambda: metrics.mutual_knn(X, Y, k=2.5), "2.5 neighbours among 20 stimuli"),
        (lambda: metrics.similarities([X, Y], metric="svcca"), "cross-validated: give `folds`"),
        (lambda: metrics.encode_timeresolved(course, response, rate=0), "rate is 0"),
        (
            lambda: metrics.encode_timeresolved(course, response, rate=9, components=0),
            "components 0",
        ),
        (
            lambda: metrics.encode_timeresolved(course, response, rate=9, windows=[]),
            "there are 0 windows",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    together = metrics.encode(X, Y, folds=np.arange(N) // 2 % 5, groups=np.arange(N) // 2)
    np.testing.assert_array_equal(together["folds"], np.arange(N) // 2 % 5)


def test_what_the_data_lack_is_named():
    with pytest.raises(ValueError, match="crossnobis needs repetitions"):
        metrics.rsa(X, Y, distance="crossnobis")
    with pytest.raises(ValueError, match="a noise ceiling needs repetitions"):
        metrics.noise_ceiling(Y)
    with pytest.raises(ValueError, match="use time-resolved encoding"):
        metrics.temporal_score(np.ones((4, 1)), np.zeros(1))


@pytest.mark.parametrize("value", [0.0, 0.1, 3e8])
def test_a_constant_neuroid_has_no_score_and_changes_no_other(value):
    flat = Y.copy()
    flat[:, 1] = value
    folds = np.arange(N) % 5
    found = metrics.encode(X, flat, folds=folds)
    for name in ("r", "r2", "layer_r", "layer_r2"):
        assert np.isnan(found[name][..., 1]).all()
        np.testing.assert_allclose(
            found[name][..., [0, 2]], metrics.encode(X, Y, folds=folds)[name][..., [0, 2]]
        )
    # The studies' own rules: such a neuroid scores 0.
    for protocol in ("pepino", "tuckute"):
        assert metrics.encode(X, flat, protocol=protocol)["r2"][1] == 0
    banded = metrics.banded_ridge(metrics.gram(X)[None], flat, folds, candidates=3)
    assert np.isnan(banded["r"][1]) and np.isnan(banded["layer_share"][0, 1])


def target(**changes):
    names = [f"s{i}" for i in range(N)]
    data = xr.Dataset(
        {"response": (("stimulus", "neuroid"), Y)},
        coords={"stimulus": names, "neuroid": ["a1", "a2", "a3"]},
        attrs={"name": "mine"},
    )
    return data.assign(**changes)


def test_names_that_differ_are_named():
    data = target()
    with pytest.raises(ValueError, match=r"no stimulus of brain target 'mine' \(s0, s1, s2"):
        brains.join(data, ["x", "y"])
    names = ["other", *data["stimulus"].to_numpy()[1:]]
    with pytest.raises(ValueError, match=r"without a sound \(s0\) and 1 sounds.*\(other\)"):
        brains.join(data, names, partial="error")


def test_a_gap_in_a_target_names_the_neuroid():
    gap = Y.copy()
    gap[7, 2] = np.nan
    data = target(response=(("stimulus", "neuroid"), gap))
    assert targets.gaps(data) == "neuroid 'a3' (1 in all)"
    assert targets.gaps(target()) == ""


def test_a_target_may_group_its_stimuli_or_bring_folds():
    store = xr.Dataset(
        coords={"stimulus": [f"s{i}" for i in range(N)], "category": ("stimulus", ["x"] * N)}
    )
    grouped = target().assign_coords(group=("stimulus", np.arange(N) // 2))
    folds = targets.make_target(grouped, store).folds
    np.testing.assert_array_equal(folds[::2], folds[1::2])
    np.testing.assert_array_equal(np.bincount(folds), [4] * 5)
    given = target().assign_coords(fold=("stimulus", np.arange(N) % 4))
    np.testing.assert_array_equal(targets.make_target(given, store).folds, np.arange(N) % 4)


def test_small_categories_of_a_sweep_share_folds():
    data = target()
    categories = ["x"] * 13 + ["y"] * 4 + ["z"] * 3
    store = xr.Dataset(
        coords={"stimulus": data["stimulus"].to_numpy(), "category": ("stimulus", categories)}
    )
    folds = targets.make_target(data, store).folds
    others = np.bincount(folds[13:], minlength=5)
    assert others.min() == 1 and others.max() == 2
