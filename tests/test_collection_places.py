"""Where the files of a collection lie: paths are relative to its YAML, as those of a sweep are."""

from pathlib import Path

import many_runs
import numpy as np
import pytest
import yaml
from many_runs import make
from scipy import stats

from dynamics.cluster import PATIENCE
from dynamics.collection import compared, gather, open_runs, running
from dynamics.collection.differences import differences
from dynamics.config import load_collection
from dynamics.store import Place

SWEEP = {
    "run": "{size}",
    "checkpoints": "checkpoints/{size}",
    "model": "encodecmae",
    "stimuli": "sounds/all",
    "targets": [{"name": "trials", "label": "t", "arguments": {"path": "{size}.npz"}}],
}


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A folder of a laboratory, and another one to work in."""
    (tmp_path / "lab" / "old").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "lab"


def test_paths_are_relative_to_the_yaml(lab):
    make(lab / "old" / "a.zarr", targets=("one",))
    (lab / "single.yaml").write_text(yaml.safe_dump(SWEEP | {"run": "x", "targets": []}))
    for name in ("checkpoints/small", "checkpoints/{size}", "sounds/all"):
        (lab / name).mkdir(parents=True)
    (lab / "small.npz").write_bytes(b"")
    runs = [
        {"template": SWEEP, "matrix": {"size": ["small"]}},
        "old/*.zarr",
        {"store": "old/a.zarr", "name": "again"},
        "single.yaml",
    ]
    content = {"collection": "c", "runs": runs[:2] + runs[3:], "output": "found"}
    path = lab / "c.yaml"
    path.write_text(yaml.safe_dump(content))
    collection = load_collection(path)
    small, old, single = collection.runs
    beside = Path("..") / "lab"
    assert small.sweep.checkpoints == str(beside / "checkpoints" / "small")
    assert small.sweep.stimuli.name == str(beside / "sounds" / "all")
    assert small.sweep.targets[0].arguments["path"] == str(beside / "small.npz")
    assert small.place == Place("store/small.zarr"), "where stores land by default"
    assert single.sweep.checkpoints == str(beside / "checkpoints" / "{size}")
    assert collection.output == beside / "found"
    assert open_runs(collection)[1].tree is not None and old.name == "a"
    path.write_text(yaml.safe_dump(content | {"runs": [runs[2]]}))
    assert [run.name for run in load_collection(path).runs] == ["again"]


@pytest.mark.slow
def test_differences_are_those_of_correlations_halves_pair_by_pair(tmp_path, monkeypatch):
    """Correlations on halves are brought to the level of all stimuli before they are paired."""
    monkeypatch.setattr(many_runs, "HALVES", many_runs.HALVES | {"correlation": 1})
    paths = [
        make(tmp_path / f"r{i}.zarr", level=0.3 + 0.05 * i, seed=i, targets=("one",), resamples=4)
        for i in range(6)
    ]
    monkeypatch.chdir(tmp_path)
    (each,) = compared(open_runs(gather(paths)))
    score, again = each.finals
    assert again.dims == ("resample", "run") and again.sizes == {"resample": 4, "run": 6}
    values, r, n = again.to_numpy(), score.to_numpy(), 4
    table = differences(each)
    assert len(table) == 15
    for row in table.itertuples():
        one, other = (int(name[1]) for name in (row.first, row.second))
        assert row.difference == pytest.approx(r[one] - r[other])
        less = values[:, one] - values[:, other]
        variance = ((less[0::2] - less[1::2]) ** 2).sum() / 4 / (n // 2)
        half = stats.t.ppf(0.975, n // 2) * np.sqrt(many_runs.HALVES["spread"] * variance)
        assert row.high - row.difference == pytest.approx(half)


def test_what_is_in_the_working_directory_alone_is_found_as_before(lab):
    make(Path("mine.zarr"), targets=("one",))
    path = lab / "c.yaml"
    path.write_text(yaml.safe_dump({"collection": "c", "runs": ["mine.zarr"]}))
    assert open_runs(load_collection(path))[0].tree is not None


def test_a_cluster_is_waited_for_as_long_as_the_command_says(lab, monkeypatch):
    (lab / "single.yaml").write_text(yaml.safe_dump(SWEEP | {"run": "x", "targets": []}))
    path = lab / "c.yaml"
    path.write_text(yaml.safe_dump({"collection": "c", "runs": ["single.yaml"]}))
    seen = []
    monkeypatch.setattr(running, "check", lambda sweep, **k: None)
    monkeypatch.setattr(running, "_loaded", lambda *a: None)
    monkeypatch.setattr(running, "stages", lambda sweep, **k: seen.append(k) or [])
    list(running.run_all(load_collection(path), patience=5))
    list(running.run_all(load_collection(path)))
    assert [k["patience"] for k in seen] == [5, PATIENCE]
