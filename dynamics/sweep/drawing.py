"""The figures of a sweep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import xarray as xr

from dynamics import plots, probes, report
from dynamics.config import Sweep
from dynamics.sweep.findings import probed, results_of


def plot(
    sweep: Sweep,
    *,
    formats: Sequence[str] = plots.FORMATS,
    pictures: dict[str, str] | None = None,
    only: Sequence[str] = (),
) -> list[Path]:
    """Draw the figures of a sweep; see `dynamics.plots.figures_of` and `figures_of_steps`.

    Parameters
    ----------
    sweep : Sweep
        The sweep.
    formats : sequence of str
        As in `dynamics.plots.save`.
    pictures : dict, optional
        Is given every figure by name, for `dynamics.report.write`, which need not draw it then.
    only : sequence of str
        Which figures, by their names in `dynamics.plots.FIGURES`, or ``["all"]``; by default those
        that a paper would show.

    Returns
    -------
    list of Path
        The figures.

    Raises
    ------
    ValueError
        If the store has no results of the sweep's targets and metrics.
    """
    tree = results_of(sweep)
    written: list[Path] = []
    for drawing in _drawings(sweep, tree, only):
        figure = drawing.draw()
        written += plots.save(figure, sweep.figures / drawing.name, formats=formats)
        if pictures is not None:
            pictures[drawing.name] = report.data_uri(figure)
    return written


def _drawings(sweep: Sweep, tree: xr.DataTree, only: Sequence[str]) -> Iterator[plots.Drawing]:
    """Name the figures of what a sweep asks for."""
    plots.wanted(only)  # a name that is none is said before anything is drawn
    for metric in sweep.metrics if sweep.targets else ():
        targets = [
            t.label for t in sweep.targets if f"/results/{t.label}/{metric.label}" in tree.groups
        ]
        if not targets:
            raise ValueError(
                f"store {sweep.store} has no results of {metric.label!r}: run `dynamics analyze`"
            )
        yield from plots.figures_of(tree, metric.label, targets, only=only)
    if tasks := probed(sweep, tree):
        yield from plots.figures_of(tree, probes.METRIC, tasks, only=only)
    yield from plots.figures_of_steps(tree, only=only)
