"""Choose some of a run's checkpoints."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dynamics.checkpoints.checkpoint import Checkpoint


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
