"""Commands that list, crawl, watch and tell of a folder full of gadgets run nothing of them."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import gadgets
import pytest
import yaml
from tiny_run import save_checkpoint, sweep_in

from dynamics.cli import _Once

# Every process of a command, workers as well, notes what runs, imports or touches what is planted.
HOOK = """
import os, sys
def _note(event, arguments, out=os.open({seen!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)):
    if event in ("os.system", "os.exec", "os.posix_spawn", "webbrowser.open", "shutil.rmtree"):
        os.write(out, (event + " " + repr(arguments)[:200] + "\\n").encode())
    elif any(isinstance(a, str) and ("CANARY" in a or {plant!r} in a) for a in arguments):
        os.write(out, (event + " " + repr(arguments)[:200] + "\\n").encode())
sys.addaudithook(_note)
"""
KINDS = ("zip", "legacy", "first", "index", "lone", "sharded")


def put(folder):
    """Write every gadget in one of the formats, and some files of other kinds; return how many."""
    for step, gadget in enumerate(gadgets.GADGETS.values(), 100):
        scratch = folder.parent / f"scratch{step}"
        scratch.mkdir()
        made = gadgets.files(scratch, gadget, step)[KINDS[step % len(KINDS)]]
        made.rename(folder / made.name)
    step = 99 + len(gadgets.GADGETS)
    old = folder / f"step={step + 1}.pth.tar"  # as torch wrote before its version 0.2
    with tarfile.open(old, "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            content = b"\x80\x02" + gadgets.RUNS["os.system"] + b"."
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    os.mkfifo(folder / f"step={step + 2}.ckpt")
    strange = {
        f"\x1b[31mred\nstep={step + 3}.ckpt": b"\x80\x02" + gadgets.RUNS["eval"] + b".",
        f"[bold]step={step + 4}.pt": b"PK\3\4" + bytes(100),
        b"\xff\xfe-step=%d.pt" % (step + 5): b"no checkpoint",
        f"step={step + 6}.bin": b"",
        f"step={step + 7}.th": bytes(1000),
    }
    for name, content in strange.items():
        (folder / os.fsdecode(name)).write_bytes(content)
    for path in folder.rglob("*"):  # what is new and not whole could still be being written
        os.utime(path, (0, 0))
    return step + 7 - 99


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    content = sweep_in(folder, (0, 10), baseline=None, targets=[], workers=1, untrained=0)
    content["rows"] = put(folder / "checkpoints")
    (folder / "keep").mkdir()
    (folder / f"{gadgets.PLANT}.py").write_text("open('CANARY', 'w')\nclass Thing: pass\n")
    (folder / "hook").mkdir()
    hook = HOOK.format(seen=str(folder / "seen"), plant=gadgets.PLANT)
    (folder / "hook" / "sitecustomize.py").write_text(hook)
    rows = content.pop("rows")
    (folder / "sweep.yaml").write_text(yaml.safe_dump(content))
    return folder, rows


def start(folder, *command):
    paths = (folder / "hook", folder, *sys.path)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, paths)), "COLUMNS": "300", "OMP_NUM_THREADS": "1",
        "PYTHONIOENCODING": "",
    }  # fmt: skip
    program = "from dynamics.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", program, *command], cwd=folder, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        # What is started in the background, as tests may be, would ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def run(folder, *command, code):
    process = start(folder, *command)
    try:
        said = process.communicate(timeout=240)[0].decode("utf-8", "replace")
    finally:
        process.kill()
    assert process.returncode == code, said[-3000:]
    assert "Traceback" not in said, said[-3000:]
    nothing_ran(folder)
    return said


def nothing_ran(folder):
    seen = folder / "seen"
    assert not seen.exists() or not seen.read_text()
    assert (folder / "keep").is_dir()
    assert not list(folder.rglob("CANARY")) and "__pycache__" not in os.listdir(folder)


@pytest.mark.slow
def test_commands_over_a_folder_of_gadgets_have_a_row_each_and_run_nothing(place):
    folder, rows = place
    listed = run(folder, "checkpoints", "sweep.yaml", code=0)
    assert "\x1b" not in listed
    crawled = run(folder, "crawl", "sweep.yaml", code=3)
    told = re.findall(r"^failed: (?:step|(\d+) more)", crawled, re.MULTILINE)
    assert sum(int(more or 1) for more in told) == rows
    failed = json.loads(run(folder, "status", "sweep.yaml", "--json", code=0))["failures"]
    for step in range(100, 100 + rows):
        assert failed[str(step)]
        assert f"│ {step} " in listed or f"{step} │" in listed
    told = run(folder, "status", "sweep.yaml", code=0)
    assert f"2 of {rows + 2} steps done, {rows} failed, 0 missing" in told
    # Again: nothing is tried anew.
    again = run(folder, "crawl", "sweep.yaml", code=3)
    assert f"(2 steps and {rows} that failed, 0 of them new)" in again


@pytest.mark.slow
def test_watching_a_folder_of_gadgets_runs_nothing_and_stops_when_asked(place):
    folder, rows = place
    save_checkpoint(folder / "checkpoints", 99, seed=3)
    process = start(folder, "watch", "sweep.yaml", "--every", "0.5")
    os.set_blocking(process.stdout.fileno(), False)
    said, end = b"", time.monotonic() + 240
    try:
        while f"1 new, 3 done, {rows} failed" not in said.decode("utf-8", "replace"):
            assert time.monotonic() < end and process.poll() is None, said[-3000:]
            said += process.stdout.read() or b""
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        while (rest := process.poll()) is None:  # reading on, or a full pipe would hold it up
            assert time.monotonic() < end, said[-3000:]
            said += process.stdout.read() or b""
            time.sleep(0.1)
        said += process.stdout.read() or b""
    finally:
        process.kill()
    assert rest == 130 and b"Traceback" not in said, said[-3000:]
    nothing_ran(Path(folder))


def test_a_warning_is_given_once_and_its_terminal_codes_are_written_out():
    said, once = [], _Once()
    for name in ("a\x1b[31m.ckpt", "b.ckpt", "a\x1b[31m.ckpt"):
        record = logging.LogRecord("x", logging.WARNING, "", 0, "%s\nis left out", (name,), None)
        if once.filter(record):
            said.append(record.getMessage())
    assert said == ["a\\x1b[31m.ckpt\nis left out", "b.ckpt\nis left out"]
