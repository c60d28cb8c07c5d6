"""Brain targets: responses to sounds as labelled arrays, joined to stimuli by name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PurePath

import numpy as np
import xarray as xr

from dynamics.brains import labels, naplib, natsound, readers
from dynamics.sounds.audio import without_suffix
from dynamics.tables import Later, Table, check_arguments

logger = logging.getLogger(__name__)

DIMENSIONS = ("stimulus", "time", "neuroid", "repetition")
FILE_SUFFIXES = (".nc", ".zarr", ".npz")


def load(name: str | Path, **arguments) -> xr.Dataset:
    """Load a brain target by name, or from a file.

    Parameters
    ----------
    name : str or Path
        A name in `TARGETS`, or a ``.nc``, ``.zarr`` or ``.npz`` file: see `from_file`.
    **arguments
        Passed on, for instance ``stimuli`` and ``seed`` for ``"simulated"``.

    Returns
    -------
    xarray.Dataset
        ``response`` (stimulus[, time], neuroid[, repetition]), with the coordinates ``subject``
        and ``region`` of every neuroid, ``ceiling`` where it is known (the correlation of a
        noiseless predictor with the mean over repetitions), ``category``, ``fold`` and ``group``
        of every stimulus where they are known, and the attributes ``name``, ``description``,
        ``citation``, ``units`` and ``simulated`` (0 or 1).

    Raises
    ------
    ValueError
        For an unknown name, or a file that does not hold a target.
    ArgumentError
        For an argument that the target does not take.
    FileNotFoundError
        For a missing file.
    """
    check_name(name)
    if str(name) in TARGETS:
        TARGETS.check(str(name), arguments, more=TARGETS.filled)
        return TARGETS[str(name)](**arguments)
    check_arguments(f"brain target {str(name)!r}", arguments, [])
    return from_file(name)


def check_name(name: str | Path) -> None:
    """Raise a ValueError where a target is neither in `TARGETS` nor named like a file of one."""
    if Path(name).suffix not in FILE_SUFFIXES:
        TARGETS.find(str(name))


TARGETS: Table[Callable[..., xr.Dataset]] = Table(
    "brain target",
    {
        "nh2015-components": natsound.nh2015_components,
        "nh2015-voxels": natsound.nh2015_voxels,
        "nh2022-ecog": partial(natsound.nh2022_ecog, response="components", over_time="mean"),
        "nh2022-ecog-time": partial(natsound.nh2022_ecog, response="components", over_time="keep"),
        "nh2022-ecog-electrodes": partial(
            natsound.nh2022_ecog, response="electrodes", over_time="mean"
        ),
        "nh2022-ecog-electrodes-time": partial(
            natsound.nh2022_ecog, response="electrodes", over_time="keep"
        ),
        "naplib-speech": naplib.naplib_speech,
        "stimuli-labels": labels.stimuli_labels,
        "stimuli-acoustics": labels.stimuli_acoustics,
        # Files of other kinds, each read with the library of its field.
        "recording": Later("dynamics.brains.electrophysiology", "recording"),
        "images": Later("dynamics.brains.imaging", "images"),
        "variables": Later("dynamics.brains.matlab", "variables"),
        "trials": Later("dynamics.brains.trials", "trials"),
        "tuckute-release": Later("dynamics.brains.tuckute", "release"),
        "cnd": Later("dynamics.brains.matlab", "cnd"),
        "nwb": Later("dynamics.brains.nwb", "nwb"),
        # It needs a neural network library, and nothing else here does.
        "simulated": Later("dynamics.reference.listener", "simulate"),
        "simulated-stories": Later("dynamics.reference.stories", "simulate"),
    },
    filled=("stimuli",),
    beside=f", and files ending in {', '.join(FILE_SUFFIXES)}",
)


def from_file(path: str | Path) -> xr.Dataset:
    """Load a target of one's own.

    Parameters
    ----------
    path : str or Path
        A netCDF file or zarr group with a variable ``response`` over ``stimulus`` and
        ``neuroid`` and, if there are any, ``time`` (seconds) and ``repetition``. Or an ``.npz``
        file with the arrays ``response`` (stimulus, neuroid), (stimulus, neuroid, repetition),
        or, with an array ``time`` beside it, (stimulus, time, neuroid), and ``stimulus`` (names);
        ``neuroid``, ``subject``, ``region``, ``ceiling``, ``category``, ``fold`` and ``group`` (of
        stimuli that training and test must not share) where there are any. Responses that are
        missing are NaN: what exists is averaged, see `dynamics.brains.targets.make_target`.

    Returns
    -------
    xarray.Dataset
        As from `load`. Where there are repetitions and no ceiling, it is estimated.

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        Where the file does not hold a target, or a response is infinite.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"brain target '{path}' does not exist: correct the path")
    try:
        target = readers.read(path)
    except Exception as error:
        # The readers' own exceptions are of many unrelated types.
        raise ValueError(
            f"'{path}' cannot be read as a brain target: {_first_line(error)}"
        ) from error
    if "response" not in target or not {"stimulus", "neuroid"} <= set(target["response"].dims):
        raise ValueError(f"'{path}' needs a variable 'response' over 'stimulus' and 'neuroid'")
    if target["response"].dtype.kind not in "fiub":
        raise ValueError(
            f"'{path}' has responses of {target['response'].dtype} values: write real numbers"
        )
    if unknown := set(target["response"].dims) - set(DIMENSIONS):
        raise ValueError(
            f"'{path}' has a dimension '{min(map(str, unknown))}': use {', '.join(DIMENSIONS)}"
        )
    if "stimulus" not in target.coords:
        raise ValueError(f"'{path}' does not name its stimuli: add a coordinate 'stimulus'")
    names = [without_suffix(str(item)) for item in target["stimulus"].values]
    if len(set(names)) < len(names):
        raise ValueError(f"'{path}' has several rows for one stimulus name: make names unique")
    if np.isinf(target["response"].values).any() or target["response"].isnull().all():
        raise ValueError(
            f"'{path}' has infinite responses, or none: write NaN where one is missing"
        )
    _check_rate(target, path)
    target = target.assign_coords(stimulus=names)
    if "neuroid" not in target.coords:
        target = target.assign_coords(neuroid=np.arange(target.sizes["neuroid"]))
    for label in ("subject", "region"):
        if label not in target.coords:
            target = target.assign_coords(
                {label: ("neuroid", ["unknown"] * target.sizes["neuroid"])}
            )
    about = f"responses in {path.name}"
    defaults = {"name": path.stem, "description": about, "citation": "", "units": "arbitrary"}
    target.attrs = defaults | {"simulated": 0} | target.attrs
    target = target.transpose(*(dim for dim in DIMENSIONS if dim in target["response"].dims), ...)
    if "ceiling" not in target.coords and target.sizes.get("repetition", 1) > 1:
        target = target.assign_coords(ceiling=ceiling(target))
    return target


def _check_rate(target: xr.Dataset, path: Path) -> None:
    """Raise a ValueError where a target states a sampling rate that its times have not."""
    places = (target.attrs, target["response"].attrs, target.variables)
    key = next((key for place in places for key in _RATES if key in place), "")
    if not key or "time" not in target.coords or target.sizes["time"] < 2:
        return
    stated = next(place[key] for place in places if key in place)
    try:
        rate = float(np.ravel(stated)[0])
    except (TypeError, ValueError, IndexError):
        return
    found = 1 / float(np.diff(target["time"].to_numpy().astype(float)).mean())
    if not abs(found - rate) <= 0.01 * abs(rate):
        raise ValueError(
            f"'{path}' states a {key} of {rate:g} Hz, but its times are {found:g} a second: "
            f"correct 'time' (in seconds), or take out `{key}`"
        )


_RATES = ("rate", "sampling_rate", "sample_rate", "sfreq", "fs")


def join(target: xr.Dataset, names: Sequence[str], *, partial: str = "warn") -> xr.Dataset:
    """Order a target's stimuli as given, by name.

    Parameters
    ----------
    target : xarray.Dataset
        From `load`.
    names : sequence of str
        Stimulus names in the wanted order; audio suffixes are ignored.
    partial : {"warn", "error"}
        What to do where only some stimuli are in both: log a warning and go on with these, in
        the order of `names`, or raise.

    Returns
    -------
    xarray.Dataset
        The target with its stimuli in the order of `names`.

    Raises
    ------
    ValueError
        Where no stimulus is in both, or only some and ``partial="error"``.
    """
    wanted = [without_suffix(str(name)) for name in names]
    there = [without_suffix(str(name)) for name in target["stimulus"].values]
    target = target.assign_coords(stimulus=("stimulus", there))
    shared = [name for name in wanted if name in set(there)]
    title = target.attrs.get("name", "target")
    if not shared:
        told = folders_differ(there, wanted) or (
            "use the stimulus set that the target was recorded with"
        )
        raise ValueError(
            f"no stimulus of brain target '{title}' ({_some(there)}) is among the sounds "
            f"({_some(wanted)}): {told}"
        )
    silent, unheard = sorted(set(there) - set(wanted)), sorted(set(wanted) - set(there))
    if silent or unheard:
        gaps = [f"{len(silent)} without a sound ({_some(silent)})"] if silent else []
        gaps += [f"{len(unheard)} sounds without a response ({_some(unheard)})"] if unheard else []
        report = f"brain target '{title}' shares {len(shared)} stimuli with the sounds; "
        report += " and ".join(gaps)
        if partial == "error":
            raise ValueError(f"{report}: complete the stimulus set")
        logger.warning("%s", report)
    return target.sel(stimulus=shared)


def folders_differ(names: Sequence[str], sounds: Sequence[str]) -> str:
    """Say that names of two sides differ by folders alone, and what to do; else empty."""
    for one, other, whose in ((names, sounds, "target"), (sounds, names, "sounds")):
        bare = {PurePath(name.replace("\\", "/")).name: name for name in one}
        shared = sorted(set(bare) & set(other))
        if shared and bare[shared[0]] != shared[0]:
            return (
                f"names of the {whose} have folders ({bare[shared[0]]!r} for {shared[0]!r}): write "
                "them without"
            )
    return ""


def ceiling(target: xr.Dataset) -> xr.DataArray:
    """Estimate the noise ceiling of every neuroid from its repetitions.

    As `dynamics.metrics.noise_ceiling`, across stimuli, and times where there are any: with r the
    mean Pearson correlation over pairs of R repetitions, the reliability of the mean over
    repetitions is rho = R r / (1 + (R - 1) r) (Spearman 1910, Brown 1910), and sqrt(rho) is the
    correlation of a noiseless predictor with that mean.

    Parameters
    ----------
    target : xarray.Dataset
        With at least two repetitions. Two repetitions are correlated over what both have.

    Returns
    -------
    xarray.DataArray of shape (n_neuroids,)
        Correlations; NaN where r is not positive, or no two repetitions can be compared.

    Raises
    ------
    ValueError
        Where there are no repetitions.
    """
    # Imported when asked for, because it needs a neural network library and nothing else does.
    from dynamics import metrics

    R = target.sizes.get("repetition", 1)
    if R < 2:
        raise ValueError(
            f"brain target '{target.attrs.get('name', '')}' has no repetitions to estimate a "
            "noise ceiling from"
        )
    Y = target["response"].transpose(..., "neuroid", "repetition").to_numpy().astype(float)
    Y = Y.reshape(-1, *Y.shape[-2:])
    known = np.full(Y.shape[1], np.nan)
    if len(Y) > 2:
        known = np.asarray(metrics.noise_ceiling(Y, missing="mask")["ceiling"])
    about = {"long_name": "noise ceiling (correlation)", "source": "estimated from repetitions"}
    return xr.DataArray(known, dims="neuroid", attrs=about)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
