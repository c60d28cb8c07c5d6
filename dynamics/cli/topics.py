"""``dynamics help TOPIC``: pages under configs/, docstrings, and tables that are made from code.

A topic is a page, a heading of one, a record that a module of one's own fills, the keys of a sweep
or the commands.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from dynamics.cli.console import Json, out, told

# What a module of one's own fills or calls, with where its docstring is.
_DOCSTRINGS = {
    "metric": "dynamics.analysis.metric:Metric",
    "adapter": "dynamics.models.module:build",
    "statistic": "dynamics.emergence.table:Statistic",
    "figure": "dynamics.plots.table:Kind",
    "task": "dynamics.probes.task:Task",
    "stimuli": "dynamics.sounds.sets:StimulusSet",
    "target": "dynamics.brains.loading:load",
    "checkpoints": "dynamics.checkpoints.discovery:find",
    "crawl": "dynamics.extraction.crawl:crawl",
    "run": "dynamics.sweep:run",
}


def pages() -> dict[str, Path]:
    """Return the pages by name: beside the package, or where an installation puts them."""
    house = Path(__file__).parents[2] / "configs"
    installed = Path(sys.prefix) / "share" / "dynamics" / "configs"
    folder = house if house.is_dir() else installed
    return {path.stem: path for path in sorted(folder.glob("*.md"))}


def topics() -> dict[str, str]:
    """Return every topic with one line on it."""
    found = {"keys": "every key of a sweep", "commands": "every command with its options"}
    found |= {name: _title(path) for name, path in pages().items()}
    for name, where in _DOCSTRINGS.items():
        found.setdefault(name, f"docstring of {where.replace(':', '.')}")
    return found


def show(topic: str) -> str:
    """Return the text of a topic, in Markdown.

    Parameters
    ----------
    topic : str
        One of `topics`, or words of a heading of a page, such as ``lightning``.

    Returns
    -------
    str
        The text.

    Raises
    ------
    ValueError
        Where there is no such topic; it names those that are near, or all.
    """
    made: dict[str, Callable[[], str]] = {"keys": _keys, "commands": _commands}
    name = _plain(topic)
    if name in made:
        return made[name]()
    if name in pages():
        return pages()[name].read_text(encoding="utf-8")
    if name in _DOCSTRINGS:
        module, _, thing = _DOCSTRINGS[name].partition(":")
        return _docstring(getattr(importlib.import_module(module), thing))
    if found := list(_sections(name)):
        return "\n".join(found)
    from dynamics.tables import nearest

    known = list(topics())
    close = nearest(name, known)
    hint = f"did you mean {close!r}?" if close else f"there are {', '.join(known)}"
    raise ValueError(f"there is no help on {topic!r}; {hint}")


def help_on(
    topic: Annotated[str, typer.Argument(help="what about; by default a list of topics")] = "",
    as_json: Json = False,
) -> None:
    """Show a topic at length, or list the topics.

    Example: dynamics help first-hour
    """
    if as_json:
        told({topic: show(topic)} if topic else topics())
        return
    if topic:
        out.print(show(topic), markup=False, highlight=False, soft_wrap=True)
        return
    grid = Table("topic", "what it is", box=None)
    grid.columns[0].no_wrap = True
    for name, about in topics().items():
        grid.add_row(escape(name), escape(about))
    out.print(grid)
    out.print("Words of a heading do as well: `dynamics help lightning`.", markup=False)


def command_table() -> str:
    """Return the table of all commands in Markdown, as it stands in the README."""
    rows = [f"| `{usage}` | {about} |" for usage, about, _ in _each_command()]
    return "\n".join(["| command | what it does |", "|---|---|", *rows])


def _each_command() -> Iterator[tuple[str, str, Any]]:
    """Yield usage, first line and record of every command."""
    program: Any = typer.main.get_command(importlib.import_module("dynamics.cli.program").app)
    for name, command in program.commands.items():
        taken = [p for p in command.params if p.param_type_name == "argument"]
        words = [f"{p.name.upper()}{'...' * (p.nargs < 0)}" for p in taken]
        shown = [word if p.required else f"[{word}]" for p, word in zip(taken, words)]
        about = (command.help or "").partition("\n")[0].strip()
        yield " ".join(["dynamics", name, *shown]), about.rstrip("."), command


def _commands() -> str:
    parts = ["# Commands\n"]
    for usage, about, command in _each_command():
        example = re.search(r"Example: (.*)", command.help or "")
        parts.append(f"## {usage}\n\n{about}.\n")
        for each in command.params:
            if each.param_type_name == "option" and each.name != "help":
                parts.append(f"* `{', '.join(each.opts)}`: {each.help or ''}")
        parts.append(f"\nExample: `{example[1]}`\n" if example else "")
    return "\n".join(parts)


def _keys() -> str:
    from dynamics.config.keys import KEYS

    rows = [f"* {name} ({default or 'must be given'}): {about}" for name, default, about in KEYS]
    return "\n".join(["# Keys of a sweep\n", *rows])


def _docstring(thing: Any) -> str:
    named = f"{thing.__module__}.{thing.__name__}"
    taken = str(inspect.signature(thing)) if inspect.isfunction(thing) else ""
    return f"# {named}\n\n{taken}\n\n{inspect.getdoc(thing) or ''}\n"


def _title(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.readline().strip("# \n")


def _sections(words: str) -> Iterator[str]:
    """Yield the sections of all pages whose heading has these words."""
    for path in pages().values():
        text = path.read_text(encoding="utf-8")
        for part in re.split(r"^(?=##+ )", text, flags=re.MULTILINE)[1:]:
            if words in _plain(part.partition("\n")[0]):
                yield part


def _plain(text: str) -> str:
    return "-".join(re.findall(r"[\w.]+", text.lower().removesuffix(".md")))
