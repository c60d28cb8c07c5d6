"""A stand-in for a dask client, for tests that are not about processes: nothing to start."""

from __future__ import annotations

from types import SimpleNamespace


class Here:
    """Does in this process what is handed in, and keeps account of it."""

    def __init__(self):
        self.asked, self.called = [], []

    def submit(self, function, *arguments, called, **named):
        self.asked.append((function, arguments))
        self.called.append(called)
        return SimpleNamespace(result=lambda: function(*arguments, **named))

    def gather(self, found):
        return [each.result() for each in found]

    def scatter(self, value, hash):
        return value

    def must_hold(self, count, what, cure):
        self.least = count, what

    def ncores(self):
        return {"here": 1}
