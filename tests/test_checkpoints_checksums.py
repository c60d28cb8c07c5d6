"""Damage inside a tensor is found by the checksums that the file itself states."""

from __future__ import annotations

import zipfile

import pytest
import torch

from dynamics import checkpoints


@pytest.fixture(params=[True, False], ids=["crc", "no crc"])
def stated(request):
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(request.param)
    yield request.param
    torch.serialization.set_crc32_options(before)


def punch(path, tensor, size=4096):
    """Put zeros over a part of where a tensor's bytes lie in a file."""
    raw = bytearray(path.read_bytes())
    start = raw.index(tensor.numpy().tobytes()[:64])
    raw[start + 512 : start + 512 + size] = bytes(size)
    path.write_bytes(raw)


@pytest.mark.parametrize("trust", [False, True])
def test_a_hole_inside_a_tensor_is_named_where_the_file_has_checksums(tmp_path, stated, trust):
    weight = torch.randn(64, 64)
    path = tmp_path / "step=5.ckpt"
    torch.save({"state_dict": {"a.weight": weight}, "global_step": 5}, path)
    with zipfile.ZipFile(path) as archive:
        assert (archive.testzip() is None) == stated, "what torch writes is as the option says"
    assert torch.equal(checkpoints.read(path, trust=trust)["a.weight"], weight)
    punch(path, weight)
    if not stated:
        assert checkpoints.read(path, trust=trust)["a.weight"].isfinite().all()
        return
    with pytest.raises(ValueError, match=r"data/0.*damaged.*CRC-32.*copy the file again"):
        checkpoints.read(path, trust=trust)


def test_a_hole_in_a_shard_is_named_with_its_file(tmp_path):
    import json

    weights = {name: torch.randn(64, 64) for name in ("a.weight", "b.weight")}
    files = {name: f"pytorch_model-0000{n}-of-00002.bin" for n, name in enumerate(weights, 1)}
    for name, file in files.items():
        torch.save({name: weights[name]}, tmp_path / file)
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": files}))
    assert set(checkpoints.read(tmp_path)) == set(weights)
    punch(tmp_path / files["b.weight"], weights["b.weight"])
    with pytest.raises(ValueError, match=r"00002-of-00002.*CRC-32"):
        checkpoints.read(tmp_path)


def test_a_hole_in_a_distributed_checkpoint_is_named(tmp_path):
    import torch.distributed.checkpoint as dcp

    weight = torch.randn(64, 64)
    dcp.save({"model": {"a.weight": weight}}, checkpoint_id=str(tmp_path), no_dist=True)
    assert torch.equal(checkpoints.read(tmp_path)["a.weight"], weight)
    (part,) = tmp_path.glob("*.distcp")
    punch(part, weight)
    with pytest.raises(ValueError, match="CRC-32"):
        checkpoints.read(tmp_path)


@pytest.mark.parametrize("change", [-1, 1])
def test_safetensors_of_another_length_than_their_header_says_are_damaged(tmp_path, change):
    from safetensors.torch import save_file

    path = tmp_path / "step=5.safetensors"
    save_file({"a.weight": torch.zeros(8, 8)}, path)
    raw = path.read_bytes()
    path.write_bytes(raw[:-1] if change < 0 else raw + b"\0")
    with pytest.raises(ValueError, match="bytes of"):
        checkpoints.read(path)
