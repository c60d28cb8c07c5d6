"""Whether this machine can do a sweep: packages, pairs of versions, devices, data, places."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from dynamics import datasets, installation
from dynamics.progress import size_of

# What is imported, of what a sweep cannot do without.
_MODULES = (
    *("torch", "torchaudio", "transformers", "sklearn", "scipy", "numpy", "pandas", "xarray"),
    *("zarr", "dask", "distributed", "soundfile", "soxr", "matplotlib", "seaborn", "pooch"),
)
_LEAST_DISK = 2 * 10**9
_LEAST_PYTHON = (3, 11)


class Finding(NamedTuple):
    """What one look found.

    Attributes
    ----------
    what : str
        What was looked at.
    found : str
        What there is.
    cure : str
        What to do; empty where all is well.
    bad : bool
        Whether nothing works before that is done.
    """

    what: str
    found: str
    cure: str = ""
    bad: bool = False

    @property
    def verdict(self) -> str:
        """ok, note or bad."""
        return "bad" if self.bad else "note" if self.cure else "ok"


def examine() -> list[Finding]:
    """Look at everything.

    Returns
    -------
    list of Finding
        In a fixed order.
    """
    return [finding for look in _LOOKS for finding in look()]


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    old = sys.version_info[:2] < _LEAST_PYTHON
    yield Finding("Python", version, "use Python 3.11 or newer" if old else "", old)
    ours = installation.version_of(installation.OURS)
    lacking = ours == "unknown"
    cure = "install the package: `pip install -e .` in its folder" if lacking else ""
    yield Finding("dynamics", ours, cure)


def _packages() -> Iterator[Finding]:
    for module in _MODULES:
        try:
            installation.load(module)
        except ImportError as error:
            yield Finding(module, "missing or broken", str(error), bad=True)
    versions = []
    for name, bounds in installation.required():
        found = installation.version_of(name)
        versions.append(f"{name} {found}")
        if found == "unknown" or not installation.within(found, bounds):
            cure = f"install it with `pip install '{name}{bounds}'`"
            yield Finding(name, f"{found}, and {bounds or 'any version'} is needed", cure, bad=True)
    yield Finding("packages", f"{len(versions)} required, with versions that go together")


def _pairs() -> Iterator[Finding]:
    for pair in installation.PAIRS:
        found = [installation.version_of(name).partition("+")[0] for name in pair]
        same = len(set(found)) == 1
        cure = "" if same else f"install both again: `pip install {' '.join(pair)}` of one version"
        told = " and ".join(f"{name} {version}" for name, version in zip(pair, found))
        yield Finding("pair", told, cure, bad=not same)


def _machine() -> Iterator[Finding]:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("cores", str(cores))
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    yield Finding("GPU", ", ".join(names) or "none: networks run on the CPU")


def _places() -> Iterator[Finding]:
    for what, place in (("store", Path("store")), ("temporary files", Path(tempfile.gettempdir()))):
        there = place if place.exists() else place.absolute().parent
        try:
            with tempfile.TemporaryFile(dir=there) as file:
                file.write(b"0" * 4096)
        except OSError as error:
            cure = f"{error.strerror}: work in a folder that you may write to"
            yield Finding(what, str(there.absolute()), cure, bad=True)
            continue
        free = shutil.disk_usage(there).free
        cure = "free some room, or choose another `store`" if free < _LEAST_DISK else ""
        yield Finding(what, f"{there.absolute()}, {size_of(free)} free", cure)


def _data() -> Iterator[Finding]:
    root = os.environ.get("DYNAMICS_DATA")
    if root and not Path(root).is_dir():
        cure = "set DYNAMICS_DATA to the folder of your copies, or unset it"
        yield Finding("data", f"DYNAMICS_DATA is '{root}', which is no folder", cure, bad=True)
        return
    here = [name for name in datasets.DATASETS if datasets.find(name) is not None]
    away = [name for name in datasets.DATASETS if name not in here]
    yield Finding("data sets here", ", ".join(here) or "none")
    if away:
        cure = "they are downloaded when a sweep names them; offline, see DYNAMICS_DATA"
        yield Finding("data sets elsewhere", ", ".join(away), cure)


def _extras() -> Iterator[Finding]:
    for extra, names in installation.extras().items():
        lacking = [name for name in names if installation.version_of(name) == "unknown"]
        if lacking:
            cure = f"if you need it: `pip install '{installation.OURS}[{extra}]'`"
            yield Finding(f"extra {extra}", f"without {', '.join(lacking)}", cure)
        else:
            yield Finding(f"extra {extra}", "installed")


_LOOKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _python, _packages, _pairs, _machine, _places, _data, _extras,
)  # fmt: skip
