"""What workers were handed: tasks, and what many of them need, done or given again where lost."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, wait
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
        there: list[str] = []
        with contextlib.suppress(OSError, TimeoutError, CancelledError):
            there = self._workers.holders(self._future.key)
        if self._future.status != "finished" or not there:
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
        self._again, self._killed, self._deaths = 0, 0, 0
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
            try:
                return self._awaited()
            except KilledWorker as error:
                self._count(error.last_worker)
                self._hand_in_again(error)
            except (CancelledError, CommClosedError) as error:
                # As where what it was given has gone with the only worker that had it.
                self._count(None)
                self._hand_in_again(error)

    def _awaited(self) -> Any:
        """Wait for the result and for its way here, and look meanwhile whether anyone works.

        What is done is lost again where its worker goes before it is fetched.
        """
        loop = self._workers.client.loop.asyncio_loop
        waiting = asyncio.run_coroutine_threadsafe(_result_of(self._future), loop)
        try:
            while not wait([waiting], timeout=self._workers.pause).done:
                self._workers.look()
            return waiting.result()
        finally:
            waiting.cancel()

    def _count(self, last: Any) -> None:
        """Count the workers that went while they were at it; a KilledError where it took them.

        Dask also counts those at which it waited behind another task. What had begun, workers have
        told the scheduler.
        """
        found = self._workers.begun()
        mine = [each for each in found if each["key"] == self._future.key]
        self._deaths += len(mine)
        blamed = self._deaths >= self._workers.deaths
        if not mine or any(each["threads"] > 1 for each in mine):
            behind = not mine and any(each["worker"] == last.address for each in found if last)
            # Others ran beside it, or nobody knows: a second time it is to blame.
            self._killed += last is not None and not behind
            blamed = self._killed > 1
        if blamed:
            limit = getattr(last, "memory_limit", 0)
            more = f"; it needed more than the {limit / 1e9:.1f} GB of a worker" if limit else ""
            raise KilledError(
                f"{'several' if self._killed else self._deaths} workers of {self._workers.where} "
                f"died over one task ({self.called}), as they do where memory runs out{more}"
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
        told = (self._workers.topic, key, self._function)
        future = self._workers.client.submit(begun, *told, *given, key=key, **self._named)
        self._workers.allow(key, self._workers.deaths - self._deaths)
        return future


async def _result_of(future: Any) -> Any:
    return await future


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


def begun(topic: str, key: str, function: Callable, *given: Any, **named: Any) -> Any:
    """Call a function on a worker, which tells the scheduler so; what runs there.

    Parameters
    ----------
    topic : str
        Of the events of the scheduler, under which it is told.
    key : str
        Of the task.
    function : callable
        What is to be done.
    *given, **named
        For the function.

    Returns
    -------
    object
        What the function returns.
    """
    from dask.distributed import get_worker

    with contextlib.suppress(ValueError):  # not on a worker
        worker = get_worker()
        told = {"key": key, "worker": worker.address, "threads": worker.state.nthreads}
        worker.log_event(topic, told)
    return function(*given, **named)


def on_gpu(function: Function) -> Function:
    """Mark a function that runs networks: where workers have GPUs, a free one is waited for."""
    vars(function)["on_gpu"] = True
    return function
