"""Users' names in figures: shortened, broken into lines, and in letters that a font has."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator

from dynamics.plots.steps import step_label

FIRST = "DejaVu Sans"
# Where the first has no such letters, of what a machine has; the first of these comes along.
_OTHERS = (
    *("IPAexGothic", "Noto Sans CJK JP", "Noto Sans JP", "Noto Sans CJK SC", "Noto Sans CJK KR"),
    *("Noto Sans", "Hiragino Sans", "Yu Gothic", "PingFang SC", "Apple SD Gothic Neo"),
    *("Microsoft YaHei", "Malgun Gothic", "WenQuanYi Zen Hei", "Arial Unicode MS"),
)
_CUT = "…"
_BREAKS = re.compile(r"(?<=[\s._/:,;+-])")
_MOST_LINES = 3
_AIR = 4  # pixels between two names
# Shares of a figure that names of ticks may take beside one, two or three panels, without and with
# a colour bar.
_SHARES = {False: (0.4, 0.25, 0.16), True: (0.26, 0.13, 0.09)}


@lru_cache(maxsize=1)
def families() -> list[str]:
    """Return the families of fonts that figures use, each where those before lack a letter."""
    spec = find_spec("matplotlib_fontja")  # found, not imported: it would change all figures
    for place in (spec.submodule_search_locations or []) if spec else []:
        for path in Path(place).glob("fonts/*.ttf"):
            font_manager.fontManager.addfont(str(path))
    there = {entry.name for entry in font_manager.fontManager.ttflist}
    return [FIRST, *(name for name in _OTHERS if name in there)]


@lru_cache(maxsize=2**12)
def _has(letter: str) -> bool:
    return any(font.get_char_index(ord(letter)) for font in _fonts())


@lru_cache(maxsize=1)
def _fonts() -> list[FT2Font]:
    paths = (font_manager.findfont(FontProperties(family=[name])) for name in families())
    return [font_manager.get_font(path) for path in paths]


def printable(text: str) -> str:
    """Write what no font has, and what would not be seen, as its number in Unicode.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        Such as "<U+AC00>" in the place of a letter that would be a box.
    """
    return "".join(
        letter if letter == "\n" or (letter.isprintable() and _has(letter)) else _number(letter)
        for letter in text
    )


def _number(letter: str) -> str:
    return " " if letter.isspace() else f"<U+{ord(letter):04X}>"


def short_names(names: Sequence[str]) -> list[str]:
    """Drop what all names begin with, up to the last point, slash or colon in it.

    Parameters
    ----------
    names : sequence of str
        Names of layers.

    Returns
    -------
    list of str
        ``"0.attention"`` and ``"11.attention"`` of ``"encoder.layers.0.attention"`` and
        ``"encoder.layers.11.attention"``; a single name is kept whole.
    """
    given = [str(name) for name in names]
    if len(set(given)) < 2:
        return given
    parts = [re.split(r"(?<=[./:])", name) for name in given]
    common = 0
    while all(len(part) > common + 1 for part in parts) and len({p[common] for p in parts}) == 1:
        common += 1
    return ["".join(part[common:]) for part in parts]


def short_layer(results: xr.Dataset | xr.DataArray, layer: str) -> str:
    """Write one layer of results as `short_names` writes it among all of them."""
    names = [str(name) for name in np.ravel(results["layer"])] if "layer" in results.coords else []
    return short_names(names)[names.index(layer)] if layer in names else layer


def shortened(text: str, letters: int) -> str:
    """Cut out the middle of a text that is longer than so many letters."""
    if len(text) <= letters:
        return text
    kept = max(2, letters - 1)
    return text[: -(-kept // 2)] + _CUT + text[len(text) - kept // 2 :]


def apart(names: Sequence[str], letters: int) -> list[str]:
    """Shorten names to so many letters, but leave different ones different.

    Parameters
    ----------
    names : sequence of str
        Names.
    letters : int
        How many letters a name may have.

    Returns
    -------
    list of str
        Names without their middle, or their beginning, or their end, whichever tells them apart;
        else without their middle and with their number.
    """
    several = len(set(names))

    def without_start(name: str) -> str:
        return name if len(name) <= letters else _CUT + name[1 - letters :]

    def without_end(name: str) -> str:
        return name if len(name) <= letters else name[: letters - 1] + _CUT

    def without_middle(name: str) -> str:
        return shortened(name, letters)

    for cut in (without_middle, without_start, without_end):
        found = [cut(name) for name in names]
        if len(set(found)) == several:
            return found
    place = {name: number for number, name in enumerate(dict.fromkeys(names), 1)}
    return [f"{shortened(name, max(4, letters - 4))} {place[name]}" for name in names]


def _filled(text: str, letters: int) -> str:
    return textwrap.fill(text, letters)


def broken(text: str, letters: int, *, lines: int = _MOST_LINES) -> str:
    """Break a text into lines of so many letters, after signs between words where there are any.

    Parameters
    ----------
    text : str
        Text, maybe of several lines.
    letters : int
        How many letters a line may have.
    lines : int
        How many lines each line may become; of what is longer the middle is cut out.

    Returns
    -------
    str
        The lines.
    """
    out: list[str] = []
    for line in text.split("\n"):
        rows = [""]
        for part in _BREAKS.split(shortened(line, letters * lines)):
            while len(part) > letters:  # nothing to break it at
                room = letters - len(rows[-1])
                rows[-1] += part[:room]
                rows.append("")
                part = part[room:]
            if len(rows[-1]) + len(part.rstrip()) > letters:
                rows.append("")
            rows[-1] += part
        out += [row.strip() for row in rows if row.strip()] or [""]
    return "\n".join(out)


def even(text: str, letters: int, split: Callable[[str, int], str] = _filled) -> str:
    """Break a text into as few lines as letters allow, of lengths as equal as can be.

    Parameters
    ----------
    text : str
        Text.
    letters : int
        How many letters a line may have.
    split : callable
        Breaks a text into lines of so many letters; by default between words.

    Returns
    -------
    str
        The lines.
    """
    found = split(text, letters)
    longest = max(map(len, _BREAKS.split(text)))
    for fewer in range(letters - 1, max(longest, 8) - 1, -1):
        narrower = split(text, fewer)
        if narrower.count("\n") > found.count("\n") or _bare(narrower) != _bare(found):
            break
        found = narrower
    return found


def _bare(text: str) -> str:
    return "".join(text.split())


def fit(figure: Figure) -> None:
    """Make what is written in a figure fit into it: nothing is cut, overlaps or is a box.

    Names of ticks lose their middle, titles and labels of axes are broken into lines.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        A finished figure whose layout is still to be made.
    """
    for text in figure.findobj(Text):
        told = text.get_text()
        # A control character is none that an SVG may hold.
        if not (told.isascii() and told.replace("\n", "").isprintable()):
            text.set_text(printable(text.get_text()))
    axes = [ax for ax in figure.axes if ax.get_visible()]
    for ax in axes:
        for axis in (ax.xaxis, ax.yaxis):
            _replace(axis, lambda names: [printable(name) for name in names])
    if figure.get_layout_engine() is None or not _doubtful(figure, axes):
        return
    for ax in axes:
        _fit_ticks(figure, ax)
    figure.draw_without_rendering()
    if figure._suptitle is not None:  # type: ignore[attr-defined]
        _fit_text(figure._suptitle, 0.97 * figure.bbox.width)  # type: ignore[attr-defined]
    for ax in axes:
        _thin_steps(ax.xaxis)
        box, (columns, _) = ax.get_window_extent(), _place_of(ax)
        centre = (box.x0 + box.x1) / 2
        free = 2 * min(centre, figure.bbox.width - centre)
        _fit_text(ax.title, free if columns == 1 else min(free, 1.12 * box.width))
        _fit_text(ax._left_title, figure.bbox.width - box.x0)  # type: ignore[attr-defined]
        _fit_text(ax._right_title, box.x1)  # type: ignore[attr-defined]
        _fit_text(ax.yaxis.label, max(box.height * 1.15, 0.3 * figure.bbox.height), upright=True)
        _fit_text(ax.xaxis.label, free if columns == 1 else 1.1 * box.width)


def fit_legend(labels: Sequence[str], figure: Figure, *, columns: int, size: float) -> list[str]:
    """Shorten labels so that so many of them fit beside each other below a figure.

    Parameters
    ----------
    labels : sequence of str
        Labels.
    figure : matplotlib.figure.Figure
        The figure.
    columns : int
        How many stand in a row.
    size : float
        Size of the letters (points).

    Returns
    -------
    list of str
        Labels.
    """
    # The sign before a label, and the gap after it, are some five letters wide.
    width = figure.bbox.width / figure.dpi * 72 / columns - 5 * size
    return apart(list(labels), max(8, int(width / (0.6 * size))))


def _doubtful(figure: Figure, axes: Sequence[Axes]) -> bool:
    """Whether anything may be too long, by a rule that needs no drawing."""
    width = figure.get_size_inches()[0] * 72
    room = {ax: width / _place_of(ax)[0] for ax in axes}
    titles = [] if figure._suptitle is None else [(figure._suptitle, width)]  # type: ignore[attr-defined]
    for ax in axes:
        titles += [
            (title, 0.55 * room[ax])
            for title in (ax.title, ax._left_title, ax._right_title, ax.xaxis.label)  # type: ignore[attr-defined]
        ]
        titles.append((ax.yaxis.label, 0.5 * 72 * figure.get_size_inches()[1] / _place_of(ax)[1]))
    wide = any(
        0.62 * text.get_fontsize() * max(map(len, text.get_text().split("\n"))) > most
        for text, most in titles
    )
    return wide or any(
        max(map(len, _tick_names(axis)), default=0) > 8
        for ax in axes
        for axis in (ax.xaxis, ax.yaxis)
    )


def _place_of(ax: Axes) -> tuple[int, int]:
    """How many columns and rows of panels a figure has, by one of them."""
    spec = ax.get_subplotspec()
    if spec is None:
        return 1, 1
    grid = spec.get_topmost_subplotspec().get_gridspec()
    return grid.ncols, grid.nrows


def _fit_ticks(figure: Figure, ax: Axes) -> None:
    columns, rows = _place_of(ax)
    wide, high = figure.bbox.width, figure.bbox.height
    shares = _SHARES[any(hasattr(each, "_colorbar") for each in figure.axes)]
    beside, above = (shares[min(n, len(shares)) - 1] for n in (columns, rows))
    upright = ax.yaxis.get_ticklabels()
    size = float(upright[0].get_fontsize()) if upright else 6.5
    _shorten(ax.yaxis, beside * wide, size, figure)
    labels = ax.xaxis.get_ticklabels()
    if labels and labels[0].get_rotation() == 90:
        _shorten(ax.xaxis, above * high, float(labels[0].get_fontsize()), figure)


def _shorten(axis: Axis, most: float, size: float, figure: Figure) -> None:
    letters = max(6, int(most / (0.58 * size * figure.dpi / 72)))
    _replace(axis, lambda names: apart(names, letters))


def _replace(axis: Axis, change: Callable[[list[str]], list[str]]) -> None:
    """Change the names of ticks, where they are names."""
    names = _tick_names(axis)
    new = change(names)
    if new != names:
        axis.set_ticks(axis.get_majorticklocs(), new)


def _thin_steps(axis: Axis) -> None:
    """Name every other decade of an axis of steps where their names touch."""
    formatter, locator = axis.get_major_formatter(), axis.get_major_locator()
    if getattr(formatter, "func", None) is not step_label or not isinstance(locator, FixedLocator):
        return
    ticks = sorted(axis.get_majorticklocs())
    boxes = [label.get_window_extent() for label in axis.get_ticklabels() if label.get_text()]
    if any(right.x0 - left.x1 < _AIR for left, right in pairwise(boxes)):
        zero, decades = [t for t in ticks if t == 0], [t for t in ticks if t > 0]
        axis.set_major_locator(FixedLocator([*zero, *decades[::-2][::-1]]))


def _tick_names(axis: Axis) -> list[str]:
    """Return what ticks are called that stand in fixed places; the others are numbers."""
    if not isinstance(axis.get_major_locator(), FixedLocator):
        return []
    return [label.get_text() for label in axis.get_ticklabels()]


def _fit_text(text: Text, most: float, *, upright: bool = False) -> None:
    """Break a text into lines that are no wider (higher, of upright ones) than so many pixels."""
    said = text.get_text()
    if not said:
        return
    box = text.get_window_extent()
    long = box.height if upright else box.width
    if long <= most:
        return
    letters = max(map(len, said.split("\n")))
    text.set_text(even(said, max(8, int(0.97 * letters * most / long)), broken))
    text.set_multialignment(
        "center" if text.get_horizontalalignment() == "center" or upright else "left"
    )
