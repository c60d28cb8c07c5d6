"""A dask cluster: a running one by its address, or processes of this machine."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

# Seconds that a scheduler has to answer.
PATIENCE = 10.0

# Local clusters by their number of workers, while `shared` keeps them.
_kept: ContextVar[tuple[contextlib.ExitStack, dict[int, Any]] | None] = ContextVar(
    "kept", default=None
)


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
def cluster(address: str | None, *, workers: int = 0) -> Iterator[Any]:
    """Connect to a dask scheduler, or start a local one with a process a core.

    Parameters
    ----------
    address : str, optional
        Address such as ``tcp://10.0.0.5:8786``.
    workers : int
        Local processes; 0 for one a core.

    Yields
    ------
    dask.distributed.Client
        The client.

    Raises
    ------
    OSError
        If no scheduler answers at the address.
    """
    from dask.distributed import Client

    # It logs every connection; faults come back as exceptions anyway.
    logging.getLogger("distributed").setLevel(logging.ERROR)
    if address is not None:
        try:
            client = Client(address, timeout=PATIENCE, set_as_default=False)
        except (OSError, ValueError) as error:
            raise OSError(f"no dask scheduler answers at {address}: {error}") from None
        with client, _told(address):
            _with_plugins(client)
            yield client
        return
    if (kept := _kept.get()) is not None:
        stack, clients = kept
        if workers not in clients:
            clients[workers] = stack.enter_context(_local(workers))
        yield clients[workers]
        return
    with _local(workers) as client:
        yield client


@contextlib.contextmanager
def _local(workers: int) -> Iterator[Any]:
    """Start processes of this machine."""
    from dask.distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=workers or None,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
            silence_logs=logging.ERROR,
        ) as local,
        Client(local, set_as_default=False) as client,
        _told("this machine"),
    ):
        _with_plugins(client)
        yield client


def threads_of(client: Any) -> int:
    """Return how many tasks the workers of a client run at a time, now; 1 where there are none."""
    return max(1, sum(client.ncores().values()))


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


@contextlib.contextmanager
def _told(where: str) -> Iterator[None]:
    """Say in one sentence what dask says in names of tasks and workers."""
    from dask.distributed import KilledWorker
    from distributed.client import FutureCancelledError
    from distributed.comm import CommClosedError

    try:
        yield
    except KilledWorker as error:
        raise OSError(
            f"the workers of {where} died over one task several times, as they do where memory "
            "runs out: lower `workers` or `batch_size`, or give them more; what is done stays, "
            "and the same command goes on from there"
        ) from error
    except (FutureCancelledError, CommClosedError) as error:
        raise OSError(
            f"the dask cluster of {where} went away ({type(error).__name__}): start it again; "
            "what is done stays, and the same command goes on from there"
        ) from error
