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
from plots_results import LAYERS, STEPS, of_one_subject, probe, results, without

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
        attrs={"confidence": 0.95},
    )


def of_layers():
    near = np.exp(-0.2 * np.abs(np.arange(3)[:, None] - np.arange(3)))
    return xr.DataArray(
        np.stack([near**power for power in range(1, 7)]),
        dims=("step", "layer", "layer_other"),
        coords={"step": STEPS, "layer": LAYERS, "layer_other": LAYERS},
    )


def activations():
    """Twelve sounds of three kinds that come apart with training."""
    rng = np.random.default_rng(1)
    kinds = np.arange(12) % 3
    centre = rng.standard_normal((3, 20))[kinds]
    noise = rng.standard_normal((12, 20))
    X = np.stack([weight * centre + noise for weight in np.linspace(0, 3, len(STEPS))])
    return xr.DataArray(
        X,
        dims=("step", "stimulus", "feature"),
        coords={"step": STEPS, "category": ("stimulus", np.array(["bell", "rain", "song"])[kinds])},
    )


def electrodes():
    """Half-times of places on both sides, of which one was not reached."""
    places = np.array([[-60, -20, 5], [-62, -5, 0], [-58, -35, 12], [61, -18, 6], [59, -30, 10.0]])
    coords = {name: ("neuroid", places[:, i]) for i, name in enumerate("xyz")}
    when = [10.0, 300, np.nan, 30, 1000]
    return xr.DataArray(when, dims="neuroid", coords=coords, attrs={"units": "step"})


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
    "layer-similarity": lambda ax: plots.plot_layer_similarity(of_layers(), step=100, ax=ax),
    "surface": lambda ax: plots.plot_surface(electrodes(), ax=ax),
    "models": lambda ax: plots.plot_models(
        {"a": of_one_subject(), "b": without(of_one_subject(), 10000)}, ax=ax
    ),
}


# Figures of several panels, which make their axes themselves.
PANELS = {
    "rdms": lambda: plots.plot_rdms(activations()),
    "facets": lambda: plots.facet_curves(results(), facet="region", hue="subject"),
    "facets-steps": lambda: plots.facet_similarity(
        xr.concat([similarity(), similarity() ** 3], xr.DataArray(LAYERS[:2], dims="layer"))
    ),
    "facets-layers": lambda: plots.facet_layer_similarity(of_layers()),
    "facets-surface": lambda: plots.facet_surface(electrodes()),
}


def without_letters(figure):
    for legend in list(figure.legends):
        legend.remove()
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


def figure_of(name):
    """Draw a figure whose axes have their places by hand, not by the room that letters take."""
    if name in FIGURES:
        figure = Figure(figsize=(85 / 25.4, 60 / 25.4))
        FIGURES[name](figure.add_axes([0.12, 0.12, 0.76, 0.76]))
        return figure
    figure = PANELS[name]()[0].figure
    figure.set_layout_engine(None)
    figure.set_size_inches(3.4, 2.4)
    for place, ax in enumerate(figure.axes):
        row, column = divmod(place, 3)
        # Whole pixels, 48 wide: edges of cells between two of them are rounded either way.
        ax.set_position([(68 * column + 12) / 204, (84 - 70 * row) / 144, 48 / 204, 48 / 144])
        if ax.get_label() == "<colorbar>":
            ax.tick_params(which="both", length=0)
    return figure


def write(figure, path):
    FigureCanvasAgg(figure)
    without_letters(figure)
    figure.savefig(path, dpi=60)


def difference(name, path):
    return compare_images(str(BASELINES / f"{name}.png"), str(path), tol=TOLERANCE)


@pytest.mark.parametrize("name", [*FIGURES, *PANELS])
def test_the_figure_looks_as_it_did(name, tmp_path):
    if "surface" in name:
        pytest.importorskip("nilearn")
    write(figure_of(name), tmp_path / f"{name}.png")
    assert difference(name, tmp_path / f"{name}.png") is None


def take_a_line(figure):
    next(line for line in figure.axes[0].get_lines() if line.get_label() == "layer1").remove()


def take_a_panels_line(figure):
    next(line for line in figure.axes[1].get_lines() if line.get_label() == "s1").remove()


def take_a_category(figure):
    strip = figure.axes[0].child_axes[0].images[0]
    strip.set_data(np.zeros_like(strip.get_array()))


def swap_colours(figure):
    figure.axes[-2].collections[-1].set_cmap("viridis")


def take_the_points(figure):
    next(c for c in figure.axes[0].collections if c.get_zorder() == 4).remove()


@pytest.mark.parametrize(
    "name, change",
    [
        ("curves", take_a_line),
        ("facets", take_a_panels_line),
        ("rdms", take_a_category),
        ("facets-steps", swap_colours),
        ("facets-layers", swap_colours),
        ("surface", take_the_points),
        ("facets-surface", take_the_points),
    ],
)
def test_what_is_gone_or_of_another_colour_is_a_difference(name, change, tmp_path):
    if "surface" in name:
        pytest.importorskip("nilearn")
    figure = figure_of(name)
    change(figure)
    write(figure, tmp_path / "changed.png")
    assert difference(name, tmp_path / "changed.png") is not None


if __name__ == "__main__":  # python tests/test_plots_images.py draws the baselines anew
    for name in (*FIGURES, *PANELS):
        write(figure_of(name), BASELINES / f"{name}.png")
