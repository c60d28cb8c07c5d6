"""Groups of neuroids that are compared as spaces: who of each can be, and on which stimuli.

The rule for responses that are missing, here and nowhere else. Neuroids that do not vary are left
out. What compares *pairs of stimuli* (RSA: scores, choice of layers, halves, nulls, noise
ceilings) takes each pair over the neuroids that have both and compares the pairs that there are:
`pairs_of`. What compares *spaces as a whole* (CKA, Procrustes, neighbours, canonical correlations)
needs every neuroid's response to every stimulus, and takes those among which none is missing:
`block_of`. Layers are seen on the same stimuli. A group left with fewer than 10 has no score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dynamics import metrics
from dynamics.analysis.metric import Metric
from dynamics.analysis.variables import Variables
from dynamics.brains.targets import Target
from dynamics.metrics.correlation import varying
from dynamics.metrics.missing import FEWEST_IN_ALL, complete_block, orders_within, places

Block = tuple[np.ndarray, np.ndarray]
"""Numbers of stimuli and of neuroids, both empty where a group cannot be compared."""

_NAMED = 8


def rdms_of_groups(
    target: Target, by: str, *, distance: str = "correlation", zscore: bool = True
) -> list[tuple[np.ndarray, Block]]:
    """Distances of every group of a target, and what of the group they are of.

    Parameters
    ----------
    target : Target
        The brain target.
    by : str
        See `Target.groups`.
    distance, zscore
        As for `dynamics.metrics.rdm`.

    Returns
    -------
    list of (array of shape (n_stimuli, n_stimuli), Block)
        As `group_rdm` and `pairs_of` return them.
    """
    out = []
    for members in target.groups(by).values():
        D = group_rdm(target, members, distance=distance, zscore=zscore)
        out.append((D, pairs_of(target, members, D)))
    return out


def fewest_for(distance: str) -> int:
    """Return over how many neuroids stimuli have a distance at least."""
    return 2 if distance == "correlation" else 1


def check_groups(target: Target, distance: str, by: str) -> str:
    """Say which groups of a target have too few neuroids for a distance.

    Parameters
    ----------
    target : Target
        The brain target.
    distance
        As for `dynamics.metrics.rdm`.
    by : str
        See `Target.groups`.

    Returns
    -------
    str
        One sentence on the groups that have NaN in the place of a score; empty where there are
        none.

    Raises
    ------
    ValueError
        If all groups are so small.
    """
    groups, fewest = target.groups(by), fewest_for(distance)
    small = [
        " of ".join(part for part in (region, subject) if part != "all") or "the target"
        for (subject, region), members in groups.items()
        if (members & target.live).sum() < fewest
    ]
    if fewest < 2 or not small:
        return ""
    names = ", ".join(small[:_NAMED]) + (
        f" and {len(small) - _NAMED} more" if len(small) > _NAMED else ""
    )
    said = (
        f"{names} {'has' if len(small) == 1 else 'have'} fewer than two neuroids that vary, over "
        f"which stimuli have no {distance}"
    )
    if len(small) == len(groups):
        raise ValueError(f"{said}: use `distance: euclidean` or another grouping `by`")
    return f"{said}, and no score: `distance: euclidean` or another grouping `by` gives one"


def group_rdm(
    target: Target, members: np.ndarray, *, distance: str = "correlation", zscore: bool = True
) -> np.ndarray:
    """Distances of all stimuli over the neuroids of a group that vary.

    Parameters
    ----------
    target : Target
        The brain target.
    members : array of shape (n_neuroids,), bool
        Who is of the group.
    distance, zscore
        As for `dynamics.metrics.rdm`.

    Returns
    -------
    array of shape (n_stimuli, n_stimuli)
        NaN for pairs that no neuroid has both of, and everywhere for a correlation over one.
    """
    kept = members & target.live
    if kept.sum() < fewest_for(distance):
        return np.full((len(target.folds),) * 2, np.nan)
    # Crossnobis needs the repetitions themselves.
    values = target.response if distance == "crossnobis" else target.mean_response
    D = metrics.rdm(values[:, kept], distance=distance, zscore=zscore, missing="mask")
    return np.asarray(D)


def pairs_of(target: Target, members: np.ndarray, D: np.ndarray) -> Block:
    """Find the stimuli of a group that are in pairs, and its neuroids that vary.

    Parameters
    ----------
    target : Target
        The brain target.
    members : array of shape (n_neuroids,), bool
        Who is of the group.
    D : array of shape (n_stimuli, n_stimuli)
        Its distances, NaN where a pair has none.

    Returns
    -------
    Block
        Ascending numbers.
    """
    there = np.isfinite(D) & ~np.eye(len(D), dtype=bool)
    rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(members & target.live)
    if len(rows) < min(len(D), FEWEST_IN_ALL) or not len(columns):
        return rows[:0], columns[:0]
    return rows, columns


def block_of(
    target: Target, members: np.ndarray, *, fewest: int = FEWEST_IN_ALL, in_fold: int = 1
) -> Block:
    """Find the stimuli and neuroids of a group among which no response is missing.

    Neuroids that do not vary are left out. What then lacks a response is left out by
    `dynamics.metrics.missing.complete_block`.

    Parameters
    ----------
    target : Target
        The brain target.
    members : array of shape (n_neuroids,), bool
        Who is of the group.
    fewest, in_fold : int
        How many stimuli must be left in all and in every fold of a group with gaps.

    Returns
    -------
    Block
        Ascending numbers.
    """
    columns = np.flatnonzero(members & target.live)
    there = np.isfinite(target.mean_response[:, columns])
    rows = np.arange(len(there)) if len(columns) else np.arange(0)
    if there.all():
        return rows, columns
    rows, kept = complete_block(there)
    columns = columns[kept]
    columns = columns[varying(target.mean_response[np.ix_(rows, columns)])] if len(rows) else kept
    labels = np.unique(target.folds, return_inverse=True)[1]
    most = np.bincount(labels)
    left = np.bincount(labels[rows], minlength=len(most))
    if len(rows) < fewest or (left < np.minimum(most, in_fold)).any() or not len(columns):
        return rows[:0], columns[:0]
    return rows, columns


def blocks(target: Target, by: str, **least: int) -> list[Block]:
    """Find the block of every group of a target; see `Target.groups` and `block_of`."""
    return [block_of(target, members, **least) for members in target.groups(by).values()]


def side_by_side(
    found: Sequence[Block],
    fit: Callable[[np.ndarray, list[np.ndarray]], Variables],
    *,
    keys: Sequence[bytes] | None = None,
) -> Variables:
    """Score groups that have the same stimuli together, and put the results side by side.

    Parameters
    ----------
    found : sequence of Block
        One a group.
    fit : callable
        From numbers of stimuli, and what else is of each group (numbers of neuroids), to variables
        with groups last.
    keys : sequence of bytes, optional
        Only groups of one key are scored together; by default those of the same stimuli.

    Returns
    -------
    Variables
        Of all groups; NaN (-1 where whole numbers are) where one cannot be compared.

    Raises
    ------
    ValueError
        If none can.
    """
    alike: dict[bytes, list[int]] = {}
    for number, (rows, columns) in enumerate(found):
        if len(columns):
            key = rows.tobytes() if keys is None else keys[number]
            alike.setdefault(key, []).append(number)
    out: Variables = {}
    for members in alike.values():
        part = fit(found[members[0]][0], [found[number][1] for number in members])
        for name, (dims, values) in part.items():
            if name not in out:
                shape = (*np.shape(values)[:-1], len(found))
                whole = np.asarray(values).dtype.kind in "iu"
                out[name] = (
                    dims,
                    np.full(shape, -1 if whole else np.nan, np.asarray(values).dtype),
                )
            out[name][1][..., members] = values
    if not out:
        raise ValueError(
            "no group of neuroids has responses to enough stimuli to be compared: leave out the "
            "neuroids or stimuli that lack most"
        )
    return out


def halves_within(halves: np.ndarray, rows: np.ndarray, n: int) -> list[np.ndarray]:
    """Halves of n stimuli, counted among some of them."""
    place = places(rows, n)
    return [place[half[half >= 0]][place[half[half >= 0]] >= 0] for half in halves]


def shuffles_within(orders: np.ndarray, rows: np.ndarray, n: int) -> np.ndarray:
    """Shuffles of n stimuli, of some of them."""
    return orders if len(rows) == n else orders_within(orders, rows)


def shared_block(target: Target, members: np.ndarray) -> tuple[Target, np.ndarray]:
    """Narrow a target to the stimuli that all usable groups have.

    Parameters
    ----------
    target : Target
        The brain target.
    members : array of shape (n_groups, n_neuroids), bool
        Who is of each group.

    Returns
    -------
    part : Target
        With those stimuli.
    members : array of shape (n_usable, n_neuroids), bool
        Usable groups, each with the neuroids that are kept.
    """
    found = [each for each in (block_of(target, who) for who in members) if len(each[1])]
    rows = np.arange(len(target.folds))
    for some, _ in found:
        rows = np.intersect1d(rows, some)
    kept = np.zeros((len(found), members.shape[1]), bool)
    for own, (_, columns) in zip(kept, found):
        own[columns] = True
    if len(rows) == len(target.folds):
        return target, kept
    part = replace(target, rows=target.rows[rows], response=target.response[rows],
                   folds=target.folds[rows])  # fmt: skip
    return part, kept if len(rows) >= FEWEST_IN_ALL else kept[:0]


def counted(
    metric: Metric, arguments: Mapping[str, Any], target: Target
) -> dict[str, tuple[str, Any]]:
    """Count the stimuli that each score of a target with gaps is of, as a coordinate.

    Parameters
    ----------
    metric : Metric
        The metric.
    arguments : mapping
        Its arguments.
    target : Target
        The brain target.

    Returns
    -------
    dict of str to (dimension, array)
        ``stimuli`` of every neuroid or group; of groups also ``neuroids``, and where pairs are
        compared how many ``pairs`` of stimuli have a distance. Nothing of a metric that looks at
        no brain.
    """
    if metric.per == "layer":
        return {}
    if metric.per == "neuroid":
        return {"stimuli": ("neuroid", np.isfinite(target.mean_response).sum(0) * target.live)}
    by = arguments.get("by", "subject")
    if metric.missing == "pairs":
        options = {name: arguments[name] for name in ("distance", "zscore") if name in arguments}
        rdms = rdms_of_groups(target, by, **options)
        found = [block for _, block in rdms]
        there = [int(np.isfinite(D[np.triu_indices(len(D), 1)]).sum()) for D, _ in rdms]
        pairs = {"pairs": ("subject", np.where([len(rows) for rows, _ in found], there, 0))}
    else:
        found, pairs = blocks(target, by), {}
    stimuli, neuroids = np.array([tuple(map(len, each)) for each in found]).T
    return {"stimuli": ("subject", stimuli), "neuroids": ("subject", neuroids)} | pairs
