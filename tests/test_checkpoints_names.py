"""Steps that names state: which number of a name counts, and which names are not guessed at."""

from __future__ import annotations

import pytest
import torch

from dynamics import checkpoints
from dynamics.checkpoints.names import is_aside, read_name, step_from_name


def save(path, step=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    tree = {"state_dict": {"layer.weight": torch.zeros(2, 2)}}
    torch.save(tree if step is None else tree | {"global_step": step}, path)
    return path


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("step_10k.pt", 10_000),
        ("1e5.pt", 100_000),
        ("1.5M.pt", 1_500_000),
        ("ckpt-1.5M", 1_500_000),
        ("100K", 100_000),
        ("0.5k.pt", 500),
        ("1.23456k.pt", None),
        ("step_100_000", 100_000),
        ("step_1_000_000.pt", 1_000_000),
        ("step=10,000.pt", 10_000),
        ("iter_0000500", 500),
        ("epoch=3-step=1200.ckpt", 1200),
        ("checkpoint_12_5000.pt", 5000),
        ("global_step500", 500),
        ("states-epoch-3.ckpt", 3),
        ("10k_steps.pt", 10_000),
        ("checkpoint_100.pth.tar", 100),
        ("step=100-step=100.pt", 100),
        ("epoch=3-val_loss=2.37.ckpt", 3),
        ("val_loss=2.37.ckpt", None),
        ("val_loss=2.ckpt", None),
        ("checkpoint.best_loss_5.12.pt", None),
        ("lr=1e-4-step=5.ckpt", 5),
        ("max_steps=1000-step=500.ckpt", 500),
        ("warmup_steps_1000.pt", None),
        ("2024-05-01", None),
        ("20240501_120000.pt", None),
        ("2024-05-01T12:00:00.pt", None),
        ("run-2024-05-01-step=700.ckpt", 700),
        ("model_20240501_500.pt", 500),
        ("step_20240501", 20_240_501),
        ("v2", None),
        ("base-960h", None),
        ("wav2vec2-base-960", None),
        ("24khz.pt", None),
        ("768d.pt", None),
        ("12layers.pt", None),
        ("seed3.pt", None),
        ("seed_3.pt", None),
        ("rank0.pt", None),
        ("fold=2.pt", None),
        ("run-3", None),
        ("model_768d_12layers_seed3_v2_step_500.pt", 500),
        ("model-00001-of-00002.safetensors", None),
    ],
)
def test_the_number_that_counts_is_told_from_sizes_dates_seeds_and_losses(name, step):
    assert step_from_name(name) == step
    assert len(read_name(name).steps) <= 1


@pytest.mark.parametrize(
    ("name", "readings"),
    [
        ("checkpoint_12_500.pt", {500, 12_500}),
        ("step_100_200.pt", {100, 100_200}),
        ("model-12-500.pt", {12, 500}),
        ("10_step_500.pt", {10, 500}),
        ("encodec_16k.pt", {16_000, None}),
        ("hubert_300M.pt", {300_000_000, None}),
    ],
)
def test_a_name_that_can_be_read_in_two_ways_is_an_error_with_both(tmp_path, name, readings):
    assert set(read_name(name).steps) == readings
    path = save(tmp_path / name)
    with pytest.raises(ValueError, match="mapping of step to place") as caught:
        checkpoints.find(tmp_path)
    for step in readings - {None}:
        assert f"step {step} " in str(caught.value)
    assert [c.step for c in checkpoints.find({7: str(path)})] == [7]
    save(path, 500)
    assert [c.step for c in checkpoints.find(tmp_path)] == [500], "its inside decides"


@pytest.mark.parametrize(
    "name",
    [".step=5.ckpt", "step=5.tmp.ckpt", "step=5~.ckpt", "tmp-checkpoint-500", "checkpoint-500.bak",
     "step=5 (1).ckpt", "checkpoint-500_backup"],
)  # fmt: skip
def test_hidden_files_and_copies_that_were_put_aside_are_no_checkpoints(tmp_path, name):
    assert is_aside(name)
    save(tmp_path / "step=4.ckpt", 4)
    save(tmp_path / name if name.endswith(".ckpt") else tmp_path / name / "model.pt", 5)
    assert [c.step for c in checkpoints.find(tmp_path)] == [4]
    assert [c.step for c in checkpoints.find(tmp_path / "*")] == [4]
