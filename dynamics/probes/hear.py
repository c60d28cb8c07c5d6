"""Task folders of HEAR, the Holistic Evaluation of Audio Representations (arXiv 2203.03022).

What HEAR's preprocessing writes, and its evaluation kit reads, for a task of whole sounds::

    <task>/task_metadata.json   embedding_type "scene", prediction_type, evaluation, split_mode
    <task>/labelvocabulary.csv  idx,label
    <task>/train.json           {"<file>.wav": ["<label>", ...], ...}; likewise valid and test,
                                or fold00.json, fold01.json and so on
    <task>/48000/train/*.wav    the sounds, a folder a sampling rate and split

Event-detection tasks (embedding_type "event") need labels in time and are refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dynamics.probes.scoring import each_chroma
from dynamics.probes.task import SPLITS, Task, limited, make_task
from dynamics.sounds import StimulusSet
from dynamics.sounds.audio import duration, read_audio, spelled
from dynamics.sounds.labels import read_vocabulary

# The six tasks of Pepino et al. (2025, arXiv 2511.16849), by the folders that the study's own
# code downloads (mrpep/braindnn, scripts/download_data.py); its metrics (src/specs.py) are the
# first of each task's metadata.
PRESETS = {
    "esc50": "esc50-v2.0.0-full",
    "fsd50k": "fsd50k-v1.0-full",
    "nsynth-pitch": "nsynth_pitch-v2.2.3-50h",
    "speech-commands": "speech_commands-v0.0.2-full",
    "crema-d": "tfds_crema_d-1.0.0-full",
    "gtzan": "tfds_gtzan-1.0.0-full",
}
_METRICS = {"top1_acc": "accuracy", "pitch_acc": "pitch accuracy", "mAP": "mAP"}


def hear(*, path: str, limit: int | None = None, seed: int = 0) -> Task:
    """Make a task of a HEAR task folder, with its official splits or folds.

    Sounds are taken from the highest sampling rate that is there. The metric is the first of the
    metadata's `evaluation` (`top1_acc`, `pitch_acc` with `chroma_acc` beside it, or `mAP`). What
    differs from HEAR's own evaluation: its probe is a small network, its validation sounds never
    train, its mAP counts a class without test sounds, and with folds it chooses
    hyper-parameters once, by a fold that is tested next; here every test fold has its own.

    Parameters
    ----------
    path : str
        The folder that holds ``task_metadata.json``.
    limit : int, optional
        At most so many sounds of each split or fold, drawn by `seed`.
    seed : int
        Of that draw.

    Returns
    -------
    Task
        Named as in the metadata.

    Raises
    ------
    FileNotFoundError
        If the folder, or a file of the layout, is missing.
    ValueError
        If the task is of another kind (event detection, another metric), or a file does not have
        the layout's content.
    """
    root = Path(path).expanduser()
    metadata = _read(root / "task_metadata.json", root)
    name = str(metadata.get("task_name", root.name))
    if metadata.get("embedding_type") != "scene":
        raise ValueError(
            f"HEAR task '{name}' is of type {metadata.get('embedding_type')!r}: probes need a "
            "label a sound (type 'scene'), detection of events in time is not among them"
        )
    kind = metadata.get("prediction_type")
    if kind not in ("multiclass", "multilabel"):
        raise ValueError(f"HEAR task '{name}' predicts {kind!r}: multiclass or multilabel can be")
    wanted = list(metadata.get("evaluation") or ["top1_acc"])
    if wanted[0] not in _METRICS:
        raise ValueError(
            f"HEAR task '{name}' is scored by {wanted[0]!r}: there are {', '.join(_METRICS)}"
        )
    classes = _vocabulary(root / "labelvocabulary.csv", root)
    members = [
        (split, file, tuple(map(str, labels if isinstance(labels, list) else [labels])))
        for split in _splits(root)
        for file, labels in _read(root / f"{split}.json", root).items()
    ]
    every = [labels for _, _, labels in members]
    kept = limited(every, [split for split, _, _ in members], limit, seed=seed)
    members = [members[row] for row in kept]
    rate = _rate(root, name)
    files = [spelled(root / rate / split / file) for split, file, _ in members]
    if gone := [file for file in files if not file.is_file()]:
        raise FileNotFoundError(f"HEAR task '{name}': {gone[0]} is missing: complete the folder")
    stimuli = StimulusSet(
        name=name,
        names=tuple(f"{split}/{file}" for split, file, _ in members),
        categories=tuple(labels[0] if labels else "none" for _, _, labels in members),
        durations=np.array([duration(file) for file in files]),
        sources=tuple(partial(read_audio, file) for file in files),
    )
    return make_task(
        name,
        stimuli,
        [labels for _, _, labels in members],
        [split for split, _, _ in members],
        classes=classes,
        metric=_METRICS[wanted[0]],
        multilabel=kind == "multilabel",
        chroma=list(each_chroma(classes)) if "chroma_acc" in wanted else None,
        description=f"HEAR task {name}, official {'folds' if 'fold' in members[0][0] else 'split'}",
        official=True,
    )


def preset(folder: str) -> Callable[..., Task]:
    """Return a loader of one of the `PRESETS`.

    Parameters
    ----------
    folder : str
        Name of the task's folder.

    Returns
    -------
    callable
        Loads the task.
    """

    def load(*, root: str = "", limit: int | None = None, seed: int = 0) -> Task:
        """Load a task of HEAR from the folder of all of them.

        Parameters
        ----------
        root : str
            The folder of all tasks (default ``$DYNAMICS_DATA/hear``).
        limit, seed
            As in `hear`.
        """
        place = root or str(Path(os.environ.get("DYNAMICS_DATA", "")) / "hear")
        return hear(path=str(Path(place) / folder), limit=limit, seed=seed)

    return load


def _read(path: Path, root: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(
            f"{root} is not a HEAR task folder: it has no {path.name} (HEAR's archives of "
            "preprocessed tasks have one folder a task)"
        )
    from dynamics.checkpoints.sidecars import read_json
    from dynamics.filesystems import open_regular

    try:
        with open_regular(path) as file:
            content = read_json(file)
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}): unpack the archive again") from None
    if not isinstance(content, dict) or not content:
        raise ValueError(f"{path} must be a JSON object with entries: unpack the archive again")
    return content


def _vocabulary(path: Path, root: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"{root} is not a HEAR task folder: it has no {path.name}")
    return read_vocabulary(path)


def _splits(root: Path) -> list[str]:
    folds = sorted(file.stem for file in root.glob("fold*.json"))
    return folds or list(SPLITS)


def _rate(root: Path, name: str) -> str:
    rates = [place.name for place in root.iterdir() if place.is_dir() and place.name.isdecimal()]
    if not rates:
        raise FileNotFoundError(
            f"HEAR task '{name}': {root} has no folder of a sampling rate, such as 48000"
        )
    return max(rates, key=int)
