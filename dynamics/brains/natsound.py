"""Published responses to the 165 natural sounds: fMRI components, ECoG components, folds."""

from __future__ import annotations

import logging
import os

import numpy as np
import scipy.io
import xarray as xr

from dynamics import datasets
from dynamics.sounds.audio import natural_order, without_suffix

logger = logging.getLogger(__name__)


def nh2015_components() -> xr.Dataset:
    """Load the six fMRI components of Norman-Haignere, Kanwisher and McDermott (2015).

    doi:10.1016/j.neuron.2015.11.035

    Returns
    -------
    xarray.Dataset
        ``response`` (165 stimuli, 6 components) in arbitrary units.
    """
    matrix = _components()
    labels = {"neuroid": _strings(matrix["component_names"])}
    return _natsound_target(
        "nh2015-components",
        matrix["R"],
        matrix,
        labels | {"subject": "group of 10", "region": "auditory cortex"},
        description="six components of the fMRI responses of auditory cortex to natural sounds",
        units="arbitrary",
    )


def nh2015_voxels() -> xr.Dataset:
    """Load voxel responses rebuilt from the six fMRI components and their weights.

    Returns
    -------
    xarray.Dataset
        ``response`` (165 stimuli, 11,065 voxels of ten listeners). These are R W, so they lie in
        six dimensions and carry none of the noise of measured voxels; the source publishes
        neither those nor which listener a voxel is of.
    """
    matrix = _components()
    return _natsound_target(
        "nh2015-voxels",
        matrix["R"] @ matrix["W"],
        matrix,
        {"neuroid": np.arange(matrix["W"].shape[1]), "subject": "one of 10 (not published)",
         "region": "auditory cortex"},
        description="voxel responses RECONSTRUCTED from six fMRI components (rank 6, noiseless), "
        "not measured voxels",
        units="arbitrary",
        reconstructed=1,
    )  # fmt: skip


def nh2022_ecog(*, response: str, over_time: str) -> xr.Dataset:
    """Load the ECoG components of Norman-Haignere et al. (2022), doi:10.1016/j.cub.2022.01.069.

    Parameters
    ----------
    response : {"components", "electrodes"}
        The 15 components, or the 272 electrodes rebuilt from components and weights, R W, with
        the coordinates ``x``, ``y``, ``z`` (mm, on the *inflated* surface of FsAverage, which
        is no anatomical space), ``vertex`` (of FsAverage, from 1) and ``hemisphere``. Over time
        an electrode is a fixed mixture of the components' time courses, the model by which the
        study found them: electrodes differ in latency only as far as their components do.
    over_time : {"mean", "keep"}
        Average over the 3 s from sound onset, or keep the time axis (25 Hz).

    Returns
    -------
    xarray.Dataset
        ``response`` (165 stimuli[, 75 times], neuroid), broadband gamma power.
    """
    root = datasets.folder("song-ecog-current-biology") / "data"
    matrix = scipy.io.loadmat(root / "ecog_component_responses.mat")
    R = matrix["R"].astype(np.float64)
    kept = over_time == "keep"
    R = R if kept else R.mean(axis=1)
    labels: dict = {"neuroid": [f"ecog{i + 1}" for i in range(R.shape[-1])]}
    labels |= {"subject": "group of 15", "region": "auditory cortex"}
    about: dict = {"description": "components of ECoG broadband gamma responses to natural sounds"}
    if response == "electrodes":
        weights = scipy.io.loadmat(root / "ecog_component_weights.mat")
        R = R @ weights["W"].astype(np.float64)
        labels = _electrode_labels(weights)
        about = {
            "description": "electrode responses RECONSTRUCTED from fifteen ECoG components "
            "(rank 15), not measured electrodes",
            "reconstructed": 1,
        }
    name = "nh2022-ecog" + ("-electrodes" if response == "electrodes" else "")
    return _natsound_target(
        name + ("-time" if kept else ""),
        R,
        matrix,
        labels,
        time=matrix["t"].ravel().astype(np.float64) if kept else None,
        units="arbitrary (broadband gamma power)",
        citation=datasets.DATASETS["song-ecog-current-biology"].citation,
        **about,
    )


def folds() -> dict[str, int]:
    """Return the five stratified folds of Pepino et al. (2025, arXiv:2511.16849).

    The source lists 165 numbers without names. They are taken to follow the numeric order of the
    stimulus number, in which they are stratified over the sound categories.

    Returns
    -------
    dict of str to int
        Stimulus name of natsound165 to fold, 0 to 4.

    Raises
    ------
    ValueError
        Where the file is not what it should be.
    """
    return _read_folds(_strings(_components()["stim_names"]))


def described(names: list[str]) -> tuple[list[str], dict[str, list]]:
    """Call sounds as `natsound165` does, and return what is known of them.

    Parameters
    ----------
    names : list of str
        Such as ``stim5_alarm_clock``; the number tells which it is where the rest is spelled
        otherwise.

    Returns
    -------
    names : list of str
        Those of the stimulus set.
    labels : dict of str to list
        `category`, and `fold` where the folds are at hand, a value a sound.

    Raises
    ------
    ValueError
        If a sound is not among the 165, or is there twice.
    """
    matrix = _components()
    known = [without_suffix(item) for item in _strings(matrix["stim_names"])]
    by_number = {_number(name): name for name in known}
    found = [name if name in known else by_number.get(_number(name), "") for name in names]
    if "" in found:
        raise ValueError(
            f"{found.count('')} of {len(names)} sounds are not among the 165 natural sounds, such "
            f"as {names[found.index('')]!r}"
        )
    if len(set(found)) < len(found):
        twice = next(name for name in found if found.count(name) > 1)
        raise ValueError(f"the sound {twice!r} is there twice")
    categories = dict(zip(known, _categories(matrix).tolist()))
    labels: dict[str, list] = {"category": [categories[name] for name in found]}
    if len(found) == len(known) and (folds := _folds_at_hand(found)):
        labels["fold"] = [folds[name] for name in found]
    return found, labels


def _number(name: str) -> str:
    return name.partition("_")[0].lower()


def _components() -> dict:
    return scipy.io.loadmat(datasets.folder("natsound165-neuron2015") / "data" / "components.mat")


def _natsound_target(
    name: str,
    values: np.ndarray,
    matrix: dict,
    labels: dict,
    *,
    time: np.ndarray | None = None,
    **about,
) -> xr.Dataset:
    """Build a target over the 165 natural sounds, in order of the stimulus number."""
    names = [without_suffix(item) for item in _strings(matrix["stim_names"])]
    order = sorted(range(len(names)), key=lambda index: natural_order(names[index]))
    names = [names[index] for index in order]
    dims = ("stimulus", "neuroid") if time is None else ("stimulus", "time", "neuroid")
    count = values.shape[-1]
    coords: dict = {
        label: ("neuroid", [value] * count if isinstance(value, str) else value)
        for label, value in labels.items()
    }
    coords |= {"stimulus": names, "category": ("stimulus", _categories(matrix)[order])}
    if time is not None:
        coords["time"] = ("time", time, {"units": "s", "long_name": "time since sound onset"})
    if known := _folds_at_hand(names):
        source = {"source": datasets.DATASETS["braindnn"].citation}
        coords["fold"] = ("stimulus", [known[item] for item in names], source)
    default = {"citation": datasets.DATASETS["natsound165-neuron2015"].citation, "simulated": 0}
    attrs = {"name": name} | default | about
    response = (dims, values[order], {"units": attrs["units"], "long_name": attrs["description"]})
    return xr.Dataset({"response": response}, coords=coords, attrs=attrs)


def _folds_at_hand(names: list[str]) -> dict[str, int]:
    """Return the folds, or nothing where they are neither here nor likely to be reachable."""
    try:
        # Whoever keeps local copies may sit behind a wall that lets a download hang.
        if datasets.find("braindnn") or not os.environ.get("DYNAMICS_DATA"):
            return _read_folds(names)
    except ConnectionError as error:
        logger.warning("no published folds: %s", error)
    return {}


def _read_folds(names: list[str]) -> dict[str, int]:
    path = datasets.folder("braindnn") / "lists" / "stratified-fold-assignment.pkl"
    names = sorted(names, key=natural_order)
    # A joblib pickle of one array ends with the array's bytes and a stop sign: these are read
    # directly, so that nothing is ever unpickled.
    tail = path.read_bytes()[: -len(b".")][-8 * len(names) :]
    numbers = np.frombuffer(tail[: len(tail) // 8 * 8], dtype="<f8")
    if numbers.size != len(names) or not np.isin(numbers, range(5)).all():
        raise ValueError(f"{path} does not hold {len(names)} folds: fetch it again")
    return dict(zip(names, numbers.astype(int).tolist()))


def _categories(matrix: dict) -> np.ndarray:
    if "category_labels" in matrix:
        return np.array(_strings(matrix["category_labels"]))
    table = matrix["C"][0, 0]
    return np.array(_strings(table["category_labels"]))[table["category_assignments"].ravel() - 1]


def _electrode_labels(weights: dict) -> dict:
    places = weights["elec_verts_ras"].astype(np.float64)
    return {
        "neuroid": np.arange(len(places)),
        "subject": [f"patient{index:02d}" for index in weights["subject_indices"].ravel()],
        "region": "auditory cortex",
        "hemisphere": np.where(places[:, 0] < 0, "left", "right"),
        "vertex": weights["elec_vert_nums"].ravel().astype(np.int64),
        **dict(zip("xyz", places.T)),
    }


def _strings(cells: np.ndarray) -> list[str]:
    return [str(np.ravel(cell)[0]) for cell in np.ravel(cells)]
