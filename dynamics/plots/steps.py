"""The axis of training steps: logarithmic, with step 0 on it."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator


def log_step_axis(ax: Axes, steps: np.ndarray) -> None:
    """Make the x axis logarithmic in training steps, with step 0 shown at its left end.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        The axes.
    steps : array of shape (n_steps,)
        Steps that are drawn.
    """
    positive = steps[steps > 0]
    if not len(positive):
        ax.set_xticks(steps, [str(step) for step in steps])
    else:
        first, last = int(positive.min()), int(positive.max())
        ax.set_xscale("symlog", linthresh=first, linscale=0.6)
        decades = [10.0**p for p in range(0, 13) if first <= 10.0**p <= last * 1.0001]
        if len(decades) < 2:
            decades = sorted({float(first), float(last)})
        # A decade too near to step 0 would print over its label.
        ticks = ([0.0] if steps.min() == 0 else []) + decades
        ax.xaxis.set_major_locator(FixedLocator(ticks))
        minor = [d * k for d in [1, *decades] for k in range(2, 10) if first < d * k < last]
        ax.xaxis.set_minor_locator(FixedLocator(minor) if minor else NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(step_label))
        ax.set_xlim(-0.08 * first if steps.min() == 0 else first / 1.1, last * 1.15)
    ax.set_xlabel("Training step (0: untrained)")


def step_label(step: float, _: int | None = None) -> str:
    """Write a step as a tick label; the second argument is what matplotlib's formatters give."""
    if step == 0:
        return "0"
    if step >= 10000 and np.isclose(np.log10(step), round(np.log10(step))):
        return f"$10^{{{round(np.log10(step))}}}$"
    return f"{step:,.0f}"
