"""What a metric takes and needs, found out before anything runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from dynamics.analysis.controls import entries
from dynamics.analysis.groups import check_groups
from dynamics.analysis.registry import METHODS, RESERVED, find
from dynamics.brains.targets import Target
from dynamics.config import Choice, Sweep
from dynamics.metrics.timeresolved import WINDOWS

_MOST_REHEARSED = 200
_FEW_TIMES = 12


def summary(name: str) -> str:
    """Return one line about a metric."""
    return METHODS.summary(name)


def arguments(name: str) -> dict[str, Any]:
    """Return the arguments of a metric with their defaults, without those of every metric."""
    return {key: each.default for key, each in METHODS.arguments(name).items()}


def given(choice: Choice) -> dict[str, Any]:
    """Return what a sweep gives to the metric itself."""
    return {key: value for key, value in choice.arguments.items() if key not in RESERVED}


def protocol(choice: Choice) -> str:
    """Return how a metric's scores were made, in words: its name and what is not by default."""
    own = {key: value for key, value in given(choice).items() if value is not None}
    first = [str(own.pop("protocol"))] if "protocol" in own else []
    return ", ".join([" ".join([choice.name, *first]), *(f"{k}={v}" for k, v in own.items())])


def folds_of(choice: Choice, sweep: Sweep) -> int:
    """Return how many folds a metric of a sweep has, where the target brings none of its own."""
    return int(choice.arguments.get("folds", sweep.folds))


def applies(choice: Choice, label: str) -> bool:
    """Whether a metric of a sweep is for the target of this label."""
    return label in choice.arguments.get("targets", [label])


def check_choice(choice: Choice, labels: list[str]) -> None:
    """Find unknown names in a metric's entry of a sweep.

    Parameters
    ----------
    choice : Choice
        The metric.
    labels : list of str
        Labels of the sweep's targets.

    Raises
    ------
    ValueError
        For an unknown metric, argument or target; the message lists the known ones.
    """
    who = f"metric {choice.label!r}"
    METHODS.check(choice.name, choice.arguments, more=METHODS.shared, who=who)
    folds = choice.arguments.get("folds", 5)
    if not isinstance(folds, int) or isinstance(folds, bool) or folds < 2:
        raise ValueError(f"metric {choice.label!r}: folds must be a number from 2, not {folds!r}")
    if "folds" in choice.arguments and choice.arguments.get("protocol") == "tuckute":
        raise ValueError(
            f"metric {choice.label!r}: the tuckute protocol draws its own splits: leave out `folds`"
        )
    wanted = choice.arguments.get("targets", [])
    if isinstance(wanted, str) or not all(isinstance(each, str) for each in wanted):
        raise ValueError(f"metric {choice.label!r}: targets must be a list of labels")
    for label in wanted:
        if label not in labels:
            raise ValueError(
                f"metric {choice.label!r} is for target {label!r}, of which there is none: there "
                f"are {', '.join(labels)}"
            )


def check_components(sweep: Sweep) -> None:
    """Raise a ValueError where a metric weighs features one by one and `components` turns them.

    Parameters
    ----------
    sweep : Sweep
        The sweep, whose metrics are known ones.
    """
    if sweep.components is None:
        return
    for choice in (*(sweep.metrics if sweep.targets else ()), *sweep.self_similarity):
        own = given(choice)
        if other := find(choice.name, own).by_feature(own):
            raise ValueError(
                f"metric {choice.label!r} weighs features one by one, and `components` puts "
                f"mixtures of them in their place: {other}, or leave `components` out"
            )


def check_fit(
    choice: Choice,
    label: str,
    sizes: dict[str, int],
    *,
    baseline: bool,
    times: bool,
    gaps: str = "",
    own_folds: bool = False,
    target: Target | None = None,
) -> None:
    """Find out whether a target and a store have what a metric needs.

    Parameters
    ----------
    choice : Choice
        The metric.
    label : str
        Label of the target.
    sizes : dict of str to int
        Sizes of the target's dimensions.
    baseline : bool
        Whether the sweep has a baseline model.
    times : bool
        Whether activations are kept over time.
    gaps : str
        Where responses of the target are missing, from `dynamics.brains.targets.gaps`.
    own_folds : bool
        Whether the target brings the fold of every stimulus.
    target : Target, optional
        The target as it is joined with the sounds.

    Raises
    ------
    ValueError
        Saying what is missing and where it can come from.
    """
    own = find(choice.name, choice.arguments)
    elsewhere = "or name the metric's `targets` among its arguments"
    if gaps and own.missing == "mask" and choice.arguments.get("missing") != "mask":
        raise ValueError(
            f"target {label!r} has missing values in {gaps}, which metric {choice.label!r} does "
            "not take: set its argument `missing: mask` to score every neuroid on the stimuli "
            f"that it has, {elsewhere}"
        )
    if own_folds and "folds" in choice.arguments:
        raise ValueError(
            f"metric {choice.label!r} has an argument `folds`, and target {label!r} brings the "
            f"fold of every stimulus: leave the argument out, {elsewhere}"
        )
    if choice.arguments.get("distance") == "crossnobis" and sizes.get("repetition", 1) < 2:
        raise ValueError(
            f"metric {choice.label!r} needs repetitions, and target {label!r} has none: use "
            f"another distance than crossnobis, {elsewhere}"
        )
    if {"time", "course"} & set(own.needs) and "time" not in sizes:
        raise ValueError(
            f"metric {choice.label!r} needs responses over time, and target {label!r} has no time "
            f"axis: use a target such as nh2022-ecog-time, {elsewhere}"
        )
    if target is not None and own.units is None and not target.has_folds and own.per != "layer":
        raise ValueError(
            f"metric {choice.label!r} needs folds of stimuli, and the {len(target.folds)} stimuli "
            f"of target {label!r} (of those in one `group` one) make no {target.n_folds} folds: "
            "use the metric `encode_continuous`, which splits them by blocks of time, set `folds` "
            f"to fewer, {elsewhere}"
        )
    if "time" in own.needs and not times:
        raise ValueError(
            f"metric {choice.label!r} needs activations over time: set "
            "`pooling: {name: time, arguments: {rate: 25}}` and crawl into another `store`"
        )
    if "baseline" in own.needs and not baseline:
        raise ValueError(f"metric {choice.label!r} needs a baseline model: set the key `baseline`")


def rehearse(
    choice: Choice,
    stimuli: int,
    sizes: dict[str, int],
    *,
    folds: int = 5,
    times: np.ndarray | None = None,
    target: Target | None = None,
) -> None:
    """Try a metric with its arguments on random numbers, so that bad values show at once.

    Parameters
    ----------
    choice : Choice
        The metric.
    stimuli : int
        Number of stimuli.
    sizes : dict of str to int
        Sizes of the target's dimensions.
    folds : int
        How many.
    times : array of shape (n_times,), optional
        Of the target's samples, in seconds; those that the longest window needs are tried.
    target : Target, optional
        The target, of which a metric over time is tried with all its lengths and gaps.

    Raises
    ------
    ValueError
        What the metric says, after its label.
    """
    rng = np.random.default_rng(0)
    if target is not None and find(choice.name, choice.arguments).units is not None:
        _try(choice, *_in_time(target, rng, choice.arguments.get("controls")))
        return
    n = min(stimuli, max(_MOST_REHEARSED, 1 + _whole(choice.arguments.get("k"))))
    times = _rehearsed(choice, sizes, times)
    t, repetitions = len(times), sizes.get("repetition", 1)
    n = n if t <= _FEW_TIMES else min(n, max(40, 4 * folds))
    shape = (n, 4, repetitions) if repetitions > 1 else (n, 4)
    tried = Target(
        np.arange(n),
        rng.standard_normal(shape),
        np.arange(n) % folds,
        np.array(["a", "a", "b", "b"]),
        regions=np.full(4, "a"),
        categories=np.full(n, "a"),
        course=rng.standard_normal((n, t, 4)),
        times=times,
        baseline=rng.standard_normal((n, 5)),
    )
    needs = find(choice.name, choice.arguments).needs
    X = rng.standard_normal((n, t, 5) if "time" in needs else (n, 5))
    _try(choice, tried, X)


def told_of_groups(choice: Choice, label: str, target: Target) -> str:
    """Say which groups of a target a metric has no score for, because of how few neuroids.

    Parameters
    ----------
    choice : Choice
        The metric.
    label : str
        Label of the target.
    target : Target
        The target.

    Returns
    -------
    str
        One sentence; empty where every group is large enough.

    Raises
    ------
    ValueError
        If none is.
    """
    takes = arguments(choice.name) | given(choice)
    if not {"distance", "by"} <= takes.keys():
        return ""
    who = f"metric {choice.label!r}, target {label!r}"
    try:
        said = check_groups(target, str(takes["distance"]), str(takes["by"]))
    except ValueError as error:
        raise ValueError(f"{who}: {error}") from None
    return f"{who}: {said}" if said else ""


def _try(choice: Choice, target: Target, X: np.ndarray) -> None:
    noise = np.random.default_rng(1).standard_normal(X.shape)
    try:
        METHODS[choice.name]({"x": X, "y": X + noise}, target, **given(choice))
    except (ValueError, TypeError) as error:
        raise ValueError(f"metric {choice.label!r}: {error}") from None


def _in_time(target: Target, rng: np.random.Generator, controls: Any) -> tuple[Target, np.ndarray]:
    """Return a target of few random neuroids with the lengths and times of another, and a layer."""
    assert target.course is not None and target.times is not None
    course = rng.standard_normal((*target.course.shape[:2], 2))
    course[~np.isfinite(target.course).any(2)] = np.nan
    repeated = None
    if target.repeated is not None:
        some = np.isfinite(target.repeated).any(2)[:, :, None]
        noise = rng.standard_normal((*course.shape, target.repeated.shape[3]))
        repeated = np.where(some, course[..., None] + noise, np.nan)
    count = max(round(target.times[-1] * target.rate) + 1, 2)
    frames = (np.arange(count) + 0.5) / target.rate
    X = rng.standard_normal((len(course), len(frames), 3))
    labels = [] if controls is None else [each.label for each in entries(controls)]
    wide = np.zeros((int(target.rows.max()) + 1, *X.shape[1:]))
    wide[target.rows] = X + rng.standard_normal(X.shape)
    tried = replace(
        target,
        controls={label: (wide, frames) for label in labels},
        response=course[:, 0],
        course=course,
        repeated=repeated,
        subjects=np.full(2, "a"),
        regions=None,
        frames=frames,
        baseline=None,
    )
    return tried, X


def _rehearsed(choice: Choice, sizes: dict[str, int], times: np.ndarray | None) -> np.ndarray:
    """Take the first times of a target, as many as the windows reach."""
    if times is None:
        return 0.1 * np.arange(min(sizes.get("time", 1), _FEW_TIMES))
    try:
        longest = float(max(end for _, end in choice.arguments.get("windows", WINDOWS)))
        longest = max(longest, *(float(choice.arguments.get(key, 0)) for key in ("window", "lag")))
    except (TypeError, ValueError):  # about which the metric has its own sentence
        longest = 0.0
    return times[: max(_FEW_TIMES, round(longest / float(np.diff(times).mean())) + 2)]


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0
