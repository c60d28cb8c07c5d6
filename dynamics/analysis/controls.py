"""Control features of the stimuli over time: from files, or of models without weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dynamics import brains, models, sounds
from dynamics.config import Choice, Sweep
from dynamics.extraction import extract, hearing, poolings
from dynamics.sounds.audio import without_suffix

Course = tuple[np.ndarray, np.ndarray]
"""Features (n, t, q) of all stimuli of a sweep, NaN past an end, and their times (t,)."""


def entries(given: Any, what: str = "controls") -> list[Choice]:
    """Read the entries of a list of controls: names, or mappings with `name` and `arguments`.

    Parameters
    ----------
    given : object
        What a sweep says.
    what : str
        How the list is called.

    Returns
    -------
    list of Choice
        In order, with labels that differ.

    Raises
    ------
    ValueError
        If it is no list of such entries, or two have one label.
    """
    if not isinstance(given, (list, tuple)) or not given:
        raise ValueError(f"{what} is {given!r}: give a list of files or models, at least one")
    found = []
    for each in given:
        content = {"name": each} if isinstance(each, str) else each
        if not isinstance(content, Mapping) or not isinstance(content.get("name"), str):
            raise ValueError(
                f"{what} has an entry {each!r}: give a name, or {{name: ..., arguments: {{...}}}}"
            )
        if unknown := set(content) - {"name", "label", "arguments"}:
            raise ValueError(f"an entry of {what} has an unknown key {min(map(str, unknown))!r}")
        found.append(Choice(**content))
    labels = [each.label for each in found]
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise ValueError(f"{what} names {twice[0]!r} twice: give one a `label` of its own")
    return found


def check(choice: Choice, names: list[str]) -> None:
    """Find out whether there is such a file or model; no sound is heard.

    Parameters
    ----------
    choice : Choice
        The control.
    names : list of str
        Stimuli that a file must have.

    Raises
    ------
    ValueError, TypeError, FileNotFoundError
        If there is none, it does not take an argument, or a file lacks a stimulus or a time axis.
    """
    if choice.is_file:
        _of_file(choice, names)
    else:
        models.check_arguments(choice.name, choice.arguments)


def course(choice: Choice, sweep: Sweep, stimuli: sounds.StimulusSet | None = None) -> Course:
    """Return features over time of all stimuli of a sweep.

    Parameters
    ----------
    choice : Choice
        A file of one array of shape (times, features) a stimulus (``.npz``, with the argument
        `rate`), or of a target over time (``.nc``, ``.zarr``); or a model without weights, of which
        the last layer is taken with the sweep's pooling.
    sweep : Sweep
        The sweep.
    stimuli : StimulusSet, optional
        Its stimuli; by default they are loaded.

    Returns
    -------
    Course
        Features and times.

    Raises
    ------
    ValueError
        If a stimulus has no features, or these have no time axis.
    """
    if stimuli is None:
        stimuli = sounds.load(sweep.stimuli.name, **sweep.stimuli.arguments)
    if choice.is_file:
        return _of_file(choice, list(stimuli.names))
    pooling = poolings.make(sweep.pooling.name, **sweep.pooling.arguments)
    last = last_layer(choice, sweep, stimuli, pooling)
    return last, pooling.centres(last.shape[1])


def last_layer(
    choice: Choice, sweep: Sweep, stimuli: sounds.StimulusSet, pooling: poolings.Pooling
) -> np.ndarray:
    """Return what the last layer of a model without weights makes of stimuli.

    Parameters
    ----------
    choice : Choice
        The model.
    sweep : Sweep
        The sweep; long sounds are heard through the model's own windows, unless it wants none.
    stimuli : StimulusSet
        Its stimuli.
    pooling : Pooling
        What is kept of the frames.

    Returns
    -------
    array of shape (n_stimuli, n_features) or (n_stimuli, n_times, n_features)
        float32.
    """
    features = extract.features if sweep.windows == "none" else hearing.features
    layers = features(choice.name, stimuli, pooling=pooling, **choice.arguments)
    return layers[list(layers)[-1]]


def _read(choice: Choice) -> Any:
    arguments = dict(choice.arguments)
    if Path(choice.name).suffix == ".npz" and arguments:
        return brains.load("trials", path=choice.name, **arguments)
    return brains.load(choice.name, **arguments)


def _of_file(choice: Choice, names: list[str]) -> Course:
    data = _read(choice)
    response = data["response"]
    if "time" not in response.dims or data.sizes["time"] < 2:
        raise ValueError(
            f"features in '{choice.name}' have no time axis: write (times, features) for each "
            "stimulus"
        )
    if "repetition" in response.dims:
        response = response.mean("repetition")
    there = [without_suffix(str(name)) for name in data["stimulus"].to_numpy()]
    wanted = [without_suffix(name) for name in names]
    if lacking := [name for name in wanted if name not in there]:
        raise ValueError(
            f"'{choice.name}' has no features of stimulus '{lacking[0]}' ({len(lacking)} in all): "
            "write them, or leave the stimuli out"
        )
    values = response.transpose("stimulus", "time", "neuroid").to_numpy().astype(float)
    rows = [there.index(name) for name in wanted]
    return values[rows], data["time"].to_numpy().astype(float)
