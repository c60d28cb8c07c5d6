"""What figures look like, against small committed pictures.

Letters are rendered differently by every version of matplotlib and FreeType, so the pictures have
none: titles, labels and legends go before they are compared (other tests read those), and axes
are placed by hand. What is left are lines, bands, cells and points.
"""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.testing.compare import compare_images
from plots_results import LAYERS, STEPS, of_one_subject, probe, without

from dynamics import plots

BASELINES = Path(__file__).parent / "baselines"

# Root mean square over pixels of a difference of 0 to 255. With matplotlib 3.8, 3.9, 3.10 and 3.11
# the pictures are the same to the last bit; a missing line differs by more than 3.
TOLERANCE = 1.0


def similarity():
    near = np.exp(-0.2 * np.abs(np.arange(6)[:, None] - np.arange(6)))
    return xr.DataArray(
        near, dims=("step", "step_other"), coords={"step": STEPS, "step_other": STEPS}
    )


def forest():
    return xr.Dataset(
        {
            "estimate": ("layer", np.array([50, 20, np.nan])),
            "lower": ("layer", np.array([10.0, 15, 300])),
            "upper": ("layer", np.array([np.inf, 40, np.inf])),
        },
        coords={"layer": LAYERS, "status": ("layer", ["reached", "reached", "not reached"])},
    )


FIGURES = {
    "curves": lambda ax: plots.plot_curves(without(of_one_subject(), 100), ax=ax),
    "curves-regions": lambda ax: plots.plot_curves(of_one_subject(), hue="region", ax=ax),
    "heatmap": lambda ax: plots.plot_heatmap(without(of_one_subject(), 10), ax=ax),
    "order": lambda ax: plots.plot_intervals(forest(), steps=STEPS, ax=ax),
    "best-layer": lambda ax: plots.plot_best_layer(of_one_subject(), ax=ax),
    "brain-task": lambda ax: plots.plot_brain_task(
        of_one_subject(), probe(of_one_subject(), noise=0.05), ax=ax
    ),
    "similarity": lambda ax: plots.plot_similarity(similarity(), ax=ax),
    "models": lambda ax: plots.plot_models(
        {"a": of_one_subject(), "b": without(of_one_subject(), 10000)}, ax=ax
    ),
}


def without_letters(figure):
    for ax in figure.axes:
        ax.set_title("")
        ax.set_title("", loc="left")
        ax.set_title("", loc="right")
        ax.set(xlabel="", ylabel="")
        ax.xaxis.set_tick_params(which="both", labelbottom=False)
        ax.yaxis.set_tick_params(which="both", labelleft=False, labelright=False)
        for text in ax.texts:
            text.set_visible(False)
        if ax.get_legend() is not None:
            ax.get_legend().remove()


def draw(name, path):
    figure = Figure(figsize=(85 / 25.4, 60 / 25.4), dpi=60)
    FigureCanvasAgg(figure)
    FIGURES[name](figure.add_axes([0.12, 0.12, 0.76, 0.76]))
    without_letters(figure)
    figure.savefig(path, dpi=60)


@pytest.mark.parametrize("name", FIGURES)
def test_the_figure_looks_as_it_did(name, tmp_path):
    draw(name, tmp_path / f"{name}.png")
    baseline = BASELINES / f"{name}.png"
    assert compare_images(str(baseline), str(tmp_path / f"{name}.png"), tol=TOLERANCE) is None


def test_a_missing_line_is_a_difference(tmp_path):
    figure = Figure(figsize=(85 / 25.4, 60 / 25.4), dpi=60)
    FigureCanvasAgg(figure)
    ax = plots.plot_curves(
        without(of_one_subject(), 100), ax=figure.add_axes([0.12, 0.12, 0.76, 0.76])
    )
    next(line for line in ax.get_lines() if line.get_label() == "layer1").remove()
    without_letters(figure)
    figure.savefig(tmp_path / "changed.png", dpi=60)
    found = compare_images(
        str(BASELINES / "curves.png"), str(tmp_path / "changed.png"), tol=TOLERANCE
    )
    assert found is not None


if __name__ == "__main__":  # python tests/test_plots_images.py draws the baselines anew
    for name in FIGURES:
        draw(name, BASELINES / f"{name}.png")
