import numpy as np
import pytest
import torch
from tiny_store import CATEGORIES, IDENTITY, STIMULI, fill

from dynamics import store
from dynamics.store.precision import PRECISIONS, round_layers, rounding_errors


def values_of_all_sizes():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((40, 50)) * 10.0 ** rng.uniform(-9, 4, (40, 50))
    values[0, :4] = 0.0, -0.0, np.nan, 1 + 2.0**-8  # the last lies half-way between two bfloat16
    return values.astype("float32")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_rounding_is_torchs_own_and_idempotent(dtype):
    values = values_of_all_sizes()
    found = round_layers({"a": values}, dtype)["a"]
    expected = torch.from_numpy(values).to(getattr(torch, dtype)).float().numpy()
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(round_layers({"a": found}, dtype)["a"], found)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_error_stays_below_the_bound_and_comes_close_to_it(dtype):
    rng = np.random.default_rng(1)
    values = rng.uniform(1, 2, 5000).astype("float32")
    largest, rms = rounding_errors(values, round_layers({"a": values}, dtype)["a"])
    bound = PRECISIONS[dtype].bound
    assert 0.9 * bound < largest <= bound
    # Errors spread evenly over the spacing 2 * bound have an RMS of bound / sqrt(3); values are
    # 1.5 on average (RMS 1.53). 3 %: 5,000 draws.
    assert rms == pytest.approx(bound / np.sqrt(3) / np.sqrt(7 / 3), rel=0.03)


@pytest.mark.parametrize(("dtype", "value"), [("float16", 65520.0), ("bfloat16", 3.4e38)])
def test_a_value_beyond_the_type_is_an_error_that_names_layer_and_value(dtype, value):
    layers = {"good": np.ones((2, 2)), "deep": np.array([[1.0, -value]])}
    with pytest.raises(ValueError, match=rf"layer deep has the value -.*beyond.*{dtype}"):
        round_layers(layers, dtype)
    assert np.isinf(round_layers({"a": np.array([np.inf, np.nan])}, dtype)["a"][0])


def write(path, dtype, layers):
    root = store.begin(path, run="test", identity=IDENTITY | {"dtype": dtype})
    store.plan(root, [(0, "file", 1), (5, "file", 1)])
    for step in (0, 5):
        store.write_activations(root, step, layers, stimuli=STIMULI, categories=CATEGORIES)
        store.commit(root, step)
    return root


def test_the_reader_gets_float32_and_the_errors_stand_on_the_array(tmp_path):
    layers = {"a": np.random.default_rng(0).standard_normal((3, 50)).astype("float32")}
    write(tmp_path / "s.zarr", "bfloat16", layers)
    expected = torch.from_numpy(layers["a"]).bfloat16().float().numpy()
    found = store.open(tmp_path / "s.zarr")["activations/a"]["activation"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.sel(step=5).to_numpy(), expected)
    np.testing.assert_array_equal(store.read_activations(tmp_path / "s.zarr", 5)["a"], expected)
    error = np.abs(expected - layers["a"].astype(float))
    assert found.attrs["rounded_to"] == "bfloat16"
    assert found.attrs["relative_error_bound"] == 2.0**-8
    largest = (error / np.abs(layers["a"])).max()
    np.testing.assert_allclose(found.attrs["largest_relative_error"], largest, rtol=1e-6)
    rms = np.sqrt((error**2).mean() / (layers["a"].astype(float) ** 2).mean())
    np.testing.assert_allclose(found.attrs["rms_relative_error"], rms, rtol=1e-6)
    assert store.verify(tmp_path / "s.zarr") == {}


def test_a_store_keeps_its_precision(tmp_path):
    path = tmp_path / "s.zarr"
    fill(path, [0])  # made before there was a choice
    store.begin(path, run="test", identity=IDENTITY | {"dtype": "float32"})
    with pytest.raises(ValueError, match="dtype = 'float32', this sweep has 'float16'"):
        store.begin(path, run="test", identity=IDENTITY | {"dtype": "float16"})
