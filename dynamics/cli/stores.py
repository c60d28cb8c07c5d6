"""Commands on a store: how far it is, whether it is sound, what is to be done again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dynamics.cli.console import (
    FAILED_CHECKPOINTS,
    Figures,
    Json,
    Plugins,
    Store,
    load_plugins,
    out,
    place_of,
    tell_failures,
    told,
)
from dynamics.progress import size_of, time_of

# Marks that are named one by one.
_SHOWN = 12


def status(store: Store, as_json: Json = False) -> None:
    """Say how far a store is.

    Example: dynamics status store/demo.zarr
    """
    import dynamics.store
    from dynamics.store.components import in_words

    place = place_of(store)
    # What is missing is said first: of a table that is damaged there is nothing else to say.
    damage = dynamics.store.verify_tables(place)
    if damage and not as_json:
        for path, fault in damage.items():
            out.print(f"damaged: {path} {fault}", soft_wrap=True, markup=False)
        out.print(f"  dynamics verify {store}  says how to mend it", soft_wrap=True, markup=False)
    found = dynamics.store.summarise(place)
    if as_json:
        more = {
            "damaged": damage,
            "controls": len(dynamics.store.controls(place)),
            "components": {
                layer: each._asdict() for layer, each in dynamics.store.variance_kept(place).items()
            },
            "notes": dynamics.store.notes(place),
            "failures": dynamics.store.failures(place),
        }
        told(vars(found) | more)
        dynamics.store.open(place)  # warns of what is missing
        return
    total = found.done + found.failed + found.pending
    out.print(f"{found.done} of {total} steps done, {found.failed} failed, {found.pending} missing")
    out.print(f"{found.layers} layers, {size_of(found.bytes)} in {found.files} files")
    if found.activation_bytes:
        whole = size_of(found.ratio * found.activation_bytes)
        out.print(
            f"activations: {size_of(found.activation_bytes)} of {whole} as float32 (ratio "
            f"{found.ratio:.2f}), {found.files_per_step:.0f} files a step"
        )
    if components := dynamics.store.variance_kept(place):
        out.print(f"components: {in_words(components)}", soft_wrap=True)
    if found.done:
        left = f"; ready in about {time_of(found.seconds_left)}" if found.pending else ""
        out.print(f"{found.seconds_per_step:.2f} s a step{left}")
    if controls := dynamics.store.controls(place):
        shuffled = sum(number >= dynamics.store.PERMUTED_FROM for number in controls)
        if fresh := len(controls) - shuffled:
            out.print(f"{fresh} untrained networks as controls")
        if shuffled:
            out.print(f"{shuffled} networks with permuted weights as controls")
    for note, steps in dynamics.store.notes(place).items():
        number = f"{len(steps)} of {found.done}"
        out.print(f"note: {note} ({number} steps)", soft_wrap=True, markup=False)
    tell_failures(dynamics.store.failures(place))
    dynamics.store.open(place)  # warns of what is missing


def verify(store: Store) -> None:
    """Compare every step with the hash taken when it was written.

    Example: dynamics verify store/demo.zarr
    """
    import dynamics.store

    place = place_of(store)
    found = {"step": dynamics.store.verify(place), "control": dynamics.store.verify_controls(place)}
    faults = [
        (f"{kind} {number} {fault}", _again(kind, number, fault))
        for kind, each in found.items()
        for number, fault in each.items()
    ]
    for (path, at), fault in dynamics.store.verify_results(place).items():
        where = path if at is None else f"{path} of step {at}"
        faults.append((f"{where}: {fault}", _again_of_results(path, at)))
    for said, _ in faults:
        out.print(said, soft_wrap=True, markup=False)
    if faults:
        # Of several what they have in common may be damaged, into which no step could be written.
        how = faults[0][1] if len(faults) == 1 else "--damaged"
        out.print("mend it with", markup=False)
        out.print(f"  dynamics redo {store} {how}", soft_wrap=True, markup=False)
        out.print("and `dynamics run` of its sweep", markup=False)
        raise typer.Exit(FAILED_CHECKPOINTS)
    controls = dynamics.store.controls(place)
    more = f" and {len(controls)} controls" if controls else ""
    out.print(f"{dynamics.store.summarise(place).done} steps{more} verified: all sound")


def _again(kind: str, number: int, fault: str) -> str:
    """Return the option that has a step or a control done again."""
    # Into what is described wrongly nothing can be written.
    return "--damaged" if "the description of" in fault else f"--{kind} {number}"


def _again_of_results(path: str, step: int | None) -> str:
    """Return the options that have results done again, or what is damaged elsewhere."""
    room, _, name = path.partition("/")
    if room == "results" and name.count("/") == 1:
        return f"--results {name}" + (f" --step {step}" if step is not None else "")
    return "--damaged"


def redo(
    store: Store,
    step: Annotated[
        list[int] | None, typer.Option(help="training step; may be given again")
    ] = None,
    control: Annotated[
        list[int] | None, typer.Option(help="number of an untrained network; may be given again")
    ] = None,
    results: Annotated[
        str | None, typer.Option(help="TARGET/METRIC, whose results at `--step`, or all, go")
    ] = None,
    damaged: Annotated[
        bool, typer.Option("--damaged", help="all that `dynamics verify` finds")
    ] = False,
) -> None:
    """Mark steps or results to be done again.

    Example: dynamics redo store/demo.zarr --step 100 --step 200
    """
    import dynamics.store

    if damaged:
        found = dynamics.store.redo_damaged(place_of(store))
        shown = [*found[:_SHOWN], *([f"{len(found) - _SHOWN} more"] if found[_SHOWN:] else [])]
        line = f"marked: {', '.join(shown)}; `dynamics run CONFIG` does them again"
        out.print(line if found else "nothing is damaged", soft_wrap=True, markup=False)
        return
    if results:
        target, _, metric = results.partition("/")
        dynamics.store.redo_results(place_of(store), target, metric, step or [])
        out.print(f"marked: {results}; `dynamics analyze` or `dynamics probe` does it again")
        return
    if not step and not control:
        raise ValueError(
            "nothing to do again: give `--step`, `--control`, `--results` or `--damaged`"
        )
    dynamics.store.redo(place_of(store), step or [], untrained=control or [])
    marked = ", ".join([*map(str, step or []), *(f"control {number}" for number in control or [])])
    out.print(f"marked: {marked}; `dynamics crawl CONFIG` does them again")


def report(
    store: Store,
    output: Annotated[
        Path | None, typer.Option(help="the file (default: store/<run>/report.html)")
    ] = None,
    value: Annotated[
        str,
        typer.Option(
            help="which value of the metrics: score, r2, r2_corrected, over_ceiling; or METRIC=r2"
        ),
    ] = "score",
    plugin: Plugins = None,
    figure: Figures = None,
    paths: Annotated[bool, typer.Option("--paths", help="show folders of this machine")] = False,
) -> None:
    """Write one HTML file: what was run, and what was found.

    Example: dynamics report store/demo.zarr --value r2
    """
    from dynamics.report import write

    load_plugins(plugin)
    label, named, own = value.rpartition("=")
    wanted: str | dict[str, str] = {label: own} if named else value
    path = write(place_of(store), output=output, value=wanted, only=figure or (), paths=paths)
    out.print(f"report: {path}", soft_wrap=True, markup=False)


def unlock(store: Store) -> None:
    """Take away the lock of a writer that is gone (object stores).

    Example: dynamics unlock s3://bucket/run.zarr
    """
    import dynamics.store

    holder = dynamics.store.unlock(place_of(store))
    out.print(f"was held by {holder}" if holder else "nothing to take away", soft_wrap=True)


COMMANDS = (status, verify, redo, report, unlock)
