"""Commands that list what a sweep can name."""

from __future__ import annotations

import inspect
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from dynamics.cli.console import out

Plugins = Annotated[
    list[str] | None, typer.Option("--plugin", help="module that brings some of its own")
]


def models(
    adapter: Annotated[str, typer.Argument(help="an adapter, for its arguments")] = "",
    plugin: Plugins = None,
) -> None:
    """List the adapters; or an adapter's arguments, and for s3prl its upstreams."""
    from dynamics import plugins
    from dynamics.models import ADAPTERS, arguments, summary

    plugins.load_installed()
    plugins.load(plugin or ())
    if not adapter:
        table = Table("adapter", "what it runs", box=None)
        for name in sorted(ADAPTERS):
            table.add_row(*map(escape, (name, summary(name))))
        out.print(table)
        return
    out.print(summary(adapter), markup=False, highlight=False)
    for name, default in arguments(adapter).items():
        needed = default is inspect.Parameter.empty
        text = "must be given" if needed else f"default: {default!r}"
        out.print(f"{name} ({text})", markup=False, highlight=False)
    if adapter == "s3prl":
        from dynamics.models.s3prl import needs, upstreams

        names = [f"{name} (needs {needs(name)})" if needs(name) else name for name in upstreams()]
        out.print("upstreams: " + ", ".join(names), markup=False, highlight=False)


def metrics(
    metric: Annotated[str, typer.Argument(help="a metric, for its arguments")] = "",
    plugin: Plugins = None,
) -> None:
    """List the metrics that a sweep can name; or a metric's arguments."""
    from dynamics import methods, plugins

    plugins.load_installed()
    plugins.load(plugin or ())
    if not metric:
        table = Table("metric", "what it does", "arguments", box=None)
        for name in methods.METHODS:
            taken = ", ".join(methods.arguments(name))
            table.add_row(*map(escape, (name, methods.summary(name), taken)))
        out.print(table)
        return
    out.print(methods.summary(metric), markup=False)
    for name, default in methods.arguments(metric).items():
        out.print(f"{name} (default: {default!r})", markup=False, highlight=False)
    for name, about in methods.RESERVED.items():
        out.print(f"{name}: {about}", markup=False, highlight=False)


COMMANDS = (models, metrics)
