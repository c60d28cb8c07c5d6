"""What is wrong with a sweep, found before anything is written."""

from __future__ import annotations

import logging
from typing import NamedTuple

import xarray as xr

from dynamics import analysis, brains, models, probes, sounds
from dynamics.analysis import analyze, controls, self_similarity, values
from dynamics.brains.gaps import extents
from dynamics.brains.targets import Loaded, Target, gaps, make_target
from dynamics.config import Choice, Sweep
from dynamics.extraction import components, crawl, imported, poolings

logger = logging.getLogger(__name__)


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
        applies = analysis.applies(metric, choice.label)
        if said := _check_metric(sweep, metric, tried) if applies else "":
            logger.warning("%s", said)


def _check_metric(sweep: Sweep, metric: Choice, tried: _Tried) -> str:
    """Try a metric on a target; what of it will be a gap is returned as a sentence."""
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
    said = analysis.told_of_groups(metric, tried.label, one)
    try:
        analysis.halves_of(made[folds], metric, sweep)
        analysis.check_shuffles(made[folds], metric, sweep)
    except ValueError as error:
        raise ValueError(f"metric {metric.label!r}, target {tried.label!r}: {error}") from None
    return said


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
