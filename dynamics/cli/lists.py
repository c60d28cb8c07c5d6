"""Commands that list what a sweep can name, what one of it takes, and what there is here."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table as Grid

from dynamics.cli import BAD_INPUT
from dynamics.cli.console import Json, Plugins, load_plugins, out, told
from dynamics.cli.topics import help_on

if TYPE_CHECKING:
    from dynamics.tables import Table

# Command, how an entry is called in it, and the table.
_LISTS = (
    ("models", "adapter", "dynamics.models:ADAPTERS"),
    ("metrics", "metric", "dynamics.analysis:METHODS"),
    ("poolings", "pooling", "dynamics.extraction.poolings:POOLINGS"),
    ("tasks", "task", "dynamics.probes:TASKS"),
    ("sounds", "stimulus set", "dynamics.sounds:SOUNDS"),
    ("brains", "target", "dynamics.brains:TARGETS"),
)

Name = Annotated[str, typer.Argument(help="one of them, for its arguments")]


def _command(word: str, what: str, where: str) -> Callable[..., None]:
    """Make the command that lists a table or the arguments of an entry."""

    def command(name: Name = "", plugin: Plugins = None, as_json: Json = False) -> None:
        load_plugins(plugin)
        module, _, attribute = where.partition(":")
        table = getattr(importlib.import_module(module), attribute)
        if as_json:
            told({each: _record(table, each) for each in ([name] if name else table)})
            return
        if name:
            _tell(table, name)
            return
        grid = Grid(what, "what it is", "arguments", box=None)
        grid.columns[0].no_wrap = True
        for each in table:
            taken = ", ".join(table.arguments(each))
            grid.add_row(*map(escape, (each, table.summary(each), taken)))
        out.print(grid)

    command.__name__ = word
    command.__doc__ = (
        f"List the {word}, or the arguments of one.\n\nExample: dynamics {word} --json"
    )
    return command


def _record(table: Table, name: str) -> dict[str, Any]:
    """Return what an entry is and takes, for other programs."""
    taken = {
        key: {"about": one.about, "needed": one.needed}
        | ({} if one.needed else {"default": one.default})
        for key, one in table.arguments(name).items()
    }
    return {"about": table.summary(name), "arguments": taken, "shared": table.shared}


def _tell(table: Table, name: str) -> None:
    """Print what an entry is and every argument that it takes."""
    _print(table.summary(name))
    for key, one in table.arguments(name).items():
        default = "must be given" if one.needed else f"default: {one.default!r}"
        _print(f"{key} ({default}): {one.about}" if one.about else f"{key} ({default})")
    for key, about in table.shared.items():
        _print(f"{key}: {about}")
    if table.what == "adapter":
        from dynamics.models import hears
        from dynamics.models.hearing import about as about_hearing

        _print(f"hears through {about_hearing(hears(name, {}))}")
    if (table.what, name) == ("adapter", "s3prl"):
        from dynamics.models.s3prl import needs, upstreams

        names = [f"{each} (needs {needs(each)})" if needs(each) else each for each in upstreams()]
        _print("upstreams: " + ", ".join(names))


def _print(text: str) -> None:
    out.print(text, markup=False, highlight=False)


def doctor(as_json: Json = False) -> None:
    """Check packages, devices, data and places; say what to do.

    Example: dynamics doctor
    """
    from dynamics.doctor import examine

    found = examine()
    if as_json:
        told([{**each._asdict(), "verdict": each.verdict} for each in found])
    else:
        grid = Grid("", "what", "found", "what to do", box=None)
        for each in found:
            grid.add_row(*map(escape, (each.verdict, each.what, each.found, each.cure)))
        out.print(grid)
    if any(each.bad for each in found):
        raise typer.Exit(BAD_INPUT)


def schema() -> None:
    """Print the JSON schema of a sweep's YAML, for editors.

    Example: dynamics schema > sweep.schema.json
    """
    from dynamics.config import json_schema

    told(json_schema())


help_on.__name__ = "help"

COMMANDS = (*(_command(*each) for each in _LISTS), doctor, schema, help_on)
