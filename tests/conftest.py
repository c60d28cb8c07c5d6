"""Fixtures that several rooms' tests share."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import pytest

# Two processes share the cores, and threads that spin while they wait would fight over them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_configure(config):
    """Point the data-set registry at the local copies where they exist."""
    if "DYNAMICS_DATA" not in os.environ and (SHARED / "data").is_dir():
        os.environ["DYNAMICS_DATA"] = str(SHARED / "data")


def pytest_collection_modifyitems(items):
    """Give tests that take minutes an hour before they count as hung: machines differ."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(3600))


@pytest.fixture
def in_this_process(monkeypatch):
    """Analyze without starting workers, in tests that are not about them."""
    from inprocess import Here

    from dynamics.analysis import analyze

    monkeypatch.setattr(analyze, "cluster", lambda *a, **k: contextlib.nullcontext(Here()))


@pytest.fixture
def command(monkeypatch, capsys):
    """Run a command in this process, as the installed program would, in a folder."""
    from dynamics import cli

    def run(folder, *words, code=0):
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["dynamics", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        assert (ended.value.code or 0) == code, said.err
        return said

    return run


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder with local copies of the public data sets."""
    root = os.environ.get("DYNAMICS_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("no local copy of the public data sets: set DYNAMICS_DATA to its folder")
    return Path(root)


@pytest.fixture(scope="session")
def encodecmae_fixtures() -> Path:
    """Folder with small EnCodecMAE checkpoints and their reference activations."""
    folder = SHARED / "fixtures" / "encodecmae"
    if not folder.is_dir():
        pytest.skip("no EnCodecMAE reference activations beside this checkout")
    return folder


@pytest.fixture(autouse=True)
def _figures_closed():
    """Close what a test drew, if it drew anything: pyplot keeps figures open."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
