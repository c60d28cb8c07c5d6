"""Parts of recordings as stimuli: words, phones, sentences, trials, with what comes before them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from dynamics.sounds.events import Event


@dataclass(frozen=True, eq=False)
class Within:
    """Where the stimuli of a set are in longer recordings, which a network hears whole.

    Attributes
    ----------
    recordings : StimulusSet
        The recordings.
    recording : ndarray of shape (n_stimuli,), int
        Place of each stimulus's recording.
    onset, duration : ndarray of shape (n_stimuli,)
        Seconds.
    labels : mapping of str to tuple of str
        What is said of each stimulus, by column: word, phone, speaker and the like.
    """

    recordings: Any
    recording: np.ndarray = field(repr=False)
    onset: np.ndarray = field(repr=False)
    duration: np.ndarray = field(repr=False)
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    def digest(self, names: Sequence[str]) -> str:
        """Return SHA-256 over the recordings, and names and places of the stimuli."""
        total = hashlib.sha256(self.recordings.digest.encode())
        places = zip(self.recording.tolist(), self.onset.tolist(), self.duration.tolist())
        for name, (row, onset, duration) in zip(names, places):
            where = self.recordings.names[row]
            total.update(f"{name}\0{where}\0{onset!r}\0{duration!r}\0".encode())
        return total.hexdigest()

    def subset(self, rows: Sequence[int]) -> Within:
        """Return where some of the stimuli are, in the recordings of these."""
        at = np.asarray(rows, int)
        used, recording = np.unique(self.recording[at], return_inverse=True)
        labels = {key: tuple(column[row] for row in rows) for key, column in self.labels.items()}
        recordings = self.recordings.subset(used.tolist())
        return Within(recordings, recording, self.onset[at], self.duration[at], labels)

    def coordinates(self) -> dict[str, tuple[npt.ArrayLike, str, str]]:
        """Return what a store says of each stimulus: values, description and units, by name."""
        names = [self.recordings.names[row] for row in self.recording]
        found: dict[str, tuple[npt.ArrayLike, str, str]] = {
            "recording": (names, "recording that the stimulus is a part of", ""),
            "onset": (self.onset, "beginning of the stimulus in its recording", "s"),
            "duration": (self.duration, "length of the stimulus", "s"),
        }
        for key, column in self.labels.items():
            name = key if key.isidentifier() and key not in _TAKEN else f"label_{_plain(key)}"
            found[name] = (_numbers(column), f"{key} of the stimulus", "")
        return found

    def sources(self) -> tuple[Callable[[], tuple[np.ndarray, int]], ...]:
        """Return, for each stimulus, a function that cuts it out of its recording."""
        cutter = _Cutter(self.recordings.sources)
        places = zip(self.recording.tolist(), self.onset.tolist(), self.duration.tolist())
        return tuple(partial(cutter, *place) for place in places)


def parts(
    recordings: Any, events: Sequence[Event], *, category: str | None = None
) -> dict[str, Any]:
    """Make stimuli of events.

    Parameters
    ----------
    recordings : StimulusSet
        What the events are of.
    events : sequence of Event
        As from `dynamics.sounds.events.read_events`.
    category : str, optional
        Label that is the category of a stimulus; by default it is that of its recording.

    Returns
    -------
    dict
        Names (those of a column ``name`` where they differ, else the text and a running number),
        categories, durations, sources and `within` of a `StimulusSet`.

    Raises
    ------
    ValueError
        If there is no such label.
    """
    keys = list(dict.fromkeys(key for event in events for key in event.labels))
    labels = {key: tuple(event.labels.get(key, "") for event in events) for key in keys}
    own = labels.get("name", ())
    if not own or "" in own or len(set(own)) < len(own):
        own = tuple(f"{event.text or 'span'}-{n}" for n, event in enumerate(events, start=1))
    if category is not None and category not in labels:
        there = ", ".join(labels) or "none"
        raise ValueError(f"events have no column or tier '{category}' (`category`), but {there}")
    within = Within(
        recordings,
        np.array([event.recording for event in events]),
        np.array([event.onset for event in events], float),
        np.array([event.duration for event in events], float),
        labels,
    ).subset(range(len(events)))
    return {
        "names": own,
        "categories": tuple(within.recordings.categories[row] for row in within.recording)
        if category is None
        else labels[category],
        "durations": within.duration,
        "sources": within.sources(),
        "within": within,
    }


# Names that a store's activations have already.
_TAKEN = ("stimulus", "category", "step", "time", "feature", "layer", "activation", "duration",
          "recording", "onset", "control", "component")  # fmt: skip


def _plain(key: str) -> str:
    return "".join(sign if sign.isalnum() else "_" for sign in key)


def _numbers(column: Sequence[str]) -> npt.ArrayLike:
    try:
        return np.array([float(value or "nan") for value in column]) if any(column) else column
    except ValueError:
        return column


class _Cutter:
    """Cuts stimuli out of recordings; the last recording is kept, as its neighbours come next."""

    def __init__(self, sources: Sequence[Callable[[], tuple[np.ndarray, int]]]):
        self.sources = sources
        self.last: tuple[int, tuple[np.ndarray, int]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"sources": self.sources, "last": None}

    def __call__(self, recording: int, onset: float, duration: float) -> tuple[np.ndarray, int]:
        if self.last is None or self.last[0] != recording:
            self.last = (recording, self.sources[recording]())
        samples, rate = self.last[1]
        begin = min(round(onset * rate), len(samples) - 1)
        return samples[begin : max(begin + 1, round((onset + duration) * rate))], rate
