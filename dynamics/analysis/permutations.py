"""Resamples and shuffles of a target's stimuli, drawn once for all steps, layers and metrics."""

from __future__ import annotations

import logging
import math

import numpy as np

from dynamics import metrics
from dynamics.analysis.checks import given
from dynamics.analysis.metric import Units
from dynamics.analysis.registry import find
from dynamics.analysis.variables import Variables
from dynamics.brains.targets import Target
from dynamics.config import Choice, Sweep
from dynamics.metrics import subsets
from dynamics.metrics.blocks import shift_lengths
from dynamics.metrics.null import SCHEMES

logger = logging.getLogger(__name__)

AUTO = "auto"

OVER_TIME = {
    "shifts": "responses moved around in time within each stimulus",
    "blocks": "blocks of the predictions drawn with replacement",
}
"""Schemes of metrics over time that have them, in words that follow "above those of"."""

# Stimuli whose responses can be given to each other in ways enough for a null.
_FEWEST_SHUFFLED = 8


def halves_of(target: Target, choice: Choice | None, sweep: Sweep) -> np.ndarray | None:
    """Return the halves of the stimuli on which every score of a target is computed again.

    They come in complementary pairs, the same ones for all steps, layers and metrics.

    Parameters
    ----------
    target : Target
        The brain target.
    choice : Choice or None
        The metric; None for one that can be resampled.
    sweep : Sweep
        Says how many, and the seed.

    Returns
    -------
    array of shape (n_resamples, n_kept) or None
        Stimuli, or what else the metric resamples (its `units`). None where the sweep wants none,
        or the metric has none (see `without_resamples`).
    """
    if sweep.resamples == 0 or (choice is not None and without_resamples(choice, sweep, target)):
        return None
    units = None if choice is None else units_of(choice, target)
    folds = target.folds if units is None else units.folds
    assert folds is not None  # `without_resamples` has looked
    kept = target.parts.unit if units is None and target.parts is not None else None
    return subsets.half_rows(folds, sweep.resamples, seed=sweep.seed, units=kept)


def units_of(choice: Choice, target: Target) -> Units | None:
    """Return what a metric resamples and shuffles; None where that is stimuli."""
    own = find(choice.name, choice.arguments)
    return None if own.units is None else own.units(given(choice), target)


def without_resamples(choice: Choice, sweep: Sweep, target: Target | None = None) -> str:
    """Say why a metric's scores have no resamples, and what to do; empty where they have.

    Parameters
    ----------
    choice : Choice
        The metric.
    sweep : Sweep
        The sweep.
    target : Target, optional
        The brain target, of which some metrics can make no resamples.

    Returns
    -------
    str
        A sentence without its full stop.
    """
    other = "give the metric a `label` of its own"
    if sweep.resamples == 0:
        return f"the sweep has `resamples: 0`; for intervals set `resamples: 50`, and {other}"
    if why := find(choice.name, choice.arguments).without_resamples:
        return why
    if choice.arguments.get("resamples", 1) == 0:
        return f"its argument is `resamples: 0`; for intervals leave that out, and {other}"
    units = None if target is None else units_of(choice, target)
    return units.few if units is not None and units.folds is None else ""


def shuffling(choice: Choice, sweep: Sweep) -> tuple[int, str]:
    """How many shuffles a metric of a sweep wants, and how they are asked for.

    Parameters
    ----------
    choice : Choice
        The metric; its arguments `permutations` and `shuffle` overrule the sweep's.
    sweep : Sweep
        The sweep.

    Returns
    -------
    count : int
        Number of shuffles, 0 for none.
    scheme : str
        ``"overall"``, ``"category"`` or ``"auto"``, which `scheme_of` turns into one of them.

    Raises
    ------
    ValueError
        If the number or the scheme is none.
    """
    count = choice.arguments.get("permutations", sweep.permutations)
    scheme = choice.arguments.get("shuffle", sweep.shuffle)
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise ValueError(f"metric {choice.label!r}: permutations must be 0 or more, not {count!r}")
    if scheme not in (AUTO, *SCHEMES):
        raise ValueError(
            f"metric {choice.label!r}: there is no shuffle {scheme!r}: use one of "
            f"{', '.join((AUTO, *SCHEMES))}"
        )
    return count, scheme


def scheme_of(target: Target, choice: Choice, sweep: Sweep) -> str:
    """Return how the stimuli of a target are shuffled.

    Responses to sounds of one category are alike, so that they are not exchangeable with those to
    others: shuffled over all stimuli, a layer that tells categories apart is above nearly every
    shuffle, whatever else it knows of the brain. So within categories where there are any.

    Parameters
    ----------
    target : Target
        The brain target.
    choice : Choice
        The metric.
    sweep : Sweep
        The sweep.

    Returns
    -------
    str
        ``"overall"`` or ``"category"``; of responses over time ``"shifts"`` or ``"blocks"``, see
        `dynamics.analysis.metric.Units`.
    """
    _, asked = shuffling(choice, sweep)
    if asked != AUTO:
        return asked
    units = units_of(choice, target)
    if units is not None and units.scheme:
        return units.scheme
    return "category" if len(_sizes(target)) > 1 and distinct(target) > 1 else "overall"


def distinct(target: Target, scheme: str = "category") -> float:
    """Count the orders of a target's stimuli that shuffles can lead to; inf beyond all counting."""
    if scheme in OVER_TIME:
        return math.inf
    sizes = _sizes(target) if scheme == "category" else np.array([len(target.rows)])
    exact = sum(math.lgamma(size + 1) for size in sizes)
    return float(round(math.exp(exact))) if exact < math.log(2**53) else math.inf


def describe_shuffles(target: Target, scheme: str) -> str:
    """Say what a score is compared with, in words that follow "above those of".

    Parameters
    ----------
    target : Target
        The brain target.
    scheme : str
        As `scheme_of` returns it.

    Returns
    -------
    str
        Such as ``"stimuli shuffled within categories"``.
    """
    if scheme in OVER_TIME:
        return OVER_TIME[scheme]
    if scheme == "category":
        return "stimuli shuffled within categories"
    if len(_sizes(target)) > 1 and distinct(target) > 1:
        return "stimuli shuffled over all categories, for which telling categories apart is enough"
    return "shuffled stimuli"


def _sizes(target: Target) -> np.ndarray:
    """Return how many stimuli each category has."""
    if target.categories is None:
        return np.array([len(target.rows)])
    return np.unique(target.categories, return_counts=True)[1]


def orders_of(
    target: Target, choice: Choice, sweep: Sweep, scheme: str | None = None
) -> np.ndarray | None:
    """Return the shuffles of a target's stimuli that a metric's null is made of.

    They follow from the seed of the sweep, the number and the scheme alone, so that every step,
    layer and metric of a target sees the same ones.

    Parameters
    ----------
    target : Target
        The brain target.
    choice : Choice
        The metric.
    sweep : Sweep
        The sweep.
    scheme : str, optional
        That of results which are there already; by default as `scheme_of`.

    Returns
    -------
    array of shape (n_permutations, n_joined) or None
        None where the sweep wants none. Where the metric has `units` of its own (n_permutations,
        n_joined, 2): whose response each stimulus takes, and by how many samples it is moved
        around. Responses are moved by more than the guard and the longest delay; where most are
        too short for that, stimuli are shuffled.

    Raises
    ------
    ValueError
        As `shuffling`, and if nothing can be shuffled within categories of one stimulus.
    """
    count, _ = shuffling(choice, sweep)
    check_shuffles(target, choice, sweep)
    if count == 0:
        return None
    scheme, n = scheme or scheme_of(target, choice, sweep), len(target.rows)
    units = units_of(choice, target)
    if units is not None and scheme == units.scheme:
        by = shift_lengths(units.lengths, count, reach=units.reach, seed=sweep.seed)
        return np.stack([np.broadcast_to(np.arange(n), by.shape), by], -1)
    categories = target.categories if scheme == "category" else None
    found = metrics.permutations(n, count, seed=sweep.seed, categories=categories)
    return found if units is None else np.stack([found, np.zeros_like(found)], -1)


def check_shuffles(target: Target, choice: Choice, sweep: Sweep) -> None:
    """Raise what `orders_of` raises, without drawing what may be many shuffles of many stimuli."""
    count, scheme = shuffling(choice, sweep)
    units = units_of(choice, target) if count else None
    if (
        units is not None
        and len(units.lengths) < _FEWEST_SHUFFLED
        and (scheme != AUTO or not units.scheme)
    ):
        raise ValueError(
            f"no shuffles can be made: {len(units.lengths)} stimuli are too few to be shuffled and "
            f"responses of {max(units.lengths)} samples "
            + (
                "are moved around by `shuffle: auto` alone"
                if units.scheme
                else f"cannot be moved by more than {units.reach} (guard and longest delay)"
            )
            + ": set `shuffle: auto`, a shorter `guard` or shorter `windows`, or `permutations: 0`"
        )
    if count and scheme == "category" and distinct(target) < 2:
        raise ValueError(
            "every stimulus has a category of its own, so nothing can be shuffled within "
            "categories: use `shuffle: overall`"
        )


def with_p_value(values: Variables) -> Variables:
    """Add the p value of every score to variables that have a null.

    Parameters
    ----------
    values : Variables
        With `score`, and maybe `null_score` with one more dimension `permutation`.

    Returns
    -------
    Variables
        With `p_value`, and the null in single precision, which halves its size.
    """
    if "null_score" not in values:
        return values
    dims, score = values["score"]
    null_dims, null = values["null_score"]
    first = np.moveaxis(np.asarray(null), null_dims.index("permutation"), 0)
    p = np.asarray(metrics.p_value(np.asarray(score), first))
    return values | {
        "p_value": (dims, p),
        "null_score": (null_dims, np.asarray(null, np.float32)),
    }
