"""Penalties at an edge of those tried are told on the console, in figures and in the report."""

import numpy as np
import plots_results
import pytest
import xarray as xr
from report_store import STEPS, make

from dynamics import plots, report, store
from dynamics.config import validate
from dynamics.emergence.remarks import about_edges
from dynamics.sweep import at_edges


def of(*shares):
    return xr.Dataset(
        {"alpha_edge": ("step", list(shares))}, coords={"step": np.arange(len(shares))}
    )


def test_up_to_one_per_cent_there_is_nothing_to_say():
    assert about_edges(of(0.0, 0.01, 0.01)) == ""
    assert about_edges(of(0.0, 0.02, 0.01)) == ""
    assert about_edges(of(np.nan, np.nan)) == ""
    assert about_edges(xr.Dataset()) == ""
    assert about_edges(of(0.04, 0.03), due=True) == ""
    assert about_edges(of(0.06, 0.01), due=True).startswith("3.5 % (6 % at step 0)")


def test_the_mean_the_worst_step_and_what_to_do_are_said():
    said = about_edges(of(0.01, np.nan, 0.3))
    assert said.startswith("16 % (30 % at step 2) of the penalties chosen are at an edge")
    assert "give the metric `alphas`" in said
    assert "at step" not in about_edges(of(0.05, 0.05))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    tree = store.open(make(tmp_path_factory.mktemp("stores") / "run.zarr"))
    tree["results/cortex/ridge"]["alpha_edge"] = xr.Variable(
        "step", np.linspace(0, 0.1, len(STEPS))
    )
    return tree


def test_the_console_names_target_and_metric(tree, monkeypatch):
    monkeypatch.setattr("dynamics.store.open", lambda _: tree)
    sweep = validate(
        {"run": "run", "store": "run.zarr", "checkpoints": "none", "model": "encodecmae",
         "stimuli": "synthetic", "targets": [{"name": "simulated", "label": "cortex"}],
         "metrics": ["ridge", "rsa"]},
        origin="here",
    )  # fmt: skip
    (said,) = at_edges(sweep)
    assert said.startswith("cortex by ridge: 5 % (10 % at step 10,000) of the penalties")
    assert "`alphas`" in said


def test_the_report_says_it(tree, monkeypatch):
    monkeypatch.setattr("dynamics.report.page.figures.pictures", lambda *_: [])
    page = report.render(tree)
    assert "In cortex by “ridge”, 5 % (10 % at step 10,000) of the penalties" in page


def test_the_figure_says_it_within_its_bounds():
    data = plots_results.results()
    data["alpha_edge"] = "step", np.full(data.sizes["step"], 0.2)
    both = {"/results/one/ridge": data, "/results/two/ridge": data.drop_vars("alpha_edge")}
    tree = xr.DataTree.from_dict(both)
    for targets in (["one"], ["one", "two"], ["two"]):
        figure = plots.figure_of_targets(tree, "ridge", targets)
        figure.canvas.draw()
        (legend,) = figure.legends
        title = " ".join(legend.get_title().get_text().split())
        assert ("20 % of penalties at an edge" in title) == ("one" in targets)
        assert ("one: 20 %" in title) == (len(targets) == 2)
        box = legend.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0
        assert all(box.y1 <= ax.get_tightbbox().y0 for ax in figure.axes)
