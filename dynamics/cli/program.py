"""All commands in one program."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import typer

from dynamics.cli import lists, stores, sweeps
from dynamics.cli.console import STOPPED

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


COMMANDS: tuple[Callable[..., None], ...] = (
    *sweeps.COMMANDS,
    *stores.COMMANDS,
    *lists.COMMANDS,
)

for command in COMMANDS:
    app.command()(_stoppable(command))
