"""Two small stores with a result of every kind: what a change of the code must leave as it was.

``python tests/golden_store.py FOLDER`` makes them in a folder; with ``--keep`` their packed copies
in `tests/baselines` are written anew, which is right only where numbers are meant to change.
"""

from __future__ import annotations

import argparse
import contextlib
import tarfile
from pathlib import Path

import numpy as np
import xarray as xr
from inprocess import Here
from tiny_run import save_checkpoint

from dynamics import probes, sounds
from dynamics.analysis import analyze
from dynamics.config import Sweep, validate
from dynamics.extraction import crawl
from dynamics.progress import silent

KEPT = Path(__file__).resolve().parent / "baselines"
NAMES = ("golden", "golden-time")
STEPS = (10, 30)

PER_NEUROID = [
    "ridge",
    {"name": "ridge", "label": "ridge-pepino", "arguments": {"protocol": "pepino"}},
    {"name": "ridge", "label": "ridge-tuckute", "arguments": {"protocol": "tuckute"}},
    {"name": "banded", "arguments": {"candidates": 4, "resamples": 2}},
    {"name": "variance_partition", "arguments": {"candidates": 4, "resamples": 2}},
]
OF_SPACES = [
    "rsa",
    {
        "name": "rsa",
        "label": "rsa-regions",
        "arguments": {"distance": "crossnobis", "compare": "cosine", "by": "subject_region"},
    },
    "cka",
    "procrustes",
    {"name": "mutual_knn", "arguments": {"k": 4}},
    {"name": "svcca", "arguments": {"rank": 3}},
    {"name": "pwcca", "arguments": {"rank": 3}},
    "effective_dimensionality",
]
TIMED = [
    {
        "name": "encode_timeresolved",
        "arguments": {"windows": [[0, 0.04], [0.04, 0.12]], "resamples": 2},
    },
    "ridge",
]
SELF = ["rsa", "cka", "procrustes", "mutual_knn", *OF_SPACES[-3:-1]]
PROBES = [
    {
        "name": "sound-category",
        "arguments": {"train": 3, "valid": 2, "test": 2, "seconds": 0.3, "resamples": 4},
    },
    {"name": "stimuli-category", "arguments": {"resamples": 4}},
]


def sweep(name: str, **changes) -> Sweep:
    """Return one of the two sweeps, of checkpoints and recordings that are made here if needed.

    All paths are relative, so that none of a machine is in what is kept: be in the right folder.
    """
    checkpoints = Path("checkpoints")
    if not checkpoints.is_dir():
        checkpoints.mkdir()
        for number, step in enumerate(STEPS):
            save_checkpoint(checkpoints, step, seed=number)
    stimuli = {"per_kind": 3 if name == "golden" else 2, "seconds": 0.4}
    content = {
        "run": name,
        "store": f"{name}.zarr",
        "checkpoints": "checkpoints",
        "model": {"name": "encodecmae", "arguments": {"heads": 2}},
        "stimuli": {"name": "synthetic", "arguments": stimuli},
        "resamples": 4,
        "permutations": 2,
        "shuffle": "overall",
        "untrained": 2,
    }
    if name == "golden":
        simulated = {"neuroids": 8, "subjects": 2, "repetitions": 3}
        content |= {
            "targets": [{"name": "simulated", "arguments": simulated}],
            "metrics": [*PER_NEUROID, *OF_SPACES],
            "self_similarity": SELF,
            "probes": PROBES,
        }
    else:
        content |= {
            "pooling": {"name": "time", "arguments": {"rate": 25}},
            "targets": [_recording(stimuli)],
            "metrics": TIMED,
        }
    return validate(content | changes, origin="the golden stores")


def fill(some: Sweep) -> dict[str, dict[str, int]]:
    """Crawl, analyze and probe what is missing, in this process; return what was new."""
    return {"crawl": crawl.crawl(some, advance=silent)} | score(some)


def score(some: Sweep) -> dict[str, dict[str, int]]:
    """Analyze and probe what is missing, in this process; return what was new."""
    usual = analyze.cluster
    analyze.cluster = lambda *a, **k: contextlib.nullcontext(Here())
    try:
        done = {"analyze": analyze.analyze(some, advance=silent)}
    finally:
        analyze.cluster = usual
    return done | ({"probe": probes.probe(some, advance=silent)} if some.probes else {})


def kept(name: str, folder: Path) -> Path:
    """Unpack a store that was kept; return where it lies."""
    with tarfile.open(KEPT / f"{name}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / f"{name}.zarr"


def keep(store: Path) -> int:
    """Pack a store into the folder of what is kept; return its size in bytes."""
    target = KEPT / f"{store.stem}.tar.xz"
    with tarfile.open(target, "w:xz", preset=9) as archive:
        for path in sorted(store.rglob("*")):
            if path.is_file():
                # A date and an owner of its own would make every archive another one.
                archive.add(path, f"{store.name}/{path.relative_to(store)}", filter=_nobodys)
    return target.stat().st_size


def _nobodys(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mtime, entry.uid, entry.gid, entry.mode = 0, 0, 0, 0o644
    entry.uname = entry.gname = ""
    return entry


def _recording(arguments: dict) -> str:
    """Write responses over time to the stimuli of a sweep; return the name of the file."""
    path = Path("recording.nc")
    if not path.exists():
        stimuli = sounds.load("synthetic", **arguments)
        rng = np.random.default_rng(5)
        shape = (len(stimuli), 10, 4)
        xr.Dataset(
            {"response": (("stimulus", "time", "neuroid"), rng.standard_normal(shape))},
            coords={
                "stimulus": list(stimuli.names),
                "time": 0.02 + 0.04 * np.arange(10),
                "neuroid": [f"electrode{n}" for n in range(4)],
                "subject": ("neuroid", ["one", "one", "two", "two"]),
            },
        ).to_netcdf(path, engine="scipy")
    return str(path)


def main() -> None:
    """Make the stores, and keep them where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where they are made")
    parser.add_argument("--keep", action="store_true", help="and kept, packed")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(given.folder):
        for name in NAMES:
            some = sweep(name)
            fill(some)
            if given.keep:
                print(name, keep(Path(some.store)), "bytes")


if __name__ == "__main__":
    main()
