"""The command line: parses, calls, prints.

Nothing is imported here that may be missing or broken: whatever is, a command says in one sentence.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn

from dynamics.letters import lines, readable

__all__ = ["app", "main", "out", "readable"]

BAD_INPUT = 2
# What a shell says of a program that a signal ended: 128 and the signal's number.
_ENDED = 128


def main() -> None:
    """Run the command line; a user's mistake ends with one sentence and exit code 2."""
    # Threads that spin while they wait halve the speed of everything else on a shared machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    handler = logging.StreamHandler()
    handler.addFilter(_Once())
    form = "%(levelname)s: %(message)s"
    logging.basicConfig(format=form, level=logging.WARNING, handlers=[handler])
    # Third-party imports print what a user can do nothing about.
    warnings.filterwarnings("ignore", module=r"(?!dynamics)")
    # Where nothing comes after: not in a process that does more than this.
    last = sys._getframe(1).f_globals.get("__name__") == "__main__"
    try:
        with _stopped_by_signals(last=last):
            importlib.import_module("dynamics.cli.program").app()
    except KeyboardInterrupt as error:
        stopped(error)
    except Exception as error:
        told = _told(error)
        if told is None or os.environ.get("DYNAMICS_DEBUG"):
            raise
        print(f"dynamics: {readable(told)}", file=sys.stderr)
        sys.exit(BAD_INPUT)


def stopped(error: KeyboardInterrupt) -> NoReturn:
    """Say that a command was interrupted, and end with the code that shells have for the signal."""
    print("dynamics: stopped; the same command goes on from here", file=sys.stderr)
    sys.exit(_ENDED + (error.args[0] if error.args else signal.SIGINT))


@contextlib.contextmanager
def _stopped_by_signals(*, last: bool = False) -> Iterator[None]:
    """Have a batch system's SIGTERM stop a command as Ctrl-C does; a second signal at once.

    Parameters
    ----------
    last : bool
        Whether the process ends with it: then one more signal on the way out changes nothing, and
        what threads and connections come upon there is not shown.
    """

    def stop(number: int, _: object) -> None:
        if stopping:
            os.write(2, b"\ndynamics: stopped at once; the same command goes on from here\n")
            os._exit(_ENDED + number)
        stopping.append(number)
        raise KeyboardInterrupt(number)

    def leave(number: int, _: object) -> None:
        if leaving:
            os._exit(_ENDED + number)
        leaving.append(number)

    stopping: list[int] = []
    leaving: list[int] = []
    known = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    if threading.current_thread() is not threading.main_thread():
        known = {}  # only there a signal can be heard
    for each, before in known.items():
        if before is not signal.SIG_IGN:
            signal.signal(each, stop)
    try:
        yield
    finally:
        for each, before in known.items():
            signal.signal(each, leave if last and before is not signal.SIG_IGN else before)
        if last and not os.environ.get("DYNAMICS_DEBUG"):
            threading.excepthook = lambda _: None
            sys.unraisablehook = lambda _: None


class _Once(logging.Filter):
    """Lets a sentence through once: several stages of a command come upon the same fault."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        from dynamics.secrets import redacted

        # What a library's background work comes upon is for its developers; its foreground raises.
        of_ours = record.name.startswith("dynamics") or os.environ.get("DYNAMICS_DEBUG")
        if record.exc_info and not of_ours:
            return False
        text = lines(redacted(record.getMessage()))
        fresh = text not in self._said
        self._said.add(text)
        record.msg, record.args = text, None
        return fresh


def _told(error: Exception) -> str | None:
    """Return what is said of an error; None where it is a fault of this program."""
    from dynamics import faults

    machine = faults.of_machine(error)
    # What is a sentence already stays as it is, also where it came from a full disk.
    if machine is not None and not isinstance(error, (ValueError, OSError)):
        return faults.sentence(machine)
    if isinstance(machine, ImportError):
        return faults.sentence(machine)
    if isinstance(error, (ValueError, OSError, TypeError, LookupError, ImportError)):
        return faults.sentence(error)
    return None


def __getattr__(name: str) -> Any:
    if name == "app":
        return importlib.import_module("dynamics.cli.program").app
    if name == "out":
        return importlib.import_module("dynamics.cli.console").out
    raise AttributeError(f"module 'dynamics.cli' has no attribute {name!r}")
