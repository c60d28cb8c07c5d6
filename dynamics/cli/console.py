"""What the commands share: the terminal, arguments, exit codes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from dynamics.store import Place

out = Console()

Config = Annotated[Path, typer.Argument(help="YAML file of the sweep", show_default=False)]
Scheduler = Annotated[
    str | None, typer.Option(help="address of a running dask scheduler (default: this machine)")
]
Store = Annotated[
    str, typer.Argument(help="a store, such as store/demo.zarr, or the YAML file of its sweep")
]

Plugins = Annotated[
    list[str] | None, typer.Option("--plugin", help="module that brings entries of its own")
]

FAILED_CHECKPOINTS, STOPPED = 3, 130


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
