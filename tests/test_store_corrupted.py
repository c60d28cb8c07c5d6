"""Whatever happens to a file of a store: it is named, or nothing is lost; and it can be mended."""

import shutil
from collections import Counter
from pathlib import Path

import corrupting
import numpy as np
import pytest
from corrupting import Told, corrupted, entering, mended, restore, same, seen, whole

from dynamics import store
from dynamics.cli import stores


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return whole(tmp_path_factory.mktemp("sound") / "s.zarr")


def judged(path, expected, told):
    """Say what is wrong with how a damage shows itself and is mended; and how it showed."""
    tree, opened = told.attempt(store.open, path)
    found, read = told.attempt(seen, path) if tree is not None else (None, opened)
    lost = found is None or not same(found, expected)
    lines, verified = told.attempt(stores.verify, str(path))
    _, status = told.attempt(stores.status, str(path))
    ways = {"open": opened, "open or reading": opened or read, "verify": verified, "status": status}
    counts = Counter(name for name, said in ways.items() if said)
    wrong = []
    if wrongly := entering(path, told):
        wrong.append(f"enters an analysis: {wrongly}")
    if not (lost or verified):
        return wrong, Counter(harmless=1)
    if not verified:
        wrong.append("`verify` is silent")
    # Of activations a chunk of another step, or a damaged one, shows itself when an analysis or
    # `verify` reads it.
    said = str(lines).splitlines()
    of_steps = all(line.startswith((" ", "step", "control", "mend", "and")) for line in said)
    if lost and not (opened or read) and not of_steps:
        wrong.append("`open` and reading are silent")
    if fault := mended(path, told):
        wrong.append(f"is not mended: {fault}")
    elif not same(seen(path), expected):
        wrong.append("is mended otherwise")
    else:
        counts["mended"] += 1
    return wrong, counts


def silent(sound, folder, seeds):
    """Corrupt a store in many ways; return what was wrong, and counts of what was seen."""
    expected, wrong, counts, told = seen(sound), [], Counter(), Told()
    path = folder / "s.zarr"
    shutil.copytree(sound, path)
    files = sorted(each for each in path.rglob("*") if each.is_file())
    content = {each: each.read_bytes() for each in files}
    for seed in seeds:
        what = corrupted(path, files, seed)
        found, shown = judged(path, expected, told)
        wrong += [f"{seed} {what} {each}"[:400] for each in found]
        counts.update(shown + Counter(cases=1))
        restore(path, content)
    return wrong, counts


def test_a_sound_store_is_sound(sound):
    told = Told()
    assert judged(sound, seen(sound), told) == ([], {"harmless": 1})
    assert told.attempt(stores.redo, str(sound), damaged=True) == ("nothing is damaged\n", "")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_copy_that_was_stopped_half_way_is_named_and_mended(sound, tmp_path, seed):
    path, told, rng = tmp_path / "s.zarr", Told(), np.random.default_rng(seed)
    files = sorted(each.relative_to(sound) for each in sound.rglob("*") if each.is_file())
    # Descriptions come first in half of the copies, as if they were newer than the chunks.
    files.sort(key=lambda each: (seed % 2 and each.name != "zarr.json", rng.random()))
    for each in [Path("zarr.json"), *files[: len(files) // 2]]:
        (path / each).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(sound / each, path / each)
    left = files[len(files) // 2]
    (path / left).parent.mkdir(parents=True, exist_ok=True)
    (path / left).with_name(f".{left.name}.x7Yq2z").write_bytes((sound / left).read_bytes()[:9])
    opened = told.attempt(store.open, path)[1]
    assert opened and told.attempt(stores.verify, str(path))[1]
    assert entering(path, told) == []
    assert mended(path, told) == "" and same(seen(path), seen(sound))


# Descriptions that lie in each other's place: of columns and variables, groups, coordinates.
SWAPPED = (134, 182, 236, 277, 319, 325, 331)


@pytest.mark.slow
def test_no_damage_is_silent(sound, tmp_path):
    assert silent(sound, tmp_path, (*range(0, 1000, 67), *SWAPPED))[0] == []


@pytest.mark.benchmark
@pytest.mark.timeout(7200)
def test_no_damage_of_seven_hundred_is_silent(sound, tmp_path, capsys):
    number = sum(1 for each in sound.rglob("*") if each.is_file()) * len(corrupting.KINDS)
    wrong, counts = silent(sound, tmp_path, range(number))
    with capsys.disabled():
        print(dict(counts))
    assert wrong == [] and counts["cases"] >= 500
