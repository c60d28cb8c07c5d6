"""Tasks of the labels of parts of recordings: which word, phone or speaker is heard."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from dynamics.probes.task import N_FOLDS, Task, make_task
from dynamics.sounds import StimulusSet

logger = logging.getLogger(__name__)

# Training, choosing and testing are of different recordings.
_LEAST_FOLDS = 3


def stimuli_label(*, stimuli: StimulusSet, label: str, least: int = 3) -> Task:
    """Tell words, phones or speakers apart: the labels of parts of recordings in the store.

    Up to five folds of whole recordings, as alike in size as can be; of fewer than three
    recordings, five stretches of consecutive parts. Each fold tests once, the others choose by
    leaving each out once. Classes of few parts, or of parts in few folds, are left out.

    Parameters
    ----------
    stimuli : StimulusSet
        The sweep's stimuli, with `events`.
    label : str
        Column of the events, or tier: ``word``, ``phone``, ``speaker``.
    least : int
        Parts that a class must have, in three folds at least.

    Returns
    -------
    Task
        One class a label; parts without one are left out.

    Raises
    ------
    ValueError
        If the stimuli are no parts of recordings, there is no such label, or no two classes are
        left.
    """
    within = stimuli.within
    if within is None:
        raise ValueError(
            f"stimuli '{stimuli.name}' are whole sounds, which have no labels of parts: give them "
            "`events`, or use the task stimuli-category"
        )
    if label not in within.labels:
        there = ", ".join(within.labels) or "none"
        raise ValueError(f"the events have no label '{label}': there are {there}")
    own = np.array(within.labels[label])
    folds, how = _folds(within.recording)
    found = np.unique(own[own != ""])
    kept = [
        one
        for one in found
        if (own == one).sum() >= least and len(set(folds[own == one])) >= _LEAST_FOLDS
    ]
    if len(kept) < 2:
        raise ValueError(
            f"label '{label}' has no two classes of at least {least} parts in {_LEAST_FOLDS} folds "
            f"({how}): add recordings, or take a label of fewer classes"
        )
    used = np.isin(own, kept)
    text = f"{label} of parts of the recordings {stimuli.name}, {how}"
    if len(kept) < len(found):
        text += (
            f"; {len(found) - len(kept)} of {len(found)} classes ({(~used).sum()} of {len(own)} "
            "parts) are left out, which are too few"
        )
    return make_task(
        f"stimuli-label-{label}",
        stimuli,
        own.tolist(),
        np.where(used, folds, "").tolist(),
        classes=[str(one) for one in kept],
        description=text,
        official=True,
        stored=True,
    )


def _folds(recording: Sequence[int] | np.ndarray) -> tuple[np.ndarray, str]:
    """Return the fold of each part, and in words how they were made."""
    rows, counts = np.unique(recording, return_counts=True)
    if len(rows) < _LEAST_FOLDS:
        order = np.argsort(recording, kind="stable")
        folds = np.empty(len(order), object)
        for number, stretch in enumerate(np.array_split(order, N_FOLDS)):
            folds[stretch] = f"fold{number}"
        return folds, f"{N_FOLDS} folds of stretches of consecutive parts"
    sizes = np.zeros(min(N_FOLDS, len(rows)))
    fold_of = {}
    for place in np.argsort(-counts, kind="stable"):  # the largest first, into the emptiest fold
        fold = int(sizes.argmin())
        sizes[fold] += counts[place]
        fold_of[rows[place]] = f"fold{fold}"
    found = np.array([fold_of[row] for row in recording], object)
    return found, f"{len(sizes)} folds of whole recordings"
