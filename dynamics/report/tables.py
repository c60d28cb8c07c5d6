"""Tables of statistics, as cells with what is shown and what is sorted by."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from dynamics.emergence import STATISTICS, Statistic
from dynamics.emergence.crossings import KNOWN, STILL_RISING
from dynamics.letters import in_sheet
from dynamics.report.findings import MEAN, Curve, Found, Result
from dynamics.report.narrative import LEVEL, numbers_of, numbers_of_best
from dynamics.report.numbers import (
    NONE,
    counted,
    level,
    levels_between,
    p_value,
    percent,
    step,
    steps_between,
    unit,
)

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
    origin = "Untrained" if first == 0 or controls else f"{unit().capitalize()} {first:,}"
    told = (
        f"mean score of {controls} untrained networks"
        if controls
        else counted("score at the first step")
    )
    columns = {
        name: (counted(record.label), counted(record.about)) for name, record in STATISTICS.items()
    }
    columns["first"] = (origin, told)
    every = [
        (curve, str(layer), _numbers(curve, str(layer)))
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
        numbers = numbers_of_best(curves[0])
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
            **_numbers(curve, str(layer)),
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


def _numbers(curve: Curve, layer: str) -> dict[str, Any]:
    return numbers_of_best(curve) if layer == curve.best else numbers_of(curve, layer)


def _harmless(value: str | float) -> str | float:
    if isinstance(value, str):
        return in_sheet(value)
    return "" if math.isnan(value) else value


def _is_known(found: Mapping, name: str) -> bool:
    if f"{name}_status" in found and STATISTICS[name].unit == "step":
        return True
    return any(math.isfinite(found.get(key, math.nan)) for key in (name, STATISTICS[name].p))


def _cell(name: str, found: Mapping, *, digits: int = _DIGITS) -> Cell:
    record, value = STATISTICS[name], float(found.get(name, math.nan))
    if record.tells and found.get(f"{name}_status", KNOWN) != KNOWN:
        return Cell(counted(str(found[f"{name}_status"])))
    limits = [float(found.get(f"{name}_{side}", math.nan)) for side in ("lower", "upper")]
    sort = f"{value:.10g}" if math.isfinite(value) else ""
    text, note = _WRITTEN[record.unit](value, limits[0], limits[1], digits)
    if record.unit == "step" and not sort:
        return _without_step(record, found, name, limits[0])
    return Cell(text, _tested(record, found) or note, sort)


def _without_step(record: Statistic, found: Mapping, name: str, low: float) -> Cell:
    """Say why there is no step, and before which there is none."""
    if record.p:
        return Cell("not shown", _tested(record, found))
    status = counted(str(found.get(f"{name}_status", "")))
    bound = f"not before {step(low)}" if math.isfinite(low) and low > 0 else ""
    return Cell(status or NONE, bound if status == STILL_RISING else "")


def _tested(record: Statistic, found: Mapping) -> str:
    """Write the p value of a statistic that has one; a star marks a decline that is shown."""
    p = float(found.get(record.p, math.nan))
    if math.isnan(p):
        return ""
    text = p_value(p)
    star = " *" if record.unit == "score" and p <= LEVEL else ""
    return f"p {text if text.startswith('<') else f'= {text}'}{star}"


# How a value with its limits is written, by its unit.
_WRITTEN: dict[str, Callable[[float, float, float, int], tuple[str, str]]] = {
    "score": lambda x, low, high, digits: (level(x, digits), levels_between(low, high, digits)),
    "step": lambda x, low, high, _: (step(x), steps_between(low, high)),
    "part": lambda x, low, high, _: (percent(x), ""),
    "p": lambda x, low, high, _: (p_value(x), ""),
}
