import multiprocessing

import numpy as np
import pytest
import xarray as xr
import zarr
from tiny_store import CATEGORIES, IDENTITY, STIMULI, activations, fill

from dynamics import store


def test_a_reader_sees_steps_sorted_with_their_own_values(tmp_path):
    fill(tmp_path / "s.zarr", [100, 0, 10])
    tree = store.open(tmp_path / "s.zarr")
    for layer in ("first", "second"):
        dataset = tree[f"activations/{layer}"].to_dataset()
        assert dataset["step"].to_numpy().tolist() == [0, 10, 100]
        assert dataset["stimulus"].to_numpy().tolist() == STIMULI
        for step in (0, 10, 100):
            values = dataset["activation"].sel(step=step).to_numpy()
            np.testing.assert_array_equal(values, activations(step)[layer])


def test_layers_stand_from_input_to_output(tmp_path):
    root = store.begin(tmp_path / "s.zarr", run="test", identity=IDENTITY)
    store.plan(root, [(0, "file", 1)])
    names = [f"layer{i}" for i in (3, 0, 11, 2)]
    layers = {name: np.zeros((3, 2), "float32") for name in names}
    store.write_activations(root, 0, layers, stimuli=STIMULI, categories=CATEGORIES)
    store.commit(root, 0)
    assert list(store.open(tmp_path / "s.zarr")["activations"].children) == names
    assert list(store.read_activations(tmp_path / "s.zarr", 0)) == names


def test_steps_that_arrive_later_join_the_axis(tmp_path):
    fill(tmp_path / "s.zarr", [10, 1000])
    fill(tmp_path / "s.zarr", [10, 1000, 100])
    dataset = store.open(tmp_path / "s.zarr")["activations/second"].to_dataset()
    assert dataset["step"].to_numpy().tolist() == [10, 100, 1000]
    np.testing.assert_array_equal(
        dataset["activation"].sel(step=100).to_numpy(), activations(100)["second"]
    )


def test_an_uncommitted_step_is_not_seen(tmp_path):
    path = tmp_path / "s.zarr"
    fill(path, [0])
    fill(path, [0, 5], commit=False)
    tree = store.open(path)
    assert tree["activations/first"]["step"].to_numpy().tolist() == [0]
    assert tree["checkpoints"]["status"].to_numpy().tolist() == ["done", "pending"]


def test_plain_xarray_opens_a_store(tmp_path):
    fill(tmp_path / "s.zarr", [3, 1])
    tree = xr.open_datatree(tmp_path / "s.zarr", engine="zarr", consolidated=False)
    assert tree["activations/first"]["activation"].shape == (2, 3, 4)


def test_a_store_that_was_stopped_while_it_grew_is_mended(tmp_path):
    path = tmp_path / "s.zarr"
    root = fill(path, [0, 1])
    # Stopped after the layers were lengthened and before the table was.
    root["activations/first/activation"].resize((5, 3, 4))
    fill(path, [0, 1, 2])
    dataset = store.open(path)["activations/first"].to_dataset()
    assert dataset["step"].to_numpy().tolist() == [0, 1, 2]
    np.testing.assert_array_equal(
        dataset["activation"].sel(step=1).to_numpy(), activations(1)["first"]
    )


def test_one_chunk_holds_one_step_of_one_layer(tmp_path):
    root = fill(tmp_path / "s.zarr", [0, 1])
    assert root["activations/first/activation"].chunks == (1, 3, 4)


def test_another_identity_is_refused_with_both_values(tmp_path):
    fill(tmp_path / "s.zarr", [0])
    with pytest.raises(ValueError, match="pooling = 'mean', this sweep has 'last'"):
        store.begin(tmp_path / "s.zarr", run="test", identity=IDENTITY | {"pooling": "last"})


def test_a_store_that_holds_nothing_yet_takes_another_identity(tmp_path):
    other = IDENTITY | {"pooling": "last"}
    root = fill(tmp_path / "s.zarr", [0, 10], commit=False)
    store.commit(root, 0, status=store.FAILED, error="broken")
    root = store.begin(tmp_path / "s.zarr", run="test", identity=other)
    assert store.steps(root) == {}
    assert fill(tmp_path / "s.zarr", [], commit=False).attrs["identity"] == IDENTITY
    controls = store.begin_controls(root)
    store.plan(controls, [(1, "untrained:1", 0)])
    store.commit(controls, 1)
    with pytest.raises(ValueError, match="this sweep has 'last'"):
        store.begin(tmp_path / "s.zarr", run="test", identity=other)


def test_another_architecture_is_refused(tmp_path):
    root = fill(tmp_path / "s.zarr", [0])
    store.plan(root, [(1, "file-1", 10)])
    with pytest.raises(ValueError, match=r"\(3, 7\).*\(3, 4\)"):
        store.write_activations(
            root, 1, {"first": np.zeros((3, 7), "float32")}, stimuli=STIMULI, categories=CATEGORIES
        )


def _hold(path, ready, leave):
    with store.lock(path):
        ready.set()
        leave.wait(30)


def test_a_second_writer_is_refused_and_the_first_is_named(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    ready, leave = spawn.Event(), spawn.Event()
    holder = spawn.Process(target=_hold, args=(tmp_path / "s.zarr", ready, leave))
    holder.start()
    assert ready.wait(60)
    with (
        pytest.raises(BlockingIOError, match=f"process {holder.pid}"),
        store.lock(tmp_path / "s.zarr"),
    ):
        pass
    holder.kill()
    holder.join()
    with store.lock(tmp_path / "s.zarr"):  # the system let go when the holder died
        pass


def test_results_without_a_complete_step_take_other_arguments(tmp_path):
    root = fill(tmp_path / "s.zarr", [0])
    for identity, layers in (({"a": 1}, ["one"]), ({"a": 2}, ["first", "second"])):
        coordinates = {"layer": ("layer", layers)}
        group = store.begin_result(root, "b", "m", identity=identity, coordinates=coordinates)
        assert group.attrs["identity"] == identity
        assert group["layer"][:].tolist() == layers


def test_results_are_sorted_and_a_half_written_one_is_not_seen(tmp_path):
    root = fill(tmp_path / "s.zarr", [0, 1, 2])
    coordinates = {"layer": ("layer", ["first", "second"])}
    group = store.begin_result(root, "brain", "ridge", identity={"a": 1}, coordinates=coordinates)
    for step in (2, 0):
        values = {"score": (("layer",), np.array([step, step + 0.5]))}
        store.write_result(group, step, values, checkpoint=f"hash-{step}")
    group["checkpoint"].resize((3,))
    group["score"].resize((3, 2))
    group["step"].resize((3,))
    dataset = store.open(tmp_path / "s.zarr")["results/brain/ridge"].to_dataset()
    assert dataset["step"].to_numpy().tolist() == [0, 2]
    assert dataset["score"].sel(step=2, layer="second").item() == 2.5
    with pytest.raises(ValueError, match=r"a = 1, this sweep has 2"):
        store.begin_result(root, "brain", "ridge", identity={"a": 2}, coordinates=coordinates)


def test_a_result_counts_for_readers_when_it_counts_for_writers(tmp_path, caplog):
    root = fill(tmp_path / "s.zarr", [0, 1, 2])
    group = store.begin_result(root, "brain", "ridge", identity={}, coordinates={})
    for step in (0, 1):
        store.write_result(
            group, step, {"score": ((), np.float64(step))}, checkpoint=f"hash-{step}"
        )
    group["hash"][1] = ""  # as when a process ends between the last two writes of a step
    assert list(store.committed(group)) == [0]
    dataset = store.open(tmp_path / "s.zarr")["results/brain/ridge"].to_dataset()
    assert dataset["step"].to_numpy().tolist() == [0]
    group["hash"][0] = ""  # no process that ends leaves two of these
    store.open(tmp_path / "s.zarr")
    assert "results/brain/ridge/hash of step 0, 1 is lost" in caplog.text


def test_opening_nothing_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="no store at"):
        store.open(tmp_path / "none.zarr")


def test_a_store_whose_making_was_stopped_is_none_yet_and_is_made_by_the_next(
    tmp_path, monkeypatch
):
    whole, left = zarr.storage.LocalStore.set, iter(())

    async def stopping(self, key, value):
        next(left)
        await whole(self, key, value)

    monkeypatch.setattr(zarr.storage.LocalStore, "set", stopping)
    for writes in range(100):
        path, left = tmp_path / f"{writes}.zarr", iter(range(writes))
        try:
            store.begin(path, run="test", identity={})
            break
        except RuntimeError:  # what a coroutine makes of StopIteration
            for look in (store.open, store.open_group):
                with pytest.raises(FileNotFoundError, match=r"no store at .* `dynamics crawl`"):
                    look(path)
            left = iter(range(100))
            store.begin(path, run="test", identity={})
            assert store.open(path).attrs["run"] == "test"
    assert 5 < writes < 99


def test_another_zarr_group_is_not_taken_for_a_store(tmp_path):
    zarr.open_group(tmp_path / "s.zarr", mode="w").attrs["title"] = "something else"
    with pytest.raises(ValueError, match="is a zarr group but not a store of this package"):
        store.open(tmp_path / "s.zarr")


def test_one_group_alone_is_what_it_is_in_the_whole_store(tmp_path):
    path = tmp_path / "run.zarr"
    root = store.begin(path, run="run", identity={})
    store.plan(root, [(20, "b", 1), (10, "a", 1), (30, "c", 1)])
    coordinates = {"layer": ("layer", ["one", "two"])}
    group = store.begin_result(root, "brain", "ridge", identity={}, coordinates=coordinates)
    for step in (20, 10):
        values = np.full((3, 4), step, "float32")
        names = {"stimuli": ["x", "y", "z"], "categories": ["a", "a", "b"]}
        store.write_activations(root, step, {"one": values, "two": -values}, **names)
        store.commit(root, step, status=store.DONE)
        scores = {"score": (("layer",), np.array([step, -step], float))}
        store.write_result(group, step, scores, checkpoint="hash")
    whole = store.open(path)
    for name in ("results/brain/ridge", "activations/two", "activations", "checkpoints"):
        alone = store.open(path, group=name)
        assert alone[name].to_dataset().identical(whole[name].to_dataset())
    assert "checkpoints" not in store.open(path, group="results/brain/ridge")
    with pytest.raises(KeyError, match="no group 'results/brain/rsa'"):
        store.open(path, group="results/brain/rsa")
