"""Arrays in the files of others: HDF5, NumPy's, and pickles of plain arrays."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dynamics import installation
from dynamics.checkpoints.plain import read_pickle, unpickled


class ArrayFile:
    """The arrays of one file by their keys, read when they are asked for.

    Attributes
    ----------
    keys : tuple of str
        Names of the arrays, ``group/name`` where they are nested; empty of a single one.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            self._arrays = _OPENERS[path.suffix](path)
        except (OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"'{path}' cannot be read ({error})") from None
        self.keys = tuple(self._arrays)

    def read(self, key: str) -> np.ndarray:
        """Return an array of numbers or texts; a ValueError where it is none."""
        try:
            found = np.asarray(self._arrays[key]())
        except (OSError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"'{key}' of '{self.path}' cannot be read ({error})") from None
        if found.dtype.kind == "O":
            found = np.array([_text(each) for each in found.ravel()]).reshape(found.shape)
        return found


def _text(value: Any) -> str:
    if not isinstance(value, (str, bytes)):
        raise ValueError(f"an array holds {type(value).__name__}s, neither numbers nor texts")
    return value.decode() if isinstance(value, bytes) else value


Arrays = dict[str, Callable[[], Any]]


def _of_hdf5(path: Path) -> Arrays:
    installation.load("h5py")
    import h5py

    names: list[str] = []
    with h5py.File(path, "r") as file:
        file.visititems(
            lambda name, node: names.append(name) if isinstance(node, h5py.Dataset) else None
        )

    def read(name: str) -> Any:
        with h5py.File(path, "r") as file:
            return file[name][()]

    return {name: lambda name=name: read(name) for name in names}  # type: ignore[misc]


def _of_npz(path: Path) -> Arrays:
    if not zipfile.is_zipfile(path):
        raise ValueError(f"'{path}' is no archive of numpy.savez, or is cut off")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()

    def read(name: str) -> Any:
        with zipfile.ZipFile(path) as archive, archive.open(name) as file:
            return _npy(file, f"{path}: {name}")

    return {n.removesuffix(".npy"): lambda n=n: read(n) for n in names}  # type: ignore[misc]


def _of_npy(path: Path) -> Arrays:
    def read() -> Any:
        with path.open("rb") as file:
            return _npy(file, str(path))

    return {"": read}


def read_npy(path: Path) -> np.ndarray:
    """Read an array of NumPy's format; one of objects as a pickle that runs nothing."""
    with path.open("rb") as file:
        return _npy(file, str(path))


def _npy(file: Any, where: str) -> Any:
    version = np.lib.format.read_magic(file)
    known = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in known:
        raise ValueError(f"'{where}' is of version {version} of NumPy's format: write it anew")
    shape, fortran, dtype = known[version](file)
    if dtype.hasobject:
        found = np.asarray(unpickled(file, where))
        if found.shape != shape:
            raise ValueError(f"'{where}' does not hold what its header states")
        return found
    count = int(np.prod(shape, dtype=np.int64))
    raw = file.read(count * dtype.itemsize)
    if len(raw) != count * dtype.itemsize:
        raise ValueError(f"'{where}' is cut off")
    return np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")


def _of_pickle(path: Path) -> Arrays:
    found: Arrays = {}

    def walk(value: Any, key: str) -> None:
        if isinstance(value, Mapping):
            for name, one in value.items():
                walk(one, f"{key}/{name}" if key else str(name))
        elif isinstance(value, np.ndarray):
            found[key] = lambda: value

    walk(read_pickle(path), "")
    if not found:
        raise ValueError(f"'{path}' holds no array of NumPy, by itself or in mappings")
    return found


_OPENERS: dict[str, Callable[[Path], Arrays]] = {
    ".h5": _of_hdf5,
    ".hdf5": _of_hdf5,
    ".npz": _of_npz,
    ".npy": _of_npy,
    ".pkl": _of_pickle,
    ".pickle": _of_pickle,
}
