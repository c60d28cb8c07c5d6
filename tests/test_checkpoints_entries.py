"""Whatever lies in a folder of checkpoints costs a row, never the listing."""

from __future__ import annotations

import json
import os
import pickle
import socket
from pathlib import Path

import pytest
import safetensors.torch
import torch

from dynamics import checkpoints

TREE = {"state_dict": {"a.w": torch.ones(2)}, "global_step": 1}
WEIGHTS = safetensors.torch.save({"a": torch.ones(2)})


def header(text: bytes | dict, data: bytes = b"0000") -> bytes:
    text = text if isinstance(text, bytes) else json.dumps(text).encode()
    return len(text).to_bytes(8, "little") + text + data


ENTRY = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
HEADERS = {
    "endless": (2**63).to_bytes(8, "little") + b"{}",
    "overlapping": header({"a": ENTRY, "b": ENTRY}),
    "too large a shape": header({"a": ENTRY | {"shape": [10**12]}}),
    "no entry": header(b'{"a":3}'),
    "nested": header(b'{"a":' + b"[" * 100_000),
    "backwards": header({"a": ENTRY | {"data_offsets": [4, 0]}}),
    "negative": header({"a": ENTRY | {"shape": [-1]}}),
    "a list": header(b'{"a":[1]}'),
}


def made(folder: Path, **files: bytes) -> None:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def unreadable(folder: Path) -> dict[int, str]:
    """List a folder that has one good checkpoint, of step 1; return the notes of the others."""
    torch.save(TREE, folder / "good.ckpt")
    found = {c.step: c for c in checkpoints.find(folder)}
    assert found.pop(1).format == "lightning"
    assert {c.format for c in found.values()} == {"unreadable"}
    for checkpoint in found.values():
        with pytest.raises((ValueError, FileNotFoundError)) as caught:
            checkpoints.read(checkpoint.uri)
        assert "\n" not in str(caught.value)
    return {step: checkpoint.note for step, checkpoint in found.items()}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no named pipes")
def test_pipes_sockets_devices_and_links_in_circles(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("step=2.ckpt")
    with socket.socket(socket.AF_UNIX) as here:
        here.bind("step=3.ckpt")
        Path("step=4.ckpt").symlink_to("step=4.ckpt")
        Path("step=5.ckpt").symlink_to("/dev/zero")
        Path("step=6.ckpt").mkdir()
        Path("step=7.ckpt").write_bytes(b"")
        Path("step=8.ckpt").symlink_to("gone")
        assert set(unreadable(tmp_path)) == {2, 3, 5, 7}
        for source in ("step=2.ckpt", "step=[2]*.ckpt", {2: "step=2.ckpt"}):
            (found,) = checkpoints.find(source)
            assert "no regular file" in found.note


@pytest.mark.parametrize("kind", HEADERS)
def test_headers_of_safetensors(tmp_path, kind):
    (tmp_path / "step=2.safetensors").write_bytes(HEADERS[kind])
    assert set(unreadable(tmp_path)) == {2}


@pytest.mark.parametrize("index", [3, {"a": 1}, int, None, [], "x", (1, 1), 10**400])
def test_an_index_of_another_type(tmp_path, index):
    made(tmp_path / "step_2", **{".metadata": pickle.dumps(index), "a.distcp": b""})
    assert "no index of torch.distributed" in unreadable(tmp_path)[2]


@pytest.mark.parametrize(
    "index", [b"3", b'{"weight_map": 3}', b'{"weight_map": {"a": 3}}', b"[" * 100_000,
              b'{"weight_map": {"a": "../../x.bin"}}']
)  # fmt: skip
def test_an_index_of_weights(tmp_path, index):
    made(tmp_path / "step_2", **{"model.safetensors.index.json": index})
    assert set(unreadable(tmp_path)) == {2}


@pytest.mark.parametrize(
    "text", [b"[" * 100_000, b'{"global_step": 1e999}', b'{"global_step": NaN}', b"3", b"\xff\xfe",
             b'{"global_step": ' + b"9" * 401 + b"}", b'{"global_step": {}}']
)  # fmt: skip
def test_a_sidecar_that_states_no_step_leaves_the_name_to_state_it(tmp_path, text):
    made(tmp_path / "checkpoint-2", **{"model.safetensors": WEIGHTS, "trainer_state.json": text})
    (found,) = checkpoints.find(tmp_path)
    assert (found.step, found.format) == (2, "huggingface")


def test_a_number_that_counts_no_updates_is_no_step(tmp_path):
    for number, step in enumerate((10**400, 2**63, float("inf"), float("nan"), -1, 1.5, True), 2):
        torch.save(TREE | {"global_step": step}, tmp_path / f"step={number}.ckpt")
    assert [c.step for c in checkpoints.find(tmp_path)] == [2, 3, 4, 5, 6, 7, 8]


def test_the_only_file_of_a_folder_that_is_cut_off(tmp_path):
    torch.save(TREE, tmp_path / "whole.ckpt")
    made(tmp_path / "step_2", **{"model.pt": (tmp_path / "whole.ckpt").read_bytes()[:-100]})
    assert "cut off" in unreadable(tmp_path)[2]
