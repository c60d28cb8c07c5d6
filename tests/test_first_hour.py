"""The page of the first hour works as it stands: its code blocks, each part in an empty folder."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "configs" / "first-hour.md"
HOUSE = Path(__file__).parent.parent


def parts():
    """Return the code blocks of every part, (kind, text), by heading."""
    text = PAGE.read_text(encoding="utf-8")
    found = {}
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        heading = part.partition("\n")[0]
        found[heading] = re.findall(r"^```(\w+)\n(.*?)^```", part, re.MULTILINE | re.DOTALL)
    return found


def ran(folder, command):
    """Run a line of a shell block, with the programs of this environment and no network."""
    words = command.split()
    program = {"python": [sys.executable], "dynamics": [sys.executable, "-m", "dynamics"]}
    environment = os.environ | {
        "PYTHONPATH": str(HOUSE), "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
        "DYNAMICS_DATA": str(folder), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    done = subprocess.run(
        [*program[words[0]], *words[1:]], cwd=folder, env=environment, capture_output=True,
        text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done


def followed(folder, blocks):
    """Do what a part says; return what each command wrote."""
    said = {}
    for kind, text in blocks:
        if kind == "sh":
            for command in text.strip().splitlines():
                said[command] = ran(folder, command)
        else:
            name = re.match(r"# (\S+\.\w+)\n", text)[1]
            (folder / name).write_text(text)
    return said


RUNS = {"Hugging Face Trainer": "trainer", "A torch network of your own": "own",
        "Lightning": "lightning"}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("heading", RUNS)
def test_from_checkpoints_to_a_figure(heading, tmp_path):
    said = followed(tmp_path, parts()[heading])
    run = RUNS[heading]
    done = said["dynamics run sweep.yaml"]
    for name in ("figures/emergence-ridge.png", "report.html"):
        assert (tmp_path / "store" / run / name).stat().st_size > 1000
    assert "failed" not in done.stdout
    # Nothing but lines of progress: what a user cannot act on is not said.
    rest = [
        x for x in done.stderr.splitlines() if not re.match(r"(crawl|analyz|prob)ing \d+ of", x)
    ]
    assert rest == [], rest
    if run == "own":  # in Python, without `if __name__ == "__main__"`
        ((_, script),) = parts()["In Python"]
        (tmp_path / "script.py").write_text(script)
        shutil.rmtree(tmp_path / "store")
        done = ran(tmp_path, "python script.py")
        assert "half" in done.stdout and (tmp_path / "curves.png").stat().st_size > 1000
        assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) < 10


@pytest.mark.slow
def test_from_recordings_to_a_target(tmp_path):
    blocks = parts()["Recordings of your own"]
    (tmp_path / "saved").mkdir()
    said = followed(tmp_path, blocks)
    first, eeg, fmri, last = (done.stdout for name, done in said.items() if " target " in name)
    assert "20 neuroids" in first and "3" in first
    assert "3 neuroids" in eeg and "25" in eeg
    assert "18 neuroids" in fmri
    assert "7 neuroids" in last


def test_every_part_is_run_or_has_no_code():
    names = {*RUNS, "Recordings of your own", "In Python"}
    assert {name for name, blocks in parts().items() if blocks} == names
