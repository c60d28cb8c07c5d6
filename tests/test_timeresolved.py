from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from dynamics.metrics import encode_timeresolved, resample_time

RATE = 20.0


def example(n=20, t=30, shift=3):
    rng = np.random.default_rng(0)
    X, other = rng.normal(size=(2, n, t, 4))
    Y = np.zeros((n, t, 2))
    Y[:, shift:] = X[:, :-shift, :2]
    return X, other, Y + 0.3 * rng.normal(size=Y.shape)


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
    np.testing.assert_allclose(slow[0, :, 0], [0.5, 2.5, 4.5, 6.5, 0])
    fast = resample_time(X, (0.005, 0.01), (0.0025, 0.005), 16)
    np.testing.assert_allclose(fast[0, :, 0], np.repeat(np.arange(8), 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(Y=np.ones((20, 30))), "no time axis"),
        (dict(layers=np.ones((20, 29, 3))), "resample it"),
        (dict(layers=np.ones((19, 30, 3))), "19 stimuli and Y has 20"),
        (dict(windows=((-0.1, 0.2),)), "not causal"),
    ],
)
def test_bad_input_is_one_sentence(change, message):
    X, _, Y = example()
    given = dict(layers=X, Y=Y, rate=RATE) | change
    with pytest.raises(ValueError, match=message):
        encode_timeresolved(given.pop("layers"), given.pop("Y"), **given)
