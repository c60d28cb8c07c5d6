"""What workers were handed: tasks, and what many of them need, done or given again where lost."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable)
# How often a task is handed in again because what it needs was lost.
AGAIN = 20


class KilledError(OSError):
    """A task took every worker with it that tried it."""


class GoneError(ConnectionError):
    """There is no cluster any more, or nobody in it who works."""


class Held:
    """What many tasks need, kept by workers; here to be given anew when those have gone."""

    def __init__(self, workers: Any, value: Any, *, hash: bool = False):
        self._workers, self._value, self._hash = workers, value, hash
        self._future: Any = None

    def future(self) -> Any:
        """Return what stands for it in a task."""
        while self._future is None:
            self._workers.ready()
            # A worker may go, or hang, while it is given to it.
            with contextlib.suppress(OSError, TimeoutError, CancelledError):
                self._future = self._workers.give(self._value, hash=self._hash)
        return self._future

    def forget_if_lost(self) -> None:
        """Give it again with the next task, if no worker has it any more."""
        if self._future is None:
            return
        there: Any = {}
        with contextlib.suppress(OSError, TimeoutError, CancelledError):
            there = self._workers.client.who_has([self._future])
        if self._future.status != "finished" or not any(there.values()):
            self._future = None


class Task:
    """A task that workers were handed, and are handed again where they have gone.

    It is `called` what it does and to which step, as dask's dashboard and logs then say.
    """

    def __init__(
        self,
        workers: Any,
        function: Callable,
        given: Sequence[Any],
        named: dict[str, Any],
        *,
        called: str = "",
    ):
        self._workers, self._function = workers, function
        self.called = called or function.__name__
        self._given, self._named = given, named
        self._again, self._killed = 0, False
        self._future = self._submitted()

    def result(self) -> Any:
        """Wait for the result, or raise what the function raised.

        Raises
        ------
        KilledError
            If all workers that tried it died.
        GoneError
            If the cluster has gone, or there was no worker for as long as one is patient.
        """
        from dask.distributed import KilledWorker
        from distributed.comm import CommClosedError

        while True:
            # What is done may have raised a TimeoutError of its own.
            most = None if self._future.done() else self._workers.pause
            try:
                return self._future.result(timeout=most)
            except TimeoutError:
                if most is None:
                    raise
                self._workers.look()
            except KilledWorker as error:
                # It may have waited behind another that did it: a second time it is to blame.
                if self._killed:
                    raise KilledError(self._deadly(error)) from error
                self._killed = True
                self._hand_in_again(error)
            except (CancelledError, CommClosedError) as error:
                self._hand_in_again(error)

    def _deadly(self, error: Any) -> str:
        limit = getattr(error.last_worker, "memory_limit", 0)
        more = f"; it needed more than the {limit / 1e9:.1f} GB of a worker" if limit else ""
        return (
            f"the workers of {self._workers.where} died over one task ({self.called}) several "
            f"times, as they do where memory runs out{more}"
        )

    def _hand_in_again(self, error: BaseException) -> None:
        self._again += 1
        if self._again > AGAIN:
            raise GoneError(
                f"a task was lost {AGAIN} times by the workers of {self._workers.where} "
                f"({type(error).__name__}); what is done stays, and the same command goes on from "
                "there"
            ) from error
        self._workers.ready()
        for held in _held_in(self._given):
            held.forget_if_lost()
        self._future = self._submitted()

    def _submitted(self) -> Any:
        self._workers.check()
        given = [_as_future(each) for each in self._given]
        # Dask groups tasks by the words before the first number.
        key = f"{'-'.join(self.called.split())}-{uuid.uuid4().hex}"
        return self._workers.client.submit(self._function, *given, key=key, **self._named)


def _as_future(given: Any) -> Any:
    if isinstance(given, Held):
        return given.future()
    return [_as_future(each) for each in given] if type(given) is list else given


def _held_in(given: Any) -> Iterator[Held]:
    if isinstance(given, Held):
        yield given
    elif isinstance(given, (list, tuple)):
        for each in given:
            yield from _held_in(each)


def on_gpu(function: Function) -> Function:
    """Mark a function that runs networks: where workers have GPUs, a free one is waited for."""
    vars(function)["on_gpu"] = True
    return function
