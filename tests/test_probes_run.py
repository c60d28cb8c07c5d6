import contextlib
import logging
import os
import pickle
import shutil

import numpy as np
import pytest
import soundfile
import torch
from inprocess import Here
from tiny_run import SIZES, save_checkpoint, sweep_in, sweep_of

from dynamics import (
    probes,
    sounds,
    store,
    sweep,
)
from dynamics.extraction import crawl
from dynamics.models import encodecmae
from dynamics.probes import run as room
from dynamics.progress import silent
from dynamics.store.attributes import mapping

SMALL = {"train": 2, "valid": 1, "test": 1, "seconds": 0.15}
PITCH = {"name": "pitch-class", "arguments": SMALL | {"mix": False}}


@pytest.fixture
def content(tmp_path):
    return sweep_in(
        tmp_path,
        (0, 10, 100),
        stimuli={"name": "synthetic", "arguments": {"per_kind": 3, "seconds": 0.4}},
        probes=[PITCH, {"name": "stimuli-category", "arguments": {"mix": False}}],
        baseline=None,
        resamples=4,
    )


def values_of(path, task="pitch-class"):
    tree = store.open(path)
    results = tree[f"results/{task}/probe"].to_dataset()
    return {name: results[name].to_numpy() for name in results.data_vars}


@pytest.mark.slow
def test_scores_are_those_of_the_network_and_task_alone(content):
    task = {"name": "pitch-class", "arguments": SMALL}
    made = sweep_of(content, probes=[task], baseline="spectrotemporal")
    crawl.crawl(made, advance=silent)
    assert probes.probe(made, advance=silent) == {"new": 3, "already": 0, "failed": 0}
    results = store.open(made.store)["results/pitch-class/probe"].to_dataset()
    assert results["score"].dims == ("step", "layer")
    assert results["step"].to_numpy().tolist() == [0, 10, 100]
    assert results["class"].to_numpy().tolist()[:2] == ["C", "C#"]
    assert float(results["chance"]) == pytest.approx(1 / 12)
    assert 0 <= float(results["baseline"]) <= 1
    assert results["class_train_count"].to_numpy().tolist() == [3.0] * 12
    again = results["resample_score"]
    assert again.sizes["resample"] == 4 and again.attrs["paired"] == 1
    assert again.attrs["over"] == "sounds (probe refitted)"
    assert mapping(results.attrs["identity"])["resampling"] == "halves"
    assert mapping(results.attrs["identity"])["metric"] == "probe"
    # The network and the task by hand: float32 batching moves no answer of so few sounds far.
    task = probes.load("pitch-class", **SMALL)
    model = encodecmae.build(None, **SIZES, seed=2)
    rows = {layer: [] for layer in model.layers}
    for wave in task.stimuli.waveforms(model.sample_rate):
        with torch.inference_mode():
            for layer, activation in model(torch.tensor(wave)[None]).items():
                rows[layer].append(activation[0].mean(0).numpy())
    layers = {layer: np.stack(own) for layer, own in rows.items()}
    expected = probes.probe_layers(layers, task, resamples=4)
    assert set(expected) < set(results.data_vars)
    found = results.sel(step=100)
    np.testing.assert_allclose(found["score"], expected["score"][1], atol=0.09)
    np.testing.assert_allclose(found["validation_score"], expected["validation_score"][1], atol=0.1)


@pytest.mark.slow
@pytest.mark.guards(10)
def test_workers_of_a_cluster_probe_a_step_each_to_the_same_numbers(
    content, tmp_path, monkeypatch, caplog
):
    made = sweep_of(content, baseline="spectrotemporal")
    crawl.crawl(made, advance=silent)
    (tmp_path / "checkpoints" / "epoch=0-step=10.ckpt").unlink()
    assert probes.probe(made, advance=silent) == {"new": 5, "already": 0, "failed": 1}
    expected = {task: values_of(made.store, task) for task in ("pitch-class", "stimuli-category")}
    for task in expected:
        shutil.rmtree(made.store / "results" / task)
    here = Here()
    monkeypatch.setattr(room, "cluster", lambda *a, **k: contextlib.nullcontext(here))
    caplog.clear()
    done = probes.probe(made, scheduler="tcp://somewhere", advance=silent)
    assert done == {"new": 5, "already": 0, "failed": 1}
    assert "no probe of pitch-class at step 10" in caplog.text and "is gone" in caplog.text
    assert [f.__name__ for f, _ in here.asked] == ["probe_baseline"] * 2 + ["probe_step"] * 3
    assert here.called[0] == "probe baseline of pitch-class"
    assert here.called[-1] == "probe step 100 by pitch-class stimuli-category", here.called
    # A worker needs no more than can be sent to it.
    for function, given in here.asked:
        pickle.dumps((function, given))
    for task, values in expected.items():
        found = values_of(made.store, task)
        assert found.keys() == values.keys()
        for name in values:
            np.testing.assert_array_equal(found[name], values[name])
    # Again only what failed.
    here.asked.clear()
    probes.probe(made, scheduler="tcp://somewhere", advance=silent)
    assert [(f.__name__, given[1]) for f, given in here.asked] == [("probe_step", 10)]


def test_how_many_resamples_is_a_key_of_the_task(content):
    choices = [
        {"name": "pitch-class", "label": str(number), "arguments": SMALL | {"resamples": number}}
        for number in (0, 2)
    ]
    made = sweep_of(content, probes=choices, select=[10])
    crawl.crawl(made, advance=silent)
    probes.probe(made, advance=silent)
    tree = store.open(made.store)
    assert not any("resample" in name for name in tree["results/0/probe"].data_vars)
    assert tree["results/2/probe"].sizes["resample"] == 2
    assert mapping(tree["results/2/probe"].attrs["identity"])["resamples"] == 2
    odd = sweep_of(content, probes=[{"name": "pitch-class", "arguments": {"resamples": 3}}])
    with pytest.raises(ValueError, match="an even number or 0, not 3"):
        probes.probe(odd, advance=silent)


@pytest.mark.slow
def test_stimuli_categories_are_probed_from_the_store(content):
    made = sweep_of(content, probes=["stimuli-category"], select=[10])
    crawl.crawl(made, advance=silent)
    probes.probe(made, advance=silent)
    stimuli = sounds.load("synthetic", per_kind=3, seconds=0.4)
    task = probes.load("stimuli-category", stimuli=stimuli)
    expected = probes.probe_layers(store.read_activations(made.store, 10), task, resamples=4)
    results = store.open(made.store)["results/stimuli-category/probe"].to_dataset()
    for name, (_, values) in expected.items():
        # a mix is learned in float32, by threads that may add up in another order
        tolerance = 1e-3 if name.startswith("layer_") else 0
        np.testing.assert_allclose(results[name].sel(step=10), values, atol=tolerance)
    assert results["fold_score"].sizes["split"] == 5


def test_only_what_is_missing_is_probed_and_one_forward_pass_serves_two_tasks(
    content, tmp_path, monkeypatch
):
    made = sweep_of(content, probes=[PITCH, PITCH | {"label": "again"}])
    crawl.crawl(made, advance=silent)
    calls = []
    original = room.extract.extract
    monkeypatch.setattr(
        room.extract, "extract", lambda *a, **k: (calls.append(1), original(*a, **k))[1]
    )
    assert probes.probe(made, advance=silent)["new"] == 6
    assert len(calls) == 3
    before = values_of(made.store)
    assert probes.probe(made, advance=silent) == {"new": 0, "already": 6, "failed": 0}
    assert len(calls) == 3
    save_checkpoint(tmp_path / "checkpoints", 50, seed=9)
    crawl.crawl(made, advance=silent)
    assert probes.probe(made, advance=silent) == {"new": 2, "already": 6, "failed": 0}
    after = values_of(made.store)
    np.testing.assert_array_equal(after["score"][[0, 1, 3]], before["score"])


@pytest.mark.slow
def test_a_stopped_run_goes_on_and_ends_with_the_same_numbers(content, tmp_path):
    whole = sweep_of(content, store=str(tmp_path / "whole.zarr"))
    made = sweep_of(content)
    for one in (whole, made):
        crawl.crawl(one, advance=silent)
    probes.probe(whole, advance=silent)
    done = []

    def stop(**_):
        done.append(1)
        if len(done) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        probes.probe(made, advance=stop)
    assert probes.probe(made, advance=silent) == {"new": 1, "already": 5, "failed": 0}
    for task in ("pitch-class", "stimuli-category"):
        expected = values_of(whole.store, task)
        for name, array in values_of(made.store, task).items():
            np.testing.assert_array_equal(array, expected[name])


def test_a_checkpoint_that_is_gone_or_changed_is_left_out_with_a_warning(content, tmp_path, caplog):
    made = sweep_of(content)
    crawl.crawl(made, advance=silent)
    (tmp_path / "checkpoints" / "epoch=0-step=10.ckpt").unlink()
    save_checkpoint(tmp_path / "checkpoints", 100, seed=77)
    with caplog.at_level(logging.WARNING):
        counts = probes.probe(made, advance=silent)
    assert counts == {"new": 4, "already": 0, "failed": 2}
    assert "step 10: its checkpoint" in caplog.text and "is gone" in caplog.text
    assert "step 100" in caplog.text and "other content" in caplog.text
    assert len(values_of(made.store)["score"]) == 1
    assert len(values_of(made.store, "stimuli-category")["score"]) == 3


def test_a_failed_checkpoint_is_not_probed_and_the_untrained_control_is(content, tmp_path):
    folder = tmp_path / "checkpoints"
    (folder / "epoch=0-step=0.ckpt").unlink()
    (folder / "epoch=0-step=10.ckpt").write_bytes(b"broken")
    os.utime(folder / "epoch=0-step=10.ckpt", (0, 0))  # no longer being written
    made = sweep_of(content, seed=3)
    assert crawl.crawl(made, advance=silent)["failed"] == 1
    assert probes.probe(made, advance=silent) == {"new": 4, "already": 0, "failed": 0}
    results = store.open(made.store)["results/pitch-class/probe"]
    assert results["step"].to_numpy().tolist() == [0, 100]


def test_the_control_is_probed_where_the_newest_checkpoint_is_broken(content, tmp_path):
    folder = tmp_path / "checkpoints"
    (folder / "epoch=0-step=0.ckpt").unlink()
    made = sweep_of(content, seed=3)
    crawl.crawl(made, advance=silent)
    (folder / "epoch=0-step=100.ckpt").write_bytes(b"broken")
    assert probes.probe(made, advance=silent) == {"new": 5, "already": 0, "failed": 1}
    results = store.open(made.store)["results/pitch-class/probe"]
    assert results["step"].to_numpy().tolist() == [0, 10]


def test_poolings_with_time_are_averaged_for_probes(content):
    made = sweep_of(content, pooling={"name": "time", "arguments": {"rate": 20}})
    crawl.crawl(made, advance=silent)
    assert probes.probe(made, advance=silent)["new"] == 6
    assert np.isfinite(values_of(made.store, "stimuli-category")["score"]).all()


def test_another_probe_needs_another_label(content):
    made = sweep_of(content)
    crawl.crawl(made, advance=silent)
    probes.probe(made, advance=silent)
    changed = [{"name": "stimuli-category", "arguments": {"probe": "logistic"}}]
    with pytest.raises(ValueError, match="give the target or metric another `label`"):
        probes.probe(sweep_of(content, probes=changed), advance=silent)


@pytest.mark.parametrize(
    ("probes_", "words"),
    [
        (["pitch"], "unknown task 'pitch': there are"),
        ([{"name": "pitch-class", "arguments": {"probe": "svm"}}], "unknown probe 'svm'"),
        ([{"name": "folder", "arguments": {"path": "/nowhere"}}], "'/nowhere' does not exist"),
        (["hear"], "needs the argument `path`"),
        ([{"name": "pitch-class", "label": "simulated"}], "names 'simulated' twice"),
        (["pitch-class", "pitch-class"], "names 'pitch-class' twice"),
    ],
)
def test_a_fault_of_a_probe_is_found_before_anything_is_written(content, probes_, words):
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=words):
        sweep.check(sweep_of(content, probes=probes_))
    assert not sweep_of(content).store.exists()


def test_a_sound_of_a_task_that_cannot_be_decoded_is_found_before_anything_is_written(
    content, tmp_path
):
    for kind in ("a", "b"):
        for number in range(3):
            path = tmp_path / "birds" / kind / f"{kind}{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.full(800, 0.1), 8000)
    path.write_bytes(path.read_bytes()[:30])
    task = {"name": "folder", "label": "birds", "arguments": {"path": str(tmp_path / "birds")}}
    with pytest.raises(ValueError, match=r"b2\.wav"):
        sweep.check(sweep_of(content, probes=[task]))


def test_probing_before_crawling_says_what_to_do(content):
    with pytest.raises(FileNotFoundError, match="dynamics crawl"):
        probes.probe(sweep_of(content), advance=silent)
