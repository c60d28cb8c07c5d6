"""A dask cluster of processes that a test starts, stops and kills one by one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": f"{HERE.parent}:{HERE}",
    "OMP_NUM_THREADS": "1",
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
}


class Processes:
    """A scheduler and workers, each a process of its own."""

    def __init__(self, folder):
        self.folder, self.workers, self.scheduler = folder, [], None
        self.port = 0

    def _start(self, command, *options):
        with (self.folder / "dask.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{command}", *map(str, options)],
                stdout=log, stderr=log, env=ENVIRONMENT, cwd=self.folder,
            )  # fmt: skip

    def start_scheduler(self):
        """Start it, at the same place if it was there before."""
        file = self.folder / "scheduler.json"
        file.unlink(missing_ok=True)
        self.scheduler = self._start(
            "dask_scheduler", "--host", "127.0.0.1", "--port", self.port, "--no-dashboard",
            "--scheduler-file", file,
        )  # fmt: skip
        for _ in range(300):
            if file.exists() and file.stat().st_size:
                break
            time.sleep(0.1)
        self.address = json.loads(file.read_text())["address"]
        self.port = int(self.address.rpartition(":")[2])
        return self.address

    def start_worker(self, *, nanny=False, memory="0", frozen=False):
        options = ["--memory-limit", memory, "--nanny" if nanny else "--no-nanny"]
        options += ["--local-directory", self.folder, "--death-timeout", 60, "--no-dashboard"]
        worker = self._start("dask_worker", self.address, "--nthreads", 1, *options)
        self.workers.append(worker)
        if frozen:
            self.wait_for("workers", 1)
            worker.send_signal(signal.SIGSTOP)
        return worker

    def wait_for(self, what, least, process=None):
        """Wait until the scheduler has so many workers or clients, or a command has ended."""
        from dask.distributed import Client

        with Client(self.address, timeout=20, set_as_default=False) as client:
            for _ in range(1200):
                found = client.run_on_scheduler(
                    lambda what, dask_scheduler: len(getattr(dask_scheduler, what)), what
                )
                if found >= least or (process is not None and process.poll() is not None):
                    return
                time.sleep(0.1)
        raise AssertionError(f"the scheduler has {found} {what}")

    def wait_for_command(self, process):
        """Wait until a command is connected and has had time to hand something in."""
        self.wait_for("clients", 3, process)  # that of this function, and dask's own for all
        time.sleep(1)

    def kill(self, process, number=signal.SIGKILL):
        process.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            process.wait(60)

    def kill_workers(self):
        for worker in self.workers:
            self.kill(worker)
        self.workers.clear()


@contextlib.contextmanager
def processes(folder, workers=1, **options):
    """Start a scheduler and workers, and leave none of them behind."""
    found = Processes(folder)
    try:
        found.start_scheduler()
        for _ in range(workers):
            found.start_worker(**options)
        yield found
    finally:
        for each in [*found.workers, found.scheduler]:
            if each is not None and each.poll() is None:
                each.send_signal(signal.SIGCONT)
                each.kill()
                each.wait(60)


def command(content_file, *words, **options):
    """Start a command of the program; the caller asks it what became of it."""
    return subprocess.Popen(
        [sys.executable, "-m", "dynamics", words[0], str(content_file), *map(str, words[1:])],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, **options,
    )  # fmt: skip


def slowly(value, seconds=0.0):
    """Return a value after a while: what a worker is at when something happens to it."""
    time.sleep(seconds)
    return value


def total(held, seconds=0.0):
    """Return the sum of what was scattered."""
    time.sleep(seconds)
    return float(sum(map(float, held[0])))


def deadly(path, times):
    """Kill the worker that runs it, so often."""
    seen = Path(path)
    count = int(seen.read_text()) if seen.exists() else 0
    if count < times:
        seen.write_text(str(count + 1))
        time.sleep(0.5)  # a nanny does not start a worker again that died while it started
        os.kill(os.getpid(), signal.SIGKILL)
    return count
