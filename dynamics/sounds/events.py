"""Tables of events and TextGrids: which parts of recordings are stimuli of their own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dynamics.sounds.audio import warn_once, without_suffix
from dynamics.sounds.labels import rows
from dynamics.sounds.textgrid import read_textgrid

_FILE = ("stim_file", "file", "filename", "recording")
_BEGIN, _END, _DURATION = ("onset", "start"), ("offset", "end"), ("duration",)
_TEXT = ("name", "word", "phone", "label", "text", "value", "trial_type")
_TEXTGRID, _TABLES = ".textgrid", {".tsv": "\t", ".csv": ","}
_NOTHING = ("", "n/a")
# Ends of files and of their annotations are rounded differently.
_TOLERANCE = 0.05


class Event(NamedTuple):
    """A part of a recording.

    Attributes
    ----------
    recording : int
        Place of the recording.
    onset, duration : float
        Seconds.
    text : str
        What it is called.
    labels : mapping of str to str
        What else is said of it, by column or tier.
    """

    recording: int
    onset: float
    duration: float
    text: str
    labels: Mapping[str, str]


def read_events(
    events: str | Path | bool,
    root: Path,
    names: Sequence[str],
    durations: Sequence[float],
    *,
    tier: str | None = None,
) -> list[Event]:
    """Read which parts of the recordings of a folder are stimuli.

    Parameters
    ----------
    events : str, Path or True
        A table (``.tsv`` or ``.csv``) with the columns ``onset`` and ``duration`` (or ``offset``),
        in seconds, and ``file`` or ``stim_file`` where it is of several recordings; a TextGrid; or
        a folder of such files, each named after its recording. True: they lie beside the
        recordings, or the folder of these has an ``events.tsv``. In a table of BIDS, where some
        rows have no ``stim_file`` (``n/a``), onsets are on the clock of the run: the others are
        presentations, and the rows without one parts of the presentation in which they begin.
    root : Path
        The folder of the recordings.
    names : sequence of str
        Their names.
    durations : sequence of float
        Their durations, seconds.
    tier : str, optional
        Tier of intervals of TextGrids; needed where they have several. Intervals without a text are
        left out; what other tiers say at the middle of an interval is a label of it.

    Returns
    -------
    list of Event
        In the order of recordings and onsets.

    Raises
    ------
    FileNotFoundError
        If there are no events.
    ValueError
        For a table without a column or with a value that is no time, a TextGrid without the tier,
        a recording that there is not, and an event that has no duration or is outside its
        recording.
    """
    place = _Recordings(names)
    listed: list[tuple[str, Event]] = []
    for path, row in _files(events, root, place):
        if path.suffix.lower() == _TEXTGRID:
            listed += _of_textgrid(path, place.only(path, row), tier)
        else:
            listed += _of_table(path, row, place, durations)
    if not listed:
        raise ValueError(f"there is no event in '{root if events is True else events}'")
    found = [_inside(event, at, names, durations) for at, event in listed]
    if silent := len(names) - len({event.recording for event in found}):
        warn_once(f"{silent} of {len(names)} recordings of '{root}' have no event: they are unused")
    return sorted(found, key=lambda event: (event.recording, event.onset))


class _Recordings:
    """Places of recordings by their names; a name's last part will do where no other has it."""

    def __init__(self, names: Sequence[str]):
        last = [Path(name).name for name in names]
        short = {name: row for row, name in enumerate(last) if last.count(name) == 1}
        self.names = names
        self.rows = short | {name: row for row, name in enumerate(names)}

    def find(self, name: str) -> int | None:
        """Return the place of a recording, named with or without suffix and folders."""
        name = without_suffix(name).removeprefix("stimuli/")
        return self.rows.get(name, self.rows.get(Path(name).name))

    def only(self, path: Path, row: int | None) -> int:
        """Return the place that a file's name says, or that of the only recording."""
        if row is None and len(self.names) > 1:
            raise ValueError(
                f"{path} does not say which recording it is of: call it like one ("
                f"'{self.names[0]}'), or give a table a column 'file'"
            )
        return row or 0


def _files(
    events: str | Path | bool, root: Path, place: _Recordings
) -> Iterator[tuple[Path, int | None]]:
    """Yield files of events, and the recording that each is called after, if any."""
    where = root if events is True else Path(str(events)).expanduser()
    if events is not True and (root / where).exists():
        where = root / where
    if where.is_file():
        if where.suffix.lower() not in (_TEXTGRID, *_TABLES):
            raise ValueError(f"events '{where}' must be a .tsv, .csv or .TextGrid file")
        yield where, _row_of(where, where.parent, place)
        return
    if not where.is_dir():
        raise FileNotFoundError(f"events '{events}' do not exist: correct the path")
    paths = [p for p in sorted(where.rglob("*")) if p.suffix.lower() in (_TEXTGRID, *_TABLES)]
    known = [(path, _row_of(path, where, place)) for path in paths]
    named = [(path, row) for path, row in known if row is not None]
    common = [(path, None) for path, row in known if row is None and path.stem == "events"]
    if not named and not common:
        raise FileNotFoundError(
            f"folder '{where}' has no events: it needs a .TextGrid, .tsv or .csv file of the name "
            f"of each recording (such as '{place.names[0]}'), or events.tsv"
        )
    if events is not True and (others := len(known) - len(named) - len(common)):
        warn_once(f"{others} files of '{where}' are called like no recording: they are unused")
    yield from named or common


def _row_of(path: Path, root: Path, place: _Recordings) -> int | None:
    name = path.relative_to(root).with_suffix("").as_posix()
    found = place.find(name)
    return place.find(name.removesuffix("_events")) if found is None else found


def _of_textgrid(path: Path, row: int, tier: str | None) -> Iterator[tuple[str, Event]]:
    tiers = read_textgrid(path)
    intervals = {name: found for name, found in tiers.items() if found is not None}
    wanted = tier or (next(iter(intervals)) if len(intervals) == 1 else None)
    if wanted not in intervals:
        named = ", ".join(f"'{name}'" for name in intervals) or "no tier of intervals"
        what = f"'{wanted}' holds points, which last for no time" if wanted in tiers else (
            f"{path.name} has no tier '{wanted}'" if wanted else "`tier` must say which to take"
        )  # fmt: skip
        raise ValueError(f"{path}: {what}: there are {named}")
    for begin, end, text in intervals[wanted]:
        middle = (begin + end) / 2
        labels = {
            name: next((one.text for one in found if one.begin <= middle < one.end), "")
            for name, found in intervals.items()
        }
        yield f"{path}", Event(row, begin, end - begin, text, labels | {wanted: text})


class _Line(NamedTuple):
    """A line of a table: where it stands, its recording if it names one, times and labels."""

    at: str
    file: str
    onset: float
    cells: Mapping[str, str]


def _of_table(
    path: Path, row: int | None, place: _Recordings, durations: Sequence[float]
) -> Iterator[tuple[str, Event]]:
    heading, *body = rows(path, delimiter=_TABLES[path.suffix.lower()]) or [[]]
    file, begin, end, length, text = (
        next((own for name in names for own in heading if own.lower() == name), "")
        for names in (_FILE, _BEGIN, _END, _DURATION, _TEXT)
    )
    if lacking := "'onset'" if not begin else "" if length or end else "'duration' or 'offset'":
        there = ", ".join(heading) or "none"
        raise ValueError(f"{path} has no column {lacking}: it has {there}")
    lines = []
    for number, row_of_cells in enumerate(body, start=2):
        if any(row_of_cells):
            at, cells = f"{path}, line {number}", dict.fromkeys(heading, "")
            cells |= {k: "" if v in _NOTHING else v for k, v in zip(heading, row_of_cells)}
            onset = _number(at, "onset", cells[begin])
            lines.append(_Line(at, cells[file] if file else "", onset, cells))
    if file.lower() == "stim_file" and not all(line.file for line in lines):
        silent = ("", "0", "0.0")  # a key pressed, a trigger
        lines = [line for line in lines if line.file or line.cells.get(length, "1") not in silent]
        found = _of_run(lines, place, durations)
    elif file:
        found = [(line, _known(line.at, line.file, place), line.onset) for line in lines]
    else:
        found = [(line, place.only(path, row), line.onset) for line in lines]
    for line, which, onset in found:
        last = _number(line.at, length or end, line.cells[length or end])
        labels = {
            k: v for k, v in line.cells.items() if k and k not in (file, begin, length or end)
        }
        duration = last if length else last - line.onset
        yield line.at, Event(which, onset, duration, line.cells.get(text, ""), labels)


def _of_run(
    lines: Sequence[_Line], place: _Recordings, durations: Sequence[float]
) -> list[tuple[_Line, int, float]]:
    """Set the clock of a run to that of the recording which was on; what was between is none."""
    shown = [(one.onset, _known(one.at, one.file, place)) for one in lines if one.file]
    found = []
    for line in (one for one in lines if not one.file):
        on = [(t, which) for t, which in shown if t <= line.onset < t + durations[which]]
        if on:
            begun, which = max(on)
            found.append((line, which, line.onset - begun))
    return found


def _known(at: str, name: str, place: _Recordings) -> int:
    found = place.find(name)
    if found is None:
        raise ValueError(
            f"{at}: there is no recording '{name}': there are {', '.join(place.names[:5])}"
            + (" ..." if len(place.names) > 5 else "")
        )
    return found


def _number(at: str, what: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{at}: {what} {text!r} is no number of seconds: correct it")
    return value


def _inside(event: Event, at: str, names: Sequence[str], durations: Sequence[float]) -> Event:
    """Return an event that ends no later than its recording; one outside is a ValueError."""
    whole, end = float(durations[event.recording]), event.onset + event.duration
    what = f"{at}: event '{event.text}' at {event.onset:g} s"
    if not event.duration > 0:
        raise ValueError(f"{what} lasts {event.duration:g} s: give it a duration above 0")
    if event.onset < 0 or event.onset >= whole or end > whole + _TOLERANCE:
        raise ValueError(
            f"{what} to {end:g} s is outside its recording '{names[event.recording]}', which lasts "
            f"{whole:g} s: onsets are seconds from the recording's beginning"
        )
    return event._replace(duration=min(end, whole) - event.onset)
