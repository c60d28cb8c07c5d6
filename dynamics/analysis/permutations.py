"""Resamples and shuffles of a target's stimuli, drawn once for all steps, layers and metrics."""

from __future__ import annotations

import logging
import math

import numpy as np

from dynamics import metrics
from dynamics.analysis.registry import find
from dynamics.analysis.variables import Variables
from dynamics.brains.targets import Target
from dynamics.config import Choice, Sweep
from dynamics.metrics import subsets
from dynamics.metrics.null import SCHEMES

logger = logging.getLogger(__name__)

AUTO = "auto"


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
        None where the sweep wants none, or the metric has none (see `without_resamples`).
    """
    if sweep.resamples == 0 or (choice is not None and without_resamples(choice, sweep)):
        return None
    return subsets.half_rows(target.folds, sweep.resamples, seed=sweep.seed)


def without_resamples(choice: Choice, sweep: Sweep) -> str:
    """Say why a metric's scores have no resamples, and what to do; empty where they have.

    Parameters
    ----------
    choice : Choice
        The metric.
    sweep : Sweep
        The sweep.

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
    return ""


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
        ``"overall"`` or ``"category"``.
    """
    _, asked = shuffling(choice, sweep)
    if asked != AUTO:
        return asked
    return "category" if len(_sizes(target)) > 1 and distinct(target) > 1 else "overall"


def distinct(target: Target, scheme: str = "category") -> float:
    """Count the orders of a target's stimuli that shuffles can lead to; inf beyond all counting."""
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
        None where the sweep wants none.

    Raises
    ------
    ValueError
        As `shuffling`, and if nothing can be shuffled within categories of one stimulus.
    """
    count, _ = shuffling(choice, sweep)
    check_shuffles(target, choice, sweep)
    if count == 0:
        return None
    scheme = scheme or scheme_of(target, choice, sweep)
    categories = target.categories if scheme == "category" else None
    return metrics.permutations(len(target.rows), count, seed=sweep.seed, categories=categories)


def check_shuffles(target: Target, choice: Choice, sweep: Sweep) -> None:
    """Raise what `orders_of` raises, without drawing what may be many shuffles of many stimuli."""
    count, scheme = shuffling(choice, sweep)
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
