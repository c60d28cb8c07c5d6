from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
import torch
from flaky import Flaky
from safetensors.torch import save_file

from dynamics import checkpoints

BUCKET = "lab"


def weights(value: float) -> dict[str, torch.Tensor]:
    return {"layer.weight": torch.full((64, 64), value), "layer.bias": torch.zeros(64)}


@pytest.fixture(scope="module")
def moto():
    server = pytest.importorskip("moto.server", reason="needs moto, a local S3 server")
    pytest.importorskip("s3fs")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    yield running.get_host_and_port()[1]
    running.stop()


@pytest.fixture
def store(moto, monkeypatch):
    """A bucket behind a server that can fail."""
    import s3fs

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    s3fs.S3FileSystem.clear_instance_cache()
    flaky = Flaky(moto, pause=2.0)
    flaky.options = {
        "client_kwargs": {"endpoint_url": flaky.url, "region_name": "us-east-1"},
        "config_kwargs": {"read_timeout": 0.5, "retries": {"max_attempts": 1}},
        "skip_instance_cache": True,
    }
    flaky.storage = s3fs.S3FileSystem(**flaky.options)
    flaky.storage.retries = 1
    if flaky.storage.exists(BUCKET):
        for path in flaky.storage.find(BUCKET):
            flaky.storage.rm_file(path)
    else:
        flaky.storage.call_s3("create_bucket", Bucket=BUCKET)
    yield flaky
    flaky.close()


def upload(store, path: str, contents, tmp_path: Path) -> None:
    local = tmp_path / "upload.bin"
    torch.save(contents, local)
    store.storage.put_file(str(local), f"{BUCKET}/{path}")
    local.unlink()


def upload_run(store, tmp_path, steps=(0, 5, 10, 100)):
    for step in steps:
        contents = {"state_dict": weights(step), "global_step": step}
        upload(store, f"run/epoch={step}.ckpt", contents, tmp_path)
    store.storage.pipe_file(f"{BUCKET}/run/notes.txt", b"no checkpoint")


def find(store, path="run", **options):
    return checkpoints.find(f"s3://{BUCKET}/{path}", storage_options=store.options, **options)


def test_a_bucket_is_listed_with_the_steps_inside_its_files(store, tmp_path):
    upload_run(store, tmp_path)
    found = find(store)
    assert [c.step for c in found] == [0, 5, 10, 100]
    assert {c.format for c in found} == {"lightning"}
    assert found[0].uri == f"s3://{BUCKET}/run/epoch=0.ckpt"
    assert found[0].bytes > 10000 and abs(found[0].modified - time.time()) < 3600
    assert [c.step for c in find(store, "run/epoch=1*.ckpt")] == [10, 100]
    assert [c.step for c in find(store, look_inside=False)] == [0, 5, 10, 100]
    assert [c.step for c in find(store, "run/epoch=5.ckpt")] == [5]


def test_a_trainers_folder_on_a_store_is_one_checkpoint_and_only_its_weights_come(store, tmp_path):
    save_file(weights(3.0), tmp_path / "m.safetensors")
    store.storage.put_file(
        str(tmp_path / "m.safetensors"), f"{BUCKET}/t/checkpoint-7/model.safetensors"
    )
    store.storage.pipe_file(f"{BUCKET}/t/checkpoint-7/trainer_state.json", b'{"global_step": 7}')
    store.storage.pipe_file(f"{BUCKET}/t/checkpoint-7/config.json", b"{}")
    upload(store, "t/checkpoint-7/optimizer.pt", {"state": {}}, tmp_path)
    (found,) = find(store, "t")
    assert (found.step, found.format) == (7, "huggingface")
    with checkpoints.fetch(found, tmp_path / "disk", storage_options=store.options) as path:
        names = {part.name for part in path.iterdir()}
        assert names == {"model.safetensors", "trainer_state.json", "config.json"}
        assert checkpoints.read(path)["layer.weight"][0, 0] == 3.0
    assert not any((tmp_path / "disk").iterdir())


@pytest.mark.parametrize(
    "faults", [["cut"], ["500", "cut"], ["flip"], ["stall"], ["cut", "flip", "500", "cut"]]
)
def test_a_transfer_that_breaks_is_repeated_until_size_and_hash_are_right(store, tmp_path, faults):
    upload_run(store, tmp_path, steps=(5,))
    (found,) = find(store, look_inside=False)
    store.faults[:] = faults
    with checkpoints.fetch(
        found, tmp_path / "disk", storage_options=store.options, wait=0.01, attempts=8
    ) as path:
        assert not store.faults
        assert path.stat().st_size == found.bytes
        assert checkpoints.read(path)["layer.weight"][0, 0] == 5
    assert not any((tmp_path / "disk").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["cut", "flip", "500"])
def test_a_transfer_that_never_succeeds_is_one_sentence_and_leaves_nothing(store, tmp_path, fault):
    upload_run(store, tmp_path, steps=(5,))
    (found,) = find(store, look_inside=False)
    store.always = fault
    with (
        pytest.raises(ValueError, match=r"cannot fetch 's3://lab/run/epoch=5\.ckpt': 2 attempts"),
        checkpoints.fetch(
            found, tmp_path / "disk", storage_options=store.options, wait=0.01, attempts=2
        ),
    ):
        pass
    assert not any((tmp_path / "disk").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("keep", [1, 2, 3])
def test_at_most_keep_are_on_disk_and_the_next_is_already_there(store, tmp_path, keep):
    upload_run(store, tmp_path, steps=(1, 2, 3, 4, 5, 6))
    disk = tmp_path / "disk"
    disk.mkdir()
    for left in ("left.ckpt.part", "0123456789ab-left.ckpt"):
        (disk / left).write_bytes(b"from a run that was killed")
    seen = []
    for checkpoint, path in checkpoints.fetched(
        find(store), disk, keep=keep, storage_options=store.options
    ):
        deadline = time.time() + 60
        expected = min(keep, 6 - len(seen))
        while len(list(disk.iterdir())) < expected and time.time() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        assert len(list(disk.iterdir())) == expected
        seen.append((checkpoint.step, float(checkpoints.read(path)["layer.weight"][0, 0])))
    assert seen == [(step, float(step)) for step in range(1, 7)]
    assert not any(disk.iterdir())


def test_one_checkpoint_that_is_gone_does_not_stop_the_others(store, tmp_path):
    upload_run(store, tmp_path, steps=(1, 2, 3))
    found = find(store)
    store.storage.rm_file(f"{BUCKET}/run/epoch=2.ckpt")
    results = dict(
        (checkpoint.step, type(path).__name__)
        for checkpoint, path in checkpoints.fetched(
            found, tmp_path / "disk", storage_options=store.options, wait=0.01
        )
    )
    assert results == {1: "PosixPath", 2: "FileNotFoundError", 3: "PosixPath"}


def test_stopping_early_leaves_nothing_behind(store, tmp_path):
    upload_run(store, tmp_path, steps=(1, 2, 3))
    walk = checkpoints.fetched(find(store), tmp_path / "disk", storage_options=store.options)
    next(walk)
    walk.close()
    assert not any((tmp_path / "disk").iterdir())


def test_a_url_without_credentials_is_one_sentence(moto, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    endpoint = {"client_kwargs": {"endpoint_url": f"http://127.0.0.1:{moto}"}}
    with pytest.raises(ValueError, match=r"cannot list 's3://lab/x'.*credentials") as caught:
        checkpoints.find("s3://lab/x", storage_options=endpoint | {"skip_instance_cache": True})
    assert "\n" not in str(caught.value)


def test_a_bucket_that_is_not_there_and_a_protocol_nobody_knows(store):
    with pytest.raises(FileNotFoundError, match="there is nothing at 's3://lab/absent'"):
        find(store, "absent")
    with pytest.raises(ValueError, match="cannot read 'sftq://x'"):
        checkpoints.find("sftq://x")


def test_a_full_disk_is_named_and_not_tried_again(store, tmp_path, monkeypatch):
    upload_run(store, tmp_path, steps=(5,))
    (found,) = find(store, look_inside=False)
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    original = Path.open

    def open_full(self, mode="r", *arguments, **options):
        where = full if self.name.endswith(".part") and "a" in mode else self
        return original(where, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", open_full)
    with (
        pytest.raises(ValueError, match="no space left in"),
        checkpoints.fetch(found, tmp_path / "disk", storage_options=store.options),
    ):
        pass


def test_a_real_disk_that_is_full_keeps_nothing(store, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(small)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs the rights of an administrator")
    try:
        upload_run(store, tmp_path, steps=(5,))
        (found,) = find(store, look_inside=False)
        assert found.bytes > 8192
        with (
            pytest.raises(ValueError, match="no space left in"),
            checkpoints.fetch(found, small, storage_options=store.options),
        ):
            pass
        assert not any(small.iterdir())
    finally:
        subprocess.run(["umount", str(small)], check=True)
