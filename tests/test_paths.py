"""Paths in a YAML are relative to it; what was meant from the working directory is still found."""

import logging

import pytest
import yaml

import dynamics
from dynamics.config import load_config
from dynamics.config.paths import resolved

LEAST = {"run": "r", "model": "encodecmae", "stimuli": "synthetic", "checkpoints": "saved"}


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A folder with a YAML, and another one that is worked in."""
    beside, here = tmp_path / "project", tmp_path / "here"
    beside.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    return beside, here


def loaded(folder, **content):
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(LEAST | content))
    return load_config(path)


def test_what_is_beside_the_yaml_is_found_from_anywhere(places):
    beside, _ = places
    for name in ("saved", "sounds", "saved/a"):
        (beside / name).mkdir()
    for name in ("brain.npz", "saved/step_1.pt", "config.json"):
        (beside / name).touch()
    sweep = loaded(
        beside,
        stimuli={"name": "./sounds", "arguments": {"name": "x"}},
        targets=["brain.npz", "nh2015-components", {"name": "brain.npz", "label": "b"}],
        model={"name": "huggingface", "arguments": {"config": "config.json", "more": {"a": [1]}}},
        store="out/r.zarr",
    )
    assert sweep.checkpoints == "../project/saved"
    assert sweep.stimuli.name == "../project/sounds" and sweep.stimuli.arguments == {"name": "x"}
    assert [each.name for each in sweep.targets] == [
        "../project/brain.npz", "nh2015-components", "../project/brain.npz",
    ]  # fmt: skip
    assert sweep.model.arguments == {"config": "../project/config.json", "more": {"a": [1]}}
    assert str(sweep.store) == "../project/out/r.zarr"
    for source, expected in (
        ("saved/*.pt", "../project/saved/*.pt"),
        (["saved/step_1.pt"], ("../project/saved/step_1.pt",)),
        ({5: "saved/step_1.pt"}, {5: "../project/saved/step_1.pt"}),
    ):
        assert loaded(beside, checkpoints=source).checkpoints == expected


def test_a_run_from_the_working_directory_stays_as_it_was(places):
    beside, here = places
    (here / "saved").mkdir()
    (here / "out").mkdir()
    (here / "brain.npz").touch()
    sweep = loaded(beside, targets="brain.npz", store="out")
    assert sweep.checkpoints == "saved" and sweep.targets[0].name == "brain.npz"
    assert str(sweep.store) == "out"
    assert str(loaded(beside).store) == "store/r.zarr"
    assert str(loaded(beside, store="store/x.zarr").store) == "store/x.zarr"
    training = {"steps": 1}
    assert loaded(beside, checkpoints="store/r/saved", pretrain=training).checkpoints == (
        "store/r/saved"
    )
    assert loaded(beside, checkpoints="new/saved", pretrain=training).checkpoints == (
        "../project/new/saved"
    )


def test_where_both_are_there_the_one_beside_the_yaml_is_taken_and_said(places, caplog):
    beside, here = places
    (here / "saved").mkdir()
    (beside / "saved").mkdir()
    with caplog.at_level(logging.WARNING):
        assert loaded(beside).checkpoints == "../project/saved"
    assert "that beside the YAML, ../project/saved, is taken" in caplog.text
    caplog.clear()
    (beside / "saved").rmdir()
    (beside / "saved").symlink_to(here / "saved")
    with caplog.at_level(logging.WARNING):
        loaded(beside)
    assert not caplog.text


def test_in_the_folder_of_the_yaml_nothing_is_rewritten(places, monkeypatch):
    beside, _ = places
    (beside / "saved").mkdir()
    monkeypatch.chdir(beside)
    assert loaded(beside, store="out/r.zarr").checkpoints == "saved"


def test_home_and_variables_are_written_out_and_urls_stay(places, monkeypatch, tmp_path):
    beside, _ = places
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RUNS", str(tmp_path / "runs"))
    sweep = loaded(beside, checkpoints="$RUNS/a", store="~/r.zarr", targets="${RUNS}/b.nc")
    assert sweep.checkpoints == str(tmp_path / "runs" / "a")
    assert str(sweep.store) == str(tmp_path / "home" / "r.zarr")
    assert sweep.targets[0].name == str(tmp_path / "runs" / "b.nc")
    url = "s3://bucket/$RUNS/a"
    assert loaded(beside, checkpoints=url).checkpoints == url


def test_what_is_no_path_is_left_alone():
    content = {"checkpoints": 3, "store": None, "targets": 5, "model": {"arguments": 1}}
    assert resolved(content, beside_nothing()) == content


def beside_nothing():
    from pathlib import Path

    return Path("/nowhere/at/all")


def test_a_store_is_opened_by_its_yaml(places):
    beside, _ = places
    with pytest.raises(FileNotFoundError, match=r"project/out/r\.zarr"):
        loaded(beside, store="out/r.zarr")
        dynamics.open(beside / "sweep.yaml")
