"""Long sounds in a crawl: through windows into a store, block by block, whatever stops it."""

import shutil

import numpy as np
import pytest
import soundfile
import torch
from test_crawl import arrays
from tiny_run import SIZES, save_checkpoint, sweep_in, sweep_of
from zarr.storage import LocalStore

from dynamics import models, sounds, store
from dynamics.analysis.baselines import baseline_features
from dynamics.cluster import cluster
from dynamics.extraction import crawl, extract, hearing, poolings, room
from dynamics.extraction.crawl import identify
from dynamics.models import encodecmae, spectrotemporal
from dynamics.progress import silent
from dynamics.report import protocol
from dynamics.store import blocks

WINDOWS = {"context": 1.0, "stride": 1.0, "lookahead": 0.5}
TIMED = {"name": "time", "arguments": {"rate": 20}}
SECONDS = {"long": 7.3, "short": 1.5, "middle": 4.0}


@pytest.fixture
def content(tmp_path, monkeypatch):
    """A sweep of three checkpoints over three sounds, two of which are longer than a window."""
    monkeypatch.setattr(blocks, "_CHUNK", 16 * 32)  # 32 samples of 16 features
    folder = tmp_path / "sounds"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, seconds in SECONDS.items():
        wave = 0.1 * rng.standard_normal(int(seconds * 8000))
        soundfile.write(folder / f"{name}.wav", wave, 8000)
    return sweep_in(
        tmp_path, (0, 9, 10), stimuli=str(folder), targets=[], pooling=TIMED, windows=WINDOWS
    )


def alone(sweep, seed):
    """What a network with the weights of a seed gives, with nothing of the crawler between."""
    stimuli = sounds.load(sweep.stimuli.name)
    model, pooling = encodecmae.build(None, **SIZES, seed=seed), poolings.make("time", rate=20)
    found = hearing.blocks(model, stimuli, models.Windows(**WINDOWS), pooling)
    return hearing.gathered(found, stimuli, pooling)


def test_a_store_of_long_sounds_holds_what_the_windows_give_and_nothing_past_an_end(
    content, caplog
):
    sweep = sweep_of(content)
    assert crawl.crawl(sweep, advance=silent) == {"done": 3, "failed": 0, "new": 3}
    tree = store.open(sweep.store)
    assert tree.attrs["identity"]  # a text, as netCDF takes it
    said = "the networks of `encodecmae` know where in their input a frame is: through windows"
    assert caplog.text.count(said) == 1 and tree.attrs["positions"].startswith(said)
    assert said[1:] in protocol.paragraphs(tree, [])[0][0]
    names = tree["activations"]["stimulus"].to_numpy().tolist()
    assert names == sorted(SECONDS)
    np.testing.assert_allclose(tree["activations"]["duration"], [SECONDS[n] for n in names])
    assert tree["activations"]["duration"].attrs["units"] == "s"
    np.testing.assert_allclose(store.read_times(sweep.store), (np.arange(146) + 0.5) / 20)
    for step, seed in ((0, 0), (10, 2)):
        expected = alone(sweep, seed)
        for layer, values in store.read_activations(sweep.store, step).items():
            np.testing.assert_array_equal(values, expected[layer])
    array = store.open_group(sweep.store)["activations/layer1/activation"]
    assert array.chunks == (1, 1, 32, 16)
    row = sweep.store / "activations/layer1/activation/c/0"
    files = sorted(path.relative_to(row).as_posix() for path in row.rglob("0"))
    chunks = {0: 146 // 32 + 1, 1: 80 // 32 + 1, 2: 1}  # long, middle, short
    expected = [f"{row}/{n}/0" for row, count in chunks.items() for n in range(count)]
    assert [name for name in files if name.count("/") == 2] == expected
    assert store.verify(sweep.store) == {}
    assert store.summarise(sweep.store).files_per_step == 2 * len(expected)
    assert crawl.crawl(sweep, advance=silent)["new"] == 0


def test_where_all_sounds_fit_a_store_is_that_of_before_there_were_windows(content, caplog):
    none = sweep_of(content, windows="none")
    stimuli = sounds.load(none.stimuli.name)
    for given in ("auto", {"context": 10}, {"context": 4, "stride": 3, "lookahead": 0.4}):
        sweep = hearing.resolved(sweep_of(content, windows=given), stimuli)
        assert sweep.windows == "none"
        assert identify(sweep, stimuli) == identify(none, stimuli)
    assert caplog.text.count("the longest sound has 7.3 s, and ") == 2  # not of `auto`
    assert caplog.text.count("every sound is heard at once") == 2
    assert "windows" not in identify(none, stimuli) and hearing.positions(none) == ""
    sweep = hearing.resolved(sweep_of(content), stimuli)
    assert identify(sweep, stimuli)["windows"] == WINDOWS
    crawl.crawl(none, advance=silent)
    assert crawl.crawl(sweep_of(content, windows="auto"), advance=silent)["new"] == 0
    with pytest.raises(ValueError, match="was made with windows = None, this sweep has"):
        crawl.crawl(sweep_of(content), advance=silent)


@pytest.mark.slow
def test_a_store_that_was_begun_without_windows_is_gone_on_with(content, tmp_path, monkeypatch):
    monkeypatch.setattr(encodecmae, "HEARING", models.Hearing(models.Windows(1.0, 1.0, 0.5)))
    crawl.crawl(sweep_of(content, windows="none"), advance=silent)
    save_checkpoint(tmp_path / "checkpoints", 50, seed=5)
    sweep = sweep_of(content, windows="auto")
    monkeypatch.setattr(hearing, "_SHORT", 0.0)
    assert crawl.crawl(sweep, advance=silent)["new"] == 1
    shutil.rmtree(sweep.store)
    crawl.crawl(sweep, advance=silent)
    assert store.open_group(sweep.store).attrs["identity"]["windows"] == WINDOWS


@pytest.mark.parametrize("pooling", ["mean", "mean+deviation", "last"])
def test_poolings_without_time_are_gathered_over_windows(content, pooling):
    sweep = sweep_of(content, pooling=pooling)
    crawl.crawl(sweep, advance=silent)
    stimuli = sounds.load(sweep.stimuli.name)
    model, pool = encodecmae.build(None, **SIZES, seed=0), poolings.make(pooling)
    whole = extract.extract(model, extract.batches(model, stimuli), pooling=pool)
    found = store.read_activations(sweep.store, 0)
    for layer, values in found.items():
        assert values.shape == whole[layer].shape
        # Other seconds under attention and other positions: alike; of the short sound the same.
        np.testing.assert_array_equal(values[2], alone_short(model, stimuli, pool)[layer][0])
        assert np.corrcoef(values.ravel(), whole[layer].ravel())[0, 1] > (
            0.6 if pooling == "last" else 0.9
        )


def alone_short(model, stimuli, pool):
    return extract.extract(model, extract.batches(model, stimuli.subset([2])), pooling=pool)


def test_weights_that_break_in_the_middle_fail_the_step_and_leave_nothing_of_it(content, tmp_path):
    path = tmp_path / "checkpoints" / "epoch=0-step=0.ckpt"
    whole = path.read_bytes()
    broken = torch.load(path, weights_only=True)

    sweep = sweep_of(content, batch_size=2)
    original, calls = encodecmae.EnCodecMAE.forward_prepared, []

    def forward(self, mel, tokens):
        out = original(self, mel, tokens)
        calls.append(1)
        if self.marked and len(calls) > 3:
            out["layer1"][:] = np.nan
        return out

    marked = broken["state_dict"]["visible_encoder.encoder_layers.0.norm1.weight"]
    value = float(marked[0]) + 0.5
    marked[0] = value
    torch.save(broken, path)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            encodecmae.EnCodecMAE,
            "marked",
            property(
                lambda self: (
                    abs(self.visible_encoder.encoder_layers[0].norm1.weight[0] - value) < 1e-6
                )
            ),
            raising=False,
        )
        patched.setattr(encodecmae.EnCodecMAE, "forward_prepared", forward)
        assert crawl.crawl(sweep, advance=silent) == {"done": 2, "failed": 1, "new": 3}
    assert len(calls) > 4
    assert "activations of layer layer1 are not finite" in store.failures(sweep.store)[0]
    assert store.open(sweep.store)["activations"]["step"].to_numpy().tolist() == [9, 10]
    assert not list((sweep.store / "activations").rglob("activation/c/0/*/*/*"))
    path.write_bytes(whole)
    assert crawl.crawl(sweep, advance=silent)["done"] == 3
    for layer, values in store.read_activations(sweep.store, 0).items():
        np.testing.assert_allclose(values, alone(sweep, 0)[layer], atol=1e-5)


def test_what_a_network_of_another_architecture_left_is_taken_away(content, tmp_path):
    save_checkpoint(tmp_path / "checkpoints", 10, seed=2, width=32, feed_forward=48)
    assert crawl.crawl(sweep_of(content), advance=silent) == {"done": 2, "failed": 1, "new": 3}
    sweep = sweep_of(content, store=str(tmp_path / "other.zarr"))
    root = store.begin(sweep.store, run="tiny", identity={})
    store.plan(root, [(0, "a", 1), (1, "b", 1)])
    part = {"stimuli": ["a"], "categories": ["x"], "times": np.arange(3) / 10}
    one = [hearing.Block(0, 0, {"first": np.ones((2, 4), "float32")})]
    store.write_blocks(root, 0, one, **part)
    other = [hearing.Block(0, 0, {"first": np.ones((2, 5), "float32")})]
    store.write_blocks(root, 1, other, **part)  # nothing was committed of what is there
    store.commit(root, 1)
    with pytest.raises(store.MisfitError, match=r"has shape .1, 3, 4., the store has .1, 3, 5."):
        store.write_blocks(root, 0, one, **part)
    with pytest.raises(ValueError, match="come out of order"):
        store.write_blocks(root, 0, [other[0]._replace(first=1)], **part)


def undated(path):
    tree = store.open(path).load()
    for node in tree.subtree:
        node.attrs.pop("created", None)
    tree["checkpoints"] = tree["checkpoints"].to_dataset().drop_vars("seconds")
    return tree


@pytest.mark.slow
@pytest.mark.guards(1)
def test_stopped_at_any_write_the_store_of_long_sounds_is_resumed_the_same(content, tmp_path):
    content["windows"] = {"context": 1.0, "stride": 2.0, "lookahead": 0.0}
    (tmp_path / "checkpoints" / "epoch=0-step=0.ckpt").unlink()
    (tmp_path / "checkpoints" / "epoch=0-step=9.ckpt").unlink()
    sweep = sweep_of(content, untrained=1)
    original, copies = LocalStore.set, []

    async def copy_and_set(self, key, value):
        if "/activation/" in f"/{key}" or len(copies) % 3 == 0:
            copies.append(tmp_path / "copies" / str(len(copies)) / "tiny.zarr")
            shutil.copytree(self.root, copies[-1])
        else:
            copies.append(None)
        await original(self, key, value)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(LocalStore, "set", copy_and_set)
        crawl.crawl(sweep, advance=silent)
    reference = undated(sweep.store)
    some = [path for path in copies if path][:: max(1, len(copies) // 25)]
    assert len(some) > 10
    for path in some:
        crawl.crawl(sweep_of(content, store=str(path), untrained=1), advance=silent)
        assert undated(path).identical(reference)
        assert store.verify(path) == {}


@pytest.mark.slow
def test_other_versions_and_changed_files_are_compared_block_by_block(content, tmp_path):
    sweep = sweep_of(content)
    crawl.crawl(sweep, advance=silent)
    save_checkpoint(tmp_path / "checkpoints", 10, seed=2)  # the same network, written again
    assert crawl.crawl(sweep, advance=silent)["new"] == 0
    root = store.open_group(sweep.store, mode="r+")
    root.attrs["versions"] = {"torch": "0.1"}
    save_checkpoint(tmp_path / "checkpoints", 50, seed=5)
    assert crawl.crawl(sweep, advance=silent)["new"] == 1
    array = root["activations/layer0/activation"]
    array[0, 0, 100:104] = array[0, 0, 100:104] + 0.1
    root.attrs["versions"] = {"torch": "0.1"}
    save_checkpoint(tmp_path / "checkpoints", 60, seed=6)
    with pytest.raises(ValueError, match=r"step 0, extracted again .* differs in layer layer0"):
        crawl.crawl(sweep, advance=silent)
    assert "other values" in store.verify(sweep.store)[0]
    store.redo(sweep.store, [0])
    root.attrs["versions"] = {}
    crawl.crawl(sweep, advance=silent)
    assert store.verify(sweep.store) == {}


def test_verification_sees_what_is_missing_within_a_long_sound(content):
    sweep = sweep_of(content)
    crawl.crawl(sweep, advance=silent)
    root = store.open_group(sweep.store, mode="r+")
    array, row = root["activations/layer1/activation"], store.steps(root)[9]
    array[row, 0, 32:64] = np.nan  # a chunk that was lost
    store.commit(root, 9)
    assert store.verify(sweep.store) == {9: "has values of layer layer1 that are not finite"}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_rounded_blocks_are_those_of_the_whole_rounded(content, dtype):
    sweep = sweep_of(content, dtype=dtype)
    crawl.crawl(sweep, advance=silent)
    expected = alone(sweep, 0)
    rounded = store.precision.round_layers(expected, dtype)
    for layer, values in store.read_activations(sweep.store, 0).items():
        np.testing.assert_array_equal(values, rounded[layer])
    attrs = store.open_group(sweep.store)["activations/layer1/activation"].attrs
    of_steps = []
    for layers in (alone(sweep, seed) for seed in range(3)):
        kept = store.precision.round_layers(layers, dtype)
        of_steps.append(store.precision.rounding_errors(layers["layer1"], kept["layer1"]))
    assert attrs["largest_relative_error"] == max(largest for largest, _ in of_steps)
    np.testing.assert_allclose(attrs["rms_relative_error"], max(r for _, r in of_steps), rtol=1e-12)


def test_untrained_networks_hear_long_sounds_as_the_others(content, tmp_path):
    (tmp_path / "checkpoints" / "epoch=0-step=0.ckpt").unlink()
    sweep = sweep_of(content, untrained=2)
    crawl.crawl(sweep, advance=silent)
    found = store.read_activations(sweep.store, 0)
    again = store.read_activations(store.place_of(sweep.store) / "controls", 0)
    other = store.read_activations(store.place_of(sweep.store) / "controls", 1)
    for layer, expected in alone(sweep, 0).items():
        np.testing.assert_array_equal(found[layer], expected)
        np.testing.assert_array_equal(again[layer], expected)
        np.testing.assert_array_equal(other[layer], alone(sweep, 1)[layer])


@pytest.mark.slow
@pytest.mark.guards(10)
def test_workers_of_a_cluster_give_the_same_store_of_long_sounds(content, tmp_path):
    one = sweep_of(content, store=str(tmp_path / "alone.zarr"))
    crawl.crawl(one, advance=silent)
    shared = sweep_of(content)
    with cluster(None, workers=2) as client:
        crawl.crawl(shared, scheduler=client.scheduler.address, advance=silent)
    expected = arrays(one.store)
    for layer, values in arrays(shared.store).items():
        np.testing.assert_array_equal(values, expected[layer])


@pytest.mark.parametrize(
    "windows, sentence",
    [
        ({"stride": 0}, "`windows`: `stride` is 0: give seconds, at least 0.001"),
        ({"strides": 1}, "`windows`: windows have no `strides`; did you mean `stride`?"),
        ({"context": "long"}, "`windows`: `context` is 'long': give seconds"),
        ("always", "`windows`: expected `auto`, `none` or {context"),
    ],
)
def test_windows_that_are_none_are_one_sentence_with_their_line(content, windows, sentence):
    with pytest.raises(ValueError, match="test: ") as raised:
        sweep_of(content, windows=windows)
    assert sentence in str(raised.value)


def test_windows_that_cannot_be_are_said_before_anything_is_written(content):
    for pooling, windows, sentence in (
        (
            {"name": "time", "arguments": {"rate": 0.2}},
            WINDOWS,
            "shorter than a sample of the pool",
        ),
    ):
        sweep = sweep_of(content, pooling=pooling, windows=windows)
        with pytest.raises(ValueError, match=sentence):
            crawl.crawl(sweep, advance=silent)
        assert not sweep.store.exists()


def test_a_sound_that_no_network_takes_is_blamed_also_through_windows(content, monkeypatch):
    original = encodecmae.EnCodecMAE.forward_prepared

    def forward(self, mel, tokens):
        if len(mel) == 1 and int(tokens[0]) % 7 == 3:
            raise RuntimeError("not this one")
        return original(self, mel, tokens)

    monkeypatch.setattr(encodecmae.EnCodecMAE, "forward_prepared", forward)
    sweep = sweep_of(content, batch_size=1)
    with pytest.raises(
        ValueError, match=r"the stimulus '.*' has .* cannot pass through the network"
    ):
        crawl.crawl(sweep, advance=silent)


@pytest.mark.parametrize("windows", ["none", WINDOWS])
def test_what_the_disk_has_no_room_for_is_refused_with_numbers(content, monkeypatch, windows):
    sweep = sweep_of(content, windows=windows)
    monkeypatch.setattr(room, "_LEAST", 1000)
    usage = shutil.disk_usage("/")
    # 146 + 30 + 80 samples of 16 features in 2 layers, 4 bytes each, at 3 steps.
    needed = (146 + 30 + 80) * 2 * 16 * 4 * 3
    for free, fits in ((needed + 1, True), (needed - 1, False)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, f=free: usage._replace(free=f))
        if fits:
            stimuli = sounds.load(sweep.stimuli.name)
            pooling = poolings.make("time", rate=20)
            features = {"layer0": 16, "layer1": 16}
            given = {"steps": 3, "dtype": "float32"}
            assert room.check(sweep.place, features, stimuli, pooling, **given) == needed
            continue
        with pytest.raises(OSError, match=r"no space left for store .* 3 steps as float32 take"):
            crawl.crawl(sweep, advance=silent)
    assert store.DONE not in store.statuses(store.open_group(sweep.store)).values()
    assert not list(sweep.store.rglob("activation"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert crawl.crawl(sweep, advance=silent)["done"] == 3


def test_the_baseline_hears_long_sounds_through_windows(content, monkeypatch):
    stimuli, pooling = sounds.load(content["stimuli"]), poolings.make("time", rate=10)
    whole = extract.features("spectrotemporal", stimuli, pooling=pooling)
    assert hearing.features("spectrotemporal", stimuli, pooling=pooling) is whole
    monkeypatch.setattr(spectrotemporal, "HEARING", models.Hearing(models.Windows(3.0, 1.0, 0.2)))
    found = hearing.features("spectrotemporal", stimuli, pooling=pooling)
    for layer, values in whole.items():
        apart = np.nanmax(np.abs(found[layer] - values)) / np.nanmax(np.abs(values))
        # Three seconds of context are too few for filters of 0.5 Hz, and many for the others.
        assert 0 < apart < (0.03 if layer in ("cochleagram", "spectral") else 0.5), layer
        np.testing.assert_array_equal(found[layer][2], values[2])  # the short one is heard at once
    assert hearing.features("spectrotemporal", stimuli, pooling=pooling) is found
    sweep = sweep_of(content, pooling={"name": "time", "arguments": {"rate": 10}})
    last = list(whole)[-1]
    for windows, expected in (("auto", found), ("none", whole)):
        baseline = baseline_features(sweep.model_copy(update={"windows": windows}), pooling)
        np.testing.assert_array_equal(baseline, expected[last])


def test_windows_of_networks_of_a_fixed_length_are_what_they_take():
    pytest.importorskip("transformers")
    whisper = models.hears("huggingface", {"config": {"model_type": "whisper"}})
    assert whisper.windows == models.Windows(24.0, 5.0, 1.0) and whisper.limit == 30.0
    ast = models.hears("huggingface", {"config": {"model_type": "audio-spectrogram-transformer"}})
    assert ast.windows.length <= ast.limit < ast.windows.length + 0.02
    assert models.hears("huggingface", {}).limit is None
    with pytest.raises(ValueError, match=r"windows of 36 s .* takes 30 s at most: lower `context`"):
        hearing.check(models.Windows(30.0, 5.0, 1.0), whisper, poolings.make("mean"))
