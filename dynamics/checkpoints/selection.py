"""Choose some of a run's checkpoints, and what counts of a folder that is one and holds others."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dynamics.checkpoints.checkpoint import Checkpoint
from dynamics.checkpoints.formats import OWN_WEIGHTS
from dynamics.checkpoints.names import read_name
from dynamics.checkpoints.sidecars import read_json


def select(checkpoints: Sequence[Checkpoint], how: Any = "all") -> list[Checkpoint]:
    """Choose checkpoints by their steps.

    Parameters
    ----------
    checkpoints : sequence of Checkpoint
        Sorted by step, as `find` gives them.
    how : str, mapping or sequence of int
        ``"all"``; ``"every 5"`` or ``{"every": 5}``, each fifth in order of training with the
        first and the last; ``"log 20"`` or ``{"log": 20}``, twenty that are spaced evenly on a
        log axis, with step 0 and the last; ``"100-2000"`` or ``{"range": [100, 2000]}``, both ends
        included; a list of steps, or ``{"steps": [...]}``.

    Returns
    -------
    list of Checkpoint
        Sorted by step.

    Raises
    ------
    ValueError
        Where `how` is none of these, names a step that is not there, or chooses nothing.
    """
    kind, value = _parsed(how)
    checkpoints = sorted(checkpoints, key=lambda checkpoint: checkpoint.step)
    chosen = _RULES[kind](checkpoints, value)
    if not chosen:
        raise ValueError(f"the selection {how!r} leaves none of {len(checkpoints)} checkpoints")
    return chosen


def _all(checkpoints, _):
    return checkpoints


def _every(checkpoints, k):
    last = len(checkpoints) - 1
    return [c for number, c in enumerate(checkpoints) if number % k == 0 or number == last]


def _log(checkpoints, n):
    if n >= len(checkpoints):
        return checkpoints
    steps = np.array([checkpoint.step for checkpoint in checkpoints])
    positive = steps[steps > 0]
    start = [0] if steps[0] == 0 else []
    chosen = set(start)
    # Where two targets fall on one checkpoint, ask for more until there are n.
    for points in range(n - len(start), 50 * n + 1):
        targets = np.geomspace(positive[0], positive[-1], points) if points > 1 else positive[-1:]
        nearest = np.abs(np.log(positive)[:, None] - np.log(targets)[None]).argmin(0)
        found = set(start) | {int(step) for step in positive[nearest]}
        if len(found) > n:
            break
        chosen = found
        if len(chosen) == n:
            break
    return [checkpoint for checkpoint in checkpoints if checkpoint.step in chosen]


def _range(checkpoints, ends):
    low, high = ends
    return [checkpoint for checkpoint in checkpoints if low <= checkpoint.step <= high]


def _steps(checkpoints, steps):
    there = {checkpoint.step: checkpoint for checkpoint in checkpoints}
    for step in steps:
        if step not in there:
            nearest = min(there, key=lambda other: abs(other - step))
            raise ValueError(f"there is no checkpoint of step {step}: the nearest is {nearest}")
    return [there[step] for step in sorted(set(steps))]


_RULES = {"all": _all, "every": _every, "log": _log, "range": _range, "steps": _steps}


def _parsed(how: Any) -> tuple[str, Any]:
    if isinstance(how, Mapping) and len(how) == 1:
        ((kind, value),) = how.items()
    elif isinstance(how, str):
        kind, value = _parsed_text(how.strip())
    elif isinstance(how, Sequence):
        kind, value = "steps", list(how)
    else:
        kind, value = "", None
    whole = isinstance(value, int) and not isinstance(value, bool) and value > 0
    listed = isinstance(value, (list, tuple)) and all(isinstance(step, int) for step in value)
    fits = {
        "all": True,
        "every": whole,
        "log": whole,
        "range": listed and len(value or ()) == 2,
        "steps": listed and bool(value),
    }
    if not fits.get(kind, False):
        raise ValueError(
            f"the selection {how!r} is not understood: write all, every 5, log 20, 100-2000, or a "
            "list of steps"
        )
    return kind, value


def _parsed_text(text: str) -> tuple[str, Any]:
    if text == "all":
        return "all", None
    counted = re.fullmatch(r"(every|log)[ :=](\d+)", text)
    if counted:
        return counted[1], int(counted[2])
    ends = re.fullmatch(r"(\d+)\s*(?:-|\.\.|:)\s*(\d+)", text)
    if ends:
        return "range", [int(ends[1]), int(ends[2])]
    if re.fullmatch(r"\d+(\s*,\s*\d+)*", text):
        return "steps", [int(step) for step in text.split(",")]
    return "", None


logger = logging.getLogger(__name__)


def belongs(name: str, is_file: bool) -> bool:
    """Tell whether an entry of such a folder is a part of its own network.

    Parameters
    ----------
    name : str
        Of a file or folder inside it.
    is_file : bool
        Whether it is a file.

    Returns
    -------
    bool
        True for its weights and for files whose name does not say that it is of a step.
    """
    return is_file and (bool(OWN_WEIGHTS.fullmatch(name)) or not read_name(name).told)


def beside(
    itself: Checkpoint | None, inner: list[Checkpoint], kind: str, *, best: Callable[[], str]
) -> list[Checkpoint]:
    """Decide what a folder and the checkpoints in it come to.

    The weights at the root are the last ones, or the best ones where the training loop went back
    to them: they stand for a step only where nothing in the folder does.

    Parameters
    ----------
    itself : Checkpoint or None
        The folder as a checkpoint; None where it is none or states no step.
    inner : list of Checkpoint
        What is in it.
    kind : str
        Format of the folder itself; empty where it is no checkpoint.
    best : callable
        Gives the checkpoint that the training loop says is the best, or an empty string.

    Returns
    -------
    list of Checkpoint
        Those to use.
    """
    if kind:  # a subfolder such as ``2_Dense`` is a part of the network
        inner = [c for c in inner if c.known_by == "inside" or read_name(_last(c.uri)).told]
    if itself is None or not inner:
        return [*inner, *([itself] if itself else [])]
    own = read_name(_last(itself.uri))
    if own.told and own.step == itself.step:  # checkpoint-500 with what its optimiser needs
        return [itself]
    if any(c.step == itself.step for c in inner):
        logger.info("%s: the weights at its root are left out", itself.uri)
        return inner
    chosen = best()
    if chosen and _last(chosen) != f"checkpoint-{itself.step}":
        logger.warning(
            "%s is left out: the weights at its root may be those of %r, the best of the run",
            itself.uri,
            chosen,
        )
        return inner
    return [*inner, itself]


def own(path: Path, inside: int | None, given: int | None) -> tuple[str, str]:
    """Say which place and name a local checkpoint goes by.

    Parameters
    ----------
    path : Path
        As it was found.
    inside, given : int or None
        The step that it states, and the one that the user does.

    Returns
    -------
    uri : str
        Where it is; the target of a link such as ``latest``, where that alone has a step in its
        name, so that the link may point elsewhere later.
    name : str
        Where its name is read.
    """
    if given is None and inside is None and path.is_symlink() and not read_name(path.name).steps:
        target = path.resolve()
        if read_name(target.name).steps:
            return str(target), target.name
    return str(path), path.name


def best_named(file: BinaryIO) -> str:
    """Return the folder that a ``trainer_state.json`` names as the best, or an empty string."""
    try:
        state = read_json(file)
    except ValueError:
        return ""
    best = state.get("best_model_checkpoint") if isinstance(state, dict) else None
    return best if isinstance(best, str) else ""


def _last(uri: str) -> str:
    return uri.rstrip("/").rpartition("/")[2]
