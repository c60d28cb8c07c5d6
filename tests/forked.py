"""Schedulers, workers and commands forked from a process that has imported everything.

Each is a process of its own, with its own signals and its own end, and costs a tenth of a second
instead of five. Run as a program this is the process that they are forked from: it takes a line of
JSON for each and answers with its number; what became of it is in a file.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


class Forked:
    """One process: what it was told, and how it ends."""

    def __init__(self, pid, place):
        self.pid, self.place = pid, place

    def poll(self):
        """Return its exit code, less than 0 for a signal; None while it runs."""
        file = self.place.with_suffix(".rc")
        return int(file.read_text()) if file.exists() else None

    def wait(self, seconds=60.0):
        until = time.monotonic() + seconds
        while self.poll() is None:
            assert time.monotonic() < until, f"process {self.pid} goes on: {self.errors()}"
            time.sleep(0.01)
        return self.poll()

    def send(self, number):
        """Send a signal, if it is there."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def output(self):
        return self.place.with_suffix(".out").read_text()

    def errors(self):
        return self.place.with_suffix(".err").read_text()


class Forks:
    """The process that others are forked from."""

    def __init__(self, folder):
        self.folder, self.number, self.every = Path(folder), 0, []
        environment = {
            **os.environ,
            "PYTHONPATH": f"{HERE.parent}:{HERE}",
            "OMP_NUM_THREADS": "1",
            "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
        }
        self.process = subprocess.Popen(
            [sys.executable, __file__], env=environment, text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def start(self, kind, *words, cwd=None, **how):
        """Fork a `scheduler`, a `worker` or a command (`dynamics`)."""
        self.number += 1
        place = self.folder / f"{self.number}-{kind}"
        told = {"kind": kind, "words": [str(word) for word in words], "place": str(place), **how}
        self.process.stdin.write(json.dumps(told | {"cwd": str(cwd or self.folder)}) + "\n")
        found = Forked(int(self.process.stdout.readline()), place)
        self.every.append(found)
        return found

    def close(self):
        for each in self.every:
            each.send(signal.SIGCONT)
            each.send(signal.SIGKILL)
        self.process.stdin.close()
        self.process.wait(60)


def _serve():
    places, ended = {}, set()
    while True:
        ready = select.select([0], [], [], 0.02)[0]
        line = sys.stdin.readline() if ready else None
        if line == "":  # whoever asked has gone
            for pid in places.keys() - ended:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return
        if line:
            told = json.loads(line)
            pid = os.fork()
            if not pid:
                _become(told)
            places[pid] = Path(told["place"])
            print(pid, flush=True)
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                ended.add(found[0])
                file = places[found[0]].with_suffix(".rc")
                beside = file.with_suffix(".partial")
                beside.write_text(str(os.waitstatus_to_exitcode(found[1])))
                beside.rename(file)


def _become(told):
    """Run in the child what was asked for; never comes back."""
    os.setsid()
    # A shell that has tests in the background has this signal ignored, by what is forked too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, suffix in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(told["place"] + suffix, os.O_WRONLY | os.O_CREAT), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(told["cwd"])
    code = 1
    try:
        if told["kind"] == "dynamics":
            code = _command(told)
        elif told["kind"] == "worker":
            _slow(told)
            from distributed.cli.dask_worker import main

            main(told["words"])
        else:
            from distributed.cli.dask_scheduler import main

            main(told["words"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _command(told):
    from dynamics import checkpoints, workers

    workers.ANSWER, workers._LOOK, workers._SAY, workers._AWAKE = 1.5, 0.1, 0.5, 1.0
    checkpoints.growing = lambda *_, **__: False
    sys.argv = ["dynamics", *told["words"]]
    if told.get("disk"):
        _fail_to_write(*told["disk"])
    if "--scheduler" in told["words"]:
        _compute_nothing()
    from dynamics.cli import main

    main()
    return 0


def _compute_nothing():
    """Have whatever computes fail: on a cluster all of it is done by the workers."""
    from dynamics.analysis import baselines, scoring
    from dynamics.extraction.runner import Network
    from dynamics.probes import run

    def refuse(*_, **__):
        raise AssertionError("computed by the process that holds the lock")

    for module, name in (
        (Network, "layers"), (Network, "control"), (scoring, "score_layers"),
        (baselines, "baseline_features"), (baselines, "score_layers"), (run, "probe_layers"),
    ):  # fmt: skip
        assert hasattr(module, name)
        setattr(module, name, refuse)


def _slow(told):
    """Have every task of a worker take a moment, leave a trace, and kill it if it is that one."""
    from dynamics import environment

    plain, began = environment.in_place, Path(told["began"])
    if told.get("disk"):
        _fail_to_write(*told["disk"])

    def in_place(asked, function, *given, **named):
        with began.open("a") as trace:
            trace.write(f"{os.getpid()} {function.__name__}\n")
        if told.get("deadly") in (getattr(each, "step", each) for each in given[1:2]):
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does where memory has run out
        time.sleep(0.04)
        return plain(asked, function, *given, **named)

    environment.in_place = in_place


def _fail_to_write(name, after):
    """Have the disk fail from the write with this number on."""
    import zarr.storage._local as local

    plain, left = local._put, [after]

    def put(*given, **named):
        left[0] -= 1
        if left[0] < 0:
            number = getattr(errno, name)
            raise OSError(number, os.strerror(number))
        return plain(*given, **named)

    local._put = put


if __name__ == "__main__":
    import dynamics.analysis.analyze
    import dynamics.cli.program
    import dynamics.extraction.workers
    import dynamics.models.encodecmae
    import dynamics.probes
    import dynamics.sweep  # noqa: F401

    _serve()
