"""The layer profile at every step, as the slider of a report needs it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr

from dynamics import plots
from dynamics.emergence.population import listed
from dynamics.report.findings import MEAN, Found
from dynamics.report.numbers import level, levels_between, unit

MOST_STEPS = 60
_MOST_SERIES = 60
_DIGITS = 4


def series(found: Found) -> list[dict[str, Any]]:
    """Return every curve's layer profile at every step, of plain JSON types.

    Parameters
    ----------
    found : list of (Result, list of Curve)
        Results with their curves.

    Returns
    -------
    list of dict
        `group`, `name`; `steps` (at most 60, spread over log steps), `layers` from input to
        output; `score`, `low`, `high` as lists of steps of lists of layers, None where nothing
        is known; `over`: what the limits are over; `baseline`, `ceiling`: numbers or None. Scores
        are rounded to four digits.
    """
    profiles: list[dict[str, Any]] = []
    for result, curves in found:
        for curve in curves[: max(1, _MOST_SERIES - len(profiles))]:
            steps = curve.score["step"].to_numpy()
            kept = plots.spread_steps(steps, MOST_STEPS)
            levels = curve.statistics.attrs
            profiles.append(
                {
                    "group": f"{result.target} · {result.shown}",
                    "name": curve.name if curve.name != MEAN else curve.what or MEAN,
                    "steps": [int(step) for step in steps[kept]],
                    "layers": [str(name) for name in curve.score["layer"].to_numpy()],
                    "over": curve.over,
                    "score": _rows(curve.score, kept),
                    "low": _rows(curve.low, kept),
                    "high": _rows(curve.high, kept),
                    "baseline": _number(levels.get("baseline")),
                    "ceiling": _number(levels.get("ceiling", levels.get("ceiling_lower"))),
                }
            )
    return profiles


def scaled(one: dict[str, Any]) -> dict[str, Any]:
    """Add the axis that serves all steps of a profile, `bottom` and `top`, and its `key`."""
    known = [0.0, one["baseline"], one["ceiling"]]
    known += [x for part in ("score", "low", "high") for row in one[part] for x in row]
    finite = [x for x in known if x is not None]
    bottom, top = min(finite), max(finite)
    top = top if top > bottom else bottom + 1.0
    said = ["Bars are scores"]
    if any(x is not None for row in one["low"] for x in row):
        said.append(f"thin lines limits of 95 % over {one['over']}")
    if one["baseline"] is not None:
        said.append(f"the dashed line the baseline ({level(one['baseline'])})")
    if one["ceiling"] is not None:
        said.append(f"the dotted line the noise ceiling ({level(one['ceiling'])})")
    return one | {"bottom": bottom, "top": top, "key": f"{listed(said)}."}


def last(one: dict[str, Any]) -> dict[str, Any]:
    """Write the profile at the last step as rows of a table, for those without the program.

    Parameters
    ----------
    one : dict
        As `scaled` gives it.

    Returns
    -------
    dict
        `caption`, `key`, `low`, `high`, `baseline`, `ceiling` and `rows`: `layer`, `score`,
        `limits` and `style`, the places of bar and lines in percent of the axis.
    """
    span = one["top"] - one["bottom"]

    def part(x: float) -> str:
        return f"{100 * (x - one['bottom']) / span:.2f}%"

    def length(x: float) -> str:
        return f"{100 * x / span:.2f}%"

    rows = []
    for layer, score, low, high in zip(
        one["layers"], one["score"][-1], one["low"][-1], one["high"][-1]
    ):
        own = math.nan if score is None else score
        places = {"zero": part(0.0)}
        if score is not None:
            places |= {"from": part(min(0.0, score)), "size": length(abs(score))}
        limits = ""
        if low is not None and high is not None:
            places |= {"low": part(low), "width": length(high - low)}
            limits = levels_between(low, high)
        places |= {key: part(one[key]) for key in ("baseline", "ceiling") if one[key] is not None}
        style = "; ".join(f"--{key}: {place}" for key, place in places.items())
        rows.append({"layer": layer, "score": level(own), "limits": limits, "style": style})
    return {
        "caption": f"{one['group']}, {one['name']}, {unit()} {one['steps'][-1]:,}",
        "key": one["key"],
        "low": level(one["bottom"]),
        "high": level(one["top"]),
        "baseline": one["baseline"] is not None,
        "ceiling": one["ceiling"] is not None,
        "rows": rows,
    }


def _rows(values: xr.DataArray, kept: np.ndarray) -> list[list[float | None]]:
    table = values.transpose("step", "layer").to_numpy()[kept]
    return [[_number(value) for value in row] for row in table]


def _number(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return round(float(value), _DIGITS)
