from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr

from dynamics.metrics import auditory_score, prediction_score, spatial_score, temporal_score


def test_spatial_score_correlates_best_layers_with_distances():
    rng = np.random.default_rng(0)
    scores, distances = rng.normal(size=(2, 5, 4)), np.array([0.0, 3.0, 1.0, 7.0])
    for found, table in zip(spatial_score(scores, distances), scores):
        assert found == pytest.approx(pearsonr(table.argmax(0), distances).statistic)
    hierarchy = np.eye(4)[:, [0, 2, 1, 3]]
    assert spatial_score(hierarchy, np.array([0.0, 2.0, 1.0, 3.0])) == pytest.approx(1)


def test_temporal_score_correlates_layers_with_their_best_latency():
    rng = np.random.default_rng(0)
    scores, latencies = rng.normal(size=(6, 9)), 0.04 * np.arange(9)
    expected = pearsonr(np.arange(6), latencies[scores.argmax(1)]).statistic
    assert temporal_score(scores, latencies) == pytest.approx(expected)
    assert temporal_score(np.eye(4), np.arange(4)) == pytest.approx(1)
    assert temporal_score(torch.eye(4).flip(0), torch.arange(4)).item() == pytest.approx(-1)


def test_what_is_unknown_is_left_out_and_no_spread_is_nan():
    scores = np.eye(5)
    scores[2] = np.nan
    assert temporal_score(scores, np.arange(5.0)) == pytest.approx(1)
    assert np.isnan(temporal_score(np.eye(4)[[1, 1, 1, 1]], np.arange(4.0)))
    assert np.isnan(spatial_score(np.eye(3)[:, [0, 0, 0]], np.arange(3.0)))
    scores[:] = np.nan
    assert np.isnan(temporal_score(scores, np.arange(5.0)))


def test_prediction_score_is_a_part_of_the_ceiling():
    found = prediction_score(np.array([[0.2, 0.3, 0.1]]), np.array([0.4, 0.6, 0.0]))
    np.testing.assert_allclose(found, [[0.5, 0.5, np.nan]])


def test_auditory_score_is_a_weighted_mean():
    areas = {"A1": 0.4, "R": 0.2, "S": 0.6, "TE": 0.0}
    assert auditory_score(areas, 0.7) == pytest.approx(0.5)
    assert auditory_score(areas, 0.7, weight=1) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spatial_score(np.eye(3), np.ones(2)), "2 distances for 3 regions"),
        (lambda: temporal_score(np.eye(3), np.ones(2)), "use time-resolved encoding"),
        (lambda: temporal_score(np.ones((3, 1)), np.ones(1)), "several latencies"),
        (lambda: prediction_score(np.ones(3), np.ones(2)), "2 ceilings for 3 electrodes"),
        (lambda: auditory_score({}, 0.5), "at least one area"),
        (lambda: auditory_score({"A1": 1.0}, 0.5, weight=2), "between 0 and 1"),
    ],
)
def test_bad_input_is_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()
