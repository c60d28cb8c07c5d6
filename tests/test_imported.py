"""Activations that others computed, in place of checkpoints and a network."""

import os
import pickle
import re

import h5py
import numpy as np
import pytest
import yaml
from test_crawl import arrays

from dynamics import sounds, store
from dynamics.config import load_config, validate
from dynamics.extraction import crawl
from dynamics.progress import silent
from dynamics.sweep import check

STIMULI = {"name": "synthetic", "arguments": {"per_kind": 1, "seconds": 0.4}}
LAYERS = ("conv2", "conv10")
STEPS = (0, 100)


@pytest.fixture(scope="module")
def names():
    return list(sounds.load("synthetic", per_kind=1, seconds=0.4).names)


def values(step, layer, names):
    """What is to stand in a store, in the order of the sounds."""
    rng = np.random.default_rng([step, len(layer)])
    return rng.standard_normal((len(names), 3 + len(layer))).astype("float32")


def sweep_of(path, layout, **more):
    given = {"path": str(path), "layout": layout, **more}
    content = {"run": "others", "activations": given, "stimuli": STIMULI, "targets": []}
    return validate(content | {"store": str(path.parent / "others.zarr")}, origin="test")


def mixed(names):
    """Rows in another order, with one sound more and suffixes; and their names."""
    order = np.random.default_rng(0).permutation(len(names))
    return [*(f"{names[i]}.wav" for i in order), "another.wav"], order


def rows(step, layer, names, order):
    return np.concatenate([values(step, layer, names)[order], np.full((1, 3 + len(layer)), 7.0)])


def as_hdf5(folder, names):
    given, order = mixed(names)
    with h5py.File(folder / "all.h5", "w") as file:
        file["stimulus"] = given
        for step in STEPS:
            for layer in LAYERS:
                file[f"step{step}/{layer}"] = rows(step, layer, names, order)
    return folder / "all.h5", "step{step}/{layer}", {}


def as_npz_a_step(folder, names):
    given, order = mixed(names)
    for step in STEPS:
        each = {layer: rows(step, layer, names, order) for layer in LAYERS}
        np.savez(folder / f"step{step:05d}.npz", **each)
    (folder / "names.txt").write_text("\n".join(given))
    return folder, "step{step}.npz/{layer}", {"stimuli": "names.txt"}


def as_npy_a_layer(folder, names):
    given, order = mixed(names)
    for word, step in (("init", 0), ("final", 100)):
        (folder / word).mkdir()
        for layer in LAYERS:
            np.save(folder / word / f"{layer}.npy", rows(step, layer, names, order).astype(float))
    steps = {"init": 0, "final": 100}
    return folder, "{step}/{layer}.npy", {"stimuli": given, "steps": steps}


def as_a_pickle_a_sound(folder, names, protocol=2):
    for step in STEPS:
        (folder / f"step_{step}").mkdir()
        for i, name in enumerate(names):
            # (time, features), so that the mean over time is to be taken
            each = {
                "layers": {
                    layer: values(step, layer, names)[i] + np.array([[-1.0], [0.0], [1.0]])
                    for layer in LAYERS
                },
                "sound": name,
            }
            with (folder / f"step_{step}" / f"{name}_activations.pkl").open("wb") as file:
                pickle.dump(each, file, protocol=protocol)
    layout = "step_{step}/{stimulus}_activations.pkl/layers/{layer}"
    return folder, layout, {"average": 0}


@pytest.mark.parametrize("lay", [as_hdf5, as_npz_a_step, as_npy_a_layer, as_a_pickle_a_sound])
def test_every_layout_gives_the_store_of_the_same_numbers(tmp_path, names, lay):
    folder = tmp_path / "in"
    folder.mkdir()
    path, layout, more = lay(folder, names)
    sweep = sweep_of(path, layout, **more)
    check(sweep)
    assert crawl.crawl(sweep, advance=silent) == {"done": 2, "failed": 0, "new": 2}
    tree = store.open(sweep.store)
    assert tree["activations"]["step"].to_numpy().tolist() == list(STEPS)
    assert tree["activations"]["stimulus"].to_numpy().tolist() == names
    assert store.layer_names(store.open_group(sweep.store)) == list(LAYERS)  # 2 before 10
    for layer, found in arrays(sweep.store).items():
        expected = np.stack([values(step, layer, names) for step in STEPS])
        # means of three values, in double precision; else to the last bit
        np.testing.assert_allclose(found, expected, atol=1e-6 if "average" in more else 0)
    assert crawl.crawl(sweep, advance=silent)["new"] == 0
    assert store.verify(sweep.store) == {}


def test_one_array_a_layer_is_one_step_and_layers_are_chosen_and_ordered(tmp_path, names):
    each = {layer: values(0, layer, names) for layer in LAYERS}
    np.savez(tmp_path / "final.npz", stimulus=names, **each)
    sweep = sweep_of(tmp_path / "final.npz", "{layer}", layers=["conv10", "conv2"], step=1000)
    assert crawl.crawl(sweep, advance=silent)["done"] == 1
    assert store.layer_names(store.open_group(sweep.store)) == ["conv10", "conv2"]
    assert store.steps(store.open_group(sweep.store)) == {1000: 0}


def test_a_step_that_comes_later_is_added_and_one_that_changed_is_an_error(tmp_path, names):
    folder = tmp_path / "in"
    folder.mkdir()
    path, layout, more = as_npz_a_step(folder, names)
    sweep = sweep_of(path, layout, **more)
    crawl.crawl(sweep, advance=silent)
    before = store.records(store.open_group(sweep.store))
    order = mixed(names)[1]
    np.savez(folder / "step00500.npz", **{k: rows(5, k, names, order) for k in LAYERS})
    assert crawl.crawl(sweep, advance=silent) == {"done": 3, "failed": 0, "new": 1}
    assert store.records(store.open_group(sweep.store))[0] == before[0]
    np.savez(folder / "step00100.npz", **{k: rows(7, k, names, order) for k in LAYERS})
    with pytest.raises(ValueError, match=r"step 100 .* are others than those in store"):
        crawl.crawl(sweep, advance=silent)
    store.redo(sweep.store, [100])
    assert crawl.crawl(sweep, advance=silent)["new"] == 1
    after = store.records(store.open_group(sweep.store))
    assert after[100]["sha256"] != before[100]["sha256"]


def _faulty(change):
    def lay(folder, names):
        each = {layer: values(0, layer, names) for layer in LAYERS}
        given = {"stimulus": np.array(names), **each}
        given.update(change(each, names))
        np.savez(folder / "step1.npz", **given)
        return folder, "step{step}.npz/{layer}"

    return lay


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda e, n: {"stimulus": np.array([*n[:-1], "x"])}, "no activations of '.*' .1 of "),
        (lambda e, n: {"conv2": e["conv2"][:-1]}, r"layer conv2 .* rows for \d+ names"),
        (lambda e, n: {"conv2": e["conv2"][:, :, None]}, "shape .* give .stimuli, features."),
        (lambda e, n: {"conv2": e["conv2"] * np.nan}, "not finite"),
        (lambda e, n: {"conv2": np.array(n)}, "no real numbers"),
        (lambda e, n: {"stimulus": np.array([n[0]] * len(n))}, "names the sound '.*' twice"),
    ],
)
def test_what_is_wrong_with_a_step_is_one_sentence_of_its_row(tmp_path, names, change, said):
    (tmp_path / "in").mkdir()
    path, layout = _faulty(change)(tmp_path / "in", names)
    sweep = sweep_of(path, layout, layers=list(LAYERS))
    assert crawl.crawl(sweep, advance=silent)["failed"] == 1
    (error,) = store.failures(sweep.store).values()

    assert re.search(said, error) and "\n" not in error


class Gadget:
    """What runs a command wherever a pickle of it is loaded."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def test_a_pickle_with_code_in_it_runs_nothing_and_is_one_sentence(tmp_path, names):
    folder = tmp_path / "in"
    folder.mkdir()
    path, layout, more = as_a_pickle_a_sound(folder, names)
    marker = tmp_path / "ran"
    with (folder / "step_100" / f"{names[0]}_activations.pkl").open("wb") as file:
        pickle.dump({"layers": {"conv2": Gadget(marker)}}, file)
    sweep = sweep_of(path, layout, **more)
    assert crawl.crawl(sweep, advance=silent) == {"done": 1, "failed": 1, "new": 2}
    assert not marker.exists()
    assert "which may run code" in store.failures(sweep.store)[100]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"checkpoints": "runs/*"}, "in place of `checkpoints` and `model`: drop `checkpoints`"),
        ({"pooling": "last"}, "as others pooled them: drop `pooling`"),
        ({"activations": {"path": "x", "layout": "{step}.npz"}}, "with {layer}"),
        ({"activations": {"path": "x", "layout": "{layer}"}}, "names no file in the folder"),
        ({"activations": {"path": "x"}}, "`activations.layout` is missing"),
    ],
)
def test_a_faulty_key_is_one_sentence(change, said):
    content = {"run": "x", "stimuli": STIMULI,
               "activations": {"path": "x", "layout": "{layer}.npy"}}  # fmt: skip
    with pytest.raises(ValueError, match=said):
        validate(content | change, origin="test")


def test_what_is_not_there_is_said_before_a_store_is_made(tmp_path, names):
    sweep = sweep_of(tmp_path / "none", "{layer}.npy")
    with pytest.raises(FileNotFoundError, match="there are no activations at"):
        check(sweep)
    (tmp_path / "none").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no array in .* lies where the layout"):
        check(sweep)
    np.save(tmp_path / "none" / "a.npy", values(0, "a", names))
    with pytest.raises(ValueError, match="no activations of"):
        check(sweep_of(tmp_path / "none", "{layer}.npy", stimuli=["a", "b"]))
    probed = sweep.model_copy(update={"probes": validate(
        {"run": "x", "checkpoints": "x", "model": "x", "stimuli": STIMULI,
         "probes": [{"name": "pitch-class", "arguments": {"train": 4, "valid": 2, "test": 2}}]},
        origin="test").probes})  # fmt: skip
    with pytest.raises(ValueError, match="sounds of its own, which `activations` do not hold"):
        check(probed)


def test_paths_are_relative_to_the_yaml_and_workers_get_the_same_sweep(tmp_path, names):
    (tmp_path / "acts").mkdir()
    np.save(tmp_path / "acts" / "a.npy", values(0, "a", names))
    given = {"path": "acts", "layout": "{layer}.npy", "stimuli": names}
    (tmp_path / "s.yaml").write_text(
        yaml.safe_dump({"run": "x", "activations": given, "stimuli": STIMULI})
    )
    sweep = load_config(tmp_path / "s.yaml")
    assert [found.step for found in crawl.discover(sweep)] == [1]
    assert type(sweep).model_validate_json(sweep.model_dump_json()) == sweep
