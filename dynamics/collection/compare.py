"""From a collection to its tables, figures and report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from dynamics import plots
from dynamics.collection import differences, page, tables, writing
from dynamics.collection.lazy import gaps
from dynamics.collection.opening import Compared, Opened, compared, gather, open_runs
from dynamics.collection.recipes import Recipes, half_times_of, recipes_of, trained
from dynamics.collection.together import brains_and_tasks, contrasts_of
from dynamics.collection.trends import STEP, Fitted, surfaces_of, trends_of
from dynamics.config.collection import Collection
from dynamics.emergence.last_step import ALL, is_single
from dynamics.filesystems import replacing
from dynamics.letters import in_markdown
from dynamics.plots import runs as drawn
from dynamics.plots.style import figure_of, score_label
from dynamics.report import data_uri

_MOST_LABELS = 12
_MOST_COURSES = 4  # runs whose trends along training have a figure each


class Found(NamedTuple):
    """What a comparison of runs has found.

    Attributes
    ----------
    collection : Collection
        Of which runs.
    tables : dict of str to pandas.DataFrame
        By name: models, best-layers, half-times, replicates, differences, trends, surfaces,
        contrasts, brains-tasks.
    said : list of str
        What is not there, and why.
    best : list of str
        Among how many runs the best one is.
    sentences : list of str
        What runs of one recipe show together.
    drawings : list of Picture
        Figures that are still to be drawn.
    """

    collection: Collection
    tables: dict[str, pd.DataFrame]
    said: list[str]
    best: list[str]
    sentences: list[str]
    drawings: list[Picture]


class Picture(NamedTuple):
    """A figure that is still to be drawn: its file, what stands under it, and how to draw it."""

    name: str
    caption: str
    draw: Callable[[], Figure]


class Written(NamedTuple):
    """Where a comparison was written, and what is to be said of it."""

    folder: Path
    report: Path
    files: list[Path]
    found: Found


def compare(
    what: Any,
    *,
    output: str | Path | None = None,
    formats: Sequence[str] = plots.FORMATS,
    value: str | None = None,
) -> Written:
    """Compare many runs: tables, figures and one report.

    Parameters
    ----------
    what : path, sequence of paths, or mapping of str to path
        As for `dynamics.open_collection`.
    output : path, optional
        The folder; by default that of the collection.
    formats : sequence of str
        As in `dynamics.plots.save`.
    value : str, optional
        Which value of the metrics: ``"score"``, ``"r2"``, ``"r2_corrected"``; by default what the
        collection says.

    Returns
    -------
    Written
        The folder, the report, all files, and what was found.

    Raises
    ------
    ValueError
        If no run has results to compare.
    """
    collection = gather(what)
    if value:
        collection = collection._replace(value=value)
    found = find(collection)
    folder = Path(output) if output else collection.output
    files = []
    for name, table in found.tables.items():
        text = "\n".join(_laid_out(table)) if name == "models" else ""
        files += writing.write(folder, name, table, text)
    shown = []
    for picture in found.drawings:
        figure = picture.draw()
        shown.append((picture.name, picture.caption, data_uri(figure)))
        files += plots.save(figure, folder / "figures" / picture.name, formats=formats)
    report = folder / "report.html"
    with replacing(report) as beside:
        number = len(collection.runs)
        text = page.render(
            collection.name, number, found.tables, found.said, shown, best=found.best,
            sentences=found.sentences,
        )  # fmt: skip
        beside.write_text(text, encoding="utf-8", newline="\n")
    return Written(folder, report, files, found)


def find(collection: Collection) -> Found:
    """Make the tables of a collection, and plan its figures.

    Parameters
    ----------
    collection : Collection
        The runs.

    Returns
    -------
    Found
        All that there is to say of them.

    Raises
    ------
    ValueError
        If no run has results to compare.
    """
    opened = open_runs(collection)
    every = compared(opened)
    said = gaps(opened)
    if not any(each.results for each in every):
        why = said[0] if said else "their sweeps name no targets"
        raise ValueError(f"no run of {collection.name!r} has results to compare: {why}")
    models = differences.with_lower(tables.models(every, opened), every)
    pairs, correlated = brains_and_tasks(every, opened)
    fitted, trends, unfitted = trends_of(every, opened, collection.trends)
    surfaces, unbent = surfaces_of(every, opened, collection.surface)
    contrasted, contrasts, without = contrasts_of(collection, every, opened)
    recipes, replicated, sentences, fewer = recipes_of(collection, every, opened)
    pairwise = [differences.differences(each) for each in every]
    made = {
        "models": models,
        "best-layers": tables.best_layers(models),
        "half-times": tables.half_times(every),
        "replicates": replicated,
        "differences": pd.concat(pairwise, ignore_index=True),
        "trends": trends,
        "surfaces": surfaces,
        "contrasts": contrasts,
        "brains-tasks": correlated,
    }
    labels = {
        (each.target, each.metric): score_label(next(iter(each.results.values())))
        for each in every
        if each.results
    }
    drawings = [
        *(picture for each in every for picture in _pictures(each, opened, made, collection)),
        *(picture for one in recipes for picture in _of_recipes(one, replicated)),
        *(_of_trend(one, labels) for one in fitted if not one.run),
        *_of_training([one for one in fitted if one.run], labels),
        *(_of_contrast(one) for one in contrasted),
        *(_of_tasks(*one) for one in pairs),
    ]
    kept = {name: table for name, table in made.items() if len(table)}
    every_gap = [*said, *unfitted, *unbent, *without, *fewer]
    return Found(collection, kept, every_gap, differences.sentences(models), sentences, drawings)


def _laid_out(models: pd.DataFrame) -> Iterator[str]:
    """Yield the models as papers have them: a table a target and metric, mean and median."""
    for (target, metric), some in tables.by_pair(models, lambda table: table):
        yield f"## {in_markdown(target)} by {in_markdown(metric)}\n"
        yield (
            "Last score, mean within subjects and then over them, with limits of 95 %, of the "
            "layer that the other half of the stimuli chooses.\n"
            if (some["chosen_on"] == "other half").any()
            else "Last score, mean within subjects and then over them, with limits of 95 %.\n"
        )
        yield writing.markdown(writing.wide(some))
        yield "Median within subjects, mean and standard error over them.\n"
        yield writing.markdown(writing.wide(some, show="median"))
        for value, words in (("r2", "r²"), ("r2_corrected", "r² over the reliability")):
            if value in some and some[value].notna().any():
                yield f"{words}, averaged as the first.\n"
                yield writing.markdown(writing.wide(some, show=value))


def _pictures(
    each: Compared, opened: Sequence[Opened], made: dict[str, pd.DataFrame], collection: Collection
) -> Iterator[Picture]:
    """Plan the figures of one target and metric."""
    if not each.results:
        return
    mine = _rows(made["models"], each)
    label = score_label(next(iter(each.results.values())))
    name, words = f"{each.metric}-{each.target}", f"{each.target} by {each.metric}"
    hue = _hue(opened, collection)
    whole = mine[mine["region"] == ALL]
    yield Picture(
        f"scores-{name}", f"{words}: last score of every run, the best on top.",
        lambda: _titled(drawn.plot_scores(whole, label=label, hue=hue), words),
    )  # fmt: skip
    if mine["error"].notna().any():
        yield Picture(
            f"medians-{name}", f"{words}: median within subjects, mean and error over them.",
            lambda: _titled(drawn.plot_scores(whole, label=label, hue=hue, show="median"), words),
        )  # fmt: skip
    if mine["region"].nunique() > 1:
        yield Picture(
            f"regions-{name}", f"{words}: last score of every run by region.",
            lambda: _titled(drawn.plot_regions(mine, label=label), words),
        )  # fmt: skip
    trained = {run: one for run, one in each.results.items() if not is_single(one)}
    if trained:
        values = {one.name: one.coordinates.get(hue) for one in opened} if hue else None
        yield Picture(
            f"curves-{name}", f"{words}: emergence in every run, in the layer that ends best.",
            lambda: _titled(drawn.plot_many_curves(trained, hue=values, hue_name=hue), words),
        )  # fmt: skip
        times = _rows(made["half-times"], each)
        yield Picture(
            f"half-times-{name}", f"{words}: when every run has made half of its gain.",
            lambda: _titled(drawn.plot_half_times(times[times["region"] == ALL]), words),
        )  # fmt: skip


def _rows(table: pd.DataFrame, each: Compared) -> pd.DataFrame:
    return table[(table["target"] == each.target) & (table["metric"] == each.metric)]


def _hue(opened: Sequence[Opened], collection: Collection) -> str:
    """Choose the coordinate that gives colours: the first that groups runs and that all have."""
    every = (*collection.trends, *(key for one in opened for key in one.coordinates))
    for key in dict.fromkeys(every):
        values = [one.coordinates.get(key) for one in opened]
        if key == collection.replicates or None in values:
            continue
        if 1 < len(set(values)) <= min(_MOST_LABELS, max(2, len(values) - 1)):
            return key
    return ""


def _titled(ax: Any, words: str) -> Figure:
    figure = figure_of(ax)
    figure.suptitle(words, fontsize=7.5)
    return figure


def _of_recipes(each: Recipes, table: pd.DataFrame) -> Iterator[Picture]:
    """Plan the figures of recipes of which there are several runs."""
    curves, times = trained(each), half_times_of(table, each)
    words, name = f"{each.target} by {each.metric}", f"{each.metric}-{each.target}"
    what = "mean over the runs of every recipe, limits of 95 % over other initialisations"
    if curves:
        yield Picture(
            f"recipes-{name}", f"{words}: {what} (these people; other stimuli where it says so).",
            lambda: _titled(drawn.plot_many_curves(curves), words),
        )  # fmt: skip
    if len(times):
        yield Picture(
            f"recipes-half-times-{name}",
            f"{words}: when the {what.removeprefix('mean over the ')} have made half of the gain.",
            lambda: _titled(drawn.plot_half_times(times), words),
        )


def _of_training(
    fitted: Sequence[Fitted], labels: Mapping[tuple[str, str], str]
) -> Iterator[Picture]:
    """Plan figures of trends along training: of a few runs one each."""
    if len({each.run for each in fitted}) > _MOST_COURSES:
        return
    for one in fitted:
        yield Picture(
            f"trend-{STEP}-{one.metric}-{one.target}-{one.run.replace('/', '-')}",
            f"{one.target} by {one.metric}, {one.run}: score after every step, in the layer that "
            "the other half of the stimuli chooses, with trends.",
            partial(_drawn_course, one, labels[one.target, one.metric]),
        )


def _drawn_course(one: Fitted, label: str) -> Figure:
    ax = drawn.plot_trend(
        one.x, one.score, one.fits, name="Training step", label=label, points="checkpoints"
    )
    return _titled(ax, f"{one.target} by {one.metric}: {one.run}")


def _of_trend(one: Fitted, labels: Mapping[tuple[str, str], str]) -> Picture:
    words, label = f"{one.target} by {one.metric}", labels[one.target, one.metric]
    return Picture(
        f"trend-{one.coordinate}-{one.metric}-{one.target}",
        f"{words}: last score of every run against {one.coordinate}, with trends.",
        lambda: _titled(
            drawn.plot_trend(one.x, one.score, one.fits, name=one.coordinate, label=label), words
        ),
    )


def _of_contrast(one: Any) -> Picture:
    words, over = f"{one.target} by {one.metric}", one.found.attrs["over"]
    told = "stimuli and runs" if over == "both" else over
    when = "along training" if one.found.sizes["step"] > 1 else "in last scores"
    return Picture(
        f"contrast-{over}-{one.metric}-{one.target}",
        f"{words}: {one.label} {when}, limits over {told}.",
        lambda: _titled(drawn.plot_contrast(one.found, label=one.label), words),
    )


def _of_tasks(each: Compared, brain: Any, task: Any) -> Picture:
    words = f"{each.target} by {each.metric}"
    label = score_label(next(iter(each.results.values())))
    named = brain.assign_attrs(long_name=label)
    return Picture(
        f"tasks-{each.metric}-{each.target}",
        f"{words}: last brain score of every run against its overall probe score.",
        lambda: _titled(plots.plot_brain_task_models(named, task), words),
    )
