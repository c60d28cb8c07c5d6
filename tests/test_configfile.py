"""A config may hold anything: one sentence with its line, soon, and nothing runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dynamics.config import load_config

GOOD = "run: a\ncheckpoints: b\nmodel: c\nstimuli: d\n"


def chain(first, line):
    """Thirty lines, each of which names the one before it ten times."""
    many = (f"a{i}: &a{i} {line.format(','.join([f'*a{i - 1}'] * 10))}\n" for i in range(1, 30))
    return f"a0: &a0 {first}\n" + "".join(many)


# What is in the file, and what is said of it.
FAULTS = {
    "laughs": (chain("[x, x]", "[{}]"), r"line \d+: .*more than 50,000 entries"),
    "merged laughs": (chain("{k: v}", "{{<<: [{}]}}"), r"line \d+: .*more than 50,000 entries"),
    "itself": ("a: &a [*a]\n", "line 1: .*contains itself"),
    "its own merge": ("a: &a\n  <<: *a\n", "line 1: .*contains itself"),
    "call": (f"{GOOD}x: !!python/object/apply:os.system ['touch CANARY']\n", "line 5: .*os.system"),
    "name": ("a: !!python/name:os.system ''\n", "line 1: .*os.system"),
    "module": ("a: !!python/module:antigravity ''\n", "line 1: .*antigravity"),
    "new object": ("a: !!python/object/new:os.system [touch CANARY]\n", "line 1: .*os.system"),
    "tag of ours": (f"{GOOD}x: !Path a\n", "line 5: .*constructor"),
    "deep lists": ("[" * 400_000, "line 1: .*nested more than 50 deep"),
    "deep mappings": ("{a: " * 100_000, "line 1: .*nested more than 50 deep"),
    "deep blocks": ("- " * 200_000, "line 1: .*nested more than 50 deep"),
    "deep keys": ("? " * 200_000, "line 1: .*nested more than 50 deep"),
    "many": (f"a: [{'[b],' * 100_000}]", "line 1: .*more than 50,000 entries"),
    "anchors": ("".join(f"a{i}: &b{i} x\n" for i in range(60_000)), "more than 50,000 entries"),
    "large": (f"a: {'b' * 3_000_000}\n", "larger than the 2 MiB"),
    "larger": (b"#" * 100_000_000, "larger than the 2 MiB"),
    "key twice": (f"{GOOD}run: b\n", "line 5: the key `run` stands in line 1 already"),
    "inner key twice": ("a:\n  b: {c: 1,\n    c: 2}\n", "line 3: the key .* in line 2"),
    "tab": ("run:\ta\n\tb: c\n", "line 1: not valid YAML"),
    "no character": ("run: a\nb: c\0\n", "line 2: .*#x0000"),
    "escape": ("run: \x1b[31m\n", "line 1: .*#x001b"),
    "half a character": ('run: "\\ud800"\n', "line 1: .*half a character"),
    "no date": (f"{GOOD}x: 2024-13-45\n", "line 5: .*'2024-13-45' is no timestamp"),
    "no number": (f"{GOOD}seed: !!int x\n", "line 5: .*'x' is no int"),
    "no truth": ("a: !!bool maybe\n", "line 1: .*'maybe' is no bool"),
    "long number": (f"{GOOD}seed: {'1' * 5000}\n", "line 5: .*is no int"),
    "large number": (f"{GOOD}seed: 1{'0' * 400}\n", "line 5: .*beyond 2"),
    "nan": (f"{GOOD}seed: .nan\n", "line 5: `seed`: .*finite"),
    "infinite": (f"{GOOD}batch_size: .inf\n", "line 5: `batch_size`: .*finite"),
    "list as key": ("{[a]: b}\n", "line 1: .*unhashable key"),
    "number as key": (f"{GOOD}1: x\n", "`1`: keys should be strings"),
    "two documents": (f"{GOOD}---\nrun: b\n", "line 5: .*another document"),
    "no alias": ("run: *x\n", "line 1: .*undefined alias"),
    "other version": ("%YAML 9.9\n---\nrun: a\n", "line 1: .*version"),
    "latin-1": ("run: a\nstimuli: é\n".encode("latin-1"), "line 2: .*not UTF-8"),
    "utf-16": (GOOD.encode("utf-16"), "line 1: .*not UTF-8"),
    "zip": (b"PK\3\4" + bytes(range(256)), "not UTF-8"),
    "gzip": (b"\x1f\x8b" + bytes(1000), "not UTF-8"),
    "empty": ("", "expected a mapping"),
    "a word": ("word", "expected a mapping"),
    "nothing": ("---\n", "expected a mapping"),
}  # fmt: skip

# In a process of its own, whose every start, write and connection is noted.
PROGRAM = """
import json, resource, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import gadgets, test_configfile as test
from dynamics.config import load_config
paths = {}
for number, (name, (text, _)) in enumerate(test.FAULTS.items()):
    paths[name] = Path(f"{number}.yaml")
    paths[name].write_bytes(text if isinstance(text, bytes) else text.encode())
# Whatever is imported late is imported by now.
Path("good.yaml").write_text(test.GOOD)
load_config("good.yaml")
before, results = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, {}
seen = gadgets.watch()
for name, path in paths.items():
    start, so_far = time.perf_counter(), len(seen)
    try: outcome = ["nothing", str(load_config(path))]
    except BaseException as error: outcome = [type(error).__name__, str(error)]
    results[name] = [*outcome, time.perf_counter() - start, seen[so_far:]]
results["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
Path("results.json").write_text(json.dumps(results))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("configs")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(Path(__file__).parent)],
        cwd=folder, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert not (folder / "CANARY").exists()
    return json.loads((folder / "results.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_config_is_one_sentence_soon_and_runs_nothing(results, name):
    error, sentence, seconds, seen = results[name]
    assert error == "ValueError" and re.search(FAULTS[name][1], sentence), sentence
    assert ".yaml" in sentence and "\n" not in sentence and len(sentence) < 400
    assert seconds < 30 and not seen


def test_memory_of_bad_configs_stays_bounded(results):
    assert results["memory"] < 500_000  # KiB


def test_what_is_no_file_is_said(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    for path, words in ((tmp_path, "is a folder"), (tmp_path / "pipe.yaml", "is no regular file"),
                        (Path("/dev/zero"), "is no regular file")):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            load_config(path)


def test_a_byte_order_mark_and_ten_thousand_checkpoints_are_no_faults(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load_config(path).run == "a"
    many = "".join(f"  {k}: s3://bucket/{'folder/' * 15}step-{k}.ckpt\n" for k in range(10_000))
    path.write_text(GOOD.replace("checkpoints: b\n", f"checkpoints:\n{many}"))
    assert len(load_config(path).checkpoints) == 10_000
