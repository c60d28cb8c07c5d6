"""Tasks of numbers: what a sound is rated as (valence, arousal), told by regression."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dynamics import sounds
from dynamics.probes.task import Task, limited, new_splits
from dynamics.sounds.audio import without_suffix
from dynamics.sounds.labels import rows

TABLE = "ratings.csv"
METRICS = ("r2", "pearson")


def ratings(
    *,
    path: str,
    columns: Sequence[str] | str = (),
    metric: str = "r2",
    limit: int | None = None,
    seed: int = 0,
) -> Task:
    """Predict ratings of any folder of audio files, such as valence and arousal.

    They come from a file ``ratings.csv`` in it, whose header has ``name``, a column a rating and,
    if there are official ones, ``split`` (train, valid, test, or folds). Without splits three
    fifths of the sounds train, one fifth chooses, one tests, drawn by `seed`. Kinds of probe are
    ``ridge`` and ``knn``, the mean of the neighbours' ratings.

    Parameters
    ----------
    path : str
        The folder.
    columns : sequence of str
        Which ratings; by default all.
    metric : {"r2", "pearson"}
        Variance explained, or Pearson r, mean over the ratings; a class score is of one of them.
    limit : int, optional
        At most so many sounds of each split, drawn by `seed`.
    seed : int
        Of splits and draws.

    Returns
    -------
    Task
        Named after the folder; a rating stands in the place of a class.

    Raises
    ------
    FileNotFoundError
        If the folder or its table is missing, or it holds no audio.
    ValueError
        If a sound has no row or a row no sound, a rating is no number, or there is no such column.
    """
    if metric not in METRICS:
        raise ValueError(f"ratings are scored by {' or '.join(METRICS)}, not by {metric!r}")
    root = Path(path).expanduser()
    stimuli = sounds.from_folder(root)
    table = root / TABLE
    if not table.is_file():
        raise FileNotFoundError(f"{root} has no {TABLE}: give name and a column a rating")
    header, *lines = [row for row in rows(table) if any(row)] or [[]]
    wanted = [columns] if isinstance(columns, str) else list(columns)
    names = wanted or [name for name in header if name not in ("name", "split")]
    if lacking := [name for name in ("name", *names) if name not in header]:
        raise ValueError(f"{table} has no column {lacking[0]!r}: there are {', '.join(header)}")
    if not names:
        raise ValueError(f"{table} has no column of ratings beside the names")
    found = {
        without_suffix(row[header.index("name")]): dict(zip(header, row, strict=False))
        for row in lines
    }
    if gone := [name for name in stimuli.names if name not in found]:
        raise ValueError(f"{table} has no row for the sound '{gone[0]}': complete it")
    if extra := [name for name in found if name not in set(stimuli.names)]:
        raise ValueError(f"{table} names '{extra[0]}', which is no sound of the folder")
    values = np.array(
        [[_number(found[name].get(key, ""), table, name, key) for key in names]
         for name in stimuli.names]
    )  # fmt: skip
    if flat := [key for key, column in zip(names, values.T) if np.ptp(column) == 0]:
        raise ValueError(f"{table}: all sounds have one {flat[0]!r}: leave the column out")
    title = root.resolve().name
    if "split" in header:
        splits = [found[name].get("split", "") for name in stimuli.names]
    else:
        splits = new_splits(["rated"] * len(stimuli), seed=seed, name=title)
    kept = limited(["rated"] * len(stimuli), splits, limit, seed=seed)
    task = Task(
        title,
        stimuli.subset(kept),
        tuple(names),
        values[kept],
        tuple(splits[row] for row in kept),
        metric,
        description=f"ratings of the folder {title}",
    )
    task.check_splits()
    return task


def _number(text: str, table: Path, name: str, key: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise ValueError(f"{table}: the {key!r} of '{name}' is {text!r}: write a number")
    return value
