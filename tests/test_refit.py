import numpy as np
import pytest
import torch

from dynamics.metrics import nested_ridge, refit
from dynamics.metrics.refit import refit_predictions, refit_ridge, rescore
from dynamics.metrics.subsets import (
    RESAMPLERS,
    bootstrap_rows,
    counts,
    half_rows,
    jackknife_rows,
    subsamples,
)


def problem(n=60, p=40, v=5, layers=2, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((layers, n, p)) * np.geomspace(1, 0.05, p)
    Y = X[0] @ rng.standard_normal((p, v)) * 0.7 + rng.standard_normal((n, v))
    return X @ X.swapaxes(1, 2), Y, np.arange(n) % 5


@pytest.mark.parametrize("method", RESAMPLERS)
@pytest.mark.parametrize(("n", "p"), [(60, 40), (63, 200), (67, 8)])
def test_refitting_on_a_subset_is_nested_ridge_on_that_subset(method, n, p):
    K, Y, folds = problem(n, p)
    alphas = np.logspace(-3, 3, 7)
    rows = RESAMPLERS[method](folds, 4)
    found = refit_ridge(K, Y, folds, rows, alphas, search_dtype=torch.float64)
    for number, each in enumerate(rows):
        each = each[each >= 0]
        expected = nested_ridge(
            K[:, each][:, :, each],
            Y[each],
            folds[each],
            alphas,
            search_dtype=torch.float64,
        )["layer_r"]
        np.testing.assert_allclose(found[:, number], expected, atol=1e-8)


def test_single_precision_search_and_blocks_of_neuroids_change_nothing_that_matters():
    K, Y, folds = problem(110, 192, v=30)
    rows = subsamples(folds, 5)
    double = refit_ridge(K, Y, folds, rows, search_dtype=torch.float64)
    single = refit_ridge(K, Y, folds, rows, block=7)
    # Only where two alphas are equally good to seven digits may another one be chosen.
    assert np.mean(np.abs(double - single) > 1e-6) < 0.02
    np.testing.assert_allclose(single, double, atol=0.02)


def test_predictions_on_all_stimuli_score_as_nested_ridge_does():
    K, Y, folds = problem()
    alphas = np.logspace(-3, 3, 7)
    expected = nested_ridge(K, Y, folds, alphas, search_dtype=torch.float64)["layer_r"]
    predicted = refit_predictions(K, Y, folds, alphas)
    everyone = np.arange(len(Y))[None]
    np.testing.assert_allclose(rescore(predicted, Y, everyone)[:, 0], expected, atol=1e-8)


def test_rescoring_is_the_correlation_on_the_drawn_rows():
    K, Y, folds = problem()
    predicted = refit_predictions(K, Y, folds)
    rows = bootstrap_rows(folds, 3)
    found = rescore(predicted, Y, rows)
    expected = np.corrcoef(predicted[1][rows[2], 3], Y[rows[2], 3])[0, 1]
    assert found[1, 2, 3] == pytest.approx(expected, abs=1e-10)


def test_subsamples_delete_a_third_of_every_fold_and_come_again_with_the_seed():
    folds = np.repeat(np.arange(5), 33)
    rows = subsamples(folds, 7, seed=3)
    assert rows.shape == (7, 110)
    assert all(len(set(each)) == 110 for each in rows)
    assert all((np.bincount(folds[each]) == 22).all() for each in rows)
    assert np.array_equal(rows, subsamples(folds, 7, seed=3))
    assert not np.array_equal(rows, subsamples(folds, 7, seed=4))


def test_bootstrap_keeps_fold_sizes_and_jackknife_groups_partition():
    folds = np.arange(67) % 5
    assert all(
        np.array_equal(np.bincount(folds[r]), np.bincount(folds)) for r in bootstrap_rows(folds, 4)
    )
    left = counts(jackknife_rows(folds, 10), 67)
    assert np.array_equal((1 - left).sum(0), np.ones(67))


def test_a_constant_neuroid_is_missing_and_unfit_arguments_are_refused():
    K, Y, folds = problem()
    Y[:, 2] = 1.5
    found = refit_ridge(K, Y, folds, subsamples(folds, 2))
    assert np.isnan(found[:, :, 2]).all()
    assert np.isfinite(found[:, :, [0, 1, 3, 4]]).all()
    with pytest.raises(ValueError, match="row 60 of 60"):
        refit_ridge(K, Y, folds, [np.arange(61)])
    with pytest.raises(ValueError, match="leaves a fold"):
        subsamples(np.arange(10) % 5, 3, fraction=0.5)
    with pytest.raises(ValueError, match="3 or more"):
        refit_ridge(K, Y, folds, [np.flatnonzero(folds < 2)])


def test_halves_complement_each_other_and_cut_every_fold_in_half():
    folds = np.repeat(np.arange(5), 33)
    held = counts(half_rows(folds, 6), 165)
    assert np.array_equal(held[0::2] + held[1::2], np.ones((3, 165)))
    sizes = np.array([np.bincount(folds, weights=each) for each in held])
    assert set(sizes.ravel()) == {16, 17}
    assert set(held.sum(1)) == {82, 83}
    with pytest.raises(ValueError, match="even"):
        half_rows(folds, 5)


@pytest.mark.parametrize("inverse", [False, True])
def test_a_system_that_cannot_be_factored_is_marked_and_stops_no_other(inverse):
    """Of a layer that gives the same to all sounds, as one of dead units does."""
    rng = np.random.default_rng(0)
    sound = torch.as_tensor(rng.standard_normal((1, 3, 4)))
    Q = torch.cat([torch.zeros(1, 3, 4, dtype=torch.double), sound])
    real = torch.ones(2, 3, dtype=torch.bool)
    flat = (Q[:, None] * torch.tensor([1.0, 2.0])[:, None, None]).flatten(1, 2)
    solver = refit._Solver.of(flat, Q, real, inverse=inverse)
    assert solver.bad.tolist() == [[True, True], [False, False]]
    right = torch.as_tensor(rng.standard_normal((2, 2, 3, 5)))
    found = solver(right)[1, 0]
    expected = np.linalg.solve(np.asarray(sound[0] @ sound[0].T), np.asarray(right[1, 0]))
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-8)
