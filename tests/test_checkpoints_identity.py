"""The bytes that are read are those that were listed: overwriting, rotation, containers."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny_run import SIZES, sweep_in, sweep_of

from dynamics import checkpoints, store
from dynamics.checkpoints import LeftForLater
from dynamics.extraction import crawl
from dynamics.models import encodecmae
from dynamics.progress import silent


def save(path, step, seed):
    """Write a network beside and rename it, an hour old, as careful training loops do."""
    state = encodecmae.build(None, **SIZES, seed=seed).state_dict()
    torch.save({"state_dict": state, "global_step": step}, path.with_suffix(".tmp"))
    os.replace(path.with_suffix(".tmp"), path)
    old = time.time() - 3600
    os.utime(path, (old, old))


def statuses(place):
    table = store.open(place)["checkpoints"]
    return dict(zip(table["step"].values.tolist(), table["status"].values.tolist()))


def once(change):
    """Make a callback that lets training go on after the first checkpoint."""
    left = [change]
    return lambda *a, **k: left.pop()() if left else None


def test_a_file_that_is_written_again_before_its_turn_waits_and_is_read_next_time(tmp_path):
    content = sweep_in(tmp_path, (100, 200, 300), untrained=0)
    last = tmp_path / "checkpoints" / "last.ckpt"
    save(last, 500, seed=50)
    sweep = sweep_of(content)
    crawl.crawl(sweep, advance=once(lambda: save(last, 9000, seed=90)))
    assert statuses(sweep.store) == dict.fromkeys((100, 200, 300), "done") | {500: "pending"}
    assert store.failures(sweep.store) == {}
    crawl.crawl(sweep, advance=silent)
    assert statuses(sweep.store)[9000] == "done"
    save(tmp_path / "checkpoints" / "step=500.ckpt", 500, seed=50)
    assert crawl.crawl(sweep, advance=silent)["done"] == 5
    (tmp_path / "alone").mkdir()
    alone = sweep_in(tmp_path / "alone", ())
    save(tmp_path / "alone" / "checkpoints" / "step=9000.ckpt", 9000, seed=90)
    reference = sweep_of(alone)
    crawl.crawl(reference, advance=silent)
    expected = store.read_activations(reference.place, 9000)
    for layer, values in store.read_activations(sweep.place, 9000).items():
        # the same code on the same weights, in batches of the same sizes
        np.testing.assert_allclose(values, expected[layer], rtol=1e-5, atol=1e-6)


def test_files_that_are_rotated_away_before_their_turn_are_left_and_done_if_they_come(tmp_path):
    content = sweep_in(tmp_path, (1, 2, 3, 4), untrained=0)
    folder = tmp_path / "checkpoints"
    aside = {step: (folder / f"epoch=0-step={step}.ckpt").read_bytes() for step in (4,)}
    gone = once(lambda: (folder / "epoch=0-step=4.ckpt").unlink())
    sweep = sweep_of(content)
    assert crawl.crawl(sweep, advance=gone) == {"done": 3, "failed": 0, "new": 4}
    assert statuses(sweep.store)[4] == "pending"
    assert "removed before" in store.open(sweep.store)["checkpoints"]["error"].sel(step=4).item()
    assert crawl.crawl(sweep, advance=silent) == {"done": 3, "failed": 0, "new": 0}
    (folder / "epoch=0-step=4.ckpt").write_bytes(aside[4])
    assert crawl.crawl(sweep, advance=silent) == {"done": 4, "failed": 0, "new": 1}
    assert store.open(sweep.store)["checkpoints"]["error"].sel(step=4).item() == ""


def tiny(path, step=None, value=0.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    tree = {"state_dict": {"layer.weight": torch.full((2, 2), value)}}
    torch.save(tree if step is None else tree | {"global_step": step}, path)


def read_listed(found):
    with checkpoints.as_listed(found, Path(found.uri)) as path:
        return checkpoints.read(path)


def test_a_step_that_changed_under_the_same_size_and_time_is_noticed(tmp_path):
    path = tmp_path / "last.ckpt"
    tiny(path, 500)
    os.utime(path, (1e9, 1e9))
    (found,) = checkpoints.find(tmp_path)
    assert read_listed(found)
    tiny(path, 900)
    os.utime(path, (1e9, 1e9))
    assert path.stat().st_size == found.bytes
    with pytest.raises(LeftForLater, match="stated step 500 when it was listed and states 900"):
        read_listed(found)


def test_a_file_that_is_written_while_it_is_read_is_left_whatever_reading_raised(tmp_path):
    path = tmp_path / "step=5.ckpt"
    tiny(path, 5)
    (found,) = checkpoints.find(tmp_path)
    with (
        pytest.raises(LeftForLater, match="while it was read"),
        checkpoints.as_listed(found, path),
    ):
        path.write_bytes(b"half of it")
        checkpoints.read(path)


def test_a_link_that_points_elsewhere_later_does_not_move_a_step(tmp_path):
    for step in (200, 300):
        tiny(tmp_path / "all" / f"checkpoint-{step}" / "model.pt", value=float(step))
    latest = tmp_path / "latest"
    latest.symlink_to(tmp_path / "all" / "checkpoint-200")
    (found,) = checkpoints.find(str(tmp_path / "late*"))
    latest.unlink()
    latest.symlink_to(tmp_path / "all" / "checkpoint-300")
    assert found.step == 200 and read_listed(found)["layer.weight"][0, 0] == 200


def folder_of_a_trainer(folder, step=None, best=None):
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"layer.weight": torch.zeros(2, 2)}, folder / "model.safetensors")
    torch.save({"a": torch.zeros(1)}, folder / "training_args.bin")
    if step is not None:
        state = {"global_step": step, "best_model_checkpoint": best}
        (folder / "trainer_state.json").write_text(json.dumps(state))


@pytest.mark.parametrize("at", ["{}", "local://{}"])
@pytest.mark.parametrize("name", ["out", "wav2vec2-base-960", "run-3", "hubert-500"])
@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ({}, [100, 200]),
        ({"step": 200}, [100, 200]),
        ({"step": 250}, [100, 200, 250]),
        ({"step": 250, "best": "out/checkpoint-100"}, [100, 200]),
    ],
)
def test_a_folder_with_weights_at_its_root_is_looked_into(tmp_path, at, name, root, expected):
    out = tmp_path / name
    for step in (100, 200):
        folder_of_a_trainer(out / f"checkpoint-{step}", step)
    folder_of_a_trainer(out, **root)
    (out / "2_Dense").mkdir()
    save_file({"linear.weight": torch.zeros(2, 2)}, out / "2_Dense" / "model.safetensors")
    (out / "latest").symlink_to("checkpoint-200")
    found = checkpoints.find(at.format(out))
    assert [c.step for c in found] == expected
    assert [c.uri.rpartition("/")[2] for c in found[:2]] == ["checkpoint-100", "checkpoint-200"]


@pytest.mark.parametrize("at", ["{}", "local://{}"])
def test_a_model_folder_named_alone_has_a_step_only_where_its_name_says_so(tmp_path, at):
    folder_of_a_trainer(tmp_path / "checkpoint-500")
    folder_of_a_trainer(tmp_path / "hubert-960")
    assert [c.step for c in checkpoints.find(at.format(tmp_path / "checkpoint-500"))] == [500]
    with pytest.raises(FileNotFoundError):
        checkpoints.find(at.format(tmp_path / "hubert-960"))


def test_a_remote_object_that_is_overwritten_between_listing_and_reading_is_left(tmp_path):
    memory = fsspec.filesystem("memory")
    tiny(tmp_path / "x.ckpt", 500)
    memory.pipe_file("/overwritten/last.ckpt", (tmp_path / "x.ckpt").read_bytes())
    (found,) = checkpoints.find("memory://overwritten")
    tiny(tmp_path / "x.ckpt", 900)
    memory.pipe_file("/overwritten/last.ckpt", (tmp_path / "x.ckpt").read_bytes())
    with (
        checkpoints.fetch(found, tmp_path / "disk") as path,
        pytest.raises(LeftForLater),
        checkpoints.as_listed(found, path) as there,
    ):
        checkpoints.read(there)
    memory.rm("/overwritten/last.ckpt")
    ((_, fault),) = checkpoints.fetched([found], tmp_path / "disk")
    with (
        pytest.raises(LeftForLater, match="removed before"),
        checkpoints.as_listed(found, fault),
    ):
        pass
