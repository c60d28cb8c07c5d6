"""The workers of a cluster: what they are handed, and how long one waits where they go.

Workers come and go: batch systems stop them, memory runs out, machines are taken away. What was
under way on one is done on another, and what workers held for all is given to those that come. None
waits for ever: without a worker that could do something, it is said every half minute, and after
the patience that one has the command ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dynamics import compute, environment
from dynamics.compute import Compute
from dynamics.progress import size_of
from dynamics.submitted import AGAIN, GoneError, Held, Task

logger = logging.getLogger(__name__)

# Seconds that a scheduler has to answer, and to come back.
ANSWER = 10.0
# Seconds without a worker that can work, after which there will be none.
PATIENCE = 300.0
# Seconds between two looks at a cluster whose answer is waited for, and between two sentences.
_LOOK, _SAY = 1.0, 30.0
# Seconds in which a worker that does not hang is heard of.
_AWAKE = 6.0

GONE = (
    "the dask scheduler of {} has gone: start it again; what is done stays, and the same command "
    "goes on from there"
)


class Workers:
    """The workers of a cluster, as tasks and what all of them need are handed to them.

    Parameters
    ----------
    client : dask.distributed.Client
        A connection to the scheduler.
    where : str
        Its address, for sentences.
    patience : float
        Seconds without a worker that can work, after which it is given up.
    asked : Compute, optional
        What it was begun or found by.
    """

    def __init__(
        self, client: Any, where: str, patience: float = PATIENCE, asked: Compute | None = None
    ):
        self.client, self.where, self.patience = client, where, patience
        # Tasks for so many are under way though none has come: by what waits, some are asked for.
        self.expected = asked.maximum if asked and asked.is_batch else 0
        self._limits = [compute.memory_of(asked)] if asked and asked.is_batch else []
        self._gpus = asked.gpus_per_worker if asked else 0
        if self.expected and asked:
            self.patience = max(patience, asked.wait)
        self._wanted: Any = None
        self._threads: dict[str, int] = {}
        self._idle_since = self._said = 0.0
        self._heard: tuple[dict[str, float], float] = {}, 0.0
        self._awake: list[str] | None = None
        self.deaths = compute.DEATHS
        self.topic = f"dynamics-{getattr(client, 'id', '')}"
        # Deaths of workers that the scheduler has a task survive; None where that stays as it is.
        ours = asked is None or asked.is_batch
        self._allowed = compute.DEATHS - 1 if ours else None

    @property
    def pause(self) -> float:
        """Seconds between two looks."""
        return min(_LOOK, self.patience / 4)

    @property
    def scheduler(self) -> Any:
        """The scheduler, which has an `address`."""
        return self.client.scheduler

    def ncores(self) -> dict[str, int]:
        """Return the threads of every worker by its address; what it was where nobody says."""
        with contextlib.suppress(OSError, TimeoutError):
            self._threads = {name: worker["nthreads"] for name, worker in self._seen().items()}
        return self._threads

    def submit(self, function: Callable, *given: Any, called: str = "", **named: Any) -> Task:
        """Hand in a function with what it is given: values, or what `scatter` returned.

        It is `called` what it does in words, such as ``extract step 100``.
        """
        called = called or function.__name__
        if self._gpus and getattr(function, "on_gpu", False):
            named["resources"] = {"GPU": self._gpus}
        if self._wanted is not None:
            function, given = environment.in_place, (self._wanted, function, *given)
        return Task(self, function, given, named, called=called)

    def begun(self) -> list[dict[str, Any]]:
        """Return what was begun of late: `key` of a task, address and `threads` of the `worker`."""
        with contextlib.suppress(OSError, TimeoutError, LookupError):
            asked = {"topic": self.topic, "callback_timeout": ANSWER}
            return [told for _, told in self.client.sync(self._connected().events, **asked)]
        return []

    def allow(self, key: str, deaths: int) -> None:
        """Have a task be given up after it took so many workers with it, whatever is usual there.

        Parameters
        ----------
        key : str
            Of the task, which was handed in.
        deaths : int
            How many.
        """
        if self._allowed is None or deaths == self._allowed + 1:
            return
        start = self._allowed + 1 - deaths
        try:
            self.client.run_on_scheduler(_start_at(), key, start, callback_timeout=ANSWER)
        except Exception:  # whoever looks after a scheduler may not let it
            self._allowed = None

    def holders(self, key: str) -> list[str]:
        """Return the addresses of workers that have a result; an OSError where nobody says."""
        asked = self._connected().who_has
        return list(self.client.sync(asked, keys=[key], callback_timeout=ANSWER).get(key, ()))

    def gather(self, tasks: Sequence[Task]) -> list[Any]:
        """Return the results of tasks, in their order."""
        return [task.result() for task in tasks]

    def scatter(self, value: Any, *, hash: bool = False) -> Held:
        """Give the workers what many tasks need; it is given again to those that come later."""
        return Held(self, value, hash=hash)

    def must_hold(self, count: float, what: str, cure: str) -> None:
        """Refuse a task that needs more memory than any worker has.

        Parameters
        ----------
        count : float
            Bytes that it needs at least.
        what : str
            The task and what it holds, in words.
        cure : str
            What to do, beside giving workers more memory.

        Raises
        ------
        OSError
            With both numbers.
        """
        limits = self._limits
        with contextlib.suppress(OSError, TimeoutError):
            limits = [worker.get("memory_limit") or 0 for worker in self._seen().values()] or limits
        # None has come yet, or one has no limit.
        if limits and all(limits) and count > max(limits):
            raise OSError(
                f"{what} takes {size_of(count)} of memory at least, and a worker of {self.where} "
                f"has {size_of(max(limits))}: give workers more memory (fewer of them on one "
                f"machine: `workers`), or {cure}"
            )

    def prepare(self, places: Mapping[str, str]) -> None:
        """Have all workers load the modules that the sweep names, and look what they lack.

        Those that come later look before their first task; some may go meanwhile.

        Raises
        ------
        OSError
            If one lacks a version or a path, with its host.
        """
        for _ in range(AGAIN):
            with contextlib.suppress(OSError, TimeoutError):
                with_plugins(self.client)
                break
            self.ready()
        with contextlib.suppress(Exception):  # as in `allow`
            asked = self.client.run_on_scheduler(_allowed_failures(), callback_timeout=ANSWER)
            self._allowed = int(asked)
        self._wanted = environment.wanted(places)
        if lack := environment.sentence(self._answers()):
            raise OSError(lack)

    def _answers(self) -> list[Any]:
        """Ask every worker what it lacks; None of those that do not answer."""
        with contextlib.suppress(OSError, TimeoutError):
            names = list(self._seen())
            return list(self.client.sync(_asked, self.client, names, self._wanted))
        return []

    def ready(self) -> None:
        """Wait for a worker that can work.

        Raises
        ------
        GoneError
            If the scheduler has gone, or there is none for as long as one is patient.
        """
        while not self.look():
            time.sleep(self.pause)

    def check(self) -> None:
        """Raise a GoneError if the scheduler has gone for good."""
        if self.client.status not in ("running", "connecting", "newly-created"):
            raise GoneError(GONE.format(self.where))

    def look(self) -> bool:
        """Look whether anyone works, and say so where nobody does; raises as `ready` does."""
        self.check()
        reason = self._idle()
        now = time.monotonic()
        if not reason:
            self._idle_since = 0.0
            return True
        if not self._idle_since:
            self._idle_since, self._said = now, now
        if now - self._idle_since >= self.patience:
            raise GoneError(
                f"{reason} for {self.patience:.0f} s: start workers, or wait longer with "
                "`--patience`; what is done stays, and the same command goes on from there"
            )
        if now - self._said >= _SAY:
            self._said = now
            waited = f"{now - self._idle_since:.0f} of {self.patience:.0f} s"
            logger.warning("%s: waiting (%s, %s)", reason, waited, time.strftime("%H:%M:%S"))
        return False

    def _idle(self) -> str:
        """Say why nobody works; empty where somebody does."""
        try:
            found = self._seen()
        except (OSError, TimeoutError):
            return f"the dask scheduler of {self.where} has not answered"
        seen = found.values()
        if not seen:
            return f"there has been no dask worker at {self.where}"
        now, heard = time.monotonic(), {name: w["last_seen"] for name, w in found.items()}
        if heard != self._heard[0]:
            self._heard = heard, now
        if now - self._heard[1] > 3 * ANSWER:
            return f"the {len(seen)} dask workers at {self.where} have not been heard of"
        # One that is short of memory begins nothing, but may end what it is at.
        if not any(w["status"] == "running" or w["metrics"].get("executing") for w in seen):
            return f"the {len(seen)} dask workers at {self.where} have had no memory left"
        return ""

    def give(self, value: Any, *, hash: bool) -> Any:
        """Give a value to a worker; a TimeoutError where that hangs for as long as one waits."""
        most = min(self.patience, PATIENCE / 5) * (1 + sys.getsizeof(value, 0) // 2**30)
        given = {"hash": hash, "timeout": ANSWER, "workers": self._awake}
        try:
            return self.client.sync(_scattered, self.client, value, given, callback_timeout=most)
        except TimeoutError:
            before = self._seen()
            time.sleep(min(_AWAKE, self.patience))
            now = self._seen()
            self._awake = [
                name for name, w in now.items()
                if name not in before or w["last_seen"] != before[name]["last_seen"]
            ] or None  # fmt: skip
            raise

    def _seen(self) -> dict[str, dict[str, Any]]:
        """Return what the scheduler knows of its workers; an OSError where it does not answer."""
        asked = {"n_workers": -1, "callback_timeout": ANSWER}
        return dict(self.client.sync(self._connected().identity, **asked)["workers"])

    def _connected(self) -> Any:
        """Return the scheduler; an OSError where it is not there."""
        if self.client.scheduler is None or self.client.status != "running":
            raise OSError("not connected")
        return self.client.scheduler


def threads_of(workers: Any) -> int:
    """Return how many tasks workers run at a time, now or once they have come; 1 at least."""
    return max(1, getattr(workers, "expected", 0), sum(workers.ncores().values()))


def with_plugins(client: Any) -> None:
    """Have all workers, also those that come later, find and load the modules of the sweep."""
    from dask.distributed import WorkerPlugin

    from dynamics import plugins

    names, folders, own = plugins.loaded(), plugins.folders(), plugins.of_script()
    if not names and not folders and not own:
        return

    class Plugins(WorkerPlugin):
        name = "dynamics-plugins"

        def setup(self, worker: Any) -> None:
            from dynamics import plugins

            plugins.look_in(*folders)
            plugins.load(names)
            plugins.take(own)

    client.register_plugin(Plugins())


# Functions within functions travel by value: a scheduler need not have this package.
def _allowed_failures() -> Callable:
    def found(dask_scheduler: Any) -> int:
        return int(dask_scheduler.allowed_failures)

    return found


def _start_at() -> Callable:
    async def start(key: str, suspicious: int, dask_scheduler: Any) -> None:
        for _ in range(100):  # it may come later than this
            if key in dask_scheduler.tasks:
                dask_scheduler.tasks[key].suspicious += suspicious
                return
            await asyncio.sleep(0.02)

    return start


async def _scattered(client: Any, value: Any, given: dict[str, Any]) -> Any:
    return await client.scatter(value, asynchronous=True, **given)


async def _asked(client: Any, names: Sequence[str], wanted: Any) -> list[Any]:
    """Ask workers side by side what they lack, so that one which hangs holds up none."""

    async def one(name: str) -> Any:
        found = await client.run(
            environment.told, wanted, workers=[name], on_error="return", asynchronous=True
        )
        return found.get(name)

    each = (asyncio.wait_for(one(name), ANSWER) for name in names)
    found = await asyncio.gather(*each, return_exceptions=True)
    return [None if isinstance(answer, OSError | TimeoutError) else answer for answer in found]
