"""The command line: parses, calls, prints."""

from __future__ import annotations

import logging
import math
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="When, during pretraining, do a network's representations become brain-like?",
)
out = Console()

Config = Annotated[Path, typer.Argument(help="YAML file of the sweep", show_default=False)]
Scheduler = Annotated[
    str | None, typer.Option(help="address of a running dask scheduler (default: this machine)")
]
Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format", help="png, svg or pdf, more than once for several (default: png, pdf)"
    ),
]

Store = Annotated[
    str, typer.Argument(help="a store, such as store/demo.zarr, or the YAML file of its sweep")
]

BAD_INPUT, FAILED_CHECKPOINTS = 2, 3


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
    except KeyboardInterrupt:
        print("dynamics: stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


@app.command()
def pretrain(config: Config) -> None:
    """Train a small reference network and save its successive checkpoints."""
    from dynamics.config import load_config

    _pretrain(load_config(config))


@app.command()
def crawl(config: Config, scheduler: Scheduler = None) -> None:
    """Extract every layer's activations at every checkpoint into the store."""
    from dynamics.config import load_config
    from dynamics.sweep import check_names

    sweep = load_config(config)
    check_names(sweep)
    _crawl(sweep, scheduler)


@app.command()
def analyze(config: Config, scheduler: Scheduler = None) -> None:
    """Compare every layer at every step with the brain targets."""
    from dynamics.config import load_config

    _analyze(load_config(config), scheduler)


@app.command()
def probe(config: Config) -> None:
    """Probe every layer and step for the sweep's downstream tasks."""
    from dynamics.config import load_config

    if _probe(load_config(config)):
        raise typer.Exit(FAILED_CHECKPOINTS)


@app.command()
def plot(config: Config, formats: Formats = None) -> None:
    """Draw the figures: curves, heat maps, order of emergence, best layer, probes."""
    from dynamics.config import load_config

    _plot(load_config(config), formats or ["png", "pdf"])


@app.command()
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
    _plot(sweep)
    _report(sweep)
    if failed:
        raise typer.Exit(FAILED_CHECKPOINTS)


@app.command()
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


@app.command()
def checkpoints(config: Config) -> None:
    """List the checkpoints of a sweep, without loading them."""
    from dynamics.config import load_config
    from dynamics.crawl import discover

    table = Table()
    for name, justify in (("step", "right"), ("where", "left"), ("size", "right"),
                          ("format", "left"), ("verdict", "left")):  # fmt: skip
        table.add_column(name, justify=justify, overflow="fold")
    for found in discover(load_config(config)):
        verdict = found.note or "ok"
        row = (f"{found.step:,}", found.uri, _size(found.bytes), found.format, verdict)
        table.add_row(*map(escape, row))
    out.print(table)


@app.command()
def models(
    adapter: Annotated[str, typer.Argument(help="an adapter, for its arguments")] = "",
) -> None:
    """List the adapters; or an adapter's arguments, and for s3prl its upstreams."""
    from dynamics import models as room

    if not adapter:
        table = Table("adapter", "what it runs", box=None)
        for name in sorted(room.ADAPTERS):
            table.add_row(*map(escape, (name, room.summary(name))))
        out.print(table)
        return
    out.print(room.summary(adapter), markup=False, highlight=False)
    for name, default in room.arguments(adapter).items():
        out.print(f"{name} (default: {default!r})", markup=False, highlight=False)
    if adapter == "s3prl":
        from dynamics.models.s3prl import upstreams

        out.print("upstreams: " + ", ".join(upstreams()), markup=False, highlight=False)


@app.command()
def metrics(
    metric: Annotated[str, typer.Argument(help="a metric, for its arguments")] = "",
) -> None:
    """List the metrics that a sweep can name; or a metric's arguments."""
    from dynamics import methods

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


@app.command()
def status(store: Store) -> None:
    """Say how far a store is."""
    from dynamics import store as room

    place = _place(store)
    found = room.summarise(place)
    total = found.done + found.failed + found.pending
    out.print(f"{found.done} of {total} steps done, {found.failed} failed, {found.pending} missing")
    out.print(f"{found.layers} layers, {_size(found.bytes)} in {found.files} files")
    if found.activation_bytes:
        whole = _size(found.ratio * found.activation_bytes)
        out.print(
            f"activations: {_size(found.activation_bytes)} of {whole} as float32 (ratio "
            f"{found.ratio:.2f}), {found.files_per_step:.0f} files a step"
        )
    if found.done:
        left = f"; about {found.seconds_left:.0f} s left" if found.pending else ""
        out.print(f"{found.seconds_per_step:.2f} s a step{left}")
    if controls := room.controls(place):
        out.print(f"{len(controls)} untrained networks as controls")
    for step, error in room.failures(place).items():
        out.print(f"failed: step {step}: {error}", soft_wrap=True, markup=False)


@app.command()
def verify(store: Store) -> None:
    """Compare every done step with the hash taken when it was written."""
    from dynamics import store as room

    place = _place(store)
    found = {"step": room.verify(place), "control": room.verify_controls(place)}
    for kind, faults in found.items():
        for number, fault in faults.items():
            out.print(f"{kind} {number} {fault}: mend it with", soft_wrap=True, markup=False)
            out.print(f"  dynamics redo {store} --{kind} {number}", soft_wrap=True, markup=False)
    if any(found.values()):
        raise typer.Exit(FAILED_CHECKPOINTS)
    controls = room.controls(place)
    more = f" and {len(controls)} controls" if controls else ""
    out.print(f"{room.summarise(place).done} steps{more} verified: all sound")


@app.command()
def redo(
    store: Store,
    step: Annotated[
        list[int] | None, typer.Option(help="training step; may be given again")
    ] = None,
    control: Annotated[
        list[int] | None, typer.Option(help="number of an untrained network; may be given again")
    ] = None,
) -> None:
    """Mark steps to be done again by the next crawl."""
    from dynamics import store as room

    if not step and not control:
        raise ValueError("nothing to do again: give `--step` or `--control`")
    room.redo(_place(store), step or [], untrained=control or [])
    marked = ", ".join([*map(str, step or []), *(f"control {number}" for number in control or [])])
    out.print(f"marked: {marked}; `dynamics crawl CONFIG` does them again")


@app.command()
def report(
    store: Store,
    output: Annotated[
        Path | None, typer.Option(help="the file (default: store/<run>/report.html)")
    ] = None,
) -> None:
    """Write one HTML file: what was run, what was found, figures and tables."""
    from dynamics import report as room

    out.print(f"report: {room.write(_place(store), output=output)}", soft_wrap=True, markup=False)


@app.command()
def unlock(store: Store) -> None:
    """Take away the lock of a store in an object store whose writer is gone."""
    from dynamics import store as room

    holder = room.unlock(_place(store))
    out.print(f"was held by {holder}" if holder else "nothing to take away", soft_wrap=True)


@app.command()
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
    _plot(sweep)
    _report(sweep)


def _place(store: str):
    """Return where a store is; with the options of its sweep, if that is what is named."""
    from dynamics import store as room
    from dynamics.config import load_config

    if store.endswith((".yaml", ".yml")):
        return load_config(store).place
    return room.Place(store)


def _pretrain(sweep) -> None:
    from dynamics import sweep as room

    out.print(f"checkpoints: {room.pretrain(sweep)}", soft_wrap=True)


def _crawl(sweep, scheduler: str | None, *, stop: bool = True) -> int:
    from dynamics import crawl as room
    from dynamics import store

    counts = room.crawl(sweep, scheduler=scheduler)
    out.print(
        f"store: {sweep.store} ({counts['done']} steps, {counts['new']} of them new)",
        soft_wrap=True,
    )
    for step, error in store.failures(sweep.place).items():
        out.print(f"failed: step {step}: {error}", soft_wrap=True, markup=False)
    if counts["failed"] and stop:
        raise typer.Exit(FAILED_CHECKPOINTS)
    return counts["failed"]


def _analyze(sweep, scheduler: str | None) -> None:
    from dynamics import analyze as room

    counts = room.analyze(sweep, scheduler=scheduler)
    out.print(f"results: {counts['new']} new, {counts['already']} there already")


def _probe(sweep) -> int:
    from dynamics import probes as room

    counts = room.probe(sweep)
    new, already = counts["new"], counts["already"]
    failed = f", {counts['failed']} failed" if counts["failed"] else ""
    out.print(f"probes: {new} new, {already} there already{failed}")
    return counts["failed"]


def _plot(sweep, formats: Sequence[str] = ("png", "pdf")) -> None:
    from dynamics import sweep as room

    written = room.plot(sweep, formats=formats)
    table = Table(title="When each layer has made half of its final gain")
    for name in ("target", "metric", "layer"):
        table.add_column(name)
    for name in ("untrained", "final", "half-time [95 %]"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in room.half_times(sweep).itertuples():
        when = _when(row.half_time, row.low, row.high)
        levels = (f"{row.untrained:.3f}", f"{row.final:.3f}")
        table.add_row(*map(escape, (row.target, row.metric, row.layer, *levels, when)))
    if table.row_count:
        out.print(table)
    out.print(f"store: {sweep.store}", soft_wrap=True)
    if written:
        out.print(f"figures: {sweep.figures} ({len(written)} files)", soft_wrap=True)


def _report(sweep) -> None:
    from dynamics import report as room

    if sweep.report:
        path = room.write(sweep.place)
        out.print(f"report: {path}", soft_wrap=True, markup=False)


def _when(step: float, low: float, high: float) -> str:
    if math.isnan(step):
        return "no gain"
    if math.isnan(low) and math.isnan(high):
        return f"step {step:,.0f}"
    above = "..." if math.isinf(high) else f"{high:,.0f}"
    return f"step {step:,.0f} [{low:,.0f}, {above}]"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
