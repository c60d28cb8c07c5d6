from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from dynamics import brains
from dynamics.metrics import noise_ceiling, rdm, rdm_noise_ceiling


def test_reliability_recovers_that_of_a_simulation():
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(4000, 3))
    Y = signal[..., None] + np.array([0.5, 1, 2])[:, None] * rng.normal(size=(4000, 3, 4))
    truth = 1 / (1 + np.array([0.25, 1, 4]) / 4)
    result = noise_ceiling(Y)
    np.testing.assert_allclose(result["reliability"], truth, atol=0.03)
    with_mean = [np.corrcoef(signal[:, j], Y.mean(2)[:, j])[0, 1] for j in range(3)]
    np.testing.assert_allclose(result["ceiling"], with_mean, atol=0.02)


def test_pure_noise_has_no_ceiling_and_a_constant_neuroid_nan():
    Y = np.random.default_rng(0).normal(size=(3000, 2, 3))
    Y[:, 1] = 4
    result = noise_ceiling(Y)
    assert result["ceiling"][0] < 0.25
    assert np.isnan(result["ceiling"][1])


@pytest.mark.parametrize("shape", [(9, 3), (9, 3, 1)])
def test_no_repetitions_is_one_sentence(shape):
    with pytest.raises(ValueError, match="needs repetitions"):
        noise_ceiling(np.ones(shape))


def subjects(n_subjects=6):
    rng = np.random.default_rng(0)
    common = rng.normal(size=(20, 30))
    return np.stack([rdm(common + rng.normal(size=(20, 30))) for _ in range(n_subjects)])


@pytest.mark.parametrize(
    ("compare", "method"),
    [("cosine", "cosine"), ("pearson", "corr"), ("spearman", "spearman"), ("kendall", "tau-a")],
)
def test_rdm_ceiling_agrees_with_rsatoolbox(compare, method):
    rsatoolbox = pytest.importorskip("rsatoolbox")
    D = subjects()
    theirs = rsatoolbox.rdm.RDMs(D[:, *np.triu_indices(20, 1)])
    lower, upper = rsatoolbox.inference.boot_noise_ceiling(theirs, method=method)
    ours = rdm_noise_ceiling(D, compare=compare)
    assert ours["upper"] == pytest.approx(upper, abs=1e-6)
    assert ours["lower"] == pytest.approx(lower, abs=1e-6)
    assert ours["lower"] < ours["upper"]


def test_one_subject_is_one_sentence():
    with pytest.raises(ValueError, match="at least 2 RDMs"):
        rdm_noise_ceiling(subjects(1))


def test_unequal_numbers_of_repetitions_are_stepped_up_to_what_the_mean_has():
    rng = np.random.default_rng(0)
    signal, noise = rng.normal(size=(20000, 1)), np.array([0.7, 1.5])
    Y = signal[..., None] + noise[:, None] * rng.normal(size=(20000, 2, 4))
    Y[::2, :, 2:] = np.nan  # two repetitions of every other stimulus, four of the others
    found = noise_ceiling(Y, missing="mask")
    with_mean = [np.corrcoef(signal[:, 0], np.nanmean(Y, 2)[:, j])[0, 1] for j in range(2)]
    # Four standard errors of correlations of 20,000 stimuli; 3 in place of 8/3 is .012 off.
    np.testing.assert_allclose(found["ceiling"], with_mean, atol=0.006)


def test_a_repetition_that_says_nothing_is_left_out():
    Y = np.random.default_rng(1).normal(size=(50, 4, 1)) + np.random.default_rng(2).normal(
        size=(50, 4, 3)
    )
    alone = noise_ceiling(Y[:, :, :2])
    Y[:, 0, 2] = np.nan
    Y[:, 1, 2] = 7.0
    Y[:, 2, 1:] = np.nan
    found = noise_ceiling(Y, missing="mask")
    for name in found:
        np.testing.assert_allclose(found[name][:2], alone[name][:2])
    assert np.isnan(found["ceiling"][2]) and np.isfinite(found["ceiling"][3])
    np.testing.assert_allclose(found["ceiling"][3:], noise_ceiling(Y[:, 3:])["ceiling"])


def test_a_reliability_that_is_not_positive_is_no_ceiling_anywhere():
    column = np.random.default_rng(0).normal(size=30)
    Y = np.stack([column, -0.5 * column + np.random.default_rng(1).normal(size=30)], -1)[:, None]
    found = noise_ceiling(Y)
    assert found["reliability"][0] < 0 and np.isnan(found["ceiling"][0])
    data = xr.Dataset({"response": (("stimulus", "neuroid", "repetition"), Y)})
    assert np.isnan(brains.ceiling(data)[0])
