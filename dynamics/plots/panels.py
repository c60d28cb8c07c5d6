"""Panels beside each other, and the one legend that they share."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from dynamics.emergence.population import population
from dynamics.emergence.remarks import briefly, why_no_intervals
from dynamics.plots.names import even, fit_legend, printable
from dynamics.plots.style import COLUMN, LEVELS, MM, PAGE, figure_of, grid

# Inches that a legend may take of a figure as it is; and entries of one column.
_ROOM, _TALL = 22 * MM, 10

_NARROW = 34  # letters that fit above one of three panels
_NO_LIMITS = "no limits"
_OF_SOME = re.compile(r" \(\d+ of \d+ neuroids\)$")
_OVER = "95 % over "

# What is no curve stands last in a legend.
_LAST = (
    *(text for text, *_ in LEVELS.values()),
    *(f"{text} (right)" for text, *_ in LEVELS.values()),
    "permuted weights, mean of layers",
    *("untrained", "untrained, all layers", "half-time", "step without data"),
)


def panels(number: int, *, height: float = 52, sharey: bool = True) -> tuple[Figure, np.ndarray]:
    """Return a figure with panels of common axes, at most three a row.

    Parameters
    ----------
    number : int
        How many panels.
    height : float
        Of a row, in mm.
    sharey : bool
        Whether scores have one axis; what is of several kinds has not.

    Returns
    -------
    figure : matplotlib.figure.Figure
        One column wide for one panel, else a page.
    axes : array of shape (number,)
        The panels.
    """
    columns = min(3, number) if number != 4 else 2
    rows = -(-number // columns)
    return grid(
        number,
        columns,
        width=COLUMN if columns == 1 else PAGE,
        height=height * rows + (16 if columns > 1 else 24),
        sharex=True,
        sharey=sharey,
    )


def label_outer(axes: np.ndarray) -> None:
    """Leave labels on the left and on the lowest panel of each column.

    Parameters
    ----------
    axes : array of matplotlib.axes.Axes
        From `panels`.
    """
    columns = axes[0].get_subplotspec().get_gridspec().ncols
    for place, ax in enumerate(axes):
        shared = ax.get_shared_y_axes().joined(ax, axes[0])
        ax.tick_params(labelleft=place % columns == 0 or not shared)
        left = axes[place - place % columns].get_ylabel()
        # Probes of several tasks have scores of several kinds.
        ax.set_ylabel("" if place % columns and ax.get_ylabel() == left else ax.get_ylabel())
        lowest = place + columns >= len(axes)
        ax.tick_params(labelbottom=lowest)
        ax.set_xlabel(ax.get_xlabel() if lowest else "")


def name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Write the names of what has a row each at the left, the first on top."""
    ax.set_yticks(range(len(names)), [str(name) for name in names])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(names) - 0.4, -0.6)


def draw_legend(*axes: Axes, what: str = "bands", notes: Iterable[str] = ()) -> None:
    """Draw one legend for several axes below them, and say what the bands are.

    Parameters
    ----------
    *axes : matplotlib.axes.Axes
        Of one figure: whose labels to gather; a label that comes twice is shown once. Where
        limits are not over the same in all of them, each says in its title over what.
    what : str
        What shows the limits.
    notes : iterable of str
        Sentences about the whole figure, which stand over the entries; what comes twice is
        written once.
    """
    figure = figure_of(axes[0])
    entries: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels()):
            entries.setdefault(label, handle)
    entries = dict(sorted(entries.items(), key=lambda entry: _OF_SOME.sub("", entry[0]) in _LAST))
    limits = [ax.get_gid() or "" for ax in axes]
    overs = [told.removeprefix(_OVER) for told in dict.fromkeys(limits) if told.startswith(_OVER)]
    notes = [*notes]
    if len(set(limits)) > 1:
        for ax, told in zip(axes, limits):
            lines = textwrap.wrap(told, _NARROW) if told.startswith(_NO_LIMITS) else [told]
            ax.set_title("\n".join(part for part in (ax.get_title(), *lines) if part))
        limits = [""]
        notes += [f"over {over}: {population(over)}" for over in overs]
    told = limits[0]
    if told.startswith(_NO_LIMITS):
        told = wrapped(told, figure)
    elif told:
        told = f"{what}: {told}"
        if overs:
            told += "\n" + wrapped(f"({population(overs[0])})", figure)
    said = [told] if told else []
    said += [wrapped(note, figure) for note in dict.fromkeys(notes) if note]
    legend_below(figure, entries, title="\n".join(said) or None)


def told_limits(over: str, *results: xr.Dataset) -> str:
    """Say over what the limits in axes are, or why there are none, for the axes' `gid`.

    Parameters
    ----------
    over : str
        What the limits are over; empty where there are none.
    *results : xarray.Dataset
        Results that are drawn.

    Returns
    -------
    str
        What `draw_legend` writes below the axes.
    """
    if over:
        return f"{_OVER}{over}"
    why = next((told for each in results if (told := why_no_intervals(each))), "")
    return f"{_NO_LIMITS}: {briefly(why)}" if why else ""


def wrapped(text: str, figure: Figure) -> str:
    """Break a sentence into lines that a figure is wide enough for.

    Parameters
    ----------
    text : str
        Words.
    figure : matplotlib.figure.Figure
        The figure.

    Returns
    -------
    str
        With line ends.
    """
    # Letters of a legend's title are little more than half as wide as high, on average.
    letters = figure.get_figwidth() * 72 / (0.56 * _points(plt.rcParams["legend.title_fontsize"]))
    return even(printable(text), int(letters))


def _points(size: Any) -> float:
    return FontProperties(size=size or plt.rcParams["legend.fontsize"]).get_size_in_points()


def legend_below(
    figure: Figure, entries: Mapping[str, Any], *, title: str | None = None, most: int = 6
) -> None:
    """Draw a legend below all axes, in as many columns as fit; the figure grows by a long one.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.
    entries : mapping of str to artist
        What stands for what.
    title : str, optional
        Above it.
    most : int
        How many columns at most.
    """
    options: dict[str, Any] = {
        "loc": "outside lower center",
        "title": title,
        "handlelength": 1.8,
        "columnspacing": 1.2,
    }
    size = plt.rcParams["legend.fontsize"]
    fewest = 1 if len(entries) <= _TALL else 2
    many = max(len(entries), 1)
    # No more columns than the rows need, so that no entry stands alone in the last row.
    full = (-(-many // -(-many // n)) for n in range(max(fewest, min(most, many)), 0, -1))
    for columns in dict.fromkeys(full):
        labels = [printable(label) for label in entries]
        if columns == fewest:
            labels = fit_legend(labels, figure, columns=columns, size=size)
        legend = figure.legend(list(entries.values()), labels, ncols=columns, **options)
        legend.get_title().set_multialignment("center")
        box = legend.get_window_extent()
        if box.width < figure.bbox.width or columns == 1:
            # What the axes would lose beyond the room that figures have for legends.
            width, height = figure.get_size_inches()
            missing = box.height / figure.dpi - max(_ROOM, 0.3 * height)
            if missing > 0:
                figure.set_size_inches(width, height + missing)
            return
        legend.remove()
