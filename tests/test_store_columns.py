from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
import zarr

from dynamics.store import layout
from dynamics.store.nodes import strings
from dynamics.store.snapshot import read_column

COLUMNS = {
    "words": np.array(["", "speech", "tête-à-tête", "音"] * 3, dtype=object),
    "nothing": np.array(["", ""], dtype=object),
    "steps": np.arange(-1, 5000),
    "bytes": np.arange(5, dtype="int8"),
    "times": np.array([0.5, np.nan, -np.inf]),
    "flags": np.array([True, False, True]),
    "label": np.array("nested folds", dtype=object),
    "number": np.array(3.25, dtype="float32"),
    "none": np.zeros(0),
    "plane": np.eye(3),
}


def column(folder, values, *, chunk=4096):
    group = zarr.open_group(folder, mode="w")
    kind = str if values.dtype == object else values.dtype
    fill = "" if kind is str else 0
    chunks = (chunk,) if values.ndim == 1 else values.shape
    dims = ["a", "b"][: values.ndim]
    array = layout.new_array(
        group, "column", values.shape, kind, fill=fill, dims=dims, chunks=chunks
    )
    array[...] = values
    return folder / "column", array, array.metadata.to_dict()


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_is_what_zarr_reads(tmp_path, name):
    values = COLUMNS[name]
    folder, array, node = column(tmp_path, values)
    found = read_column(folder, node)
    if name in ("none", "plane", "nothing"):  # of the last, zarr writes no chunk
        assert found is None
        return
    expected = np.asarray(array[...])
    assert found.shape == expected.shape == values.shape
    if values.dtype == object:
        np.testing.assert_array_equal(strings(found), strings(expected))
        assert strings(found).dtype == strings(expected).dtype
    else:
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype


def test_a_column_that_grew_beyond_its_chunk_is_read_whole(tmp_path):
    folder, array, _ = column(tmp_path, np.arange(10), chunk=4)
    array.resize((7,))
    np.testing.assert_array_equal(read_column(folder, array.metadata.to_dict()), np.arange(7))


def test_what_is_missing_or_damaged_is_left_to_zarr(tmp_path):
    folder, _, node = column(tmp_path, np.arange(10))
    chunk = folder / "c" / "0"
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    assert read_column(folder, node) is None
    chunk.write_bytes(b"")
    assert read_column(folder, node) is None
    chunk.unlink()
    assert read_column(folder, node) is None


def test_arrays_of_other_codecs_or_another_byte_order_are_left_to_zarr(tmp_path):
    group = zarr.open_group(tmp_path, mode="w")
    plain = group.create_array("plain", data=np.arange(5))
    swapped = group.create_array("swapped", data=np.arange(5, dtype=">i8"))
    for array in (plain, swapped):
        assert read_column(tmp_path / array.basename, array.metadata.to_dict()) is None


def test_a_store_opened_through_zarr_alone_is_identical(tmp_path, monkeypatch):
    from dynamics import store
    from dynamics.store import snapshot

    root = store.begin(tmp_path / "run.zarr", run="test", identity={"adapter": "test"})
    store.plan(root, [(10, "a", 1), (0, "b", 2), (20, "c", 3)])
    for step in (10, 0):
        layers = {"first": np.full((2, 3), step, "float32"), "second": np.ones((2, 4), "float32")}
        store.write_activations(root, step, layers, stimuli=["s1", "s2"], categories=["x", "y"])
        store.commit(root, step)
    quick = store.open(tmp_path / "run.zarr")
    monkeypatch.setattr(snapshot, "read_column", lambda *_: None)
    xr.testing.assert_identical(quick.load(), store.open(tmp_path / "run.zarr").load())
