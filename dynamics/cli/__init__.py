"""The command line: parses, calls, prints.

Nothing is imported here that may be missing or broken: whatever is, a command says in one sentence.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import warnings
from typing import Any

__all__ = ["app", "main", "out"]

BAD_INPUT = 2


def main() -> None:
    """Run the command line; a user's mistake ends with one sentence and exit code 2."""
    # Threads that spin while they wait halve the speed of everything else on a shared machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    # Third-party imports print what a user can do nothing about.
    warnings.filterwarnings("ignore", module=r"(?!dynamics)")
    try:
        importlib.import_module("dynamics.cli.program").app()
    except Exception as error:
        told = _told(error)
        if told is None or os.environ.get("DYNAMICS_DEBUG"):
            raise
        # Names of files are in it, which may hold what a terminal would obey.
        printed = "".join(c if c.isprintable() else repr(c)[1:-1] for c in told)
        print(f"dynamics: {printed}", file=sys.stderr)
        sys.exit(BAD_INPUT)


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
