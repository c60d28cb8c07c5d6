"""`dynamics target` shows what a recording holds, converts it, and says what to do about faults."""

import json
import logging
import sys

import numpy as np
import pytest
import soundfile
import xarray as xr
import yaml

from dynamics import brains, cli, sounds
from dynamics.brains import imaging, overview, trials

RATE = 20.0


@pytest.fixture
def shown(tmp_path, monkeypatch, capsys):
    """Run the command in this process, as the installed program would."""
    monkeypatch.chdir(tmp_path)

    def run(*words, code=0):
        monkeypatch.setattr(sys, "argv", ["dynamics", "target", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        done = capsys.readouterr()
        assert (ended.value.code or 0) == code, done.out + done.err
        assert "Traceback" not in done.err
        return done.out if code == 0 else done.err

    return run


@pytest.fixture
def recorded(tmp_path):
    """Twenty sounds of 1 to 1.95 s, and responses that go on for half a second after each."""
    rng = np.random.default_rng(0)
    (tmp_path / "sounds").mkdir()
    arrays = {}
    for number in range(20):
        seconds = 1 + 0.05 * number
        samples = 0.1 * rng.standard_normal(round(8000 * seconds))
        soundfile.write(tmp_path / "sounds" / f"s{number}.wav", samples, 8000)
        arrays[f"s{number}"] = rng.standard_normal((round((seconds + 0.5) * RATE), 3))
    arrays["s3"][5:8] = np.nan
    np.savez(tmp_path / "responses.npz", **arrays)
    return tmp_path, arrays


@pytest.mark.slow
def test_an_array_a_sound_is_shown_and_converted(recorded, shown):
    folder, arrays = recorded
    source = folder / "responses.npz"
    told = shown(source, "-a", "rate=20", "--stimuli", folder / "sounds", "-o", "out.nc")
    for words in (
        "20 stimuli, 49 samples, 3 neuroids", "20 Hz", "0.025 to 2.425 s after the sound's onset",
        "1.5 to 2.45 s", "20 have a sound", "responses go on for 0.50 s after their sounds",
        "0.38 % of the samples", "1 of 20 stimuli (s3)", "written: out.nc",
        "works, with `pooling: {name: time, arguments: {rate: 20}}`", "on responses averaged",
    ):  # fmt: skip
        assert words in told, told
    again = brains.load(folder / "out.nc")
    xr.testing.assert_equal(again["response"], trials.trials(source, rate=RATE)["response"])
    np.testing.assert_array_equal(again["response"].sel(stimulus="s2")[:32], arrays["s2"])
    found = json.loads(shown(folder / "out.nc", "--json"))
    assert found["sizes"] == {"stimulus": 20, "time": 49, "neuroid": 3}
    assert found["time"]["shortest"] == pytest.approx(1.5)
    lost = 9 / sum(array.size for array in arrays.values())
    assert found["gaps"]["missing"] == pytest.approx(lost)
    assert found["metrics"]["cka"].startswith("works")


def test_the_target_of_a_sweep_by_its_label(recorded, shown):
    folder, _ = recorded
    given = {"path": str(folder / "responses.npz"), "rate": 20}
    content = {
        "run": "r", "checkpoints": "none", "model": "encodecmae",
        "stimuli": str(folder / "sounds"), "folds": 3, "baseline": None,
        "targets": [{"name": "trials", "label": n, "arguments": given} for n in ("one", "two")],
        "metrics": ["ridge", "encode_timeresolved", "variance_partition",
                    {"name": "cka", "arguments": {"targets": ["one"]}}],
    }  # fmt: skip
    (folder / "sweep.yaml").write_text(yaml.safe_dump(content))
    told = shown("sweep.yaml", "--label", "two")
    assert "20 have a sound" in told and "set `pooling: {name: time" in told
    assert "set the key `baseline`" in told and "is not for this target" in told
    assert "unknown target 'three'" in shown("sweep.yaml", "--label", "three", code=2)
    # An argument of the command line counts before the sweep's.
    assert "40 Hz" in shown("sweep.yaml", "-a", "rate=40")


def test_repetitions_and_what_never_responds():
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((8, 1, 4, 1))
    values = signal + 0.5 * rng.standard_normal((8, 30, 4, 2))
    values[:, :, 2] = 1.0
    values[2:, ..., 1] = np.nan
    values[:, :, 3] = np.nan
    values[7] = np.nan
    dims = ("stimulus", "time", "neuroid", "repetition")
    coords = {"stimulus": [f"s{i}" for i in range(8)], "time": np.arange(30) / 10 - 0.5}
    found = overview.overview(xr.Dataset({"response": (dims, values)}, coords))
    assert found["repetitions"] == {"fewest": 0, "most": 2}
    assert found["gaps"]["neuroids"] == ["3"] and found["gaps"]["constant"] == ["2"]
    assert found["gaps"]["without_response"] == ["s7"] and "missing" not in found["gaps"]
    known = brains.ceiling(xr.Dataset({"response": (dims, values)}, coords)).to_numpy()
    assert found["ceiling"]["highest"] == pytest.approx(np.nanmax(known))
    assert found["ceiling"]["without"] == 2
    words = dict(overview.in_words(found))
    assert words["repetitions"] == "0 to 2 of a stimulus"
    assert words["time axis"] == "−0.5 to 2.4 s after the sound's onset"
    assert "1 neuroids have no response (3)" in words["gaps"]
    still = xr.Dataset({"response": (("stimulus", "neuroid"), values[:7, 0, :2, 0])}, {
        "stimulus": coords["stimulus"][:7]})  # fmt: skip
    assert dict(overview.in_words(overview.overview(still)))["time"].startswith("none")


def test_what_is_wrong_is_one_sentence(recorded, shown):
    folder, _ = recorded
    source = folder / "responses.npz"
    assert "needs the argument `rate`" in shown(source, code=2)
    assert "is no KEY=VALUE" in shown(source, "-a", "rate", code=2)
    assert "neither .nc nor .zarr" in shown(source, "-a", "rate=20", "-o", "out.csv", code=2)
    assert "leave it out" in shown(source, "--label", "x", code=2)
    assert "did you mean `rate`" in shown(source, "-a", "rates=20", code=2)
    assert "does not exist" in shown("no.fif", code=2)
    assert "hears sounds" in shown("simulated", code=2)
    np.savez(folder / "bad.npz", a=np.zeros(3))
    assert "'a' of 'bad.npz' has the shape (3,)" in shown("bad.npz", "-a", "rate=20", code=2)
    np.savez(folder / "objects.npz", a=np.array([None], object))
    assert "holds objects" in shown("objects.npz", "-a", "rate=20", code=2)
    assert not (folder / "out.csv").exists()


def test_axes_in_another_order_are_told_how_to_turn(tmp_path):
    names, times = [f"s{i}" for i in range(4)], np.arange(7) / 10
    np.savez(tmp_path / "a.npz", response=np.zeros((7, 4, 2)), stimulus=names, time=times)
    with pytest.raises(ValueError, match=r"axes must be .*: write response\.transpose\(1, 0, 2\)"):
        brains.load(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", response=np.zeros((5, 5, 2)), stimulus=names, time=times)
    with pytest.raises(ValueError, match=r"7 of 'time', 4 of 'stimulus', but its axes must be"):
        brains.load(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", s1=np.zeros((5, 2)), s2=np.zeros((5, 2)))
    with pytest.raises(ValueError, match=r"'response' is missing, there is s1, s2 .*by `trials`"):
        brains.load(tmp_path / "c.npz")


@pytest.mark.parametrize("where", ["dataset", "variable", "array"])
def test_a_rate_that_disagrees_with_the_times(tmp_path, where):
    rng = np.random.default_rng(0)
    found = xr.Dataset({"response": (("stimulus", "time", "neuroid"), rng.normal(size=(3, 9, 2)))},
                       {"stimulus": ["a", "b", "c"], "time": np.arange(9) / 100})  # fmt: skip
    if where == "array":
        found = found.assign(fs=64.0)
    else:
        (found if where == "dataset" else found["response"]).attrs["sfreq"] = 64.0
    found.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match="of 64 Hz, but its times are 100 a second: correct"):
        brains.load(tmp_path / "a.nc")
    found.assign_coords(time=np.arange(9) / 64).to_netcdf(tmp_path / "b.nc", engine="h5netcdf")
    assert brains.load(tmp_path / "b.nc").sizes["time"] == 9


def test_names_that_differ_by_folders(tmp_path):
    target = xr.Dataset({"response": (("stimulus", "neuroid"), np.zeros((2, 1)))},
                        {"stimulus": ["stimuli/a.wav", "stimuli/b.wav"]})  # fmt: skip
    with pytest.raises(ValueError, match=r"names of the target have folders \('stimuli/a' for 'a'"):
        brains.join(target, ["a.wav", "b.wav"])
    with pytest.raises(ValueError, match="names of the sounds have folders"):
        brains.join(target.assign_coords(stimulus=["a", "b"]), ["x/a", "x/b"])
    heard = sounds.StimulusSet("s", ("a",), ("x",), np.ones(1), (lambda: None,))
    told = overview.overview(target, heard)["stimuli"]
    assert told["matched"] == 0 and "have folders" in told["hint"]


def test_bad_channels_are_left_out_and_named_once(tmp_path, caplog):
    mne = pytest.importorskip("mne")
    info = mne.create_info(["E1", "E2", "E3"], 100.0, "eeg")
    info["bads"] = ["E2"]
    raw = mne.io.RawArray(np.random.default_rng(0).normal(size=(3, 900)), info, verbose="error")
    raw.set_annotations(mne.Annotations([1.0, 4.0], [2.0, 3.0], ["a", "b"]))
    raw.save(tmp_path / "a_raw.fif", verbose="error")
    with caplog.at_level(logging.WARNING):
        found = brains.load("recording", path=str(tmp_path / "a_raw.fif"))
    assert found["neuroid"].values.tolist() == ["E1", "E3"]
    said = [each.message for each in caplog.records if "marked bad" in each.message]
    assert len(said) == 1 and "left out 1 channels that are marked bad (E2)" in said[0]


def test_an_atlas_beside_a_mask_must_fit_and_a_tr_that_files_contradict_is_said(tmp_path, caplog):
    nibabel = pytest.importorskip("nibabel")
    volumes = np.random.default_rng(0).normal(size=(4, 3, 2, 6)).astype(np.float32)
    run = nibabel.Nifti1Image(volumes, np.eye(4))
    run.header.set_zooms((1, 1, 1, 1_500_000))
    run.header.set_xyzt_units("mm", "usec")
    nibabel.save(run, tmp_path / "run.nii")
    for name, shape in (("mask", (4, 3, 2)), ("atlas", (4, 3, 3))):
        ones = nibabel.Nifti1Image(np.ones(shape, np.uint8), np.eye(4))
        nibabel.save(ones, tmp_path / f"{name}.nii")
    files = {"a": str(tmp_path / "run.nii")}
    with pytest.raises(ValueError, match=r"atlas\.nii' has the shape \(4, 3, 3\) .* to one space"):
        imaging.images(files, mask=tmp_path / "mask.nii", atlas=tmp_path / "atlas.nii")
    found = imaging.images(files, mask=tmp_path / "mask.nii")
    assert float(found["time"].diff("time")[0]) == pytest.approx(1.5)
    with caplog.at_level(logging.WARNING):
        imaging.images(files, mask=tmp_path / "mask.nii", tr=2.0)
    assert "state a TR of 1.5 s, and `tr` of 2 s is taken" in caplog.text
