"""The main job: crawl, analyze and plot one sweep; and the demonstration that needs no data."""

from __future__ import annotations

import contextlib
import importlib
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import xarray as xr

from dynamics import (
    analysis,
    brains,
    emergence,
    models,
    plots,
    probes,
    progress,
    report,
    sounds,
    store,
)
from dynamics.analysis import analyze, controls, self_similarity, values
from dynamics.brains.gaps import extents
from dynamics.brains.targets import (
    Loaded,
    Target,
    gaps,
    make_target,
)
from dynamics.cluster import PATIENCE, kept
from dynamics.config import Choice, Sweep, load_config, validate
from dynamics.emergence.levels import untrained
from dynamics.emergence.of_models import is_single
from dynamics.emergence.remarks import about_edges, about_shared, why_no_intervals
from dynamics.extraction import components, crawl, imported, poolings

logger = logging.getLogger(__name__)

DEMO: dict[str, Any] = {
    "run": "demo",
    "checkpoints": "store/demo/checkpoints",
    "model": {"name": "encodecmae", "arguments": {"heads": 4, "frames_per_token": 4}},
    "stimuli": {"name": "synthetic", "arguments": {"seed": 1}},
    # A region that follows how sounds unfold is there to be learned: no baseline has it.
    "targets": [{"name": "simulated", "arguments": {"fluctuating": 66}}],
    "metrics": ["ridge", "rsa"],
    "probes": [
        {
            "name": "sound-category",
            "arguments": {"train": 8, "valid": 4, "test": 6, "seconds": 0.5},
        }
    ],
    "pretrain": {
        "steps": 160,
        "checkpoints": 8,
        "layers": 4,
        "width": 128,
        "heads": 4,
        "feed_forward": 512,
        "mels": 64,
        "frames_per_token": 4,
        "hidden_span": 4,
        "batch_size": 24,
        "learning_rate": 1e-3,
        "warmup": 40,
        "target_windows": [1, 1, 1, 1],
        "sources": [{"synthetic": True, "sounds": 800}],
    },
}

ONE = "one trained network"
"""Why there is no half-time where no course of training is."""


def demo() -> Sweep:
    """Return the embedded sweep: synthetic pretraining, generated sounds, a simulated listener."""
    return validate(DEMO, origin="the embedded demo")


def pretrain(sweep: Sweep, *, advance: progress.Advance | None = None) -> Path:
    """Run the reference pretraining of a sweep, or go on with it.

    Parameters
    ----------
    sweep : Sweep
        With a section `pretrain`; the checkpoints go to the sweep's `checkpoints` folder.
    advance : callable, optional
        Called after each step; by default a progress bar with loss and rate is drawn.

    Returns
    -------
    Path
        The folder of checkpoints.

    Raises
    ------
    ValueError
        If the sweep has no such section.
    """
    from dynamics.reference import pretrain as train

    settings = sweep.pretrain
    if settings is None:
        raise ValueError(f"run {sweep.run!r} has no section `pretrain`: add it to train a network")
    heard = sounds.load(sweep.stimuli.name, **sweep.stimuli.arguments).heard
    rate = 16000
    evaluation = [
        (name, waveform, rate) for name, waveform in zip(heard.names, heard.waveforms(rate))
    ]
    with contextlib.ExitStack() as stack:
        if advance is None:
            advance = stack.enter_context(progress.bar("pretraining", settings.steps))
        seen = 0

        def report(step: int, loss: float, rate: float) -> None:
            nonlocal seen
            advance(note=f"loss {loss:.3f}, {rate:.1f} steps/s", amount=step - seen)
            seen = step

        folder = train(settings, evaluation=evaluation, progress=report)
        if seen < settings.steps:
            advance(note="there already", amount=settings.steps - seen)
        return folder


def check_names(sweep: Sweep) -> None:
    """Find what is wrong with the names and arguments in a sweep; no data are looked at.

    Parameters
    ----------
    sweep : Sweep
        The sweep.

    Raises
    ------
    ValueError, TypeError
        For an unknown name of a model, pooling, target, metric or task (the message lists what
        there is), an argument that one of them does not take, or one with a value that a metric
        cannot use.
    """
    for choice in (sweep.model if sweep.activations is None else None, sweep.baseline):
        if choice is not None and not (choice is sweep.baseline and choice.is_file):
            models.check_arguments(choice.name, choice.arguments)
    poolings.make(sweep.pooling.name, **sweep.pooling.arguments)
    for target in sweep.targets:
        brains.check_name(target.name)
    if sweep.targets:
        for choice in sweep.metrics:
            analysis.check_choice(choice, [target.label for target in sweep.targets])
            values.check(choice.label, choice.name, analysis.given(choice), _value(sweep, choice))
    _check_labels(sweep)
    self_similarity.check(sweep)
    analysis.check_components(sweep)
    probes.check_names(sweep)


def _value(sweep: Sweep, choice: Choice) -> str:
    """Return which value of a metric a sweep shows."""
    if isinstance(sweep.value, str):
        return sweep.value
    return sweep.value.get(choice.label, values.SCORE)


def _check_labels(sweep: Sweep) -> None:
    labels = [choice.label for choice in sweep.metrics]
    for label in () if isinstance(sweep.value, str) else sweep.value:
        if label not in labels:
            raise ValueError(
                f"`value` names the metric {label!r}, of which there is none: there are "
                f"{', '.join(labels)}"
            )


def _results(sweep: Sweep) -> xr.DataTree:
    """Open the store with the values that the sweep shows in the place of scores."""
    return values.of_tree(store.open(sweep.place), getattr(sweep, "value", values.SCORE))


def check(sweep: Sweep, *, known: Loaded | None = None) -> Loaded:
    """Find what is wrong with a sweep before anything is written.

    Parameters
    ----------
    sweep : Sweep
        The sweep.
    known : Loaded, optional
        Its sounds and targets, where another run has them already; by default they are loaded.

    Returns
    -------
    Loaded
        Its sounds, which have been decoded, and its targets, for `stages`.

    Raises
    ------
    ValueError, TypeError, FileNotFoundError
        As `check_names`; and for an unknown stimulus set, a target that is none (see
        `dynamics.brains.targets.make_target`) or lacks what a metric needs, a source without
        checkpoints, a sound that cannot be decoded, a target without any of the stimuli, or a
        task that cannot be learned.
    """
    check_names(sweep)
    times = poolings.make(sweep.pooling.name, **sweep.pooling.arguments).rate is not None
    crawl.discover(sweep)
    known = analyze.load(sweep) if known is None else known
    stimuli, loaded = known
    components.check(sweep, stimuli)
    if sweep.baseline is not None and sweep.baseline.is_file:
        controls.check(sweep.baseline, list(stimuli.names))
    for metric in sweep.metrics:
        if sweep.targets and "controls" in analysis.find(metric.name, metric.arguments).needs:
            for control in controls.entries(metric.arguments.get("controls")):
                controls.check(control, list(stimuli.names))
    for choice in sweep.targets:
        _check_target(sweep, choice, loaded[choice.label], stimuli, times)
    _ = stimuli.digest  # decodes every sound
    if sweep.activations is not None:
        imported.check(sweep, stimuli)
    for label, task in probes.load_tasks(sweep, stimuli).items():
        if sweep.activations is not None and not task.stored:
            raise ValueError(
                f"probe {label!r} has sounds of its own, which `activations` do not hold: probe "
                "the sweep's own stimuli, or give `checkpoints` and `model`"
            )
        _ = task.stimuli.digest
    return known


class _Tried(NamedTuple):
    """A target on which metrics are tried."""

    label: str
    data: xr.Dataset
    joined: xr.Dataset
    heard: xr.Dataset
    times: bool
    made: dict[int, Target]


def _tried(label: str, data: xr.Dataset, stimuli: sounds.StimulusSet, times: bool) -> _Tried:
    categories = ("stimulus", list(stimuli.categories))
    heard = xr.Dataset(coords={"stimulus": list(stimuli.names), "category": categories})
    if "time" in data["response"].dims:
        heard = heard.assign_coords(duration=("stimulus", stimuli.durations))
    return _Tried(label, data, brains.join(data, stimuli.names), heard, times, {})


def _check_target(
    sweep: Sweep, choice: Choice, data: xr.Dataset, stimuli: sounds.StimulusSet, times: bool
) -> None:
    """Make a target as `analyze` will, and try the metrics that are for it."""
    tried = _tried(choice.label, data, stimuli, times)
    wanted = [metric for metric in sweep.metrics if analysis.applies(metric, choice.label)]
    timed = any("frames" in analysis.find(each.name, each.arguments).needs for each in wanted)
    if timed and (said := extents(tried.joined, stimuli.names, stimuli.durations)):
        logger.warning("brain target '%s': %s", choice.label, said)
    for metric in sweep.metrics:
        if analysis.applies(metric, choice.label):
            _check_metric(sweep, metric, tried)


def _check_metric(sweep: Sweep, metric: Choice, tried: _Tried) -> None:
    sizes = {str(dim): size for dim, size in tried.joined["response"].sizes.items()}
    folds, made = analysis.folds_of(metric, sweep), tried.made
    if folds not in made:
        made[folds] = make_target(
            tried.data, tried.heard, seed=sweep.seed, n_folds=folds, halves=sweep.halves
        )
    analysis.check_fit(
        metric,
        tried.label,
        sizes,
        baseline=sweep.baseline is not None,
        times=tried.times,
        gaps=gaps(tried.joined),
        own_folds="fold" in tried.joined.coords,
        target=made[folds],
    )
    _check_repeated(_value(sweep, metric), metric, tried.label, sizes)
    one = made[folds]
    analysis.rehearse(metric, sizes["stimulus"], sizes, folds=folds, times=one.times, target=one)
    try:
        analysis.halves_of(made[folds], metric, sweep)
        analysis.check_shuffles(made[folds], metric, sweep)
    except ValueError as error:
        raise ValueError(f"metric {metric.label!r}, target {tried.label!r}: {error}") from None


def fits(
    sweep: Sweep, label: str, data: xr.Dataset, stimuli: sounds.StimulusSet, *, times: bool
) -> dict[str, str]:
    """Say of every metric of a sweep whether it can be used on a target.

    Parameters
    ----------
    sweep : Sweep
        The sweep.
    label : str
        Of the target.
    data : xarray.Dataset
        The target.
    stimuli : StimulusSet
        Sounds; none is decoded.
    times : bool
        Whether activations are kept over time.

    Returns
    -------
    dict of str to str
        By label of the metric what it lacks, and what to do; empty where it works.
    """
    tried = _tried(label, data, stimuli, times)
    said = {}
    for metric in sweep.metrics:
        if not analysis.applies(metric, label):
            said[metric.label] = "is not for this target: see its `targets`"
            continue
        try:
            _check_metric(sweep, metric, tried)
            said[metric.label] = ""
        except ValueError as error:
            said[metric.label] = str(error)
    return said


def _check_repeated(value: str, choice: Choice, label: str, sizes: dict[str, int]) -> None:
    if value == "r2_corrected" and sizes.get("repetition", 1) < 2:
        raise ValueError(
            f"metric {choice.label!r} has no `r2_corrected` for target {label!r}, whose responses "
            "are not repeated: show its `score` or `r2`, or name the metric's `targets` among its "
            "arguments"
        )


def run(
    sweep: Sweep | str | Path | Mapping[str, Any],
    *,
    scheduler: str | None = None,
    patience: float = PATIENCE,
) -> xr.DataTree:
    """Crawl, analyze, probe, plot and report a sweep; only what is missing is computed.

    Parameters
    ----------
    sweep : Sweep, path or mapping
        A sweep, the YAML file of one, or a dictionary of what such a file holds.
    scheduler : str, optional
        Address of a running dask scheduler.
    patience : float
        Seconds without a worker of the cluster that can work, after which it is given up.

    Returns
    -------
    xarray.DataTree
        The store, as `dynamics.open` returns it.
    """
    if not isinstance(sweep, Sweep):
        sweep = load_config(sweep)
    with kept(sweep.where(scheduler)):
        for _ in stages(sweep, scheduler=scheduler, loaded=check(sweep), patience=patience):
            pass
    importlib.import_module("dynamics.accessor")  # registers `dataset.dynamics`
    return store.open(sweep.place)


def stages(
    sweep: Sweep,
    *,
    scheduler: str | None = None,
    loaded: Loaded | None = None,
    patience: float = PATIENCE,
    only: Sequence[str] = (),
) -> Iterator[tuple[str, Any]]:
    """Do what a sweep asks for, one stage after the other; only what is missing is computed.

    Parameters
    ----------
    sweep : Sweep
        A sweep in which `check` finds nothing.
    scheduler : str, optional
        Address of a running dask scheduler.
    loaded : Loaded, optional
        The sweep's sounds and targets, as `check` returns them; by default they are loaded.
    patience : float
        Seconds without a worker of the cluster that can work, after which it is given up.
    only : sequence of str
        Which figures, as in `plot`.

    Yields
    ------
    name : str
        Of the stage that is done: crawl, analyze, probe, plot or report.
    found : object
        What the function of this name returned; the next stage begins when it is asked for.
    """
    stimuli = None if loaded is None else loaded.stimuli
    where: dict[str, Any] = {"scheduler": scheduler, "patience": patience}
    yield "crawl", crawl.crawl(sweep, stimuli=stimuli, **where)
    if sweep.targets or sweep.self_similarity:
        yield "analyze", analyze.analyze(sweep, loaded=loaded, **where)
    if sweep.probes:
        yield "probe", probes.probe(sweep, **where)
    # The report takes the figures that are drawn for the files.
    pictures: dict[str, str] | None = {} if sweep.report else None
    yield "plot", plot(sweep, pictures=pictures, only=only)
    if sweep.report:
        kinds: dict[str, Any] = {"pictures": pictures, "only": only}
        yield "report", report.write(sweep.place, value=sweep.value, **kinds)


def plot(
    sweep: Sweep,
    *,
    formats: Sequence[str] = plots.FORMATS,
    pictures: dict[str, str] | None = None,
    only: Sequence[str] = (),
) -> list[Path]:
    """Draw the figures of a sweep; see `dynamics.plots.figures_of` and `figures_of_steps`.

    Parameters
    ----------
    sweep : Sweep
        The sweep.
    formats : sequence of str
        As in `dynamics.plots.save`.
    pictures : dict, optional
        Is given every figure by name, for `dynamics.report.write`, which need not draw it then.
    only : sequence of str
        Which figures, by their names in `dynamics.plots.FIGURES`, or ``["all"]``; by default those
        that a paper would show.

    Returns
    -------
    list of Path
        The figures.

    Raises
    ------
    ValueError
        If the store has no results of the sweep's targets and metrics.
    """
    tree = _results(sweep)
    written: list[Path] = []
    for drawing in _drawings(sweep, tree, only):
        figure = drawing.draw()
        written += plots.save(figure, sweep.figures / drawing.name, formats=formats)
        if pictures is not None:
            pictures[drawing.name] = report.data_uri(figure)
    return written


def _drawings(sweep: Sweep, tree: xr.DataTree, only: Sequence[str]) -> Iterator[plots.Drawing]:
    """Name the figures of what a sweep asks for."""
    plots.wanted(only)  # a name that is none is said before anything is drawn
    for metric in sweep.metrics if sweep.targets else ():
        targets = [
            t.label for t in sweep.targets if f"/results/{t.label}/{metric.label}" in tree.groups
        ]
        if not targets:
            raise ValueError(
                f"store {sweep.store} has no results of {metric.label!r}: run `dynamics analyze`"
            )
        yield from plots.figures_of(tree, metric.label, targets, only=only)
    if tasks := _probed(sweep, tree):
        yield from plots.figures_of(tree, probes.METRIC, tasks, only=only)
    yield from plots.figures_of_steps(tree, only=only)


def _probed(sweep: Sweep, tree: xr.DataTree) -> list[str]:
    """Return the labels of the tasks of which there are results."""
    groups = {choice.label: f"/results/{choice.label}/{probes.METRIC}" for choice in sweep.probes}
    return [label for label, group in groups.items() if group in tree.groups]


def half_times(sweep: Sweep) -> pd.DataFrame:
    """Tabulate half-time and gain of the mean curve of every target or task, metric and layer.

    Parameters
    ----------
    sweep : Sweep
        The sweep.

    Returns
    -------
    pandas.DataFrame
        Columns target, metric, value (which one the numbers are of), layer, protocol (how the
        scores were made), untrained (NaN: there
        is neither a step 0 nor a control), final, half_time (steps), status (why there is none),
        low and high (limits of 95 %; infinite: the gain itself
        is uncertain; NaN: no resamples).
    """
    tree = _results(sweep)
    pairs = [
        (target.label, metric.label)
        for target in sweep.targets
        for metric in sweep.metrics
        if analysis.applies(metric, target.label)
    ]
    rows = []
    for target, metric in [*pairs, *((task, probes.METRIC) for task in _probed(sweep, tree))]:
        results = tree[f"results/{target}/{metric}"].to_dataset()
        alone = is_single(results)
        table = emergence.summary_of(results, names=("final", *(() if alone else ("half_time",))))
        start = untrained(results)
        protocol = str(results["protocol"].item()) if "protocol" in results else ""
        for layer in table["layer"].to_numpy():
            one = table.sel(layer=layer)
            rows.append(
                {
                    "target": target,
                    "metric": metric,
                    "value": str(results.attrs.get("value", values.SCORE)),
                    "layer": str(layer),
                    "protocol": protocol,
                    "untrained": float(start.sel(layer=layer)),
                    "final": float(one["final"]),
                    "half_time": float(one.get("half_time", math.nan)),
                    "status": ONE if alone else str(one["half_time_status"].item()),
                    "low": float(one.get("half_time_lower", math.nan)),
                    "high": float(one.get("half_time_upper", math.nan)),
                }
            )
    return pd.DataFrame(rows)


def without_intervals(sweep: Sweep) -> list[str]:
    """Say what of a sweep's results has no interval, why, and what to do.

    Parameters
    ----------
    sweep : Sweep
        The sweep.

    Returns
    -------
    list of str
        A sentence for each target and metric.
    """
    said = []
    for name, results in _each(sweep, _results(sweep)):
        if why := why_no_intervals(results):
            said.append(f"{name} has no intervals: {why}")
        elif why := str(results.attrs.get("no_intervals_of_neuroids", "")):
            said.append(f"single neuroids of {name} have no intervals: {why}")
    return said


def at_edges(sweep: Sweep) -> list[str]:
    """Say where penalties were chosen at an edge of those tried, and what to do.

    Parameters
    ----------
    sweep : Sweep
        The sweep.

    Returns
    -------
    list of str
        A sentence for each target and metric with more than 1 % of such choices.
    """
    return [
        f"{name}: {said}"
        for name, results in _each(sweep, store.open(sweep.place))
        if (said := about_edges(results))
    ]


def shared_courses(sweep: Sweep) -> list[str]:
    """Say of which scores a time course that all stimuli share is more than a quarter.

    Parameters
    ----------
    sweep : Sweep
        The sweep.

    Returns
    -------
    list of str
        A sentence for each target and metric.
    """
    return [
        f"{name}: {said}"
        for name, results in _each(sweep, store.open(sweep.place))
        if (said := about_shared(results, due=True))
    ]


def _each(sweep: Sweep, tree: xr.DataTree) -> Iterator[tuple[str, xr.Dataset]]:
    """Yield the results of a sweep that there are, each with its name for sentences."""
    for target in sweep.targets:
        for metric in sweep.metrics:
            path = f"results/{target.label}/{metric.label}"
            if f"/{path}" in tree.groups:
                yield f"{target.label} by {metric.label}", tree[path].to_dataset()
