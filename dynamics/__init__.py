"""When and where in a network, during pretraining, representations become brain-like."""

from __future__ import annotations

import importlib
import os
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from dynamics.installation import OURS, version_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr

    from dynamics import brains, metrics, models, sounds
    from dynamics.analysis.self_similarity import similarity_of_runs
    from dynamics.collection import open_collection
    from dynamics.config import load_config
    from dynamics.store import Where
    from dynamics.sweep import run

__all__ = [
    "brains",
    "load_config",
    "metrics",
    "models",
    "open",
    "open_collection",
    "run",
    "similarity_of_runs",
    "sounds",
]

__version__ = version_of(OURS)

# Nothing is told to anybody; nor by the library of the hub, unless its user wants that.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

_ROOMS = ("brains", "metrics", "models", "sounds", "emergence", "plots", "probes")


def open(where: Where, *, group: str = "", options: Mapping[str, Any] | None = None) -> xr.DataTree:
    """Open a store; its datasets have the methods of ``dataset.dynamics``.

    Parameters
    ----------
    where : str or Path
        A store, such as ``store/demo.zarr``, ``s3://bucket/run.zarr``, ``run.zip`` or
        ``icechunk:///data/run``; or the YAML file of its sweep.
    group : str
        Look only into this one, such as ``results/<target>/<metric>``; by default into all.
    options : mapping, optional
        What a URL needs beyond the environment: credentials, endpoint.

    Returns
    -------
    xarray.DataTree
        See `dynamics.store.open`.

    Raises
    ------
    FileNotFoundError
        If there is no store.
    """
    from dynamics import store

    importlib.import_module("dynamics.accessor")  # registers `dataset.dynamics`
    place: Any = where if options is None else store.Place(str(where), options)
    if str(where).endswith((".yaml", ".yml")):
        place = importlib.import_module("dynamics.config").load_config(where).place
    return store.open(place, group=group)


def __getattr__(name: str) -> Any:
    # Torch takes seconds to import: whoever only opens a store does not wait for it. And where a
    # library is missing or broken, the command line must still be there to say so.
    if name == "load_config":
        return importlib.import_module("dynamics.config").load_config
    if name == "similarity_of_runs":
        return importlib.import_module("dynamics.analysis.self_similarity").similarity_of_runs
    if name == "open_collection":
        importlib.import_module("dynamics.accessor")
        return importlib.import_module("dynamics.collection.lazy").open_collection
    if name == "run":
        return importlib.import_module("dynamics.sweep").run
    if name in _ROOMS:
        return importlib.import_module(f"dynamics.{name}")
    raise AttributeError(f"module 'dynamics' has no attribute {name!r}")


# Where modules are by whose names of before somebody's scripts still import them.
_BEFORE = {
    "agreement": "extraction.reproducibility",
    "analyze": "analysis.analyze",
    "audio": "sounds.audio",
    "copies": "sounds.copies",
    "crawl": "extraction.crawl",
    "extract": "extraction.extract",
    "methods": "analysis",
    "network": "extraction.runner",
    "poolings": "extraction.poolings",
    "pretrain": "reference",
    "references": "analysis.baselines",
    "scoring": "analysis.scoring",
    "similarity": "analysis.self_similarity",
    "soundcheck": "extraction.soundcheck",
    "storage": "filesystems",
    "synthesis": "reference.synthesis",
    "targets": "brains.targets",
    "values": "analysis.values",
}


class _Before(MetaPathFinder, Loader):
    """Finds modules by their names of before."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        package, _, short = name.rpartition(".")
        known = package == __name__ and short in _BEFORE
        return ModuleSpec(name, self, origin=_BEFORE[short]) if known else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(f"{__name__}.{spec.origin}")
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state  # it is the module of today


sys.meta_path.append(_Before())
