"""Predictions of single sounds that ridge regression keeps on request."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from dynamics import metrics
from dynamics.analysis import encoding
from dynamics.brains.targets import Target

N, V = 60, 4


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    layers = {name: rng.standard_normal((N, p)) for name, p in (("one", 8), ("two", 90))}
    Y = layers["two"] @ rng.standard_normal((90, V)) + rng.standard_normal((N, V))
    target = Target(np.arange(N), Y, np.arange(N) % 5, np.array(["s"] * V))
    return layers, target


def test_predictions_are_those_of_scikit_learn_on_the_same_folds(problem):
    layers, target = problem
    found = encoding.ridge(layers, target, alphas=[30.0], keep="predictions")
    axes, values = found["prediction"]
    assert axes == ("layer", "stimulus", "neuroid") and values.dtype == np.float32
    for mine, X in zip(values, layers.values()):
        expected = cross_val_predict(
            Ridge(alpha=30.0), X, target.response, cv=PredefinedSplit(target.folds)
        )
        # single precision of numbers up to 30
        np.testing.assert_allclose(mine, expected, atol=1e-5)


def test_each_neuroid_has_the_penalty_of_its_score_in_each_fold(problem):
    layers, target = problem
    found = encoding.ridge(layers, target, keep="predictions")
    values = found["prediction"][1]
    for number, (name, X) in enumerate(layers.items()):
        alone = metrics.encode({name: X}, Y=target.response, folds=target.folds)
        for fold in range(5):
            test = target.folds == fold
            model = Ridge(alpha=alone["alpha"][fold]).fit(X[~test], target.response[~test])
            expected = model.predict(X[test])
            np.testing.assert_allclose(values[number][test], expected, atol=1e-4)
        # and the score is their correlation with the responses
        r = [np.corrcoef(values[number, :, v], target.response[:, v])[0, 1] for v in range(V)]
        np.testing.assert_allclose(found["score"][1][number], r, atol=1e-6)
    plain = encoding.ridge(layers, target)
    assert "prediction" not in plain
    np.testing.assert_array_equal(plain["score"][1], found["score"][1])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"keep": "weights"}, "keep is 'weights': there are 'predictions' and 'folds' to keep"),
        ({"keep": "predictions", "protocol": "pepino"}, "default protocol, not of 'pepino'"),
    ],
)
def test_what_cannot_be_kept_is_one_sentence(problem, given, said):
    with pytest.raises(ValueError, match=said):
        encoding.ridge(*problem, **given)


def test_of_responses_with_gaps_none_are_kept(problem):
    layers, target = problem
    target.response[0, 0] = np.nan
    with pytest.raises(ValueError, match="responses without gaps"):
        encoding.ridge(layers, target, keep="predictions", missing="mask")
