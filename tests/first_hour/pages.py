"""Code blocks of the pages, and a person who does what they say in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

HOUSE = Path(__file__).parents[2]
PAGES = ("first-hour", "recordings", "own", "query")


def parts(page):
    """Return the code blocks of every part of a page, (kind, text), by heading."""
    text = (HOUSE / "configs" / f"{page}.md").read_text(encoding="utf-8")
    found = {}
    for part in re.split(r"^#+ ", "".join(_outside(text)), flags=re.MULTILINE)[1:]:
        heading = part.partition("\n")[0]
        found[heading] = re.findall(r"^```(\w+)\n(.*?)^```", part, re.MULTILINE | re.DOTALL)
    return {name: [(k, t.replace(_MARK, "#")) for k, t in each] for name, each in found.items()}


_MARK = "\x00"


def _outside(text):
    """Yield the lines, a comment at the start of a block's line told apart from a heading."""
    inside = False
    for line in text.splitlines(keepends=True):
        inside ^= line.startswith("```")
        yield line.replace("#", _MARK, 1) if inside and line.startswith("#") else line


def ran(folder, command, **more):
    """Run a line of a shell block, with the programs of this environment and no network."""
    words = command.split()
    program = {"python": [sys.executable], "dynamics": [sys.executable, "-m", "dynamics"]}
    environment = os.environ | {
        "PYTHONPATH": str(HOUSE), "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
        "DYNAMICS_DATA": str(folder), "OMP_NUM_THREADS": "1", **more,
    }  # fmt: skip
    start = time.monotonic()
    done = subprocess.run(
        [*program[words[0]], *words[1:]], cwd=folder, env=environment, capture_output=True,
        text=True, timeout=900,
    )  # fmt: skip
    print(f"{command}: {time.monotonic() - start:.0f} s")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done


def followed(folder, blocks, **more):
    """Do what a part says; return what each command wrote."""
    said = {}
    for kind, text in blocks:
        if kind == "sh":
            for command in text.strip().splitlines():
                said[command] = ran(folder, command, **more)
        else:
            name = re.match(r"# (\S+\.\w+)\n", text)[1]
            (folder / name).write_text(text)
    return said


def loud(done):
    """Return the lines of standard error that are none of progress."""
    return [
        x
        for x in done.stderr.splitlines()
        if not re.match(r"(crawl|analyz|prob)ing \d+ of", x)
    ]  # fmt: skip
