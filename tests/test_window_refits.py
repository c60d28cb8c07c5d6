"""Scores over time on halves: sums of products over delays, windows and penalties that are kept."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from test_continuous import RATE, made, rows_of

from dynamics import analysis, metrics
from dynamics.metrics.blocks import make_split
from dynamics.metrics.plans import Plan
from dynamics.metrics.sufficient_statistics import Moments
from dynamics.metrics.window_refits import of_lags


@pytest.mark.parametrize("lead", [0, 2, 9])
def test_products_over_delays_follow_from_those_with_the_first(lead):
    rng, lengths = np.random.default_rng(0), [60, 75, 50]
    split = make_split(lengths, rate=5.0, longest=1.0, block=4.0, guard=0.4, folds=3)
    kept = torch.as_tensor(rng.random(sum(lengths)) > 0.1)
    plan = Plan.of(split, kept, torch.device("cpu"))
    scales = torch.tensor([1e6, 1.0, 1e-3], dtype=torch.float64)
    X = [torch.as_tensor(rng.standard_normal((lead + t, 3))) * scales for t in lengths]
    y = torch.as_tensor(rng.standard_normal((sum(lengths), 2)))
    some = torch.as_tensor(rng.random(sum(lengths)) > 0.2) & (plan.part >= 0)
    found = of_lags(plan, X, y, range(1, 6), lead, some)
    plain = Moments.of(plan.pieces(X, y, range(1, 6), lead, some))
    for name in ("n", "x", "y", "yy", "xy"):
        torch.testing.assert_close(getattr(found, name), getattr(plain, name), rtol=0, atol=0)
    size = torch.diagonal(plain.xx, dim1=1, dim2=2).sqrt()
    # To rounding of the two features of each product, however small beside others they are.
    assert float(((found.xx - plain.xx) / size[:, :, None] / size[:, None]).abs().max()) < 1e-14


def test_halves_keep_the_choices_of_all_and_fit_anew():
    X, Y = made((50, 45, 55, 40, 52, 47, 61, 38), v=5, noise=6.0)
    folds = np.array([0, 1, 2, 0, 1, 2, 0, 1])
    half = np.array([0, 1, 2, 4])
    found = metrics.encode_continuous(
        {"a": X}, Y, folds=folds, rows=[np.arange(8), half, np.array([3, 5, 6, 7])],
        rate=RATE, windows=((0.1, 0.1), (0.1, 0.3)), alphas=np.logspace(0, 3, 7), components=None,
        refits="kept",
    )  # fmt: skip
    assert len(np.unique(found["window"])) == 2 and len(np.unique(found["alpha"])) > 2
    # The same sums in another order, and Cholesky factors in the place of eigenvectors.
    np.testing.assert_allclose(found["resample_r"][:, 0], found["best_window_r"], atol=1e-10)
    delays = (range(1, 2), range(1, 4))
    # The mean activation that stands in is that of all stimuli.
    features = [rows_of(X, span) for span in delays]
    centred = [y - y.mean(0) for y in Y]
    for number, rows in ((1, half), (2, np.array([3, 5, 6, 7]))):
        for j in range(5):
            predictions = []
            for f in range(3):
                inside, test = rows[folds[rows] != f], rows[folds[rows] == f]
                F = features[found["window"][f, j]]
                model = Ridge(found["alpha"][f, j]).fit(
                    np.concatenate([F[s] for s in inside]),
                    np.concatenate([centred[s][:, j] for s in inside]),
                )
                predictions += [np.stack([model.predict(F[s]), centred[s][:, j]], 1) for s in test]
            expected = np.corrcoef(np.concatenate(predictions).T)[0, 1]
            assert found["resample_r"][0, number, j] == pytest.approx(expected, abs=1e-9)


def test_penalties_below_what_a_covariance_holds_are_fitted_as_on_all():
    X, Y = made()
    X = [x * [1e7, 1.0, 1.0, 1.0] for x in X]
    given = {"rate": RATE, "windows": ((0, 0.3),), "alphas": [1e-3], "components": None}
    found = metrics.encode_continuous(
        {"a": X}, Y, folds=3, rows=[np.arange(6)], refits="kept", **given
    )
    np.testing.assert_allclose(found["resample_r"][:, 0], found["best_window_r"], atol=1e-7)
    with pytest.raises(ValueError, match="there are no refits 'some': use anew or kept"):
        metrics.encode_continuous({"a": X}, Y, folds=3, refits="some", **given)


def test_results_whose_halves_kept_their_choices_are_not_mixed_with_older_ones():
    def version(**arguments):
        return analysis.find("encode_continuous", arguments).version

    assert version() == "halves keep choices"
    assert not version(refits="anew") and not version(protocol="lebel") and not version(resamples=0)
