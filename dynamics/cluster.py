"""A dask cluster: a running one by its address, a batch system, or processes of this machine."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from contextvars import ContextVar
from typing import Any

from dynamics import compute, progress
from dynamics import workers as at_work
from dynamics.compute import Compute, quietly
from dynamics.submitted import GoneError, KilledError
from dynamics.workers import GONE, PATIENCE, Workers, with_plugins

# Clusters that were begun, by what was asked for, while `shared` keeps them.
_kept: ContextVar[tuple[contextlib.ExitStack, dict[str, Any]] | None] = ContextVar(
    "kept", default=None
)


@contextlib.contextmanager
def shared() -> Iterator[None]:
    """Keep what `cluster` begins until the end, for all that ask meanwhile."""
    with contextlib.ExitStack() as stack:
        token = _kept.set((stack, {}))
        try:
            yield
        finally:
            _kept.reset(token)


def kept(where: Compute | None) -> contextlib.AbstractContextManager[None]:
    """Keep the workers of a batch system from stage to stage; others are begun anew."""
    return shared() if where is not None and where.is_batch else contextlib.nullcontext()


@contextlib.contextmanager
def cluster(
    where: str | Compute | None,
    *,
    workers: int = 0,
    patience: float = PATIENCE,
    places: Mapping[str, str] = {},
) -> Iterator[Workers]:
    """Connect to a dask scheduler, ask a batch system, or start a process a core.

    Parameters
    ----------
    where : str or Compute, optional
        Address such as ``tcp://10.0.0.5:8786``, or a batch system; by default this machine.
    workers : int
        Local processes; 0 for one a core.
    patience : float
        Seconds without a worker that can work, after which it is given up.
    places : mapping of str to str
        Paths that workers elsewhere must see, by what is there in words.

    Yields
    ------
    Workers
        What tasks are handed to.

    Raises
    ------
    OSError
        If no scheduler answers at the address, or a worker lacks what this process has.
    """
    import distributed.client
    from dask.distributed import Client
    from distributed.comm import CommClosedError

    # Earlier versions have no error of their own for it.
    closed = getattr(distributed.client, "ClosedClientError", CommClosedError)
    # It logs every connection; faults come back as exceptions anyway.
    for name in ("distributed", "distributed.client"):  # dask sets the level of each
        logging.getLogger(name).setLevel(logging.CRITICAL)
    asked = Compute(where) if isinstance(where, str) else where
    with contextlib.ExitStack() as stack:
        if asked is not None and asked.is_address:
            try:
                client = Client(asked.kind, timeout=at_work.ANSWER, set_as_default=False)
            except (OSError, ValueError) as error:
                raise OSError(f"no dask scheduler answers at {asked.kind}: {error}") from None
            stack.callback(quietly, client.close, timeout=at_work.ANSWER)
        else:
            kept, clients = _kept.get() or (stack, {})
            known = repr((workers, asked))
            if known not in clients:
                clients[known] = _client(asked, workers, kept)
            client = clients[known]
        here = Workers(client, asked.kind if asked else "this machine", patience, asked)
        try:
            if asked is not None:
                here.prepare(places)
            if link := _dashboard(client):
                progress.say(f"workers of {here.where} can be watched at {link}")
            yield here
        except (CommClosedError, closed, CancelledError) as error:
            raise GoneError(GONE.format(here.where)) from error
        except KilledError as error:
            raise OSError(
                f"{error}: lower `workers` or `batch_size`, or give them more; what is done stays, "
                "and the same command goes on from there"
            ) from error


def _dashboard(client: Any) -> str:
    """Return where dask shows what its workers do; empty where its pages need what is not here."""
    if importlib.util.find_spec("bokeh") is None:
        return ""
    with contextlib.suppress(OSError, TimeoutError, LookupError):
        return str(client.dashboard_link or "")
    return ""


def _client(where: Compute | None, workers: int, stack: contextlib.ExitStack) -> Any:
    """Start processes of this machine, or ask a batch system for some, until the end of a stack."""
    from dask.distributed import Client

    if where is None:
        client = compute.local(workers, stack, answer=at_work.ANSWER)
    else:
        client = Client(compute.batch(where, stack), timeout=at_work.ANSWER, set_as_default=False)
        stack.callback(quietly, client.close, timeout=at_work.ANSWER)
    with_plugins(client)
    return client
