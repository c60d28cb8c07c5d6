"""Brain targets as an analyzer needs them: plain arrays, joined with the store by name."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from dynamics import brains, metrics
from dynamics.brains.gaps import describe_gaps, find_gaps, without_dead_repetitions
from dynamics.brains.neighbours import Together, together, whole
from dynamics.config import Choice
from dynamics.metrics.blocks import time_apart
from dynamics.metrics.correlation import varying
from dynamics.metrics.folds import make_folds
from dynamics.metrics.missing import mean_there, over_repetitions
from dynamics.sounds import StimulusSet
from dynamics.sounds.audio import without_suffix

logger = logging.getLogger(__name__)

N_FOLDS = 5

# Neuroids that say how long responses are alike.
_SAID_BY = 1000

GROUPINGS = ("subject", "region", "subject_region")


@dataclass(frozen=True)
class Target:
    """What a worker needs of a brain target; plain arrays.

    Attributes
    ----------
    rows : array of shape (n_joined,)
        Places of the target's stimuli among those of the store.
    response : array of shape (n_joined, n_neuroids[, n_repetitions])
        Brain responses, NaN where there is none; averaged over time where there is a time axis,
        over the samples that there are.
    folds : array of shape (n_joined,)
        Cross-validation fold of every stimulus; -1 of all where there are fewer stimuli with a time
        axis (or groups of them) than folds: see `has_folds`.
    subjects : array of shape (n_neuroids,)
        Subject of every neuroid.
    regions : array of shape (n_neuroids,), optional
        Region of every neuroid.
    categories : array of shape (n_joined,), optional
        Category of every stimulus.
    course : array of shape (n_joined, n_times, n_neuroids), optional
        Responses over time, averaged over the repetitions that there are.
    times : array of shape (n_times,), optional
        Seconds from the onset of the sound to the centre of each sample of `course`.
    repeated : array of shape (n_joined, n_times, n_neuroids, n_repetitions), optional
        Responses over time with their repetitions, where there are any.
    apart : float
        Seconds after which samples of `course` are no longer alike, see
        `dynamics.metrics.blocks.time_apart`.
    names : array of shape (n_joined,), optional
        Names of the stimuli.
    n_folds : int
        How many folds were asked for.
    frames : array of shape (n_frames,), optional
        Seconds of the activations that a metric is handed, where these are at times of their own
        and not at those of the responses.
    controls : mapping of str to (array of shape (n, t, q), array of shape (t,))
        Control features of all stimuli of the store by label, and their times.
    baseline : array of shape (n_joined, n_features), optional
        What the sweep's baseline model makes of the stimuli.
    together : array of shape (n_neuroids,), optional
        Group of every neuroid, from `groups_of_neuroids`, over which scores on resamples are
        averaged; by default those of every neuroid are kept.
    gaps : dict
        What is missing or was left out, by kind: see `find_gaps`. Empty where nothing is.
    parts : Together, optional
        Which stimuli halves keep together, where they are parts of recordings.
    """

    rows: np.ndarray
    response: np.ndarray
    folds: np.ndarray
    subjects: np.ndarray
    regions: np.ndarray | None = None
    categories: np.ndarray | None = None
    course: np.ndarray | None = None
    times: np.ndarray | None = None
    repeated: np.ndarray | None = None
    apart: float = 0.0
    names: np.ndarray | None = None
    n_folds: int = N_FOLDS
    frames: np.ndarray | None = None
    controls: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    baseline: np.ndarray | None = None
    together: np.ndarray | None = None
    gaps: dict[str, Any] = field(default_factory=dict)
    parts: Together | None = None

    @cached_property
    def mean_response(self) -> np.ndarray:
        """Responses (n_joined, n_neuroids) averaged over the repetitions that there are."""
        return over_repetitions(self.response)

    @property
    def has_folds(self) -> bool:
        """Whether there are folds of stimuli."""
        return bool((self.folds >= 0).all())

    @cached_property
    def lengths(self) -> list[int]:
        """Samples of every stimulus: up to the last one with a response of any neuroid."""
        if self.course is None:
            return [1] * len(self.folds)
        there = np.isfinite(self.course).any(2)
        return (there.shape[1] - there[:, ::-1].argmax(1)).tolist()

    @property
    def stimulus_names(self) -> list[str]:
        """Names of the stimuli, or their numbers."""
        known = np.arange(len(self.folds)) if self.names is None else self.names
        return known.astype(str).tolist()

    @property
    def rate(self) -> float:
        """Samples a second of responses over time."""
        assert self.times is not None
        return 1 / float(np.diff(self.times).mean())

    @cached_property
    def live(self) -> np.ndarray:
        """Which neuroids have responses that differ between stimuli, of shape (n_neuroids,)."""
        return varying(self.mean_response)

    def of_subject(self, name: str, *, mean: bool = True) -> np.ndarray:
        """Return one subject's responses, by default averaged over repetitions."""
        values = self.mean_response if mean else self.response
        return values[:, self.subjects.astype(str) == name]

    @property
    def subject_names(self) -> list[str]:
        """The subjects, sorted."""
        return sorted(set(map(str, self.subjects)))

    def groups(self, by: str = "subject") -> dict[tuple[str, str], np.ndarray]:
        """Which neuroids belong together.

        Parameters
        ----------
        by : str
            ``"subject"``, ``"region"`` (of all subjects together) or ``"subject_region"``.

        Returns
        -------
        dict of (subject, region) to array of shape (n_neuroids,), bool
            Sorted; ``"all"`` stands for what is not told apart.

        Raises
        ------
        ValueError
            If there is no such grouping.
        """
        if by not in GROUPINGS:
            raise ValueError(f"there is no grouping {by!r}: use one of {', '.join(GROUPINGS)}")
        everyone = np.full(self.response.shape[1], "all")
        regions = everyone if self.regions is None else self.regions.astype(str)
        subject = self.subjects.astype(str) if "subject" in by else everyone
        region = regions if "region" in by else everyone
        pairs = sorted(set(zip(subject.tolist(), region.tolist())))
        return {(a, b): (subject == a) & (region == b) for a, b in pairs}


class Loaded(NamedTuple):
    """The sounds of a sweep, and its brain targets by label as `load_brain` returns them."""

    stimuli: StimulusSet
    brains: Mapping[str, xr.Dataset]


def load_brain(choice: Choice, stimuli: StimulusSet) -> xr.Dataset:
    """Load a sweep's target; one that is made of sounds, or labels, hears the sweep's own stimuli.

    Parameters
    ----------
    choice : Choice
        The target.
    stimuli : StimulusSet
        The sweep's stimuli.

    Returns
    -------
    xarray.Dataset
        As `dynamics.brains.load` returns it.
    """
    arguments = dict(choice.arguments)
    if choice.name in brains.TARGETS and "stimuli" in brains.TARGETS.parameters(choice.name):
        arguments.setdefault("stimuli", stimuli)
    return brains.load(choice.name, **arguments)


def make_target(
    data: xr.Dataset,
    activations: xr.Dataset,
    *,
    seed: int = 0,
    n_folds: int = N_FOLDS,
    halves: str = "stimuli",
) -> Target:
    """Join a brain target with the stimuli of a store, by name.

    Parameters
    ----------
    data : xarray.Dataset
        A target as `dynamics.brains.load` returns it.
    activations : xarray.Dataset
        With coordinates `stimulus` and `category`; `duration` in seconds tells where a response
        over time may end.
    seed : int
        For the assignment of folds, where the target brings none: stratified by category, with
        stimuli of one ``group`` together where it has that coordinate.
    names : array of shape (n_joined,), optional
        Names of the stimuli.
    n_folds : int
        How many folds, where the target brings none.
    halves : str
        What halves of the stimuli keep whole: ``"categories"``, ``"groups"`` (coordinate `group`
        of the target) or nothing but parts of one recording, ``"stimuli"``.

    Returns
    -------
    Target
        Plain arrays, stimuli in the order of the store, without those to which no neuroid has a
        response. A warning counts what is missing.

    Raises
    ------
    ValueError
        If no stimulus is in both, dimensions or times are not those of a target, a response is
        infinite, no neuroid varies, there are fewer stimuli (or groups of them) than folds and no
        time axis, a stimulus has no fold or group although others have, or a group is in several.
    """
    names = activations["stimulus"].to_numpy().tolist()
    data = brains.join(data, names)
    title = data.attrs.get("name", "?")
    response = data["response"]
    wanted = ("stimulus", "time", "neuroid", "repetition")
    if not {"stimulus", "neuroid"} <= set(response.dims) <= set(wanted):
        raise ValueError(
            f"target {title!r} has dimensions {response.dims}: give (stimulus[, time], "
            "neuroid[, repetition])"
        )
    if np.isinf(response.to_numpy()).any():
        raise ValueError(f"target {title!r} has infinite responses: leave these neuroids out")
    response = response.transpose(*(dim for dim in wanted if dim in response.dims))
    values = without_dead_repetitions(response.to_numpy().astype(float), response.dims)
    place = {without_suffix(name): row for row, name in enumerate(names)}
    rows = np.array([place[str(name)] for name in data["stimulus"].to_numpy()])
    durations = activations["duration"].to_numpy()[rows] if "duration" in activations else None
    found = find_gaps(values, response, durations=durations)
    if "stimuli" in found:
        heard = ~np.isin(data["stimulus"].to_numpy().astype(str), found["stimuli"])
        data, values, rows = data.isel(stimulus=heard), values[heard], rows[heard]
    if found:
        logger.warning("brain target '%s': %s", title, describe_gaps(found))
    categories = activations["category"].to_numpy()[rows].astype(str)
    folds = _folds(data, categories, n_folds, seed, title)
    timed = "time" in response.dims
    course = repeated = None
    if timed:
        repeated = values if values.ndim == 4 and values.shape[3] > 1 else None
        course = mean_there(values, 3) if values.ndim == 4 else values
        values = mean_there(values, 1)
    times = _times(data, title) if timed else None
    subjects = _labels(data, "subject")
    target = Target(
        rows,
        values,
        folds,
        np.full(data.sizes["neuroid"], "all") if subjects is None else subjects,
        regions=_labels(data, "region"),
        categories=categories,
        course=course,
        times=times,
        repeated=repeated,
        apart=0.0 if course is None or times is None else _apart(course, times),
        names=data["stimulus"].to_numpy().astype(str),
        n_folds=n_folds,
        gaps=found,
        parts=_kept_whole(halves, data, activations.isel(stimulus=rows), folds, title),
    )
    if not (target.live if course is None else varying(course.reshape(-1, course.shape[2]))).any():
        raise ValueError(
            f"target {title!r} has no neuroid with responses that differ between the "
            f"{len(rows)} stimuli: give responses, one a stimulus"
        )
    return target


def _kept_whole(
    halves: str, data: xr.Dataset, heard: xr.Dataset, folds: np.ndarray, title: str
) -> Together | None:
    """Return what halves keep in one piece."""
    if halves == "stimuli":
        return together(heard, folds)
    labels = heard["category"] if halves == "categories" else data.get("group")
    try:
        return whole(None if labels is None else labels.to_numpy(), halves)
    except ValueError as error:
        raise ValueError(f"target {title!r}: {error}") from None


def _folds(
    data: xr.Dataset, categories: np.ndarray, n_folds: int, seed: int, title: str
) -> np.ndarray:
    """Check a target's own folds by the rules of the metrics, or make some."""
    names = data["stimulus"].to_numpy().astype(str).tolist()
    groups = data["group"].to_numpy() if "group" in data.coords else None
    own = data["fold"].to_numpy() if "fold" in data.coords else None
    members = len(names) if groups is None else len(np.unique(groups.astype(str)))
    if own is None and "time" in data["response"].dims and members < n_folds:
        return np.full(len(names), -1)
    try:
        known = make_folds(
            len(names),
            folds=n_folds if own is None else own,
            seed=seed,
            categories=metrics.merge_small(categories, n_folds),
            groups=groups,
            names=names,
        )
    except ValueError as error:
        raise ValueError(f"target {title!r}: {error}") from None
    # Whole numbers stay, by which stores know their targets again.
    whole = own is not None and own.dtype.kind in "iu" and own.min() >= 0
    return own.astype(int) if own is not None and whole else known


def groups_of_neuroids(data: xr.Dataset, *, most: int = 500) -> np.ndarray:
    """Find the groups of neuroids that no average over neuroids tells apart.

    Neuroids of one subject and region, and of one value of every further coordinate of labels (a
    hemisphere, say) as long as there are at most so many groups.

    Parameters
    ----------
    data : xarray.Dataset
        A target as `dynamics.brains.load` returns it.
    most : int
        How many groups further coordinates may make.

    Returns
    -------
    array of shape (n_neuroids,), int
        Group of every neuroid, 0 and on.
    """
    labels = {
        str(name): values.to_numpy().astype(str)
        for name, values in data.coords.items()
        if values.dims == ("neuroid",) and name != "neuroid" and values.dtype.kind != "f"
    }
    first = [labels.pop(name) for name in ("subject", "region") if name in labels]
    groups = np.zeros(data.sizes["neuroid"], int)
    for number, values in enumerate([*first, *labels.values()]):
        pairs = np.stack([groups.astype(str), values], 1)
        found, finer = np.unique(pairs, axis=0, return_inverse=True)
        if number < len(first) or len(found) <= most:
            groups = finer.ravel()
    return groups


def gaps(data: xr.Dataset) -> str:
    """Say which neuroid is the first that lacks responses that others have, and how many do.

    A response is there where one of its repetitions and samples is. Neuroids and stimuli without
    any response, which are left out, are not counted.

    Parameters
    ----------
    data : xarray.Dataset
        A target as `dynamics.brains.load` returns it.

    Returns
    -------
    str
        Such as ``"neuroid 'n4' (3 in all)"``; empty if none.
    """
    response = data["response"]
    several = [dim for dim in response.dims if dim not in ("stimulus", "neuroid")]
    there = response.notnull().any(several).transpose("stimulus", "neuroid").to_numpy()
    lacks = there.any(0) & ~there[there.any(1)].all(0)
    lacking = response["neuroid"].to_numpy()[lacks]
    return f"neuroid '{lacking[0]}' ({len(lacking)} in all)" if len(lacking) else ""


def checksums(target: Target) -> list[float]:
    """Return numbers by which a target can be known again, whatever machine computed it.

    A hash of the bytes would change with the last bit, which the number of threads can flip. A
    projection on fixed random weights does not, and shows a change of a hundredth of a standard
    deviation in a single one of a million values.

    Parameters
    ----------
    target : Target
        The brain target.

    Returns
    -------
    list of float
        Projections of responses, rows and folds, each over the norm; compare with a tolerance
        of 1e-6.
    """
    found = []
    for number, array in enumerate((target.response, target.rows + 1, target.folds + 1)):
        values = np.asarray(array, float).ravel()
        if np.isnan(values).any():
            # Where the gaps are counts as well.
            values = np.concatenate([np.nan_to_num(values), np.isnan(values)])
        weights = np.random.default_rng(number).standard_normal(values.size)
        found.append(float(weights @ values / max(np.linalg.norm(values), np.finfo(float).tiny)))
    return found


def _labels(data: xr.Dataset, name: str) -> np.ndarray | None:
    return data[name].to_numpy().astype(str) if name in data.coords else None


def _times(data: xr.Dataset, title: str) -> np.ndarray:
    if "time" not in data.coords:
        raise ValueError(f"target {title!r} has a time axis without times: add a coordinate 'time'")
    times = data["time"].to_numpy().astype(float)
    steps = np.diff(times)
    if len(steps) == 0 or not (steps > 0).all() or np.ptp(steps) > 0.01 * steps.mean():
        raise ValueError(f"target {title!r} needs times in even steps, in seconds: resample it")
    return times


def _apart(course: np.ndarray, times: np.ndarray) -> float:
    """Find when samples are no longer alike; of many neuroids some know it well enough."""
    some = course[:, :, :: -(-course.shape[2] // _SAID_BY)]
    ends = np.isfinite(some).any(2)
    whole = [each[: len(row) - int(row[::-1].argmax())] for each, row in zip(some, ends)]
    return time_apart(whole, 1 / float(np.diff(times).mean()))
