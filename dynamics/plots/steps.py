"""The axis of training steps: logarithmic, with step 0 on it but apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import QuadMesh
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.path import Path
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from dynamics.emergence.statistics import unit_of

_BREAK = Path([(-0.6, -1), (0.0, 1), (0.0, -1), (0.6, 1)], [1, 2, 1, 2])
_ZERO = 0.22  # half of the width of step 0's cell, as a part of the first step
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_GREY = ListedColormap(["0.86"])  # of cells without data


def log_step_axis(
    ax: Axes, steps: np.ndarray | xr.DataArray, *, which: str = "x", cells: bool = False
) -> None:
    """Make an axis logarithmic in training steps, with step 0 shown at its beginning.

    Between 0 and the first step after it the scale is broken, which two strokes show.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        The axes.
    steps : array of shape (n_steps,)
        Steps that are drawn; as a coordinate of results they say what they count.
    which : {"x", "y"}
        Which axis.
    cells : bool
        Make room for the cells of `step_mesh`.
    """
    told = training_axis(steps)
    steps = np.asarray(steps)
    axis = ax.xaxis if which == "x" else ax.yaxis
    scale, limits = (ax.set_xscale, ax.set_xlim) if which == "x" else (ax.set_yscale, ax.set_ylim)
    positive = steps[steps > 0]
    zero = bool((steps == 0).any())
    if not len(positive):
        axis.set_ticks(steps, [step_label(step) for step in steps])
        limits(-1, 1)
    else:
        first, last = float(positive.min()), float(positive.max())
        if zero:
            # Step 0 keeps its share of the axis, however long the training was.
            room = float(np.clip(0.2 * np.log10(last / first), 0.6, 1.5))
            scale("symlog", linthresh=first, linscale=room)
        else:
            scale("log")
        decades = [10.0**p for p in range(0, 13) if first <= 10.0**p <= last * 1.0001]
        if len(decades) < 2:
            decades = sorted({first, last})
        ticks = ([0.0] if zero else []) + decades
        axis.set_major_locator(FixedLocator(ticks))
        minor = [d * k for d in [1, *decades] for k in range(2, 10) if first < d * k < last]
        axis.set_minor_locator(FixedLocator(minor) if minor else NullLocator())
        axis.set_major_formatter(FuncFormatter(step_label))
        axis.set_minor_formatter(NullFormatter())
        if cells:
            edges = step_edges(positive)
            limits(-1.3 * _ZERO * first if zero else edges[0], edges[-1])
        else:
            limits(-0.08 * first if zero else first / 1.15, last * 1.15)
        if zero:
            _mark_break(ax, first, which)
    name = f"{told} (0: untrained)" if zero else f"{told} (no untrained network)"
    (ax.set_xlabel if which == "x" else ax.set_ylabel)(name)


def training_axis(steps: object) -> str:
    """Return the name of an axis or colour bar of steps, or of what they count."""
    unit = unit_of(steps)
    return {"save": "Saved checkpoint", "token": "Training tokens"}.get(unit, f"Training {unit}")


def step_label(step: float, _: int | None = None) -> str:
    """Write a step as a tick label; the second argument is what matplotlib's formatters give."""
    if step == 0:
        return "0"
    if step >= 10000 and np.isclose(np.log10(step), round(np.log10(step))):
        return "10" + str(round(np.log10(step))).translate(_SUPERSCRIPTS)
    return f"{step:,.0f}"


def spread_steps(steps: np.ndarray, most: int) -> np.ndarray:
    """Choose places of steps, the first and last among them, evenly on the logarithmic axis.

    Parameters
    ----------
    steps : array of shape (n_steps,)
        Ascending.
    most : int
        How many at most; 2 or more.

    Returns
    -------
    array of shape (n_chosen,), int
        Ascending places.
    """
    if len(steps) <= most:
        return np.arange(len(steps))
    x = np.log1p(np.asarray(steps, float))
    # Step 0 stands apart, so the others are spread from the first one after it.
    start = 1 if steps[0] == 0 else 0
    goals = np.linspace(x[start], x[-1], most)[start:]
    return np.unique([0, *(int(np.abs(x - goal).argmin()) for goal in goals)])


def steps_to_show(have: np.ndarray, steps: Sequence[int] | None, *, most: int = 4) -> list[int]:
    """Return the steps that are asked for, or a few that are spread over the training.

    Parameters
    ----------
    have : array of shape (n_steps,)
        Steps that there are, ascending.
    steps : sequence of int or None
        Steps that are asked for.
    most : int
        How many, where none is asked for.

    Returns
    -------
    list of int
        Steps.

    Raises
    ------
    ValueError
        If a step is not there.
    """
    if steps is None:
        return [int(step) for step in have[spread_steps(have, most)]]
    if lost := [step for step in steps if step not in have]:
        raise ValueError(f"no step {lost[0]}: there are {', '.join(map(str, have[:20]))}")
    return list(steps)


def step_title(step: int, steps: object = None) -> str:
    """Write a step above a panel, and that it is the untrained network's where it is.

    Parameters
    ----------
    step : int
        Step.
    steps : xarray.DataArray, optional
        Coordinate of the results, which says what is counted.

    Returns
    -------
    str
        A title.
    """
    return f"{unit_of(steps)} {step_label(step)}" + (" (untrained)" if step == 0 else "")


def step_edges(positive: np.ndarray) -> np.ndarray:
    """Return the edges of cells around ascending steps above 0: their geometric midpoints.

    Parameters
    ----------
    positive : array of shape (n_steps,)
        Steps.

    Returns
    -------
    array of shape (n_steps + 1,)
        Edges; the outer cells reach as far out as in.
    """
    log = np.log10(positive.astype(float))
    if len(log) == 1:
        return 10 ** np.array([log[0] - 0.1, log[0] + 0.1])
    middle = (log[1:] + log[:-1]) / 2
    return 10 ** np.concatenate([[2 * log[0] - middle[0]], middle, [2 * log[-1] - middle[-1]]])


def step_cells(steps: np.ndarray) -> list[tuple[np.ndarray, slice]]:
    """Return edges of cells and the steps in them: step 0 by itself, then the others.

    Parameters
    ----------
    steps : array of shape (n_steps,)
        Ascending.

    Returns
    -------
    list of (array, slice)
        One or two blocks of cells that touch.
    """
    steps = np.asarray(steps)
    zeros = int((steps == 0).sum())
    positive = steps[zeros:]
    blocks = []
    if zeros:
        half = _ZERO * float(positive[0]) if len(positive) else 0.5
        blocks.append((np.array([-half, half]), slice(0, 1)))
    if len(positive):
        edges = step_edges(positive)
        if zeros:
            # Below the first step the axis is linear, and step 0 has the space left of this.
            edges[0] = max(edges[0], 2 * _ZERO * float(positive[0]))
        blocks.append((edges, slice(zeros, None)))
    return blocks


def step_mesh(ax: Axes, values: xr.DataArray, y: np.ndarray, **options) -> QuadMesh:
    """Draw columns of cells as wide as the log axis says, step 0 apart; missing cells in grey.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        The axes; its x axis becomes one of steps.
    values : xarray.DataArray
        Dimensions (other, step).
    y : array of shape (n_other + 1,)
        Edges of the rows.
    **options
        As in `matplotlib.axes.Axes.pcolormesh`; `vmin` and `vmax` or `norm` are needed.

    Returns
    -------
    matplotlib.collections.QuadMesh
        The last one, for a colour bar.
    """
    steps = values["step"].to_numpy()
    log_step_axis(ax, values["step"], cells=True)
    grid = np.ma.masked_invalid(values.to_numpy())
    ax.set_ylim(y[0], y[-1])
    for edges, places in step_cells(steps):
        ax.pcolormesh(edges, y, np.zeros(grid[:, places].shape), cmap=_GREY, rasterized=True)
        mesh = ax.pcolormesh(edges, y, grid[:, places], rasterized=True, **options)
    return mesh


def step_norm(steps: np.ndarray) -> LogNorm:
    """Return how steps above 0 become colours; step 0 is drawn apart.

    Parameters
    ----------
    steps : array of shape (n_steps,)
        Steps.

    Returns
    -------
    matplotlib.colors.LogNorm
        Over the steps above 0.
    """
    positive = np.asarray(steps)[np.asarray(steps) > 0]
    if not len(positive):
        return LogNorm(1, 10)
    low, high = float(positive.min()), float(positive.max())
    return LogNorm(low, high if high > low else low * 10)


def label_steps(axis: Axis, norm: LogNorm) -> None:
    """Label the axis of a colour bar of steps: by decades, or by 1, 2, 5 where there are few.

    Parameters
    ----------
    axis : matplotlib.axis.Axis
        The long axis of the bar.
    norm : matplotlib.colors.LogNorm
        From `step_norm`.
    """
    low, high = float(norm.vmin or 1), float(norm.vmax or 10)
    decades = [10.0**p for p in range(0, 13) if low <= 10.0**p <= high * 1.0001]
    finer = [10.0**p * k for p in range(0, 13) for k in (1, 2, 5)]
    ticks = decades if len(decades) > 1 else [t for t in finer if low <= t <= high]
    axis.set_major_locator(FixedLocator(ticks or [low, high]))
    axis.set_major_formatter(FuncFormatter(step_label))
    axis.set_minor_formatter(NullFormatter())


def mark_missing(ax: Axes, curve: xr.DataArray) -> None:
    """Mark steps at which no curve has a value, at the foot of the axes.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes with an axis of steps.
    curve : xarray.DataArray
        With a dimension `step`.
    """
    lost = curve.isnull().all([dim for dim in curve.dims if dim != "step"]).to_numpy()
    if lost.any():
        ax.plot(
            curve["step"].to_numpy()[lost],
            np.full(lost.sum(), 0.025),
            transform=ax.get_xaxis_transform(),
            linestyle="none",
            marker="x",
            markersize=3.5,
            color="0.35",
            label="step without data",
        )


def _mark_break(ax: Axes, first: float, which: str) -> None:
    place, transform = (
        (([0.5 * first], [0.0]), ax.get_xaxis_transform())
        if which == "x"
        else (([0.0], [0.5 * first]), ax.get_yaxis_transform())
    )
    ax.plot(
        *place,
        transform=transform,
        linestyle="none",
        marker=_BREAK,
        markersize=5,
        markeredgewidth=0.6,
        color="0.15",
        clip_on=False,
        label="_break",
    )
