"""Which curve comes when: forest plots of half-times, onsets and plateaus."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from dynamics.analysis.values import of as value_of
from dynamics.emergence import STATISTICS, steps_by
from dynamics.emergence.intake import with_layers
from dynamics.emergence.population import population
from dynamics.plots.names import even, short_layer, short_names
from dynamics.plots.panels import name_rows
from dynamics.plots.steps import log_step_axis
from dynamics.plots.style import panel, styled

_COLOUR, _FAINT = "#0072B2", "0.55"
_WIDE = 54  # letters below axes of one column


@styled
def plot_order(
    results: xr.Dataset,
    *,
    by: str = "layer",
    layer: str | None = None,
    statistic: str = "half_time",
    confidence: float = 0.95,
    ax: Axes | None = None,
    value: str | None = None,
    **arguments,
) -> Axes:
    """Draw when each layer, component, region, subject or run emerges, in order, with intervals.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric, or `stack` of several.
    by : str
        What the rows are, as `hue` in `plot_curves`.
    layer : str, optional
        Which layer, where `by` is something else; by default the one that ends best.
    statistic : {"half_time", "onset", "plateau_step"}
        What to draw.
    confidence : float
        Coverage of the intervals.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure of one column's width.
    value : str, optional
        Which value of the metric, as in `dynamics.analysis.values.of`; by default what the results
        are of.
    **arguments
        What else the statistic takes, such as `fraction`.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ValueError
        If the statistic is not a step, or the results have no such layer or coordinate.
    """
    results = value_of(results, value)
    if statistic not in STATISTICS or STATISTICS[statistic].goal is None:
        known = sorted(name for name, record in STATISTICS.items() if record.goal is not None)
        raise ValueError(f"{statistic!r} is not a step: use one of {', '.join(known)}")
    results = with_layers(results, by)
    found, chosen = steps_by(
        results, by=by, layer=layer, statistic=statistic, confidence=confidence, **arguments
    )
    ax = plot_intervals(found, steps=results["step"], ax=ax)
    if chosen:
        chosen = short_layer(results, chosen)
        ax.set_title(", ".join(word for word in (ax.get_title(), chosen) if word))
    return ax


@styled
def plot_intervals(
    found: xr.Dataset, *, steps: np.ndarray | xr.DataArray, ax: Axes | None = None
) -> Axes:
    """Draw steps with their intervals, one row a curve, the first to emerge on top.

    A point is the estimate, a line its interval. An arrow is an interval without an end: the data
    cannot exclude that the curve never gets there; its point is hollow. A curve without an
    estimate has no point but says why ("no gain", "not reached"), with a dashed line from the
    first step that is possible.

    Parameters
    ----------
    found : xarray.Dataset
        From `dynamics.emergence.interval`, along one dimension: `estimate` with the coordinate
        `status`, and `lower` and `upper` where there are resamples; the attributes `statistic`,
        `confidence` and `over` (what the intervals are over), or `no_intervals` (why there are
        none), are written beside them.
    steps : array of shape (n_steps,)
        Steps of the curves, for the axis.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure of one column's width.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ValueError
        If there is not exactly one dimension, or intervals do not say how sure they are.
    """
    if found["estimate"].ndim != 1:
        raise ValueError(
            f"the estimates have dimensions {found['estimate'].dims}: select all but one"
        )
    (dim,) = found["estimate"].dims
    estimate = found["estimate"].to_numpy()
    rows = np.lexsort((_lower(found), np.where(np.isfinite(estimate), estimate, np.inf)))
    own = ax is None
    ax = panel(ax, height=24 + 4.2 * len(rows))
    log_step_axis(ax, steps)
    limits = ax.get_xlim()
    given = found[dim].to_numpy() if dim in found.coords else np.arange(len(rows))
    names = [str(name) for name in given]
    names = short_names(names) if dim == "layer" else names
    status = found["status"].to_numpy() if "status" in found.coords else np.full(len(rows), "")
    for row, place in enumerate(rows):
        lower, upper = (
            float(found[side][place]) if side in found else np.nan for side in ("lower", "upper")
        )
        _draw_row(ax, row, float(estimate[place]), (lower, upper), str(status[place]), limits)
    name_rows(ax, [names[place] for place in rows])
    ax.set_xlim(limits)
    statistic = str(found.attrs.get("statistic", ""))
    record = STATISTICS.get(statistic)
    kind = (record.figure or record.label) if record is not None else "Step"
    whom = ""
    if "lower" in found:
        kind += f" (lines: {100 * _confidence(found):.3g} %{_over(found)})"
        whom = population(over) if (over := str(found.attrs.get("over", ""))) else ""
    elif found.attrs.get("no_intervals"):
        whom = f"no limits: {found.attrs['no_intervals']}"
    below = [even(f"({whom})", _WIDE)] if whom else []
    if own:
        ax.set_xlabel("\n".join([kind, *below, ax.get_xlabel()]))
    else:
        ax.set_title(kind)
        ax.set_xlabel("\n".join([ax.get_xlabel(), *below]))
    return ax


def _confidence(found: xr.Dataset) -> float:
    if "confidence" not in found.attrs:
        raise ValueError(
            "the intervals have lost how sure they are (attribute `confidence`): do what was done "
            "to them under `xr.set_options(keep_attrs=True)`, or give it again with `assign_attrs`"
        )
    return float(found.attrs["confidence"])


def _over(found: xr.Dataset) -> str:
    over = found.attrs.get("over")
    return f" over {over}" if over else ""


def _lower(found: xr.Dataset) -> np.ndarray:
    if "lower" not in found:
        return np.zeros(found["estimate"].size)
    return found["lower"].fillna(np.inf).to_numpy()


def _draw_row(
    ax: Axes,
    row: int,
    estimate: float,
    ends: tuple[float, float],
    status: str,
    limits: tuple[float, float],
) -> None:
    lower, upper = ends
    reached = np.isfinite(estimate)
    colour, line = (_COLOUR, "-") if reached else (_FAINT, (0, (2, 1.5)))
    if np.isfinite(lower):
        opened = not np.isfinite(upper)
        stop = limits[1] if opened else upper
        ax.plot([lower, stop], [row, row], color=colour, linestyle=line, linewidth=1.1)
        if opened:
            ax.plot(
                stop,
                row,
                marker=">",
                markersize=3.6,
                color=colour,
                markeredgewidth=0,
                clip_on=False,
            )
    if reached:
        # Hollow where the interval has no end: the gain itself is uncertain.
        fill = colour if np.isfinite(upper) or np.isnan(upper) else "white"
        ax.plot(estimate, row, "o", markersize=3.8, color=colour, markerfacecolor=fill)
    else:
        lined = np.isfinite(lower)
        ax.annotate(
            status or "not reached",
            (1, row),
            xycoords=ax.get_yaxis_transform(),
            xytext=(-4, 1.5 if lined else 0),
            textcoords="offset points",
            ha="right",
            va="bottom" if lined else "center",
            fontsize=5.5,
            color="0.35",
        )
