"""Figures of many runs: entries in order, and limits where there is no curve."""

import numpy as np
import pandas as pd
import xarray as xr
from plots_results import results

from dynamics.plots import runs as drawn


def legend_of(ax):
    return [text.get_text() for text in ax.figure.legends[0].get_texts()]


def test_numbers_stand_in_the_legend_in_their_order_and_only_those_that_are_drawn():
    hours = {"a": 1000.0, "b": 10.0, "c": 100.0}
    ax = drawn.plot_many_curves(dict.fromkeys(hours, results()), hue=hours, hue_name="hours")
    assert legend_of(ax)[:3] == ["hours: 10", "hours: 100", "hours: 1,000"]
    table = pd.DataFrame(
        {"run": ["a", "b", "gone"], "hours": [1000.0, 10.0, 1.0], "score": [0.3, 0.2, np.nan],
         "low": [0.2, 0.1, np.nan], "high": [0.4, 0.3, np.nan], "note": ["", "", "no store"]}
    )  # fmt: skip
    ax = drawn.plot_scores(table, hue="hours")
    assert legend_of(ax)[:2] == ["hours: 10", "hours: 1,000"]
    assert "no store" in [text.get_text() for text in ax.texts]


def test_a_region_map_says_why_a_run_has_no_score():
    rows = [(run, region, 0.1 * k, "") for k, run in enumerate("abc") for region in ("all", "x")]
    table = pd.DataFrame(
        [*rows, ("gone", "all", np.nan, "no store")], columns=["run", "region", "score", "note"]
    )
    ax = drawn.plot_regions(table)
    assert "no store" in [text.get_text() for text in ax.texts]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["a", "b", "c", "gone"]


def test_a_contrast_of_last_scores_has_its_limits():
    found = xr.Dataset(
        {name: ("step", [value]) for name, value in (("estimate", 0.2), ("lower", 0.1),
                                                      ("upper", 0.3))},
        {"step": [1000]}, {"over": "stimuli", "runs": "1 of a, 1 of b"},
    )  # fmt: skip
    ax = drawn.plot_contrast(found, label="a − b")
    assert any(np.allclose(line.get_ydata(), [0.1, 0.3]) for line in ax.lines)
    assert ax.get_xticklabels()[0].get_text() == "last step of each run"
