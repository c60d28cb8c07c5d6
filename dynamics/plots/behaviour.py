"""The cortical and the behavioural part of how brain-like a network is, along training."""

from __future__ import annotations

import xarray as xr
from matplotlib.axes import Axes

from dynamics.plots.panels import draw_legend
from dynamics.plots.steps import log_step_axis
from dynamics.plots.style import panel, styled

_PARTS = {
    "cortical": ("cortical part", "#0072B2"),
    "behavioural": ("behavioural part", "#D55E00"),
    "score": ("weighted mean", "0.2"),
}

_OVER = "95 % over stimuli, over sounds of the task, and over both"


@styled
def plot_brain_like(found: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw both parts and their weighted mean at every step, with the limits that there are.

    Parameters
    ----------
    found : xarray.Dataset
        From `dynamics.probes.brain_like`.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure of one column's width.

    Returns
    -------
    matplotlib.axes.Axes
        The axes; the weight of the cortical part stands in the title.
    """
    own = ax is None
    ax = panel(ax, height=62)
    steps = found["step"].to_numpy()
    for name, (label, colour) in _PARTS.items():
        lower, upper = found[f"{name}_lower"], found[f"{name}_upper"]
        ax.fill_between(steps, lower, upper, color=colour, alpha=0.12, linewidth=0)
        ax.plot(steps, found[name], "o-", color=colour, markersize=2.8, label=label)
    log_step_axis(ax, found["step"])
    ax.set_ylabel("Score")
    ax.set_title(f"weight of the cortical part: {found.attrs['weight']:g}", fontsize=6.5)
    bare = [label for name, (label, _) in _PARTS.items() if found[f"{name}_lower"].isnull().all()]
    ax.set_gid("95 % over sounds of the task" if bare else _OVER)
    if own:
        note = f"{' and '.join(bare)}: no limits, {found.attrs.get('no_limits', '')}"
        draw_legend(ax, notes=[note] if bare else [])
    return ax
