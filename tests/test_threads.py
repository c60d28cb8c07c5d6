from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from dynamics.metrics import banded_ridge, encode
from dynamics.metrics.threads import side_by_side


@pytest.fixture(params=[1, 2, 5])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_come_in_the_order_of_the_items(threads):
    assert list(side_by_side(lambda i: i * i, range(20))) == [i * i for i in range(20)]
    assert list(side_by_side(lambda i: i, [])) == []


def test_every_item_computes_with_one_thread_and_the_callers_number_comes_back(threads):
    inside = list(side_by_side(lambda _: torch.get_num_threads(), range(6)))
    assert inside == [1] * 6
    assert torch.get_num_threads() == threads


def test_a_fault_is_raised_and_the_number_of_threads_comes_back(threads):
    def faulty(i):
        raise ValueError(f"item {i}")

    with pytest.raises(ValueError, match="item 0"):
        list(side_by_side(faulty, range(6)))
    assert torch.get_num_threads() == threads


def test_who_stops_early_has_the_number_of_threads_back(threads):
    results = side_by_side(lambda i: i, range(6))
    assert next(results) == 0
    results.close()
    assert torch.get_num_threads() == threads


def test_two_items_are_under_way_at_once_with_two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    meeting = threading.Barrier(2, timeout=30)
    try:
        assert sorted(side_by_side(lambda _: meeting.wait(), range(2))) == [0, 1]
    finally:
        torch.set_num_threads(before)


def test_encoding_is_bit_for_bit_the_same_with_any_number_of_threads():
    rng = np.random.default_rng(0)
    layers = {str(p): rng.normal(size=(60, p)) for p in (20, 50, 90)}
    Y = layers["50"][:, :1] + rng.normal(size=(60, 700)) * 3
    folds, found = np.arange(60) % 5, []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        one = encode(layers, Y, folds=folds)
        study = encode(layers, Y[:, :9], folds=folds, protocol="pepino")
        one |= {f"pepino {k}": v for k, v in study.items()}
        K = np.stack([X @ X.T for X in layers.values()])
        found.append(one | {f"banded {k}": v for k, v in
                            banded_ridge(K, Y[:, :9], folds, candidates=8).items()})  # fmt: skip
    torch.set_num_threads(before)
    for name, value in found[0].items():
        np.testing.assert_array_equal(value, found[1][name], err_msg=name)
