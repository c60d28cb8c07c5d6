"""The table of tasks. A further one is a function that returns a `Task`, and one line."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from dynamics.probes import folders, generated, hear
from dynamics.probes.task import Task
from dynamics.sounds import StimulusSet

TASKS: dict[str, Callable[..., Task]] = {
    "fsdd-digit": folders.fsdd_digit,
    "fsdd-speaker": folders.fsdd_speaker,
    "pitch-class": generated.pitch_class,
    "sound-category": generated.sound_category,
    "stimuli-category": folders.stimuli_category,
    "folder": folders.folder,
    "hear": hear.hear,
    **{f"hear-{name}": hear.preset(folder) for name, folder in hear.PRESETS.items()},
}


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
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}: there are {', '.join(TASKS)}")
    taken = inspect.signature(TASKS[name]).parameters
    if "stimuli" in taken:
        if stimuli is None:
            raise TypeError(f"task {name!r} needs `stimuli`, a stimulus set")
        arguments = {"stimuli": stimuli, **arguments}
    if unknown := [key for key in arguments if key not in taken]:
        raise TypeError(
            f"task {name!r} takes no argument {unknown[0]!r}: it takes {', '.join(taken)}"
        )
    needed = [key for key, own in taken.items() if own.default is inspect.Parameter.empty]
    if lacking := [key for key in needed if key not in arguments]:
        raise TypeError(f"task {name!r} needs the argument `{lacking[0]}`")
    return TASKS[name](**arguments)
