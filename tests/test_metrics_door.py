"""Arrays of other libraries and layouts: the same numbers, or one sentence."""

from __future__ import annotations

import inspect
import warnings
from decimal import Decimal

import dask.array
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
import xarray as xr
from test_metrics_arrays import FUNCTIONS, arrays_in

from dynamics import metrics
from dynamics.metrics.kernels import activations, as_tensor
from dynamics.metrics.validation import labels, plain

rng = np.random.default_rng(1)
X = rng.standard_normal((6, 4))
GAPS = np.zeros(X.shape, bool)
GAPS[2, 1] = True


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def unaligned(x):
    packed = np.zeros(x.shape, dtype=[("flag", "i1"), ("value", "f8")])
    packed["value"] = x
    return packed["value"]


def named(x):
    return xr.DataArray(dask.array.from_array(x, chunks=3))


KINDS = {
    "reversed": lambda x: x[::-1].copy()[::-1],
    "reversed features": lambda x: x[..., ::-1].copy()[..., ::-1],
    "big-endian": lambda x: x.astype(">f8"),
    "read-only": read_only,
    "broadcast": lambda x: np.broadcast_to(x[None], (2, *x.shape))[1],
    "unaligned": unaligned,
    "fortran": np.asfortranarray,
    "longdouble": lambda x: x.astype(np.longdouble),
    "objects": lambda x: x.astype(object),
    "decimals": lambda x: np.vectorize(Decimal, otypes=[object])(x),
    "matrix of arrays": lambda x: list(x),
    "tuples": lambda x: tuple(map(tuple, x.tolist())),
    "masked nowhere": np.ma.masked_array,
    "masked in full": lambda x: np.ma.masked_array(x, np.zeros(x.shape, bool)),
    "xarray": xr.DataArray,
    "dask": lambda x: dask.array.from_array(x, chunks=2),
    "xarray of dask": named,
    "gradient": lambda x: torch.tensor(x, requires_grad=True),
    "parameter": lambda x: torch.nn.Parameter(torch.tensor(x)),
    "sparse tensor": lambda x: torch.tensor(x).to_sparse(),
    "tensors in a list": lambda x: [torch.tensor(row, requires_grad=True) for row in x],
    "data frame": pd.DataFrame,
    "data frame with an index": lambda x: pd.DataFrame(x, index=list("fedcba")),
    "nullable data frame": lambda x: pd.DataFrame(x).astype("Float64"),
    "sparse": scipy.sparse.csr_matrix,
    "matrix": np.matrix,
}

# Not told from arrays of anything else, and so responses or matrices but no activations.
OF_OBJECTS = ("objects", "decimals")


@pytest.mark.parametrize("kind", KINDS)
def test_any_array_has_its_values(kind, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=PendingDeprecationWarning)  # np.matrix
        given = KINDS[kind](X)
        doors = (as_tensor,) if kind in OF_OBJECTS else (activations, as_tensor)
        for tensor in (door(given) for door in doors):
            assert tensor.dtype == torch.float64 and not tensor.requires_grad
            np.testing.assert_array_equal(tensor.numpy(), X)


def test_an_ordinary_array_passes_untouched():
    for x in (X, X.astype("f4"), np.asfortranarray(X), torch.tensor(X), np.arange(4)):
        assert plain(x) is x


def test_memory_maps_and_half_precision_of_any_library(tmp_path):
    np.save(tmp_path / "x.npy", X.astype("f4"))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_array_equal(activations(mapped), X.astype("f4").astype(float))
    coarse = torch.tensor(X).bfloat16()
    np.testing.assert_array_equal(activations(coarse), coarse.double())


@pytest.mark.parametrize(
    "masked",
    [
        lambda x: np.ma.masked_array(x, GAPS),
        lambda x: np.ma.masked_array(x.astype(">f4"), GAPS),
        lambda x: list(np.ma.masked_array(x, GAPS)),
        lambda x: dask.array.ma.masked_array(dask.array.from_array(x), GAPS),
        lambda x: pd.DataFrame(x).astype("Float64").mask(GAPS),
        lambda x: np.where(GAPS, None, x),
        lambda x: np.ma.masked_array(np.round(10 * x).astype(int), GAPS),
    ],
)
def test_masked_entries_are_nan_and_refused_where_that_is(masked):
    np.testing.assert_array_equal(as_tensor(masked(X)).isnan().numpy(), GAPS)
    with pytest.raises((ValueError, TypeError), match=r"stimulus 2, feature 1|values, not"):
        activations(masked(X))


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (X + 1j, "complex128 values, not activations: give real numbers"),
        (torch.tensor(X + 1j), "complex128 values, not activations: give real numbers"),
        ((X + 1j).astype(object), "object values, not activations"),
        (X.astype(str), "not activations"),
        (pd.DataFrame(X.astype(str)), "values, not"),
        (X.astype("M8[s]"), "not activations"),
        (X.astype(int), "int64 values, not activations"),
        (X.astype(object), "object values, not activations"),
        (X > 0, "bool values, not activations"),
        (pd.DataFrame(X).astype(int).astype("Int64"), "int64 values, not activations"),
        ([[1.0, 2.0], [3.0]], "rows differ in length"),
        ([X[0], X[1, :2]], "rows differ in length"),
        (torch.empty(3, 2, device="meta"), "holds no values"),
        (X[:0], "no stimuli"),
        (X[:, :0], "no features"),
        (X[0], "shape"),
        (np.float64(1), "single number|shape"),
    ],
)
def test_what_is_no_array_of_real_numbers_gets_one_sentence(bad, words):
    for function in (activations, metrics.gram, metrics.effective_dimensionality):
        with pytest.raises((TypeError, ValueError), match=words) as raised:
            function(bad)
        assert "\n" not in str(raised.value)


def test_axes_with_names_are_put_in_order_and_others_taken_as_they_are():
    Y, R = X[:, :2], X[:, :2, None] + rng.standard_normal((6, 2, 3))
    turned = xr.DataArray(X.T, dims=("feature", "stimulus"))
    assert metrics.cka(turned, Y) == metrics.cka(X, Y)
    assert metrics.cka(xr.DataArray(X, dims=("a", "b")), Y) == metrics.cka(X, Y)
    scans = xr.DataArray(R.transpose(2, 1, 0), dims=("repetition", "neuroid", "stimulus"))
    np.testing.assert_array_equal(
        metrics.noise_ceiling(scans)["pair_r"], metrics.noise_ceiling(R)["pair_r"]
    )
    K = np.stack([metrics.gram(X), metrics.gram(X**2)])
    moved = xr.DataArray(K.transpose(1, 2, 0), dims=("stimulus", "stimulus2", "layer"))
    np.testing.assert_array_equal(metrics.cka_gram(moved), metrics.cka_gram(K))


def test_folds_and_orders_may_be_of_any_library_but_not_masked():
    folds = np.arange(6) % 3
    for given in (folds.astype(">i4"), pd.Series(folds, index=list("abcdef")), folds[::-1][::-1],
                  torch.tensor(folds), xr.DataArray(folds), list(folds)):  # fmt: skip
        np.testing.assert_array_equal(labels(given), folds)
    K, Y = metrics.gram(X), X[:, :1]
    with pytest.raises(ValueError, match="folds has 1 masked"):
        metrics.nested_ridge(K, Y, np.ma.masked_equal([0, 0, 1, 1, 2, 9], 9))


AWKWARD = {
    "reversed, big-endian, read-only": lambda x: read_only(x.astype(">f8"))[..., ::-1].copy()[
        ..., ::-1
    ],
    "xarray of dask": named,
    "lists": lambda x: x.tolist(),
    "gradient": lambda x: torch.tensor(x, requires_grad=True),
    "masked nowhere": np.ma.masked_array,
}


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_takes_every_kind(name):
    function, *given = FUNCTIONS[name]
    expected = arrays_in(function(*given))
    for kind, make in AWKWARD.items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = arrays_in(function(*map(make, given)))
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert isinstance(found[key], torch.Tensor) == (kind == "gradient"), (kind, key)
            np.testing.assert_allclose(found[key], value, atol=1e-9, err_msg=f"{kind}, {key}")


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_masked_entry_is_nowhere_taken_for_its_value(name):
    function, *given = FUNCTIONS[name]
    for place, array in enumerate(given):
        hidden = np.zeros(array.shape, bool)
        hidden[(..., *(0, 1)[-min(array.ndim, 2) :])] = True
        outcomes = []
        for under in (array, np.where(hidden, 1e3, array)):
            some = [*given]
            some[place] = np.ma.masked_array(under, hidden)
            try:
                outcomes.append(arrays_in(function(*some)))
            except ValueError as error:
                outcomes.append(str(error))
        first, second = outcomes
        assert isinstance(first, str) == isinstance(second, str)
        if isinstance(first, str):
            assert first == second and "\n" not in first
            continue
        for key, value in first.items():
            np.testing.assert_array_equal(value, second[key])


def test_every_public_function_of_arrays_stands_behind_the_door():
    scalars = {"auditory_score", "bootstrap_counts", "merge_small", "permutations",
               "stratified_folds"}  # fmt: skip
    for name in metrics.__all__:
        function = getattr(metrics, name)
        if inspect.isfunction(function) and name not in scalars:
            assert hasattr(function, "__wrapped__"), name
