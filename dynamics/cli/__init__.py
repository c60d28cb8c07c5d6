"""The command line: parses, calls, prints."""

from __future__ import annotations

import logging
import os
import sys
import warnings

import typer

from dynamics.cli import lists, stores, sweeps
from dynamics.cli.console import BAD_INPUT, out

__all__ = ["app", "main", "out"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="When, during pretraining, do a network's representations become brain-like?",
)
for command in (*sweeps.COMMANDS, *stores.COMMANDS, *lists.COMMANDS):
    app.command()(command)


def main() -> None:
    """Run the command line; a user's mistake ends with one sentence and exit code 2."""
    # Threads that spin while they wait halve the speed of everything else on a shared machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    # Third-party imports print what a user can do nothing about.
    warnings.filterwarnings("ignore", module=r"(?!dynamics)")
    try:
        app()
    except (ValueError, OSError, TypeError, LookupError, ImportError) as error:
        if os.environ.get("DYNAMICS_DEBUG"):
            raise
        print(f"dynamics: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:
        print("dynamics: stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
