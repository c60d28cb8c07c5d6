"""Recordings that are there twice do not train what is tested on them."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import soundfile
import xarray as xr
import zarr
from tiny_run import sweep_in, sweep_of

from dynamics import probes, sounds, store
from dynamics.brains import targets
from dynamics.extraction import crawl
from dynamics.progress import silent
from dynamics.sounds import copies

RATE = 16000
RNG = np.random.default_rng(0)


def noise(seed, seconds=0.5):
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))


def test_copies_are_found_shifted_scaled_inverted_noisy_and_of_other_lengths():
    a, b = noise(1), noise(2)
    waves = [
        a,
        b,
        -0.3 * a,
        np.concatenate([np.zeros(777), a]),
        a + 0.1 * a.std() * RNG.standard_normal(a.size),  # r = 1 / sqrt(1.01) = .995
        a + 0.2 * a.std() * RNG.standard_normal(a.size),  # r = .981: another recording
        np.zeros(1000),
        np.zeros(1000),
        b.astype(np.float32)[:-5],
    ]
    assert copies.near_copies(waves).tolist() == [0, 1, 0, 0, 0, 2, 3, 4, 1]


def test_groups_are_those_of_correlating_every_pair_at_every_lag():
    tones = [np.sin(2 * np.pi * f * np.arange(4000) / RATE) for f in (400, 401, 440, 800)]
    waves = [*tones, noise(3, 0.25), noise(3, 0.25)[40:], noise(4, 0.25)]
    r = np.array(
        [
            [
                np.abs(np.correlate(x, y, "full")).max() / np.linalg.norm(x) / np.linalg.norm(y)
                for x in waves
            ]
            for y in waves
        ]
    )
    found = copies.near_copies(waves)
    np.testing.assert_array_equal(found[:, None] == found, r >= 0.99)


def test_the_public_sounds_have_no_copies(data_root):
    assert copies.names_of_copies(sounds.load("natsound165")) == []


def brain(names, **coords):
    rng = np.random.default_rng(1)
    response = rng.standard_normal((len(names), 3))
    return xr.Dataset(
        {"response": (("stimulus", "neuroid"), response)},
        coords={"stimulus": names, **{k: ("stimulus", v) for k, v in coords.items()}},
        attrs={"name": "brain"},
    )


NAMES = [f"s{n}" for n in range(12)]


def folds_of(data):
    categories = ("stimulus", ["x"] * len(NAMES))
    activations = xr.Dataset(coords={"stimulus": NAMES, "category": categories})
    return targets.make_target(data, activations).folds


def test_copies_share_a_fold_and_so_do_the_groups_that_they_join(caplog):
    data = brain(NAMES)
    assert copies.kept_together(data, []) is data
    assert copies.kept_together(data, [["s1", "not there"]]) is data
    assert not caplog.messages
    found = folds_of(copies.kept_together(data, [["s1", "s8", "s5"], ["s0", "s11"]]))
    assert len({found[1], found[8], found[5]}) == len({found[0], found[11]}) == 1
    assert "s1 and s8 are the same recording, or nearly (2 such groups)" in caplog.text
    own = ["a", "a", *"bcdefghijk"]
    found = folds_of(copies.kept_together(brain(NAMES, group=own), [["s1", "s8"]]))
    assert len({found[0], found[1], found[8]}) == 1 and len(set(found.tolist())) == 5


def test_folds_that_a_target_brings_stay_and_are_warned_of(caplog):
    data = brain(NAMES, fold=np.arange(12) % 3)
    assert copies.kept_together(data, [["s0", "s3"]]) is data
    assert not caplog.messages
    assert copies.kept_together(data, [["s0", "s4"]]) is data
    assert "in several of its folds: scores are too high" in caplog.text


@pytest.fixture
def doubled(tmp_path):
    """Twenty-four sounds of two categories; one is there twice, under names far apart."""
    folder = tmp_path / "sounds"
    for number in range(24):
        place = folder / ("low" if number % 2 else "high")
        place.mkdir(parents=True, exist_ok=True)
        wave = noise(0 if number == 22 else number, 0.3)
        soundfile.write(place / f"s{number}.wav", wave, RATE, subtype="FLOAT")
    return folder


def test_a_crawl_notes_copies_once_and_the_sweeps_folds_keep_them_together(
    doubled, tmp_path, monkeypatch, caplog, in_this_process
):
    place = tmp_path / "run"
    place.mkdir()
    simulated = {"name": "simulated", "arguments": {"neuroids": 6, "subjects": 2}}
    some = sweep_of(
        sweep_in(place, [10]),
        stimuli=str(doubled), targets=[simulated], metrics=["ridge"], resamples=0, baseline=None,
    )  # fmt: skip
    crawl.crawl(some, advance=silent)
    assert zarr.open_group(some.store).attrs["near_copies"] == [["s0", "s22"]]
    looked = []
    monkeypatch.setattr(copies, "names_of_copies", looked.append)
    crawl.crawl(some, advance=silent)
    assert looked == []

    from dynamics.analysis import analyze, jobs

    made = []
    make = jobs.make_target
    monkeypatch.setattr(jobs, "make_target", lambda *a, **k: made.append(make(*a, **k)) or made[-1])
    analyze.analyze(some, advance=silent)
    names = store.open(some.store)["activations/stimulus"].to_numpy().tolist()
    first, second = (made[0].folds[names.index(name)] for name in ("s0", "s22"))
    assert first == second
    assert "s0 and s22 are the same recording" in caplog.text


def test_tasks_keep_copies_in_one_split_or_warn(doubled, caplog):
    task = probes.load("stimuli-category", stimuli=sounds.load(doubled))
    split = dict(zip(task.stimuli.names, task.splits))
    assert split["s0"] == split["s22"]
    for seed in range(5):
        task = probes.load("folder", path=str(doubled), seed=seed)
        split = dict(zip(task.stimuli.names, task.splits))
        assert split["s0"] == split["s22"]
    assert "kept in one split" in caplog.text and "different splits" not in caplog.text
    with caplog.at_level(logging.WARNING):
        caplog.clear()
        rows = [
            f"s{n},{'low' if n % 2 else 'high'},{['train', 'valid', 'test'][n // 2 % 3]}\n"
            for n in range(24)
        ]
        (doubled / "labels.csv").write_text("".join(rows))
        probes.load("folder", path=str(doubled))
    assert "s0 and s22 are the same recording, or nearly, and are in different" in caplog.text
