"""Brain targets, states to go on from and JSON by anybody: nothing runs, one sentence, soon."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import gadgets
import numpy as np
import pytest
import torch

pytestmark = pytest.mark.slow  # one program goes through all of it

SMALL = np.arange(6.0).reshape(2, 3)


def npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def header(text, *, content=b"", version=1):
    raw = text.encode().ljust(118) + b"\n"
    size = len(raw).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + raw + content


def npz(path, *, deflated=False, **members):
    """Write an archive; of members that are given as bytes, as they are."""
    kind = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in ({"response": SMALL, "stimulus": ["a", "b"]} | members).items():
            raw = content if isinstance(content, bytes) else npy(np.asarray(content))
            archive.writestr(name.replace("__", "/") + ".npy", raw)


def objects(gadget):
    """An array of objects whose pickle is a gadget."""
    text = "{'descr': '|O', 'fortran_order': False, 'shape': (2, 3), }"
    return header(text, content=b"\x80\x02" + gadget + b".")


def shaped(shape, descr="<f8"):
    return header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}")


class Runs:
    def __reduce__(self):
        return os.system, ("touch CANARY",)


def write_targets(folder):
    """Write targets, each bad in one way."""
    for number, (name, gadget) in enumerate(gadgets.GADGETS.items()):
        npz(folder / f"g{number}.npz", response=objects(gadget))
        if name in ("os.system", "eval", "laughs"):
            (folder / f"bare{number}.npz").write_bytes(b"\x80\x02" + gadget + b".")
            npz(folder / f"names{number}.npz", stimulus=objects(gadget))
    with zipfile.ZipFile(folder / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("stimulus.npy", npy(np.array(["a", "b"])))
        with archive.open("response.npy", "w", force_zip64=True) as member:
            member.write(header("{'descr': '<f8', 'fortran_order': False, "
                                f"'shape': (2, {2**26}), }}"))  # fmt: skip
            for _ in range(2**6):
                member.write(bytes(2**24))
    for number, head in enumerate((
        shaped((10**6, 10**6), "'<f8'"), shaped((10**400,), "'<f8'"), shaped((-2, 3), "'<f8'"),
        shaped((2, 3), "'<U1000000000'"), shaped((2, 3), "[('a', '|O')]"), shaped((2, 3), "'<x9'"),
        shaped("__import__('os')", "'<f8'"), shaped("(" * 60, "'<f8'"), shaped((2.5, 3), "'<f8'"),
        header("(" * 9000, version=2), b"\x93NUMPY\x09\x00", b"", b"\x93NUM", npy(SMALL)[:-8],
        npy(SMALL) + b"more", npy(np.array([["x"] * 3] * 2)), npy(np.ones((2, 3), complex)),
    )):  # fmt: skip
        npz(folder / f"header{number}.npz", response=head)
    npz(folder / "time.npz", response=np.ones((2, 4, 3)), time=objects(b"N"))
    (folder / "lone.npz").write_bytes(npy(SMALL))
    (folder / "cut.npz").write_bytes((folder / "header0.npz").read_bytes()[:100])
    (folder / "empty.npz").write_bytes(b"")
    (folder / "folder.npz").mkdir()
    for suffix in ("npz", "nc", "zarr"):
        os.mkfifo(folder / f"pipe.{suffix}")
    zarr = folder / "codec.zarr"
    for name, shape, dims in (("response", [2, 3], ["stimulus", "neuroid"]),
                              ("stimulus", [2], ["stimulus"])):  # fmt: skip
        (zarr / name).mkdir(parents=True)
        about = {"zarr_format": 2, "shape": shape, "chunks": shape, "dtype": "<f8", "order": "C",
                 "fill_value": 0, "compressor": {"id": "pickle"}, "filters": None}  # fmt: skip
        (zarr / name / ".zarray").write_text(json.dumps(about))
        (zarr / name / ".zattrs").write_text(json.dumps({"_ARRAY_DIMENSIONS": dims}))
        (zarr / name / ".".join("0" * len(shape))).write_bytes(pickle.dumps(Runs()))
    (zarr / ".zgroup").write_text('{"zarr_format": 2}')
    hollow = folder / "hollow.zarr"
    for name, shape, dims in (("response", [10**4, 10**6], ["stimulus", "neuroid"]),
                              ("stimulus", [10**4], ["stimulus"])):  # fmt: skip
        (hollow / name).mkdir(parents=True)
        about = {"zarr_format": 2, "shape": shape, "chunks": shape, "dtype": "<f8", "order": "C",
                 "fill_value": 0, "compressor": None, "filters": None}  # fmt: skip
        (hollow / name / ".zarray").write_text(json.dumps(about))
        (hollow / name / ".zattrs").write_text(json.dumps({"_ARRAY_DIMENSIONS": dims}))
    (hollow / ".zgroup").write_text('{"zarr_format": 2}')


def write_states(folder):
    """Write states of a pretraining run, each in a folder of its own."""
    good = {"step": 1, "network": {"a": torch.ones(2)}, "optimiser": {"state": {}}, "settings": {}}
    bad = [3, [good], {}, *({**good, key: value} for key, value in (
        ("step", "1"), ("step", -1), ("step", 10**400), ("step", float("nan")), ("step", True),
        ("network", 5), ("optimiser", [1]), ("settings", 5), ("settings", None)))]  # fmt: skip
    for number, content in enumerate(bad):
        place = folder / f"state{number}"
        place.mkdir()
        torch.save(content, place / "trainer.state")
    for number, gadget in enumerate(gadgets.GADGETS.values()):
        scratch = folder / f"scratch{number}"
        scratch.mkdir()
        place = folder / f"gadget-{number}"
        place.mkdir()
        kind = ("zip", "legacy", "first")[number % 3]
        gadgets.files(scratch, gadget, 1)[kind].rename(place / "trainer.state")
    for name in ("pipe", "folder", "link"):
        (folder / name).mkdir()
    os.mkfifo(folder / "pipe" / "trainer.state")
    (folder / "folder" / "trainer.state").mkdir()
    (folder / "link" / "trainer.state").symlink_to("trainer.state")
    (folder / "bomb").mkdir()
    plain = io.BytesIO()
    torch.save(good, plain)
    with (
        zipfile.ZipFile(plain) as whole,
        zipfile.ZipFile(folder / "bomb" / "trainer.state", "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name in whole.namelist():
            raw = whole.read(name)
            archive.writestr(name, bytes(2**29) if name.endswith("data.pkl") else raw)


JSON = {
    "deep": b"[" * 200_000,
    "deeper": b'{"a":' * 200_000,
    "lists": b"[" + b"[]," * 6_000_000 + b"[]]",
    "keys": b"{" + b",".join(b'"%d":[]' % i for i in range(4_500_000)) + b"}",
    "large": 2**28 + 1,  # bytes, all of them zeros
    "long number": b'{"global_step": 1' + b"0" * 400 + b"}",
    "longer number": b'{"global_step": 1' + b"0" * 5000 + b"}",
    "nan": b'{"global_step": NaN}',
    "infinite": b'{"global_step": 1e999}',
    "text": b'{"global_step": "7; touch CANARY"}',
    "list": b'{"global_step": [7], "best_model_checkpoint": ["x"]}',
    "twice": b'{"global_step": "x", "global_step": "y"}',
    "latin-1": b'{"global_step": 7, "a": "\xe9"}',
    "cut": b'{"global_step": 7',
    "zeros": bytes(1000),
    "empty": b"",
    "number": b"7",
    "null": b"null",
}


def write_sidecars(folder):
    """Write folders of step 5 whose `trainer_state.json` is bad, and shards with a bad index."""
    weights = {"a.w": torch.ones(2)}
    for name, content in JSON.items():
        place = folder / name / "checkpoint-5"
        place.mkdir(parents=True)
        torch.save(weights, place / "pytorch_model.bin")
        torch.save(weights, folder / name / "pytorch_model.bin")
        shards = folder / name / "checkpoint-6"
        shards.mkdir()
        for path in (place / "trainer_state.json", folder / name / "trainer_state.json",
                     shards / "pytorch_model.bin.index.json"):  # fmt: skip
            path.write_bytes(content if isinstance(content, bytes) else b"")
            if isinstance(content, int):
                os.truncate(path, content)
    place = folder / "pipe" / "checkpoint-5"
    place.mkdir(parents=True)
    torch.save(weights, place / "pytorch_model.bin")
    os.mkfifo(place / "trainer_state.json")
    os.mkfifo(folder / "pipe" / "trainer_state.json")


# In a process of its own, whose every start, write and connection is noted.
PROGRAM = """
import json, logging, resource, sys, time, warnings
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import gadgets, numpy, omegaconf, test_files_gadgets as test, torch, xarray, zarr
from dynamics import brains, checkpoints
from dynamics.reference.runfiles import resume
logging.disable(logging.CRITICAL)
sys.path.insert(0, ".")
Path("keep").mkdir()
Path(gadgets.PLANT + ".py").write_text("open('CANARY', 'w')\\nclass Thing: pass\\n")
for name in ("targets", "states", "sidecars"):
    Path(name).mkdir()
    getattr(test, f"write_{name}")(Path(name))
test.npz(Path("good.npz"))
brains.load("good.npz")
torch.save({"step": 1, "network": {}, "optimiser": {}, "settings": {}}, "trainer.state")
try: brains.load("targets/hollow.zarr")
except ValueError: pass
resume(Path("."), {})
[getattr(checkpoints, name) for name in checkpoints.__all__]  # what is imported when it is used
for late in ("cp437", "unicode_escape", "raw_unicode_escape", "utf-16-le", "utf-16-be", "utf-32-le",
             "utf-32-be", "utf-8-sig"): "a".encode(late)

seen, results = gadgets.watch(), {}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
# NumPy reads headers as literals, which Python's parser compiles to a tree and runs nothing of.
# A run makes its folder, and tries whether it can be written.
known = ("compile (", "os.mkdir ('states/")
quiet = lambda events: [e for e in events if not (e.startswith(known) or ".writable" in e)]
def attempt(name, work):
    start, so_far = time.perf_counter(), len(seen)
    with warnings.catch_warnings(record=True):
        try: outcome = ["", str(work())]
        except BaseException as error: outcome = [type(error).__name__, str(error)]
    results[name] = [*outcome, time.perf_counter() - start, quiet(seen[so_far:])]
for path in sorted(Path("targets").iterdir()):
    attempt(str(path), lambda: brains.load(path))
for path in sorted(Path("states").iterdir()):
    if not path.name.startswith("scratch"): attempt(str(path), lambda: resume(path, {}))
rows = lambda found: json.dumps([[c.step, c.format, c.note] for c in found])
for path in sorted(Path("sidecars").iterdir()):
    attempt(str(path), lambda: rows(checkpoints.find(path)))
results["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
results["canary"] = Path("CANARY").exists() or gadgets.PLANT in sys.modules
Path("results.json").write_text(json.dumps(results))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(Path(__file__).parent)],
        cwd=folder, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads((folder / "results.json").read_text())
    assert (folder / "keep").is_dir() and not found.pop("canary")
    assert found.pop("memory") < 1_500_000  # KiB: JSON of four million entries is the most
    return found


def test_nothing_in_targets_states_and_sidecars_runs_or_takes_long(results):
    assert len(results) > 2 * len(gadgets.GADGETS)
    assert {name: seen for name, (*_, seen) in results.items() if seen} == {}
    assert max(seconds for _, _, seconds, _ in results.values()) < 30


def test_a_bad_target_or_state_is_one_sentence_that_names_it(results):
    for name, (error, sentence, *_) in results.items():
        if not name.startswith("sidecars"):
            assert error == "ValueError", (name, sentence)
            assert name.rsplit("/", 1)[-1] in sentence and "\n" not in sentence
            assert len(sentence) < 400


def test_objects_bombs_and_shapes_are_said(results):
    said = {name.removeprefix("targets/"): words for name, (_, words, *_) in results.items()}
    assert "holds objects, which may run code" in said["g0.npz"]
    assert "unpacks" in said["bomb.npz"] and "unpacks" in said["hollow.zarr"]
    for number in (0, 1, 13, 14):
        assert "not hold as many values" in said[f"header{number}.npz"]
    assert "complex128" in said["header16.npz"]
    assert "no archive of numpy.savez" in said["lone.npz"]
    for suffix in ("npz", "nc", "zarr"):
        assert "no regular file" in said[f"pipe.{suffix}"]


@pytest.mark.parametrize("name", [*JSON, "pipe"])
def test_a_bad_sidecar_leaves_the_step_of_the_name_and_a_bad_index_is_a_row(results, name):
    error, text, *_ = results[f"sidecars/{name}"]
    assert not error, text
    rows = {step: (form, note) for step, form, note in json.loads(text)}
    assert rows.pop(5) == ("huggingface", "")
    if name != "pipe":
        form, note = rows.pop(6)
        assert form == "unreadable" and note and "\n" not in note
    # The weights beside them state no step that could be theirs.
    assert all(step == 7 for step in rows)
