"""Chunks that are read from their files are what zarr reads, and what is odd is left to zarr."""

import numpy as np
import pytest
import zarr

from dynamics import store
from dynamics.store import files, nodes
from dynamics.store.layout import CODECS

RNG = np.random.default_rng(0)


def arrays_of(tmp_path, *dtypes, sizes=(7, 5), steps_a_chunk=1, rows=3):
    root = zarr.open_group(tmp_path / "store.zarr", mode="w")
    made = []
    for number, dtype in enumerate(dtypes):
        array = root.create_array(
            f"layer{number}", shape=(rows, *sizes), dtype=dtype, chunks=(steps_a_chunk, *sizes),
            compressors=CODECS, fill_value=0,
        )  # fmt: skip
        array[:] = (100 * RNG.normal(size=(rows, *sizes))).astype(dtype)
        made.append(array)
    return made


def file_of(array, row):
    return array.store.root / array.path / "c" / str(row) / "0" / "0"


def test_rows_are_those_that_zarr_reads_of_any_type_of_number(tmp_path):
    arrays = arrays_of(tmp_path, "float32", "int8", "float64", "float16", "uint16", "bool")
    for row in range(3):
        straight = files.rows_of(arrays, row)
        for found, array in zip(straight, arrays, strict=True):
            np.testing.assert_array_equal(found, array[row], strict=True)
            assert found.flags.writeable and found.flags.aligned and found.flags.c_contiguous


def test_a_layer_too_large_for_the_block_has_memory_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_LARGE", 100)
    arrays = arrays_of(tmp_path, "float64", "int8", "float64")
    first, small, last = files.rows_of(arrays, 1)
    assert small.base is not None and not np.shares_memory(first, last)
    for found, array in zip((first, small, last), arrays):
        np.testing.assert_array_equal(found, array[1])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.unlink(),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        lambda file: file.write_bytes(file.read_bytes()[:20] + b"?" + file.read_bytes()[21:]),
        lambda file: (file.unlink(), file.mkdir()),
    ],
    ids=["lost", "empty", "cut", "flipped", "folder"],
)
def test_what_is_not_a_sound_chunk_is_left_to_zarr(tmp_path, spoil):
    sound, odd = arrays_of(tmp_path, "float32", "float32")
    spoil(file_of(odd, 1))
    first, second = files.rows_of([sound, odd], 1)
    np.testing.assert_array_equal(first, sound[1])
    assert second is None
    try:
        expected = odd[1]
    except Exception as error:
        with pytest.raises(type(error)):
            nodes.rows([sound, odd], 1)
    else:  # a lost chunk is its fill value
        np.testing.assert_array_equal(nodes.rows([sound, odd], 1)[1], expected)


def test_chunks_of_several_steps_rows_that_are_not_there_and_texts_are_left_to_zarr(tmp_path):
    (several,) = arrays_of(tmp_path / "several", "float32", steps_a_chunk=2)
    assert files.rows_of([several], 0) == [None]
    (single,) = arrays_of(tmp_path, "float32")
    assert files.rows_of([single, single], 3) == [None, None]
    assert files.rows_of([single], -1) == [None]
    root = zarr.open_group(tmp_path / "store.zarr", mode="r+")
    text = root.create_array("text", shape=(2, 3), dtype=str, chunks=(1, 3), compressors=CODECS)
    assert files.rows_of([text], 0) == [None]
    np.testing.assert_array_equal(nodes.rows([several, single], 1)[0], several[1])


def test_a_step_is_read_once_to_be_verified_and_layers_are_opened_once(tmp_path, monkeypatch):
    path, steps = tmp_path / "run.zarr", 5
    root = store.begin(path, run="run", identity={"adapter": "synthetic"})
    store.plan(root, [(step, f"checkpoint-{step}", 1) for step in range(steps)])
    for step in range(steps):
        layers = {name: RNG.normal(size=(4, 3)).astype("float32") for name in "ab"}
        store.write_activations(root, step, layers, stimuli=list("abcd"), categories=["x"] * 4)
        store.commit(root, step, sha256=f"{step:064x}", seconds=0.5)
    read, opened, whole, array = [], [], files._read_into, nodes.array
    monkeypatch.setattr(
        files, "_read_into", lambda *given: read.append(given[1].path) or whole(*given)
    )
    monkeypatch.setattr(
        nodes, "array", lambda parent, name: opened.append(name) or array(parent, name)
    )
    assert store.verify(path) == {}
    assert len(read) == 2 * steps
    assert len([name for name in opened if name.startswith("activations/")]) == 2
