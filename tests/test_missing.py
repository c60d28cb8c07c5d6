from __future__ import annotations

import numpy as np
import pytest
from test_ridge import nested_by_scikit_learn

from dynamics import analysis, metrics
from dynamics.brains.targets import Target
from dynamics.metrics.missing import by_pattern, complete_block, orders_within
from dynamics.metrics.refit import refit_ridge
from dynamics.metrics.ridge import RELATIVE_ALPHAS
from dynamics.metrics.subsets import half_rows

N, V = 60, 6


def example(*, repetitions=0, seed=0):
    """Layers and responses of six neuroids: two lack the same stimuli, one others, one most."""
    rng = np.random.default_rng(seed)
    layers = {name: rng.normal(size=(N, 20)) for name in ("a", "b")}
    Y = layers["b"][:, :V] + rng.normal(size=(N, V))
    if repetitions:
        Y = Y[:, :, None] + rng.normal(size=(N, V, repetitions))
    Y[3:9, 1:3] = np.nan
    Y[20:32, 4] = np.nan
    Y[5:, 5] = np.nan
    return layers, Y, np.arange(N) % 5


def there(Y, j):
    return np.isfinite(Y[:, j].reshape(N, -1)).all(1)


@pytest.mark.slow
def test_scores_are_those_of_scikit_learn_on_the_stimuli_that_a_neuroid_has():
    layers, Y, folds = example()
    found = metrics.encode(layers, Y, folds=folds, missing="mask")
    for j in range(V - 1):
        rows = there(Y, j)
        Xs = [X[rows] for X in layers.values()]
        grids = [RELATIVE_ALPHAS * X.var(0).sum() for X in Xs]
        chosen, prediction = nested_by_scikit_learn(Xs, Y[rows, j], folds[rows], grids)
        assert [layer for layer, _ in chosen] == found["layer"][:, j].tolist()
        # Double precision both, as in the tests of complete responses.
        np.testing.assert_allclose(found["prediction"][rows, j], prediction, atol=1e-6)
        r = np.corrcoef(prediction, Y[rows, j])[0, 1]
        assert found["r"][j] == pytest.approx(r, abs=1e-6)
    assert np.isnan(found["r"][5]) and (found["layer"][:, 5] == -1).all()
    np.testing.assert_array_equal(np.isnan(found["prediction"]), np.isnan(Y) | (np.arange(V) == 5))


@pytest.mark.parametrize("protocol", sorted(metrics.PROTOCOLS))
def test_every_protocol_gives_what_it_gives_on_those_stimuli_alone(protocol):
    layers, Y, folds = example(repetitions=3)
    # With the penalties of "tuckute", many as good as 0, rounding decides among equal ones.
    alphas = [1.0, 10.0, 100.0]
    given = {} if protocol == "tuckute" else {"folds": folds}
    found = metrics.encode(layers, Y, protocol=protocol, missing="mask", alphas=alphas, **given)
    for j in (0, 1, 4):
        rows = there(Y, j)
        some = {name: X[rows] for name, X in layers.items()}
        part = {name: value[rows] for name, value in given.items()}
        alone = metrics.encode(some, Y[rows][:, [j]], protocol=protocol, alphas=alphas, **part)
        for name in ("r2", "layer_r2"):
            np.testing.assert_allclose(found[name][..., j], alone[name][..., 0], atol=1e-6)


def test_responses_without_gaps_are_fitted_at_once_and_in_order():
    Y, calls = np.random.default_rng(0).normal(size=(10, 7)), []

    def fit(rows, members):
        calls.append((rows, members))
        return {"sum": Y[rows][:, members].sum(0)}

    np.testing.assert_allclose(by_pattern(fit, Y, np.arange(10) % 5)["sum"], Y.sum(0))
    assert len(calls) == 1


def test_shuffles_of_some_stimuli_stay_within_categories_and_are_all_equally_likely():
    categories = np.repeat([0, 1], 4)
    orders = metrics.permutations(8, 6000, categories=categories)
    rows = np.array([0, 2, 3, 5, 7])
    found = orders_within(orders, rows)
    assert (np.sort(found, 1) == np.arange(5)).all()
    assert (categories[rows][found] == categories[rows]).all()
    patterns, counts = np.unique(found, axis=0, return_counts=True)
    assert len(patterns) == 6 * 2
    # Six deviations of a count of 500 among 6,000.
    assert np.abs(counts - 500).max() < 6 * np.sqrt(500)


def test_halves_and_null_of_a_sweep_are_those_of_the_stimuli_there():
    layers, Y, folds = example()
    target = Target(np.arange(N), Y, folds, np.full(V, "s"))
    halves = half_rows(folds, 4)
    orders = metrics.permutations(N, 3)
    found = analysis.METHODS["ridge"](layers, target, missing="mask", halves=halves, orders=orders)
    rows = np.flatnonzero(there(Y, 4))
    some = {name: X[rows] for name, X in layers.items()}
    K = metrics.grams(some)[1]
    inside = [np.flatnonzero(np.isin(rows, half)) for half in halves]
    again = refit_ridge(K, Y[rows, 4], folds[rows], inside)
    np.testing.assert_allclose(found["resample_score"][1][..., 4], again[..., 0])
    null = metrics.ridge_null(K, Y[rows][:, [4]], folds[rows], orders_within(orders, rows))
    np.testing.assert_allclose(found["null_score"][1][..., 4], null["layer_r"][..., 0].T, atol=1e-9)
    assert np.isnan(found["score"][1][:, 5]).all()


def test_a_stimulus_that_lacks_one_of_three_repetitions_is_scored_by_the_mean_of_the_others():
    layers, Y, folds = example(repetitions=3)
    Y = np.nan_to_num(Y, nan=0.5)
    Y[::2, :, 1] = np.nan
    for protocol in ("default", "pepino"):
        found = metrics.encode(layers, Y, protocol=protocol, folds=folds, missing="mask")
        plain = metrics.encode(layers, np.nanmean(Y, 2), protocol=protocol, folds=folds)
        for name in ("r", "layer_r", "prediction"):
            np.testing.assert_allclose(found[name], plain[name], atol=1e-9)
    with pytest.raises(ValueError, match="not finite"):
        metrics.encode(layers, Y, folds=folds)


def test_the_tuckute_protocol_takes_repetitions_that_lack_stimuli():
    layers, Y, _ = example(repetitions=3)
    Y, given = np.nan_to_num(Y, nan=0.5), {"protocol": "tuckute", "alphas": [1.0, 10.0, 100.0]}
    gap = Y.copy()
    gap[4, :, 1] = np.nan
    found = metrics.encode(layers, gap, **given, missing="mask")
    plain = metrics.encode(layers, np.nanmean(gap, 2), **given)
    np.testing.assert_allclose(found["layer_r"], plain["layer_r"], atol=1e-9)
    # One of 180 responses changes a noise-corrected score by little, and makes none unknown.
    whole = metrics.encode(layers, Y, **given)
    assert np.isfinite(found["layer_r2"]).all()
    np.testing.assert_allclose(found["layer_r2"], whole["layer_r2"], atol=0.15)


def test_the_block_left_without_gaps_lacks_few_stimuli_or_the_neuroid_that_lacks_most():
    there = np.ones((20, 5), bool)
    there[3, 1] = False
    rows, columns = complete_block(there)
    assert len(rows) == 19 and 3 not in rows and columns.tolist() == [0, 1, 2, 3, 4]
    there[:10, 4] = False
    rows, columns = complete_block(there)
    assert len(rows) == 19 and columns.tolist() == [0, 1, 2, 3]
    rows, columns = complete_block(np.zeros((4, 2), bool))
    assert len(rows) == len(columns) == 0
