"""Stimulus sets: named, categorised sounds, decoded and resampled when they are asked for."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from dynamics import datasets
from dynamics.sounds.audio import (
    SUFFIXES,
    disagreements,
    duration,
    natural_order,
    read_audio,
    resample,
    sounds_in,
    warn_once,
)
from dynamics.sounds.events import read_events
from dynamics.sounds.labels import read_labels
from dynamics.sounds.streams import Stream, stream_of
from dynamics.sounds.within import Within, parts
from dynamics.tables import Later, Table, check_arguments

UNLABELLED = "unlabelled"

# Decoded sounds of a set are kept up to this size, for the digest, copies and networks alike.
KEEP_BYTES = 2**28

LONG = 120.0
"""Seconds from which a sound is not held in memory as a whole, where its source can be streamed."""

# A function of nothing that returns samples (mono, float32) and their rate in Hz; see
# `dynamics.sounds.streams.stream_of` for those that can give them block by block.
Source = Callable[[], tuple[np.ndarray, int]]


@dataclass(frozen=True, eq=False)
class StimulusSet:
    """A set of sounds.

    Attributes
    ----------
    name : str
        Name of the set.
    names : tuple of str
        One name a stimulus, all different.
    categories : tuple of str
        One category a stimulus.
    durations : ndarray of shape (n_stimuli,)
        Seconds.
    sources : tuple of callables
        For each stimulus, a function that returns its samples and their rate; nothing is decoded
        before `waveforms` or `digest` asks for it.
    within : Within or None
        Where the stimuli are, if they are parts of longer recordings.
    """

    name: str
    names: tuple[str, ...]
    categories: tuple[str, ...]
    durations: np.ndarray = field(repr=False)
    sources: tuple[Source, ...] = field(repr=False)
    within: Within | None = field(default=None, repr=False)
    _resampled: dict[int, list[np.ndarray]] = field(default_factory=dict, init=False, repr=False)
    _decoded: dict[int, tuple[np.ndarray, int]] = field(
        default_factory=dict, init=False, repr=False
    )
    _kept: list[int] = field(default_factory=lambda: [0], init=False, repr=False)

    def __post_init__(self):
        if len(set(self.names)) != len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise ValueError(f"two stimuli of '{self.name}' are called '{twice}': rename one")
        sizes = {len(self.names), len(self.categories), len(self.durations), len(self.sources)}
        if len(sizes) != 1:
            raise ValueError(f"'{self.name}' needs one category, duration and source a name")

    def __len__(self) -> int:
        return len(self.names)

    def __getstate__(self):
        # A worker decodes for itself: waveforms are larger than the paths they come from.
        return {**self.__dict__, "_resampled": {}, "_decoded": {}, "_kept": [0]}

    @cached_property
    def digest(self) -> str:
        """SHA-256 over names, rates and decoded samples, or places in recordings; hexadecimal."""
        if self.within is not None:
            return self.within.digest(self.names)
        total = hashlib.sha256()
        for row, name in enumerate(self.names):
            if long := self._stream(row):
                total = self._hashed_by_block(total, row, long)
                continue
            samples, rate = self._sample(row)
            total.update(f"{name}\0{rate}\0{samples.size}\0".encode())
            total.update(np.ascontiguousarray(samples, dtype="<f4").tobytes())
        return total.hexdigest()

    def is_streamed(self, row: int) -> bool:
        """Whether a sound is so long that `stream` gives it in several blocks."""
        return self._stream(row) is not None

    def stream(self, row: int, sample_rate: int) -> Iterator[np.ndarray]:
        """Decode and resample one sound, block by block where it is long.

        Parameters
        ----------
        row : int
            Its place in the set.
        sample_rate : int
            Hz.

        Yields
        ------
        ndarray of shape (n_samples,)
            Mono float32, one after the other. A sound of up to `LONG` seconds, or of a source that
            cannot be streamed, is one block, the same as of `waveforms`.

        Raises
        ------
        ValueError
            For a file that cannot be decoded.
        """
        if long := self._stream(row):
            yield from long.stream(sample_rate)
        else:
            yield resample(*self._sample(row), sample_rate)

    @property
    def heard(self) -> StimulusSet:
        """What a network hears: the recordings of which the stimuli are parts, or the stimuli."""
        return self if self.within is None else self.within.recordings

    def subset(self, rows: Sequence[int]) -> StimulusSet:
        """Return some of the sounds; the set itself where `rows` are all of it.

        Parameters
        ----------
        rows : sequence of int
            Places of the sounds.

        Returns
        -------
        StimulusSet
            Of the same name.
        """
        if len(rows) == len(self):
            return self
        return StimulusSet(
            name=self.name,
            names=tuple(self.names[row] for row in rows),
            categories=tuple(self.categories[row] for row in rows),
            durations=self.durations[list(rows)],
            sources=tuple(self.sources[row] for row in rows),
            within=None if self.within is None else self.within.subset(rows),
        )

    def waveforms(self, sample_rate: int) -> list[np.ndarray]:
        """Return all sounds at one sampling rate.

        Parameters
        ----------
        sample_rate : int
            Hz. The waveforms of the last rate asked for are kept.

        Returns
        -------
        list of ndarray of shape (n_samples,)
            Mono float32, in the order of `names`; n_samples differs between sounds. The arrays
            are shared between calls and read-only.

        Raises
        ------
        ValueError
            For a rate that is not positive, or a file that cannot be decoded.
        """
        if sample_rate <= 0:
            raise ValueError(f"sample_rate must be a positive number of Hz, not {sample_rate}")
        if sample_rate not in self._resampled:
            resampled = [resample(*found, sample_rate) for found in self._samples()]
            self._resampled.clear()
            self._resampled[sample_rate] = resampled
        return list(self._resampled[sample_rate])

    def _samples(self) -> Iterator[tuple[np.ndarray, int]]:
        """Go through samples and rates; the first sounds are kept, as many as memory allows."""
        return map(self._sample, range(len(self)))

    def _sample(self, row: int) -> tuple[np.ndarray, int]:
        if row in self._decoded:
            return self._decoded[row]
        samples, rate = self.sources[row]()
        if not self.is_streamed(row) and self._kept[0] + samples.nbytes <= KEEP_BYTES:
            self._decoded[row] = samples, rate
            self._kept[0] += samples.nbytes
        return samples, rate

    def _stream(self, row: int) -> Stream | None:
        return stream_of(self.sources[row]) if self.durations[row] > LONG else None

    def _hashed_by_block(self, before: Any, row: int, source: Stream) -> Any:
        """Return a hash with a sound added to it, of the same bytes as of one held as a whole."""
        size, counted = round(float(self.durations[row]) * source.rate), -1
        while counted != size:  # how many samples there are comes first, and is known by decoding
            size, counted, total = size if counted < 0 else counted, 0, before.copy()
            total.update(f"{self.names[row]}\0{source.rate}\0{size}\0".encode())
            for block in source.stream(source.rate):
                total.update(np.ascontiguousarray(block, dtype="<f4").tobytes())
                counted += block.size
        return total


def load(name: str | Path, **arguments) -> StimulusSet:
    """Load a stimulus set by name, or any folder of audio files.

    Parameters
    ----------
    name : str or Path
        A name in `SOUNDS`, or a folder: see `from_folder`.
    **arguments
        Passed on, for instance ``seed`` and ``per_kind`` for ``"synthetic"``.

    Returns
    -------
    StimulusSet
        The sounds; decoded lazily.

    Raises
    ------
    ValueError
        For an unknown name, and for a file that is empty or not audio.
    FileNotFoundError
        For a missing folder, or one without audio.
    ArgumentError
        For an argument that the set does not have.
    """
    if str(name) in SOUNDS:
        SOUNDS.check(str(name), arguments)
        return SOUNDS[str(name)](**arguments)
    path = Path(name).expanduser()
    if path.is_dir():
        check_arguments(f"stimuli {str(name)!r}", arguments, ["name", "events", "tier", "category"])
        return from_folder(path, **arguments)
    if path.is_file():
        raise ValueError(f"stimuli '{name}' is a file: give the folder that holds the sounds")
    if len(path.parts) > 1 or str(name).startswith((".", "~")):
        raise FileNotFoundError(f"stimulus folder '{name}' does not exist: correct the path")
    return SOUNDS.find(str(name))()  # raises: there is none


def from_folder(
    root: str | Path,
    *,
    name: str | None = None,
    events: str | Path | bool = False,
    tier: str | None = None,
    category: str | None = None,
) -> StimulusSet:
    """Load all audio files of a folder and its subfolders, or the parts of them that events name.

    Stimuli are named after their files without suffix; where two files of different subfolders
    share a name, all are named by their path within the folder. Categories come from a file
    ``labels.csv`` (name, category; a header is allowed), else from the first subfolder. Hidden
    files and folders are left out, and so are sounds that cannot be decoded here, which a warning
    names.

    Parameters
    ----------
    root : str or Path
        The folder.
    name : str, optional
        Name of the set; by default that of the folder.
    events : str, Path or True, optional
        Tables of events or TextGrids: then their events are the stimuli, and the sounds are heard
        whole. See `dynamics.sounds.events.read_events`.
    tier : str, optional
        Tier of the TextGrids.
    category : str, optional
        Column or tier of the events that is their category; by default that of the recording.

    Returns
    -------
    StimulusSet
        Sounds in natural order of their names (2 before 10); events in the order of recordings and
        onsets, called after their column ``name`` where it tells them apart, else their word (or
        the like) and a running number.

    Raises
    ------
    FileNotFoundError
        Where the folder is missing or holds no audio file.
    ValueError
        For a file that is empty or not audio, a stimulus without a row in ``labels.csv``, or what
        `dynamics.sounds.labels.read_labels` and `dynamics.sounds.events.read_events` raise.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"stimulus folder '{root}' does not exist: correct the path")
    paths, others = sounds_in(root)
    if others:
        named = ", ".join(path.name for path in others[:3]) + (" ..." if len(others) > 3 else "")
        told = f"{len(others)} of its files cannot be decoded here ({named}): convert them to FLAC"
    if not paths:
        raise FileNotFoundError(
            f"folder '{root}' holds no audio: "
            + (told if others else f"it needs files ending in {', '.join(SUFFIXES)}")
        )
    if others:
        warn_once(f"folder '{root}': {told}, or they are no stimuli")
    names = [_nfc(path.stem) for path in paths]
    if len(set(names)) < len(names):
        names = [_nfc(path.relative_to(root).with_suffix("").as_posix()) for path in paths]
    labels = root / "labels.csv"
    if labels.exists():
        table = read_labels(labels)
        if missing := [item for item in names if item not in table]:
            raise ValueError(f"{labels} has no row for stimulus '{missing[0]}': add it")
        categories = [table[item].category for item in names]
    else:
        places = [path.relative_to(root).parts for path in paths]
        categories = [parts[0] if len(parts) > 1 else UNLABELLED for parts in places]
    found = _from_files(name or root.resolve().name, names, categories, paths)
    if events is False or events is None:
        if given := "tier" if tier else "category" if category else "":
            raise ValueError(f"`{given}` is of events: give the stimuli `events`, or leave it out")
        return found
    listed = read_events(events, root, found.names, found.durations.tolist(), tier=tier)
    return StimulusSet(name=found.name, **parts(found, listed, category=category))


def natsound165() -> StimulusSet:
    """Load the 165 natural sounds of Norman-Haignere et al. (2015), 2 s each, 11 categories.

    Returns
    -------
    StimulusSet
        Names such as ``stim5_alarm_clock``, in order of the stimulus number.
    """
    stimuli = datasets.folder("natsound165-neuron2015") / "stimuli"
    table = read_labels(stimuli / "category_labels.csv")
    categories = [label.category for label in table.values()]
    paths = [stimuli / "wav" / f"{item}.wav" for item in table]
    return _from_files("natsound165", list(table), categories, paths)


def fsdd(*, split: str = "all") -> StimulusSet:
    """Load the Free Spoken Digit Dataset; categories are the digits.

    Parameters
    ----------
    split : {"all", "train", "test"}
        The data set's own split: takes 0 to 4 of each speaker and digit are the test set.

    Returns
    -------
    StimulusSet
        Names are ``<digit>_<speaker>_<take>``.
    """
    takes = {"all": (0, np.inf), "train": (5, np.inf), "test": (0, 5)}
    if split not in takes:
        raise ValueError(f"split must be 'all', 'train' or 'test', not '{split}'")
    first, end = takes[split]
    recordings = (datasets.folder("fsdd") / "recordings").glob("*.wav")
    paths = [path for path in recordings if first <= int(path.stem.split("_")[2]) < end]
    names = [path.stem for path in paths]
    name = "fsdd" if split == "all" else f"fsdd-{split}"
    return _from_files(name, names, [item[0] for item in names], paths)


def pretraining_audio() -> StimulusSet:
    """Load the recordings of the reference pretraining, about a minute each.

    Returns
    -------
    StimulusSet
        Categories are speech, music and effects.
    """
    return from_folder(datasets.folder("pretraining-audio"), name="pretraining-audio")


def naplib_speech() -> StimulusSet:
    """Load six excerpts of an audiobook, about a minute each, from the sample data of naplib.

    Returns
    -------
    StimulusSet
        Named ``stim01`` to ``stim06``.
    """
    return from_folder(datasets.folder("naplib-speech") / "sounds", name="naplib-speech")


SOUNDS: Table[Callable[..., StimulusSet]] = Table(
    "stimulus set",
    {
        "natsound165": natsound165,
        "synthetic": Later("dynamics.reference.stimuli", "synthetic"),
        "fsdd": fsdd,
        "naplib-speech": naplib_speech,
        "pretraining-audio": pretraining_audio,
        "stories": Later("dynamics.reference.stories", "stories"),
    },
    beside=", and any folder of audio files",
)


def _from_files(
    name: str, names: Sequence[str], categories: Sequence[str], paths: Sequence[Path]
) -> StimulusSet:
    order = sorted(range(len(names)), key=lambda index: natural_order(names[index]))
    durations = np.array([duration(paths[index]) for index in order])
    if told := disagreements(paths):
        some = "; ".join(told[:3]) + (" ..." if len(told) > 3 else "")
        warn_once(
            f"stimuli '{name}': {len(told)} of {len(names)} sounds are not as long as their "
            f"headers state ({some}): what is decoded counts; replace what was cut off"
        )
    return StimulusSet(
        name=name,
        names=tuple(names[index] for index in order),
        categories=tuple(categories[index] for index in order),
        durations=durations,
        sources=tuple(partial(read_audio, paths[index]) for index in order),
    )


def _nfc(name: str) -> str:
    """One spelling of a name, whichever the file system has: as `without_suffix`."""
    return unicodedata.normalize("NFC", name)
