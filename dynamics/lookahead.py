"""Work that is begun before it is needed: in order, and never more than a stated number of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any, TypeVar

Item = TypeVar("Item")
Future = TypeVar("Future")


def in_window(
    submit: Callable[[Item], Future], items: Iterable[Item], window: int | Callable[[], int]
) -> Iterator[tuple[Item, Future]]:
    """Submit items a few at a time, and give them back in their order.

    Parameters
    ----------
    submit : callable
        Takes an item and returns its future; nothing is asked of that here.
    items : iterable
        Gone through only as far as the window reaches.
    window : int or callable
        How many are under way at most, the one that was given back last included; a callable is
        asked again each time.

    Yields
    ------
    item, future
        In the order of the items. A fault is raised where the future is asked for its result.
    """
    waiting: deque[tuple[Item, Future]] = deque()
    remaining = iter(items)
    while True:
        most = window() if callable(window) else window
        while len(waiting) < most:
            try:
                item = next(remaining)
            except StopIteration:
                break
            waiting.append((item, submit(item)))
        if not waiting:
            return
        yield waiting.popleft()


def in_threads(
    function: Callable[[Item], Any],
    items: Iterable[Item],
    *,
    window: int,
    threads: int = 1,
    **options: Any,
) -> Generator[tuple[Item, Any]]:
    """Call a function on items in threads of its own, as `in_window`.

    Parameters
    ----------
    function : callable
        Of one item; with one thread it may change what its calls share.
    items, window
        As for `in_window`.
    threads : int
        How many calls run at a time.
    **options
        For `concurrent.futures.ThreadPoolExecutor`.

    Yields
    ------
    item, future
        As from `in_window`. Whoever stops early waits for the calls under way; no other begins,
        and no thread is left.
    """
    pool = ThreadPoolExecutor(threads, **options)
    try:
        yield from in_window(lambda item: pool.submit(function, item), items, window)
    finally:
        pool.shutdown(cancel_futures=True)


def one_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Go through what takes time to make, while a thread makes the next of it.

    Parameters
    ----------
    items : iterator
        Of anything but None; used in one thread at a time.

    Yields
    ------
    object
        The items, in their order.
    """
    for _, future in in_threads(lambda _: next(items, None), repeat(None), window=2):
        item = future.result()
        if item is None:
            return
        yield item
        del item, future
