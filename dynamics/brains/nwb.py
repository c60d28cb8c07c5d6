"""Recordings in Neurodata Without Borders (read with PyNWB)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from dynamics import installation
from dynamics.brains.courses import existing, stacked


def nwb(
    path: str | Path,
    *,
    stimulus: str,
    series: str = "",
    intervals: str = "trials",
    start: float = 0.0,
    stop: float = 0.0,
) -> xr.Dataset:
    """Read a series of channels, cut at the intervals that a table of the file names.

    Parameters
    ----------
    path : str or Path
        An ``.nwb`` file.
    stimulus : str
        Column of the intervals that names the sound.
    series : str
        Name of the series, among the acquisitions or in a processing module; needed where there
        are several.
    intervals : str
        Table of the intervals, with ``start_time`` and ``stop_time``.
    start, stop : float
        Seconds from a sound's onset to the first sample, and from its end to the last.

    Returns
    -------
    xarray.Dataset
        A target over time; the electrodes' location is the region of each channel.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the series, the table or the column is not there, or an interval lies outside.
    """
    installation.load("pynwb")
    from pynwb import NWBHDF5IO

    path = existing(path, "recording")
    with NWBHDF5IO(str(path), "r", load_namespaces=True) as io:
        file = io.read()
        data = _series(file, series, path)
        table = (file.intervals or {}).get(intervals) if file.intervals is not None else None
        if intervals == "trials" and table is None:
            table = file.trials
        if table is None:
            raise ValueError(f"'{path}' has no table of intervals '{intervals}'")
        if stimulus not in table.colnames:
            raise ValueError(
                f"'{intervals}' of '{path}' has no column '{stimulus}', only "
                f"{', '.join(table.colnames)}: name the one that names sounds"
            )
        values, rate, first = _samples(data, path)
        frame = table.to_dataframe()
        labels = _labels(data, file, values.shape[1])
        begun = (
            (str(row[stimulus]), float(row["start_time"]), float(row["stop_time"]))
            for _, row in frame.iterrows()
        )
        return stacked(
            _cut(begun, values, rate, first, (start, stop), path),
            rate=rate,
            start=start,
            neuroids=labels.pop("neuroid"),
            labels=labels,
            about={"name": path.stem, "description": f"{data.name} of {path.name}",
                   "units": str(data.unit)},
        )  # fmt: skip


def _series(file: Any, name: str, path: Path) -> Any:
    there = {each.name: each for each in file.acquisition.values()}
    for module in file.processing.values():
        for each in module.data_interfaces.values():
            inside = getattr(each, "electrical_series", None)
            there |= {one.name: one for one in (inside or {"": each}).values()}
    there = {key: each for key, each in there.items() if hasattr(each, "data")}
    if name in there or (not name and len(there) == 1):
        return there[name] if name else next(iter(there.values()))
    told = ", ".join(map(repr, there)) or "none"
    raise ValueError(f"'{path}' has the series {told}: name one of them by `series`")


def _samples(data: Any, path: Path) -> tuple[np.ndarray, float, float]:
    values = np.asarray(data.data, float) * float(data.conversion or 1) + float(data.offset or 0)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2:
        raise ValueError(f"'{data.name}' of '{path}' has the shape {values.shape}: give channels")
    if data.rate is not None:
        return values, float(data.rate), float(data.starting_time or 0)
    times = np.asarray(data.timestamps, float)
    steps = np.diff(times)
    if not len(steps) or steps.min() <= 0 or np.ptp(steps) > 0.01 * steps.mean():
        raise ValueError(f"'{data.name}' of '{path}' has uneven times: resample it")
    return values, float(1 / steps.mean()), float(times[0])


def _labels(data: Any, file: Any, width: int) -> dict[str, list[str]]:
    who = getattr(file.subject, "subject_id", None) or "unknown"
    found = {"subject": [str(who)] * width, "neuroid": [str(number) for number in range(width)]}
    electrodes = getattr(data, "electrodes", None)
    if electrodes is not None and "location" in electrodes.table.colnames:
        rows = np.asarray(electrodes.data[:])
        found["region"] = [str(electrodes.table["location"][int(row)]) for row in rows]
        found["neuroid"] = [str(electrodes.table.id[int(row)]) for row in rows]
    return found


def _cut(
    events: Iterator[tuple[str, float, float]],
    values: np.ndarray,
    rate: float,
    first: float,
    around: tuple[float, float],
    path: Path,
) -> Iterator[tuple[str, np.ndarray]]:
    for name, onset, end in events:
        begin = round((onset + around[0] - first) * rate)
        last = round((end + around[1] - first) * rate)
        if begin < 0 or last > len(values) or last <= begin:
            raise ValueError(
                f"'{name}' ({onset + around[0]:g} to {end + around[1]:g} s) lies outside the "
                f"recording in '{path}' ({first:g} to {first + len(values) / rate:g} s): correct "
                "its times, `start` or `stop`"
            )
        yield name, values[begin:last]
