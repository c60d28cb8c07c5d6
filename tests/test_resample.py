from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from dynamics.metrics import bootstrap_counts, compare_rdms, rdm, resampled_rsa


def rdms(ties):
    rng = np.random.default_rng(0)
    D, E = (np.stack([rdm(rng.normal(size=(15, 9))) for _ in range(k)]) for k in (3, 2))
    return (D.round(1), E.round(1)) if ties else (D, E)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("compare", ["spearman", "pearson", "cosine"])
def test_equals_the_comparison_of_resampled_rdms(ties, compare):
    D, E = rdms(ties)
    counts = bootstrap_counts(15, 6)
    result = resampled_rsa(D, E, counts, compare=compare)
    for b, count in enumerate(counts):
        drawn = np.repeat(np.arange(15), count)
        i, j = np.triu_indices(15, 1)
        different = drawn[i] != drawn[j]
        i, j = drawn[i[different]], drawn[j[different]]
        for k in range(3):
            for m in range(2):
                x, y = D[k][i, j], E[m][i, j]
                expected = {
                    "spearman": lambda x=x, y=y: spearmanr(x, y).statistic,
                    "pearson": lambda x=x, y=y: pearsonr(x, y).statistic,
                    "cosine": lambda x=x, y=y: x @ y / np.linalg.norm(x) / np.linalg.norm(y),
                }[compare]()
                assert result[b, k, m] == pytest.approx(expected, abs=1e-10)


def test_a_subsample_is_the_rsa_of_the_stimuli_left():
    D, E = rdms(False)
    keep = np.array([0, 2, 3, 5, 8, 9, 11, 14])
    counts = np.isin(np.arange(15), keep).astype(int)[None]
    expected = compare_rdms(D[:, keep][:, :, keep], E[:, keep][:, :, keep])
    np.testing.assert_allclose(resampled_rsa(D, E, counts)[0], expected, atol=1e-10)


def test_too_few_stimuli_left_is_nan_and_bad_input_one_sentence():
    D, E = rdms(False)
    lonely = np.zeros((1, 15), int)
    lonely[0, 3] = 15
    assert np.isnan(resampled_rsa(D, E, lonely)).all()
    with pytest.raises(ValueError, match="counts are of 14 stimuli"):
        resampled_rsa(D, E, lonely[:, 1:])
    with pytest.raises(ValueError, match="spearman, pearson, cosine"):
        resampled_rsa(D, E, lonely, compare="kendall")
