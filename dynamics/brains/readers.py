"""Files of brain targets, made by anybody: read as plain arrays, within bounds."""

from __future__ import annotations

import itertools
import math
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr

from dynamics import installation
from dynamics.store.folder import check_regular

NEUROID_LABELS = ("subject", "region", "ceiling")
_OF_STIMULI = ("stimulus", "category", "fold", "group")

# What is packed tighter than responses ever are, and more than a machine can do without.
_UNPACKED_LIMIT, _RATIO_LIMIT = 2**30, 1000


def read(path: Path) -> xr.Dataset:
    """Read what a file holds by its suffix.

    Parameters
    ----------
    path : Path
        A netCDF file, ``.npz`` file or zarr group, see `dynamics.brains.from_file`.

    Returns
    -------
    xarray.Dataset
        In memory.

    Raises
    ------
    ValueError
        Where it is a pipe, a socket or a device, or would take far more memory than it has bytes;
        the readers raise more of their own.
    """
    if not (path.is_file() or path.is_dir()):
        raise ValueError("it is no regular file but a pipe, a socket or a device")
    return _READERS.get(path.suffix, _read_zarr)(path)


def _read_npz(path: Path) -> xr.Dataset:
    if not zipfile.is_zipfile(path):
        raise ValueError("it is no archive of numpy.savez, or is cut off")
    known = ("response", "time", *_OF_STIMULI, "neuroid", *NEUROID_LABELS)
    with zipfile.ZipFile(path) as archive:
        members = set(archive.namelist())
        arrays = {key: member(archive, f"{key}.npy") for key in known if f"{key}.npy" in members}
    if "response" not in arrays:
        others = sorted(name.removesuffix(".npy") for name in members)
        some = ", ".join(others[:3]) + (" ..." if len(others) > 3 else "")
        raise ValueError(
            f"the array 'response' is missing, there is {some or 'none'} (one array a sound is "
            "read by `trials`)"
        )
    if "stimulus" not in arrays:
        raise ValueError("the array 'stimulus' is missing")
    last = ("time", "neuroid") if "time" in arrays else ("neuroid", "repetition")
    dims = ("stimulus", *last)[: arrays["response"].ndim]
    if arrays["response"].ndim != len(dims) or len(dims) < 2 or "neuroid" not in dims:
        raise ValueError(f"'response' has the shape {arrays['response'].shape}")
    places = {"time": "time"} | dict.fromkeys(_OF_STIMULI, "stimulus")
    _check_order(dims, arrays["response"].shape, {
        places.get(key, "neuroid"): len(value) for key, value in arrays.items()
        if key in ("stimulus", "time", "neuroid")})  # fmt: skip
    response = arrays.pop("response")
    if response.dtype.kind != "c":  # about which the caller has a sentence
        response = response.astype(np.float64)
    coords = {key: (places.get(key, "neuroid"), value) for key, value in arrays.items()}
    return xr.Dataset({"response": (dims, response)}, coords=coords)


def _check_order(dims: tuple[str, ...], shape: tuple[int, ...], sizes: dict[str, int]) -> None:
    """Raise a ValueError where axes are not as long as what names their entries."""
    wrong = [dim for dim, size in zip(dims, shape) if sizes.get(dim, size) != size]
    if not wrong:
        return
    named = ", ".join(f"{size} of '{dim}'" for dim, size in sizes.items())
    turned = [
        f"transpose({', '.join(map(str, order))})"
        for order in itertools.permutations(range(len(dims)))
        if all(sizes.get(dim, shape[axis]) == shape[axis] for dim, axis in zip(dims, order))
    ]
    advice = f": write response.{turned[0]}" if turned else ""
    raise ValueError(
        f"'response' has the shape {shape} and there are {named}, but its axes must be "
        f"({', '.join(dims)}){advice}"
    )


def member(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Read an array of an archive whose header says what is there, and that it is plain."""
    info = archive.getinfo(name)
    _check_size(info.file_size, info.compress_size)
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        reader = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if reader is not None:  # others are of names beyond Latin, which no column here has
            shape, _, dtype = reader(file)
            if dtype.hasobject:
                raise ValueError(
                    f"{name!r} holds objects, which may run code: write numbers or texts of NumPy"
                )
            if math.prod(shape) * dtype.itemsize != info.file_size - file.tell():
                raise ValueError(f"{name!r} does not hold as many values as its header states")
    if reader is None:
        raise ValueError(f"{name!r} is of version {version} of NumPy's format: write it anew")
    with archive.open(info) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _read_netcdf(path: Path) -> xr.Dataset:
    """Read netCDF 3 or 4 with the library that is there, one for each."""
    with path.open("rb") as file:
        engine = "h5netcdf" if file.read(4) == b"\x89HDF" else "scipy"
    installation.load(engine)
    if engine == "h5netcdf":  # which prints a traceback of its own where this fails
        import h5py

        with h5py.File(path) as file:
            file.visititems(lambda *_: None)
    target = _loaded(path, path.stat().st_size, engine)
    # Texts without a character come back as objects of the library.
    target.attrs = {k: "" if type(v).__name__ == "Empty" else v for k, v in target.attrs.items()}
    return target


def _read_zarr(path: Path) -> xr.Dataset:
    if not any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zmetadata")):
        raise ValueError("it is a folder without a zarr group")
    files = [Path(folder, name) for folder, _, names in os.walk(path) for name in names]
    for file in files:
        check_regular(file)
    return _loaded(path, sum(file.stat().st_size for file in files if file.exists()), None)


def _loaded(path: Path, packed: int, engine: str | None) -> xr.Dataset:
    with xr.open_dataset(path, engine=engine) as opened:
        _check_size(opened.nbytes, packed)
        return opened.load()


def _check_size(unpacked: int, packed: int) -> None:
    if unpacked > _UNPACKED_LIMIT and unpacked > _RATIO_LIMIT * packed:
        raise ValueError(
            f"it unpacks {packed:,} bytes to {unpacked:,}: write the responses without what is "
            "missing everywhere"
        )


_READERS: dict[str, Callable[[Path], xr.Dataset]] = {".npz": _read_npz, ".nc": _read_netcdf}
