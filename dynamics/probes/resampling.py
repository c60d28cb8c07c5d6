"""What other sounds would have done to a score: probes refitted on halves, test sounds redrawn.

The score of a probe is uncertain for the sounds that test it and for those that train it. Redrawing
the test sounds says nothing of the second, which is most of it where few sounds train: in
simulations with 64 sounds to learn from and 400 to be tested by, such intervals of 95 % held the
truth in 74 to 82 %, those of refitted halves in 92 to 97 % (86 to 94 with the penalty left alone).
So probes that can be refitted a few times are fitted anew, penalty and all, on complementary halves
of the sounds. The two of a pair have no sound in common, so that half of their squared difference
is the variance of half as many sounds, and half of that the variance of all. Parts of one recording
are not independent of each other: halves, or draws, are of whole recordings then, or of stretches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dynamics.brains.neighbours import Together, of_parts
from dynamics.emergence.resampling import Scheme
from dynamics.probes.fitting import Fit, Partition, Settings, decide, fit
from dynamics.probes.scoring import METRICS, bootstrap_counts
from dynamics.probes.task import Task

HALVES, BOOTSTRAP = "halves", "bootstrap"
DEFAULT = 20
_HELD = ("logistic",)
_TEXT = {
    "halves": "complementary halves of the sounds, penalty chosen and probe fitted on each of them",
    "halves, penalty held": "complementary halves of the sounds, probe fitted on each of them "
    "with the penalty chosen on all",
    "bootstrap": "bootstrap of test sounds within every test set, probes held fixed",
}


@dataclass(frozen=True)
class Resamples:
    """How scores are computed again.

    Attributes
    ----------
    counts : array of shape (resamples, n)
        How often each sound of a task counts; for halves 0 or 1, with rows 2 k and 2 k + 1
        complementary.
    halves : bool
        Whether probes are fitted again.
    held : bool
        Whether they keep the penalty that was chosen on all sounds.
    units : str
        What halves and draws keep together, in the plural; empty where sounds are independent.
    limit : int
        How many of these there are, less one; 0 where sounds are independent.
    """

    counts: np.ndarray
    halves: bool
    held: bool = False
    units: str = ""
    limit: int = 0

    @property
    def method(self) -> str:
        """Name of the method: in the identity of results."""
        return f"{self._way} of {self.units}" if self.units else self._way

    @property
    def _way(self) -> str:
        return (f"{HALVES}, penalty held" if self.held else HALVES) if self.halves else BOOTSTRAP

    @property
    def attrs(self) -> dict[str, Any]:
        """Attributes of resampled scores: what they are over, and what errors follow from them."""
        text = _TEXT[self._way]
        return {
            "method": f"{text}; of {self.units}, which are kept whole" if self.units else text,
            "over": "sounds (probe refitted)" if self.halves else "test sounds",
            **Scheme(paired=self.halves, limit=float(self.limit)).attrs,
        }


def draw(task: Task, kind: str, resamples: int = DEFAULT, *, seed: int = 0) -> Resamples:
    """Draw resamples of a task's sounds, the same for all steps and layers.

    Parameters
    ----------
    task : Task
        The task.
    kind : str
        A name in `dynamics.probes.PROBES`. A small neural network takes too long to be fitted
        again and again: ``"mlp"`` gets a bootstrap of the test sounds, and so do tasks with too
        few sounds to be halved.
    resamples : int
        How many, an even number; 0 for none.
    seed : int
        Seed of the draws.

    Returns
    -------
    Resamples
        The resamples.

    Raises
    ------
    ValueError
        As of `check_number`.
    """
    check_number(resamples)
    own = _units(task)
    called, limit = ("", 0) if own is None else (own.called, int(own.unit.max()))
    if kind != "mlp":
        inside = (
            _halves(task, resamples, seed)
            if own is None
            else _halves_of_units(task, resamples, seed, own.unit)
        )
        if all(_can_be_learned(task, part, half) for half in inside for part in task.partitions):
            return Resamples(inside.astype(float), True, kind in _HELD, called, limit)
    tested, n = [part.test for part in task.partitions], len(task.splits)
    if own is None:
        counts = bootstrap_counts(tested, n=n, resamples=resamples, seed=seed)
    else:
        # Of the units in each test set, so that each is drawn with all its parts.
        counts, rng = np.zeros((resamples, n)), np.random.default_rng(seed)
        for rows in tested:
            there, place = np.unique(own.unit[rows], return_inverse=True)
            drawn = rng.multinomial(len(there), np.full(len(there), 1 / len(there)), resamples)
            counts[:, rows] = drawn[:, place.ravel()]
    return Resamples(counts, False, False, called, limit)


def _units(task: Task) -> Together | None:
    """Find what halves of a task keep together, a unit for every sound; those left out have 0."""
    within, splits = task.stimuli.within, np.array(task.splits)
    used = np.flatnonzero(splits != "")
    if within is None or not task.stored:
        return None
    folds = np.unique(splits[used], return_inverse=True)[1].ravel()
    found = of_parts(np.asarray(within.recording)[used], np.asarray(within.onset)[used], folds)
    if found is None:
        return None
    unit = np.zeros(len(splits), int)
    unit[used] = found.unit
    return found._replace(unit=unit)


def check_number(resamples: object) -> None:
    """Check a number of resamples.

    Parameters
    ----------
    resamples : object
        What the user gave.

    Raises
    ------
    ValueError
        If it is odd, negative or no number.
    """
    if not isinstance(resamples, int) or resamples < 0 or resamples % 2:
        raise ValueError(
            "halves of a task's sounds come in pairs: `resamples` must be an even number or 0, "
            f"not {resamples!r}"
        )


def rescore(
    spaces: Sequence[np.ndarray],
    task: Task,
    fits: Sequence[Fit],
    resamples: Resamples,
    settings: Settings,
) -> np.ndarray:
    """Score resamples of a task's sounds.

    Parameters
    ----------
    spaces : sequence of array of shape (n, p)
        Activations, one space for each of the task's partitions.
    task : Task
        The task.
    fits : sequence of Fit
        The probe of every partition, on all sounds.
    resamples : Resamples
        What `draw` returned.
    settings : Settings
        How probes are fitted.

    Returns
    -------
    array of shape (resamples,)
        Mean over partitions.
    """
    parts, metric = task.partitions, METRICS[task.metric]
    if not resamples.halves:
        scores = [
            metric(own.decision, task.labels[part.test], resamples.counts[:, part.test])
            for own, part in zip(fits, parts, strict=True)
        ]
        return np.mean(scores, axis=0)

    def score(half: np.ndarray, X: np.ndarray, part: Partition, own: Fit) -> float:
        inside = _within(part, half)
        if resamples.held:
            decision = decide(X, task.labels, inside, own.value, settings)
        else:
            decision = fit(X, task.labels, inside, settings).decision
        return metric(decision, task.labels[inside.test], np.ones((1, len(inside.test))))[0]

    return np.array(
        [
            np.mean([score(half, *each) for each in zip(spaces, parts, fits, strict=True)])
            for half in resamples.counts > 0
        ]
    )


def _halves(task: Task, resamples: int, seed: int) -> np.ndarray:
    """Halves (resamples, n), two by two, of every split and in it of every class.

    Sounds are dealt to the two sides like cards, class after class in a random order; of several
    classes of one sound its rarest counts.
    """
    rng, n = np.random.default_rng(seed), len(task.splits)
    _, split = np.unique(task.splits, return_inverse=True)
    sizes = np.zeros(1) if task.is_regression else task.labels.sum(0)
    rarest = np.zeros(n, int)
    if not task.is_regression:
        rarest = np.where(task.labels, sizes, n + 1).argmin(1)
    inside = np.zeros((resamples, n), bool)
    for first in range(0, resamples, 2):
        turn = rng.permutation(len(sizes))
        order = np.lexsort((rng.random(n), turn[rarest], split))
        inside[first, order] = np.arange(n) % 2 == rng.integers(2)
        inside[first + 1] = ~inside[first]
    return inside


def _halves_of_units(task: Task, resamples: int, seed: int, unit: np.ndarray) -> np.ndarray:
    """Halves (resamples, n), two by two, of whole units, dealt split after split."""
    rng, splits = np.random.default_rng(seed), np.array(task.splits)
    used = splits != ""
    names, first, size = np.unique(unit[used], return_index=True, return_counts=True)
    split = np.unique(splits[used][first], return_inverse=True)[1].ravel()
    inside = np.zeros((resamples, len(splits)), bool)
    for number in range(0, resamples, 2):
        side = np.empty(int(names.max()) + 1, bool)
        for own in np.unique(split):
            # The two of like size go to either side, so that halves are of like size as well.
            rows = np.flatnonzero(split == own)
            rows = rows[np.lexsort((rng.random(len(rows)), -size[rows]))]
            flips = np.repeat(rng.random(-(-len(rows) // 2)) < 0.5, 2)[: len(rows)]
            side[names[rows]] = (np.arange(len(rows)) % 2 == 1) ^ flips
        inside[number] = side[unit] & used
        inside[number + 1] = ~side[unit] & used
    return inside


def _within(part: Partition, half: np.ndarray) -> Partition:
    choices = tuple((train[half[train]], valid[half[valid]]) for train, valid in part.choices)
    return Partition(choices, part.train[half[part.train]], part.test[half[part.test]])


def _can_be_learned(task: Task, part: Partition, half: np.ndarray) -> bool:
    inside = _within(part, half)
    if task.is_regression:
        least = min(len(rows) for rows in (inside.test, *(valid for _, valid in inside.choices)))
        return least > 2 and all(len(train) > 2 for train, _ in inside.choices)
    return len(inside.test) > 0 and all(
        len(valid) > 0 and task.labels[train].any(0).sum() > 1 for train, valid in inside.choices
    )
