"""Inputs that nobody would write, by seed: each is taken, or refused with one sentence."""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import os
import pickle
import re
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import torch.distributed.checkpoint
import xarray as xr
import yaml
from corrupting import whole

from dynamics import sounds, store
from dynamics.brains import imaging, load
from dynamics.checkpoints import find, take
from dynamics.cli import _told
from dynamics.config import load_config, validate
from dynamics.sounds import events, labels, textgrid
from dynamics.sweep import check_names

LONGEST = 500
# What Python, pydantic, NumPy and PyTorch say to programmers.
_JARGON = re.compile(
    r"unexpected keyword argument|not supported between|object (is not|has no)|positional argument"
    r"|NoneType|Traceback|instance of '|unhashable type|<class '|list indices|can only concatenate"
)


def said(attempt):
    """Return what a command would say of an attempt, empty where it succeeds; raise where none."""
    try:
        attempt()
    except Exception as error:
        told = _told(error)
        if told is None:
            raise
        assert "\n" not in told and 0 < len(told) <= LONGEST, f"{len(told)} letters: {told[:300]}"
        assert not _JARGON.search(told), told
        return told
    return ""


HOSTILE = (
    None, True, False, 0, -1, 1, 3, 0.5, -0.0, 1e308, float("nan"), float("inf"), 10**30, "", " ",
    "\0", "a" * 5000, "../../etc/passwd", "{", "*", "[", "step_{step}", "ridge",
    "\ud800", "é\u202e",
    [], [[]], [None], ["a", "a"], [0, -1], {}, {"": None}, {"name": None}, {"name": ["x"]},
    {"name": "module"}, {"name": "ridge", "arguments": []},
    {"name": "ridge", "arguments": {"x": 1}},
    {1: 2}, {"a": {"b": {"c": []}}}, {"name": "rsa", "label": "a/b"}, {"name": "rsa", "label": ""},
    [{"name": "rsa", "arguments": {"compare": 3}}], {"name": "time", "arguments": {"rate": "x"}},
    "2020-01-01", b"bytes", (1, 2), {1, 2}, {"start": 1}, {"context": -1}, list(range(300)),
)  # fmt: skip
SWEEP = {
    "run": "fuzz", "store": "store/fuzz.zarr", "checkpoints": "checkpoints/*.pt",
    "model": {"name": "encodecmae", "arguments": {"heads": 2}},
    "stimuli": {"name": "synthetic", "arguments": {"per_kind": 1, "seconds": 0.4}},
    "pooling": {"name": "time", "arguments": {"rate": 20}}, "steps": {"every": 2},
    "targets": ["simulated", {"name": "lab", "label": "lab", "arguments": {"path": "lab.nc"}}],
    "metrics": [{"name": "ridge", "arguments": {"protocol": "pepino"}}, "rsa", "cka"],
    "probes": [{"name": "stimuli", "arguments": {}}], "baseline": "spectrotemporal",
    "untrained": 2, "resamples": 10, "permutations": 5, "seed": 1, "workers": 1, "batch_size": 4,
    "device": "cpu", "dtype": "float32", "self_similarity": ["cka"], "figures": "figures",
    "value": "score", "weights": "auto", "windows": {"context": 10, "stride": 3},
}  # fmt: skip


def places(content, path=()):
    """Return the paths of everything in nested lists and mappings."""
    found = [path] if path else []
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in items:
        inner = isinstance(value, (dict, list)) and value
        found += places(value, (*path, key)) if inner else [(*path, key)]
    return found


def mutated(content, rng):
    """Put something hostile into one to three places, or a key that is not known."""
    content = copy.deepcopy(content)
    for _ in range(int(rng.integers(1, 4))):
        paths = places(content)
        path = paths[int(rng.integers(len(paths)))]
        parent = content
        for key in path[:-1]:
            parent = parent[key]
        value = copy.deepcopy(HOSTILE[int(rng.integers(len(HOSTILE)))])
        kind = int(rng.integers(5))
        if kind == 0 and isinstance(parent, dict):
            parent.pop(path[-1])
        elif kind == 1 and isinstance(parent, dict):
            parent[HOSTILE[int(rng.integers(17))]] = value
        else:
            parent[path[-1]] = value
        if not content:
            break
    return content


def config(rng, folder):
    """A sweep in which some values are others."""
    content = mutated(SWEEP, rng)

    def attempt():
        check_names(validate(content, origin="sweep.yaml"))

    return content, attempt


def config_file(rng, folder):
    """The file of a sweep whose bytes are damaged."""
    path = folder / "sweep.yaml"
    raw = bytearray(yaml.safe_dump(SWEEP).encode())
    path.write_bytes(
        damaged(raw, rng, ends=(b"\t", b"&a", b"*a", b"!!python/name:os.system", b"%", b"\xff"))
    )
    return path.read_bytes(), lambda: check_names(load_config(path))


def damaged(raw, rng, ends=(b"\0", b"\xff\xff\xff\xff", b"\x80")):
    """Flip, cut, double, overwrite or insert some bytes."""
    raw = bytearray(raw)
    for _ in range(int(rng.integers(1, 5))):
        place, size = int(rng.integers(len(raw) or 1)), int(rng.integers(1, 40))
        kind = int(rng.integers(6))
        if kind == 0 and raw:
            raw[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            del raw[place:]
        elif kind == 2:
            raw[place:place] = raw[place : place + size]
        elif kind == 3:
            raw[place : place + size] = rng.integers(0, 256, size).astype(np.uint8).tobytes()
        elif kind == 4:
            raw[place:place] = ends[int(rng.integers(len(ends)))]
        else:
            del raw[place : place + size]
    return bytes(raw)


def _checkpoint_files(folder):
    tensors = {"layer.weight": torch.ones(3, 2), "layer.bias": torch.zeros(2)}
    content = {"state_dict": tensors, "global_step": 10, "config": {"width": [1, 2]}}
    torch.save(content, folder / "zip.pt")
    torch.save(content, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    (folder / "one.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    (folder / "pickle.pt").write_bytes(pickle.dumps({"a": [1, 2.5, "x"]}))
    np.savez(folder / "arrays.npz", a=np.ones(3))
    return sorted(folder.iterdir())


def checkpoint(rng, folder):
    """A checkpoint whose bytes are damaged, in every format that is one file."""
    files = _checkpoint_files(folder)
    path = files[int(rng.integers(len(files)))]
    path.write_bytes(damaged(path.read_bytes(), rng))

    def attempt():
        find(str(folder))
        take(path)

    return path.name, attempt


_TABLES = (
    "a.wav,speech\nb.wav,music\n", "a.wav;speech\nb.wav;music\n",
    "stimulus,category\na,speech\nb,x\n",
    "a.wav\tspeech\n", "\ufeffa.wav,speech\r\nb.wav,music\r\n", '"a,speech\n', "a.wav,\n,b\n",
    "\n\n",
    "a.wav,é\nb.wav,ü\n", "a.wav,speech,train\nb.wav,music,test\n",
    "onset\tduration\tname\n0\t1\ta\n",
    "onset,duration,stimulus,name\nx,1,a,b\n", "onset,duration,name\n0,-1,a\nnan,inf,b\n",
)  # fmt: skip
_GRID = (
    'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 1\ntiers? <exists>\n'
    'size = 1\nitem []:\n    item [1]:\n        class = "IntervalTier"\n        name = "words"\n'
    '        xmin = 0\n        xmax = 1\n        intervals: size = 1\n        intervals [1]:\n'
    '            xmin = 0\n            xmax = 1\n            text = "a"\n'
)  # fmt: skip


def table(rng, folder):
    """A table of labels, of events or a TextGrid, in any encoding, damaged or not."""
    text = (*_TABLES, _GRID)[int(rng.integers(len(_TABLES) + 1))]
    encoding = ("utf-8", "utf-16", "latin-1", "utf-8-sig", "utf-32")[int(rng.integers(5))]
    raw = text.encode(encoding, errors="replace")
    if rng.random() < 0.6:
        raw = damaged(raw, rng, ends=(b"\0", b",", b'"', b"\n", b"\xff\xfe", b"\t"))
    suffix = (".csv", ".tsv", ".TextGrid")[2 if text == _GRID else int(rng.integers(2))]
    path = folder / f"table{suffix}"
    path.write_bytes(raw)

    def attempt():
        if suffix == ".TextGrid":
            textgrid.read_textgrid(path)
        elif rng.random() < 0.5:
            labels.read_labels(path)
        else:
            events.read_events(path, folder, ["a", "b"], [1.0, 1.0])

    return raw, attempt


def audio(rng, folder):
    """A folder with a sound that is damaged, empty, silent or something else."""
    there = folder / "sounds"
    there.mkdir()
    rate = int(rng.choice([8000, 16000, 44100]))
    noise = rng.standard_normal((rate // 10, int(rng.integers(1, 3)))) * 0.1
    soundfile.write(there / "a.wav", noise, rate)
    kind = (".wav", ".flac", ".ogg", ".mp3")[int(rng.integers(4))]
    path = there / f"b{kind}"
    soundfile.write(path, noise, rate)
    path.write_bytes(damaged(path.read_bytes(), rng))

    def attempt():
        found = sounds.load(str(there))
        found.waveforms(16000)

    return path.name, attempt


def target(rng, folder):
    """A target whose arrays have strange shapes, types, names or values; or a damaged file."""
    n = 8
    names = np.array([f"s{i}" for i in range(n)])
    shape = [(n, 5), (5, n), (n,), (n, 5, 2), (n, 5, 2, 2), (0, 5), (n, 0)][int(rng.integers(7))]
    values = rng.standard_normal(shape)
    if values.size and rng.random() < 0.4:
        values.flat[0] = [np.nan, np.inf, 1e308][int(rng.integers(3))]
    named = (
        ("stimulus", "neuroid", "repetition", "time"),
        ("stimuli", "voxels", "x", "y"),
        ("neuroid", "stimulus", "time", "repetition"),
    )
    dims = named[int(rng.integers(3))][: values.ndim]
    kind = int(rng.integers(3))
    if kind == 0:
        path = folder / "t.nc"
        data = xr.Dataset({("response", "r")[int(rng.integers(2))]: (dims, values)})
        if rng.random() < 0.7 and dims[0] in data.sizes and data.sizes[dims[0]] == n:
            own = names if rng.random() < 0.7 else np.zeros(n)
            data = data.assign_coords({dims[0]: own})
        data.to_netcdf(path, engine="h5netcdf")
    else:
        path = folder / "t.npz"
        what = [names, names.astype(object), np.zeros(n), np.array(["s0"] * n)][
            int(rng.integers(4))
        ]
        np.savez(path, response=values, stimulus=what)
    if rng.random() < 0.4:
        path.write_bytes(damaged(path.read_bytes(), rng))
    return (path.name, shape, dims), lambda: load(str(path))


@functools.lru_cache(maxsize=1)
def _store_files():
    """Return the files of a store with something of every kind, by their paths in it."""
    with tempfile.TemporaryDirectory() as place:
        path = whole(Path(place) / "s.zarr")
        return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}


def metadata(rng, folder):
    """A store of which something in the metadata of one to three nodes is other JSON."""
    files, where = dict(_store_files()), folder / "s.zarr"
    described = sorted(name for name in files if name.endswith("zarr.json"))
    chosen = rng.choice(described, int(rng.integers(1, 4)))
    for name in chosen:
        if rng.random() < 0.2:
            files[name] = damaged(files[name], rng)
            continue
        with contextlib.suppress(TypeError, ValueError):  # not all of it is JSON
            files[name] = json.dumps(mutated(json.loads(files[name]), rng)).encode()
    for name, content in files.items():
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_bytes(content)
    kind = int(rng.integers(4))

    def attempt():
        if kind == 0:
            store.open(where).load()
        elif kind == 1:
            store.verify(where)
            store.verify_results(where)
        elif kind == 2:
            store.summarise(where)
            store.read_activations(where, 10)
        else:
            with store.lock(where):
                root = store.begin(where, run="test", identity={})
                store.plan(root, [(40, "file-40", 10)])

    return (chosen.tolist(), kind), attempt


@functools.lru_cache(maxsize=1)
def _distributed_files():
    """Return the files of a checkpoint of torch.distributed by their names."""
    with tempfile.TemporaryDirectory() as place:
        content = {"state_dict": {"a.b": torch.ones(3, 2)}}
        torch.distributed.checkpoint.save(content, checkpoint_id=place, no_dist=True)
        return {path.name: path.read_bytes() for path in Path(place).iterdir()}


def distributed(rng, folder):
    """A checkpoint of torch.distributed whose index is damaged or other objects, beside another."""
    place, files = folder / "step=2", dict(_distributed_files())
    if rng.random() < 0.5:
        index = pickle.loads(files[".metadata"])
        field = ("state_dict_metadata", "planner_data", "storage_data")[int(rng.integers(3))]
        setattr(index, field, copy.deepcopy(HOSTILE[int(rng.integers(len(HOSTILE)))]))
        files[".metadata"] = pickle.dumps(index)
    else:
        name = sorted(files)[int(rng.integers(len(files)))]
        files[name] = damaged(files[name], rng)
    place.mkdir()
    for name, content in files.items():
        (place / name).write_bytes(content)
    torch.save({"state_dict": {"a.b": torch.ones(3, 2)}, "global_step": 1}, folder / "step=1.pt")

    def attempt():
        assert 1 in [each.step for each in find(str(folder))], "the other is not listed"
        take(place)

    return sorted(files), attempt


def pipe(rng, folder):
    """A named pipe, for which nobody waits, in the place of any file."""
    tried = (
        ("step=1.pt", take), ("step=1.safetensors", take), ("t.nc", load), ("t.npz", load),
        ("sweep.yaml", load_config), ("a.csv", labels.read_labels),
        ("a.TextGrid", textgrid.read_textgrid), ("x.zip", store.open), ("a.txt", imaging._names),
    )  # fmt: skip
    name, read = tried[int(rng.integers(len(tried)))]
    os.mkfifo(folder / name)

    def attempt():
        path = folder / name
        with pytest.raises((ValueError, OSError)) as refused:
            read(str(path) if read in (load, store.open) else path)
        raise refused.value

    return name, attempt


def archive(rng, folder):
    """A zip that is no checkpoint, or one that unpacks to something else."""
    path = folder / "step=3.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for number in range(int(rng.integers(1, 4))):
            name = ("archive/data.pkl", "data.pkl", "../up.pkl", "archive/data/0", "a" * 200)
            made.writestr(
                name[int(rng.integers(5))], pickle.dumps(HOSTILE[number])[: int(rng.integers(60))]
            )

    def attempt():
        find(str(folder / "*"))
        take(path)

    return path.name, attempt


KINDS = {
    each.__name__: each
    for each in (
        config,
        config_file,
        checkpoint,
        distributed,
        archive,
        table,
        audio,
        target,
        metadata,
        pipe,
    )
}


def one(kind, seed, folder):
    """Try one case; returns what is wrong with how it ended, empty if nothing is."""
    place = folder / f"{kind}-{seed}"
    place.mkdir()
    what, attempt = KINDS[kind](np.random.default_rng([seed, *kind.encode()]), place)
    before, usual, unseen = os.getcwd(), sys.unraisablehook, []
    sys.unraisablehook = unseen.append
    try:
        os.chdir(place)
        said(attempt)
        assert not unseen, f"printed: {unseen[0].exc_value!r}"
    except BaseException as error:
        return f"{kind} {seed}: {type(error).__name__}: {str(error)[:400]} ({str(what)[:300]})"
    finally:
        sys.unraisablehook = usual
        os.chdir(before)
        shutil.rmtree(place, ignore_errors=True)
    return ""
