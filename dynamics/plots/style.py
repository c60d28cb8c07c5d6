"""How figures look: sizes, colours that everybody can tell apart, and files."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure

from dynamics.analysis import METHODS
from dynamics.filesystems import replacing
from dynamics.plots.names import families, fit
from dynamics.store.attributes import mapping

MM = 1 / 25.4
COLUMN, PAGE = 85 * MM, 180 * MM

STYLE: dict[Any, Any] = {
    "font.family": families(),
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 7.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6,
    "legend.title_fontsize": 6.5,
    "legend.frameon": False,
    "lines.linewidth": 1.1,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 150,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    # Names are users' words: a dollar in one begins no formula.
    "text.parse_math": False,
    "text.usetex": False,
    "svg.hashsalt": "dynamics",
    "savefig.dpi": 300,
    "figure.autolayout": False,
    "figure.constrained_layout.use": False,
}

# Levels across: name in legends, colour, dashes.
LEVELS: dict[str, tuple[str, str, str | tuple]] = {
    "baseline": ("spectrotemporal baseline", "0.35", (0, (3, 1.2))),
    "ceiling": ("noise ceiling", "0.1", (0, (1, 1))),
    "chance": ("chance", "0.35", "-."),
    "permuted": ("permuted weights", "0.5", (0, (5, 1.5, 1, 1.5))),
}

FORMATS = ("png", "pdf")

# Okabe & Ito (2008), without the yellow that is lost on white.
GROUPS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

_drawing: ContextVar[bool] = ContextVar("drawing", default=False)

P = ParamSpec("P")
T = TypeVar("T")


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function so that whatever it draws has the style, and names in it fit."""

    @functools.wraps(draw)
    def inner(*args: P.args, **kwargs: P.kwargs) -> T:
        outermost = not _drawing.get()
        token = _drawing.set(True)
        try:
            with plt.rc_context(STYLE):
                found = draw(*args, **kwargs)
                # In somebody's own axes, or in one that is a part of more, nothing is laid out.
                if outermost and kwargs.get("ax") is None:
                    fit(_whole(found))
                return found
        finally:
            _drawing.reset(token)

    return inner


def _whole(drawn: Any) -> Figure:
    return drawn if isinstance(drawn, Figure) else figure_of(np.ravel(drawn)[0])


def layer_colours(number: int) -> list[tuple[float, float, float]]:
    """Return colours in order of lightness, for layers from input to output.

    Parameters
    ----------
    number : int
        How many.

    Returns
    -------
    list of (red, green, blue)
        From viridis, without its yellow end.
    """
    return [tuple(rgba[:3]) for rgba in plt.get_cmap("viridis")(np.linspace(0, 0.88, number))]


def group_colours(number: int) -> list[tuple[float, float, float]]:
    """Return colours of what has no order: components, regions, subjects, models.

    Parameters
    ----------
    number : int
        How many; beyond seven they come again, so markers are varied with them.

    Returns
    -------
    list of (red, green, blue)
        Colours.
    """
    return list(sns.color_palette(list(GROUPS), number))


def group_markers(number: int) -> list[str]:
    """Return markers that go with `group_colours`: colour and marker together are unique."""
    count = len(MARKERS)
    return [MARKERS[(place + place // count) % count] for place in range(number)]


def panel(ax: Axes | None, *, height: float = 62, width: float = COLUMN) -> Axes:
    """Return the axes, or those of a new figure of one column's width.

    Parameters
    ----------
    ax : matplotlib.axes.Axes or None
        Where to draw.
    height : float
        Of a new figure, in mm.
    width : float
        Of a new figure, in inches.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(width, height * MM), layout="constrained")
    return ax


def sheet(rows: int, columns: int, *, width: float, height: float, **options) -> tuple:
    """Return a new figure that no window shows, and its axes.

    Parameters
    ----------
    rows, columns : int
        Of panels.
    width : float
        Inches.
    height : float
        Millimetres.
    **options
        As in `matplotlib.figure.Figure.subplots`.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure.
    axes : array of shape (rows, columns)
        Its axes.
    """
    figure = Figure(figsize=(width, height * MM), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def grid(
    number: int, columns: int, *, width: float, height: float, **options
) -> tuple[Figure, np.ndarray]:
    """Return a new figure with so many panels, what is left of the last row being empty.

    Parameters
    ----------
    number, columns : int
        Of panels.
    width, height, **options
        As for `sheet`.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure.
    axes : array of shape (number,)
        The panels, row by row.
    """
    figure, axes = sheet(-(-number // columns), columns, width=width, height=height, **options)
    for ax in axes.flat[number:]:
        ax.set_visible(False)
    return figure, axes.ravel()[:number]


def colour_bar(mappable: ScalarMappable, axes: Any, *, label: str, **options: Any) -> Colorbar:
    """Draw a colour bar beside axes.

    Parameters
    ----------
    mappable : matplotlib.cm.ScalarMappable
        What has the colours.
    axes : matplotlib.axes.Axes or array of them
        Whose room it takes a part of.
    label : str
        What the colours stand for.
    **options
        As in `matplotlib.figure.Figure.colorbar`.

    Returns
    -------
    matplotlib.colorbar.Colorbar
        The bar.
    """
    figure = figure_of(np.ravel(axes)[0])
    bar = figure.colorbar(mappable, ax=axes, label=label, **{"pad": 0.02, "aspect": 25} | options)
    bar.outline.set_linewidth(0.4)
    return bar


def figure_of(ax: Axes) -> Figure:
    """Return the figure of axes, which may be in a figure inside another."""
    figure = ax.figure
    while not isinstance(figure, Figure):
        figure = figure.figure
    return figure


def score_label(results: xr.Dataset | xr.DataArray) -> str:
    """Name the axis of scores, from the results' attributes.

    Parameters
    ----------
    results : xarray.Dataset or xarray.DataArray
        Results of one target and metric, or a score with a name.

    Returns
    -------
    str
        Such as "Encoding score (Pearson r)".
    """
    identity = mapping(results.attrs.get("identity"))
    metric = str(identity.get("metric", ""))
    if "value_axis" in results.attrs:
        return str(results.attrs["value_axis"])
    if metric == "probe":
        task, kind = identity.get("task") or identity.get("target"), results.attrs.get("score")
        return f"Probe: {kind or 'score'}" + (f" ({task})" if isinstance(task, str) else "")
    if metric in METHODS:
        return METHODS[metric].by(identity.get("arguments", {})).axis
    score = results["score"] if isinstance(results, xr.Dataset) else results
    known = [results.attrs.get("score_name"), score.attrs.get("long_name"), metric]
    return next((str(name).replace("_", " ") for name in known if name), "Score")


def draw_level(
    ax: Axes,
    height: float,
    *,
    text: str,
    limits: Sequence[float],
    which: str = "y",
    **options: Any,
) -> None:
    """Draw a level across the axes; far from what they show it is named at the edge.

    A level further away than all else is wide would leave that no room.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    height : float
        The level.
    text : str
        Its name, for the legend.
    limits : (float, float)
        Of all else that is drawn.
    which : {"y", "x"}
        On which axis it lies.
    **options
        Of the line.
    """
    low, high = sorted(limits)
    if low - (high - low) <= height <= high + (high - low) or not np.isfinite(high - low):
        line = ax.axhline if which == "y" else ax.axvline
        line(height, label=text, **options)
        return
    arrow = {"y": "▼▲", "x": "◀▶"}[which][int(height > high)]
    x, y = (0.98, 0.98 if height > high else 0.02)
    if which == "x":
        x, y = (0.98 if height > high else 0.02), 0.02
    edge = f"beyond {arrow}"
    row = sum(each.get_gid() == edge for each in ax.texts)  # of those that stand there already
    y += (-0.07 if y > 0.5 else 0.07) * row
    told = ax.text(
        x, y, signed(f"{arrow} {text} {height:.2f}"), transform=ax.transAxes, gid=edge,
        fontsize=5.5, zorder=5,
        ha="right" if x > 0.5 else "left", va="top" if y > 0.5 else "bottom",
        bbox={"facecolor": "white", "linewidth": 0, "alpha": 0.8, "pad": 0.8},
    )  # fmt: skip
    told.level = (height, {"label": text, **options})  # type: ignore[attr-defined]


def within_shared(axes: Iterable[Axes]) -> None:
    """Draw the levels that panels with one scale show after all, where they were named at edges.

    Parameters
    ----------
    axes : iterable of Axes
        Panels in which `draw_level` has drawn all levels.
    """
    for ax in axes:
        low, high = ax.get_ylim()
        for told in [each for each in ax.texts if str(each.get_gid()).startswith("beyond")]:
            height, look = told.level  # type: ignore[attr-defined]
            if low < height < high and str(told.get_gid())[-1] in "▲▼":
                told.remove()
                ax.axhline(height, **look)


def clear_edges(ax: Axes) -> None:
    """Widen axes upwards and downwards by the lines of text that stand at those edges.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        In which `draw_level` has drawn all levels; a line there would else cross the text.
    """
    low, high = ax.dataLim.intervaly
    for mark, edge, sign in (("▲", high, 1), ("▼", low, -1)):
        rows = sum(each.get_gid() == f"beyond {mark}" for each in ax.texts)
        if rows and np.isfinite(high - low):
            room = 0.08 * rows * (high - low)
            ax.update_datalim([(0, edge + sign * room)], updatex=False)
    ax.autoscale_view(scalex=False)


def signed(text: str) -> str:
    """Write numbers below zero with the minus that the axes have."""
    return text.replace("-", "−")


def lay_out(figure: Figure) -> None:
    """Place what is in a figure once for all formats: it takes longer than drawing one of them."""
    if figure.get_layout_engine() is None:
        return
    with plt.rc_context(STYLE):
        figure.draw_without_rendering()
        # Unlike "none", which after a colour bar leaves an engine that draws everything twice.
        figure.set_layout_engine(None)


def save(figure: Figure, path: Path, *, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write a figure in every format asked for, beside first and then renamed.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure; it is closed.
    path : Path
        Without suffix; one of a format (``curves.png``) asks for that alone.
    formats : sequence of str
        ``"png"``, ``"svg"``, ``"pdf"``. The same figure gives the same file: no date is inside.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    ValueError
        If a format is none of the three.
    """
    unknown = sorted(set(formats) - set(_METADATA))
    if unknown:
        raise ValueError(f"there is no format {unknown[0]!r}: use {', '.join(_METADATA)}")
    path = Path(path)
    if path.suffix[1:] in _METADATA:
        path, formats = path.with_suffix(""), (path.suffix[1:],)
    lay_out(figure)
    written = []
    for kind in formats:
        final = path.parent / f"{path.name}.{kind}"
        with replacing(final) as beside, plt.rc_context(STYLE):
            figure.savefig(beside, format=kind, metadata=_METADATA[kind])
        written.append(final)
    plt.close(figure)
    return written


_METADATA: dict[str, dict | None] = {
    "png": None,
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}
