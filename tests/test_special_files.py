"""Pipes, sockets, devices and rings of links in the place of files: one sentence, no waiting."""

import os
import shutil
import socket
import threading

import corrupting
import numpy as np
import pytest
import zarr
from corrupting import Told, seen, whole

from dynamics import brains, store
from dynamics.cli import stores


def pipe(path):
    os.mkfifo(path)


def a_socket(path):
    before = os.getcwd()
    os.chdir(path.parent)  # the name of a socket has 107 letters at most
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


def device(path):
    path.symlink_to("/dev/zero")


def itself(path):
    path.symlink_to(path.name)


def above(path):
    path.symlink_to("..")


ODD = (pipe, a_socket, device, itself, above)
PLACES = (
    "zarr.json", "checkpoints/status/c/0", "activations/first/zarr.json",
    "activations/first/activation/c/1/0/0", "results/brain/ridge/score/c/0/0/0",
)  # fmt: skip


def in_time(function, *given):
    """Return what a function returns, in a thread that may be left behind."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function(*given)), daemon=True)
    thread.start()
    thread.join(30)
    assert found, "waits for ever"
    return found[0]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return whole(tmp_path_factory.mktemp("sound") / "s.zarr")


@pytest.mark.slow
@pytest.mark.parametrize("make", ODD)
@pytest.mark.parametrize("place", PLACES)
def test_in_the_place_of_a_file_of_a_store_it_is_damage_that_is_mended(
    sound, tmp_path, place, make
):
    path, told, expected = tmp_path / "s.zarr", Told(), seen(sound)
    shutil.copytree(sound, path)
    (path / place).unlink()
    make(path / place)
    ways = [
        in_time(told.attempt, *way)[1]
        for way in ((seen, path), (stores.status, str(path)), (stores.verify, str(path)))
    ]
    assert ways[2] and (ways[0] or "activation" in place), ways
    assert in_time(corrupting.mended, path, told) == ""
    assert corrupting.same(seen(path), expected)


@pytest.mark.parametrize("make", ODD)
def test_beside_the_files_of_a_store_it_is_passed_over(sound, tmp_path, make):
    path = tmp_path / "s.zarr"
    shutil.copytree(sound, path)
    for number, folder in enumerate(("", "activations", "results/brain/ridge")):
        make(path / folder / f"other-{number}")
    assert corrupting.same(in_time(seen, path), seen(sound))
    assert in_time(store.verify, path) == in_time(store.verify_results, path) == {}
    assert in_time(store.summarise, path).done == len(corrupting.STEPS)


@pytest.mark.parametrize("make", ODD)
def test_in_a_target_it_is_one_sentence(tmp_path, make):
    path = tmp_path / "t.zarr"
    group = zarr.open_group(path, mode="w")
    group.create_array("response", data=np.zeros((3, 2)), dimension_names=("stimulus", "neuroid"))
    (path / "response" / "zarr.json").unlink()
    make(path / "response" / "zarr.json")
    told = in_time(Told().attempt, brains.load, str(path))[1]
    assert "cannot be read as a brain target" in told
