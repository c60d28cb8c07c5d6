"""A store of schema 1 as it was written once, and stores that were moved, copied or are newer."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from tiny_store import IDENTITY, STIMULI, activations, fill

from dynamics import store
from dynamics.cli import main

KEPT = Path(__file__).parent / "baselines" / "schema-1.zip"
# Similarity of the first two of eight subjects, by step and layer, when it was written.
SCORES = [
    [[0.212076473495, 0.24854439985], [0.220759924016, 0.217729033424]],
    [[0.184504845197, 0.102078762335], [0.180910637566, 0.103963775099]],
    [[0.166626235354, 0.115449669576], [0.18102916157, 0.155759493948]],
]


@pytest.fixture
def unpacked(tmp_path):
    with zipfile.ZipFile(KEPT) as archive:
        archive.extractall(tmp_path)
    return tmp_path / "older.zarr"


def is_whole(path):
    """Whether a store has what was written, and each hash in it says so."""
    assert store.verify(path) == store.verify_results(path) == store.verify_controls(path) == {}
    tree = store.open(path)
    found = tree["results/simulated/rsa"].to_dataset()
    assert found["step"].to_numpy().tolist() == [0, 4, 16]
    np.testing.assert_allclose(found["score"].isel(subject=[0, 1]), SCORES, rtol=1e-9)
    assert tree["activations/layer1/activation"].dtype == "float32"
    return tree


def test_a_store_of_schema_1_is_read_as_it_was_written_and_grows(unpacked):
    is_whole(KEPT)
    tree = is_whole(unpacked)
    layers = {f"layer{n}": tree[f"activations/layer{n}/activation"].values[0] for n in range(2)}
    inner = tree["activations"].to_dataset()
    identity = dict(store.open_group(unpacked).attrs["identity"])
    with store.lock(unpacked):
        root = store.begin(unpacked, run="older", identity=identity)
        store.plan(root, [(40, "checkpoints/epoch=0-step=40.ckpt", 1)])
        about = {"stimuli": inner["stimulus"].values, "categories": inner["category"].values}
        store.write_activations(root, 40, layers, **about)
        store.commit(root, 40, sha256="x")
    assert is_whole(unpacked)["activations"]["step"].to_numpy().tolist() == [0, 4, 16, 40]


def test_a_newer_store_is_refused_in_words_by_whoever_opens_it(unpacked, capsys, monkeypatch):
    group = zarr.open_group(unpacked, mode="r+", use_consolidated=False)
    group.attrs.update({"schema": 2, "package_version": "9.1"})
    before = {p: p.read_bytes() for p in unpacked.rglob("*") if p.is_file()}
    words = r"written by a newer version of this package \(schema 2, 9\.1; this one, .*pip install"
    identity = dict(group.attrs["identity"])
    for use in (
        store.open, store.open_group, store.verify, store.verify_results, store.summarise,
        store.failures, lambda path: store.redo(path, [4]),
        lambda path: store.begin(path, run="older", identity=identity),
        lambda path: store.begin(path, run="older", identity={"adapter": "another"}),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            use(unpacked)
    monkeypatch.setattr("sys.argv", ["dynamics", "status", str(unpacked)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2 and "newer version" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in unpacked.rglob("*") if p.is_file()} == before


def test_a_store_that_was_moved_or_copied_with_anothers_lock_is_the_same_and_grows(tmp_path):
    with store.lock(tmp_path / "a.zarr"):
        fill(tmp_path / "a.zarr", [0, 5])
    shutil.move(tmp_path / "a.zarr", tmp_path / "b.zarr")
    shutil.copytree(tmp_path / "b.zarr", tmp_path / "c.zarr")
    # A process of another host was writing when its folder was copied.
    (tmp_path / ".c.zarr.lock").write_text("process 7 on elsewhere")
    torn = tmp_path / "c.zarr" / "activations" / f"0.{'a' * 32}.partial"
    torn.write_bytes(b"half")
    for name in ("b.zarr", "c.zarr"):
        with store.lock(tmp_path / name):
            root = store.begin(tmp_path / name, run="test", identity=IDENTITY)
            store.plan(root, [(9, "file-9", 10)])
            about = {"stimuli": STIMULI, "categories": ["x"] * len(STIMULI)}
            store.write_activations(root, 9, activations(9), **about)
            store.commit(root, 9)
        assert store.verify(tmp_path / name) == {}
        steps = store.open(tmp_path / name)["activations"]["step"]
        assert steps.to_numpy().tolist() == [0, 5, 9]
    assert not torn.exists()
