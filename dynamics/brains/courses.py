"""Responses over time to sounds of unequal length, put together as one brain target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from dynamics.sounds.audio import without_suffix


def existing(path: str | Path, what: str) -> Path:
    """Return the path of a file; a FileNotFoundError says what is missing."""
    found = Path(path).expanduser()
    if not found.is_file():
        raise FileNotFoundError(f"{what} '{found}' does not exist: correct the path")
    return found


def stacked(
    trials: Iterable[tuple[str, np.ndarray]],
    *,
    rate: float,
    start: float = 0.0,
    neuroids: Sequence[str],
    labels: Mapping[str, Sequence[Any]] | None = None,
    about: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Make a target of trials; what a trial lacks at its end is NaN.

    Parameters
    ----------
    trials : iterable of (str, array of shape (t, v))
        Name of the sound and responses. Several trials of one sound are its repetitions.
    rate : float
        Samples a second.
    start : float
        Time of the first sample after the sound's onset, seconds.
    neuroids : sequence of str, length v
        Names of channels, voxels or regions.
    labels : mapping of str to sequence of length v, optional
        Coordinates of the neuroids: ``subject``, ``region``, positions.
    about : mapping, optional
        Attributes: ``name``, ``description``, ``citation``, ``units``.

    Returns
    -------
    xarray.Dataset
        ``response`` (stimulus, time, neuroid[, repetition]) as `dynamics.brains.load` gives it,
        stimuli in the order in which they come first.

    Raises
    ------
    ValueError
        If there are no trials, the rate is not positive, or a trial has other neuroids.
    """
    if not np.isfinite(rate) or rate <= 0:
        raise ValueError(f"a sampling rate of {rate:g} Hz makes no times: give a positive one")
    by_name: dict[str, list[np.ndarray]] = {}
    for name, values in trials:
        values = np.asarray(values, float)
        if values.ndim != 2 or values.shape[1] != len(neuroids):
            raise ValueError(
                f"the responses to '{name}' have the shape {values.shape}: give (times, neuroids) "
                f"with {len(neuroids)} neuroids"
            )
        by_name.setdefault(without_suffix(name), []).append(values)
    if not by_name:
        raise ValueError("there are no responses to any sound: name the events of sounds")
    times = max(len(v) for each in by_name.values() for v in each)
    most = max(map(len, by_name.values()))
    response = np.full((len(by_name), times, len(neuroids), most), np.nan)
    for row, each in enumerate(by_name.values()):
        for repetition, values in enumerate(each):
            response[row, : len(values), :, repetition] = values
    dims = ("stimulus", "time", "neuroid", "repetition")
    seconds = ("time", start + np.arange(times) / rate, {"units": "s"})
    coords: dict[str, Any] = {"stimulus": list(by_name), "time": seconds,
                              "neuroid": list(map(str, neuroids))}  # fmt: skip
    unknown = ["unknown"] * len(neuroids)
    for key, column in ({"subject": unknown, "region": unknown} | dict(labels or {})).items():
        coords[key] = ("neuroid", list(column))
    target = xr.Dataset({"response": (dims, response)}, coords)
    if most == 1:
        target = target.isel(repetition=0)
    defaults = {"name": "recording", "description": "", "citation": "", "units": "arbitrary"}
    target.attrs = defaults | {"simulated": 0} | dict(about or {})
    return target
