"""Recordings with an array of its own for every sound, in an archive of NumPy."""

from __future__ import annotations

import zipfile
from pathlib import Path

import xarray as xr

from dynamics.brains.courses import existing, stacked
from dynamics.brains.readers import member


def trials(
    path: str | Path,
    *,
    rate: float,
    start: float | None = None,
    subject: str = "",
) -> xr.Dataset:
    """Read an ``.npz`` file with one array (times, neuroids) a sound, named after it.

    Parameters
    ----------
    path : str or Path
        As ``numpy.savez(path, story1=..., story2=...)`` writes it.
    rate : float
        Samples a second.
    start : float, optional
        Time of the first sample after the sound's onset, seconds; by default half a sample, as one
        is taken over its interval.
    subject : str
        Who was recorded.

    Returns
    -------
    xarray.Dataset
        A target over time; what a shorter array lacks is NaN.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no archive, holds objects, or arrays have other shapes than (times, neuroids).
    """
    path = existing(path, "file")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"'{path}' is no archive of numpy.savez, or is cut off")
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        try:
            arrays = [(name, member(archive, f"{name}.npy")) for name in names]
        except ValueError as error:
            raise ValueError(f"'{path}' cannot be read as recordings: {error}") from None
    wrong = next((each for each in arrays if each[1].ndim != 2 or each[1].dtype.kind not in "fiu"),
                 None)  # fmt: skip
    if wrong is not None:
        raise ValueError(
            f"'{wrong[0]}' of '{path}' has the shape {wrong[1].shape} of {wrong[1].dtype}: give "
            "numbers of (times, neuroids) for each sound"
        )
    width = arrays[0][1].shape[1] if arrays else 0
    labels = {"subject": [subject or "unknown"] * width}
    return stacked(
        arrays,
        rate=rate,
        start=0.5 / rate if start is None and rate > 0 else start or 0.0,
        neuroids=[str(number) for number in range(width)],
        labels=labels,
        about={"name": path.stem, "description": f"responses to {len(arrays)} sounds in "
               f"{path.name}"},
    )  # fmt: skip


def is_of_trials(path: str | Path) -> bool:
    """Whether an ``.npz`` file has arrays, and none that is called ``response``."""
    if not Path(path).is_file() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return "response.npy" not in archive.namelist() != []
