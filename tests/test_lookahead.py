"""What is begun ahead of its use: in order, a bounded number of it, and nothing left behind."""

import threading
import time

import pytest

from dynamics.lookahead import in_threads, in_window, one_ahead


class Submitted:
    """Takes items and keeps account of how many were asked for but not given back."""

    def __init__(self):
        self.items = []

    def __call__(self, item):
        self.items.append(item)
        return item * item


def test_items_come_in_order_and_never_more_than_the_window():
    submit = Submitted()
    found = []
    for item, future in in_window(submit, range(10), 3):
        # The one in use counts.
        assert len(submit.items) - len(found) <= 3
        found.append((item, future))
    assert found == [(i, i * i) for i in range(10)]


def test_an_endless_source_is_gone_through_only_as_far_as_the_window():
    submit = Submitted()

    def endless():
        number = 0
        while True:
            yield number
            number += 1

    coming = in_window(submit, endless(), 2)
    assert [next(coming)[0] for _ in range(3)] == [0, 1, 2]
    assert submit.items == [0, 1, 2, 3]


def test_a_window_may_grow_and_shrink():
    submit, sizes = Submitted(), iter([1, 4, 1, 1, 1, 1])
    seen = [len(submit.items) for _ in in_window(submit, range(5), lambda: next(sizes))]
    assert seen == [1, 5, 5, 5, 5]


def test_a_fault_is_raised_in_its_turn_and_no_thread_is_left():
    before = threading.active_count()

    def faulty(i):
        if i == 2:
            raise ValueError("the third")
        time.sleep(0.01 * (3 - i) if i < 3 else 0)
        return i

    done = []
    with pytest.raises(ValueError, match="the third"):
        for _, future in in_threads(faulty, range(20), window=5, threads=4):
            done.append(future.result())
    assert done == [0, 1]
    assert threading.active_count() == before


def test_who_stops_early_waits_for_what_is_under_way_and_begins_no_more():
    begun, release = [], threading.Event()

    def slow(i):
        begun.append(i)
        if i:
            release.wait(10)
        return i

    before = threading.active_count()
    coming = in_threads(slow, range(50), window=10)
    assert next(coming)[1].result() == 0
    threading.Timer(0.2, release.set).start()
    coming.close()
    assert begun in ([0], [0, 1])
    assert threading.active_count() <= before + 1  # the timer may be about to end
    with pytest.raises(StopIteration):
        next(coming)


def test_one_is_made_ahead_while_one_is_used_and_faults_keep_their_place():
    made = []

    def source():
        for i in range(4):
            made.append(i)
            yield i
        raise OSError("no more")

    found = []
    with pytest.raises(OSError, match="no more"):
        for item in one_ahead(source()):
            time.sleep(0.05)
            assert len(made) <= len(found) + 2
            found.append(item)
    assert found == [0, 1, 2, 3]


@pytest.mark.slow
def test_what_is_used_is_not_held_longer_than_it_is_used():
    import gc
    import weakref

    class Large:
        pass

    alive = []

    def source():
        for _ in range(5):
            item = Large()
            alive.append(weakref.ref(item))
            yield item
            del item

    for item in one_ahead(source()):
        del item
        gc.collect()
        # The one just let go of may wait for the next to be asked for, and one is ahead.
        assert sum(each() is not None for each in alive) <= 3


def test_nothing_gives_nothing():
    assert list(in_window(lambda i: i, [], 3)) == []
    assert list(one_ahead(iter([]))) == []
