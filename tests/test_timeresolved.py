from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from dynamics.metrics import encode_timeresolved, nested_ridge_features, resample_time
from dynamics.metrics.delays import delayed

RATE = 20.0


def example(n=20, t=30, shift=3):
    rng = np.random.default_rng(0)
    X, other = rng.normal(size=(2, n, t, 4))
    Y = np.zeros((n, t, 2))
    Y[:, shift:] = X[:, :-shift, :2]
    return X, other, Y + 0.3 * rng.normal(size=Y.shape)


def rows_of(X, delays):
    """Delayed copies of (n, t, p) side by side, the times of all stimuli after another."""
    return torch.cat([delayed(x, delays) for x in X])


def test_finds_the_layer_and_the_window_that_contains_the_delay():
    X, other, Y = example()
    windows = ((0, 0), (0, 0.1), (0, 0.2))
    result = encode_timeresolved({"other": other, "x": X}, Y, rate=RATE, windows=windows)
    assert (result["layer"] == 1).all() and (result["window"] == 2).all()
    assert (result["r"] > 0.9).all()
    assert (np.abs(result["layer_r"][0]) < 0.2).all()
    assert result["r_time"].shape == (30, 2)
    assert (result["r_time"][5:] > 0.7).all()


def test_agrees_with_scikit_learn_on_delayed_copies_split_by_stimulus():
    X, _, Y = example()
    result = encode_timeresolved(
        X, Y, rate=RATE, windows=((0, 0.2),), components=None, alphas=[3.0], folds=4
    )
    n, t, p = X.shape
    Z = X - X.reshape(-1, p).mean(0)
    delayed = np.zeros((n, t, 5, p))
    for d in range(5):
        delayed[:, d:, d] = Z[:, : t - d]
    for f in range(4):
        inside = result["folds"] != f
        model = Ridge(3.0).fit(delayed[inside].reshape(-1, 5 * p), Y[inside].reshape(-1, 2))
        expected = model.predict(delayed[~inside].reshape(-1, 5 * p)).reshape(-1, t, 2)
        np.testing.assert_allclose(result["prediction"][~inside], expected, atol=1e-7)


def test_components_keep_what_matters():
    X, other, Y = example()
    wide = np.concatenate([10 * X, 1e-3 * other], 2)
    result = encode_timeresolved(wide, Y, rate=RATE, windows=((0, 0.2),), components=4)
    assert (result["r"] > 0.9).all()


def test_resampling_averages_over_bins():
    X = np.arange(8.0).reshape(1, 8, 1)
    slow = resample_time(X, (0.005, 0.01), (0.01, 0.02), 5)
    np.testing.assert_allclose(slow[0, :, 0], [0.5, 2.5, 4.5, 6.5, np.nan])
    fast = resample_time(X, (0.005, 0.01), (0.0025, 0.005), 16)
    np.testing.assert_allclose(fast[0, :, 0], np.repeat(np.arange(8), 2))


def test_resampling_leaves_out_what_is_past_the_end_of_a_sound():
    X = np.arange(8.0).reshape(1, 8, 1).repeat(2, 0)
    X[1, 3:] = np.nan
    slow = resample_time(X, (0.005, 0.01), (0.01, 0.02), 4)
    np.testing.assert_allclose(slow[..., 0], [[0.5, 2.5, 4.5, 6.5], [0.5, 2, np.nan, np.nan]])


def test_agrees_with_nested_ridge_on_rows_of_delayed_features():
    X, other, Y = example()
    windows = ((0, 0), (0, 0.1), (0.05, 0.2))
    result = encode_timeresolved({"other": other, "x": X}, Y, rate=RATE, windows=windows)
    sources, singles = [], []
    for layer in (other, X):
        Z = torch.as_tensor(layer - layer.mean((0, 1)))
        sources += [rows_of(Z, range(a, b)) for a, b in ((0, 1), (0, 3), (1, 5))]
        singles += [rows_of(Z, [d]) for d in range(5)]
    rows, folds = Y.reshape(-1, 2), np.repeat(result["folds"], 30)
    peer = nested_ridge_features(sources, rows, folds, search_dtype=torch.float64)
    # Sums of products lose half of the digits where a prediction hardly varies.
    np.testing.assert_allclose(result["layer_r"].reshape(6, 2), peer["layer_r"], atol=1e-7)
    np.testing.assert_allclose(result["r"], peer["r"], atol=1e-7)
    np.testing.assert_array_equal(result["layer"] * 3 + result["window"], peer["layer"])
    np.testing.assert_allclose(result["alpha"], peer["alpha"])
    np.testing.assert_allclose(result["prediction"].reshape(-1, 2), peer["prediction"], atol=1e-7)
    assert result["alpha_edge"] == pytest.approx(float(peer["alpha_edge"]))
    alone = nested_ridge_features(singles, rows, folds, search_dtype=torch.float64)["layer_r"]
    np.testing.assert_allclose(result["latency_r"].reshape(10, 2), alone, atol=1e-7)
    np.testing.assert_allclose(result["latencies"], [0, 0.05, 0.1, 0.15, 0.2])
    assert (result["latency_r"][1].argmax(0) == 3).all()
    best = nested_ridge_features(sources[3:], rows, folds, search_dtype=torch.float64)["r"]
    np.testing.assert_allclose(result["best_window_r"][1], best, atol=1e-7)


def test_units_do_not_matter_and_wide_layers_are_rotated():
    X, _, Y = example(n=10, t=8)
    plain = encode_timeresolved(X, Y, rate=RATE, windows=((0, 0.1),), components=None, folds=5)
    scaled = encode_timeresolved(
        1e-6 * X + 3, 1e-8 * Y, rate=RATE, windows=((0, 0.1),), components=None, folds=5
    )
    np.testing.assert_allclose(scaled["r"], plain["r"], atol=1e-6)
    wide = np.concatenate([X, 0.01 * np.random.default_rng(3).normal(size=(10, 8, 200))], 2)
    given = dict(rate=RATE, windows=((0, 0),), alphas=[2.0], folds=5)
    result = encode_timeresolved(wide, Y, components=None, **given)
    flat = wide.reshape(80, -1) - wide.reshape(80, -1).mean(0)
    peer = nested_ridge_features([flat], Y.reshape(80, 2), np.repeat(result["folds"], 8), [2.0])
    np.testing.assert_allclose(result["r"], peer["r"], atol=1e-6)


def test_times_without_sound_count_as_the_mean_activation():
    X, _, Y = example()
    gap = X.copy()
    gap[:, 20:] = np.nan
    filled = X.copy()
    filled[:, 20:] = X[:, :20].reshape(-1, 4).mean(0)
    given = dict(rate=RATE, windows=((0, 0.2),), alphas=[1.0])
    np.testing.assert_allclose(
        encode_timeresolved(gap, Y, **given)["r"], encode_timeresolved(filled, Y, **given)["r"]
    )


def test_a_constant_electrode_has_nan_and_torch_gives_torch():
    X, _, Y = example()
    Y[..., 1] = 0.1
    result = encode_timeresolved(torch.as_tensor(X), torch.as_tensor(Y), rate=RATE)
    assert isinstance(result["r"], torch.Tensor) and result["r"][0] > 0.9
    for name in ("r", "best_window_r", "layer_r", "latency_r", "r_time"):
        assert torch.isnan(result[name][..., 1]).all()
    np.testing.assert_allclose(result["prediction"][..., 1], 0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(Y=np.ones((20, 30))), "no time axis"),
        (dict(layers=np.ones((20, 29, 3))), "resample it"),
        (dict(layers=np.ones((19, 30, 3))), "19 stimuli and Y has 20"),
        (dict(windows=((-0.1, 0.2),)), "not causal"),
        (dict(windows=((0, 2.0),)), r"further back than the 1\.5 s"),
        (dict(alphas=[0.0]), "positive"),
        (dict(folds=2), "at least 3 folds"),
        (dict(Y=np.full((20, 30, 2), np.nan)), "first is neuroid 0"),
    ],
)
def test_bad_input_is_one_sentence(change, message):
    X, _, Y = example()
    given = dict(layers=X, Y=Y, rate=RATE) | change
    with pytest.raises(ValueError, match=message):
        encode_timeresolved(given.pop("layers"), given.pop("Y"), **given)


def test_integers_are_no_activations():
    with pytest.raises(TypeError, match="x holds int64 values"):
        encode_timeresolved({"x": np.ones((20, 30, 3), int)}, np.ones((20, 30, 2)), rate=RATE)


def test_resamples_are_the_metric_on_these_stimuli_and_all_stimuli_the_score_itself():
    X, other, Y = example()
    folds = np.arange(20) % 4
    half = np.flatnonzero(np.arange(20) // 4 % 2 == 0)
    rest = np.setdiff1d(np.arange(20), half)
    rows = [np.append(half, -1), rest, np.arange(20), rest]
    windows = ((0, 0), (0.05, 0.2))
    given = dict(rate=RATE, windows=windows, components=None, alphas=[0.1, 10.0, 1000.0])
    result = encode_timeresolved({"o": other, "x": X}, Y, folds=folds, rows=rows, **given)
    assert result["resample_r"].shape == (2, 4, 2)
    np.testing.assert_allclose(result["resample_r"][:, 2], result["best_window_r"], atol=1e-12)
    # What stands before the onset is the mean over all stimuli, not over the half.
    centred = [Z - Z.mean((0, 1)) for Z in (other, X)]
    for k, some in ((0, half), (1, rest)):
        sources = [
            rows_of(torch.as_tensor(Z[some]), range(a, b))
            for Z in centred
            for a, b in ((0, 1), (1, 5))
        ]
        y, fold = Y[some].reshape(-1, 2), np.repeat(folds[some], 30)
        for layer in range(2):
            two = sources[2 * layer : 2 * layer + 2]
            peer = nested_ridge_features(
                two, y, fold, [0.1, 10.0, 1000.0], search_dtype=torch.float64
            )
            np.testing.assert_allclose(result["resample_r"][layer, k], peer["r"], atol=1e-7)
    # The other half from a difference of sums is that half from its own.
    np.testing.assert_allclose(result["resample_r"][:, 1], result["resample_r"][:, 3], atol=1e-9)


@pytest.mark.parametrize(("rows", "message"), [([[0, 20]], "row 20 of 20"), ([[0]], "no stimulus")])
def test_bad_resamples_are_one_sentence(rows, message):
    X, _, Y = example()
    with pytest.raises(ValueError, match=message):
        encode_timeresolved(X, Y, rate=RATE, rows=rows, alphas=[1.0])
