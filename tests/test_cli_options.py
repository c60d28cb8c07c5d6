"""What every command has: help with an example, versions, JSON, progress, completion."""

import json
import os
import re
import subprocess
import sys

import pytest
import yaml
from tiny_run import save_checkpoint
from typer.main import get_command
from typer.testing import CliRunner

from dynamics import cli, progress
from dynamics.installation import OURS, version_of


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """Neither the caller's terminal nor a test before this one says how wide a pipe is."""
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(cli.out, "_width", None)


def said(*words, env=None, code=0):
    done = CliRunner().invoke(cli.app, list(words), env=env)
    assert done.exit_code == code, done.output
    return done.output


def test_the_package_is_a_program_too():
    command = [sys.executable, "-m", "dynamics", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout == f"dynamics {version_of(OURS)}\n" and not done.stderr


@pytest.mark.parametrize("name", sorted(get_command(cli.app).commands))
def test_every_help_fits_a_screen_and_has_an_example(name):
    text = said(name, "-h", env={"COLUMNS": "80"})
    example = re.search(rf"Example: dynamics {name}\b", text)
    assert example and len(text.splitlines()) <= 40
    assert text == said(name, "--help", env={"COLUMNS": "80"})


def test_the_list_of_commands_has_a_line_for_each_and_fits_a_screen():
    text = said("-h", env={"COLUMNS": "80"})
    assert len(text.splitlines()) <= 46 and "--install-completion" in text
    assert "Example: dynamics demo" in text
    for name in get_command(cli.app).commands:
        assert len(re.findall(rf"^│ {name} +\S", text, re.MULTILINE)) == 1
    assert not re.search(r"^│ {14,}\S.*[a-z]+", text.partition("A sweep")[2], re.MULTILINE)


@pytest.mark.parametrize("name", ["models", "metrics", "poolings", "tasks", "sounds", "brains"])
def test_listings_are_json_on_request_and_are_not_cut_in_a_pipe(name):
    found = json.loads(said(name, "--json"))
    lines = said(name).splitlines()
    for entry, about in found.items():
        line = next(line for line in lines if line.split() and line.split()[0] == entry)
        assert about["about"] in line and all(key in line for key in about["arguments"])
    one = next(iter(found))
    assert json.loads(said(name, one, "--json")) == {one: found[one]}


def test_checkpoints_and_status_are_json_on_request(tmp_path):
    folder = tmp_path / ("a-folder-of-a-long-name-" * 6)
    folder.mkdir()
    for step in (0, 10):
        save_checkpoint(folder, step, seed=step)
    sweep = {
        "run": "tiny", "checkpoints": str(folder), "stimuli": "synthetic",
        "model": {"name": "encodecmae", "arguments": {"heads": 2}},
    }  # fmt: skip
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(sweep))
    found = json.loads(said("checkpoints", str(path), "--json"))
    assert [each["step"] for each in found] == [0, 10]
    assert all(each["verdict"] == "ok" and each["bytes"] > 0 for each in found)
    for each in found:
        assert each["uri"] in said("checkpoints", str(path))  # not folded


class Clock:
    """Seconds as they are set."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress.time, "monotonic", clock)
    return clock


def test_a_log_gets_lines_at_intervals(capsys, clock):
    with progress.bar("crawling", 200) as advance:
        for step in range(200):
            clock.now += 5.0 if step else 60.0  # the first has to warm up
            advance(note=f"step {step}")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 + 199 * 5 // 30 + 1
    # No estimate before some units after the first tell how fast it goes.
    assert lines[0] == "crawling 1 of 200, 60 s so far: step 0"
    assert lines[1] == "crawling 7 of 200, 90 s so far, 16 min left: step 6"
    assert lines[-1] == "crawling 200 of 200, 18 min so far: step 199"


def test_progress_is_json_or_nothing_on_request(capsys, clock, monkeypatch):
    monkeypatch.setattr(progress, "_chosen", "auto")
    progress.choose("json")
    with progress.bar("crawling", 4) as advance:
        for step in range(4):
            clock.now += 2.0
            advance(note=f"step {step}")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert lines[0]["seconds_left"] is None
    assert lines[1] == {
        "stage": "crawling", "done": 2, "total": 4, "note": "step 1",
        "seconds": 4.0, "seconds_left": 4.0,
    }  # fmt: skip
    progress.choose("none")
    with progress.bar("crawling", 4) as advance:
        advance()
    progress.say("watched")
    assert capsys.readouterr().err == ""
    for style, shown in (("json", '{"note": "watched"}\n'), ("lines", "")):  # and only once
        progress.choose(style)
        progress.say("watched")
        assert capsys.readouterr().err == shown
    with pytest.raises(ValueError, match="not shown as 'loud': use one of auto, bar"):
        progress.choose("loud")


@pytest.mark.parametrize(
    ("typed", "known"), [("dynamics cr", ["crawl"]), ("dynamics run --pa", ["--patience"])]
)
def test_a_shell_completes_commands_and_options(typed, known):
    asked = {"_DYNAMICS_COMPLETE": "complete_bash", "COMP_WORDS": typed,
             "COMP_CWORD": str(typed.count(" "))}  # fmt: skip
    program = "import sys; sys.argv = ['dynamics']; from dynamics.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          timeout=120, env=os.environ | asked)  # fmt: skip
    assert done.stdout.split() == known and not done.stderr


@pytest.mark.slow
def test_quiet_commands_say_only_what_went_wrong(tmp_path):
    command = [sys.executable, "-m", "dynamics", "crawl", "nothing.yaml", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "dynamics: no config file at nothing.yaml\n"
