"""Where the work is done: the key `compute`, and the clusters that are begun for it.

This machine, a scheduler by its address, or workers that a batch system is asked for and that are
given back at the end, however that comes. It shapes no number: no store knows of it.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

LOCAL = "local"
# Workers that a task may take with it before it is given up.
DEATHS = 3
# Of a cluster that is started here. One task a worker: none waits behind another that takes the
# worker with it. And a worker that is being started again is not given up meanwhile.
SETTINGS = {
    "distributed.scheduler.allowed-failures": DEATHS - 1,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.deploy.lost-worker-timeout": "1000 days",
}
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Compute(NamedTuple):
    """What a sweep says of where it runs.

    Attributes
    ----------
    kind : str
        ``local``, ``slurm``, ``pbs``, ``kubernetes``, or the address of a dask scheduler.
    minimum, maximum : int
        Workers that a batch system is asked for, by how much there is to do. One at least: what
        workers are given before the first task asks for none by itself.
    cores : int
        Cores of a job; each of its workers has its share.
    processes : int
        Workers of a job.
    memory : str
        Memory of a job, such as ``32GB``.
    walltime : str
        Hours, minutes and seconds of a job, such as ``04:00:00``.
    gpus_per_worker : int
        GPUs of every worker; networks then run only on workers that have so many free.
    wait : float
        Seconds that a batch system may take to give workers.
    options : mapping
        What else the class for the batch system takes: `queue`, `account`, `image` ...
    """

    kind: str = LOCAL
    minimum: int = 1
    maximum: int = 4
    cores: int = 1
    processes: int = 1
    memory: str = "8GB"
    walltime: str = "01:00:00"
    gpus_per_worker: int = 0
    wait: float = 86_400.0
    options: Mapping[str, Any] = {}

    @property
    def is_address(self) -> bool:
        """Whether it is the address of a scheduler."""
        return ":" in self.kind

    @property
    def is_batch(self) -> bool:
        """Whether workers are asked for and given back."""
        return self.kind in BATCH


class _Batch(NamedTuple):
    """How a batch system is asked: class, extra, program that must be there, and its arguments."""

    where: str
    extra: str
    program: str
    arguments: Callable[[Compute], dict[str, Any]]


def _job(compute: Compute) -> dict[str, Any]:
    """Return what SLURM and PBS have in common."""
    # One task a worker at a time, of which the arithmetic has all threads of the worker.
    threads = max(1, compute.cores // compute.processes)
    extra = ["--nthreads", "1"]
    if compute.gpus_per_worker:
        extra += ["--resources", f"GPU={compute.gpus_per_worker}"]
    return {
        "cores": compute.cores,
        "processes": compute.processes,
        "memory": compute.memory,
        "walltime": compute.walltime,
        "worker_extra_args": extra,
        "job_script_prologue": [f"export {name}={threads}" for name in _THREADS],
        # The same interpreter with the same modules as here.
        "python": sys.executable,
    }


def _slurm(compute: Compute) -> dict[str, Any]:
    gpus = compute.gpus_per_worker
    return _job(compute) | ({"job_extra_directives": [f"--gres=gpu:{gpus}"]} if gpus else {})


def _pbs(compute: Compute) -> dict[str, Any]:
    gpus = f":ngpus={compute.gpus_per_worker}" if compute.gpus_per_worker else ""
    chunk = f"select=1:ncpus={compute.cores}:mem={compute.memory}{gpus}"
    return _job(compute) | {"resource_spec": chunk}


def _kubernetes(compute: Compute) -> dict[str, Any]:
    gpus, cores = compute.gpus_per_worker, str(compute.cores)
    limits = {"cpu": cores, "memory": compute.memory.removesuffix("B")}
    command = ["dask-worker", "--nthreads", "1"]
    if gpus:
        limits["nvidia.com/gpu"] = str(gpus)
        command += ["--resources", f"GPU={gpus}"]
    return {
        "n_workers": compute.minimum,
        "resources": {"requests": limits, "limits": limits},
        "env": dict.fromkeys(_THREADS, cores),
        "worker_command": command,
        "quiet": True,
    }


BATCH = {
    "slurm": _Batch("dask_jobqueue:SLURMCluster", "jobqueue", "sbatch", _slurm),
    "pbs": _Batch("dask_jobqueue:PBSCluster", "jobqueue", "qsub", _pbs),
    "kubernetes": _Batch("dask_kubernetes.operator:KubeCluster", "kubernetes", "", _kubernetes),
}


def memory_of(compute: Compute) -> int:
    """Return the bytes that a worker of a batch system has."""
    from dask.utils import parse_bytes

    return int(parse_bytes(compute.memory)) // compute.processes


def batch(compute: Compute, stack: contextlib.ExitStack) -> Any:
    """Ask a batch system for workers, until the end of a stack.

    Parameters
    ----------
    compute : Compute
        Of a batch system.
    stack : ExitStack
        Its end gives the workers back.

    Returns
    -------
    distributed.deploy.Cluster
        Its workers come and go, between the bounds, by how much there is to do.

    Raises
    ------
    ImportError
        If its library is not installed.
    OSError
        If it cannot be asked from this machine.
    """
    import dask

    how = BATCH[compute.kind]
    module, _, name = how.where.partition(":")
    try:
        kind = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise ImportError(
            f"`compute: {compute.kind}` needs {module.partition('.')[0].replace('_', '-')}: "
            f"`pip install 'training-dynamics[{how.extra}]'` ({error})"
        ) from None
    if how.program and shutil.which(how.program) is None:
        raise OSError(
            f"`compute: {compute.kind}` asks for workers by `{how.program}`, which is not on this "
            "machine: run the command where jobs are submitted from"
        )
    stack.enter_context(dask.config.set(SETTINGS))
    given = how.arguments(compute)
    for key, value in compute.options.items():
        both = isinstance(value, list) and isinstance(given.get(key), list)
        given[key] = [*given[key], *value] if both else value
    try:
        with warnings.catch_warnings():
            # Its pages are then on another, which is said.
            warnings.filterwarnings("ignore", message=r"\s*Port \d+ is already in use")
            made = kind(**given)
    except Exception as error:  # whatever a client of a batch system raises
        told = " ".join(str(error).split())[:300] or type(error).__name__
        raise OSError(
            f"no workers of {compute.kind}: {told}; see `compute` in the sweep"
        ) from error
    stack.callback(quietly, made.close)
    made.adapt(minimum=compute.minimum, maximum=compute.maximum)
    return made


def local(workers: int, stack: contextlib.ExitStack, *, answer: float) -> Any:
    """Start processes of this machine, until the end of a stack.

    Parameters
    ----------
    workers : int
        How many; 0 for one a core. The cores are divided among them.
    stack : ExitStack
        Its end stops them.
    answer : float
        Seconds for what they answer.

    Returns
    -------
    distributed.Client
        A connection to them.
    """
    import dask
    from dask.distributed import Client, LocalCluster

    stack.enter_context(dask.config.set(SETTINGS))
    stack.enter_context(dask.config.set(_threads(workers)))
    stack.enter_context(_as_before(_THREADS))
    stack.enter_context(_without_script())
    made = LocalCluster(
        n_workers=workers or None,
        threads_per_worker=1,
        processes=True,
        dashboard_address=":0",
        silence_logs=logging.CRITICAL,
    )
    stack.callback(quietly, made.close, timeout=answer)
    client = Client(made, timeout=answer, set_as_default=False)
    stack.callback(quietly, client.close, timeout=answer)
    return client


def _threads(workers: int) -> dict[str, Any]:
    """Divide the cores among processes; what the environment says goes before it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    each = max(1, (cores or 1) // workers) if workers else 1
    told = os.environ.get(_THREADS[0], str(each))
    known = {name: os.environ.get(name, told) for name in _THREADS}
    place = "distributed.nanny.pre-spawn-environ"
    return {f"{place}.{name}": value for name, value in known.items()}


@contextlib.contextmanager
def _as_before(names: Sequence[str]) -> Iterator[None]:
    """Leave variables of the environment as they were: a nanny writes those of its workers there.

    The next cluster of this process would take them for what the user says.
    """
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


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


def quietly(function: Callable, **options: Any) -> None:
    """Let go of a cluster, which may have gone already."""
    with contextlib.suppress(Exception):
        function(**options)
