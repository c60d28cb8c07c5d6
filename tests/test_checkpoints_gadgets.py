"""What is in a file runs nothing, and takes down nothing but its own row."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import gadgets
import pytest

pytestmark = pytest.mark.slow  # one program goes through all of it

# In a process of its own, whose every import, start, write and connection is noted.
PROGRAM = """
import json, logging, os, resource, sys, time, warnings
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import fsspec, gadgets, omegaconf, torch
import torch.distributed.checkpoint as dcp
from dynamics import checkpoints
from dynamics.checkpoints.remote import find_remote
logging.disable(logging.CRITICAL)
os.chdir(sys.argv[2])
sys.path.insert(0, ".")
Path("keep").mkdir()
Path(gadgets.PLANT + ".py").write_text("open('CANARY', 'w')\\nclass Thing: pass\\n")
memory = fsspec.filesystem("memory")

# Whatever is imported late is imported by now.
good = Path("good"); good.mkdir()
tree = {"state_dict": {"a.w": torch.ones(2)}, "global_step": 1}
tree["cfg"] = omegaconf.OmegaConf.create({"a": 1})
torch.save(tree, good / "a.ckpt")
dcp.save({"a": torch.ones(2)}, checkpoint_id=str(good / "step_2"), no_dist=True)
for found in checkpoints.find(good): checkpoints.read(found.uri)
for path in good.rglob("*"):
    if path.is_file(): memory.pipe_file(f"/good/{path.relative_to(good)}", path.read_bytes())
list(find_remote("memory://good"))
"a".encode("cp437"), "a".encode("unicode_escape"), "a".encode("raw_unicode_escape")

folders = {}
for number, (name, gadget) in enumerate(gadgets.GADGETS.items()):
    folder = Path(f"g{number}"); folder.mkdir()
    torch.save({"state_dict": {"a.w": torch.ones(2)}, "global_step": 1}, folder / "good.ckpt")
    at = {}
    for step, kind in enumerate(("zip", "legacy", "first", "index", "lone", "sharded"), 10):
        scratch = folder / f"s{step}"; scratch.mkdir()
        made = gadgets.files(scratch, gadget, step)[kind]
        at[kind] = folder / made.name
        made.rename(at[kind])
        import shutil; shutil.rmtree(scratch)
    for path in folder.rglob("*"):
        if path.is_file(): memory.pipe_file(f"/{path}", path.read_bytes())
    folders[name] = folder, at

seen, results = gadgets.watch(), {}
def attempt(work):
    start, before = time.perf_counter(), len(seen)
    with warnings.catch_warnings(record=True):
        try: outcome = work()
        except BaseException as error: outcome = [type(error).__name__, str(error)]
    return {"outcome": outcome, "seconds": time.perf_counter() - start, "seen": seen[before:],
            "planted": gadgets.PLANT in sys.modules, "canary": os.path.exists("CANARY")}
rows = lambda found: {c.uri.rpartition("/")[2]: [c.step, c.format, c.note] for c in found}
for name, (folder, at) in folders.items():
    result = {"find": attempt(lambda: rows(checkpoints.find(folder))),
              "remote": attempt(lambda: rows(find_remote(f"memory://{folder}")))}
    for kind, path in at.items():
        result[kind] = attempt(lambda: sorted(checkpoints.read(path)))
        result[kind]["name"] = path.name
    results[name] = result
results["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
Path("results.json").write_text(json.dumps(results))
"""

FORMATS = ("zip", "legacy", "first", "index", "lone", "sharded")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gadgets")
    program = folder / "program.py"
    program.write_text(PROGRAM)
    tests = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, program, tests, folder], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (folder / "keep").is_dir()
    return json.loads((folder / "results.json").read_text())


@pytest.mark.parametrize("name", gadgets.GADGETS)
@pytest.mark.parametrize("work", ("find", "remote", *FORMATS))
@pytest.mark.guards(3)
def test_nothing_in_a_file_runs(results, work, name):
    got = results[name][work]
    assert not got["seen"] and not got["planted"] and not got["canary"]
    assert got["seconds"] < 20


@pytest.mark.parametrize("name", gadgets.GADGETS)
@pytest.mark.parametrize("work", ("find", "remote"))
@pytest.mark.guards(2)
def test_each_file_is_a_row_beside_the_good_one(results, work, name):
    rows = results[name][work]["outcome"]
    assert isinstance(rows, dict), rows
    assert rows.pop("good.ckpt") == [1, "lightning", ""]
    for kind in FORMATS:
        step, form, note = rows.pop(results[name][kind]["name"])
        assert step == 10 + FORMATS.index(kind)
        said = form == "unreadable" or "trust_checkpoints" in note
        readable = results[name][kind]["outcome"] == ["a.w"]
        # A remote folder is not looked into before it is fetched, but for a single file of weights.
        assert said or readable or (work == "remote" and kind in ("index", "sharded"))
        assert "\n" not in note
    assert not rows


@pytest.mark.parametrize("name", gadgets.GADGETS)
@pytest.mark.parametrize("kind", FORMATS)
def test_reading_gives_the_weights_or_one_sentence(results, kind, name):
    outcome = results[name][kind]["outcome"]
    if outcome != ["a.w"]:
        error, sentence = outcome
        assert error == "ValueError" and sentence and "\n" not in sentence
    if name in gadgets.RUNS and kind in ("zip", "legacy"):
        assert outcome != ["a.w"]


def test_memory_stays_bounded(results):
    assert results["peak"] < 2_500_000  # KiB, torch itself among them
