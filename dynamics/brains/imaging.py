"""Functional images of continuous sound: volumes (NIfTI), surfaces (GIFTI) and both (CIFTI)."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from dynamics import installation
from dynamics.brains.courses import stacked
from dynamics.filesystems import open_regular

logger = logging.getLogger(__name__)

_KINDS = {
    ".nii": "volumes", ".nii.gz": "volumes", ".func.gii": "surface", ".gii": "surface",
    ".dtseries.nii": "cifti", ".ptseries.nii": "cifti",
}  # fmt: skip


def images(
    files: Mapping[str, str | Sequence[str]],
    *,
    mask: str | Path | None = None,
    atlas: str | Path | None = None,
    names: str | Path | Sequence[str] | None = None,
    onset: float = 0.0,
    tr: float | None = None,
    subject: str = "",
    standardize: bool = False,
) -> xr.Dataset:
    """Read one image a run, a run a sound.

    Parameters
    ----------
    files : mapping of str to str or sequence of str
        For each sound the image of its run, or several of its repetitions: ``.nii``, ``.nii.gz``,
        ``.gii``, ``.dtseries.nii`` or ``.ptseries.nii``.
    mask : str or Path, optional
        Of volumes: an image of the voxels that are kept; of a surface, none.
    atlas : str or Path, optional
        An image (or a surface) of whole numbers: neuroids are its regions, each the mean of what it
        covers; with `mask`, voxels are kept and their region is that of the atlas.
    names : str, Path or sequence of str, optional
        Names of the atlas's regions 1, 2, ..., or a file with a name a line.
    onset : float
        Seconds of a run before its sound begins.
    tr : float, optional
        Seconds between volumes; by default what the files say.
    subject : str
        Who was scanned.
    standardize : bool
        Bring each voxel to mean 0 and deviation 1 within a run.

    Returns
    -------
    xarray.Dataset
        A target over time, whose first time is half a TR after the run's beginning, as a volume is
        taken over its TR; regions and positions (``x``, ``y``, ``z``, mm) where they are known.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If files are of several kinds or shapes, TRs differ or are 0, or there is neither a mask nor
        an atlas for volumes.
    """
    installation.load("nibabel", "nilearn")
    runs = [
        (str(name), Path(one).expanduser())
        for name, each in files.items()
        for one in ([each] if isinstance(each, str | Path) else each)
    ]
    if not runs:
        raise ValueError("there are no images: give one for each sound")
    kinds = {_kind(path) for _, path in runs}
    if len(kinds) > 1:
        raise ValueError(f"images are of several kinds ({', '.join(sorted(kinds))}): give one kind")
    for path in [path for _, path in runs] + [Path(p) for p in (mask, atlas) if p is not None]:
        if not path.expanduser().is_file():
            raise FileNotFoundError(f"image '{path}' does not exist: correct the path")
    reader = _Reader(next(iter(kinds)), mask, atlas, _names(names), standardize)
    seconds: dict[Path, float] = {}

    def trials() -> Iterator[tuple[str, np.ndarray]]:
        for name, path in runs:
            values, seconds[path] = reader.read(path)
            yield name, values

    first = list(trials())
    step = _tr(seconds) if tr is None else tr
    if step <= 0:
        raise ValueError(f"a TR of {step:g} s makes no times: give `tr` in seconds")
    others = sorted(value for value in set(seconds.values()) if abs(value - step) > 0.01 * step)
    if others := [value for value in others if value > 0]:
        logger.warning("images state a TR of %s s, and `tr` of %g s is taken",
                       ", ".join(f"{value:g}" for value in others), step)  # fmt: skip
    return stacked(
        first,
        rate=1 / step,
        start=step / 2 - onset,
        neuroids=reader.neuroids,
        labels=reader.labels | {"subject": [subject or "unknown"] * len(reader.neuroids)},
        about={"name": "images", "description": f"{len(runs)} runs of functional images"},
    )


def _loaded(path: Any) -> Any:
    import nibabel

    return nibabel.load(Path(path).expanduser())


def _kind(path: Path) -> str:
    for suffix in sorted(_KINDS, key=len, reverse=True):
        if path.name.endswith(suffix):
            return _KINDS[suffix]
    raise ValueError(f"'{path}' is no image: use {', '.join(_KINDS)}")


def _names(names: str | Path | Sequence[str] | None) -> list[str]:
    if names is None or not isinstance(names, str | Path):
        return [str(name) for name in names or []]
    with open_regular(Path(names).expanduser()) as file:
        lines = file.read().decode().splitlines()
    return [line.strip() for line in lines if line.strip()]


def _tr(seconds: Mapping[Path, float]) -> float:
    known = {round(value, 4): path for path, value in seconds.items()}
    if len(known) > 1:
        pairs = ", ".join(f"{value:g} s in '{path}'" for value, path in sorted(known.items()))
        raise ValueError(f"runs have several TRs ({pairs}): give `tr` where the files are wrong")
    found, path = next(iter(known.items()))
    if found <= 0:
        raise ValueError(f"'{path}' has a TR of {found:g} s: give `tr` in seconds")
    return found


class _Reader:
    """Turns the images of runs into (volumes, neuroids), all in the same way."""

    def __init__(
        self,
        kind: str,
        mask: str | Path | None,
        atlas: str | Path | None,
        names: list[str],
        standardize: bool,
    ):
        if kind == "volumes" and mask is None and atlas is None:
            raise ValueError("which voxels are kept is not said: give a `mask` or an `atlas`")
        self.kind, self.names, self.standardize = kind, names, standardize
        self.mask, self.atlas = mask, atlas
        self.neuroids: list[str] = []
        self.labels: dict[str, Any] = {}
        self.shape: tuple[int, ...] = ()

    def read(self, path: Path) -> tuple[np.ndarray, float]:
        """Values (volumes, neuroids) and TR of one run."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = _loaded(path)
            read = {"volumes": self._volumes, "surface": self._surface, "cifti": self._cifti}
            values, tr = read[self.kind](image, path)
        if self.shape and values.shape[1:] != self.shape:
            raise ValueError(
                f"'{path}' has {values.shape[1]} neuroids, the runs before it {self.shape[0]}: "
                "give images in one space"
            )
        self.shape = values.shape[1:]
        if not self.neuroids:
            self.neuroids = [str(number) for number in range(values.shape[1])]
        if self.standardize:
            deviation = values.std(0)
            values = (values - values.mean(0)) / np.where(deviation > 0, deviation, 1.0)
        return values.astype(float), tr

    def _volumes(self, image: Any, path: Path) -> tuple[np.ndarray, float]:
        import nibabel

        if len(image.shape) != 4:
            raise ValueError(f"'{path}' has the shape {image.shape}: give a run of volumes")
        for each in filter(None, (self.mask, self.atlas)):
            if (shape := _loaded(each).shape[:3]) != image.shape[:3]:
                raise ValueError(
                    f"'{each}' has the shape {shape} and '{path}' {image.shape[:3]}: bring them "
                    "to one space"
                )
        regions = None
        if self.atlas is not None:
            regions = np.rint(_loaded(self.atlas).get_fdata()).astype(int)
        tr = float(image.header.get_zooms()[3])
        tr /= {"msec": 1e3, "usec": 1e6}.get(image.header.get_xyzt_units()[1], 1)
        if self.mask is None:
            assert regions is not None
            return self._means(image.get_fdata(dtype=np.float32).reshape(-1, image.shape[3]).T,
                               regions.ravel()), tr  # fmt: skip
        kept = _loaded(self.mask).get_fdata().reshape(image.shape[:3]) > 0
        if not kept.any():
            raise ValueError(f"mask '{self.mask}' keeps no voxel")
        places = nibabel.affines.apply_affine(image.affine, np.argwhere(kept))
        self.labels = {axis: places[:, i] for i, axis in enumerate("xyz")}
        if regions is not None:
            self.labels["region"] = [self._called(number) for number in regions[kept]]
        return image.get_fdata(dtype=np.float32)[kept].T, tr

    def _surface(self, image: Any, path: Path) -> tuple[np.ndarray, float]:

        values = np.stack([each.data for each in image.darrays])
        # GIFTI has no field for it: `tr` must be given, or stands among the arrays' remarks.
        told = [each.meta.get("TimeStep", 0) for each in image.darrays]
        tr = float(told[0] or 0) / 1000
        if self.atlas is None:
            return values, tr
        regions = _loaded(self.atlas).darrays[0].data.astype(int)
        if len(regions) != values.shape[1]:
            raise ValueError(
                f"'{self.atlas}' has {len(regions)} vertices and '{path}' {values.shape[1]}: give "
                "both of one surface"
            )
        return self._means(values, regions), tr

    def _cifti(self, image: Any, path: Path) -> tuple[np.ndarray, float]:
        series, brain = (image.header.get_axis(number) for number in (0, 1))
        if hasattr(brain, "iter_structures"):
            self.labels["region"] = [str(name) for name in brain.name]
        else:
            self.neuroids = [str(name) for name in brain.name]
        return np.asarray(image.get_fdata()), float(getattr(series, "step", 0))

    def _means(self, values: np.ndarray, regions: np.ndarray) -> np.ndarray:
        """Mean over each region, (volumes, regions)."""
        numbers = np.unique(regions[regions > 0])
        if not len(numbers):
            raise ValueError(f"atlas '{self.atlas}' has no region above 0")
        self.neuroids = [self._called(number) for number in numbers]
        self.labels["region"] = list(self.neuroids)
        return np.stack([values[:, regions == number].mean(1) for number in numbers], 1)

    def _called(self, number: int) -> str:
        if number <= 0:
            return "unknown"
        return self.names[number - 1] if number <= len(self.names) else f"region-{number}"
