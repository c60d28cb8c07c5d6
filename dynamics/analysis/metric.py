"""What a metric is: one record, which sweep, checks, figures, captions and report ask."""

from __future__ import annotations

import inspect
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, get_args, get_type_hints

import numpy as np
import numpy.typing as npt

from dynamics.analysis.variables import Variables
from dynamics.brains.targets import Target
from dynamics.metrics.pairwise import Form

Coordinates = dict[str, tuple[str, npt.ArrayLike]]
"""Dimension and values by name."""


def _nothing(arguments: Mapping[str, Any], target: Target) -> dict[str, str]:
    return {}


def _unasked(arguments: Mapping[str, Any]) -> str:
    return ""


def _no_coordinates(arguments: Mapping[str, Any], target: Target) -> Coordinates:
    return {}


class Value(NamedTuple):
    """A value that a metric has beside its score.

    Attributes
    ----------
    short : str
        A name for tables and sentences.
    axis : str
        A name for axes.
    square : bool
        Whether it is the square of the score, 0 where that is negative, or that over a
        reliability: then resamples and shuffles of it follow from those of the score.
    levels : bool
        Whether results hold it of the baseline and of untrained networks as well, by its own
        name; it then has no ceiling in its unit.
    over_ceiling : bool
        Whether it is the score over the noise ceiling, neuroid by neuroid, from which all else
        follows.
    """

    short: str
    axis: str
    square: bool = False
    levels: bool = False
    over_ceiling: bool = False


class Units(NamedTuple):
    """What a metric over time resamples and shuffles, in the place of stimuli.

    Attributes
    ----------
    folds : array of shape (units,) or None
        Fold of every stimulus or stretch that resamples draw; None where they are too few.
    lengths : list of int
        Samples of every stimulus.
    reach : int
        Samples by which responses are moved around at least.
    few : str
        What to say and to do where units are too few.
    scheme : str
        How a null is made: ``"shifts"`` of responses within their stimuli, ``"blocks"`` of
        predictions; empty where responses are too short for it and stimuli are shuffled.
    """

    folds: np.ndarray | None
    lengths: list[int]
    reach: int
    few: str
    scheme: str = "shifts"


@dataclass(frozen=True)
class Metric:
    """A metric that a sweep can name.

    Attributes
    ----------
    function : callable
        From the layers of one step, a mapping of names to activations (n, p), or (n, t, p) where
        `needs` has ``"time"``, a `dynamics.brains.targets.Target`, and keyword arguments: its own,
        whose names and defaults are what a sweep may set, and `halves` and `orders`, resamples and
        shuffles of the stimuli or None. It returns variables: dimensions and values by name, with
        ``score`` among them. The first line of its docstring is its help.
    axis : str
        Name of the axis that shows scores.
    sentence : str
        What a report says of it, without the full stop; ``{label}`` is its label in the sweep,
        and its arguments are at hand by their names.
    citations : tuple of str
        What the sentence refers to, as it stands in a list of references; those that several
        metrics share by their key in `dynamics.report.protocol.REFERENCES`.
    per : str
        What has a score: each ``"neuroid"``, each ``"group"`` of neuroids (dimension
        ``subject``), or each ``"layer"`` without looking at a brain.
    unit : str
        ``"correlation"``, ``"variance"`` (a part of the variance of responses, to be compared with
        squared correlations), ``"share"`` or ``"dimensions"``. Only errors of correlations shrink
        as they near 1.
    needs : tuple of str
        ``"time"``: activations and responses over time. ``"frames"``: activations at their own
        times, `Target.frames`, and not at those of the responses. ``"course"``: responses over
        time, with activations averaged over it. ``"controls"``: features over time that its
        argument `controls` names, in `Target.controls`. ``"baseline"``: the features of the sweep's
        baseline model, which is then no level to compare with.
    missing : str
        What becomes of missing responses: ``"mask"``, each neuroid is scored on the stimuli that
        it has, if asked to; ``"block"``, each group on the stimuli and neuroids without a gap;
        ``"pairs"``, on every pair of stimuli over the neuroids that have both.
    ceiling : str
        The highest score that the data allow: from ``"repetitions"``, neuroid by neuroid, over
        time as ``"signal power"``; from
        the agreement of ``"subjects"``; of their ``"rdms"``; or none (empty), where another
        space may well score higher than other subjects do.
    without_resamples : str
        Why scores have no resamples, and what has; empty where they have.
    values : mapping of str to Value
        What can be shown in the place of the score.
    variables : mapping of str to str
        Descriptions of variables that only this metric returns.
    coordinates : callable
        From all arguments of the metric and a target to coordinates of its own dimensions:
        dimension and values by name.
    units : callable, optional
        From its arguments and a target to `Units`, where it is not stimuli that are resampled and
        shuffled; `orders` are then of shape (shuffles, stimuli, 2): whose response a stimulus takes
        and by how many samples that is moved around. Such a metric needs no folds of stimuli.
    told : callable
        From all arguments of the metric and a target to what they come to for it, in words:
        ``details``, sentences for the report, ``cites``, keys of what they cite, and ``halves``,
        what halves are made of where that is not stimuli. Kept as attributes of the results.
    space : Form, optional
        How it sees one space and compares two, for steps, layers and runs with each other.
    version : str
        Of the function, part of the identity of results where it is not empty: results of
        another version are no results of this one.
    by_feature : callable
        From its arguments to what to do in its place where it weighs features one by one, which
        components of layers are not; empty where it gives the same for turned axes.
    variants : mapping of (str, object) to mapping
        What is otherwise for a value of an argument, by name of the argument and value.
    """

    function: Callable[..., Variables]
    axis: str
    sentence: str = ""
    citations: tuple[str, ...] = ()
    per: Literal["neuroid", "group", "layer"] = "group"
    unit: Literal["correlation", "variance", "share", "dimensions"] = "correlation"
    needs: tuple[Literal["time", "frames", "course", "controls", "baseline"], ...] = ()
    missing: Literal["mask", "block", "pairs"] = "block"
    ceiling: Literal["repetitions", "signal power", "subjects", "rdms", ""] = ""
    without_resamples: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    coordinates: Callable[[Mapping[str, Any], Target], Coordinates] = _no_coordinates
    units: Callable[[Mapping[str, Any], Target], Units] | None = None
    told: Callable[[Mapping[str, Any], Target], dict[str, str]] = _nothing
    space: Form | None = None
    version: str = ""
    by_feature: Callable[[Mapping[str, Any]], str] = _unasked
    variants: Mapping[tuple[str, Any], Mapping[str, Any]] = field(default_factory=dict)

    def __call__(self, *args: Any, **kwargs: Any) -> Variables:
        """Score the layers of a step."""
        return self.function(*args, **kwargs)

    def check(self) -> None:
        """Raise a ValueError where a field has a value that none is, or the function is none."""
        hints = get_type_hints(type(self))
        for name in ("per", "unit", "missing", "ceiling"):
            allowed = get_args(hints[name])
            if (found := getattr(self, name)) not in allowed:
                raise ValueError(f"{name} is {found!r}: use one of {', '.join(map(repr, allowed))}")
        known = ("time", "frames", "course", "controls", "baseline")
        if isinstance(self.needs, str) or any(each not in known for each in self.needs):
            raise ValueError(f"needs is {self.needs!r}: give a tuple of {', '.join(known)}")
        try:
            list(string.Formatter().parse(self.sentence))
        except ValueError as error:
            raise ValueError(f"the sentence has a brace that is not closed: {error}") from None
        if not callable(self.function):
            raise ValueError(f"function is {self.function!r}: give a function")
        taken = inspect.signature(self.function).parameters
        if lacking := [name for name in ("halves", "orders") if name not in taken]:
            raise ValueError(
                f"the function lacks the keyword argument {lacking[0]!r}: take both `halves` and "
                "`orders`, which are None where there are no resamples or shuffles"
            )

    def by(self, arguments: Mapping[str, Any]) -> Metric:
        """Return what the metric is with these arguments."""
        changes: dict[str, Any] = {}
        for (name, value), other in self.variants.items():
            if arguments.get(name) == value:
                changes |= other
        return replace(self, **changes) if changes else self
