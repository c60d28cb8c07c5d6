import asyncio
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
import yaml
from objectstore import BUCKET, FlakyStore, empty_bucket, options_of, start
from tiny_run import save_checkpoint, sweep_in, sweep_of
from tiny_store import IDENTITY, STIMULI, activations, fill

from dynamics import cli, store
from dynamics.analysis import analyze
from dynamics.extraction import crawl
from dynamics.progress import silent
from dynamics.store import objectlock
from dynamics.store.nodes import together

URL = f"s3://{BUCKET}/run.zarr"


@pytest.fixture(scope="module")
def server():
    running = start()
    yield running.get_host_and_port()[1]
    running.stop()


@pytest.fixture
def s3(server):
    empty_bucket(server)
    return store.Place(URL, options_of(server))


@pytest.fixture
def content(tmp_path):
    changes = {"metrics": ["rsa"], "baseline": None, "resamples": 0, "workers": 1}
    return sweep_in(tmp_path, (0, 10, 100), **changes)


def same_values(place, reference):
    found, expected = store.open(place), store.open(reference)
    assert sorted(found.groups) == sorted(expected.groups)
    for path in expected.groups:
        for name, variable in expected[path].to_dataset().variables.items():
            if name != "seconds":
                found_values = found[path].to_dataset().variables[name]
                np.testing.assert_array_equal(found_values.to_numpy(), variable.to_numpy())


@pytest.mark.slow
def test_a_store_in_a_bucket_is_crawled_analyzed_verified_and_redone(
    content, s3, tmp_path, monkeypatch, capsys
):
    local = sweep_of(content)
    crawl.crawl(local, advance=silent)
    analyze.analyze(local, advance=silent)
    sweep = sweep_of(content, store=URL, store_options=dict(s3.options))
    assert str(sweep.figures) == "store/tiny/figures"
    assert crawl.crawl(sweep, advance=silent) == {"done": 3, "failed": 0, "new": 3}
    assert analyze.analyze(sweep, advance=silent) == {"new": 3, "already": 0}
    same_values(sweep.place, local.store)
    assert crawl.crawl(sweep, advance=silent)["new"] == 0
    assert analyze.analyze(sweep, advance=silent)["new"] == 0
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(content | {"store": URL, "store_options": dict(s3.options)}))

    def program(*words):
        monkeypatch.setattr(sys, "argv", ["dynamics", *map(str, words)])
        with pytest.raises(SystemExit):
            cli.main()
        return " ".join(capsys.readouterr().out.split())

    assert "3 of 3 steps done" in program("status", path)
    assert "3 steps verified: all sound" in program("verify", path)
    program("redo", path, "--step", "10")
    assert store.open(sweep.place)["activations"]["step"].to_numpy().tolist() == [0, 100]
    assert "nothing to take away" in program("unlock", path)
    assert crawl.crawl(sweep, advance=silent)["new"] == 1
    same_values(sweep.place, local.store)


@pytest.mark.slow
def test_a_store_in_a_bucket_is_what_it_is_on_a_disk(s3, tmp_path):
    fill(tmp_path / "s.zarr", [10, 0])
    fill(s3, [10, 0])
    same_values(s3, tmp_path / "s.zarr")
    np.testing.assert_array_equal(store.read_activations(s3, 10)["first"], activations(10)["first"])
    assert store.verify(s3) == {}
    local, remote = store.summarise(tmp_path / "s.zarr"), store.summarise(s3)
    assert remote == local
    # 3 x 4 and 3 x 2 float32, one file a layer and step
    assert remote.ratio * remote.activation_bytes == pytest.approx(2 * 4 * (12 + 6))
    assert remote.files_per_step == 2
    store.redo(s3, [10])
    assert store.open(s3)["activations"]["step"].to_numpy().tolist() == [0]
    with pytest.raises(ValueError, match="pooling = 'mean', this sweep has 'last'"):
        store.begin(s3, run="test", identity={"adapter": "test", "pooling": "last"})


@pytest.fixture
def flaky(server):
    empty_bucket(server)
    before = FlakyStore(server)
    yield before
    before.close()


@pytest.mark.slow
def test_writes_that_fail_are_one_sentence_and_what_is_committed_stays_whole(flaky, tmp_path):
    steps = [0, 5, 7, 9]
    fill(tmp_path / "s.zarr", steps)
    place = store.Place(URL, options_of(flaky.port))
    for allowed in (1, 5, 9):
        flaky.writes_left = allowed
        with pytest.raises(OSError, match=f"cannot write store {URL}"):
            store.begin(place, run="test", identity=IDENTITY)
        flaky.writes_left = None
    store.plan(store.begin(place, run="test", identity=IDENTITY), [(0, "file-0", 10)])
    committed = []
    for allowed in range(0, 80, 2):
        flaky.writes_left = allowed
        try:
            root = fill(place, steps)
        except OSError as error:
            assert str(error).startswith(f"cannot write store {URL}: ")
            assert "\n" not in str(error)
        else:
            break
        finally:
            flaky.writes_left = None
        assert store.verify(place) == {}
        committed.append(store.open(place)["activations"].to_dataset().sizes.get("step", 0))
    assert 0 in committed and any(0 < count < 4 for count in committed), committed
    assert store.statuses(root) == dict.fromkeys(steps, "done")
    same_values(place, tmp_path / "s.zarr")


@pytest.mark.slow
def test_an_object_is_read_with_one_request(flaky):
    place = store.Place(URL, options_of(flaky.port))
    fill(place, [10])
    root = store.open_group(place)
    flaky.asked.clear()
    np.testing.assert_array_equal(root["activations/first/activation"][0], activations(10)["first"])
    assert flaky.asked == {"GET": 2}  # the array's metadata and the chunk


def _hold(place, ready, leave):
    with store.lock(place):
        ready.set()
        leave.wait(60)


@pytest.mark.slow
def test_a_second_writer_in_a_bucket_is_refused_and_a_dead_ones_lock_is_taken_over(s3):
    spawn = multiprocessing.get_context("spawn")
    ready, leave = spawn.Event(), spawn.Event()
    holder = spawn.Process(target=_hold, args=(s3, ready, leave))
    holder.start()
    assert ready.wait(60)
    who = f"process {holder.pid} on {os.uname().nodename}"
    with pytest.raises(BlockingIOError, match=rf"{URL} is being written by {who}"), store.lock(s3):
        pass
    holder.kill()
    holder.join()
    with store.lock(s3):  # the same machine knows that the process is gone
        pass
    with store.lock(s3):  # and it was released
        pass


def put_lock(place, *, age, machine="elsewhere"):
    held = objectlock._Held(place.where, place.options)
    record = json.loads(held.content()) | {"machine": machine, "renewed": time.time() - age}
    record |= {"holder": "process 7 on elsewhere", "token": "other"}
    held.storage.pipe_file(held.path, json.dumps(record).encode())


def test_a_lock_of_another_machine_expires_and_can_be_taken_away(s3):
    put_lock(s3, age=objectlock.EXPIRY - 60)
    with pytest.raises(BlockingIOError, match=r"process 7 on elsewhere.*dynamics unlock"):
        store.lock(s3).__enter__()
    assert store.unlock(s3) == "process 7 on elsewhere"
    with store.lock(s3):
        pass
    put_lock(s3, age=objectlock.EXPIRY + 1)
    with store.lock(s3):
        pass
    assert store.unlock(s3) == ""


def test_only_one_of_many_takes_over_a_stale_lock(s3):
    put_lock(s3, age=objectlock.EXPIRY + 1)
    contenders = [objectlock._Held(s3.where, s3.options) for _ in range(2)]
    contenders[0].acquire()
    with pytest.raises(BlockingIOError):
        contenders[1].acquire()


@pytest.mark.slow
def test_a_writer_whose_lock_was_taken_commits_nothing_more(s3):
    with store.lock(s3):
        root = fill(s3, [0])
        store.plan(root, [(1, "file-1", 10)])
        store.write_activations(root, 1, activations(1), stimuli=STIMULI, categories=["x"] * 3)
        put_lock(s3, age=0)
        objectlock._held[URL].renewed -= objectlock.RENEWAL + 1  # as after a long sleep
        with pytest.raises(BlockingIOError, match="process 7 on elsewhere"):
            store.commit(root, 1)
    assert store.open(s3)["activations"]["step"].to_numpy().tolist() == [0]


@pytest.mark.slow
@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_clock_that_jumps_hides_no_lock_that_was_taken(s3, monkeypatch, jump):
    with store.lock(s3):
        root = fill(s3, [0])
        now = time.time
        monkeypatch.setattr(objectlock.time, "time", lambda: now() + jump)
        store.commit(root, 0)  # renewed by what the clock says now
        record = json.loads(objectlock._held[URL].storage.cat_file(objectlock._held[URL].path))
        assert abs(record["renewed"] - now() - jump) < 60
        put_lock(s3, age=0)
        monkeypatch.setattr(objectlock.time, "time", now)
        with pytest.raises(BlockingIOError, match="process 7 on elsewhere"):
            store.commit(root, 0)


def test_a_bucket_that_is_not_there_or_refuses_is_one_sentence(s3):
    absent = store.Place("s3://absent/run.zarr", s3.options)
    with pytest.raises(FileNotFoundError, match="no store at s3://absent"):
        store.open(absent)
    with (
        pytest.raises(OSError, match=r"cannot write store s3://absent/run\.zarr"),
        store.lock(absent),
    ):
        pass
    dead = s3.options | {"client_kwargs": {"endpoint_url": "http://127.0.0.1:9"}}
    with pytest.raises(OSError, match=r"cannot read store s3://stores/run\.zarr"):
        store.open(store.Place(URL, dead))


@pytest.mark.parametrize("with_folder", [True, False])
def test_a_zipped_store_is_read_and_never_written(tmp_path, with_folder):
    fill(tmp_path / "s.zarr", [10, 0])
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        for path in (tmp_path / "s.zarr").rglob("*"):
            archive.write(path, path.relative_to(tmp_path if with_folder else tmp_path / "s.zarr"))
    same_values(tmp_path / "s.zip", tmp_path / "s.zarr")
    found = store.read_activations(tmp_path / "s.zip", 10)
    np.testing.assert_array_equal(found["first"], activations(10)["first"])
    assert store.verify(tmp_path / "s.zip") == {}
    assert store.summarise(tmp_path / "s.zip").done == 2
    with pytest.raises(ValueError, match=r"a zip file is read, not written"):
        store.redo(tmp_path / "s.zip", [10])


def test_zip_files_that_are_no_store_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no store at"):
        store.open(tmp_path / "none.zip")
    (tmp_path / "torn.zip").write_bytes(b"PK\3\4torn")
    with pytest.raises(ValueError, match="not a whole zip file"):
        store.open(tmp_path / "torn.zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(ValueError, match="holds no zarr group"):
        store.open(tmp_path / "other.zip")


def test_a_bucket_or_folder_with_other_things_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("dear")
    fill(tmp_path / "mine", [0])
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "dear"


def _crawl_in_child(content):
    crawl.crawl(sweep_of(content), advance=silent)


def history(path):
    import icechunk

    found = icechunk.Repository.open(icechunk.local_filesystem_storage(str(path)))
    return found, [snapshot.message for snapshot in found.ancestry(branch="main")][::-1]


def test_an_icechunk_repository_has_one_snapshot_a_step(content, tmp_path):
    pytest.importorskip("icechunk")
    local = sweep_of(content)
    crawl.crawl(local, advance=silent)
    sweep = sweep_of(content, store=f"icechunk://{tmp_path}/ice")
    crawl.crawl(sweep, advance=silent)
    repository, messages = history(tmp_path / "ice")
    assert messages[1:] == ["begin tiny", "step 0", "step 10", "step 100"]
    same_values(sweep.place, local.store)
    with store.lock(sweep.place):
        root = store.open_group(sweep.place, mode="r+")
        group = store.begin_result(root, "brain", "rsa", identity={}, coordinates={})
        for step in (0, 10):
            store.write_result(group, step, {"score": ((), np.float64(step))}, checkpoint="x")
    assert history(tmp_path / "ice")[1][-2:] == [f"results/brain/rsa step {s}" for s in (0, 10)]
    assert store.open(sweep.place)["results/brain/rsa/score"].to_numpy().tolist() == [0, 10]
    # Every snapshot is a whole store: the one of step 10 has what was done by then.
    import zarr

    at = {s.message: s.id for s in repository.ancestry(branch="main")}["step 10"]
    root = zarr.open_group(repository.readonly_session(snapshot_id=at).store, mode="r")
    assert store.statuses(root) == {0: "done", 10: "done", 100: "pending"}
    assert store.verify(sweep.place) == {}
    assert store.summarise(sweep.place).done == 3


@pytest.mark.slow
def test_a_killed_crawl_of_an_icechunk_repository_loses_only_the_step_under_way(content, tmp_path):
    pytest.importorskip("icechunk")
    for number in range(40):
        save_checkpoint(tmp_path / "checkpoints", 1000 + number, seed=number)
    local = sweep_of(content)
    crawl.crawl(local, advance=silent)
    sweep = sweep_of(content, store=f"icechunk://{tmp_path}/ice")
    child = multiprocessing.get_context("spawn").Process(
        target=_crawl_in_child, args=(content | {"store": str(sweep.store)},)
    )
    child.start()
    deadline = time.time() + 60
    while time.time() < deadline and child.is_alive():
        refs = tmp_path / "ice" / "refs"
        if refs.exists() and len(history(tmp_path / "ice")[1]) > 5:
            break
        time.sleep(0.02)
    child.kill()
    child.join()
    steps = store.open(sweep.place)["activations"]["step"].to_numpy()
    assert 0 < len(steps) < 43
    assert store.verify(sweep.place) == {}
    assert crawl.crawl(sweep, advance=silent)["new"] == 43 - len(steps)
    same_values(sweep.place, local.store)
    messages = history(tmp_path / "ice")[1]
    assert sorted(messages[2:]) == sorted(
        f"step {s}" for s in store.statuses(store.open_group(sweep.place))
    )


def test_two_writers_of_an_icechunk_repository_the_later_commit_is_refused(tmp_path):
    pytest.importorskip("icechunk")
    place = store.Place(f"icechunk://{tmp_path}/ice")
    fill(place, [0])
    one, two = (store.open_group(place, mode="r+") for _ in range(2))
    for root in (one, two):
        store.plan(root, [(5, "file-5", 10)])
        store.write_activations(root, 5, activations(5), stimuli=STIMULI, categories=["x"] * 3)
    store.commit(one, 5)
    with pytest.raises(BlockingIOError, match=f"process {os.getpid()} on"):
        store.commit(two, 5)
    assert store.verify(place) == {}


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs the rights of an administrator")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_ends_the_crawl_with_one_sentence_and_it_goes_on_when_there_is_room(
    content, small_disk, tmp_path
):
    for number in range(5):
        save_checkpoint(tmp_path / "checkpoints", 1000 + number, seed=number)
    local = sweep_of(content)
    crawl.crawl(local, advance=silent)
    sweep = sweep_of(content, store=str(small_disk / "tiny.zarr"))
    for filler in (96, 64):
        (small_disk / "filler").write_bytes(bytes(1024 * filler))
        with pytest.raises(OSError, match="no space left: make room") as caught:
            crawl.crawl(sweep, advance=silent)
        assert "\n" not in str(caught.value)
        if (sweep.store / "activations" / "step").exists():
            assert store.verify(sweep.store) == {}
            assert store.summarise(sweep.store).failed == 0
    (small_disk / "filler").unlink()
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    crawl.crawl(sweep, advance=silent)
    same_values(sweep.store, local.store)
    shutil.rmtree(sweep.store)


def test_reads_side_by_side_are_waited_for_where_one_fails():
    done = []

    async def read(seconds, fails):
        await asyncio.sleep(seconds)
        done.append(seconds)
        if fails:
            raise ConnectionError(f"none after {seconds}")
        return seconds

    with pytest.raises(ConnectionError, match=r"none after 0\.1"):
        asyncio.run(together([read(0.2, False), read(0.1, True), read(0, True)]))
    assert done == [0, 0.1, 0.2]
    assert asyncio.run(together([read(0.1, False), read(0, False)])) == [0.1, 0]
