"""Figures from results: emergence curves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg", force=False)

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from scipy import stats

from dynamics import emergence

MM = 1 / 25.4
COLUMN, PAGE = 85 * MM, 180 * MM

STYLE = {
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 7.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6,
    "legend.title_fontsize": 6.5,
    "lines.linewidth": 1.1,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "savefig.dpi": 300,
}
AXIS_NAMES = {"ridge": "Encoding score (Pearson r)", "rsa": "RSA (Spearman ρ)"}


def plot_curves(results: xr.Dataset, *, ax: Axes | None = None, neuroid: str | None = None) -> Axes:
    """Draw one curve a layer: similarity against training step.

    The mean over neuroids, within each subject first, is drawn with the band of `curve_and_band`.
    A ring marks each layer's half-time.

    Parameters
    ----------
    results : xarray.Dataset
        ``tree["results/<target>/<metric>"].to_dataset()``.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure of one column's width.
    neuroid : str, optional
        Draw this neuroid (component, voxel, electrode) alone.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(COLUMN, 62 * MM), layout="constrained")
    if neuroid is not None:
        results = results.isel(neuroid=[_place(results, neuroid)])
    curve, low, high, over = curve_and_band(results)
    layers = [str(name) for name in results["layer"].to_numpy()]
    colours = dict(zip(layers, sns.color_palette("viridis", len(layers))))
    sns.lineplot(
        curve.to_dataframe("score").reset_index().astype({"layer": str}),
        x="step",
        y="score",
        hue="layer",
        hue_order=layers,
        palette=colours,
        errorbar=None,
        marker="o",
        markersize=2.2,
        markeredgewidth=0,
        ax=ax,
    )
    for number, colour in enumerate(colours.values()):
        band = (limit.isel(layer=number) for limit in (low, high))
        ax.fill_between(curve["step"], *band, color=colour, alpha=0.13, linewidth=0)
    if ax.get_legend() is not None:
        ax.get_legend().remove()
    steps = curve["step"].to_numpy()
    _mark_half_times(ax, curve, colours)
    _draw_levels(ax, results)
    log_step_axis(ax, steps)
    metric = str(results.attrs.get("identity", {}).get("metric", ""))
    ax.set_ylabel(AXIS_NAMES.get(metric, "Score"))
    ax.set_title("" if neuroid is None else str(neuroid))
    ax.set_gid(over)
    return ax


def plot_heatmap(results: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw the mean score of every layer (rows, output on top) at every step (columns).

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure of one column's width.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(COLUMN, 62 * MM), layout="constrained")
    curve = mean_curve(results)
    frame = curve.transpose("layer", "step").to_pandas().iloc[::-1]
    frame.columns = [_step_label(step) for step in frame.columns]
    metric = str(results.attrs.get("identity", {}).get("metric", ""))
    bar = {"label": AXIS_NAMES.get(metric, "Score")}
    sns.heatmap(frame, ax=ax, cmap="viridis", cbar_kws=bar, linewidths=0)
    ax.set_xlabel("Training step (0: untrained)")
    ax.set_ylabel("Layer")
    ax.tick_params(axis="x", rotation=90)
    ax.tick_params(axis="y", rotation=0)
    return ax


def curve_and_band(
    results: xr.Dataset,
) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray, str]:
    """Return the curves that `plot_curves` draws, with pointwise limits of 95 %.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.

    Returns
    -------
    curve, low, high : xarray.DataArray
        Dimensions step and layer. The limits are from Student's t: with ``resample_score`` over
        stimuli by complementary halves, and over subjects as well where there are three or more;
        else over subjects, or over test folds (then the curve is their mean). NaN where there
        is nothing to tell them from.
    over : str
        What the limits are over; empty where there are none.
    """
    curve, resampled, over = resampled_curve(results)
    if resampled is not None:
        scheme = emergence.Scheme.of(resampled)
        error = scheme.error(resampled)
        freedom = scheme.freedom(resampled.sizes["resample"])
    else:
        units, over = _units(results)
        freedom = units.sizes["unit"] - 1
        curve = units.mean("unit")
        error = units.std("unit", ddof=1) / np.sqrt(freedom + 1) if over else curve * np.nan
    half = stats.t.ppf(0.975, max(1, freedom)) * error
    order = ("step", "layer")
    return (*(part.transpose(*order) for part in (curve, curve - half, curve + half)), over)


def resampled_curve(
    results: xr.Dataset,
) -> tuple[xr.DataArray, xr.DataArray | None, str]:
    """Return the mean curves and the same on resamples, for `dynamics.emergence.interval`.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.

    Returns
    -------
    curve : xarray.DataArray
        Dimensions step and layer.
    resampled : xarray.DataArray or None
        With `resample` besides; None where the results have no ``resample_score``.
    over : str
        What the resamples vary.
    """
    if "resample_score" not in results:
        return mean_curve(results), None, ""
    curve, resampled = results["score"], results["resample_score"].load()
    attrs = resampled.attrs
    if "neuroid" in curve.dims:
        curve, resampled = _by_subject(curve), _by_subject(resampled).assign_attrs(attrs)
    if "subject" in curve.dims and curve.sizes["subject"] > 2:
        return (*emergence.with_subjects(curve, resampled), "stimuli and subjects")
    if "subject" in curve.dims:
        curve, resampled = curve.mean("subject"), resampled.mean("subject").assign_attrs(attrs)
    return curve, resampled, "stimuli"


def mean_curve(results: xr.Dataset) -> xr.DataArray:
    """Return the curves that `plot_curves` draws, without their limits.

    Parameters
    ----------
    results : xarray.Dataset
        Results of one target and metric.

    Returns
    -------
    xarray.DataArray
        Dimensions step and layer.
    """
    if "resample_score" in results:
        return _mean(results["score"]).transpose("step", "layer")
    return _units(results)[0].mean("unit").transpose("step", "layer")


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


def save(figure: Figure, path: Path) -> list[Path]:
    """Write a figure as PNG and PDF, beside first and then renamed.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure; it is closed.
    path : Path
        Without suffix.

    Returns
    -------
    list of Path
        The files.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    written = []
    for kind in ("png", "pdf"):
        final = path.parent / f"{path.name}.{kind}"
        beside = path.parent / f".{path.name}.{kind}.part"
        # No date inside: the same results give the same file.
        metadata = {"CreationDate": None} if kind == "pdf" else None
        figure.savefig(beside, format=kind, metadata=metadata)
        os.replace(beside, final)
        written.append(final)
    plt.close(figure)
    return written


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
        ax.xaxis.set_major_formatter(FuncFormatter(_step_label))
        ax.set_xlim(-0.08 * first if steps.min() == 0 else first / 1.1, last * 1.15)
    ax.set_xlabel("Training step (0: untrained)")


def _step_label(step: float, _: int | None = None) -> str:
    if step == 0:
        return "0"
    if step >= 10000 and np.isclose(np.log10(step), round(np.log10(step))):
        return f"$10^{{{round(np.log10(step))}}}$"
    return f"{step:,.0f}"


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


def _place(results: xr.Dataset, neuroid: str) -> int:
    names = [str(name) for name in results["neuroid"].to_numpy()]
    if neuroid not in names:
        raise ValueError(f"no neuroid {neuroid!r}: there are {', '.join(names[:10])}")
    return names.index(neuroid)


def _mean(score: xr.DataArray) -> xr.DataArray:
    """Average over neuroids: within each subject first, so that each counts the same."""
    if "neuroid" in score.dims:
        score = _by_subject(score)
    return score.mean("subject") if "subject" in score.dims else score


def _by_subject(score: xr.DataArray) -> xr.DataArray:
    if "subject" in score.coords:
        return score.groupby("subject").mean("neuroid")
    return score.mean("neuroid")


def _units(results: xr.Dataset) -> tuple[xr.DataArray, str]:
    """Return scores of the units over which intervals are made, and what the units are."""
    score = results["score"]
    if "neuroid" in score.dims:
        score = _by_subject(score)
    if "subject" in score.dims and score.sizes["subject"] > 2:
        return score.rename(subject="unit"), "subjects"
    if "fold_score" in results:
        return _mean(results["fold_score"]).rename(split="unit"), "test folds"
    return _mean(score).expand_dims("unit"), ""


def _mark_half_times(ax: Axes, curve: xr.DataArray, colours: dict) -> None:
    for number, when in enumerate(emergence.half_time(curve).to_numpy()):
        if np.isfinite(when):
            one = curve.isel(layer=number).to_numpy()
            level = np.interp(np.log1p(when), np.log1p(curve["step"].to_numpy()), one)
            ax.plot(
                when,
                level,
                marker="o",
                markersize=4.5,
                markerfacecolor="none",
                markeredgecolor=list(colours.values())[number],
                markeredgewidth=1.0,
                linestyle="none",
            )


def _draw_levels(ax: Axes, results: xr.Dataset) -> None:
    """Draw the baseline and the noise ceiling."""
    folds = "resample_score" not in results and _units(results)[1] == "test folds"
    baseline = "baseline_fold_score" if folds else "baseline"
    if baseline in results:
        level = float(_mean(results[baseline]).mean())
        ax.axhline(level, color="0.35", linestyle="--", linewidth=0.9, label="spectrotemporal")
    if "ceiling" in results.coords:
        level = float(_mean(results["ceiling"]))
        ax.axhline(level, color="0.1", linestyle=":", linewidth=0.9, label="noise ceiling")
    if "ceiling_upper" in results:
        band = float(results["ceiling_lower"]), float(results["ceiling_upper"])
        ax.axhspan(*band, color="0.85", linewidth=0, label="noise ceiling", zorder=0)
