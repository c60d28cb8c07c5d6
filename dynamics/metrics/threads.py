"""Independent pieces of work on the cores of one machine."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch

from dynamics.lookahead import in_threads

Piece = TypeVar("Piece")

# Each piece under way holds memory of its own.
_MOST = 8


def side_by_side(function: Callable[[Any], Piece], items: Sequence) -> Iterator[Piece]:
    """Call a function of small torch products on every item, one a thread of torch.

    Products of a few hundred rows gain nothing from several threads each, so every item gets a
    thread of its own that computes alone. Results do not depend on their number. With one thread,
    as in a worker of a cluster, this is `map`. The caller's number of threads is 1 until the last
    result is taken or the iterator is closed, and what it was from then on.

    Parameters
    ----------
    function : callable
        Of one item; must not change anything that calls share.
    items : sequence
        What it is called on.

    Yields
    ------
    Piece
        Results in the order of the items; no more are under way than there are threads, and one
        more may wait.
    """
    before = torch.get_num_threads()
    threads = min(before, len(items), _MOST)
    if threads < 2:
        yield from map(function, items)
        return
    around = contextvars.copy_context()  # with what is shared

    def within(item: Any) -> Piece:
        return around.copy().run(function, item)

    # The setting counts for the thread that makes it and for threads that start later.
    torch.set_num_threads(1)
    try:
        alone = {"initializer": torch.set_num_threads, "initargs": (1,)}
        for _, future in in_threads(within, items, window=threads + 1, threads=threads, **alone):
            yield future.result()
    finally:
        torch.set_num_threads(before)
