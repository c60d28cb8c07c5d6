"""Recordings that lie as variables in MATLAB's files (of any version) or HDF5, and in CND."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from dynamics import installation
from dynamics.brains.courses import existing, stacked

AXES = ("stimulus", "time", "neuroid", "repetition")


def variables(
    path: str | Path,
    *,
    response: str,
    stimulus: str | Sequence[str],
    axes: Sequence[str] = ("stimulus", "time", "neuroid"),
    rate: float | None = None,
    start: float = 0.0,
    neuroid: str = "",
    subject: str = "",
    region: str = "",
) -> xr.Dataset:
    """Read responses from a file by the names of its variables.

    Parameters
    ----------
    path : str or Path
        A ``.mat`` file, or HDF5 (``.h5``, ``.hdf5``).
    response : str
        Variable with the responses, ``struct.field`` for one in a structure: an array, or a cell
        for each stimulus with an array (times, neuroids).
    stimulus : str or sequence of str
        Variable with the names of the sounds, or the names.
    axes : sequence of str
        What the axes of the array (of an array in a cell: without ``stimulus``) are, out of
        ``stimulus``, ``time``, ``neuroid``, ``repetition``; as MATLAB shows them.
    rate : float, optional
        Samples a second; needed where there is a time axis.
    start : float
        Time of the first sample after the sound's onset, seconds.
    neuroid, subject, region : str
        Variables with a label for each neuroid, where there are any.

    Returns
    -------
    xarray.Dataset
        A target, with times where ``time`` is among the axes.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a variable is missing or no array of numbers, axes do not fit it, or names do not.
    """
    path = existing(path, "file")
    file = _File(path)
    names = list(map(str, file.texts(stimulus) if isinstance(stimulus, str) else stimulus))
    parts, order = _parts(file, response, list(axes))
    if len(names) != len(parts):
        raise ValueError(
            f"'{path}' names {len(names)} stimuli for {len(parts)} responses: give one name each, "
            f"or other `axes` than {tuple(axes)}"
        )
    width = parts[0].shape[order.index("neuroid")]
    wanted = {"neuroid": neuroid, "subject": subject, "region": region}
    labels = {key: file.texts(variable) for key, variable in wanted.items() if variable}
    for key, each in labels.items():
        if len(each) != width:
            raise ValueError(
                f"'{path}' has {len(each)} labels of {key} for {width} neuroids: give one each, or "
                f"other `axes` than {tuple(axes)}"
            )
    timed = "time" in order
    if timed and rate is None:
        raise ValueError(f"'{path}' has a time axis: give its `rate` in samples a second")
    found = stacked(
        ((name, each) for name, part in zip(names, parts) for each in _trials(part, order)),
        rate=1.0 if rate is None else rate,
        start=start,
        neuroids=labels.pop("neuroid", [str(number) for number in range(width)]),
        labels=labels,
        about={"name": path.stem, "description": f"{response} of {path.name}"},
    )
    return found if timed else found.isel(time=0, drop=True)


def _parts(file: _File, response: str, axes: list[str]) -> tuple[list[np.ndarray], list[str]]:
    """Return the array of each stimulus, and what its axes are."""
    values = file.get(response)
    cells = isinstance(values, list)
    order = [axis for axis in axes if axis != "stimulus"] if cells else axes
    wrong = [axis for axis in order if axis not in AXES]
    if wrong or "neuroid" not in order or len(set(order)) < len(order):
        raise ValueError(
            f"axes {tuple(axes)} are not right at {wrong[0] if wrong else 'neuroid'!r}: name each "
            f"of {', '.join(AXES)} at most once, neuroid always"
        )
    for number, part in enumerate(values if cells else [values], start=1):
        if np.ndim(part) != len(order):
            raise ValueError(
                f"'{response}' of '{file.path}' has the shape {np.shape(part)}"
                f"{f' in cell {number}' if cells else ''} and axes {tuple(order)}: "
                "give `axes` in the order of the array's"
            )
    if cells:
        return values, order
    if "stimulus" not in order:
        raise ValueError(f"axes {tuple(axes)} have no stimulus: name the one of the stimuli")
    stimuli = list(np.moveaxis(values, order.index("stimulus"), 0))
    return stimuli, [axis for axis in order if axis != "stimulus"]


def _trials(part: np.ndarray, order: list[str]) -> np.ndarray:
    """Return (repetitions, times, neuroids), with one of what there is no axis of."""
    for axis in ("repetition", "time"):
        if axis not in order:
            part, order = part[None], [axis, *order]
    return part.transpose([order.index(axis) for axis in ("repetition", "time", "neuroid")])


def cnd(
    path: str | Path, *, stimulus: Sequence[str] | None = None, subject: str = ""
) -> xr.Dataset:
    """Read one subject of a data set in the Continuous-event Neural Data format.

    Parameters
    ----------
    path : str or Path
        Such as ``dataCND/dataSub1.mat``, with a structure ``eeg`` (or ``neural``).
    stimulus : sequence of str, optional
        Name of the sound of each trial; by default ``stim1``, ``stim2``, ..., by the numbers in
        ``dataStim.mat`` beside it, where it is there.
    subject : str
        Who was recorded; by default the file's name.

    Returns
    -------
    xarray.Dataset
        A target over time, which begins before the sound where the file states a padding
        (``paddingStartSample``).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If there is no such structure, or the names are not as many as the trials.
    """
    path = existing(path, "file")
    file = _File(path)
    root = next((name for name in _ROOTS if file.has(name)), None)
    if root is None:
        raise ValueError(f"'{path}' has no structure 'eeg': it is no file of a CND data set")
    data = file.get(f"{root}.data")
    data = data if isinstance(data, list) else [data]
    rate = float(np.ravel(file.get(f"{root}.fs"))[0])
    padding = 0.0
    if file.has(f"{root}.paddingStartSample"):
        padding = float(np.ravel(file.get(f"{root}.paddingStartSample"))[0]) / rate
    if stimulus is None:
        numbers = list(range(1, len(data) + 1))
        beside = path.with_name("dataStim.mat")
        if beside.is_file() and (stim := _File(beside)).has("stim.stimIdxs"):
            numbers = [int(n) for n in np.ravel(stim.get("stim.stimIdxs"))]
        stimulus = [f"stim{number}" for number in numbers]
    if len(stimulus) != len(data):
        raise ValueError(
            f"'{path}' has {len(data)} trials and {len(stimulus)} names: give one each"
        )
    trials = [(name, np.asarray(part)) for name, part in zip(stimulus, data)]
    width = trials[0][1].shape[1]
    return stacked(
        trials,
        rate=rate,
        start=-padding,
        neuroids=[str(number) for number in range(width)],
        labels={"subject": [subject or path.stem] * width},
        about={"name": path.stem, "description": f"CND recording {path.name}"},
    )


def is_cnd(path: str | Path) -> bool:
    """Whether a file has the structure of recordings that the CND format has."""
    file = _File(existing(path, "file"))
    return any(file.has(f"{name}.data") for name in _ROOTS)


_ROOTS = ("eeg", "neural", "meg", "ecog")


class _File:
    """Variables of a file, whichever of the two formats it has."""

    def __init__(self, path: Path):
        self.path = path
        with path.open("rb") as file:
            head = file.read(520)
        self.hdf = head[:4] == b"\x89HDF" or head[512:516] == b"\x89HDF"
        if self.hdf:
            installation.load("h5py")
            return
        from scipy.io import loadmat

        try:
            self.values: dict[str, Any] = loadmat(path, simplify_cells=True)
        except Exception as error:  # of SciPy's own and of zlib
            raise ValueError(f"'{path}' cannot be read as a file of MATLAB: {error}") from error

    def has(self, name: str) -> bool:
        """Whether there is a variable, or a field of a structure."""
        try:
            self.get(name)
        except ValueError:
            return False
        return True

    def get(self, name: str) -> Any:
        """Return an array of numbers, or a list of such for a cell."""
        if self.hdf:
            return self._from_hdf(name)
        found: Any = self.values
        for part in name.split("."):
            if not isinstance(found, dict) or part not in found:
                raise ValueError(f"'{self.path}' has no variable '{name}', only {self._there()}")
            found = found[part]
        if isinstance(found, np.ndarray) and found.dtype.kind == "O":
            return [_numbers(each, name, self.path) for each in found.ravel()]
        return found if isinstance(found, dict) else _numbers(found, name, self.path)

    def texts(self, name: str) -> list[str]:
        """Return a label each of a variable: texts, or numbers as texts."""
        if self.hdf:
            return self._texts_from_hdf(name)
        found: Any = self.values
        for part in name.split("."):
            if not isinstance(found, dict) or part not in found:
                raise ValueError(f"'{self.path}' has no variable '{name}', only {self._there()}")
            found = found[part]
        return [_text(each) for each in np.atleast_1d(found).ravel().tolist()]

    def _there(self) -> str:
        names = [name for name in self.values if not name.startswith("__")]
        return ", ".join(names) or "nothing"

    def _from_hdf(self, name: str) -> Any:
        import h5py

        with h5py.File(self.path, "r") as file:
            found = self._node(file, name)
            if isinstance(found, h5py.Group):
                return {}
            if h5py.check_ref_dtype(found.dtype):  # a cell: what MATLAB saves lies transposed
                cells = np.asarray(found).T.ravel()
                return [_numbers(np.asarray(file[each]).T, name, self.path) for each in cells]
            values = np.asarray(found)
            turned = values.T if "MATLAB_class" in found.attrs else values
            return _numbers(turned, name, self.path)

    def _texts_from_hdf(self, name: str) -> list[str]:
        import h5py

        with h5py.File(self.path, "r") as file:
            found = self._node(file, name)
            if h5py.check_ref_dtype(found.dtype):
                cells = np.asarray(found).T.ravel()
                return ["".join(map(chr, np.asarray(file[each]).ravel())) for each in cells]
            return [_text(each) for each in np.ravel(found[()]).tolist()]

    def _node(self, file: Any, name: str) -> Any:
        place = name.replace(".", "/")
        if place not in file:
            there = ", ".join(key for key in file if not key.startswith("#")) or "nothing"
            raise ValueError(f"'{self.path}' has no variable '{name}', only {there}")
        return file[place]


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value).strip()


def _numbers(values: Any, name: str, path: Path) -> np.ndarray:
    found = np.asarray(values)
    if found.dtype.kind not in "fiub":
        raise ValueError(
            f"'{name}' of '{path}' holds no numbers but {found.dtype}: name the variable of "
            "responses"
        )
    return found.astype(float)
