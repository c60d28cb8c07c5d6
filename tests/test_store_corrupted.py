"""Whatever happens to a file of a store: it is named, or nothing that it held is lost."""

import shutil
import warnings

import numpy as np
import pytest
from tiny_store import CATEGORIES, STIMULI, activations

from dynamics import store

STEPS = (30, 0, 10, 20)
LAYERS = ["first", "second"]


def whole(path):
    """Write something of every kind."""
    root = store.begin(path, run="test", identity={})
    for group in (root, store.begin_controls(root)):
        store.plan(group, [(step, f"file-{step}", 10) for step in STEPS], modified=[1.5] * 4)
        for step in STEPS:
            layers = activations(step)
            store.write_activations(group, step, layers, stimuli=STIMULI, categories=CATEGORIES)
            store.commit(group, step, sha256=f"hash-{step}", seconds=1.0)
    coordinates = {"layer": ("layer", LAYERS), "region": ("neuroid", ["left", "right"])}
    group = store.begin_result(root, "brain", "ridge", identity={}, coordinates=coordinates)
    store.write_label(group, "protocol", "five folds", "how the scores were made")
    store.write_constant(group, "baseline", ("neuroid",), [0.5, 0.25], description="level")
    shape = ("layer", "neuroid")
    for step in STEPS:
        rng = np.random.default_rng(step)
        values = {n: (shape, rng.standard_normal((2, 2))) for n in ("score", "r2")}
        store.write_result(group, step, values, checkpoint=f"hash-{step}")
    alike = store.begin_result(
        root, "self", "cka", identity={}, coordinates={"layer": ("layer", LAYERS)}
    )
    for step in STEPS:
        others = [*store.committed(alike), step]
        rng = np.random.default_rng(step + 1)
        store.write_pairs(alike, step, others, rng.standard_normal((len(others), 2)))
        store.write_result(alike, step, {}, checkpoint=f"hash-{step}")
    return path


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return whole(tmp_path_factory.mktemp("sound") / "s.zarr")


def seen(path):
    """Return all that a reader gets from a store; warnings of losses are errors."""
    tree = store.open(path).load()
    return {
        f"{node.path}/{name}": variable.to_numpy()
        for node in tree.subtree
        for name, variable in node.to_dataset(inherit=False).variables.items()
    }


def same(first, second):
    return first.keys() == second.keys() and all(
        np.array_equal(a, second[name], equal_nan=a.dtype.kind == "f") for name, a in first.items()
    )


def named(path, caplog):
    """Say how a damage shows itself: in a warning, an error of one sentence, or to `verify`."""
    caplog.clear()
    found = None
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            found = seen(path)
        except (ValueError, OSError, LookupError, RuntimeError) as error:
            return found, f"reading: {error}"
    if any("dynamics verify" in record.getMessage() for record in caplog.records):
        return found, caplog.records[0].getMessage()
    try:
        verified = store.verify(path) | store.verify_controls(path) | store.verify_results(path)
    except (ValueError, OSError, LookupError, RuntimeError) as error:
        return found, f"verify: {error}"
    return found, str(verified or "")


def delete(path, rng, files):
    path.unlink()


def truncate(path, rng, files):
    content = path.read_bytes()
    path.write_bytes(content[: int(rng.integers(0, len(content)))])


def flip(path, rng, files):
    content = bytearray(path.read_bytes())
    content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)


def swap(path, rng, files):
    other = files[int(rng.integers(len(files)))]
    mine, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(mine)


def empty(path, rng, files):
    path.write_bytes(b"")


def delete_folder(path, rng, files):
    shutil.rmtree(path.parent)


KINDS = (delete, truncate, flip, swap, empty, delete_folder)


def corrupted(path, files, seed):
    """Do something to one of the files of a store; say what."""
    rng = np.random.default_rng(seed)
    chosen = files[seed % len(files)]
    kind = KINDS[(seed // len(files) + seed) % len(KINDS)]
    kind(chosen, rng, files)
    return f"{kind.__name__} {chosen.relative_to(path)}"


def restore(path, content):
    """Make a store hold these files as they were, and no others."""
    for each in path.rglob("*"):
        if each.is_file() and each not in content:
            each.unlink()
    for each, held in content.items():
        if not each.is_file() or each.read_bytes() != held:
            each.parent.mkdir(parents=True, exist_ok=True)
            each.write_bytes(held)


def silent(sound, folder, seeds, caplog):
    expected, wrong = seen(sound), []
    path = folder / "s.zarr"
    shutil.copytree(sound, path)
    files = sorted(each for each in path.rglob("*") if each.is_file())
    content = {each: each.read_bytes() for each in files}
    for seed in seeds:
        what = corrupted(path, files, seed)
        found, told = named(path, caplog)
        if not told and (found is None or not same(found, expected)):
            wrong.append(what)
        restore(path, content)
    return wrong


def test_a_sound_store_is_sound(sound, caplog):
    assert named(sound, caplog)[1] == ""


@pytest.mark.slow
def test_no_damage_is_silent(sound, tmp_path, caplog):
    assert silent(sound, tmp_path, range(0, 1000, 67), caplog) == []


@pytest.mark.benchmark
@pytest.mark.timeout(1800)
def test_no_damage_of_a_thousand_is_silent(sound, tmp_path, caplog):
    assert silent(sound, tmp_path, range(1000), caplog) == []
