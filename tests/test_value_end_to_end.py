"""Another value than the score, from a sweep's file by the command line to figures and report."""

import base64
import csv
import io
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from test_cli import dynamics, good  # noqa: F401

from dynamics import store
from dynamics.config import validate
from dynamics.sweep import half_times

AXES = {"r2": "Encoding score (r²)", "r2_corrected": "Encoding score (r², noise-corrected)"}
NAMES = {"r2": "r²", "r2_corrected": "r², noise-corrected"}


@pytest.fixture
def small(good):  # noqa: F811
    """A sweep of two steps, with resamples, a baseline, a listener heard thrice, and a report."""
    return good | {
        "stimuli": {"name": "synthetic", "arguments": {"per_kind": 2, "seconds": 0.4}},
        "targets": [{"name": "simulated", "arguments": {"neuroids": 8}}],
        "metrics": ["ridge"],
        "baseline": "spectrotemporal",
        "resamples": 4,
        "report": True,
    }


def by_hand(place, value):
    """Mean over neuroids, within each subject first, from the arrays of the store alone."""
    results = store.open(place)["results/simulated/ridge"].to_dataset()
    frame = pd.DataFrame(
        results[value].transpose("neuroid", "step", "layer").to_numpy().reshape(8, -1)
    )
    subjects, weights = results["subject"].to_numpy(), pd.Series(np.ones(8))
    if value == "r2_corrected":  # means are ratios of means: each counts as its reliability
        dims = ["step", "layer"]
        found = results["r2"].where(results[value].notnull()).sum(dims) / results[value].sum(dims)
        weights = pd.Series(found.to_numpy()).fillna(0)
    total = frame.fillna(0).mul(weights, axis=0).groupby(subjects).sum()
    most = (weights > 0).groupby(subjects).mean() >= 0.6  # a subject of fewer has no mean
    mean = total.div(weights.groupby(subjects).sum(), axis=0)[most].mean().to_numpy()
    return pd.DataFrame(mean.reshape(2, -1), [0, 10], results["layer"].to_numpy())


def words_of(picture):
    """All that is written in an SVG, without spaces: long labels stand in two lines."""
    return re.sub(r"\s", "", "".join(re.findall(r"<text[^>]*>([^<]*)<", picture)))


def table_of_page(page):
    ((text),) = re.findall(r"data:text/csv;charset=utf-8;base64,([\w+/=]+)", page)
    return pd.DataFrame(list(csv.DictReader(io.StringIO(base64.b64decode(text).decode()))))


@pytest.mark.slow
def test_r2_is_what_figures_report_table_and_csv_of_a_run_show(
    tmp_path,
    small,
    dynamics,  # noqa: F811
):
    dynamics(small, "run", "CONFIG")
    for value, axis in AXES.items():
        content = small | {"value": value, "figures": str(tmp_path / value)}
        done = dynamics(content, "run", "CONFIG")
        assert "results: 0 new" in done.out  # nothing is computed again
        expected = by_hand(small["store"], value)
        # The table on the screen.
        assert f"ridge ({value})" in done.out
        layer = expected.columns[0]
        (row,) = [line for line in done.out.splitlines() if f" {layer} " in line]
        assert f"{expected[layer][0]:.3f}" in row and f"{expected[layer][10]:.3f}" in row
        # The same as numbers.
        frame = half_times(validate(content, origin="test")).set_index("layer")
        np.testing.assert_allclose(frame["final"], expected.loc[10, frame.index], atol=1e-12)
        np.testing.assert_allclose(frame["untrained"], expected.loc[0, frame.index], atol=1e-12)
        assert set(frame["value"]) == {value}
        # The report: its words, table and figures.
        (place,) = re.findall(r"report: (\S+)", done.out)
        page = Path(place).read_text()
        assert f"ridge ({NAMES[value]})" in page
        assert f"What is shown of “ridge” is {NAMES[value]}" in page
        written = table_of_page(page)
        mean = written[written["curve"] == "mean"].set_index("layer")
        assert set(mean["metric"]) == {f"ridge ({NAMES[value]})"}
        final = mean["final"].astype(float)
        np.testing.assert_allclose(final, expected.loc[10, final.index], atol=1e-12)
        pictures = [
            base64.b64decode(each).decode()
            for each in re.findall(r"data:image/svg\+xml;base64,([\w+/=]+)", page)
        ]
        named = [axis.replace(" ", "") in words_of(picture) for picture in pictures]
        assert any(named), "curves name the value on an axis"
        assert not any("(Pearsonr)" in words_of(picture) for picture in pictures)
        # The files.
        dynamics(content, "plot", "CONFIG", "--format", "svg", "--figure", "all")
        for name in ("emergence-ridge", "heatmap-ridge-simulated"):
            figure = (tmp_path / value / f"{name}.svg").read_text()
            assert axis.replace(" ", "") in words_of(figure)
        plt.close("all")
