from __future__ import annotations

import argparse
import io
import os
import pathlib
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dynamics import checkpoints


def weights(value: float = 0.0) -> dict[str, torch.Tensor]:
    return OrderedDict({"layer.weight": torch.full((3, 2), value), "layer.bias": torch.zeros(3)})


class Evil:
    """Creates a file when it is unpickled by an unsafe reader."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return (os.mkdir, (self.target,))


def test_steps_come_from_inside_and_order_is_numeric(tmp_path):
    for step in (9, 10, 100, 2000):
        torch.save({"state_dict": weights(step), "global_step": step}, tmp_path / f"{step}.ckpt")
    found = checkpoints.find(tmp_path)
    assert [c.step for c in found] == [9, 10, 100, 2000]
    assert {c.format for c in found} == {"lightning"}
    assert found[0].bytes == (tmp_path / "9.ckpt").stat().st_size
    assert checkpoints.read(found[2].uri)["layer.weight"][0, 0] == 100


@pytest.mark.parametrize(
    ("tree", "kind", "step"),
    [
        ({"state_dict": weights(), "global_step": 7, "epoch": 1}, "lightning", 7),
        ({"Transformer": weights(), "Step": 7, "Config": {}, "Optimizer": {}}, "s3prl", 7),
        (
            {"model": weights(), "args": None, "optimizer_history": [{"num_updates": 7}]},
            "fairseq",
            7,
        ),
        ({"model": weights(), "step": torch.tensor(7)}, "torch", 7),
        ({"model": weights(), "step": np.int64(7)}, "torch", 7),
        ({"model": weights(), "trainer": {"iteration": 7}}, "torch", 7),
        (weights(), "torch", 5),
    ],
)
def test_layouts_are_recognised_by_their_contents(tmp_path, tree, kind, step):
    torch.save(tree, tmp_path / "model_step5.pt")
    (found,) = checkpoints.find(tmp_path)
    assert (found.format, found.step) == (kind, step)
    assert ("its name says step 5" in found.note) == (step != 5)
    names = {name.removeprefix("Transformer.") for name in checkpoints.read(found.uri)}
    assert names == set(weights())


def test_a_file_of_the_old_torch_format_is_read(tmp_path):
    torch.save({"state_dict": weights(3), "global_step": 3}, tmp_path / "a.ckpt",
               _use_new_zipfile_serialization=False)  # fmt: skip
    (found,) = checkpoints.find(tmp_path)
    assert found.step == 3
    assert checkpoints.read(found.uri)["layer.weight"][0, 0] == 3


def test_safetensors_are_read_with_the_step_of_their_name(tmp_path):
    save_file(weights(1.5), tmp_path / "model-30.safetensors")
    (found,) = checkpoints.find(tmp_path)
    assert (found.step, found.format) == (30, "safetensors")
    assert checkpoints.read(found.uri)["layer.weight"][0, 0] == 1.5


def test_nothing_in_a_checkpoint_runs(tmp_path):
    target = tmp_path / "created"
    torch.save({"state_dict": weights(), "global_step": 4, "x": Evil(target)}, tmp_path / "a.ckpt")
    (found,) = checkpoints.find(tmp_path)
    assert found.step == 4
    with pytest.raises(ValueError, match=r"posix\.mkdir.*`trust_checkpoints: true`"):
        checkpoints.read(found.uri)
    assert not target.exists()
    assert set(checkpoints.read(found.uri, trust=True)) == set(weights())
    assert target.exists()


def test_harmless_classes_are_read_without_trust(tmp_path):
    tree = {
        "model": weights(),
        "args": argparse.Namespace(rate=1, path=pathlib.Path("/nowhere")),
        "loss": np.float32(1.0),
        "history": np.arange(3),
    }
    torch.save(tree, tmp_path / "checkpoint_1_20.pt")
    (found,) = checkpoints.find(tmp_path)
    assert (found.step, found.format) == (20, "fairseq")
    whole = checkpoints.read_file(found.uri)
    assert whole["args"].rate == 1
    np.testing.assert_array_equal(whole["history"], [0, 1, 2])


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_bytes(path.read_bytes()[:-200]), "cut off"),
        (lambda path: path.write_bytes(b"not a checkpoint at all"), "neither a torch.save file"),
        (lambda path: path.write_bytes(bytes(5000)), "zeros"),
    ],
)
def test_a_damaged_file_is_a_row_and_reading_it_one_sentence(tmp_path, spoil, reason):
    path = tmp_path / "step=12.ckpt"
    torch.save({"state_dict": weights(), "global_step": 12}, path)
    spoil(path)
    (found,) = checkpoints.find(tmp_path)
    assert (found.step, found.format) == (12, "unreadable")
    assert reason in found.note
    with pytest.raises(ValueError, match=reason) as caught:
        checkpoints.read(path)
    assert "\n" not in str(caught.value)


def test_two_checkpoints_of_one_step_name_both_and_the_newer_is_used(tmp_path):
    for name, age in (("step=8.ckpt", 100), ("last.ckpt", 0)):
        torch.save({"state_dict": weights(age), "global_step": 8}, tmp_path / name)
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    (newer,) = checkpoints.find(tmp_path)
    (older,) = checkpoints.find(tmp_path, duplicates="older")
    assert newer.uri.endswith("last.ckpt") and "'step=8.ckpt'" in newer.note
    assert older.uri.endswith("step=8.ckpt") and "'last.ckpt'" in older.note
    with pytest.raises(ValueError, match=r"step 8 has 2 checkpoints.*last\.ckpt.*step=8\.ckpt"):
        checkpoints.find(tmp_path, duplicates="error")


def test_a_folder_without_checkpoints_says_what_was_looked_for(tmp_path):
    (tmp_path / "readme.txt").write_text("x")
    with pytest.raises(FileNotFoundError, match=r"no checkpoints in .*\.ckpt"):
        checkpoints.find(tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder"):
        checkpoints.find(tmp_path / "absent")


def test_the_digest_is_that_of_the_content(tmp_path):
    torch.save(weights(1), tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes((tmp_path / "a.pt").read_bytes())
    torch.save(weights(2), tmp_path / "c.pt")
    a, b, c = (checkpoints.digest(tmp_path / f"{name}.pt") for name in "abc")
    assert a == b != c and len(a) == 64


def test_encodecmae_checkpoints_are_found_in_order(encodecmae_fixtures):
    found = checkpoints.find(encodecmae_fixtures)
    assert [c.step for c in found] == [0, 1000]
    assert {c.format for c in found} == {"lightning"}


def test_what_needs_trust_is_said_when_it_is_listed(tmp_path):
    torch.save({"state_dict": weights(), "global_step": 4, "x": Evil("y")}, tmp_path / "a.ckpt")
    (found,) = checkpoints.find(tmp_path)
    assert found.note == "would construct posix.mkdir: needs trust_checkpoints"


def test_omegaconf_containers_are_read_without_trust(tmp_path):
    omegaconf = pytest.importorskip("omegaconf")
    config = omegaconf.OmegaConf.create({"a": 1, "b": [1.5, "x", None, True], "c": {"d": "${a}"}})
    torch.save({"model": weights(2), "cfg": config}, tmp_path / "checkpoint_2_30.pt")
    (found,) = checkpoints.find(tmp_path)
    assert (found.step, found.format, found.note) == (30, "fairseq", "")
    assert checkpoints.read(found.uri)["layer.weight"][0, 0] == 2
    assert checkpoints.read_file(found.uri)["cfg"].c.d == 1


def test_a_whole_pickled_module_is_refused_by_its_class(tmp_path):
    torch.save(torch.nn.Linear(2, 3), tmp_path / "model_step3.pt")
    with pytest.raises(ValueError, match=r"would construct torch\.nn\.modules\.linear\.Linear"):
        checkpoints.read(tmp_path / "model_step3.pt")
    assert set(checkpoints.read(tmp_path / "model_step3.pt", trust=True)) == {"weight", "bias"}


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_a_file_cut_or_changed_anywhere_is_read_or_refused_in_one_sentence(tmp_path, kind):
    """A training job that dies leaves any prefix; a bad disk any change."""
    path = tmp_path / ("step=3.safetensors" if kind == "safetensors" else "step=3.ckpt")
    if kind == "safetensors":
        save_file(weights(1), path)
    else:
        torch.save({"state_dict": weights(1), "global_step": 3}, path,
                   _use_new_zipfile_serialization=kind == "zip")  # fmt: skip
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(150):
        place = int(rng.integers(len(whole)))
        if rng.random() < 0.5:
            path.write_bytes(whole[:place])
        else:
            path.write_bytes(whole[:place] + bytes([rng.integers(256)]) + whole[place + 1 :])
        try:
            found = checkpoints.find(tmp_path)
            checkpoints.read(path)
        except (ValueError, FileNotFoundError) as error:
            assert "\n" not in str(error)
        else:
            assert len(found) == 1


def test_a_step_is_read_without_the_tensors(tmp_path):
    from dynamics.checkpoints.formats import recognise
    from dynamics.checkpoints.inspect import inspect

    path = tmp_path / "large.ckpt"
    torch.save({"state_dict": {"w": torch.zeros(10_000_000)}, "global_step": 8}, path)

    class Counting(io.FileIO):
        total = 0

        def readinto(self, buffer):
            got = super().readinto(buffer)
            self.total += got
            return got

        def read(self, size=-1):
            raw = super().read(size)
            self.total += len(raw)
            return raw

    with Counting(path) as file:
        assert recognise(inspect(file)) == ("lightning", 8)
        assert file.total < 100_000 < path.stat().st_size


@pytest.mark.parametrize(
    "tree",
    [
        {"state_dict": {f"module.{name}": value for name, value in weights(2).items()}},
        {"model": {f"module._orig_mod.{name}": value for name, value in weights(2).items()}},
        {"net": weights(2), "optimizer": {"layer.weight": torch.zeros(3)}, "rng": torch.zeros(9)},
        {"module": weights(2)},
    ],
)
def test_wrappers_and_prefixes_are_taken_off(tmp_path, tree):
    torch.save(tree, tmp_path / "step_3.pt")
    state = checkpoints.read(tmp_path / "step_3.pt")
    assert set(state) == set(weights()) and state["layer.weight"][0, 0] == 2


def test_several_networks_in_one_file_are_told_apart_by_prefixes(tmp_path):
    torch.save({"encoder": weights(1), "head": weights(2), "epoch": 3}, tmp_path / "step_3.pt")
    state = checkpoints.read(tmp_path / "step_3.pt")
    assert len(state) == 4 and state["head.layer.weight"][0, 0] == 2


def test_a_number_beside_bare_weights_is_no_obstacle(tmp_path):
    torch.save({"weight": torch.ones(3), "bias": torch.zeros(1), "epoch": 3}, tmp_path / "s_3.pt")
    assert set(checkpoints.read(tmp_path / "s_3.pt")) == {"weight", "bias"}
