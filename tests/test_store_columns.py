from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
import zarr

from dynamics import store
from dynamics.store import layout, snapshot
from dynamics.store.files import read_column, read_row
from dynamics.store.nodes import strings

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
    root = store.begin(tmp_path / "run.zarr", run="test", identity={"adapter": "test"})
    store.plan(root, [(10, "a", 1), (0, "b", 2), (20, "c", 3)])
    for step in (10, 0):
        layers = {"first": np.full((2, 3), step, "float32"), "second": np.ones((2, 4), "float32")}
        store.write_activations(root, step, layers, stimuli=["s1", "s2"], categories=["x", "y"])
        store.commit(root, step)
    quick = store.open(tmp_path / "run.zarr")
    monkeypatch.setattr(snapshot, "read_column", lambda *_: None)
    xr.testing.assert_identical(quick.load(), store.open(tmp_path / "run.zarr").load())


def scores(folder, *, layers=3, neuroids=4):
    """A store with scores of two steps, many to a chunk, and resamples, each in its own."""
    root = store.begin(folder / "run.zarr", run="test", identity={"adapter": "test"})
    coordinates = {"layer": ("layer", [f"l{i}" for i in range(layers)]),
                   "neuroid": ("neuroid", [f"v{i}" for i in range(neuroids)])}  # fmt: skip
    group = store.begin_result(
        root, "one", "ridge", identity={"metric": "ridge"}, coordinates=coordinates
    )
    for step in (10, 0):
        write_scores(group, step, step + 1)
    return folder / "run.zarr", group


def write_scores(group, step, level):
    rng = np.random.default_rng(level)
    values = {"score": (("layer", "neuroid"), rng.standard_normal((3, 4))),
              "resample_score": (("layer", "resample", "neuroid"),
                                 rng.standard_normal((3, 50, 4)))}  # fmt: skip
    attrs = {"spread": 1.0, "paired": 0, "correlation": 0, "limit": 1.0}
    store.write_result(
        group, step, values, checkpoint=f"{step:064x}", attrs={"resample_score": attrs}
    )
    return values


def ridge_of(path):
    return store.open(path)["results/one/ridge"].to_dataset()


KEYS = [{}, {"layer": 1}, {"layer": [2, 0], "neuroid": slice(1, 3)}, {"layer": -1, "neuroid": 2}]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_one_step_of_results_is_what_zarr_reads(tmp_path, monkeypatch, key):
    path, group = scores(tmp_path)
    assert len({group[name].chunks[0] for name in ("score", "resample_score")}) == 2
    quick = ridge_of(path).isel(step=-1, **key).load()
    node = group["score"].metadata.to_dict()
    assert read_row(path / "results/one/ridge/score", node, 1) is not None
    monkeypatch.setattr(snapshot, "read_row", lambda *_: None)
    xr.testing.assert_identical(quick, ridge_of(path).isel(step=-1, **key).load())


@pytest.mark.parametrize("name", ["score", "resample_score"])
def test_one_step_that_is_not_what_was_committed_is_refused(tmp_path, monkeypatch, name):
    path, group = scores(tmp_path)
    group[name][0, 1, 2] += 1
    for _ in range(2):
        with pytest.raises(ValueError, match=f"{name} of store .* holds other values at step 10 "):
            ridge_of(path)[name].isel(step=-1).load()
        assert ridge_of(path)[name].isel(step=0).notnull().all()
        monkeypatch.setattr(snapshot, "read_row", lambda *_: None)


def test_a_step_done_again_after_the_store_was_opened_is_read_as_it_is_now(tmp_path):
    path, group = scores(tmp_path)
    opened = ridge_of(path)
    new = write_scores(group, 10, 99)
    for name, (_, values) in new.items():
        np.testing.assert_array_equal(opened[name].isel(step=-1), values)


def test_rows_that_lie_in_several_chunks_or_are_damaged_are_left_to_zarr(tmp_path):
    group = zarr.open_group(tmp_path, mode="w")
    made = {}
    for name, chunks in (("whole", (2, 3)), ("parts", (1, 2))):
        array = layout.new_array(
            group, name, (3, 3), "float64", fill=0, dims=["step", "x"], chunks=chunks
        )
        array[...] = np.arange(1, 10).reshape(3, 3)
        made[name] = tmp_path / name, array.metadata.to_dict()
    np.testing.assert_array_equal(read_row(*made["whole"], 2), [7, 8, 9])
    assert read_row(*made["parts"], 0) is None and read_row(*made["whole"], 5) is None
    chunk = made["whole"][0] / "c" / "1" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"x")
    assert read_row(*made["whole"], 2) is None
