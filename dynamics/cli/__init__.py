"""The command line: parses, calls, prints."""

from __future__ import annotations

import functools
import logging
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import typer

from dynamics.cli import lists, stores, sweeps
from dynamics.cli.console import BAD_INPUT, STOPPED, out

__all__ = ["app", "main", "out"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="When, during pretraining, do a network's representations become brain-like?",
)


def _stoppable(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command end with one sentence when it is interrupted; typer by itself says nothing."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except KeyboardInterrupt:
            print("dynamics: stopped; the same command goes on from here", file=sys.stderr)
            raise typer.Exit(STOPPED) from None

    return run


for command in (*sweeps.COMMANDS, *stores.COMMANDS, *lists.COMMANDS):
    app.command()(_stoppable(command))


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
