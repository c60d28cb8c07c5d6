"""Voxels of two studies of natural sounds, as Tuckute, Feather et al. (2023) released them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import xarray as xr

from dynamics.brains import natsound
from dynamics.brains.loading import ceiling
from dynamics.brains.pandas_pickle import read_table
from dynamics.checkpoints.array_files import read_npy
from dynamics.sounds.audio import natural_order, without_suffix

logger = logging.getLogger(__name__)

DATASETS = {
    "NH2015": "Norman-Haignere, Kanwisher & McDermott (2015), doi:10.1016/j.neuron.2015.11.035",
    "B2021": "Boebinger, Norman-Haignere, McDermott & Kanwisher (2021), doi:10.1152/jn.00588.2020",
}
"""Whose responses they are."""

_FEWEST = 2  # repetitions of a voxel
_ELSEWHERE = "elsewhere"
_SUBJECT = ("subj_idx", "subject", "subj")
_NAMES = ("filename", "stim", "stimulus", "stim_name", "name")
_COORDINATES = {"hemi": "hemisphere", "x_ras": "x", "y_ras": "y", "z_ras": "z"}


def release(*, root: str | Path, dataset: str, region: str = "roi_label_general") -> xr.Dataset:
    """Read the released voxels of Tuckute, Feather et al. (2023), doi:10.1371/journal.pbio.3002366.

    Parameters
    ----------
    root : str or Path
        Folder with ``neural/NH2015`` and ``neural/B2021``, as the archive has them, or one of
        these. The sounds of both are named in ``NH2015/neural_stim_meta.npy``.
    dataset : {"NH2015", "B2021"}
        Which.
    region : str
        Column of ``df_roi_meta.pkl`` with the region of each voxel: Primary, Anterior, Lateral,
        Posterior, and elsewhere for those without one.

    Returns
    -------
    xarray.Dataset
        ``response`` (stimulus, neuroid, repetition), NaN where a voxel has no such repetition.
        Voxels with two repetitions or more are there, and have a noise ceiling.

    Raises
    ------
    FileNotFoundError
        If a file of the archive is missing.
    ValueError
        If the arrays do not go together, or a pickle could run code.
    """
    if dataset not in DATASETS:
        raise ValueError(f"there is no data set {dataset!r}: choose {' or '.join(DATASETS)}")
    folder = _folder(Path(root), dataset)
    values = _file(folder, "voxel_features_array.npy")
    # The sounds of the later study are those of the first, in its order, and music beyond.
    names = _names(read_npy(_file(folder, "neural_stim_meta.npy", folder.parent / "NH2015")))
    regions = read_table(_file(folder, "df_roi_meta.pkl"))
    # The archive has the voxels of the later study in the table of regions alone.
    alone = dataset == "B2021" and not (folder / "voxel_features_meta.npy").is_file()
    voxels = regions if alone else _fields(read_npy(_file(folder, "voxel_features_meta.npy")))
    response = read_npy(values).astype(np.float64)
    if dataset == "B2021":
        response = response[: len(names)]
    count = len(next(iter(voxels.values()), ()))
    if response.ndim != 3 or response.shape[:2] != (len(names), count):
        raise ValueError(
            f"'{values}' has the shape {response.shape}, and there are {len(names)} sounds and "
            f"{count} voxels beside it: (sounds, voxels, repetitions) is meant"
        )
    if "n_reps" in voxels:  # what is beyond them is no response
        beyond = np.arange(response.shape[2]) >= voxels["n_reps"].astype(int)[:, None]
        response[:, beyond] = np.nan
    names, labels = natsound.described(names)
    order = sorted(range(len(names)), key=lambda row: natural_order(names[row]))
    coords: dict = {key: ("stimulus", np.asarray(each)[order]) for key, each in labels.items()}
    coords["stimulus"] = [names[row] for row in order]
    about = _about(voxels, regions, region, folder)
    coords |= {key: ("neuroid", each) for key, each in about.items()}
    data = xr.Dataset(
        {"response": (("stimulus", "neuroid", "repetition"), response[order])},
        coords=coords | {"neuroid": np.arange(count)},
        attrs={
            "name": f"tuckute-release-{dataset}",
            "description": f"fMRI voxels of {DATASETS[dataset].partition(',')[0]}",
            "citation": f"{DATASETS[dataset]}; released by Tuckute, Feather et al. (2023), "
            "doi:10.1371/journal.pbio.3002366",
            "units": "% signal change",
            "simulated": 0,
        },
    )
    return _repeated(data)


def _repeated(data: xr.Dataset) -> xr.Dataset:
    """Keep voxels with two repetitions or more, and say how many those are."""
    whole = data["response"].notnull().all("stimulus").sum("repetition").to_numpy()
    if few := int((whole < _FEWEST).sum()):
        logger.warning("%d of %d voxels have fewer than two repetitions: they are left out",
                       few, len(whole))  # fmt: skip
    if few == len(whole):
        raise ValueError("no voxel has two repetitions")
    kept = data.isel(neuroid=np.flatnonzero(whole >= _FEWEST))
    return kept.assign_coords(
        repetitions=("neuroid", whole[whole >= _FEWEST]), ceiling=ceiling(kept)
    )


def _folder(root: Path, dataset: str) -> Path:
    for place in (root, root / dataset, root / "neural" / dataset, root / "data/neural" / dataset):
        if place.name == dataset and place.is_dir():
            return place
    raise FileNotFoundError(f"'{root}' has no folder neural/{dataset}: unpack the archive there")


def _file(folder: Path, name: str, *more: Path) -> Path:
    for place in (folder, *more):
        if (place / name).is_file():
            return place / name
    raise FileNotFoundError(f"'{folder}' has no file {name}, which the archive has: fetch it again")


def _fields(table: np.ndarray) -> dict[str, np.ndarray]:
    """Return the columns of a table by name, without axes of one."""
    if table.dtype.names is None:
        raise ValueError("voxel_features_meta.npy is no table of named columns")
    return {name: np.ravel(table[name]) for name in table.dtype.names}


def _names(table: np.ndarray) -> list[str]:
    """Return the names of the sounds: a column of that name, or the first."""
    if table.dtype.names is not None:
        column = next((name for name in _NAMES if name in table.dtype.names), table.dtype.names[0])
        table = table[column]
    elif table.ndim > 1:
        table = table.reshape(len(table), -1)[:, 0]
    return [without_suffix(_text(each)) for each in np.ravel(table).tolist()]


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _about(
    voxels: Mapping[str, np.ndarray], regions: Mapping[str, np.ndarray], region: str, folder: Path
) -> dict[str, np.ndarray]:
    """Return what is known of each voxel; regions are joined by the voxels' numbers."""
    count = len(next(iter(voxels.values())))
    if region not in regions:
        raise ValueError(
            f"df_roi_meta.pkl of '{folder}' has no column {region!r}: it has "
            f"{', '.join(list(regions)[:12])}"
        )
    rows = _joined(voxels, regions, count, folder)
    labels = [
        _ELSEWHERE if row < 0 or _is_missing(each) else str(each)
        for row, each in zip(rows, regions[region][rows])
    ]
    column = next((name for name in _SUBJECT if name in voxels), None)
    if column is None:
        raise ValueError(f"nothing in '{folder}' says which listener a voxel is of")
    subject = voxels[column]
    found = {
        "region": np.array(labels),
        "subject": np.array([f"s{int(each)}" if np.isreal(each) else _text(each)
                             for each in subject.tolist()]),
    }  # fmt: skip
    for name, own in _COORDINATES.items():
        if name in voxels:
            each = voxels[name]
            found[own] = each if each.dtype.kind in "iuf" else np.array([*map(_text, each)])
    return found


def _joined(
    voxels: Mapping[str, np.ndarray], regions: Mapping[str, np.ndarray], count: int, folder: Path
) -> np.ndarray:
    """Return the row of each voxel in the table of regions, -1 where it has none."""
    if "voxel_id" in voxels and "voxel_id" in regions:
        places = {number: row for row, number in enumerate(regions["voxel_id"].tolist())}
        rows = np.array([places.get(number, -1) for number in voxels["voxel_id"].tolist()])
        if (rows < 0).all():
            raise ValueError(f"df_roi_meta.pkl of '{folder}' has none of the voxels")
        return rows
    length = len(next(iter(regions.values()), ()))
    if length != count:
        raise ValueError(
            f"df_roi_meta.pkl of '{folder}' has {length} rows for {count} voxels, and no voxel_id"
        )
    return np.arange(count)


def _is_missing(value: object) -> bool:
    return value is None or value != value or value == ""
