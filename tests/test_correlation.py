"""One idea of what is constant, and one Pearson correlation, against NumPy."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch

import dynamics
from dynamics.metrics.correlation import (
    correlations,
    pearson,
    pearson_there,
    spearman_brown,
    standardise,
    varying,
)

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 5))


def test_correlations_are_numpys():
    Y = X + RNG.standard_normal(X.shape)
    expected = np.corrcoef(X.T, Y.T)[:5, 5:]
    x, y = torch.as_tensor(X), torch.as_tensor(Y)
    # 1e-14: rounding of 40 terms
    np.testing.assert_allclose(pearson(x, y), np.diag(expected), atol=1e-14)
    np.testing.assert_allclose(correlations(x.T, y.T), expected, atol=1e-14)
    Y[3:20, 1] = np.nan
    some = np.isfinite(Y[:, 1])
    found = pearson_there(x, torch.as_tensor(Y))
    np.testing.assert_allclose(found[1], np.corrcoef(X[some, 1], Y[some, 1])[0, 1], atol=1e-14)
    assert found[0] == pearson(x, y)[0]


def test_what_is_constant_gives_nothing_or_0():
    flat = torch.full((40, 1), 3.0).double()
    one = torch.as_tensor(X[:, :1])
    assert pearson(flat, one) == 0 and pearson(one, flat).isnan()
    assert correlations(flat.T, one.T).isnan()


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize(("size", "varies"), [(1e-13, False), (1e-11, True)])
def test_a_column_varies_beyond_rounding_of_its_largest_size(make, size, varies):
    steps = 1000 * np.stack([1 + size * X[:, 0], X[:, 1], np.zeros(40)], 1)
    gaps = steps.copy()
    gaps[::3] = np.nan
    for each in (steps, gaps):
        assert varying(make(each)).tolist() == [varies, True, False]


def test_columns_are_standardised_over_what_is_there():
    gaps = X.copy()
    gaps[4:9, 2], gaps[:, 4] = np.nan, np.where(X[:, 0] > 0, 7.0, np.nan)
    scaled, constant = standardise(torch.as_tensor(gaps))
    with np.errstate(invalid="ignore"):
        expected = (gaps - np.nanmean(gaps, 0)) / np.nanstd(gaps, 0)
    np.testing.assert_allclose(scaled[:, :4], expected[:, :4], atol=1e-13)
    assert constant.tolist() == [False] * 4 + [True]
    np.testing.assert_array_equal(scaled[:, 4], np.where(X[:, 0] > 0, 0.0, np.nan))


def test_two_repetitions_are_stepped_up():
    assert spearman_brown(torch.tensor(0.5), 2) == pytest.approx(2 / 3)
    assert spearman_brown(torch.tensor(0.5), 3) == pytest.approx(3 * 0.5 / (1 + 2 * 0.5))


def test_no_other_file_of_metrics_has_a_correlation_of_its_own():
    names = {"pearson", "standardise", "zscored", "varying", "spearman_brown", "clipped_square"}
    for path in (Path(dynamics.__file__).parent / "metrics").glob("*.py"):
        if path.stem not in ("correlation", "factorisation"):
            nodes = ast.walk(ast.parse(path.read_text()))
            made = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
            assert not made & names, path
