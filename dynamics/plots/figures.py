"""Whole figures of a store."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import xarray as xr
from matplotlib.figure import Figure

from dynamics.plots.curves import plot_curves
from dynamics.plots.style import COLUMN, MM, PAGE, STYLE


def figure_of_targets(tree: xr.DataTree, metric: str, targets: Sequence[str]) -> Figure:
    """Draw emergence curves of one metric, one panel a target.

    Parameters
    ----------
    tree : xarray.DataTree
        What `dynamics.open` returned.
    metric : str
        Label of the metric.
    targets : sequence of str
        Labels of the targets.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    panels = [(target, tree[f"results/{target}/{metric}"].to_dataset(), None) for target in targets]
    return _figure(panels, title=str(tree.attrs.get("run", "")))


def figure_of_neuroids(tree: xr.DataTree, metric: str, target: str) -> Figure:
    """Draw emergence curves of one target, one panel a neuroid (for components).

    Parameters
    ----------
    tree : xarray.DataTree
        What `dynamics.open` returned.
    metric, target : str
        Labels of the metric and the target.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    results = tree[f"results/{target}/{metric}"].to_dataset()
    panels = [(str(name), results, str(name)) for name in results["neuroid"].to_numpy()]
    return _figure(panels, title=f"{tree.attrs.get('run', '')}: {target}")


def _figure(panels: Sequence[tuple[str, xr.Dataset, str | None]], *, title: str) -> Figure:
    with plt.rc_context(STYLE):
        columns = min(3, len(panels))
        rows = -(-len(panels) // columns)
        width = COLUMN * 1.15 if columns == 1 else PAGE
        figure, axes = plt.subplots(
            rows,
            columns,
            figsize=(width, (52 * rows + 16) * MM),
            sharex=True,
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        for ax in axes.flat[len(panels) :]:
            ax.set_visible(False)
        for ax, (name, results, neuroid) in zip(axes.flat, panels):
            plot_curves(results, ax=ax, neuroid=neuroid)
            simulated = "simulated brain: " if results.attrs.get("simulated") else ""
            ax.set_title(simulated + name)
            ax.label_outer(remove_inner_ticks=False)
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            loc="outside lower center",
            ncols=min(3 if columns == 1 else 6, len(labels)),
            frameon=False,
        )
        over = axes.flat[0].get_gid()
        bands = f"bands: 95 % over {over}; " if over else ""
        figure.suptitle(f"{title} ({bands}rings: half-times)", fontsize=7)
    return figure
