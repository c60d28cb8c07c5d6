"""The score of the best layer is not that of the luckiest, and the best run is among those told."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from dynamics.emergence.crossed import crossed, shown_lower
from dynamics.emergence.resampling import scheme

STIMULI, PAIRS = 80, 20
HALVES = scheme("halves", n=STIMULI, kept=40, resamples=2 * PAIRS)._replace(correlation=False)


def halves(rng, values):
    """Means of values (stimuli, ...) on complementary halves."""
    found = []
    for _ in range(PAIRS):
        order = rng.permutation(STIMULI)
        found += [values[order[:40]].mean(0), values[order[40:]].mean(0)]
    return np.array(found)


def holds(error, cloud):
    """Whether an error lies within limits of 95 %."""
    size = np.sqrt((HALVES.deviations(cloud) ** 2).sum() / PAIRS)
    return abs(error) <= stats.t.ppf(0.975, HALVES.freedom(2 * PAIRS)) * size


@pytest.mark.parametrize(("layers", "ahead"), [(10, 0.0), (10, 3.0), (2, 0.0)])
def test_the_score_of_the_chosen_layer_is_not_flattered_and_its_limits_hold(layers, ahead):
    """In standard errors of one layer; of the highest both fail where layers are alike."""
    rng = np.random.default_rng(layers)
    truth = np.zeros(layers)
    truth[1] = ahead
    off, highest, held, times = [], [], [], 400
    for _ in range(times):
        values = STIMULI**0.5 * rng.standard_normal((STIMULI, layers)) + truth
        mean, again = values.mean(0), halves(rng, values)
        found, best = crossed(mean[:, None], again[..., None]), mean.argmax()
        off.append(found.score[0] - truth @ found.support)
        highest.append(mean[best] - truth[best])
        held.append([holds(off[-1], found.again[:, 0]), holds(highest[-1], again[:, best])])
    hits, lucky = np.mean(held, axis=0)
    assert abs(np.mean(off)) < 3 / times**0.5 + 0.02
    assert hits > 0.95 - 3 * (0.05 * 0.95 / times) ** 0.5
    if layers == 10 and not ahead:
        assert np.mean(highest) > 1.3 and lucky < 0.9


def test_halves_choose_for_each_other_by_hand():
    score = np.array([[1.0, 2.0], [0.0, 2.5]])
    again = np.array([[[1.0, 3.0], [0.0, 2.4]], [[1.0, 1.0], [0.0, 2.6]]])
    found = crossed(score, again)
    # The first half has the first layer ahead (3.0 to 2.4), the second the second (2.6 to 1.0).
    assert found.support.tolist() == [0.5, 0.5]
    np.testing.assert_allclose(found.again, [[0.0, 2.4], [1.0, 1.0]])
    np.testing.assert_allclose(found.score, [0.5, 1.7])
    with pytest.raises(ValueError, match="3 resamples are no pairs"):
        crossed(score, again[[0, 1, 0]])
    with pytest.raises(ValueError, match="no layer has a score"):
        crossed(score * np.nan, again)


@pytest.mark.parametrize("ahead", [0.0, 3.0])
def test_the_best_run_is_among_those_that_are_not_shown_to_be_worse(ahead):
    rng, wrong, left, times = np.random.default_rng(3), 0, [], 60
    for _ in range(times):
        values = rng.standard_normal((STIMULI, 8)) + 2 * rng.standard_normal((STIMULI, 1))
        values[:, 0] += ahead / STIMULI**0.5
        cloud = xr.DataArray(halves(rng, values), dims=("resample", "run"), attrs=HALVES.attrs)
        p = shown_lower(values.mean(0), cloud)
        wrong += bool(p[0] <= 0.05) if ahead else bool((p <= 0.05).any())
        left.append(int((p > 0.05).sum()))
    assert wrong / times <= 0.05 + 3 * (0.05 * 0.95 / times) ** 0.5
    assert (np.mean(left) < 7.5) == (ahead > 0), "some are told to be worse, where one is better"
    assert shown_lower(np.ones(1), cloud[:, :1]).tolist() == [1.0]
