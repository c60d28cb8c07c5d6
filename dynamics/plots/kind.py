"""What a kind of figure is: one record, and what it is drawn of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import xarray as xr
from matplotlib.figure import Figure

from dynamics.plots.figures import simulated


class Shown(NamedTuple):
    """What a figure is drawn of.

    Attributes
    ----------
    tree : xarray.DataTree
        The store.
    metric : str
        Label of the metric.
    targets : tuple of str
        Labels of the targets: one, or all that have the metric, or none.
    results : xarray.Dataset
        Of the one target and the metric, with gaps at failed steps; or what compares a model with
        itself by the metric.
    other : str
        What else tells it apart, as the record's `takes` gave it.
    """

    tree: xr.DataTree
    metric: str
    targets: tuple[str, ...]
    results: xr.Dataset
    other: str = ""

    @property
    def run(self) -> str:
        """Name of the run."""
        return str(self.tree.attrs.get("run", ""))

    @property
    def title(self) -> str:
        """What it is of, in words."""
        return f"{simulated(self.results)}{self.targets[0]}, {self.metric}"


class Kind(NamedTuple):
    """A kind of figure.

    Attributes
    ----------
    draw : callable
        Takes `Shown` and returns the matplotlib figure.
    file : str
        Name of the file, with ``{metric}``, ``{target}`` and ``{other}``.
    caption : str
        What stands under it in the report, with ``{metric}`` (as it is shown), ``{targets}``,
        ``{name}`` (target and metric) and ``{other}``.
    alt : str
        What it shows, for those who do not see it, with ``{said}`` (how the best layer rises),
        ``{parts}`` (the same of neuroids or regions) and ``{when}`` (half-times) besides.
    of : {"target", "metric", "self"}
        Whether there is one a target and metric, one a metric with all its targets, or one of
        what compares a model with itself.
    takes : callable
        Takes `Shown` and returns for which `other` the figure is drawn: by default once; none
        where the results do not have what it needs.
    group : str
        Heading in the report; by default that of the target and metric.
    wide : bool
        Whether it has several panels beside each other.
    asked : bool or callable
        Whether it is drawn only where it is asked for, by its name or as all are; a function takes
        `Shown`.
    """

    draw: Callable[[Shown], Figure]
    file: str
    caption: str
    alt: str
    of: str = "target"
    takes: Callable[[Shown], Sequence[str]] = lambda shown: ("",)
    group: str = ""
    wide: bool = False
    asked: bool | Callable[[Shown], bool] = False

    def check(self) -> None:
        """Raise a ValueError that says what is wrong with a record."""
        if self.of not in ("target", "metric", "self"):
            raise ValueError(f"`of` must be 'target', 'metric' or 'self', not {self.of!r}")
        try:
            self.file.format(metric="", target="", other="")
        except (KeyError, IndexError, ValueError):
            raise ValueError(
                f"its file {self.file!r} may hold {{metric}}, {{target}} and {{other}} alone"
            ) from None


class Drawing(NamedTuple):
    """A figure of a store that is still to be drawn.

    Attributes
    ----------
    name : str
        Such as "heatmap-ridge-cortex", for a file.
    kind : str
        A name in `FIGURES`.
    metric : str
        Label of the metric.
    targets : tuple of str
        Labels of the targets that it shows; none for what compares a model with itself.
    draw : callable
        Draws it and returns the matplotlib figure.
    other : str
        What else tells it apart: by what a forest plot is ordered, or the task of a probe.
    """

    name: str
    kind: str
    metric: str
    targets: tuple[str, ...]
    draw: Callable[[], Figure]
    other: str = ""
