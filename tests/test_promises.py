"""What must stay true is held by tests that bear its number; memory does not grow with a run."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_run import sweep_in

HERE = Path(__file__).parent
README = HERE.parent / "README.md"


def test_every_promise_of_the_readme_has_a_test_that_bears_its_number():
    text = README.read_text(encoding="utf-8").split("What must stay true")[1]
    promised = [int(number) for number in re.findall(r"^(\d+)\. ", text, re.MULTILINE)]
    assert promised == list(range(1, 11))
    marked = {
        int(number)
        for path in HERE.glob("test_*.py")
        for number in re.findall(r"mark\.guards\((\d+)\)", path.read_text(encoding="utf-8"))
    }
    assert marked == set(promised)


# What one decomposes, the other counts: once a fold and layer, however many neuroids there are.
@pytest.mark.guards(5)
def test_a_split_is_decomposed_once_for_all_neuroids_and_penalties(monkeypatch):
    import torch

    from dynamics import metrics

    rng, calls = np.random.default_rng(0), []
    eigh = torch.linalg.eigh

    def counted(*args, **kwargs):
        calls.append(tuple(args[0].shape))
        return eigh(*args, **kwargs)

    monkeypatch.setattr(torch.linalg, "eigh", counted)
    X, folds = rng.standard_normal((60, 90)), np.arange(60) % 5
    counts = []
    for neuroids, alphas in ((3, 5), (300, 20)):
        calls.clear()
        Y = rng.standard_normal((60, neuroids))
        metrics.nested_ridge(metrics.gram(X)[None], Y, folds, np.logspace(0, 4, alphas))
        counts.append(list(calls))
    assert counts[0] == counts[1] and counts[0]


PROGRAM = """
import json, resource, sys
import torch
sys.path.insert(0, {tests!r})
from inprocess import Here
from tiny_run import sweep_of
import contextlib
from dynamics.analysis import analyze
from dynamics.extraction import crawl
torch.set_num_threads(1)
sweep = sweep_of(json.load(open({content!r})))
analyze.cluster = lambda *a, **k: contextlib.nullcontext(Here())
crawl.crawl(sweep)
analyze.analyze(sweep)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.slow
@pytest.mark.guards(6)
def test_memory_does_not_grow_with_the_number_of_checkpoints(tmp_path):
    import json

    from tiny_run import save_checkpoint

    peaks = []
    for number in (10, 60):
        folder = tmp_path / str(number)
        folder.mkdir()
        content = sweep_in(
            folder, [], stimuli={"name": "synthetic", "arguments": {"per_kind": 4, "seconds": 0.3}},
            metrics=["ridge"], resamples=4, untrained=0, baseline=None, self_similarity=["cka"],
        )  # fmt: skip
        for step in range(number):  # some 4 MB each
            save_checkpoint(folder / "checkpoints", step, seed=step, width=192, feed_forward=768)
        (folder / "sweep.json").write_text(json.dumps(content))
        program = PROGRAM.format(tests=str(HERE), content=str(folder / "sweep.json"))
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=1800
        )
        assert done.returncode == 0, done.stderr
        peaks.append(float(done.stdout.split()[-1]))
        size = sum(path.stat().st_size for path in (folder / "checkpoints").iterdir()) / 2**20
    # Fifty checkpoints more would be that many megabytes; allocators keep some of what was freed.
    assert peaks[1] - peaks[0] < 0.15 * size, (peaks, size)
