"""What is written beside its place and put there whole."""

import os

import pytest

from dynamics.filesystems import remove, replacing


def names(folder):
    return sorted(os.listdir(folder))


def test_a_file_bears_its_name_only_once_it_is_whole(tmp_path):
    path = tmp_path / "new" / "report.html"
    with replacing(path) as beside:
        beside.write_text("whole")
        assert beside.parent == path.parent and beside.name.startswith(".")
        assert not path.exists()
    assert path.read_text() == "whole" and names(path.parent) == ["report.html"]


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt])
def test_a_fault_leaves_what_was_there_and_nothing_beside_it(tmp_path, fault):
    path = tmp_path / "state.ckpt"
    path.write_bytes(b"before")
    with pytest.raises(fault), replacing(path) as beside:
        beside.write_bytes(b"half")
        raise fault
    assert path.read_bytes() == b"before" and names(tmp_path) == ["state.ckpt"]


def test_a_folder_replaces_a_folder(tmp_path):
    path = tmp_path / "parts"
    path.mkdir()
    (path / "old").touch()
    with replacing(path) as beside:
        beside.mkdir()
        (beside / "new").touch()
    assert names(path) == ["new"] and names(tmp_path) == ["parts"]


def test_the_half_of_a_killed_process_is_in_nobodys_way(tmp_path):
    path = tmp_path / "a.ckpt"
    with replacing(path) as beside:
        where = beside
        beside.touch()
    where.mkdir()
    (where / "left").touch()
    with replacing(path) as beside:
        assert not beside.exists()
        beside.write_text("again")
    assert path.read_text() == "again" and names(tmp_path) == ["a.ckpt"]


def test_a_file_may_be_on_the_disk_before_it_bears_its_name(tmp_path, monkeypatch):
    synced, real = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(number) or real(number))
    for sync in (False, True):
        with replacing(tmp_path / "a", sync=sync) as beside:
            beside.write_text("a")
        assert len(synced) == sync


def test_what_is_not_there_is_removed_in_silence_and_a_links_aim_stays(tmp_path):
    remove(tmp_path / "none")
    aim = tmp_path / "aim"
    aim.mkdir()
    (tmp_path / "link").symlink_to(aim)
    remove(tmp_path / "link")
    assert names(tmp_path) == ["aim"]
