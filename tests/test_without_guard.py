"""Scripts and notebooks that call `dynamics.run`: what they define reaches the processes."""

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


# As a kernel runs cells: there is no file, and all is defined in `__main__`.
CELLS = """
from pathlib import Path
import dynamics, numpy as np, torch
from dynamics.analysis import METHODS, Metric

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.front = torch.nn.Conv1d(1, 4, 400, 160)

    def forward(self, waveforms):
        return self.front(waveforms[:, None]).relu()

def level(layers, target, *, halves=None, orders=None):
    r = [[np.corrcoef(np.abs(X).mean(1), y)[0, 1] for y in target.mean_response.T]
         for X in layers.values()]
    return {"score": (("layer", "neuroid"), np.array(r))}

METHODS["level"] = Metric(level, axis="Level", per="neuroid", without_resamples="it is not fitted")
Path("saved").mkdir()
torch.save(Network().state_dict(), "saved/step_1.pt")
tree = dynamics.run({
    "run": "cells", "checkpoints": "saved", "targets": "simulated", "metrics": "level",
    "model": {"name": "module", "arguments": {"factory": "__main__:Network", "layers": "front"}},
    "stimuli": {"name": "synthetic", "arguments": {"per_kind": 1}}, "baseline": None,
    "resamples": 0, "workers": 1, "report": False,
})
results = tree["results/simulated/level"].to_dataset()
print(results["score"].shape)
print(repr(results.dynamics))
"""


@pytest.mark.slow
def test_cells_of_a_notebook_need_no_file(tmp_path):
    done = subprocess.run(
        [sys.executable], input=CELLS, cwd=tmp_path, capture_output=True, text=True, timeout=500,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)},
    )  # fmt: skip
    shape, statistics, figures, more = done.stdout.splitlines()
    assert shape == "(2, 1, 200)"  # with an untrained network
    assert "half_time, " in statistics and "plot_curves, " in figures and "help(" in more
    said = [line for line in done.stderr.splitlines() if not line.startswith(("crawl", "analyz"))]
    assert said == []


def test_the_script_has_its_place_again_after_a_fault(monkeypatch):
    place = getattr(sys.modules["__main__"], "__file__", None)
    with pytest.raises(ZeroDivisionError), compute._without_script():
        assert not hasattr(sys.modules["__main__"], "__file__")
        raise ZeroDivisionError
    assert getattr(sys.modules["__main__"], "__file__", None) == place
