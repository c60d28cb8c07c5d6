"""The kinds of arrays that metrics take and give back, whichever of them it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dynamics import analysis, metrics
from dynamics.metrics.banded import refit_banded
from dynamics.metrics.partition import refit_partition
from dynamics.metrics.refit import refit_predictions, refit_ridge, rescore

N = 30
FOLDS = np.arange(N) % 5
rng = np.random.default_rng(0)
X, Y, Z = (rng.standard_normal((N, p)) for p in (8, 4, 40))
REPEATED = Y[..., None] + rng.standard_normal((N, 4, 3))
COURSE, RESPONSE = rng.standard_normal((N, 6, 3)), rng.standard_normal((N, 6, 2))
K, L = np.stack([metrics.gram(X), metrics.gram(Z)]), metrics.gram(Y)
D, E = np.stack([metrics.rdm(X), metrics.rdm(Z)]), metrics.rdm(Y)
ORDERS, HALF = metrics.permutations(N, 2), [np.flatnonzero(FOLDS >= 0)[:20]]
WEIGHTS = np.full((5, 4, 2), 0.5)

FUNCTIONS = {
    "encode": (lambda x, y: metrics.encode({"x": x}, y, folds=FOLDS), X, REPEATED),
    "encode, pepino": (lambda x, y: metrics.encode(x, y, protocol="pepino"), X, Y),
    "encode, tuckute": (
        lambda x, y: metrics.encode(x, y, protocol="tuckute", alphas=[0.1, 1.0, 10.0]),
        X,
        REPEATED,
    ),
    "encode_timeresolved": (
        lambda x, y: metrics.encode_timeresolved(
            x, y, rate=10.0, windows=((0, 0.1),), alphas=[1.0, 10.0], rows=[np.arange(N)]
        ),
        COURSE,
        RESPONSE,
    ),
    "resample_time": (lambda x: metrics.resample_time(x, (0.05, 0.1), (0.1, 0.2), 3), COURSE),
    "nested_ridge": (lambda k, y: metrics.nested_ridge(k, y, FOLDS), K, Y),
    "nested_ridge_features": (
        lambda x, z, y: metrics.nested_ridge_features([x, z], y, FOLDS),
        X,
        Z,
        Y,
    ),
    "banded_ridge": (lambda k, y: metrics.banded_ridge(k, y, FOLDS, candidates=4), K, Y),
    "refit_banded": (lambda k, y, w: refit_banded(k, y, FOLDS, w, HALF), K, Y, WEIGHTS),
    "variance_partition": (
        lambda k, other, y: metrics.variance_partition(k, other, y, FOLDS, candidates=3),
        K[0],
        K[1],
        Y,
    ),
    "refit_partition": (
        lambda k, other, y, w: refit_partition(k, other, y, FOLDS, w, HALF),
        K[0],
        K[1],
        Y,
        WEIGHTS,
    ),
    "refit_ridge": (lambda k, y: refit_ridge(k, y, FOLDS, HALF), K, Y),
    "refit_predictions": (lambda k, y: refit_predictions(k, y, FOLDS), K, Y),
    "rescore": (lambda p, y: rescore(p, y, HALF), Y[None] + 1, Y),
    "default_alphas": (metrics.default_alphas, K),
    "gram": (metrics.gram, X),
    "centre": (metrics.centre, K),
    "noise_ceiling": (metrics.noise_ceiling, REPEATED),
    "rdm_noise_ceiling": (metrics.rdm_noise_ceiling, D),
    "rdm": (metrics.rdm, X),
    "rdm, crossnobis": (lambda y: metrics.rdm(y, distance="crossnobis"), REPEATED),
    "rdms_by": (lambda y: metrics.rdms_by(y, [0, 0, 1, 1])[1], Y),
    "geotopological": (metrics.geotopological, D),
    "compare_rdms": (metrics.compare_rdms, D, E),
    "compare_rdms, kendall": (lambda d, e: metrics.compare_rdms(d, e, compare="kendall"), D, E),
    "rsa_choose_layer": (lambda d, e: metrics.rsa_choose_layer(d, e, FOLDS), D, E),
    "resampled_rsa": (
        lambda d, e: metrics.resampled_rsa(d, e, metrics.bootstrap_counts(N, 2)),
        D,
        E[None],
    ),
    "cka_gram": (metrics.cka_gram, K, L),
    "procrustes_gram": (metrics.procrustes_gram, K, L),
    "mutual_knn_gram": (metrics.mutual_knn_gram, K, L),
    "effective_dimensionality_gram": (metrics.effective_dimensionality_gram, K),
    "ridge_null": (lambda k, y: metrics.ridge_null(k, y, FOLDS, ORDERS), K, Y),
    "gram_null": (lambda k, m: metrics.gram_null(metrics.cka_gram, k, m, ORDERS), K, L),
    "rdm_null": (lambda d, e: metrics.rdm_null(d, e, ORDERS), D, E),
    "permutation_null": (lambda x, y: metrics.permutation_null(metrics.cka, x, y, ORDERS), X, Y),
    "p_value": (metrics.p_value, Y[0], Y),
    "spatial_score": (metrics.spatial_score, Y, np.arange(4.0)),
    "temporal_score": (metrics.temporal_score, Y, np.arange(4.0)),
    "prediction_score": (metrics.prediction_score, Y, np.ones(4)),
} | {
    f"similarities, {name}": (
        lambda x, z, name=name, more=more: metrics.similarities([x, z], metric=name, **more),
        X,
        Z,
    )
    for name in metrics.PAIRWISE
    for more in [{"folds": FOLDS} if "cca" in name else {}]
}

OF_SPACES = {
    "rsa": metrics.rsa,
    "cka": metrics.cka,
    "procrustes": metrics.procrustes,
    "svcca": metrics.svcca,
    "pwcca": metrics.pwcca,
    "mutual_knn": metrics.mutual_knn,
    "effective_dimensionality": lambda x, _: metrics.effective_dimensionality(x),
}


def arrays_in(result):
    named = result if isinstance(result, dict) else {"": result}
    return {name: value for name, value in named.items() if name != "layer_names"}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_numpy_gives_numpy_and_torch_gives_torch_with_the_same_numbers(name):
    function, *given = FUNCTIONS[name]
    ours = arrays_in(function(*given))
    theirs = arrays_in(function(*map(torch.as_tensor, given)))
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        assert isinstance(value, (np.ndarray, np.generic)), key
        assert isinstance(theirs[key], torch.Tensor), key
        assert theirs[key].dtype in (torch.float64, torch.int64), key
        # Sums in another order of threads differ in their last digits.
        np.testing.assert_allclose(value, theirs[key].numpy(), atol=1e-9, err_msg=key)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_torch_among_numpy_gives_torch(name):
    function, *given = FUNCTIONS[name]
    if len(given) > 1:
        found = arrays_in(function(torch.as_tensor(given[0]), *given[1:]))
        assert all(isinstance(value, torch.Tensor) for value in found.values())
        last = arrays_in(function(*given[:-1], torch.as_tensor(given[-1])))
        # Weights and latencies and the like describe; responses, spaces and RDMs decide.
        if given[-1].ndim > 1 and given[-1] is not WEIGHTS:
            assert all(isinstance(value, torch.Tensor) for value in last.values())


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16])
def test_single_and_half_precision_are_computed_in_double(name, kind):
    function, *given = FUNCTIONS[name]
    coarse = [torch.as_tensor(each).to(kind) for each in given]
    found, exact = (arrays_in(function(*some)) for some in (coarse, [c.double() for c in coarse]))
    for key, value in exact.items():
        assert found[key].dtype == value.dtype
        np.testing.assert_allclose(found[key], value, atol=1e-9, err_msg=key)


@pytest.mark.parametrize("name", sorted(OF_SPACES))
def test_a_measure_of_two_spaces_is_a_float_whatever_the_arrays(name):
    function, few = OF_SPACES[name], Y[:, :3]
    value = function(X, few)
    assert isinstance(value, float)
    for x, y in ((torch.as_tensor(X), torch.as_tensor(few)), (X.astype("f4"), few.astype("f4"))):
        again = function(x, y)
        assert isinstance(again, float) and again == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("name", sorted(OF_SPACES))
@pytest.mark.parametrize("scale", [1e-8, 1e8])
@pytest.mark.parametrize("p", [3, 12, 50])
def test_units_copies_of_stimuli_and_constant_columns_do_no_harm(name, scale, p):
    given = {"rank": 4} if "cca" in name else {}
    function = OF_SPACES[name]
    x, y = rng.standard_normal((N, p)), rng.standard_normal((N, 5))
    y[:, :3] += x[:, :3]
    x[7], y[7] = x[3], y[3]
    expected = function(x, y, **given) if given else function(x, y)
    assert np.isfinite(expected)
    assert function(scale * x, y / scale, **given) == pytest.approx(expected, abs=1e-6)
    # Columns of zeros, since neighbours are by the cosine of rows as they are.
    wide = np.hstack([x, np.zeros((N, 2))])
    if name != "rsa":  # whose correlation over features counts them, see below
        assert function(wide, y, **given) == pytest.approx(expected, abs=1e-9)


def test_constant_columns_are_zeros_to_the_correlation_distance():
    wide = np.hstack([X, np.full((N, 2), 5.0)])
    zeros = np.hstack([(X - X.mean(0)) / X.std(0), np.zeros((N, 2))])
    np.testing.assert_allclose(metrics.rdm(wide), 1 - np.corrcoef(zeros), atol=1e-9)


def test_every_metric_is_an_entry_of_the_table_and_an_option_of_a_sweep():
    assert sorted(metrics.METRICS) == sorted(analysis.METHODS)
    for name in metrics.METRICS:
        assert metrics.METRICS[name].__doc__ and "Parameters" in metrics.METRICS[name].__doc__
    for name in ("encode", "encode_timeresolved", "rsa", "rdm", "compare_rdms", "noise_ceiling",
                 "cka", "procrustes", "svcca", "pwcca", "mutual_knn",
                 "effective_dimensionality"):  # fmt: skip
        assert name in metrics.__all__
