"""What a downstream task is: sounds, their classes, and which of them train, choose and test."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from dynamics.probes.fitting import Partition
from dynamics.probes.scoring import REGRESSION
from dynamics.sounds import StimulusSet

SPLITS = ("train", "valid", "test")
N_FOLDS = 5


@dataclass(frozen=True)
class Task:
    """A downstream task.

    Attributes
    ----------
    name : str
        Name of the task.
    stimuli : StimulusSet
        Its sounds.
    classes : tuple of str
        Names of the classes.
    labels : array of shape (n_stimuli, n_classes), bool or float
        Classes of every sound: one, or any number where `multilabel`. Of numbers: ratings, which a
        regression tells.
    splits : tuple of str
        For every sound ``train``, ``valid`` or ``test``, or the name of its fold; empty for one
        that is left out.
    metric : str
        A name in `dynamics.probes.scoring.METRICS`.
    multilabel : bool
        Whether a sound can have any number of classes.
    chroma : array of shape (n_classes,) or None
        Chroma of every class, where classes are pitches.
    description : str
        What is to be told apart, and whose split it is.
    stored : bool
        Whether the sounds are the sweep's own stimuli, so that the store has their activations.
    """

    name: str
    stimuli: StimulusSet = field(repr=False)
    classes: tuple[str, ...] = field(repr=False)
    labels: np.ndarray = field(repr=False)
    splits: tuple[str, ...] = field(repr=False)
    metric: str = "accuracy"
    multilabel: bool = False
    chroma: np.ndarray | None = field(default=None, repr=False)
    description: str = ""
    stored: bool = False

    @property
    def is_regression(self) -> bool:
        """Whether numbers are told, and not classes."""
        return self.labels.dtype != bool

    def check_splits(self) -> None:
        """Raise a ValueError where splits are unknown or one is empty."""
        _check_splits(self)

    @property
    def partitions(self) -> list[Partition]:
        """Rows that train, choose and test.

        One partition for train, valid and test. With folds as many as there are: each fold is the
        test set once. Published folds choose as in HEAR, by the next fold (the first after the
        last), which is cheap; where `stored`, each of the other folds validates once, which wastes
        none of the few sounds.
        """
        splits = np.array(self.splits)
        names = sorted(set(self.splits) - {""})
        if set(names) <= set(SPLITS):
            train, valid, test = (np.flatnonzero(splits == name) for name in SPLITS)
            return [Partition(((train, valid),), np.sort(np.concatenate([train, valid])), test)]
        found = []
        for number, tested in enumerate(names):
            others = names[number + 1 :] + names[:number]
            choices = tuple(
                (
                    np.flatnonzero((splits != tested) & (splits != other) & (splits != "")),
                    np.flatnonzero(splits == other),
                )
                for other in (others if self.stored else others[:1])
            )
            rows = np.flatnonzero((splits != tested) & (splits != ""))
            found.append(Partition(choices, rows, np.flatnonzero(splits == tested)))
        return found

    @property
    def digest(self) -> str:
        """SHA-256 over names, classes, labels and splits, in hexadecimal."""
        known = self.labels.astype(float if self.is_regression else int)
        rows = [self.stimuli.names, self.classes, known.tolist(), self.splits]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def make_task(
    name: str,
    stimuli: StimulusSet,
    labels: Sequence[str | Iterable[str]],
    splits: Sequence[str],
    *,
    classes: Sequence[str] | None = None,
    metric: str = "accuracy",
    multilabel: bool = False,
    description: str = "",
    chroma: Sequence[int] | None = None,
    official: bool = False,
    stored: bool = False,
) -> Task:
    """Make a task of labels and splits, and check that it can be learned.

    Parameters
    ----------
    name : str
        Name of the task.
    stimuli : StimulusSet
        Its sounds.
    labels : sequence of str, or of iterables of str
        Class of every sound; several where `multilabel`.
    splits : sequence of str
        As in `Task`.
    classes : sequence of str, optional
        All classes in their order; by default those that occur, sorted.
    metric, multilabel, description, stored
        As in `Task`.
    chroma : sequence of int, optional
        Chroma of every class of `classes`.
    official : bool
        Whether splits are published ones, which stand as they are: then a class may lack training
        sounds.

    Returns
    -------
    Task
        The task.

    Raises
    ------
    ValueError
        If a label or a split is missing or unknown, a part is empty, there are fewer than two
        classes, or a class to be tested has no sound to learn it from.
    """
    if metric in REGRESSION:
        raise ValueError(f"task '{name}': {metric} scores ratings, not classes: take `ratings`")
    out = [stored and not split for split in splits]
    each = [
        () if gone else (label,) if isinstance(label, str) else tuple(label)
        for label, gone in zip(labels, out)
    ]
    single = zip(stimuli.names, each, out)
    if bad := [n for n, own, gone in single if not multilabel and not gone and len(own) != 1]:
        raise ValueError(
            f"task '{name}': sound '{bad[0]}' must have one label: complete or correct its row"
        )
    if bad := [n for n, own in zip(stimuli.names, each) if "" in own]:
        raise ValueError(f"task '{name}': sound '{bad[0]}' has no label: complete its row")
    known = tuple(classes) if classes else tuple(sorted({one for own in each for one in own}))
    if unknown := sorted({one for own in each for one in own} - set(known)):
        raise ValueError(
            f"task '{name}': label '{unknown[0]}' is not among the classes {', '.join(known[:9])}"
        )
    if len(known) < 2:
        raise ValueError(
            f"task '{name}' has one class ('{''.join(known)}'): a probe needs two at least"
        )
    place = {one: column for column, one in enumerate(known)}
    table = np.zeros((len(stimuli), len(known)), bool)
    for row, own in enumerate(each):
        table[row, [place[one] for one in own]] = True
    task = Task(
        name,
        stimuli,
        known,
        table,
        tuple(map(str, splits)),
        metric,
        multilabel,
        None if chroma is None else np.asarray(chroma),
        description,
        stored,
    )
    _check_splits(task)
    for part in task.partitions:
        _check_part(task, part, official)
    return task


def new_splits(labels: Sequence[str], *, seed: int = 0, name: str = "") -> list[str]:
    """Split sounds into three fifths to train, one to choose, one to test, class by class.

    Parameters
    ----------
    labels : sequence of str
        Class of every sound.
    seed : int
        Seed of the assignment.
    name : str
        Name of the task, for messages.

    Returns
    -------
    list of str
        ``train``, ``valid`` or ``test`` for every sound.

    Raises
    ------
    ValueError
        If a class has fewer than three members.
    """
    names, counts = np.unique(labels, return_counts=True)
    if counts.min() < len(SPLITS):
        few = names[counts.argmin()]
        raise ValueError(
            f"task '{name}': class '{few}' has {counts.min()} "
            f"member{'s' * int(counts.min() > 1)}, and training, choosing and testing need "
            "3: add sounds or remove the class"
        )
    found = np.full(len(labels), "train", dtype=object)
    rng = np.random.default_rng(seed)
    for own in names:
        rows = rng.permutation(np.flatnonzero(np.asarray(labels) == own))
        fifth = max(1, round(len(rows) / N_FOLDS))
        found[rows[:fifth]], found[rows[fifth : 2 * fifth]] = "test", "valid"
    return found.tolist()


def new_folds(labels: Sequence[str], *, seed: int = 0, name: str = "") -> list[str]:
    """Assign sounds to five folds, each class evenly.

    Parameters
    ----------
    labels, seed, name
        As in `new_splits`.

    Returns
    -------
    list of str
        ``fold0`` to ``fold4`` for every sound.

    Raises
    ------
    ValueError
        If a class has fewer than three members.
    """
    new_splits(labels, seed=seed, name=name)
    # Dealt out class after class like cards; a class of three or four is in as many folds.
    mixed = np.random.default_rng(seed).permutation(len(labels))
    dealt = mixed[np.argsort(np.asarray(labels)[mixed], kind="stable")]
    found = np.empty(len(labels), dtype=object)
    for place, row in enumerate(dealt):
        found[row] = f"fold{place % N_FOLDS}"
    return found.tolist()


def limited(
    labels: Sequence, splits: Sequence[str], limit: int | None, *, seed: int = 0
) -> list[int]:
    """Choose at most so many sounds of each split, class after class in turn, drawn by a seed.

    Parameters
    ----------
    labels, splits : sequence
        Of every sound; labels of any hashable kind.
    limit : int or None
        How many of each split; None for all.
    seed : int
        Seed of the choice.

    Returns
    -------
    list of int
        Places of the sounds, ascending.
    """
    kept: list[int] = []
    rng = np.random.default_rng(seed)
    for split in sorted(set(splits)):
        rows = np.flatnonzero(np.asarray(splits) == split)
        if limit is not None and len(rows) > limit:
            rows = rng.permutation(rows)
            seen: Counter = Counter()
            turns = []
            for row in rows.tolist():
                turns.append(seen[labels[row]])
                seen[labels[row]] += 1
            rows = rows[np.argsort(turns, kind="stable")][:limit]
        kept += rows.tolist()
    return sorted(kept)


def _check_splits(task: Task) -> None:
    names = set(task.splits) - ({""} if task.stored else set())
    if not names & set(SPLITS) and all(one.startswith("fold") for one in names):
        if len(names) < 3:
            raise ValueError(
                f"task '{task.name}' has {len(names)} folds: training, choosing and testing need 3"
            )
        return
    if unknown := sorted(names - set(SPLITS)):
        raise ValueError(
            f"task '{task.name}': unknown split '{unknown[0]}': use train, valid and test, or "
            "fold0, fold1 and so on"
        )
    if lacking := [name for name in SPLITS if name not in names]:
        raise ValueError(
            f"task '{task.name}' has no sound in its split '{lacking[0]}': it needs train, valid "
            "and test"
        )


def _check_part(task: Task, part: Partition, official: bool) -> None:
    for rows, _ in part.choices:
        if task.labels[rows].any(0).sum() < 2:
            raise ValueError(
                f"task '{task.name}': the training sounds are of one class: add others"
            )
    train, test = task.labels[part.choices[0][0]], task.labels[part.test]
    untaught = np.flatnonzero(test.any(0) & ~train.any(0))
    if len(untaught) and not official:
        own = task.labels[:, untaught[0]].sum()
        raise ValueError(
            f"task '{task.name}': class '{task.classes[untaught[0]]}' is tested but has no "
            f"training sound (it has {own} in all): add sounds or remove the class"
        )
