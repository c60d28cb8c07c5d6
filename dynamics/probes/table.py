"""The table of tasks. A further one is a function that returns a `Task`, and one line."""

from __future__ import annotations

from collections.abc import Callable

from dynamics.probes import folders, hear, ratings, spans
from dynamics.probes.task import Task
from dynamics.sounds import StimulusSet
from dynamics.tables import ArgumentError, Later, Table

TASKS: Table[Callable[..., Task]] = Table(
    "task",
    {
        "fsdd-digit": folders.fsdd_digit,
        "fsdd-speaker": folders.fsdd_speaker,
        "pitch-class": Later("dynamics.reference.tasks", "pitch_class"),
        "sound-category": Later("dynamics.reference.tasks", "sound_category"),
        "stimuli-category": folders.stimuli_category,
        "stimuli-label": spans.stimuli_label,
        "folder": folders.folder,
        "ratings": ratings.ratings,
        "hear": hear.hear,
        **{f"hear-{name}": hear.preset(folder) for name, folder in hear.PRESETS.items()},
    },
    filled=("stimuli",),
    shared={
        "probe": "ridge (default), logistic, knn or mlp",
        "mix": "whether all layers together are probed too (default: true)",
        "resamples": "resamples of a probe's score, an even number",
        "keep": "answers: the class that is answered to every test sound is kept",
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
    ArgumentError
        If the task does not take an argument, or needs one.
    """
    TASKS.check(name, arguments)
    if "stimuli" in TASKS.parameters(name):
        if stimuli is None:
            raise ArgumentError(f"task {name!r} needs `stimuli`, a stimulus set")
        arguments = {"stimuli": stimuli, **arguments}
    return TASKS[name](**arguments)
