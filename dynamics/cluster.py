"""A dask cluster: a running one by its address, or processes of this machine; and its faults.

Workers come and go: batch systems stop them, memory runs out, machines are taken away. What was
under way on one is done on another, and what workers held for all is given to those that come. None
waits for ever: without a worker that could do something, it is said every half minute, and after
the patience that one has the command ends.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextvars import ContextVar
from typing import Any

logger = logging.getLogger(__name__)

# Seconds that a scheduler has to answer, and to come back.
ANSWER = 10.0
# Seconds without a worker that can work, after which there will be none.
PATIENCE = 300.0
# Seconds between two looks at a cluster whose answer is waited for, and between two sentences.
_LOOK, _SAY = 1.0, 30.0
# Workers that a task may take with it, of those that are started here, before it is given up.
_DEATHS = 3
# How often a task is handed in again because what it needs was lost.
_AGAIN = 20


# Of a cluster that is started here. One task a worker: none waits behind another that takes the
# worker with it. And a worker that is being started again is not given up meanwhile.
_SETTINGS = {
    "distributed.scheduler.allowed-failures": _DEATHS - 1,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.deploy.lost-worker-timeout": "1000 days",
}


_GONE = (
    "the dask scheduler of {} has gone: start it again; what is done stays, and the same command "
    "goes on from there"
)

# Local clusters by their number of workers, while `shared` keeps them.
_kept: ContextVar[tuple[contextlib.ExitStack, dict[int, Any]] | None] = ContextVar(
    "kept", default=None
)


class KilledError(OSError):
    """A task took every worker with it that tried it."""


class GoneError(ConnectionError):
    """There is no cluster any more, or nobody in it who works."""


@contextlib.contextmanager
def shared() -> Iterator[None]:
    """Keep what `cluster` starts on this machine until the end, for all that ask meanwhile."""
    with contextlib.ExitStack() as stack:
        token = _kept.set((stack, {}))
        try:
            yield
        finally:
            _kept.reset(token)


@contextlib.contextmanager
def cluster(
    address: str | None, *, workers: int = 0, patience: float = PATIENCE
) -> Iterator[Workers]:
    """Connect to a dask scheduler, or start a local one with a process a core.

    Parameters
    ----------
    address : str, optional
        Address such as ``tcp://10.0.0.5:8786``.
    workers : int
        Local processes; 0 for one a core.
    patience : float
        Seconds without a worker that can work, after which it is given up.

    Yields
    ------
    Workers
        What tasks are handed to.

    Raises
    ------
    OSError
        If no scheduler answers at the address.
    """
    import distributed.client
    from dask.distributed import Client
    from distributed.comm import CommClosedError

    # Earlier versions have no error of their own for it.
    closed = getattr(distributed.client, "ClosedClientError", CommClosedError)
    # It logs every connection; faults come back as exceptions anyway.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with contextlib.ExitStack() as stack:
        if address is not None:
            try:
                client = Client(address, timeout=ANSWER, set_as_default=False)
            except (OSError, ValueError) as error:
                raise OSError(f"no dask scheduler answers at {address}: {error}") from None
            stack.callback(_quietly, client.close, timeout=ANSWER)
        else:
            kept, clients = _kept.get() or (stack, {})
            if workers not in clients:
                clients[workers] = _local(workers, kept)
            client = clients[workers]
        where = address or "this machine"
        here = Workers(client, where, patience)
        try:
            if address is not None:
                here.prepare()
            yield here
        except (CommClosedError, closed, CancelledError) as error:
            raise GoneError(_GONE.format(where)) from error
        except KilledError as error:
            raise OSError(
                f"{error}: lower `workers` or `batch_size`, or give them more; what is done stays, "
                "and the same command goes on from there"
            ) from error


def _local(workers: int, stack: contextlib.ExitStack) -> Any:
    """Start processes of this machine, until the end of a stack."""
    import dask
    from dask.distributed import Client, LocalCluster

    stack.enter_context(dask.config.set(_SETTINGS))
    stack.enter_context(_without_script())
    local = LocalCluster(
        n_workers=workers or None,
        threads_per_worker=1,
        processes=True,
        dashboard_address=":0",
        silence_logs=logging.CRITICAL,
    )
    stack.callback(_quietly, local.close, timeout=ANSWER)
    client = Client(local, timeout=ANSWER, set_as_default=False)
    stack.callback(_quietly, client.close, timeout=ANSWER)
    _with_plugins(client)
    return client


@contextlib.contextmanager
def _without_script() -> Iterator[None]:
    """Let processes start without running the calling script again.

    A process that is started so imports the main script, and one without a guard (``if __name__ ==
    "__main__"``) would then call again what has started it. What is defined in the script reaches
    the workers by value.
    """
    script = sys.modules.get("__main__")
    place = getattr(script, "__file__", None)
    if place is None:
        yield
        return
    del script.__file__  # type: ignore[union-attr]
    try:
        yield
    finally:
        script.__file__ = place  # type: ignore[union-attr]


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
    """

    def __init__(self, client: Any, where: str, patience: float = PATIENCE):
        self.client, self.where, self.patience = client, where, patience
        self._threads: dict[str, int] = {}
        self._idle_since = self._said = 0.0

    @property
    def scheduler(self) -> Any:
        """The scheduler, which has an `address`."""
        return self.client.scheduler

    def ncores(self) -> dict[str, int]:
        """Return the threads of every worker by its address; what it was where nobody says."""
        with contextlib.suppress(OSError, TimeoutError):
            self._threads = {name: worker["nthreads"] for name, worker in self._seen().items()}
        return self._threads

    def submit(self, function: Callable, *given: Any, pure: bool = False, **named: Any) -> Task:
        """Hand in a function with what it is given: values, or what `scatter` returned."""
        return Task(self, function, given, named, pure=pure)

    def gather(self, tasks: Sequence[Task]) -> list[Any]:
        """Return the results of tasks, in their order."""
        return [task.result() for task in tasks]

    def scatter(self, value: Any, *, hash: bool = False) -> Held:
        """Give the workers what many tasks need; it is given again to those that come later."""
        return Held(self, value, hash=hash)

    def prepare(self) -> None:
        """Have all workers load the modules that the sweep names; some may go meanwhile."""
        for _ in range(_AGAIN):
            with contextlib.suppress(OSError, TimeoutError):
                return _with_plugins(self.client)
            self.ready()
        return None

    def ready(self) -> None:
        """Wait for a worker that can work.

        Raises
        ------
        GoneError
            If the scheduler has gone, or there is none for as long as one is patient.
        """
        while not self.look():
            time.sleep(min(_LOOK, self.patience / 4))

    def check(self) -> None:
        """Raise a GoneError if the scheduler has gone for good."""
        if self.client.status not in ("running", "connecting", "newly-created"):
            raise GoneError(_GONE.format(self.where))

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
            seen = self._seen().values()
        except (OSError, TimeoutError):
            return f"the dask scheduler of {self.where} has not answered"
        if not seen:
            return f"there has been no dask worker at {self.where}"
        # One that is short of memory begins nothing, but may end what it is at.
        if not any(w["status"] == "running" or w["metrics"].get("executing") for w in seen):
            return f"the {len(seen)} dask workers at {self.where} have had no memory left"
        return ""

    def _seen(self) -> dict[str, dict[str, Any]]:
        """Return what the scheduler knows of its workers; an OSError where it does not answer."""
        scheduler = self.client.scheduler
        if scheduler is None or self.client.status != "running":
            raise OSError("not connected")
        found = self.client.sync(scheduler.identity, n_workers=-1, callback_timeout=ANSWER)
        return dict(found["workers"])


class Held:
    """What many tasks need, kept by workers; here to be given anew when those have gone."""

    def __init__(self, workers: Workers, value: Any, *, hash: bool = False):
        self._workers, self._value, self._hash = workers, value, hash
        self._future: Any = None

    def future(self) -> Any:
        """Return what stands for it in a task."""
        while self._future is None:
            self._workers.ready()
            # A worker may go while it is given to it.
            with contextlib.suppress(OSError, TimeoutError, CancelledError):
                self._future = self._workers.client.scatter(
                    self._value, hash=self._hash, timeout=ANSWER
                )
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
    """A task that workers were handed, and are handed again where they have gone."""

    def __init__(
        self,
        workers: Workers,
        function: Callable,
        given: Sequence[Any],
        named: dict[str, Any],
        *,
        pure: bool = False,
    ):
        self._workers, self._function, self._pure = workers, function, pure
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
            most = None if self._future.done() else min(_LOOK, self._workers.patience / 4)
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
            f"the workers of {self._workers.where} died over one task several times, as they do "
            f"where memory runs out{more}"
        )

    def _hand_in_again(self, error: BaseException) -> None:
        self._again += 1
        if self._again > _AGAIN:
            raise GoneError(
                f"a task was lost {_AGAIN} times by the workers of {self._workers.where} "
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
        return self._workers.client.submit(self._function, *given, pure=self._pure, **self._named)


def threads_of(workers: Any) -> int:
    """Return how many tasks workers run at a time, now; 1 where there are none."""
    return max(1, sum(workers.ncores().values()))


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


def _quietly(function: Callable, **options: Any) -> None:
    """Let go of a cluster, which may have gone already."""
    with contextlib.suppress(Exception):
        function(**options)


def _with_plugins(client: Any) -> None:
    """Have all workers, also those that come later, find and load the modules of the sweep."""
    from dask.distributed import WorkerPlugin

    from dynamics import plugins

    names, folders = plugins.loaded(), plugins.folders()
    if not names and not folders:
        return

    class Plugins(WorkerPlugin):
        name = "dynamics-plugins"

        def setup(self, worker: Any) -> None:
            from dynamics import plugins

            plugins.look_in(*folders)
            plugins.load(names)

    client.register_plugin(Plugins())
