from __future__ import annotations

import numpy as np
import pytest

from dynamics.metrics import stratified_folds


def test_every_category_is_spread_evenly():
    categories = np.repeat(["a", "b", "c"], [20, 11, 5])
    folds = stratified_folds(categories, 5, seed=1)
    for label in "abc":
        counts = np.bincount(folds[categories == label], minlength=5)
        assert np.ptp(counts) <= 1
    assert np.ptp(np.bincount(folds)) <= 1


def test_groups_never_straddle():
    rng = np.random.default_rng(0)
    groups, categories = rng.integers(0, 25, 100), rng.integers(0, 3, 100)
    folds = stratified_folds(categories, 4, groups=groups)
    for group in np.unique(groups):
        assert len(np.unique(folds[groups == group])) == 1
    assert np.ptp(np.bincount(folds)) <= 6


def test_seed_decides():
    assert (stratified_folds(None, 3, 1, n=30) == stratified_folds(None, 3, 1, n=30)).all()
    assert (stratified_folds(None, 3, 1, n=30) != stratified_folds(None, 3, 2, n=30)).any()


def test_small_category_is_warned_about(caplog):
    stratified_folds(["a"] * 10 + ["b"] * 3, 5)
    assert "'b' has 3 stimuli for 5 folds" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(categories=["a"] * 3, n_folds=5), "3 stimuli cannot be split"),
        (dict(categories=["a"] * 9, n_folds=5, groups=[0, 1, 2] * 3), "3 groups cannot"),
        (dict(categories=["a"] * 9, n_folds=1), "between 2"),
        (dict(categories=["a"] * 9, groups=[1, 2]), "9 categories and 2 groups"),
    ],
)
def test_bad_input_is_one_sentence(arguments, message):
    with pytest.raises(ValueError, match=message):
        stratified_folds(**arguments)
