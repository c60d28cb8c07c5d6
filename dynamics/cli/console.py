"""What the commands share: the terminal, arguments, exit codes."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderableType
from rich.segment import Segment

from dynamics.letters import lines, readable
from dynamics.secrets import redacted

if TYPE_CHECKING:
    from dynamics.store import Place

# A file or a pipe is as wide as what is written; `COLUMNS` says otherwise.
_PIPED = 10_000
# Failures of one kind that are printed one by one.
_EACH = 3


class _Out(Console):
    """Standard output; where it is no terminal no line is folded or cut.

    What a terminal would obey, names of files and stores may hold: it is written out.
    """

    def print(self, *objects: Any, **how: Any) -> None:
        """Print, without passwords and tokens in addresses."""
        super().print(*(redacted(o) if isinstance(o, str) else o for o in objects), **how)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the pieces of what is printed."""
        for piece in super().render(renderable, options):
            if piece.control or piece.text.isprintable():
                yield piece
            else:
                yield Segment(lines(piece.text), piece.style)

    @property
    def size(self) -> ConsoleDimensions:
        """Columns and lines."""
        told = self._width is not None or os.environ.get("COLUMNS", "").isdigit()
        return super().size if told or self.is_terminal else ConsoleDimensions(_PIPED, 25)

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        self._width, self._height = new_size


out = _Out()

Config = Annotated[Path, typer.Argument(help="YAML file of the sweep", show_default=False)]
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        "--compute",
        help="where: local, slurm, pbs, kubernetes or the address of a dask scheduler "
        "(default: `compute` of the sweep)",
    ),
]
Patience = Annotated[
    float, typer.Option(help="seconds to go on without any worker that can work", min=0.1)
]
Store = Annotated[
    str, typer.Argument(help="a store, such as store/demo.zarr, or the YAML file of its sweep")
]

Plugins = Annotated[
    list[str] | None, typer.Option("--plugin", help="module that brings entries of its own")
]

Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format", help="png, svg or pdf, more than once for several (default: png, pdf)"
    ),
]

Figures = Annotated[
    list[str] | None,
    typer.Option(
        "--figure",
        help="emergence, heatmap, best-layer, layer-order ... or all; more than once for several "
        "(default: what a paper would show)",
    ),
]

Json = Annotated[bool, typer.Option("--json", help="print JSON, for other programs")]

FAILED_CHECKPOINTS = 3


def told(found: Any) -> None:
    """Print values as JSON; infinite ones and those that are none are null."""
    text = json.dumps(_plain(found), indent=1, ensure_ascii=False)
    sys.stdout.write("".join(map(_in_json, text)) + "\n")


def _in_json(letter: str) -> str:
    """Escape a mark of direction or the like, which JSON does not by itself."""
    return letter if letter == "\n" or readable(letter) == letter else json.dumps(letter)[1:-1]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def tell_failures(failures: Mapping[int, str]) -> None:
    """Print why checkpoints failed; a reason that many have, but for numbers in it, once."""
    alike: dict[str, list[int]] = {}
    for step, error in failures.items():
        alike.setdefault(re.sub(r"\d+", "", error), []).append(step)
    for steps in alike.values():
        shown = steps if len(steps) <= _EACH else steps[:1]
        for step in shown:
            line = readable(f"failed: step {step}: {failures[step]}")
            out.print(line, soft_wrap=True, markup=False)
        if len(shown) < len(steps):
            few = ", ".join(map(str, steps[1:4]))
            most = f" ... {steps[-1]}" if len(steps) > _EACH + 1 else ""
            line = f"failed: {len(steps) - 1} more steps in the same way ({few}{most})"
            out.print(line, soft_wrap=True, markup=False)


def load_plugins(modules: list[str] | None) -> None:
    """Load what installed packages bring, and these modules."""
    from dynamics import plugins

    plugins.load_installed()
    plugins.load(modules or ())


def place_of(store: str) -> Place:
    """Return where a store is; with the options of its sweep, if that is what is named."""
    from dynamics.config import load_config
    from dynamics.store import Place

    if store.endswith((".yaml", ".yml")):
        return load_config(store).place
    return Place(store)
