from __future__ import annotations

import natsound
import numpy as np
import pytest

from dynamics.metrics import encode
from dynamics.metrics.tuckute import ALPHAS, random_splits

PUBLISHED = {
    "onehot": [0.481, 0.192, 0.207, 0.552, 0.854, 0.600],
    "ecog": [0.776, 0.707, 0.592, 0.904, 0.955, 0.879],
}


@pytest.mark.parametrize("features", ["onehot", "ecog"])
def test_gives_the_published_code_s_numbers(data_root, features):
    sounds = natsound.load(data_root, order="number")
    result = encode(getattr(sounds, features), sounds.R, protocol="tuckute")
    # Medians over ten splits; ties of tiny alphas within rounding move single ones by .001.
    np.testing.assert_allclose(result["r2"], PUBLISHED[features], atol=2e-3)


def example(n=40, p=60):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p))
    signal = X[:, :3] @ np.diag([1, 2, 0]) + X[:, 3:6]
    return X, signal[..., None] + rng.normal(size=(n, 3, 3))


def by_leaving_each_out(X, y, train, test):
    """Ridge by singular values, alpha by the error of each stimulus when it is left out.

    The same as scikit-learn's `RidgeCV` where that holds its digits: its release 1.9 divides by
    what rounding leaves at the smallest of these alphas, and chooses them for that.
    """

    def predict(rows, of, alphas):
        middle, level = X[rows].mean(0), y[rows].mean()
        U, d, Vt = np.linalg.svd(X[rows] - middle, full_matrices=False)
        d, U, Vt = (part[..., d > 1e-10 * d[0]] for part in (d, U, Vt.T))
        shrunk = d / (d**2 + alphas[:, None]) * (U.T @ (y[rows] - level))
        return shrunk @ Vt.T @ (X[of] - middle).T + level

    errors = [
        (predict(np.delete(train, i), train[i : i + 1], ALPHAS)[:, 0] - y[train[i]]) ** 2
        for i in range(len(train))
    ]
    best = ALPHAS[np.mean(errors, 0).argmin()]
    return predict(train, test, np.array([best]))[0]


def test_noise_corrected_score_follows_the_recipe():
    X, Y = example()
    result = encode(X, Y, protocol="tuckute")
    for s, (train, test) in enumerate(random_splits(40)[:3]):
        for j in range(3):
            mean = Y[:, j].mean(1)
            r = max(np.corrcoef(by_leaving_each_out(X, mean, train, test), mean[test])[0, 1], 0)
            assert result["split_r"][0, s, j] == pytest.approx(r, abs=1e-6)
            single = [by_leaving_each_out(X, Y[:, j, k], train, test) for k in range(3)]
            pairs = [(0, 1), (1, 2), (0, 2)]
            responses = [np.corrcoef(Y[train, j, a], Y[train, j, b])[0, 1] for a, b in pairs]
            predicted = [np.corrcoef(single[a], single[b])[0, 1] for a, b in pairs]
            reliability = [
                max(3 * np.median(v) / (1 + 2 * np.median(v)), floor)
                for v, floor in ((responses, 0.182), (predicted, 0.183))
            ]
            expected = r**2 / np.prod(reliability)
            assert result["split_r2_corrected"][0, s, j] == pytest.approx(expected, abs=1e-5)


def test_layer_is_chosen_on_half_of_the_splits():
    X, Y = example()
    noise = np.random.default_rng(1).normal(size=X.shape)
    result = encode({"noise": noise, "signal": X}, Y.mean(2), protocol="tuckute")
    assert result["draw_layer"].shape == (10, 3)
    assert (result["draw_layer"] == 1).mean() > 0.9
    np.testing.assert_allclose(
        result["layer_r2"][1], encode(X, Y.mean(2), protocol="tuckute")["r2"]
    )


def test_given_folds_are_refused():
    X, Y = example()
    with pytest.raises(ValueError, match="draws its own splits"):
        encode(X, Y, protocol="tuckute", folds=5)
