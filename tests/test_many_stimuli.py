"""Spaces of many stimuli, compared layer by layer, against the way of few stimuli."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dynamics import analysis, metrics
from dynamics.analysis import many_stimuli, resampled, sizes
from dynamics.brains.targets import Target
from dynamics.config import Choice
from dynamics.metrics import factorisation, ridge, spaces_by_features
from dynamics.metrics import many_stimuli as by_blocks
from dynamics.metrics.subsets import half_rows

N = 60
UPPER = np.triu_indices(N, 1)


def data(ties: bool = False) -> tuple[dict[str, np.ndarray], Target]:
    rng = np.random.default_rng(0)
    common = rng.standard_normal((N, 12))
    layers = {}
    for i in range(3):
        noise = i * rng.standard_normal(8 + 60 * i)
        layers[f"layer{i}"] = common @ rng.standard_normal((12, 8 + 60 * i)) + noise
    Y = common[:, :6] @ rng.standard_normal((6, 12)) + rng.standard_normal((N, 12))
    if ties:
        Y, layers["layer0"] = np.round(Y), np.round(layers["layer0"] / 3)
    repeated = Y[:, :, None] + 0.3 * rng.standard_normal((N, 12, 2)) * (not ties)
    subjects = np.array(["a", "b", "c"])[np.arange(12) % 3]
    return layers, Target(np.arange(N), repeated, np.arange(N) % 5, subjects)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(by_blocks, "_BLOCK", 500)
    monkeypatch.setattr(by_blocks, "_COLUMNS", 5)
    monkeypatch.setattr(spaces_by_features, "_BLOCK", 500)
    monkeypatch.setattr(many_stimuli, "HELD", 2 * 4 * len(UPPER[0]))


def both_ways(monkeypatch, name, ties=False, **arguments):
    layers, target = data(ties)
    halves = half_rows(target.folds, 4)
    orders = metrics.permutations(N, 3)
    given = {"halves": halves, "orders": orders, **arguments}
    few = analysis.METHODS[name](layers, target, **given)
    monkeypatch.setattr(many_stimuli, "MANY", 10)
    assert many_stimuli.is_many(target)
    return few, analysis.METHODS[name](layers, target, **given)


def agree(few, many) -> None:
    assert few.keys() == many.keys()
    for name, (dims, values) in few.items():
        assert many[name][0] == dims
        np.testing.assert_allclose(many[name][1], values, rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("distance", ["correlation", "cosine", "euclidean", "crossnobis"])
def test_rsa_by_blocks_is_that_of_whole_rdms(small_blocks, monkeypatch, distance):
    agree(*both_ways(monkeypatch, "rsa", distance=distance, by="subject"))


@pytest.mark.parametrize("compare", ["spearman", "pearson", "cosine"])
def test_equal_distances_share_ranks_by_blocks_too(small_blocks, monkeypatch, compare):
    agree(*both_ways(monkeypatch, "rsa", ties=True, distance="euclidean", zscore=False,
                     compare=compare))  # fmt: skip


@pytest.mark.parametrize("name", ["cka", "procrustes", "mutual_knn"])
def test_spaces_by_features_are_those_of_gram_matrices(small_blocks, monkeypatch, name):
    agree(*both_ways(monkeypatch, name))


def test_other_forms_agree_too(small_blocks, monkeypatch):
    agree(*both_ways(monkeypatch, "cka", debiased=False))
    few, many = both_ways(monkeypatch, "effective_dimensionality", halves=None, orders=None)
    agree(few, many)


@pytest.mark.parametrize("compare", ["spearman", "pearson", "cosine"])
def test_the_ceiling_over_subjects_is_that_of_whole_rdms(small_blocks, monkeypatch, compare):
    _, target = data()
    few = analysis.ceilings("rsa", target, {"compare": compare})
    monkeypatch.setattr(many_stimuli, "MANY", 10)
    many = analysis.ceilings("rsa", target, {"compare": compare})
    for name, (_, values, _) in few.items():
        assert many[name][1] == pytest.approx(values, abs=1e-12)


def test_entries_are_in_the_order_of_the_upper_triangle(small_blocks):
    X = data()[0]["layer1"]
    np.testing.assert_allclose(by_blocks.entries(X), metrics.rdm(X)[UPPER], atol=1e-12)


def test_a_constant_rdm_has_no_score_and_a_flat_space_no_neighbours(small_blocks):
    flat = by_blocks.side(torch.ones(len(UPPER[0]), dtype=torch.float64))
    other = by_blocks.side(by_blocks.entries(data()[0]["layer1"]))
    found = by_blocks.scores([flat], [other], N, [None, torch.arange(20)])
    assert found.isnan().all()
    alike = spaces_by_features.neighbours(np.ones((N, 3)), 4)
    assert np.isnan(spaces_by_features.shared_neighbours(alike, alike))


def test_a_stimulus_without_variance_is_named():
    X = data()[0]["layer1"].copy()
    X[7] = 0
    with pytest.raises(ValueError, match="stimulus 7 has nothing but zeros"):
        by_blocks.entries(X, distance="cosine", zscore=False)


@pytest.mark.parametrize("features", [12, 80])
def test_ridge_of_neuroids_in_parts_and_splits_one_by_one_is_that_of_all(monkeypatch, features):
    rng = np.random.default_rng(0)
    X = {f"layer{i}": rng.standard_normal((N, features)) for i in range(2)}
    Y = X["layer1"][:, :9] + rng.standard_normal((N, 9))
    folds = np.arange(N) % 5
    few = metrics.nested_ridge_features(X, Y, folds)
    made = []
    usual = factorisation.Factor.of
    monkeypatch.setattr(factorisation.Factor, "of", lambda *a: made.append(1) or usual(*a))
    monkeypatch.setattr(factorisation, "KEPT", 0)
    monkeypatch.setattr(ridge, "MANY", 10)
    monkeypatch.setattr(ridge, "_RESPONSES", 4 * N)
    many = metrics.nested_ridge_features(X, Y, folds)
    assert few.keys() == many.keys()
    for name, values in few.items():
        assert many[name].dtype == values.dtype
        np.testing.assert_allclose(many[name], values, rtol=1e-9, atol=1e-12, err_msg=name)
    # Three parts of neuroids, two layers, 15 splits; none twice.
    assert len(made) in (0, 3 * 2 * 15)


@pytest.mark.parametrize("features", [12, 80])
def test_halves_of_many_stimuli_score_as_those_of_few(monkeypatch, features):
    rng = np.random.default_rng(0)
    layers = {f"layer{i}": rng.standard_normal((N, features)) for i in range(2)}
    Y = layers["layer1"][:, :9] + rng.standard_normal((N, 9))
    target = Target(np.arange(N), Y, np.arange(N) % 5, np.full(9, "a"))
    given = {"halves": half_rows(target.folds, 4)}
    few = analysis.METHODS["ridge"](layers, target, **given)
    monkeypatch.setattr(resampled, "MANY_STIMULI", 10)
    many = analysis.METHODS["ridge"](layers, target, **given)
    for name, (_, values) in few.items():
        # A penalty may be another one where two are as good but for rounding.
        off = np.abs(many[name][1] - values)
        assert (off <= 2e-5).mean() > 0.95 and off.max() < 0.01, name


class Small:
    def must_hold(self, count, what, cure):
        raise OSError(f"{what} takes {count:.0f} bytes: {cure}")


REFUSED = [
    ("rsa", {"compare": "kendall"}, 6 * (24 + 3)),
    ("rsa", {"geotopological": [0.1, 0.9]}, 6 * (24 + 3)),
    ("banded", {}, 24 + 15),
    ("ridge", {"protocol": "pepino"}, 24 + 15),
]


@pytest.mark.parametrize(("name", "arguments", "matrices"), REFUSED)
def test_what_goes_through_no_parts_is_said_beforehand(monkeypatch, name, arguments, matrices):
    _, target = data()
    pair = (Choice(name=name, arguments=arguments), "brain", target)
    sizes.check(Small(), [pair], 24)
    monkeypatch.setattr(many_stimuli, "MANY", 10)
    sizes.check(Small(), [(Choice(name=name), "brain", target)] * (name != "banded"), 24)
    with pytest.raises(OSError, match=f"60 stimuli in 24 layers.*takes {8 * matrices * N**2} b"):
        sizes.check(Small(), [pair], 24)
