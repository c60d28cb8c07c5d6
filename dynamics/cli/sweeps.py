"""Commands on a sweep: each takes its YAML file and does only what is missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from dynamics.cli import readable
from dynamics.cli.console import (
    FAILED_CHECKPOINTS,
    Config,
    Figures,
    Formats,
    Json,
    Patience,
    Scheduler,
    out,
    tell_failures,
    told,
)
from dynamics.cluster import PATIENCE, kept
from dynamics.progress import size_of
from dynamics.secrets import public, redacted

if TYPE_CHECKING:
    from dynamics.brains.targets import Loaded
    from dynamics.checkpoints import Checkpoint
    from dynamics.config import Sweep


def pretrain(config: Config) -> None:
    """Train a small reference network, saving checkpoints.

    Example: dynamics pretrain configs/natsound165.yaml
    """
    from dynamics.cli import collections
    from dynamics.config import is_collection, load_config

    for sweep in collections.pretrained(config) if is_collection(config) else [load_config(config)]:
        _pretrain(sweep)


def crawl(config: Config, scheduler: Scheduler = None, patience: Patience = PATIENCE) -> None:
    """Extract every layer's activations at every checkpoint.

    Example: dynamics crawl sweep.yaml --scheduler tcp://head:8786
    """
    from dynamics.config import load_config
    from dynamics.extraction.crawl import crawl
    from dynamics.sweep import check_names

    sweep = load_config(config)
    check_names(sweep)
    _end(_crawled(sweep, crawl(sweep, scheduler=scheduler, patience=patience)))


def analyze(config: Config, scheduler: Scheduler = None, patience: Patience = PATIENCE) -> None:
    """Compare every layer at every step with the brain targets.

    Example: dynamics analyze sweep.yaml
    """
    from dynamics.analysis.analyze import analyze
    from dynamics.config import load_config

    sweep = load_config(config)
    _analyzed(sweep, analyze(sweep, scheduler=scheduler, patience=patience))


def probe(config: Config, scheduler: Scheduler = None, patience: Patience = PATIENCE) -> None:
    """Probe every layer and step for the sweep's downstream tasks.

    Example: dynamics probe sweep.yaml
    """
    from dynamics.config import load_config
    from dynamics.probes import probe

    sweep = load_config(config)
    _end(_probed(sweep, probe(sweep, scheduler=scheduler, patience=patience)))


def plot(config: Config, formats: Formats = None, figure: Figures = None) -> None:
    """Draw the figures of a sweep.

    Example: dynamics plot sweep.yaml --format svg --figure heatmap
    """
    from dynamics.config import load_config
    from dynamics.sweep import plot

    sweep = load_config(config)
    _plotted(sweep, plot(sweep, formats=formats or ["png", "pdf"], only=figure or ()))


def run(
    config: Config,
    scheduler: Scheduler = None,
    patience: Patience = PATIENCE,
    figure: Figures = None,
) -> None:
    """Crawl, analyze, probe, plot, report: all that is missing.

    Example: dynamics run sweep.yaml
    """
    from dynamics.cli import collections
    from dynamics.config import is_collection, load_config
    from dynamics.plots import wanted
    from dynamics.sweep import check

    if is_collection(config):
        options: dict[str, Any] = {"patience": patience, "only": figure or ()}
        _end(collections.run(config, scheduler, SAID, **options))
        return
    sweep = load_config(config)
    wanted(figure or ())  # before anything is computed
    _all(sweep, scheduler, check(sweep), patience, figure or ())


def watch(
    config: Config,
    every: Annotated[float, typer.Option(help="seconds between two looks", min=0.1)] = 30.0,
) -> None:
    """Follow a run that is still training, until stopped.

    Example: dynamics watch sweep.yaml --every 600
    """
    from dynamics.config import load_config
    from dynamics.extraction.crawl import watch as follow
    from dynamics.sweep import check_names

    sweep = load_config(config)
    check_names(sweep)
    out.print(f"watching {sweep.checkpoints}; Ctrl-C stops, the same command goes on")
    for counts in follow(sweep, every=every):
        if counts["new"]:
            out.print(f"{counts['new']} new, {counts['done']} done, {counts['failed']} failed")


def checkpoints(config: Config, as_json: Json = False) -> None:
    """List the checkpoints of a sweep, without loading them.

    Example: dynamics checkpoints sweep.yaml --json
    """
    from dynamics.checkpoints import about, left_out
    from dynamics.config import load_config
    from dynamics.extraction.crawl import discover

    sweep = load_config(config)
    found = discover(sweep)
    if as_json:
        told([_listed(each) for each in found])
        return
    table = Table()
    unit = found[0].unit.removesuffix("s")
    for name in (unit, "where", "size", "format", "verdict"):
        numbers = name in (unit, "size")
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for each in found:
        row = {**_listed(each), "step": f"{each.step:,}", "size": size_of(each.bytes)}
        words = (row[name] for name in ("step", "uri", "size", "format", "verdict"))
        table.add_row(*(escape(readable(text)) for text in words))
    out.print(table)
    if said := about(found):
        out.print(readable(said), soft_wrap=True, markup=False, highlight=False)
    if sweep.select == "all" and sweep.activations is None:
        for kind in left_out(sweep.checkpoints, [each.uri for each in found]):
            out.print(readable(redacted(f"left out: {kind.told()}")), soft_wrap=True, markup=False)


def _listed(found: Checkpoint) -> dict[str, Any]:
    """Return what is known of a checkpoint before it is loaded."""
    return {
        "step": found.step,
        "unit": found.unit,
        "uri": public(found.uri),
        "bytes": found.bytes,
        "format": found.format,
        "verdict": found.note or "ok",
    }


def init(
    folder: Annotated[str, typer.Argument(help="folder, glob or URL of checkpoints")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="the YAML file (default: RUN.yaml)")
    ] = None,
    force: Annotated[bool, typer.Option(help="write over a file that is there")] = False,
) -> None:
    """Look at a folder of checkpoints and write a sweep for it.

    Example: dynamics init /data/runs/my-run/checkpoints
    """
    from dynamics.proposal import propose

    found = propose(folder)
    path = output or Path(f"{found.sweep['run']}.yaml")
    if path.exists() and not force:
        raise ValueError(f"{path} is there already: give another `--output`, or `--force`")
    path.write_text(found.text(), encoding="utf-8")
    for line in found.text().splitlines():
        out.print(readable(line), soft_wrap=True, markup=False, highlight=False)
    then = "see its TO DO first, then" if found.notes else "go on with"
    out.print(f"written: {path}; {then} `dynamics run {path}`", soft_wrap=True, markup=False)


def demo() -> None:
    """Do everything on an embedded default; no data needed.

    Example: dynamics demo
    """
    from dynamics.sweep import demo as embedded

    sweep = embedded()
    out.print("[bold]Demonstration[/bold]: generated sounds, a simulated listener, no real brain.")
    _pretrain(sweep)
    _all(sweep)


COMMANDS = (pretrain, crawl, analyze, probe, plot, run, watch, checkpoints, init, demo)


def _all(
    sweep: Sweep,
    scheduler: str | None = None,
    loaded: Loaded | None = None,
    patience: float = PATIENCE,
    only: Sequence[str] = (),
) -> None:
    """Do all stages, and say of each what it did; its failures are those of the command."""
    from dynamics.sweep import stages

    with kept(sweep.where(scheduler)):
        done = stages(sweep, scheduler=scheduler, loaded=loaded, patience=patience, only=only)
        failed = sum(SAID[name](sweep, found) for name, found in done)
    _end(failed)


def _end(failed: int) -> None:
    if failed:
        raise typer.Exit(FAILED_CHECKPOINTS)


def _pretrain(sweep: Sweep) -> None:
    from dynamics.sweep import pretrain

    out.print(f"checkpoints: {pretrain(sweep)}", soft_wrap=True)


def _crawled(sweep: Sweep, counts: Mapping[str, int]) -> int:
    from dynamics import store

    unit = (store.counting(sweep.place) or ("steps", 0))[0]
    failed = f" and {counts['failed']} that failed" if counts["failed"] else ""
    out.print(
        f"store: {sweep.store} ({counts['done']} {unit}{failed}, {counts['new']} of them new)",
        soft_wrap=True,
    )
    tell_failures(store.failures(sweep.place))
    return counts["failed"]


def _analyzed(sweep: Sweep, counts: Mapping[str, int]) -> int:
    from dynamics.sweep import at_edges, shared_courses

    out.print(f"results: {counts['new']} new, {counts['already']} there already")
    for sentence in (*at_edges(sweep), *shared_courses(sweep)):
        out.print(sentence, soft_wrap=True, markup=False, highlight=False)
    return 0


def _probed(sweep: Sweep, counts: Mapping[str, int]) -> int:
    new, already = counts["new"], counts["already"]
    failed = f", {counts['failed']} failed" if counts["failed"] else ""
    out.print(f"probes: {new} new, {already} there already{failed}")
    return counts["failed"]


def _plotted(sweep: Sweep, written: Sequence[Path]) -> int:
    from dynamics import store
    from dynamics.sweep import half_times, without_intervals

    unit = (store.counting(sweep.place) or ("steps", 0))[0].removesuffix("s")
    table = Table(title="When each layer has made half of its final gain")
    for name in ("target", "metric", "layer"):
        table.add_column(name)
    for name in ("untrained", "final", "half-time [95 %]"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in half_times(sweep).itertuples():
        when = _when(row.half_time, row.low, row.high, row.status, unit)
        levels = (_level(row.untrained), _level(row.final))
        table.add_row(*map(escape, (row.target, _named(row), row.layer, *levels, when)))
    if table.row_count:
        out.print(table)
    for sentence in without_intervals(sweep):
        out.print(sentence, soft_wrap=True, markup=False, highlight=False)
    out.print(f"store: {sweep.store}", soft_wrap=True)
    if written:
        out.print(f"figures: {sweep.figures} ({len(written)} files)", soft_wrap=True)
    return 0


def _reported(sweep: Sweep, path: Path) -> int:
    out.print(f"report: {path}", soft_wrap=True, markup=False)
    return 0


# What is printed of each stage; it returns how many checkpoints failed in it.
SAID: dict[str, Callable[[Sweep, Any], int]] = {
    "crawl": _crawled,
    "analyze": _analyzed,
    "probe": _probed,
    "plot": _plotted,
    "report": _reported,
}


def _named(row: Any) -> str:
    return row.metric if row.value == "score" else f"{row.metric} ({row.value})"


def _level(score: float) -> str:
    return "none" if math.isnan(score) else f"{score:.3f}"


def _when(step: float, low: float, high: float, status: str = "no gain", unit: str = "step") -> str:
    if math.isnan(step):
        return status
    if math.isnan(low) and math.isnan(high):
        return f"{unit} {step:,.0f}"
    above = "..." if math.isinf(high) else f"{high:,.0f}"
    return f"{unit} {step:,.0f} [{low:,.0f}, {above}]"
