"""What a change of the code must leave as it was: every array and attribute of a kept store.

Values are compared to the last digit where `DYNAMICS_EXACT` is set, which holds on the machine
that made the kept stores (processors and libraries round differently), and otherwise to what
double precision leaves after a decomposition.
"""

import contextlib
import os
import warnings

import golden_store
import numpy as np
import pytest
import zarr

from dynamics import store

# Of a place, a moment or an installation, or words of what was done, not of the numbers.
PASSING = {"created", "package_version", "versions", "hashes", "shuffled", "details", "cites"}
PASSING_ARRAYS = {"seconds", "modified", "uri"}
# By which what is written is verified; they follow the last bit.
HASHES = "/hash"
# Of penalties from 1e-50 on, rounding decides which is best.
ROUNDED = "/ridge-tuckute/"
EXACT = bool(os.environ.get("DYNAMICS_EXACT"))

# Activations are sums in single precision: a few units of 1.2e-7 of the largest.
OF_SINGLE = {"rtol": 1e-4, "atol": 2e-5}
# Scores from the *same* activations, in double precision. The null is stored in single.
OF_DOUBLE = {"rtol": 1e-6, "atol": 1e-9}
# Weights that a search stopped at, near the best ones.
OF_A_SEARCH = {"rtol": 1e-3, "atol": 1e-4}


def differences(found, expected):
    """Name what differs between two groups, as sentences; an empty list if nothing does."""
    a, b = (dict(group.members(max_depth=None)) for group in (found, expected))
    out = [f"{name} is new" for name in sorted(a.keys() - b.keys())]
    out += [f"{name} is missing" for name in sorted(b.keys() - a.keys())]
    for name in sorted(a.keys() & b.keys()):
        mine, theirs = (
            {key: value for key, value in node[name].attrs.items() if key not in PASSING}
            for node in (a, b)
        )
        out += [
            f"{name}: attribute {key} is {mine.get(key)!r}, not {theirs.get(key)!r}"
            for key in sorted(mine.keys() | theirs.keys())
            if not alike(mine.get(key), theirs.get(key))
        ]
        if isinstance(a[name], zarr.Array) and name.split("/")[-1] not in PASSING_ARRAYS:
            out += differences_of_arrays(name, a[name], b[name])
    return out


def alike(mine, theirs):
    """Whether two attributes are equal, numbers in them to rounding."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return mine.keys() == theirs.keys() and all(alike(mine[k], theirs[k]) for k in mine)
    if isinstance(mine, list) and isinstance(theirs, list):
        return len(mine) == len(theirs) and all(map(alike, mine, theirs))
    if isinstance(mine, float) and isinstance(theirs, float):
        return bool(np.isclose(mine, theirs, rtol=0 if EXACT else 1e-5, equal_nan=True))
    return type(mine) is type(theirs) and mine == theirs


def differences_of_arrays(name, mine, theirs):
    for what, x, y in (
        ("dimensions", mine.metadata.dimension_names, theirs.metadata.dimension_names),
        ("dtype", mine.dtype, theirs.dtype),
        ("shape", mine.shape, theirs.shape),
        ("chunks", mine.chunks, theirs.chunks),
    ):
        if x != y:
            return [f"{name}: {what} {x}, not {y}"]
    if not EXACT and (f"/{name}".endswith(HASHES) or ROUNDED in f"/{name}"):
        return []
    x, y = mine[...], theirs[...]
    if EXACT or np.asarray(x).dtype.kind not in "fc":
        same = np.array_equal(x, y, equal_nan=np.asarray(x).dtype.kind == "f")
    else:
        limits = OF_SINGLE if name.endswith("/activation") else OF_DOUBLE
        limits = OF_A_SEARCH if name.endswith("/layer_weight") else limits
        same = np.allclose(x, y, **limits, equal_nan=True)
    return [] if same else [f"{name} has other values"]


@pytest.fixture(params=golden_store.NAMES)
def name(request):
    return request.param


@pytest.fixture
def kept(name, tmp_path, monkeypatch):
    """A kept store, unpacked; the test is in its folder."""
    monkeypatch.chdir(tmp_path)
    return golden_store.kept(name, tmp_path)


def test_activations_and_their_table_are_those_of_the_kept_store(name, kept, tmp_path):
    again = tmp_path / "again"
    again.mkdir()
    with contextlib.chdir(again):
        some = golden_store.sweep(name)
        golden_store.crawl.crawl(some, advance=golden_store.silent)
        found = store.open_group(some.place)
        expected = store.open_group(kept)
        out = []
        for part in ("checkpoints", "activations", "controls"):
            out += differences(found[part], expected[part])
        if not EXACT:  # a hash of activations follows their last bit
            out = [each for each in out if "/content " not in f"/{each}"]
    assert found.attrs["identity"] == expected.attrs["identity"]
    assert out == []


@pytest.mark.slow
@pytest.mark.guards(4)
def test_scores_of_the_kept_activations_are_those_of_the_kept_store(name, kept, tmp_path):
    golden_store.kept(name, tmp_path / "expected")
    zarr.open_group(kept, mode="r+").create_group("results", overwrite=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        golden_store.score(golden_store.sweep(name))
    expected = zarr.open_group(tmp_path / "expected" / f"{name}.zarr", mode="r")
    found = differences(zarr.open_group(kept, mode="r")["results"], expected["results"])
    assert found == []


@pytest.mark.slow
@pytest.mark.guards(1)
def test_a_store_of_before_is_gone_on_with_and_only_what_is_missing_is_computed(name, kept):
    extra = {"name": "cka", "label": "cka-more"}
    some = golden_store.sweep(name)
    metrics = [choice.model_dump() for choice in some.metrics]
    some = golden_store.sweep(name, metrics=[*metrics, extra])
    before = zarr.open_group(kept, mode="r")
    known = {each: before[each][...] for each, _ in _arrays(before["results"], "results")}
    done = golden_store.score(some)
    steps = 1 + len(golden_store.STEPS)
    assert done["analyze"]["new"] == steps
    assert done.get("probe", {"new": 0})["new"] == 0
    after = zarr.open_group(kept, mode="r")
    assert f"results/{some.targets[0].label}/cka-more/score" in after
    for each, values in known.items():
        np.testing.assert_array_equal(after[each][...], values)


def _arrays(group, prefix):
    return [
        (f"{prefix}/{name}", node)
        for name, node in group.members(max_depth=None)
        if isinstance(node, zarr.Array)
    ]
