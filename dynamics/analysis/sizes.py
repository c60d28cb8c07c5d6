"""What comparisons of many stimuli hold that have no form of their own for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dynamics.analysis import many_stimuli
from dynamics.analysis.checks import given
from dynamics.brains.targets import Target
from dynamics.config import Choice
from dynamics.progress import size_of

# Copies of the distances of a layer or group that ranks and their resamples take together.
_OF_DISTANCES = 12
# Matrices of a layer's splits at five folds, and of what is decomposed meanwhile.
_OF_SPLITS = 15


def matrices_of(choice: Choice, target: Target, layers: int) -> float:
    """Count the matrices of all stimuli that a metric holds at a time.

    Parameters
    ----------
    choice : Choice
        The metric.
    target : Target
        The target.
    layers : int
        How many layers a step has.

    Returns
    -------
    float
        0 where there are few stimuli, or the metric goes through them a part at a time.
    """
    own = given(choice)
    if not many_stimuli.is_many(target):
        return 0.0
    if choice.name == "rsa" and not many_stimuli.takes_rdms(target, own):
        return _OF_DISTANCES / 2 * (layers + len(target.groups(own.get("by", "subject"))))
    if choice.name in ("banded", "variance_partition"):
        return layers + _OF_SPLITS
    if choice.name == "ridge" and own.get("protocol", "default") != "default":
        return layers + _OF_SPLITS
    return 0.0


def check(client: Any, pairs: Iterable[tuple[Choice, str, Target]], layers: int) -> None:
    """Refuse metrics of many stimuli that no worker of a cluster has the memory for.

    Parameters
    ----------
    client : Workers
        Of a cluster.
    pairs : iterable of (Choice, str, Target)
        Metrics with the labels of targets and the targets that they are for.
    layers : int
        How many layers a step has.

    Raises
    ------
    OSError
        With what is needed, what there is, and what to do.
    """
    for choice, label, target in pairs:
        many, n = matrices_of(choice, target, layers), len(target.folds)
        if not many:
            continue
        cure = "use fewer `stimuli`"
        if choice.name == "rsa":
            cure = ("use `compare: spearman` and `choose: disjoint` without `geotopological`, and "
                    "responses without gaps, of which RDMs are made one at a time")  # fmt: skip
        elif choice.name == "ridge":
            cure = "use the default protocol, which goes through layers one at a time"
        client.must_hold(
            8 * many * n**2,
            f"metric {choice.label!r} of target {label!r}, {n:,} stimuli in {layers} layers of "
            f"which matrices of {size_of(8 * n**2)} are held together,",
            cure,
        )
