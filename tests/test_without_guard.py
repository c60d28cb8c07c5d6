"""A script that calls `dynamics.run` needs no guard for the processes that are started."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dynamics import compute

SCRIPT = """
print("once")
from dynamics.cluster import cluster


def double(x):
    return 2 * x


with cluster(None, workers=1) as workers:
    print(workers.submit(double, 21).result())
print(__file__.endswith("script.py"))
"""


def test_processes_do_not_run_the_script_again(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=500,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
    )  # fmt: skip
    assert done.stdout == "once\n42\nTrue\n", done.stderr[-2000:]
    assert "Traceback" not in done.stderr


def test_the_script_has_its_place_again_after_a_fault(monkeypatch):
    place = getattr(sys.modules["__main__"], "__file__", None)
    with pytest.raises(ZeroDivisionError), compute._without_script():
        assert not hasattr(sys.modules["__main__"], "__file__")
        raise ZeroDivisionError
    assert getattr(sys.modules["__main__"], "__file__", None) == place
