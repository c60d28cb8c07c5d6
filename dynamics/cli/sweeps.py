"""Commands on a sweep: each takes its YAML file and does only what is missing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from dynamics.cli import readable
from dynamics.cli.console import FAILED_CHECKPOINTS, Config, Scheduler, out
from dynamics.progress import size_of

if TYPE_CHECKING:
    from dynamics.config import Sweep

Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format", help="png, svg or pdf, more than once for several (default: png, pdf)"
    ),
]


def pretrain(config: Config) -> None:
    """Train a small reference network and save its successive checkpoints."""
    from dynamics.config import load_config

    _pretrain(load_config(config))


def crawl(config: Config, scheduler: Scheduler = None) -> None:
    """Extract every layer's activations at every checkpoint into the store."""
    from dynamics.config import load_config
    from dynamics.sweep import check_names

    sweep = load_config(config)
    check_names(sweep)
    _crawl(sweep, scheduler)


def analyze(config: Config, scheduler: Scheduler = None) -> None:
    """Compare every layer at every step with the brain targets."""
    from dynamics.config import load_config

    _analyze(load_config(config), scheduler)


def probe(config: Config) -> None:
    """Probe every layer and step for the sweep's downstream tasks."""
    from dynamics.config import load_config

    if _probe(load_config(config)):
        raise typer.Exit(FAILED_CHECKPOINTS)


def plot(config: Config, formats: Formats = None) -> None:
    """Draw the figures: curves, heat maps, order of emergence, probes, steps and layers."""
    from dynamics.config import load_config

    _plot(load_config(config), formats or ["png", "pdf"])


def run(config: Config, scheduler: Scheduler = None) -> None:
    """Crawl, analyze, probe, plot and report; only what is missing is computed."""
    from dynamics.config import load_config
    from dynamics.sweep import check

    sweep = load_config(config)
    check(sweep)
    failed = _crawl(sweep, scheduler, stop=False)
    if sweep.targets or sweep.self_similarity:
        _analyze(sweep, scheduler)
    if sweep.probes:
        failed += _probe(sweep)
    _plot_and_report(sweep)
    if failed:
        raise typer.Exit(FAILED_CHECKPOINTS)


def watch(
    config: Config,
    every: Annotated[float, typer.Option(help="seconds between two looks", min=0.1)] = 30.0,
) -> None:
    """Follow a run that is still training: crawl what appears until stopped."""
    from dynamics.config import load_config
    from dynamics.crawl import watch as follow
    from dynamics.sweep import check_names

    sweep = load_config(config)
    check_names(sweep)
    out.print(f"watching {sweep.checkpoints}; Ctrl-C stops, the same command goes on")
    for counts in follow(sweep, every=every):
        if counts["new"]:
            out.print(f"{counts['new']} new, {counts['done']} done, {counts['failed']} failed")


def checkpoints(config: Config) -> None:
    """List the checkpoints of a sweep, without loading them."""
    from dynamics.config import load_config
    from dynamics.crawl import discover

    table = Table()
    for name in ("step", "where", "size", "format", "verdict"):
        numbers = name in ("step", "size")
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for found in discover(load_config(config)):
        verdict = found.note or "ok"
        row = (f"{found.step:,}", found.uri, size_of(found.bytes), found.format, verdict)
        table.add_row(*(escape(readable(text)) for text in row))
    out.print(table)


def demo() -> None:
    """Do everything on an embedded default: no download, no data, a simulated listener."""
    from dynamics.sweep import demo as embedded

    sweep = embedded()
    out.print("[bold]Demonstration[/bold]: generated sounds, a simulated listener, no real brain.")
    _pretrain(sweep)
    _crawl(sweep, None)
    _analyze(sweep, None)
    if sweep.probes:
        _probe(sweep)
    _plot_and_report(sweep)


COMMANDS = (pretrain, crawl, analyze, probe, plot, run, watch, checkpoints, demo)


def _pretrain(sweep: Sweep) -> None:
    from dynamics import sweep as room

    out.print(f"checkpoints: {room.pretrain(sweep)}", soft_wrap=True)


def _crawl(sweep: Sweep, scheduler: str | None, *, stop: bool = True) -> int:
    from dynamics import crawl as room
    from dynamics import store

    counts = room.crawl(sweep, scheduler=scheduler)
    out.print(
        f"store: {sweep.store} ({counts['done']} steps, {counts['new']} of them new)",
        soft_wrap=True,
    )
    for step, error in store.failures(sweep.place).items():
        out.print(readable(f"failed: step {step}: {error}"), soft_wrap=True, markup=False)
    if counts["failed"] and stop:
        raise typer.Exit(FAILED_CHECKPOINTS)
    return counts["failed"]


def _analyze(sweep: Sweep, scheduler: str | None) -> None:
    from dynamics import analyze as room
    from dynamics.sweep import at_edges

    counts = room.analyze(sweep, scheduler=scheduler)
    out.print(f"results: {counts['new']} new, {counts['already']} there already")
    for sentence in at_edges(sweep):
        out.print(sentence, soft_wrap=True, markup=False, highlight=False)


def _probe(sweep: Sweep) -> int:
    from dynamics import probes as room

    counts = room.probe(sweep)
    new, already = counts["new"], counts["already"]
    failed = f", {counts['failed']} failed" if counts["failed"] else ""
    out.print(f"probes: {new} new, {already} there already{failed}")
    return counts["failed"]


def _plot(
    sweep: Sweep,
    formats: Sequence[str] = ("png", "pdf"),
    pictures: dict[str, str] | None = None,
) -> None:
    from dynamics import sweep as room

    written = room.plot(sweep, formats=formats, pictures=pictures)
    table = Table(title="When each layer has made half of its final gain")
    for name in ("target", "metric", "layer"):
        table.add_column(name)
    for name in ("untrained", "final", "half-time [95 %]"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in room.half_times(sweep).itertuples():
        when = _when(row.half_time, row.low, row.high, row.status)
        levels = (_level(row.untrained), _level(row.final))
        table.add_row(*map(escape, (row.target, _named(row), row.layer, *levels, when)))
    if table.row_count:
        out.print(table)
    for sentence in room.without_intervals(sweep):
        out.print(sentence, soft_wrap=True, markup=False, highlight=False)
    out.print(f"store: {sweep.store}", soft_wrap=True)
    if written:
        out.print(f"figures: {sweep.figures} ({len(written)} files)", soft_wrap=True)


def _plot_and_report(sweep: Sweep) -> None:
    from dynamics import report as room

    # The report takes the figures that are drawn for the files.
    pictures: dict[str, str] | None = {} if sweep.report else None
    _plot(sweep, pictures=pictures)
    if sweep.report:
        path = room.write(sweep.place, pictures=pictures, value=sweep.value)
        out.print(f"report: {path}", soft_wrap=True, markup=False)


def _named(row: Any) -> str:
    return row.metric if row.value == "score" else f"{row.metric} ({row.value})"


def _level(score: float) -> str:
    return "none" if math.isnan(score) else f"{score:.3f}"


def _when(step: float, low: float, high: float, status: str = "no gain") -> str:
    if math.isnan(step):
        return status
    if math.isnan(low) and math.isnan(high):
        return f"step {step:,.0f}"
    above = "..." if math.isinf(high) else f"{high:,.0f}"
    return f"step {step:,.0f} [{low:,.0f}, {above}]"
