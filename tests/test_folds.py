from __future__ import annotations

import numpy as np
import pytest

from dynamics.metrics import merge_small, stratified_folds


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


def test_small_categories_are_joined_until_there_are_as_many_as_folds():
    categories = np.repeat(["a", "b", "c", "d"], [10, 2, 3, 6])
    merged = merge_small(categories, 5)
    assert (merged[10:15] == "others").all() and (merged[categories == "d"] == "d").all()
    assert (merge_small(["a"] * 9 + ["b"] * 6 + ["c"], 5) == ["a"] * 9 + ["others"] * 7).all()
    np.testing.assert_array_equal(merge_small(["a"] * 5, 5), ["a"] * 5)
    counts = np.bincount(stratified_folds(merged, 5)[10:15], minlength=5)
    assert (counts == 1).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(categories=["a"] * 3, n_folds=5), "3 stimuli cannot be split"),
        (dict(categories=["a"] * 9, n_folds=5, groups=[0, 1, 2] * 3), "3 groups cannot"),
        (dict(categories=["a"] * 9, n_folds=1), "between 2"),
        (dict(categories=["a"] * 9, groups=[1, 2]), "9 categories and 2 groups"),
        (dict(categories=["a"] * 9 + ["b"] * 3), "category 'b' has 3 stimuli for 5 folds"),
    ],
)
def test_bad_input_is_one_sentence(arguments, message):
    with pytest.raises(ValueError, match=message):
        stratified_folds(**arguments)
