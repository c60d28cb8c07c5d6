"""Recordings of EEG, MEG and ECoG, in the files of their own field (read with MNE-Python)."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from dynamics import installation
from dynamics.brains.courses import existing, stacked

logger = logging.getLogger(__name__)


def recording(
    path: str | Path,
    *,
    picks: str | Sequence[str] = "data",
    stimulus: str = "",
    events: str | Path | None = None,
    start: float = 0.0,
    stop: float | None = None,
    rate: float | None = None,
    subject: str = "",
) -> xr.Dataset:
    """Read epochs, or a continuous recording with annotations or a table of events.

    Parameters
    ----------
    path : str or Path
        A file of epochs (``-epo.fif``), or any recording that MNE-Python opens: ``.fif``, ``.edf``,
        ``.bdf``, ``.vhdr``, ``.set``.
    picks : str or sequence of str
        Channels or their types, as in MNE-Python; by default all that hold data. Channels that are
        marked bad are left out.
    stimulus : str
        Column of the epochs' metadata, or of the table of events, that names the sound; by default
        the name of the event, or ``stim_file``, else ``trial_type``.
    events : str or Path, optional
        A BIDS table of events (tab or comma between columns ``onset``, ``duration`` in seconds);
        by default the recording's annotations, but those that begin with ``BAD``, whose samples are
        missing.
    start : float
        Seconds from a sound's onset to the first sample that is kept; of epochs their own.
    stop : float, optional
        Seconds from a sound's end to the last sample that is kept, 0 where not given.
    rate : float, optional
        Samples a second that are wanted, lower than those of the file; resampled with a filter.
    subject : str
        Who was recorded; by default what the file says.

    Returns
    -------
    xarray.Dataset
        A target over time, in the units of MNE-Python (V, T, T/m), with the type of each channel as
        its region and its position (``x``, ``y``, ``z`` in metres) where that is known.

    Raises
    ------
    ValueError
        If nothing names sounds, an event lies outside the recording, or there are no such channels.
    """
    installation.load("mne")
    import mne

    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"recording '{path}' does not exist: correct the path")
    data = _picked(_opened(path), picks, path)
    if rate is not None and rate > data.info["sfreq"]:
        raise ValueError(
            f"'{path}' has {data.info['sfreq']:g} samples a second and {rate:g} are wanted: give a "
            "lower rate"
        )
    if rate is not None and rate != data.info["sfreq"]:
        data = data.resample(rate, verbose="error")
    if isinstance(data, mne.BaseEpochs):
        start = float(data.times[0])
        trials: Iterator[tuple[str, np.ndarray]] = _epochs(data, stimulus, path)
    else:
        found = _annotated(data) if events is None else table(events, stimulus)
        trials = _segments(data, found, start, stop or 0.0, path)
    return stacked(
        trials,
        rate=float(data.info["sfreq"]),
        start=start,
        neuroids=data.ch_names,
        labels=_labels(data.info, data.get_channel_types(), subject),
        about={"name": path.stem, "description": f"recording in {path.name}",
               "units": ", ".join(sorted({_UNITS.get(k, "arbitrary") for k in
                                          data.get_channel_types()}))},
    )  # fmt: skip


_UNITS = {"eeg": "V", "ecog": "V", "seeg": "V", "dbs": "V", "mag": "T", "grad": "T/m"}


def _opened(path: Path) -> Any:
    import mne

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about names of files, and of units that nobody asks for
        if path.name.endswith(("-epo.fif", "_epo.fif", "-epo.fif.gz", "_epo.fif.gz")):
            return mne.read_epochs(path, preload=True, verbose="error")
        return mne.io.read_raw(path, preload=True, verbose="error")


def _labels(info: Any, kinds: Sequence[str], subject: str) -> dict[str, Any]:
    who = subject or str((info["subject_info"] or {}).get("his_id", "") or "unknown")
    labels: dict[str, Any] = {"subject": [who] * len(kinds), "region": list(kinds)}
    positions = np.array([channel["loc"][:3] for channel in info["chs"]])
    if np.isfinite(positions).all() and positions.any():
        labels |= {axis: positions[:, i] for i, axis in enumerate("xyz")}
    return labels


def table(path: str | Path, stimulus: str = "") -> pd.DataFrame:
    """Read a BIDS table of events.

    Parameters
    ----------
    path : str or Path
        With a header, tabs or commas between columns; ``onset`` and ``duration`` in seconds.
    stimulus : str
        Column that names the sound; by default ``stim_file``, else ``trial_type``.

    Returns
    -------
    pandas.DataFrame
        ``onset``, ``duration``, ``stimulus``; rows without a sound (``n/a``) are left out.

    Raises
    ------
    ValueError
        If a column is missing, or an onset or duration is no number.
    """
    path = existing(path, "table of events")
    found = pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else None, engine="python",
                        dtype=str, keep_default_na=False)  # fmt: skip
    named = stimulus or next((c for c in ("stim_file", "trial_type") if c in found), "trial_type")
    if missing := [column for column in ("onset", "duration", named) if column not in found]:
        raise ValueError(
            f"'{path}' has no column '{missing[0]}', only {', '.join(map(str, found))}: name the "
            "column of sounds by `stimulus`, and add what is missing"
        )
    found = found[~found[named].isin(["n/a", ""])].reset_index(drop=True)
    times = found[["onset", "duration"]].apply(pd.to_numeric, errors="coerce")
    if times.isna().any(axis=None):
        row = int(times.isna().any(axis=1).idxmax())
        raise ValueError(
            f"'{path}' has an onset or duration that is no number for '{found[named][row]}' "
            f"(row {row + 2}): write seconds"
        )
    return times.assign(stimulus=found[named])


def _picked(data: Any, picks: str | Sequence[str], path: Path) -> Any:
    bad = [name for name in data.info["bads"] if name in data.ch_names]
    if bad:
        logger.warning("'%s': left out %d channels that are marked bad (%s%s)", path, len(bad),
                       ", ".join(bad[:3]), " ..." if len(bad) > 3 else "")  # fmt: skip
    try:
        found = data.pick(picks, exclude="bads", verbose="error")
    except ValueError:
        found = None
    if found is None or not found.ch_names:
        there = ", ".join(sorted(set(data.get_channel_types())))
        raise ValueError(f"'{path}' has no channels {picks!r} that are good: it has {there}")
    return found


def _epochs(data: Any, stimulus: str, path: Path) -> Iterator[tuple[str, np.ndarray]]:
    metadata: Any = data.metadata
    if stimulus and (metadata is None or stimulus not in metadata):
        there = "none" if metadata is None else ", ".join(map(str, metadata))
        raise ValueError(
            f"'{path}' has no column '{stimulus}' among its metadata ({there}): name the one that "
            "names sounds"
        )
    events = {number: name for name, number in data.event_id.items()}
    names = metadata[stimulus] if stimulus else [events[n] for n in data.events[:, 2]]
    for name, values in zip(names, data.get_data(copy=False)):
        yield str(name), values.T


def _annotated(data: Any) -> pd.DataFrame:
    kept = [note for note in data.annotations if not _is_bad(note)]
    first = data.first_time if data.annotations.orig_time is not None else 0.0
    return pd.DataFrame(
        [(note["onset"] - first, note["duration"], note["description"]) for note in kept],
        columns=["onset", "duration", "stimulus"],
    )


def _is_bad(note: Mapping[str, Any]) -> bool:
    return str(note["description"]).lower().startswith(("bad", "edge"))


def _segments(
    data: Any, events: pd.DataFrame, start: float, stop: float, path: Path
) -> Iterator[tuple[str, np.ndarray]]:
    rate, values = data.info["sfreq"], data.get_data().T
    first = data.first_time if data.annotations.orig_time is not None else 0.0
    for note in filter(_is_bad, data.annotations):
        begin = max(int(np.floor((note["onset"] - first) * rate)), 0)
        values[begin : int(np.ceil((note["onset"] - first + note["duration"]) * rate))] = np.nan
    for event in events.itertuples():
        if event.duration <= 0:
            raise ValueError(
                f"'{event.stimulus}' at {event.onset:g} s of '{path}' lasts {event.duration:g} s: "
                "give its duration"
            )
        begin = round((event.onset + start) * rate)
        end = round((event.onset + event.duration + stop) * rate)
        if begin < 0 or end > len(values) or end <= begin:
            raise ValueError(
                f"'{event.stimulus}' ({event.onset + start:g} to "
                f"{event.onset + event.duration + stop:g} s) lies outside the "
                f"{len(values) / rate:g} s of '{path}': correct the events, `start` or `stop`"
            )
        yield str(event.stimulus), values[begin:end]
