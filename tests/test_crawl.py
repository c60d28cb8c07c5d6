import errno
import multiprocessing
import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_run import SIZES, save_checkpoint, sweep_in, sweep_of
from typer.testing import CliRunner
from zarr.storage import LocalStore

from dynamics import sounds, store
from dynamics.cli.program import app
from dynamics.cluster import cluster
from dynamics.extraction import crawl
from dynamics.models import encodecmae
from dynamics.progress import silent


@pytest.fixture
def content(tmp_path):
    return sweep_in(tmp_path, (0, 9, 10, 100))


def arrays(path, group=""):
    layers = store.open(path)[f"{group}activations"]
    return {name: layers[name]["activation"].to_numpy() for name in layers.children}


def test_every_step_and_layer_is_what_the_network_alone_gives(content):
    sweep = sweep_of(content)
    assert crawl.crawl(sweep, advance=silent) == {"done": 4, "failed": 0, "new": 4}
    tree = store.open(sweep.store)
    stimuli = sounds.load("synthetic", per_kind=1, seconds=0.4)
    model = encodecmae.build(None, **SIZES, seed=2)
    wave = torch.tensor(stimuli.waveforms(model.sample_rate)[3])[None]
    with torch.inference_mode():
        direct = model(wave)
    for layer in model.layers:
        dataset = tree[f"activations/{layer}"].to_dataset()
        found = dataset["activation"].sel(step=10, stimulus=stimuli.names[3]).to_numpy()
        # float32 through two layers: batching changes the order of sums, not more
        np.testing.assert_allclose(found, direct[layer][0].mean(0).numpy(), atol=1e-5)


@pytest.mark.guards(1)
def test_a_second_run_does_nothing_and_a_new_checkpoint_alone_is_added(content, tmp_path):
    sweep = sweep_of(content)
    crawl.crawl(sweep, advance=silent)
    before = {p: p.stat().st_mtime_ns for p in sweep.store.rglob("c/*")}
    assert crawl.crawl(sweep, advance=silent)["new"] == 0
    assert before == {p: p.stat().st_mtime_ns for p in sweep.store.rglob("c/*")}
    save_checkpoint(tmp_path / "checkpoints", 50, seed=9)
    assert crawl.crawl(sweep, advance=silent)["new"] == 1
    steps = store.open(sweep.store)["activations"]["step"].to_numpy().tolist()
    assert steps == [0, 9, 10, 50, 100]


@pytest.mark.guards(2)
def test_a_bad_checkpoint_is_a_row_and_the_sweep_goes_on(content, tmp_path):
    folder = tmp_path / "checkpoints"
    whole = (folder / "epoch=0-step=9.ckpt").read_bytes()
    (folder / "epoch=0-step=9.ckpt").write_bytes(whole[: len(whole) // 2])
    os.utime(folder / "epoch=0-step=9.ckpt", (0, 0))
    save_checkpoint(folder, 10, seed=2, width=32, feed_forward=48)
    state = encodecmae.build(None, **SIZES).state_dict()
    state["visible_encoder.encoder_layers.0.norm1.weight"][0] = np.nan
    torch.save({"state_dict": state, "global_step": 100}, folder / "epoch=0-step=100.ckpt")
    sweep = sweep_of(content)
    assert crawl.crawl(sweep, advance=silent) == {"done": 1, "failed": 3, "new": 4}
    failures = store.failures(sweep.store)
    assert sorted(failures) == [9, 10, 100]
    assert all(failures.values())
    assert store.open(sweep.store)["activations"]["step"].to_numpy().tolist() == [0]
    # Mended and run again: the failed steps alone are done.
    for number, step in ((1, 9), (2, 10), (3, 100)):
        save_checkpoint(folder, step, seed=number)
    assert crawl.crawl(sweep, advance=silent)["done"] == 4


def test_a_checkpoint_that_is_still_being_written_is_left_for_later(content, tmp_path):
    path = tmp_path / "checkpoints" / "epoch=0-step=100.ckpt"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    sweep = sweep_of(content)
    assert crawl.crawl(sweep, advance=silent) == {"done": 3, "failed": 0, "new": 3}
    path.write_bytes(whole)
    assert crawl.crawl(sweep, advance=silent) == {"done": 4, "failed": 0, "new": 1}


@pytest.mark.guards(7)
def test_a_run_without_step_0_gets_an_untrained_network_there_and_it_is_marked(content, tmp_path):
    (tmp_path / "checkpoints" / "epoch=0-step=0.ckpt").unlink()
    sweep = sweep_of(content, seed=3)
    assert crawl.crawl(sweep, advance=silent) == {"done": 4, "failed": 0, "new": 3}
    tree = store.open(sweep.store)
    assert tree["activations"]["step"].to_numpy().tolist() == [0, 9, 10, 100]
    assert "not of this run" in tree["checkpoints"]["uri"].sel(step=0).item()
    stimuli = sounds.load("synthetic", per_kind=1, seconds=0.4)
    model = encodecmae.build(None, **SIZES, seed=3)
    wave = torch.tensor(stimuli.waveforms(model.sample_rate)[2])[None]
    with torch.inference_mode():
        expected = model(wave)["layer1"][0].mean(0).numpy()
    found = tree["activations/layer1/activation"].isel(step=0, stimulus=2).to_numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    before = tree["activations/layer1/activation"].to_numpy()
    assert crawl.crawl(sweep, advance=silent)["new"] == 0
    np.testing.assert_array_equal(store.open(sweep.store)["activations/layer1/activation"], before)
    # The run's own step 0 takes the place of the control.
    save_checkpoint(tmp_path / "checkpoints", 0, seed=0)
    assert crawl.crawl(sweep, advance=silent) == {"done": 4, "failed": 0, "new": 1}
    after = store.open(sweep.store)
    assert "untrained" not in after["checkpoints"]["uri"].sel(step=0).item()
    assert abs(after["activations/layer1/activation"].to_numpy()[0] - before[0]).max() > 0.01


def test_several_untrained_networks_stand_beside_the_curve_with_their_spread(content, tmp_path):
    (tmp_path / "checkpoints" / "epoch=0-step=0.ckpt").unlink()
    sweep = sweep_of(content, seed=3, untrained=3)
    crawl.crawl(sweep, advance=silent)
    tree = store.open(sweep.store)
    assert tree["activations"]["step"].to_numpy().tolist() == [0, 9, 10, 100]
    controls = tree["controls/activations/layer1"].to_dataset()["activation"]
    assert controls.dims == ("control", "stimulus", "feature")
    assert controls["control"].to_numpy().tolist() == [0, 1, 2]
    step_0 = tree["activations/layer1/activation"].sel(step=0)
    np.testing.assert_array_equal(controls.sel(control=0), step_0)
    stimuli = sounds.load("synthetic", per_kind=1, seconds=0.4)
    model = encodecmae.build(None, **SIZES, seed=5)
    wave = torch.tensor(stimuli.waveforms(model.sample_rate)[2])[None]
    with torch.inference_mode():
        expected = model(wave)["layer1"][0].mean(0).numpy()
    # float32 through two layers
    np.testing.assert_allclose(controls.sel(control=2).isel(stimulus=2), expected, atol=1e-5)
    assert "seed 5" in tree["controls/checkpoints"]["uri"].sel(control=2).item()
    before = {p: p.stat().st_mtime_ns for p in sweep.store.rglob("c/*")}
    assert crawl.crawl(sweep, advance=silent)["new"] == 0
    assert before == {p: p.stat().st_mtime_ns for p in sweep.store.rglob("c/*")}

    # The run's own step 0 takes its place on the curve; the controls stay.
    save_checkpoint(tmp_path / "checkpoints", 0, seed=0)
    crawl.crawl(sweep, advance=silent)
    after = store.open(sweep.store)
    assert "not of this run" not in after["checkpoints"]["uri"].sel(step=0).item()
    assert abs(after["activations/layer1/activation"].sel(step=0) - step_0).max() > 0.01
    np.testing.assert_array_equal(after["controls/activations/layer1/activation"], controls)


@pytest.mark.guards(7)
def test_where_the_runs_own_step_0_fails_untrained_networks_stand_beside_the_curve(
    content, tmp_path, caplog
):
    path = tmp_path / "checkpoints" / "epoch=0-step=0.ckpt"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    os.utime(path, (0, 0))
    sweep = sweep_of(content, seed=3)
    crawl.crawl(sweep, advance=silent)
    assert "step 0 failed: untrained networks stand in for it" in caplog.text
    tree = store.open(sweep.store)
    assert list(store.failures(sweep.store)) == [0]  # the row says what it was
    controls = tree["controls/activations/layer1/activation"]
    model = encodecmae.build(None, **SIZES, seed=3)
    stimuli = sounds.load("synthetic", per_kind=1, seconds=0.4)
    wave = torch.tensor(stimuli.waveforms(model.sample_rate)[2])[None]
    with torch.inference_mode():
        expected = model(wave)["layer1"][0].mean(0).numpy()
    np.testing.assert_allclose(controls.isel(control=0, stimulus=2), expected, atol=1e-5)
    before = {p: p.stat().st_mtime_ns for p in sweep.store.rglob("c/*")}
    assert crawl.crawl(sweep, advance=silent)["new"] == 0
    assert before == {p: p.stat().st_mtime_ns for p in sweep.store.rglob("c/*")}
    # Without any wish for them there are none.
    other = sweep_of(content, store=str(tmp_path / "without.zarr"), untrained=0)
    crawl.crawl(other, advance=silent)
    assert "controls" not in store.open(other.store).children


def test_a_run_with_its_own_step_0_or_a_sweep_without_controls_gets_none(content, tmp_path):
    crawl.crawl(sweep_of(content, untrained=3), advance=silent)
    assert "controls" not in store.open(content["store"])
    (tmp_path / "checkpoints" / "epoch=0-step=0.ckpt").unlink()
    sweep = sweep_of(content, store=str(tmp_path / "none.zarr"), untrained=False)
    assert crawl.crawl(sweep, advance=silent)["done"] == 3


def test_a_kill_while_the_store_is_being_made_is_mended(content, monkeypatch):
    def die(*_, **__):
        raise KeyboardInterrupt

    from dynamics.store import making

    sweep = sweep_of(content)
    monkeypatch.setattr(making, "package_version", die)
    with pytest.raises(KeyboardInterrupt):
        crawl.crawl(sweep, advance=silent)
    assert (sweep.store / "zarr.json").exists()
    monkeypatch.undo()
    assert crawl.crawl(sweep, advance=silent)["done"] == 4


def test_a_full_disk_under_the_store_stops_the_crawl_and_blames_no_checkpoint(content, monkeypatch):
    sweep = sweep_of(content)
    write = store.write_activations

    def full(root, step, layers, **names):
        if step == 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(root, step, layers, **names)

    monkeypatch.setattr(store, "write_activations", full)
    with pytest.raises(OSError, match="no space left"):
        crawl.crawl(sweep, advance=silent)
    assert store.open(sweep.store)["activations"]["step"].to_numpy().tolist() == [0, 9]
    assert store.failures(sweep.store) == {}
    monkeypatch.undo()
    assert crawl.crawl(sweep, advance=silent) == {"done": 4, "failed": 0, "new": 2}


@pytest.mark.slow
def test_a_store_on_a_real_disk_that_fills_up_goes_on_once_there_is_room(content, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs the rights of an administrator")
    try:
        sweep = sweep_of(content, store=str(disk / "s.zarr"))
        with pytest.raises(OSError, match=r"[Nn]o space left"):
            for step in range(200, 300):  # until it is full
                save_checkpoint(tmp_path / "checkpoints", step, seed=step)
                if step % 20 == 0:
                    crawl.crawl(sweep, advance=silent)
        before = store.open(sweep.store)["activations"]["step"].to_numpy().tolist()
        grow = ["mount", "-o", "remount,size=64m", str(disk)]
        subprocess.run(grow, check=True)
        assert crawl.crawl(sweep, advance=silent)["failed"] == 0
        after = store.open(sweep.store)["activations"]["step"].to_numpy().tolist()
        assert set(before) < set(after)
        assert store.verify(sweep.store) == {}
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_checkpoints_with_strange_names_are_crawled(content, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    for number, step in enumerate((0, 9)):
        save_checkpoint(folder, step, seed=number)
    (folder / "epoch=0-step=9.ckpt").rename(folder / 'it\'s "a"\nrun, step=9 [x] é.ckpt')
    sweep = sweep_of(content, checkpoints=str(folder))
    assert crawl.crawl(sweep, advance=silent) == {"done": 2, "failed": 0, "new": 2}
    uri = store.open(sweep.store)["checkpoints"]["uri"].sel(step=9).item()
    assert uri.endswith('it\'s "a"\nrun, step=9 [x] é.ckpt')
    assert crawl.crawl(sweep, advance=silent)["new"] == 0


@pytest.mark.slow
def test_a_further_checkpoint_costs_the_same_reads_and_writes_whatever_came_before(
    content, tmp_path, monkeypatch
):
    counts = {"get": 0, "set": 0}

    def counted(name):
        original = getattr(LocalStore, name)

        async def call(self, *arguments, **options):
            counts[name] += 1
            return await original(self, *arguments, **options)

        return call

    for name in counts:
        monkeypatch.setattr(LocalStore, name, counted(name))
    totals = []
    for steps in (range(1000, 1003), range(2000, 2006), range(3000, 3012)):
        folder = tmp_path / str(steps.start)
        folder.mkdir()
        for step in steps:
            save_checkpoint(folder, step, seed=step)
        counts.update(get=0, set=0)
        place = str(tmp_path / f"{steps.start}.zarr")
        crawl.crawl(
            sweep_of(content, checkpoints=str(folder), store=place, untrained=0), advance=silent
        )
        totals.append((counts["get"], counts["set"]))
    (few, more, many) = np.array(totals)
    np.testing.assert_array_equal((more - few) / 3, (many - more) / 6)
    # per checkpoint: two layers and five columns of the table
    assert ((many - more) / 6)[1] == 7


def test_watching_waits_for_the_first_checkpoint_and_adds_what_appears(content, tmp_path):
    folder = tmp_path / "later"
    folder.mkdir()
    looks = crawl.watch(sweep_of(content, checkpoints=str(folder)), every=0.01)
    save_checkpoint(folder, 0, seed=0)
    assert next(looks)["done"] == 1
    save_checkpoint(folder, 10, seed=1)
    seen = [next(looks) for _ in range(3)]
    assert sum(counts["new"] for counts in seen) == 1
    assert seen[-1] == {"done": 2, "failed": 0, "new": 0}
    looks.close()


def test_a_selection_is_crawled_and_a_wider_one_later_adds_to_it(content):
    assert crawl.crawl(sweep_of(content, select=[0, 100]), advance=silent)["new"] == 2
    assert crawl.crawl(sweep_of(content), advance=silent)["new"] == 2


def test_another_pooling_or_stimulus_set_is_refused(content):
    crawl.crawl(sweep_of(content), advance=silent)
    with pytest.raises(ValueError, match="pooling = 'mean', this sweep has 'last'"):
        crawl.crawl(sweep_of(content, pooling="last"), advance=silent)
    other = {"name": "synthetic", "arguments": {"per_kind": 1, "seconds": 0.5}}
    with pytest.raises(ValueError, match="stimuli_sha256"):
        crawl.crawl(sweep_of(content, stimuli=other), advance=silent)


def _crawl_in_child(content, started):
    torch.set_num_threads(1)
    started.set()
    crawl.crawl(sweep_of(content), advance=silent)


@pytest.mark.slow
def test_killed_at_forty_random_moments_and_resumed_the_store_is_the_same(content, tmp_path):
    (tmp_path / "checkpoints" / "epoch=0-step=0.ckpt").unlink()
    content["untrained"] = 3  # so that the kills fall on controls as well
    for number in range(60):
        save_checkpoint(tmp_path / "checkpoints", 1000 + number, seed=100 + number)
    reference = sweep_of(content, store=str(tmp_path / "reference.zarr"))
    start = time.perf_counter()
    crawl.crawl(reference, advance=silent)
    whole = min(1.0, time.perf_counter() - start)  # a busy machine must not make this last
    # A server that has imported everything already starts a child in milliseconds.
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["dynamics.extraction.crawl", "dynamics.models.encodecmae"])
    rng = np.random.default_rng(0)
    kills, seen = 0, []
    sweep = sweep_of(content)
    while kills < 40:
        started = server.Event()
        child = server.Process(target=_crawl_in_child, args=(content, started))
        child.start()
        assert started.wait(60)
        time.sleep(rng.uniform(0, 1.5 * whole))
        if child.is_alive():
            child.kill()
            kills += 1
        child.join()
        try:
            done = list(store.statuses(store.open_group(sweep.store)).values()).count("done")
        except FileNotFoundError as error:  # killed before or while the store was made
            assert "`dynamics crawl` makes one" in str(error)
            done = 0
        seen.append(done)
        if done == 64 and kills < 40:
            shutil.rmtree(sweep.store)  # it got through: start over, to be killed again
    crawl.crawl(sweep, advance=silent)
    assert len(set(seen)) > 5, f"the kills fell at too few places: {seen}"
    assert arrays(sweep.store).keys() == arrays(reference.store).keys()
    for group in ("", "controls/"):
        expected = arrays(reference.store, group)
        assert expected and all(len(values) in (3, 64) for values in expected.values())
        for layer, values in expected.items():
            np.testing.assert_array_equal(arrays(sweep.store, group)[layer], values)


@pytest.mark.slow
@pytest.mark.guards(10)
@pytest.mark.slow
def test_workers_of_a_cluster_give_the_same_store(content, tmp_path, monkeypatch):
    broken = tmp_path / "checkpoints" / "epoch=0-step=50.ckpt"
    broken.write_bytes(b"cut off")
    os.utime(broken, (0, 0))  # long ago: nobody is still writing it
    halve_precision(tmp_path / "checkpoints" / "epoch=0-step=9.ckpt")
    alone = sweep_of(content, store=str(tmp_path / "alone.zarr"), untrained=2)
    crawl.crawl(alone, advance=silent)
    shared = sweep_of(content, untrained=2)
    taken, adopt = [], store.adopt
    monkeypatch.setattr(store, "adopt", lambda *a, **more: taken.append(a[1]) or adopt(*a, **more))
    with cluster(None, workers=2) as client:
        counts = crawl.crawl(shared, scheduler=client.scheduler.address, advance=silent)
    assert counts == {"done": 4, "failed": 1, "new": 5}
    assert len(taken) == 4, "the workers wrote"
    expected = arrays(alone.store)
    for layer, values in arrays(shared.store).items():
        np.testing.assert_array_equal(values, expected[layer])  # one thread each: to the last bit
    records = [store.records(store.open_group(s.store)) for s in (alone, shared)]
    for column in ("uri", "sha256", "status", "error", "note"):
        assert len({str({k: r[column] for k, r in each.items()}) for each in records}) == 1


def test_a_device_that_is_not_there_is_one_sentence(content):
    sweep = sweep_of(content, device="cuda:7")
    with pytest.raises(ValueError, match="device 'cuda:7' is not on this machine"):
        crawl.crawl(sweep, advance=silent)
    assert not sweep.store.exists()


def test_a_damaged_control_is_found_and_done_again(content):
    checkpoint = next(
        path for path in Path(content["checkpoints"]).iterdir() if "=0.ckpt" in str(path)
    )
    checkpoint.unlink()  # a run without a step 0
    sweep = sweep_of(content, untrained=2)
    crawl.crawl(sweep, advance=silent)
    assert store.verify_controls(sweep.store) == {}
    before = store.read_activations(sweep.place / "controls", 1)
    group = store.open_group(sweep.store, mode="r+")
    group["controls/activations/layer1/activation"][1, 0, 0] = 7.0
    assert store.verify_controls(sweep.store) == {1: "holds other values than were committed"}
    with pytest.raises(ValueError, match="no untrained network 9: it has 0, 1"):
        store.redo(sweep.store, [], untrained=[9])
    store.redo(sweep.store, [], untrained=[1])
    crawl.crawl(sweep, advance=silent)
    assert store.verify_controls(sweep.store) == {}
    again = store.read_activations(sweep.place / "controls", 1)
    assert all(np.array_equal(again[layer], before[layer]) for layer in before)


def overwritten(path):
    torch.save({"state_dict": {}, "global_step": 9000}, path)
    os.utime(path, (1000, 1000))  # long ago: nobody is still writing it


def halved(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    os.utime(path, (0, 0))


def of_another_width(path):
    save_checkpoint(path.parent, 100, seed=7, width=32, feed_forward=48)


@pytest.mark.parametrize("spoil", [Path.unlink, overwritten, halved, of_another_width])
def test_the_untrained_network_is_made_from_another_checkpoint_where_the_newest_fails(
    content, tmp_path, spoil
):
    """What is spoilt after the list was made; the last one after a store was begun."""
    folder = tmp_path / "checkpoints"
    (folder / "epoch=0-step=0.ckpt").unlink()
    sweep = sweep_of(content, untrained=2)
    reference = sweep_of(content, untrained=2, store=str(tmp_path / "reference.zarr"))
    crawl.crawl(reference, advance=silent)
    if spoil is of_another_width:
        crawl.crawl(sweep_of(content, select=[9, 10], untrained=0), advance=silent)
    found = crawl.discover(sweep)
    spoil(folder / "epoch=0-step=100.ckpt")
    if spoil is of_another_width:
        found = None
    counts = crawl.crawl(sweep, advance=silent, found=found)
    assert counts["done"] == 3
    for group in ("", "controls/"):
        expected = arrays(reference.store, group)
        for layer, values in arrays(sweep.store, group).items():
            np.testing.assert_array_equal(values[:2], expected[layer][:2])
    kept = store.records(store.open_group(sweep.store), "error")
    assert kept[0] == {"status": "done", "step": 0, "error": ""}


def test_where_no_checkpoint_is_left_for_an_untrained_network_its_row_waits(content, tmp_path):
    folder = tmp_path / "checkpoints"
    for step in (0, 9, 10):
        (folder / f"epoch=0-step={step}.ckpt").unlink()
    sweep = sweep_of(content)
    found = crawl.discover(sweep)
    overwritten(folder / "epoch=0-step=100.ckpt")
    assert crawl.crawl(sweep, advance=silent, found=found)["done"] == 0
    row = store.records(store.open_group(sweep.store), "error")[0]
    assert row["status"] == "pending" and "was written again" in row["error"]
    save_checkpoint(folder, 100, seed=1)
    assert crawl.crawl(sweep, advance=silent)["done"] == 2


IN_HALVES = "weights of float16 computed in float32"


def halve_precision(path, prefix=""):
    content = torch.load(path)
    state = {f"{prefix}{name}": value.half() for name, value in content["state_dict"].items()}
    torch.save(content | {"state_dict": state}, path)


def test_what_was_resolved_stands_in_the_row_of_a_step_and_in_the_status(content, tmp_path):
    folder = tmp_path / "checkpoints"
    halve_precision(folder / "epoch=0-step=9.ckpt")
    halve_precision(folder / "epoch=0-step=10.ckpt", prefix="net.")
    sweep = sweep_of(content)
    assert crawl.crawl(sweep, advance=silent)["done"] == 4
    notes = store.open(sweep.store)["checkpoints"]["note"]
    assert notes.to_numpy().tolist() == ["", IN_HALVES, f"names without net.; {IN_HALVES}", ""]
    assert store.notes(sweep.store) == {IN_HALVES: [9, 10], "names without net.": [10]}
    said = CliRunner().invoke(app, ["status", str(sweep.store)]).output
    assert f"note: {IN_HALVES} (2 of 4 steps)" in said
    # A step that fails when it is done again keeps no note.
    save_checkpoint(folder, 9, seed=1, width=32, feed_forward=48)
    store.redo(sweep.store, [9])
    assert crawl.crawl(sweep, advance=silent)["failed"] == 1
    assert store.records(store.open_group(sweep.store), "note")[9]["note"] == ""


def test_a_store_of_before_there_were_notes_is_gone_on_with(content, tmp_path):
    sweep = sweep_of(content)
    crawl.crawl(sweep, advance=silent)
    shutil.rmtree(sweep.store / "checkpoints" / "note")
    assert store.notes(sweep.store) == {}
    assert "failed" in CliRunner().invoke(app, ["status", str(sweep.store)]).output
    halve_precision(tmp_path / "checkpoints" / "epoch=0-step=100.ckpt")
    save_checkpoint(tmp_path / "checkpoints", 200, seed=5)
    halve_precision(tmp_path / "checkpoints" / "epoch=0-step=200.ckpt")
    store.redo(sweep.store, [100])
    assert crawl.crawl(sweep, advance=silent)["done"] == 5
    assert store.notes(sweep.store) == {IN_HALVES: [100, 200]}


def test_a_name_of_letters_that_are_none_fails_its_step_alone(content, tmp_path, caplog):
    path = tmp_path / "checkpoints" / "epoch=0-step=10.ckpt"
    inside = torch.load(path)
    inside["state_dict"]["visible_encoder.\ud800"] = torch.zeros(1)
    torch.save(inside, path)
    sweep = sweep_of(content)
    assert crawl.crawl(sweep, advance=silent) == {"done": 3, "failed": 1, "new": 4}
    assert "visible_encoder.\\ud800" in store.failures(sweep.store)[10]
    assert caplog.text.encode()  # with a letter that is none, no log would take it
