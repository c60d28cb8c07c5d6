"""Commands on many runs: a collection's YAML file, or stores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dynamics.cli import readable
from dynamics.cli.console import Formats, out

if TYPE_CHECKING:
    from dynamics.config import Sweep

Runs = Annotated[
    list[str],
    typer.Argument(
        help="the YAML file of a collection, or stores (or their sweeps' YAML)", show_default=False
    ),
]
Output = Annotated[
    Path | None, typer.Option(help="the folder (default: store/<name of the collection>)")
]
Value = Annotated[
    str, typer.Option(help="which value of the metrics: score, r2, r2_corrected, over_ceiling")
]


def compare(runs: Runs, output: Output = None, formats: Formats = None, value: Value = "") -> None:
    """Compare many runs: tables, figures and one report.

    Example: dynamics compare collection.yaml
    """
    _compared(runs, output, formats, value)


def run(
    config: Path,
    scheduler: str | None,
    said: Mapping[str, Callable[[Sweep, Any], int]],
    *,
    patience: float,
    only: Sequence[str] = (),
) -> int:
    """Do what is missing of every run of a collection, then compare them.

    Parameters
    ----------
    config : Path
        The YAML file of a collection.
    scheduler : str or None
        Address of a running dask scheduler.
    said : mapping
        What is printed of each stage; it returns how many checkpoints failed in it.
    patience : float
        Seconds without a worker of the cluster that can work, after which it is given up.
    only : sequence of str
        Which figures of each run, as in `dynamics.plots.figures_of`.

    Returns
    -------
    int
        How many checkpoints failed and runs stopped.
    """
    from dynamics.collection.running import check_runs, run_all
    from dynamics.config import load_collection

    collection = load_collection(config)
    check_runs(collection)
    failed, before = 0, ""
    for done in run_all(collection, scheduler=scheduler, patience=patience, only=only):
        if done.run.name != before:
            before = done.run.name
            out.print(f"\n{readable(before)}", markup=False, style="bold")
        if done.stage == "kept":
            out.print(f"a store that is given: {done.run.place}", soft_wrap=True, markup=False)
        elif done.stage == "stopped":
            failed += 1
            out.print(readable(f"stopped: {done.found}"), soft_wrap=True, markup=False)
        elif done.stage in said and done.run.sweep is not None:
            failed += said[done.stage](done.run.sweep, done.found)
    out.print(f"\n{readable(collection.name)}", markup=False, style="bold")
    try:
        _compared([str(config)])
    except ValueError as error:
        out.print(readable(f"nothing to compare: {error}"), soft_wrap=True, markup=False)
        failed = failed or 1
    return failed


def pretrained(config: Path) -> list[Sweep]:
    """Return the sweeps of a collection that train a reference network.

    Parameters
    ----------
    config : Path
        The YAML file of a collection.

    Returns
    -------
    list of Sweep
        Those with a section `pretrain`.

    Raises
    ------
    ValueError
        If there is none.
    """
    from dynamics.config import load_collection

    runs = load_collection(config).runs
    found = [each.sweep for each in runs if each.sweep is not None and each.sweep.pretrain]
    if not found:
        raise ValueError(f"no run of {config} has a section `pretrain`: add it to train networks")
    return found


def _compared(
    runs: list[str],
    output: Path | None = None,
    formats: list[str] | None = None,
    value: str = "",
) -> None:
    from dynamics.collection.compare import compare

    written = compare(runs, output=output, formats=formats or ["png", "pdf"], value=value or None)
    for sentence in written.found.said:
        out.print(readable(f"gap: {sentence}"), soft_wrap=True, markup=False, highlight=False)
    out.print(f"tables and figures: {written.folder} ({len(written.files)} files)", soft_wrap=True)
    out.print(f"report: {written.report}", soft_wrap=True, markup=False)


COMMANDS = (compare,)
