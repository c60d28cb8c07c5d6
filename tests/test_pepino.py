from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from dynamics.metrics import encode

ALPHAS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 50.0)


def score(X, y, folds, alpha):
    """Squared correlation of pooled out-of-fold predictions, 0 where it is negative."""
    pooled = np.zeros(len(y))
    for f in np.unique(folds):
        model = Ridge(alpha, solver="svd").fit(X[folds != f], y[folds != f])
        pooled[folds == f] = model.predict(X[folds == f])
    return max(np.corrcoef(pooled, y)[0, 1], 0.0) ** 2


def one_neuroid(layers, y, folds):
    """Layer, alpha of every outer fold and the score, one scikit-learn fit after the other."""
    prediction, chosen = np.zeros(len(y)), []
    for f in np.unique(folds):
        inside = folds != f
        tried = {
            (layer, alpha): score(X[inside], y[inside], folds[inside], alpha)
            for alpha in ALPHAS
            for layer, X in enumerate(layers)
        }
        low, high = min(ALPHAS), max(ALPHAS)
        while True:
            layer, alpha = max(tried, key=tried.get)
            if alpha not in (low, high):
                break
            alpha = alpha / 2 if alpha == low else 2 * alpha
            low, high = min(low, alpha), max(high, alpha)
            tried[layer, alpha] = score(layers[layer][inside], y[inside], folds[inside], alpha)
        model = Ridge(alpha, solver="svd").fit(layers[layer][inside], y[inside])
        prediction[~inside] = model.predict(layers[layer][~inside])
        chosen.append((layer, alpha))
    return chosen, max(np.corrcoef(prediction, y)[0, 1], 0.0) ** 2


# Training sets have 30 stimuli, inner ones 20. The scale decides how far alpha has to be doubled.
@pytest.mark.parametrize(("p", "scale"), [(4, 1.0), (20, 30.0), (30, 0.1), (70, 30.0)])
def test_search_is_that_of_one_fit_after_the_other(p, scale):
    rng = np.random.default_rng(p)
    layers = [scale * rng.normal(size=(40, p)) + 2 for _ in range(2)]
    layers[0][:, 1] = 5.0
    layers[1][7] = layers[1][8]
    Y = layers[0][:, :2] / scale + layers[1][:, 1:3] / scale + rng.normal(size=(40, 2))
    folds = np.arange(40) % 4
    found = encode(dict(zip("ab", layers)), Y, protocol="pepino", folds=folds)
    for j, y in enumerate(Y.T):
        chosen, r2 = one_neuroid(layers, y, folds)
        assert [layer for layer, _ in chosen] == found["layer"][:, j].tolist()
        # Without shrinkage all alphas score the same, and rounding decides when halving ends.
        nothing = 1e-6 * scale**2
        expected = np.maximum([alpha for _, alpha in chosen], nothing)
        np.testing.assert_allclose(np.maximum(found["alpha"][:, j], nothing), expected)
        assert found["r2"][j] == pytest.approx(r2, abs=1e-7)
