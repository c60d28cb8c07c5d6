"""The report of a collection: one HTML page with everything in it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import jinja2
import pandas as pd

from dynamics.collection import writing
from dynamics.collection.tables import by_pair
from dynamics.report.page import shown as readably

# What the longest tables show of themselves; the files have all of it.
_MOST_ROWS = 80
_HEADINGS = {
    "best-layers": "Best layer by region",
    "half-times": "Half-times",
    "replicates": "Runs of one recipe",
    "differences": "Differences between runs",
    "trends": "Trends",
    "surfaces": "Surfaces over two numbers",
    "contrasts": "Contrasts along training",
    "brains-tasks": "Brain score and overall probe score",
}
_HINTS = {
    "best-layers": "The layer with the highest mean score at the last step; support is the part of "
    "the halves of the stimuli on which it is the best. score is that of the layer that the other "
    "half chooses, highest that of the layer on the stimuli that chose it, which flatters. depth "
    "is 0 at the input and 1 at the output.",
    "half-times": "First step at which a run has made half of its final gain, in the layer that "
    "ends best; limits of 95 % are for each network only and hold for all of its layers, whichever "
    "is chosen; runs of a single trained network have none.",
    "replicates": "Runs that differ in nothing but the coordinate of replicates, each averaged "
    "first: limits of 95 % are over initialisations (other seeds; Student's t of the runs less "
    "one), and over stimuli as well where the column says so, in these people; those of the layer "
    "that ends highest hold for all layers at once.",
    "differences": "First minus second, on the same halves of the stimuli, so that what sounds do "
    "to both cancels: limits of 95 % are over stimuli, these runs; p_adjusted is the false "
    "discovery rate over all pairs.",
    "trends": "lower and upper are limits of 95 % over stimuli (these runs), runs_lower and "
    "runs_upper over runs (these stimuli); left_out_error is that of predicting each run from the "
    "others. The slope is that of a tenfold; limits of top and range are open where a line in the "
    "logarithm fits as well. Along training (step) every run has its own trends; "
    "limits over runs and p of the mean slope are those of other runs before these very stimuli.",
    "surfaces": "top − A n^−a − B d^−b, n and d over their geometric means; rise is what it grows "
    "by from the smallest to the largest value. There are no limits: none were shown to hold.",
    "contrasts": "over says what the limits are over: stimuli (these very networks), or both "
    "(other initialisations before other stimuli). p_adjusted is the false discovery rate over "
    "steps, p_permutation that of exchanging runs.",
    "brains-tasks": "The overall score is the mean of all tasks, z-scored over the runs.",
}


def render(
    name: str,
    runs: int,
    made: Mapping[str, pd.DataFrame],
    said: Sequence[str],
    pictures: Sequence[tuple[str, str, str]],
    *,
    best: Sequence[str] = (),
    sentences: Sequence[str] = (),
) -> str:
    """Write the report of a collection as HTML.

    Parameters
    ----------
    name : str
        Of the collection.
    runs : int
        How many there are in it.
    made : mapping of str to pandas.DataFrame
        Tables by name; `models` is one of them.
    said : sequence of str
        What is not in them, and why.
    pictures : sequence of (name, caption, address)
        Figures, as addresses that hold the picture itself.
    best : sequence of str
        Among how many runs the best one is.
    sentences : sequence of str
        What runs of one recipe show together.

    Returns
    -------
    str
        One page; no address in it leads outside.
    """
    shown = [
        (
            f"{target} by {metric}",
            _html(writing.wide(some)),
            _html(writing.wide(some, show="median")),
        )
        for (target, metric), some in by_pair(made["models"], lambda table: table)
    ]
    others = [
        (
            title,
            _HINTS[key],
            _html(made[key].head(_MOST_ROWS)),
            max(0, len(made[key]) - _MOST_ROWS),
            f"{key}.csv",
        )
        for key, title in _HEADINGS.items()
        if key in made
    ]
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=readably,
    )
    template = files(__package__).joinpath("collection.html").read_text(encoding="utf-8")
    style = files("dynamics.report").joinpath("report.css").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        name=name,
        runs=runs,
        said=said,
        best=best,
        sentences=sentences,
        models=shown,
        others=others,
        pictures=pictures,
        style=style,
        written=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def _html(table: pd.DataFrame) -> dict[str, Any]:
    numeric = [pd.api.types.is_numeric_dtype(table[name]) for name in table.columns]
    each = table.itertuples(index=False)
    rows = [[v if isinstance(v, str) else writing.written(v) for v in row] for row in each]
    return {"columns": [str(name) for name in table.columns], "numeric": numeric, "rows": rows}
