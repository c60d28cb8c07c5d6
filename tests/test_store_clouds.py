"""Stores where only other people's clients can reach: Icechunk's and Google's, on local servers."""

import logging
import socket

import numpy as np
import pytest
from objectstore import BUCKET, empty_bucket, start
from tiny_store import CATEGORIES, IDENTITY, STIMULI, activations, fill

from dynamics import store


@pytest.fixture
def icechunk_on_s3():
    pytest.importorskip("icechunk")
    running = start()
    port = running.get_host_and_port()[1]
    empty_bucket(port)
    options = {
        "endpoint_url": f"http://127.0.0.1:{port}",
        "region": "us-east-1",
        "access_key_id": "test",
        "secret_access_key": "test",
        "force_path_style": True,
        "allow_http": True,
    }
    yield store.Place(f"icechunk+s3://{BUCKET}/ice", options)
    running.stop()


@pytest.fixture
def google():
    pytest.importorskip("gcsfs")
    import aiohttp

    server = pytest.importorskip("gcp_storage_emulator.server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = server.create_server("127.0.0.1", port, in_memory=True, default_bucket=BUCKET)
    running.start()
    # Now and then this server leaves a request without an answer; the second time it has one.
    options = {
        "endpoint_url": f"http://127.0.0.1:{port}",
        "token": "anon",
        "project": "test",
        "requests_timeout": aiohttp.ClientTimeout(total=None, sock_read=5),
    }
    yield store.Place(f"gs://{BUCKET}/run.zarr", options)
    running.stop()


def same_as_on_a_disk(place, folder):
    fill(place, [10, 0])
    fill(folder / "s.zarr", [10, 0])
    found, expected = store.open(place), store.open(folder / "s.zarr")
    assert found["activations"]["step"].to_numpy().tolist() == [0, 10]
    for layer in expected["activations"].children:
        path = f"activations/{layer}/activation"
        np.testing.assert_array_equal(found[path].to_numpy(), expected[path].to_numpy())
    assert store.verify(place) == {}
    assert store.summarise(place).activation_bytes > 0
    store.redo(place, [10])
    assert store.open(place)["activations"]["step"].to_numpy().tolist() == [0]
    with pytest.raises(ValueError, match="pooling = 'mean', this sweep has 'last'"):
        store.begin(place, run="test", identity=IDENTITY | {"pooling": "last"})


def test_an_icechunk_repository_in_a_bucket_is_what_a_folder_is(icechunk_on_s3, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no store at icechunk\+s3://.*dynamics crawl"):
        store.open(icechunk_on_s3)
    same_as_on_a_disk(icechunk_on_s3, tmp_path)


def test_the_second_of_two_writers_of_a_repository_in_a_bucket_is_refused(icechunk_on_s3):
    fill(icechunk_on_s3, [0])
    roots = [store.begin(icechunk_on_s3, run="test", identity=IDENTITY) for _ in range(2)]
    for root, step in zip(roots, (5, 7)):
        store.plan(root, [(step, f"file-{step}", 10)])
        layers = activations(step)
        store.write_activations(root, step, layers, stimuli=STIMULI, categories=CATEGORIES)
    store.commit(roots[0], 5)
    with pytest.raises(BlockingIOError, match="has been written meanwhile by process"):
        store.commit(roots[1], 7)
    assert store.open(icechunk_on_s3)["activations"]["step"].to_numpy().tolist() == [0, 5]


@pytest.mark.slow
def test_a_store_at_google_is_what_a_folder_is(google, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no store at gs://.*dynamics crawl"):
        store.open(google)
    same_as_on_a_disk(google, tmp_path)


def test_a_server_that_never_answers_is_one_sentence():
    pytest.importorskip("gcsfs")
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        options = {"endpoint_url": url, "token": "anon", "requests_timeout": 0.2}
        with pytest.raises(OSError, match=r"cannot read store gs://lab/run\.zarr: TimeoutError"):
            store.open(store.Place("gs://lab/run.zarr", options))
    from dynamics.filesystems import open_storage

    found, _ = open_storage("gs://lab/run.zarr", {"token": "anon"})
    assert found.requests_timeout.sock_read > 0  # also where the user says nothing of it


def test_googles_client_needs_http_alone_unless_asked(monkeypatch):
    # The other one asks for the kind of a bucket by gRPC, a minute long where there is no answer.
    pytest.importorskip("gcsfs")
    from dynamics.filesystems import open_storage

    monkeypatch.delenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", raising=False)
    plain, path = open_storage("gs://lab/run.zarr", {"token": "anon"})
    assert (type(plain).__module__, path) == ("gcsfs.core", "lab/run.zarr")
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "true")
    zonal, path = open_storage("gs://lab/run.zarr", {"token": "anon"})
    assert (type(zonal).__module__, path) == ("gcsfs.extended_gcsfs", "lab/run.zarr")


def test_the_lock_at_google_is_asked_for_on_condition_that_there_is_none(google, caplog):
    """The server here does not look at conditions; that the request has one can be seen."""
    caplog.set_level(logging.INFO, logger="gcp_storage_emulator.server")
    with store.lock(google):
        pass
    asked = [record.getMessage() for record in caplog.records]
    assert any("POST" in each and "ifGenerationMatch=0" in each for each in asked), asked
