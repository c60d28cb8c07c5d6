"""The order of the stages: crawl, analyze, probe, plot, report."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from dynamics import probes, report, store
from dynamics.analysis import analyze
from dynamics.brains.targets import Loaded
from dynamics.cluster import PATIENCE, kept
from dynamics.config import Sweep, load_config
from dynamics.extraction import crawl
from dynamics.sweep.checks import check
from dynamics.sweep.drawing import plot


def run(
    sweep: Sweep | str | Path | Mapping[str, Any],
    *,
    scheduler: str | None = None,
    patience: float = PATIENCE,
) -> xr.DataTree:
    """Crawl, analyze, probe, plot and report a sweep; only what is missing is computed.

    Parameters
    ----------
    sweep : Sweep, path or mapping
        A sweep, the YAML file of one, or a dictionary of what such a file holds.
    scheduler : str, optional
        Address of a running dask scheduler.
    patience : float
        Seconds without a worker of the cluster that can work, after which it is given up.

    Returns
    -------
    xarray.DataTree
        The store, as `dynamics.open` returns it.
    """
    if not isinstance(sweep, Sweep):
        sweep = load_config(sweep)
    with kept(sweep.where(scheduler)):
        for _ in stages(sweep, scheduler=scheduler, loaded=check(sweep), patience=patience):
            pass
    importlib.import_module("dynamics.accessor")  # registers `dataset.dynamics`
    return store.open(sweep.place)


def stages(
    sweep: Sweep,
    *,
    scheduler: str | None = None,
    loaded: Loaded | None = None,
    patience: float = PATIENCE,
    only: Sequence[str] = (),
) -> Iterator[tuple[str, Any]]:
    """Do what a sweep asks for, one stage after the other; only what is missing is computed.

    Parameters
    ----------
    sweep : Sweep
        A sweep in which `check` finds nothing.
    scheduler : str, optional
        Address of a running dask scheduler.
    loaded : Loaded, optional
        The sweep's sounds and targets, as `check` returns them; by default they are loaded.
    patience : float
        Seconds without a worker of the cluster that can work, after which it is given up.
    only : sequence of str
        Which figures, as in `plot`.

    Yields
    ------
    name : str
        Of the stage that is done: crawl, analyze, probe, plot or report.
    found : object
        What the function of this name returned; the next stage begins when it is asked for.
    """
    stimuli = None if loaded is None else loaded.stimuli
    where: dict[str, Any] = {"scheduler": scheduler, "patience": patience}
    yield "crawl", crawl.crawl(sweep, stimuli=stimuli, **where)
    if sweep.targets or sweep.self_similarity:
        yield "analyze", analyze.analyze(sweep, loaded=loaded, **where)
    if sweep.probes:
        yield "probe", probes.probe(sweep, **where)
    # The report takes the figures that are drawn for the files.
    pictures: dict[str, str] | None = {} if sweep.report else None
    yield "plot", plot(sweep, pictures=pictures, only=only)
    if sweep.report:
        kinds: dict[str, Any] = {"pictures": pictures, "only": only}
        yield "report", report.write(sweep.place, value=sweep.value, **kinds)
