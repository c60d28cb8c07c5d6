from __future__ import annotations

import functools
import hashlib
import http.server
import io
import tarfile
import threading

import pooch
import pytest

from dynamics import datasets


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.delenv("DYNAMICS_DATA", raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda name: tmp_path / "cache" / name)
    monkeypatch.setattr(datasets, "RETRIES", 0)
    pooch.get_logger().setLevel("ERROR")
    return tmp_path / "cache"


@pytest.fixture
def server(tmp_path):
    """A web server on this machine, with a list of the paths asked for."""
    root = tmp_path / "served"
    root.mkdir()
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            asked.append(self.path)

    handler = functools.partial(Handler, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield root, f"http://127.0.0.1:{httpd.server_port}", asked
        httpd.shutdown()


@pytest.fixture
def small(monkeypatch, server):
    """A data set of two files, fetched one by one from the server."""
    root, address, _ = server
    (root / "part").mkdir()
    content = {"a.txt": b"one", "part/b.txt": b"two"}
    for path, data in content.items():
        (root / path).write_bytes(data)
    hashes = {path: hashlib.sha256(data).hexdigest() for path, data in content.items()}
    monkeypatch.setitem(
        datasets.DATASETS, "small", datasets.Dataset("small", "x/y", "0" * 40, "none", "nobody")
    )
    monkeypatch.setattr(datasets, "hash_list", lambda name: hashes)
    monkeypatch.setattr(datasets, "RAW", address + "/{path}")
    return root


def test_a_local_copy_is_used_before_any_download(tmp_path, monkeypatch):
    (tmp_path / "fsdd").mkdir()
    monkeypatch.setenv("DYNAMICS_DATA", str(tmp_path))
    assert datasets.folder("fsdd") == tmp_path / "fsdd"


def test_files_are_downloaded_once_and_checked(cache, small, server):
    target = datasets.folder("small")
    assert (target / "part" / "b.txt").read_bytes() == b"two"
    requests = len(server[2])
    assert datasets.folder("small") == target
    assert len(server[2]) == requests == 2


def test_an_interrupted_download_is_completed(cache, small, server):
    (small / "part" / "b.txt").rename(small / "kept")
    with pytest.raises(ConnectionError):
        datasets.folder("small")
    assert datasets.find("small") is None
    (small / "kept").rename(small / "part" / "b.txt")
    assert (datasets.folder("small") / "part" / "b.txt").is_file()
    assert server[2].count("/a.txt") == 1


def test_changed_content_is_refused(cache, small):
    (small / "a.txt").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"a\.txt does not have the pinned SHA-256.*small"):
        datasets.folder("small")
    assert datasets.find("small") is None


def test_a_download_that_breaks_is_tried_again(cache, small, server, monkeypatch):
    monkeypatch.setattr(datasets, "RETRIES", 1)
    waits = []
    monkeypatch.setattr(
        "pooch.core.time.sleep", lambda seconds: (waits.append(seconds), put_back())
    )
    (small / "a.txt").write_bytes(b"cut off")

    def put_back():
        (small / "a.txt").write_bytes(b"one")

    assert (datasets.folder("small") / "a.txt").read_bytes() == b"one"
    assert waits == [1] and server[2].count("/a.txt") == 2


def test_a_data_set_may_be_a_record_of_zenodo(cache, small, server, monkeypatch):
    import requests

    real = requests.get

    class Answer:
        status_code = 200

        def __init__(self, url="", content=None):
            self.url, self.content = url, content

        def raise_for_status(self):
            pass

        def json(self):
            return self.content

    def get(url, **options):
        if url == "https://doi.org/10.5281/zenodo.1":
            return Answer("https://zenodo.org/record/1")
        if url == "https://zenodo.org/api/records/1":
            files = [{"key": "a.txt", "links": {"self": f"{server[1]}/a.txt"}}]
            return Answer(content={"files": files})
        return real(url, **options)

    monkeypatch.setattr(requests, "get", get)
    home = datasets.Dataset("small", "doi:10.5281/zenodo.1", "1", "CC BY 4.0", "somebody")
    monkeypatch.setitem(datasets.DATASETS, "small", home)
    digest = hashlib.sha256(b"one").hexdigest()
    monkeypatch.setattr(datasets, "hash_list", lambda name: {"a.txt": digest})
    assert (datasets.folder("small") / "a.txt").read_bytes() == b"one"
    monkeypatch.setattr(datasets, "hash_list", lambda name: {"none.txt": digest})
    with pytest.raises(
        ValueError, match=r"data set 'small', doi:10\.5281/zenodo\.1/none\.txt: .*"
    ) as told:
        datasets.folder("small")
    assert "\n" not in str(told.value)


def test_a_data_set_may_be_a_folder_of_any_web_server(cache, small, server, monkeypatch):
    home = datasets.Dataset("small", f"{server[1]}/part", "1", "none", "somebody")
    monkeypatch.setitem(datasets.DATASETS, "small", home)
    digest = hashlib.sha256(b"two").hexdigest()
    monkeypatch.setattr(datasets, "hash_list", lambda name: {"b.txt": digest})
    assert (datasets.folder("small") / "b.txt").read_bytes() == b"two"


def _served_archive(root, monkeypatch, address, content):
    with tarfile.open(root / "archive.tar.gz", "w:gz") as archive:
        for path, data in content.items():
            entry = tarfile.TarInfo(f"y-{'0' * 40}/{path}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    lines = [
        f"{hashlib.sha256(data).hexdigest()}  {path}\n"
        for path, data in sorted(content.items())
        if path.startswith("recordings/")
    ]
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    dataset = datasets.Dataset("packed", "x/y", "0" * 40, "none", "nobody", digest, "recordings")
    monkeypatch.setitem(datasets.DATASETS, "packed", dataset)
    monkeypatch.setattr(datasets, "ARCHIVE", address + "/archive.tar.gz")


def test_an_archive_is_checked_by_its_files(cache, server, monkeypatch):
    root, address, asked = server
    content = {"README": b"free", "recordings/a.wav": b"1", "recordings/b.wav": b"2"}
    _served_archive(root, monkeypatch, address, content)
    target = datasets.folder("packed")
    assert sorted(p.name for p in (target / "recordings").iterdir()) == ["a.wav", "b.wav"]
    assert datasets.folder("packed") == target
    assert len(asked) == 1


def test_an_archive_with_other_files_is_refused(cache, server, monkeypatch):
    root, address, _ = server
    _served_archive(root, monkeypatch, address, {"recordings/a.wav": b"1"})
    pinned = datasets.DATASETS["packed"]
    _served_archive(root, monkeypatch, address, {"recordings/a.wav": b"2"})
    monkeypatch.setitem(datasets.DATASETS, "packed", pinned)
    with pytest.raises(ValueError, match="not those of the pinned revision"):
        datasets.folder("packed")
    assert datasets.find("packed") is None


def test_without_network_the_error_says_where_from_and_what_to_do(cache, monkeypatch):
    monkeypatch.setattr(datasets, "RAW", "http://127.0.0.1:9/{path}")
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1.*DYNAMICS_DATA") as error:
        datasets.folder("song-ecog-current-biology")
    assert "\n" not in str(error.value)


def test_a_data_set_without_a_public_home_says_so(cache):
    with pytest.raises(FileNotFoundError, match=r"cannot be downloaded.*DYNAMICS_DATA"):
        datasets.folder("pretraining-audio")


def test_an_unknown_name_lists_what_there_is(cache):
    with pytest.raises(ValueError, match=r"unknown data set 'nothing'.*braindnn, fsdd"):
        datasets.folder("nothing")


def test_a_wrong_data_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("DYNAMICS_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"nowhere.*not a folder"):
        datasets.folder("fsdd")


@pytest.mark.parametrize(
    "name", ["natsound165-neuron2015", "song-ecog-current-biology", "braindnn"]
)
def test_local_copies_have_the_pinned_hashes(data_root, name):
    for path, digest in datasets.hash_list(name).items():
        content = (data_root / name / path).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest, path


def test_hash_lists_are_whole():
    assert len(datasets.hash_list("natsound165-neuron2015")) == 167
    assert len(datasets.hash_list("song-ecog-current-biology")) == 2
