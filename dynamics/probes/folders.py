"""Tasks of recordings: spoken digits, any folder with labels, the sweep's own stimuli."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from dynamics import sounds
from dynamics.probes.task import Task, limited, make_task, new_folds, new_splits
from dynamics.sounds import StimulusSet
from dynamics.sounds.copies import names_of_copies
from dynamics.sounds.labels import read_labels

logger = logging.getLogger(__name__)


def fsdd_digit(*, limit: int | None = None, seed: int = 0) -> Task:
    """Tell ten spoken digits apart (Free Spoken Digit Dataset, doi:10.5281/zenodo.1342401).

    The data set's own test set: takes 0 to 4 of every speaker and digit. Of the others takes 5 to 9
    choose and the rest trains.

    Parameters
    ----------
    limit : int, optional
        At most so many sounds of each split, drawn by `seed`.
    seed : int
        Of that draw.

    Returns
    -------
    Task
        10 classes.
    """
    return _fsdd("digit", 0, limit, seed)


def fsdd_speaker(*, limit: int | None = None, seed: int = 0) -> Task:
    """Tell the speakers of spoken digits apart; splits as in `fsdd_digit`, so by recording.

    Parameters
    ----------
    limit, seed
        As in `fsdd_digit`.

    Returns
    -------
    Task
        6 classes.
    """
    return _fsdd("speaker", 1, limit, seed)


def folder(
    *,
    path: str,
    multilabel: bool = False,
    metric: str = "",
    separator: str = ";",
    limit: int | None = None,
    seed: int = 0,
) -> Task:
    """Make a task of any folder of audio files.

    Classes and splits come from a file ``labels.csv`` in it, with the columns name, label and
    split (the last is optional, and so is the header); without it every subfolder is a class.
    Without splits three fifths of every class train, one fifth chooses, one tests, drawn by `seed`.

    Parameters
    ----------
    path : str
        The folder.
    multilabel : bool
        Whether a label is several, separated by `separator`; then splits must be given.
    metric : str
        A name in `dynamics.probes.scoring.METRICS`; by default accuracy, or mAP with `multilabel`.
    separator : str
        Between labels.
    limit : int, optional
        At most so many sounds of each split, drawn by `seed`.
    seed : int
        Of splits and draws.

    Returns
    -------
    Task
        Named after the folder.

    Raises
    ------
    FileNotFoundError
        If the folder is missing or holds no audio.
    ValueError
        If a sound has no label, a row no sound, or as for `make_task`.
    """
    root = Path(path).expanduser()
    stimuli = sounds.from_folder(root)
    table = root / "labels.csv"
    if table.exists():
        rows = read_labels(table)
        if extra := [name for name in rows if name not in set(stimuli.names)]:
            raise ValueError(f"{table} names '{extra[0]}', which is no sound of the folder")
        labels = [rows[name].category for name in stimuli.names]
        splits: Sequence[str] = [rows[name].split for name in stimuli.names]
        if any(splits) and not all(splits):
            gap = next(name for name, split in zip(stimuli.names, splits) if not split)
            raise ValueError(f"{table}: sound '{gap}' has no split: complete the column")
    else:
        labels, splits = list(stimuli.categories), [""] * len(stimuli)
        if sounds.UNLABELLED in labels:
            gap = stimuli.names[labels.index(sounds.UNLABELLED)]
            raise ValueError(
                f"sound '{gap}' of {root} has no label: put it into a folder named after its "
                "class, or write labels.csv (name,label,split)"
            )
    each = [tuple(filter(None, label.split(separator))) for label in labels]
    name = root.resolve().name
    if not any(splits):
        if multilabel:
            raise ValueError(
                f"task '{name}': with several labels a sound give splits, as a third column of "
                f"{table}"
            )
        splits = new_splits(labels, seed=seed, name=name)
        splits = _with_copies(splits, stimuli, name)
    else:
        _warn_of_copies(splits, stimuli, name)
    kept = limited(labels, splits, limit, seed=seed)
    return make_task(
        name,
        stimuli.subset(kept),
        [each[row] if multilabel else labels[row] for row in kept],
        [splits[row] for row in kept],
        metric=metric or ("mAP" if multilabel else "accuracy"),
        multilabel=multilabel,
        description=f"labels of the folder {name}",
    )


def stimuli_category(*, stimuli: StimulusSet, seed: int = 0) -> Task:
    """Tell the categories of the sweep's own stimuli apart, from the activations in the store.

    Five stratified folds: each tests once, the others choose by leaving each out once.

    Parameters
    ----------
    stimuli : StimulusSet
        The sweep's stimuli.
    seed : int
        Seed of the folds.

    Returns
    -------
    Task
        One class a category.

    Raises
    ------
    ValueError
        If a category has fewer than three members, or there is one category only.
    """
    name = "stimuli-category"
    folds = new_folds(stimuli.categories, seed=seed, name=name)
    folds = _with_copies(folds, stimuli, name)
    text = f"category of the stimuli {stimuli.name}, five stratified folds"
    return make_task(
        name, stimuli, stimuli.categories, folds, description=text, official=True, stored=True
    )


def _fsdd(what: str, part: int, limit: int | None, seed: int) -> Task:
    stimuli = sounds.fsdd()
    # <digit>_<speaker>_<take>
    parts = [name.split("_") for name in stimuli.names]
    takes = [int(own[2]) for own in parts]
    splits = ["test" if take < 5 else "valid" if take < 10 else "train" for take in takes]
    kept = limited([own[part] for own in parts], splits, limit, seed=seed)
    return make_task(
        f"fsdd-{what}",
        stimuli.subset(kept),
        [parts[row][part] for row in kept],
        [splits[row] for row in kept],
        description=f"{what} of spoken digits; takes 0 to 4 test, 5 to 9 choose, the others train",
    )


def _with_copies(splits: Sequence[str], stimuli: StimulusSet, name: str) -> list[str]:
    """Put copies of a sound into the split of the first of them."""
    place = {each: row for row, each in enumerate(stimuli.names)}
    found = list(splits)
    for group in names_of_copies(stimuli):
        logger.warning(
            "task '%s': %s are the same recording, or nearly: they are kept in one split",
            name, " and ".join(group[:2]),
        )  # fmt: skip
        for each in group[1:]:
            found[place[each]] = found[place[group[0]]]
    return found


def _warn_of_copies(splits: Sequence[str], stimuli: StimulusSet, name: str) -> None:
    split = dict(zip(stimuli.names, splits))
    for group in names_of_copies(stimuli):
        if len({split[each] for each in group}) > 1:
            logger.warning(
                "task '%s': %s are the same recording, or nearly, and are in different splits: "
                "scores are too high",
                name, " and ".join(group[:2]),
            )  # fmt: skip
