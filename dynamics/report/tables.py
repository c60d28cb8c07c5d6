"""Tables of statistics, as cells with what is shown and what is sorted by."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from typing import NamedTuple

from dynamics.emergence.ends import KNOWN
from dynamics.report.findings import MEAN, Curve, Found, Result
from dynamics.report.numbers import (
    NONE,
    level,
    levels_between,
    p_value,
    step,
    steps_between,
)
from dynamics.report.words import LEVEL, numbers_of

_DIGITS = 3


class Cell(NamedTuple):
    """A cell: text, the limits behind it, and a number to sort by ("" where there is none)."""

    text: str
    limits: str = ""
    sort: str = ""


class Row(NamedTuple):
    """A curve in a layer; `best` marks the layer that ends highest."""

    name: str
    layer: str
    place: int
    best: bool
    cells: list[Cell]


class Table(NamedTuple):
    """Every curve of one target and metric in every layer."""

    caption: str
    headings: list[tuple[str, str]]
    rows: list[Row]


def emergence_table(result: Result, curves: list[Curve]) -> Table:
    """Tabulate the statistics of every curve of a result in every layer.

    Parameters
    ----------
    result : Result
        One target and metric.
    curves : list of Curve
        As `dynamics.report.findings.curves_of` gives them.

    Returns
    -------
    Table
        Columns that no curve fills are left out.
    """
    first = int(curves[0].score["step"][0])
    controls = curves[0].controls
    origin = "Untrained" if first == 0 or controls else f"Step {first:,}"
    told = f"mean score of {controls} untrained networks" if controls else "score at the first step"
    columns = {"first": (origin, told), **_COLUMNS}
    every = [
        (curve, str(layer), numbers_of(curve, str(layer)))
        for curve in curves
        for layer in curve.score["layer"].to_numpy()
    ]
    kept = [name for name in columns if any(_is_known(found, name) for *_, found in every)]
    places = {str(name): i for i, name in enumerate(curves[0].score["layer"].to_numpy())}
    rows = [
        Row(
            name=curve.name if curve.name != MEAN else curve.what or MEAN,
            layer=layer,
            place=places[layer],
            best=layer == curve.best,
            cells=[_cell(name, found) for name in kept],
        )
        for curve, layer, found in every
    ]
    over = dict.fromkeys(curve.over for curve in curves if curve.resampled is not None)
    limits = f" (limits of 95 % over {' or '.join(over)})" if over else ""
    caption = f"Emergence in {result.target} by {result.shown}{limits}"
    return Table(caption, [columns[name] for name in kept], rows)


def glance(found: Found) -> list[dict[str, Cell | str]]:
    """Tabulate the mean curve of every result in the layer that ends highest.

    Parameters
    ----------
    found : list of (Result, list of Curve)
        Results with their curves.

    Returns
    -------
    list of dict
        `target`, `metric`, `layer` and cells: `final`, `gain`, `half_time` (None with a single
        step).
    """
    rows: list[dict[str, Cell | str]] = []
    for result, curves in found:
        numbers = numbers_of(curves[0], curves[0].best)
        row: dict[str, Cell | str] = {
            "target": result.target,
            "metric": result.shown,
            "layer": curves[0].best,
        }
        for name in ("first", "final", "gain", "half_time"):
            row[name] = _cell(name, numbers, digits=2) if name in numbers else Cell(NONE)
        rows.append(row)
    return rows


def as_csv(found: Found) -> str:
    """Write every statistic of every curve and layer with all its digits.

    Parameters
    ----------
    found : list of (Result, list of Curve)
        Results with their curves.

    Returns
    -------
    str
        Comma-separated values with a heading; names that a spreadsheet would take for a formula
        begin with an apostrophe.
    """
    rows = [
        {
            "target": result.target,
            "metric": result.shown,
            "curve": curve.name,
            **numbers_of(curve, str(layer)),
        }
        for result, curves in found
        for curve in curves
        for layer in curve.score["layer"].to_numpy()
    ]
    heading = dict.fromkeys(key for row in rows for key in row)
    beside = io.StringIO()
    writer = csv.DictWriter(beside, list(heading), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _harmless(value) for key, value in row.items()})
    return beside.getvalue()


def _harmless(value: str | float) -> str | float:
    if isinstance(value, str):
        return f"'{value}" if value[:1] in "=+-@\t\r" and value else value
    return "" if math.isnan(value) else value


_COLUMNS: dict[str, tuple[str, str]] = {
    "final": ("Final", "score at the last step"),
    "gain": ("Gain", "last score above the one from which gains count"),
    "onset": ("Onset", "step at a tenth of the gain to the peak"),
    "detected": ("Shown from", "first step shown to be above the first level, and its p value"),
    "half_time": ("Half-time", "step at half of the final gain"),
    "plateau_step": ("Plateau from", "step at nine tenths of the gain to the plateau"),
    "plateau": ("Plateau", "mean score over the last factor of ten in steps"),
    "peak": ("Peak", "highest score"),
    "peak_step": ("Peak at", "step of the highest score"),
    "decline": ("Decline", "peak minus last score, and the p value of a decline"),
    "area": ("Area", "mean gain over log(1 + step)"),
    "gain_over_baseline": ("Over baseline", "last score minus that of the baseline"),
    "ceiling_fraction": ("Of ceiling", "last score over the noise ceiling"),
    "null_p": ("Shuffled p", "share of shuffles that reach the last score"),
}
_STEPS = {"onset", "half_time", "plateau_step"}


def _is_known(found: Mapping, name: str) -> bool:
    if name in _STEPS:
        return name in found
    return math.isfinite(found.get("detected_p" if name == "detected" else name, math.nan))


def _cell(name: str, found: Mapping, *, digits: int = _DIGITS) -> Cell:
    value = float(found.get(name, math.nan))
    low, high = (float(found.get(f"{name}_{side}", math.nan)) for side in ("lower", "upper"))
    sort = f"{value:.10g}" if math.isfinite(value) else ""
    if name in _STEPS:
        status = str(found.get(f"{name}_status", ""))
        if not math.isfinite(value):
            bound = f"not before {step(low)}" if math.isfinite(low) and low > 0 else ""
            return Cell(status or NONE, bound if status == "still rising" else "")
        return Cell(step(value), steps_between(low, high), sort)
    if name == "detected":
        p = found.get("detected_p", math.nan)
        return Cell(step(value) if sort else "not shown", f"p {_equals(p)}", sort)
    if name == "decline":
        p = float(found.get("decline_p", math.nan))
        note = f"p {_equals(p)}" if math.isfinite(p) else ""
        return Cell(level(value, digits), note + (" *" if p <= LEVEL else ""), sort)
    if name == "peak_step":
        return Cell(step(value), "", sort)
    if name == "null_p":
        return Cell(p_value(value), "", sort)
    if name == "ceiling_fraction":
        return Cell(f"{100 * value:.0f} %" if sort else NONE, "", sort)
    if name == "gain" and found.get("gain_status", KNOWN) != KNOWN:
        return Cell(str(found["gain_status"]))
    return Cell(level(value, digits), levels_between(low, high, digits), sort)


def _equals(p: float) -> str:
    text = p_value(p)
    return text if text.startswith("<") else f"= {text}"
