"""The table of tasks. A further one is a function that returns a `Task`, and one line."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from dynamics.probes import folders, generated, hear
from dynamics.probes.task import Task
from dynamics.sounds import StimulusSet
from dynamics.tables import Table

TASKS: Table[Callable[..., Task]] = Table(
    "task",
    {
        "fsdd-digit": folders.fsdd_digit,
        "fsdd-speaker": folders.fsdd_speaker,
        "pitch-class": generated.pitch_class,
        "sound-category": generated.sound_category,
        "stimuli-category": folders.stimuli_category,
        "folder": folders.folder,
        "hear": hear.hear,
        **{f"hear-{name}": hear.preset(folder) for name, folder in hear.PRESETS.items()},
    },
    filled=("stimuli",),
    shared={
        "probe": "ridge (default), logistic or mlp",
        "mix": "whether all layers together are probed too (default: true)",
        "resamples": "resamples of a probe's score, an even number",
    },
)


def load(name: str, *, stimuli: StimulusSet | None = None, **arguments) -> Task:
    """Load a task by name.

    Parameters
    ----------
    name : str
        A name in `TASKS`.
    stimuli : StimulusSet, optional
        The sweep's stimuli, for ``"stimuli-category"``.
    **arguments
        For the task.

    Returns
    -------
    Task
        Its sounds are decoded when they are asked for.

    Raises
    ------
    ValueError
        If there is no such task, or its data cannot be learned from.
    TypeError
        If the task does not take an argument, or needs one.
    """
    taken = check_arguments(name, arguments)
    if "stimuli" in taken:
        if stimuli is None:
            raise TypeError(f"task {name!r} needs `stimuli`, a stimulus set")
        arguments = {"stimuli": stimuli, **arguments}
    return TASKS[name](**arguments)


def check_arguments(name: str, given: Mapping[str, Any]) -> Mapping[str, inspect.Parameter]:
    """Find what a task would not take, before its data are looked at.

    Parameters
    ----------
    name : str
        A name in `TASKS`.
    given : mapping
        Arguments for it by name, without `stimuli`.

    Returns
    -------
    mapping of str to inspect.Parameter
        What it takes.

    Raises
    ------
    ValueError, TypeError
        As of `load`.
    """
    taken = TASKS.parameters(name)
    if unknown := [key for key in given if key not in taken]:
        raise TypeError(
            f"task {name!r} takes no argument {unknown[0]!r}: it takes {', '.join(taken)}"
        )
    needed = [key for key, own in taken.items() if own.default is inspect.Parameter.empty]
    if lacking := [key for key in needed if key not in given and key != "stimuli"]:
        raise TypeError(f"task {name!r} needs the argument `{lacking[0]}`")
    return taken
