"""Figures of many runs beside each other: scores, half-times, curves and trends, names readable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from dynamics.emergence.best_layers import pick_layer
from dynamics.emergence.intake import with_layers
from dynamics.emergence.parts import curve_and_band
from dynamics.emergence.population import population
from dynamics.emergence.statistics import unit_of
from dynamics.plots.panels import draw_legend, name_rows
from dynamics.plots.steps import log_step_axis, step_label
from dynamics.plots.style import (
    COLUMN,
    MM,
    PAGE,
    colour_bar,
    group_colours,
    group_markers,
    layer_colours,
    panel,
    score_label,
    signed,
    styled,
)

_ROW, _FRAME = 3.4, 26  # mm of a row, and of what stands around the rows
_NAMED = 8  # curves that have a colour and a name each
_FEW = 6  # regions whose names stand beside each other
_FAINT = "0.55"


@styled
def plot_scores(
    table: pd.DataFrame,
    *,
    hue: str = "",
    label: str = "Score",
    show: str = "score",
    ax: Axes | None = None,
) -> Axes:
    """Draw the last score of every run, one row a run, the best on top, names at the left.

    A point is the mean with its limits of 95 % (or the median within subjects with its standard
    error over them); a white stroke the untrained network, a dashed line the baseline, a dotted
    one the noise ceiling. Runs without a score are named with the reason.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of `dynamics.collection.tables.models` of one target, metric and region.
    hue : str
        Column whose values have colours, such as a coordinate of the runs; by default none.
    label : str
        Of the axis.
    show : {"score", "median"}
        Which summary.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure that is as high as its rows need.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    own = ax is None
    ax = panel(ax, height=_FRAME + _ROW * len(table), width=_width(table["run"]))
    scored = table[show].notna()
    kinds = list(dict.fromkeys(table.loc[scored, hue].astype(str))) if hue else [""]
    numeric = bool(hue) and pd.api.types.is_numeric_dtype(table[hue])
    kinds = sorted(kinds, key=float) if numeric else kinds
    palette = layer_colours if numeric else group_colours
    colours = dict(zip(kinds, palette(len(kinds)) if hue else ["#0072B2"]))
    for row, (_, run) in enumerate(table.iterrows()):
        colour = colours.get(str(run[hue]) if hue else "", _FAINT)  # no point where no score
        _draw_run(ax, row, run, colour, show)
    _levels(ax, table)
    name_rows(ax, table["run"])
    ax.set_xlabel(label)
    ax.grid(axis="y", color="0.93", linewidth=0.4)
    ax.set_axisbelow(True)
    if hue:
        for name in kinds:
            ax.plot(
                [], [], "o", color=colours[name], markersize=3.5, label=f"{hue}: {_short(name)}"
            )
    over = next((str(x) for x in table.get("over", []) if isinstance(x, str) and x), "")
    if show == "median":
        ax.set_gid("median within subjects, mean and standard error over them")
    elif over:
        ax.set_gid(f"95 % over {over}")
    if own:
        draw_legend(ax, what="lines")
    return ax


@styled
def plot_regions(table: pd.DataFrame, *, label: str = "Score", ax: Axes | None = None) -> Axes:
    """Draw a heat map of the last scores, a row a run and a column a region, the best on top.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of `dynamics.collection.tables.models` of one target and metric.
    label : str
        Of the colour bar.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    regions, runs = (list(dict.fromkeys(table[name])) for name in ("region", "run"))
    width = PAGE if len(regions) > _FEW else max(1.35 * COLUMN, _width(runs))
    ax = panel(ax, height=max(50, _FRAME + _ROW * len(runs)), width=width)
    values = table.pivot(index="run", columns="region", values="score").reindex(runs)[regions]
    drawn = ax.imshow(values.to_numpy(float), aspect="auto", cmap="viridis", interpolation="none")
    ax.set_xticks(range(len(regions)), regions)
    room = 0.55 * width / MM / len(regions)  # mm for each name, of letters 1.3 mm wide
    ax.tick_params(axis="x", rotation=90 if 1.3 * max(map(len, regions)) > room else 0)
    name_rows(ax, runs)
    ax.tick_params(length=0)
    for row in np.flatnonzero(~np.isfinite(values.to_numpy(float)).any(1)).tolist():
        own = table.loc[table["run"] == runs[row], "note"] if "note" in table else []
        ax.text(-0.45, row, next(iter(own), "") or "no score", va="center", fontsize=5,
                color=_FAINT)  # fmt: skip
    if len(regions) <= 2 * _FEW:
        middle = (np.nanmin(values) + np.nanmax(values)) / 2 if values.size else 0.0
        for row, column in np.argwhere(np.isfinite(values.to_numpy(float))):
            one = float(values.iloc[row, column])
            ink = "white" if one < middle else "black"
            ax.text(
                column, row, signed(f"{one:.2f}"), ha="center", va="center", fontsize=5, color=ink
            )
    colour_bar(drawn, ax, label=label)
    return ax


@styled
def plot_many_curves(
    results: Mapping[str, xr.Dataset],
    *,
    hue: Mapping[str, Any] | None = None,
    hue_name: str = "",
    axis: str = "step",
    ax: Axes | None = None,
) -> Axes:
    """Draw emergence curves of many runs in one panel, each in its best layer.

    Up to eight runs have colours and names of their own; of more, runs of one value of `hue` share
    a colour, or all are grey with the first and last to end named by the legend.

    Parameters
    ----------
    results : mapping of str to xarray.Dataset
        Results of one target and metric by run.
    hue : mapping of str to value, optional
        Of each run, such as its size: numbers are ordered in lightness.
    hue_name : str
        What it is.
    axis : {"step", "fraction"}
        Training step, or the part of each run's training, on a linear axis.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    own = ax is None
    ax = panel(ax, height=72)
    drawn = {name: curve_and_band(pick_layer(with_layers(one))[0]) for name, one in results.items()}
    names = list(results)
    colours, markers, labels = _looks(names, hue, hue_name, drawn)
    steps: list[np.ndarray] = []
    few = len(names) <= _NAMED
    for name in labels:
        curve, low, high, _ = drawn[name]
        x = curve["step"].to_numpy().astype(float)
        if axis == "fraction":
            x = x / x[-1] if x[-1] > 0 else x
        steps.append(x)
        look = {"linewidth": 1.0, "marker": markers[name]} if few else {"linewidth": 0.7}
        ax.plot(x, curve, color=colours[name], markersize=2.8, label=labels[name], zorder=3, **look)
        if few:
            ax.fill_between(x, low, high, color=colours[name], alpha=0.12, linewidth=0)
    if axis == "step":
        units = " or ".join(sorted({unit_of(one["step"]) for one in results.values()}))
        whole = np.unique(np.concatenate(steps))
        log_step_axis(ax, xr.DataArray(whole, dims="step", attrs={"counts": units}))
    else:
        ax.set_xlabel("Part of training")
    ax.set_ylabel(score_label(next(iter(results.values()))))
    over = next((band.over for band in drawn.values() if band.over), "")
    if few and over:
        ax.set_gid(f"95 % over {over}")
    if own:
        draw_legend(ax)
    return ax


@styled
def plot_half_times(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw when each run has made half of its gain, one row a run, the earliest on top.

    Parameters
    ----------
    table : pandas.DataFrame
        Rows of `dynamics.collection.tables.half_times` of one target, metric and region.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    ax = panel(ax, height=_FRAME + _ROW * len(table), width=_width(table["run"]))
    times = table["half_time"].to_numpy(float)
    ends = table[["low", "high"]].to_numpy(float)
    finite = np.concatenate([times[np.isfinite(times)], ends[np.isfinite(ends)]])
    if len(finite):
        # Before step 1 lies step 0 alone, at the end of a broken axis.
        log_step_axis(ax, np.unique(np.where(finite < 1, 0.0, finite)))
    edge = ax.get_xlim()
    for row, (when, (low, high), status) in enumerate(zip(times, ends, table["status"])):
        if not np.isfinite(when):
            ax.text(edge[0], row, f" {status}", va="center", fontsize=5.5, color=_FAINT)
            continue
        if np.isfinite(low):
            ax.plot([max(low, edge[0]), min(high, edge[1])], [row, row], color="0.4", linewidth=0.9)
            if np.isinf(high):
                ax.plot(edge[1], row, ">", color="0.4", markersize=3, clip_on=False)
        ax.plot(when, row, "o", color="#0072B2", markersize=3.4, zorder=3,
                markerfacecolor="white" if np.isinf(high) else "#0072B2")  # fmt: skip
    name_rows(ax, table["run"])
    ax.set_xlim(edge)
    over = next((str(x) for x in table.get("over", []) if x), "")
    ax.set_xlabel("Half-time (training step)" + (f"\nlines: 95 % over {over}," if over else "")
                  + (f"\n{population(over)}" if over else ""))  # fmt: skip
    return ax


@styled
def plot_trend(
    x: np.ndarray,
    score: xr.DataArray,
    fits: Sequence[Any],
    *,
    name: str,
    label: str = "Score",
    points: str = "runs",
    ax: Axes | None = None,
) -> Axes:
    """Draw scores of runs against a number, with fitted trends and their limits over stimuli.

    Parameters
    ----------
    x : array of shape (n_runs,)
        The number: parameters, hours.
    score : xarray.DataArray
        One score a run.
    fits : sequence of dynamics.emergence.trends.Trend
        Fits to draw.
    name, label : str
        Of the axes.
    points : str
        What has a score each.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    own = ax is None
    ax = panel(ax, height=66)
    ax.plot(x, score, "o", color="0.35", markersize=3.5, label=points, zorder=3)
    for fit, colour, line in zip(fits, ("#0072B2", "#D55E00"), ("-", (0, (4, 1.5)))):
        at = fit.curve["x"]
        told = {"log-linear": "line in the logarithm", "saturating": "power law that saturates"}
        ax.plot(at, fit.curve["estimate"], color=colour, linestyle=line, label=told[fit.kind])
        if fit.curve["lower"].notnull().any():
            ax.fill_between(at, fit.curve["lower"], fit.curve["upper"], color=colour, alpha=0.13,
                            linewidth=0)  # fmt: skip
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(FuncFormatter(step_label))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(name)
    ax.set_ylabel(label)
    if any(fit.curve["lower"].notnull().any() for fit in fits):
        ax.set_gid("95 % over stimuli" + ", these runs" * (points == "runs"))
    if own:
        draw_legend(ax)
    return ax


@styled
def plot_contrast(found: xr.Dataset, *, label: str, ax: Axes | None = None) -> Axes:
    """Draw a difference or an interaction between groups of runs along training.

    Parameters
    ----------
    found : xarray.Dataset
        `estimate`, `lower`, `upper` (step), as `dynamics.emergence.across_runs.contrast_runs`.
    label : str
        Of the axis: what less what.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    own = ax is None
    ax = panel(ax, height=62)
    steps = found["step"].to_numpy()
    ax.axhline(0, color="0.3", linewidth=0.6)
    if len(steps) > 1:
        ax.fill_between(
            steps, found["lower"], found["upper"], color="#0072B2", alpha=0.15, linewidth=0
        )
        log_step_axis(ax, found["step"])
    else:
        ends = [found["lower"].item(), found["upper"].item()]
        ax.plot([steps[0]] * 2, ends, color="#0072B2", linewidth=1.0)
        ax.set_xticks(steps, ["last step of each run"])
    ax.plot(steps, found["estimate"], "o-", color="#0072B2", markersize=2.8, label=label)
    ax.set_ylabel("Difference of scores")
    ax.set_gid(
        f"95 % over {_told(str(found.attrs.get('over', '')))} ({found.attrs.get('runs', '')})"
    )
    if own:
        draw_legend(ax, what="bands" if len(steps) > 1 else "lines")
    return ax


def _width(names: Sequence[str]) -> float:
    """Return how wide a figure is whose rows have such names, in inches."""
    longest = max((len(str(name)) for name in names), default=0)
    return COLUMN if longest <= 20 else min(PAGE, COLUMN * longest / 20)


def _told(over: str) -> str:
    return {"both": "stimuli and runs", "stimuli": "stimuli, these runs"}.get(over, over)


def _draw_run(ax: Axes, row: int, run: pd.Series, colour: Any, show: str) -> None:
    value = float(run.get(show, np.nan))
    if not np.isfinite(value):
        ax.text(0.01, row, str(run.get("note", "") or "no score")[:70], va="center", fontsize=5,
                color=_FAINT, transform=ax.get_yaxis_transform())  # fmt: skip
        return
    if show == "median":
        error = float(run.get("error", np.nan))
        low, high = value - error, value + error
    else:
        low, high = float(run.get("low", np.nan)), float(run.get("high", np.nan))
    if np.isfinite(low):
        ax.plot([low, high], [row, row], color=colour, linewidth=1.0, zorder=3)
    ax.plot(value, row, "o", color=colour, markersize=3.4, zorder=4)
    start = float(run.get("untrained", np.nan))
    if np.isfinite(start):
        ax.plot(start, row, "|", color="0.45", markersize=4.5, markeredgewidth=0.9, zorder=3.5)


_ONE_LEVEL = 1e-6


def _levels(ax: Axes, table: pd.DataFrame) -> None:
    if "untrained" in table and table["untrained"].notna().any():
        ax.plot([], [], "|", color="0.45", markersize=4.5, markeredgewidth=0.9, label="untrained")
    looks: dict[str, tuple[str, dict[str, Any]]] = {
        "baseline": ("spectrotemporal baseline", {"color": "0.35", "linestyle": (0, (3, 1.2))}),
        "ceiling": ("noise ceiling", {"color": "0.1", "linestyle": (0, (1, 1))}),
    }
    for name, (text, look) in looks.items():
        known = table[name].dropna() if name in table else pd.Series(dtype=float)
        # Runs before the same listeners have one level; where they have several there is no line.
        if len(known) and known.max() - known.min() < _ONE_LEVEL:
            ax.axvline(float(known.iloc[0]), label=text, linewidth=0.9, zorder=1, **look)


def _looks(
    names: Sequence[str], hue: Mapping[str, Any] | None, hue_name: str, drawn: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str], dict[str, str]]:
    """Return colours, markers and labels of curves; a label with "_" is none."""
    if hue:
        numeric = all(isinstance(hue.get(name), (int, float)) for name in names)
        values: list[Any] = list(dict.fromkeys(hue.get(name) for name in names))
        values = sorted(values) if numeric else values
        palette = dict(zip(values, (layer_colours if numeric else group_colours)(len(values))))
        colours = {name: palette[hue.get(name)] for name in names}
        first = {value: next(n for n in names if hue.get(n) == value) for value in values}
        labels = {
            name: f"{hue_name}: {_short(hue.get(name))}"
            if first[hue.get(name)] == name
            else f"_{name}"
            for name in sorted(names, key=lambda n: values.index(hue.get(n)))
        }
        return colours, dict.fromkeys(names, "o"), labels
    if len(names) <= _NAMED:
        marks = dict(zip(names, group_markers(len(names))))
        own: dict[str, Any] = dict(zip(names, group_colours(len(names))))
        return own, marks, {name: name for name in names}
    ends = {name: float(drawn[name].curve.dropna("step")[-1]) if drawn[name].curve.notnull().any()
            else -np.inf for name in names}  # fmt: skip
    order = sorted(names, key=lambda name: -ends[name])
    told = {order[0]: "#0072B2", order[1]: "#E69F00", order[-1]: "#D55E00"}
    colours = {name: told.get(name, "0.78") for name in names}
    labels = {name: name if name in told else f"_{name}" for name in names}
    labels[order[2]] = f"the other {len(names) - 3} runs"
    return colours, dict.fromkeys(names, "o"), labels


def _short(value: Any) -> str:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return f"{number:,.0f}" if number == int(number) else f"{number:g}"
