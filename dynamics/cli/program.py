"""All commands in one program."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Annotated, Any

import typer
import typer.core

from dynamics.cli import collections, lists, power, stopped, stores, sweeps, targets


class _Program(typer.core.TyperGroup):
    """The list of commands, on one screen."""

    def get_params(self, ctx: Any) -> list[Any]:
        found: list[Any] = super().get_params(ctx)
        for option in found:
            if option.name == "install_completion":
                option.help = "install completion for this shell"
            elif option.name == "show_completion":
                option.hidden = True
        return found


app = typer.Typer(
    cls=_Program,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from dynamics.installation import OURS, version_of

        print(f"dynamics {version_of(OURS)}")
        raise typer.Exit


@app.callback(
    help="When, during pretraining, do a network's representations become brain-like?\n\n"
    "Example: dynamics demo; then dynamics help first-hour"
)
def _program(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_version, is_eager=True, help="print the version"),
    ] = False,
) -> None: ...


_Progress = Annotated[
    str, typer.Option("--progress", help="how it is shown: auto, bar, lines, json or none")
]
_Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="no progress, and of warnings only errors")
]


def _stoppable(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command end with one sentence when it is interrupted; typer by itself says nothing."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except KeyboardInterrupt as error:
            stopped(error)

    return run


def _shown(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command on a sweep take how much it shows."""

    @functools.wraps(command)
    def run(*arguments: Any, progress: str, quiet: bool, **options: Any) -> None:
        from dynamics import progress as shown

        shown.choose("none" if quiet else progress)
        logs = logging.getLogger()
        before = logs.level
        try:
            if quiet:
                logs.setLevel(logging.ERROR)
            command(*arguments, **options)
        finally:
            logs.setLevel(before)
            shown.choose("auto")

    kind = inspect.Parameter.KEYWORD_ONLY
    more = [
        inspect.Parameter("progress", kind, annotation=_Progress, default="auto"),
        inspect.Parameter("quiet", kind, annotation=_Quiet, default=False),
    ]
    taken = inspect.signature(command, eval_str=True)
    whole = taken.replace(parameters=[*taken.parameters.values(), *more])
    # From here typer reads what a command takes.
    vars(run)["__signature__"] = whole
    run.__annotations__ = {name: each.annotation for name, each in whole.parameters.items()}
    return run


# Where the list of commands shows them.
_PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "A sweep": tuple(_shown(command) for command in sweeps.COMMANDS),
    "Runs, stores and recordings": (
        *(_shown(command) for command in collections.COMMANDS),
        *(*stores.COMMANDS, *targets.COMMANDS, *power.COMMANDS),
    ),
    "What a sweep can name, or the arguments of one, and this machine": lists.COMMANDS,
}

for panel, commands in _PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(_stoppable(command))
