"""Recordings in the files of their fields become targets with stimuli, times and neuroids."""

from datetime import UTC

import numpy as np
import pytest

from dynamics import brains
from dynamics.brains import courses, electrophysiology, imaging, matlab, nwb

RATE = 100.0


def test_trials_of_unequal_length_are_one_target_and_what_lacks_is_nan():
    rng = np.random.default_rng(0)
    trials = [("b.wav", rng.normal(size=(5, 2))), ("a.wav", rng.normal(size=(3, 2))),
              ("b.wav", rng.normal(size=(4, 2)))]  # fmt: skip
    found = courses.stacked(trials, rate=4, start=-0.25, neuroids=["x", "y"])
    assert found["response"].dims == ("stimulus", "time", "neuroid", "repetition")
    assert found["stimulus"].values.tolist() == ["b", "a"]
    assert found["time"].values.tolist() == [-0.25, 0, 0.25, 0.5, 0.75]
    np.testing.assert_array_equal(found["response"].sel(stimulus="b")[:4, :, 1], trials[2][1])
    assert found["response"].sel(stimulus="b")[4:, :, 1].isnull().all()
    assert found["response"].sel(stimulus="a")[:, :, 1].isnull().all()
    single = courses.stacked(trials[:2], rate=4, neuroids=["x", "y"])
    assert single["response"].dims == ("stimulus", "time", "neuroid")
    with pytest.raises(ValueError, match="give a positive one"):
        courses.stacked(trials, rate=0, neuroids=["x", "y"])
    with pytest.raises(ValueError, match=r"'a\.wav' have the shape"):
        courses.stacked([("a.wav", np.zeros((3, 1)))], rate=4, neuroids=["x", "y"])
    with pytest.raises(ValueError, match="no responses to any sound"):
        courses.stacked([], rate=4, neuroids=["x"])


@pytest.fixture
def raw():
    mne = pytest.importorskip("mne")
    rng = np.random.default_rng(0)
    info = mne.create_info(["E1", "E2", "E3", "M"], RATE, ["ecog"] * 3 + ["misc"])
    info["bads"] = ["E2"]
    info["subject_info"] = {"his_id": "sub-07"}
    for place, channel in enumerate(info["chs"]):
        channel["loc"][:3] = [0.01 * place, 0.02, 0.03]
    return mne.io.RawArray(rng.normal(size=(4, 2000)) * 1e-6, info, verbose="error")


def test_a_continuous_recording_is_cut_at_its_annotations(raw, tmp_path):
    mne = pytest.importorskip("mne")
    names = ["story.wav", "song", "story.wav", "BAD_blink"]
    raw.set_annotations(mne.Annotations([1.0, 5.0, 9.0, 5.5], [2.0, 3.5, 2.0, 0.25], names))
    raw.save(tmp_path / "a_raw.fif", verbose="error")
    found = electrophysiology.recording(tmp_path / "a_raw.fif")
    assert found["stimulus"].values.tolist() == ["story", "song"]
    assert found["neuroid"].values.tolist() == ["E1", "E3"]  # the bad one and what is no data go
    assert dict(found.sizes) == {"stimulus": 2, "time": 350, "neuroid": 2, "repetition": 2}
    assert set(found["subject"].values) == {"sub-07"} and set(found["region"].values) == {"ecog"}
    np.testing.assert_allclose(found["x"], [0, 0.02], atol=1e-7)
    truth = raw.get_data(picks=["E1", "E3"])
    story = found["response"].sel(stimulus="story")
    np.testing.assert_allclose(story[:200, :, 0].T, truth[:, 100:300], rtol=1e-5)
    np.testing.assert_allclose(story[:200, :, 1].T, truth[:, 900:1100], rtol=1e-5)
    song = found["response"].sel(stimulus="song")[..., 0]
    blink = song.isnull().all("neuroid")
    assert blink[50:75].all() and not blink[:49].any() and not blink[77:].any()
    assert found.attrs["units"] == "V" and float(found["time"][1]) == pytest.approx(0.01)


def test_events_of_a_table_and_times_around_them(raw, tmp_path):
    raw.save(tmp_path / "a_raw.fif", verbose="error")
    table = tmp_path / "a_events.tsv"
    table.write_text("onset\tduration\ttrial_type\tstim_file\n1.0\t2.0\tspeech\ts1.wav\n"
                     "4.0\t1.0\trest\tn/a\n6\t1.5\tmusic\tm1.wav\n")  # fmt: skip
    options = {"events": table, "picks": ["E3", "E1"]}
    found = electrophysiology.recording(tmp_path / "a_raw.fif", start=-0.5, stop=0.25, **options)
    assert found["stimulus"].values.tolist() == ["s1", "m1"]
    assert found["time"].values[0] == -0.5 and found.sizes["time"] == 275
    truth = raw.get_data(picks=list(found["neuroid"].values))
    np.testing.assert_allclose(found["response"][0].T, truth[:, 50:325], rtol=1e-5)
    by_type = electrophysiology.recording(tmp_path / "a_raw.fif", stimulus="trial_type", **options)
    assert by_type["stimulus"].values.tolist() == ["speech", "rest", "music"]
    slow = electrophysiology.recording(tmp_path / "a_raw.fif", rate=50, **options)
    assert slow.sizes["time"] == 100 and float(slow["time"][1]) == pytest.approx(0.02)
    for text, message in (
        ("onset\ttrial_type\n1\ta\n", "no column 'duration'"),
        ("onset\tduration\ttrial_type\nx\t1\ta\n", "no number for 'a'"),
        ("onset\tduration\ttrial_type\n19\t2\tlate\n", "'late' .* lies outside the 20 s"),
        ("onset\tduration\ttrial_type\n1\t0\tshort\n", "give its duration"),
        ("onset\tduration\ttrial_type\n1\t1\tn/a\n", "no responses to any sound"),
    ):
        table.write_text(text)
        with pytest.raises(ValueError, match=message):
            electrophysiology.recording(tmp_path / "a_raw.fif", events=table)
    with pytest.raises(FileNotFoundError, match="correct the path"):
        electrophysiology.recording(tmp_path / "a_raw.fif", events=tmp_path / "no.tsv")
    with pytest.raises(FileNotFoundError, match="correct the path"):
        electrophysiology.recording(tmp_path / "b_raw.fif")
    with pytest.raises(ValueError, match="give a lower rate"):
        electrophysiology.recording(tmp_path / "a_raw.fif", events=table, rate=500)
    with pytest.raises(ValueError, match="no channels 'eeg'"):
        electrophysiology.recording(tmp_path / "a_raw.fif", events=table, picks="eeg")


def test_epochs_are_named_by_their_events_or_a_column(tmp_path):
    mne = pytest.importorskip("mne")
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    info = mne.create_info(["A", "B"], RATE, "eeg")
    events = np.array([[0, 0, 1], [200, 0, 2], [400, 0, 1]])
    metadata = pandas.DataFrame({"sound": ["u", "v", "w"]})
    values, kinds = rng.normal(size=(3, 2, 60)) * 1e-6, {"speech": 1, "music": 2}
    epochs = mne.EpochsArray(values, info, events, -0.1, kinds, metadata=metadata, verbose="error")
    epochs.save(tmp_path / "a-epo.fif", verbose="error")
    found = electrophysiology.recording(tmp_path / "a-epo.fif")
    assert (
        found["stimulus"].values.tolist() == ["speech", "music"] and found.sizes["repetition"] == 2
    )
    assert found["time"].values[0] == pytest.approx(-0.1)
    named = electrophysiology.recording(tmp_path / "a-epo.fif", stimulus="sound", subject="s")
    assert named["stimulus"].values.tolist() == ["u", "v", "w"]
    np.testing.assert_allclose(named["response"][1].T, epochs.get_data()[1], rtol=1e-5)
    with pytest.raises(ValueError, match="no column 'file' among its metadata"):
        electrophysiology.recording(tmp_path / "a-epo.fif", stimulus="file")


@pytest.fixture
def runs(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    rng = np.random.default_rng(0)
    affine = np.diag([2.0, 2, 2, 1])
    arrays = {}
    for name, volumes in (("one", 12), ("two", 9)):
        arrays[name] = rng.normal(size=(4, 3, 2, volumes)).astype(np.float32)
        image = nibabel.Nifti1Image(arrays[name], affine)
        image.header.set_zooms((2, 2, 2, 1.5))
        nibabel.save(image, tmp_path / f"{name}_bold.nii.gz")
    regions = np.zeros((4, 3, 2), np.int16)
    regions[0], regions[1] = 1, 3
    nibabel.save(nibabel.Nifti1Image(regions, affine), tmp_path / "atlas.nii")
    mask = (regions == 1).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(mask, affine), tmp_path / "mask.nii")
    files = {name: str(tmp_path / f"{name}_bold.nii.gz") for name in arrays}
    return tmp_path, arrays, files


def test_volumes_by_mask_and_by_atlas(runs):
    folder, arrays, files = runs
    found = imaging.images(files, mask=folder / "mask.nii", onset=3.0, subject="s1")
    assert dict(found.sizes) == {"stimulus": 2, "time": 12, "neuroid": 6}
    np.testing.assert_allclose(found["time"], 0.75 - 3 + 1.5 * np.arange(12))
    kept = np.zeros((4, 3, 2), bool)
    kept[0] = True
    np.testing.assert_allclose(found["response"][0], arrays["one"][kept].T, rtol=1e-6)
    assert found["response"][1, 9:].isnull().all()
    np.testing.assert_allclose(found["y"], 2 * np.argwhere(kept)[:, 1])
    regions = imaging.images(files, atlas=folder / "atlas.nii", names=["A1", "STG", "IFG"])
    assert regions["neuroid"].values.tolist() == ["A1", "IFG"]
    np.testing.assert_allclose(
        regions["response"][0, :, 1], arrays["one"][1].mean((0, 1)), rtol=1e-5
    )
    both = imaging.images(files, mask=folder / "mask.nii", atlas=folder / "atlas.nii")
    assert set(both["region"].values) == {"region-1"}
    twice = imaging.images({"x": [files["one"], files["two"]]}, mask=folder / "mask.nii")
    assert twice.sizes["repetition"] == 2
    scaled = imaging.images(files, mask=folder / "mask.nii", standardize=True)["response"]
    np.testing.assert_allclose(scaled.std("time"), 1, rtol=1e-6)


def test_images_that_do_not_fit_are_one_sentence(runs):
    nibabel = pytest.importorskip("nibabel")
    folder, arrays, files = runs
    mask = folder / "mask.nii"
    with pytest.raises(ValueError, match="give a `mask` or an `atlas`"):
        imaging.images(files)
    nibabel.save(nibabel.Nifti1Image(np.ones((5, 3, 2), np.uint8), np.eye(4)), folder / "big.nii")
    with pytest.raises(ValueError, match="bring them to one space"):
        imaging.images(files, mask=folder / "big.nii")
    still = nibabel.Nifti1Image(arrays["one"], np.eye(4))
    still.header.set_zooms((2, 2, 2, 0))
    nibabel.save(still, folder / "still.nii")
    with pytest.raises(ValueError, match="TR of 0 s: give `tr`"):
        imaging.images({"a": str(folder / "still.nii")}, mask=mask)
    told = imaging.images({"a": str(folder / "still.nii")}, mask=mask, tr=2.0)
    assert float(told["time"][1] - told["time"][0]) == 2.0
    with pytest.raises(ValueError, match="several TRs"):
        imaging.images({**files, "c": str(folder / "still.nii")}, mask=mask)
    with pytest.raises(FileNotFoundError, match="correct the path"):
        imaging.images({"a": str(folder / "no.nii")}, mask=mask)
    with pytest.raises(ValueError, match="is no image"):
        imaging.images({"a": "a.mat"}, mask=mask)
    with pytest.raises(ValueError, match="no images"):
        imaging.images({})
    nibabel.save(
        nibabel.Nifti1Image(np.zeros((4, 3, 2), np.uint8), np.eye(4)), folder / "no.nii.gz"
    )
    with pytest.raises(ValueError, match="keeps no voxel"):
        imaging.images(files, mask=folder / "no.nii.gz")


def test_surfaces_and_grayordinates(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    rng = np.random.default_rng(0)
    values = rng.normal(size=(7, 10)).astype(np.float32)
    image = nibabel.GiftiImage(darrays=[nibabel.gifti.GiftiDataArray(row) for row in values])
    nibabel.save(image, tmp_path / "a.func.gii")
    labels = np.repeat([0, 2], 5).astype(np.int32)
    atlas = nibabel.GiftiImage(darrays=[nibabel.gifti.GiftiDataArray(labels)])
    nibabel.save(atlas, tmp_path / "atlas.gii")
    files = {"a": str(tmp_path / "a.func.gii")}
    with pytest.raises(ValueError, match="TR of 0 s"):
        imaging.images(files)
    found = imaging.images(files, tr=2.0)
    np.testing.assert_allclose(found["response"][0], values)
    means = imaging.images(files, tr=2.0, atlas=tmp_path / "atlas.gii")
    np.testing.assert_allclose(means["response"][0, :, 0], values[:, 5:].mean(1), rtol=1e-6)
    axes = (
        nibabel.cifti2.SeriesAxis(0, 0.8, 7),
        nibabel.cifti2.BrainModelAxis.from_mask(np.ones(10, bool), name="cortex_left"),
    )
    nibabel.save(nibabel.Cifti2Image(values, axes), tmp_path / "a.dtseries.nii")
    dense = imaging.images({"a": str(tmp_path / "a.dtseries.nii")})
    np.testing.assert_allclose(dense["response"][0], values)
    assert float(dense["time"][1] - dense["time"][0]) == pytest.approx(0.8)
    assert "CORTEX_LEFT" in str(dense["region"].values[0])


def test_recordings_are_targets_by_name_and_so_are_their_arguments(raw, tmp_path):
    raw.set_annotations(pytest.importorskip("mne").Annotations([1.0, 5.0], [2.0, 2.0], ["a", "b"]))
    raw.save(tmp_path / "a_raw.fif", verbose="error")
    found = brains.load("recording", path=str(tmp_path / "a_raw.fif"), rate=50)
    assert found["stimulus"].values.tolist() == ["a", "b"] and found.sizes["time"] == 100
    with pytest.raises(ValueError, match="did you mean `rate`"):
        brains.load("recording", path="a", rates=5)
    with pytest.raises(ValueError, match="needs the argument `response`"):
        brains.load("variables", path="a.mat")


def cells_of(parts):
    out = np.empty(len(parts), object)
    out[:] = parts
    return out


def test_variables_of_a_matlab_file(tmp_path):
    scipy_io = pytest.importorskip("scipy.io")
    rng = np.random.default_rng(0)
    Y = rng.normal(size=(3, 2, 5))  # neuroid, stimulus, time
    ragged = [rng.normal(size=(t, 3)) for t in (4, 6)]
    path = tmp_path / "a.mat"
    scipy_io.savemat(path, {
        "Y": Y, "names": np.array(["one.wav", "two.wav"], object), "R": {"cells": cells_of(ragged)},
        "areas": np.array(["A1", "A1", "STG"], object), "mean": Y.mean(2).T,
        "repeats": rng.normal(size=(2, 3, 4)), "words": np.array(["x", "y"], object),
    })  # fmt: skip
    given = {"stimulus": "names", "region": "areas"}
    found = matlab.variables(
        path, response="Y", axes=["neuroid", "stimulus", "time"], rate=50, start=0.01, **given
    )
    np.testing.assert_array_equal(found["response"], Y.transpose(1, 2, 0))
    assert found["region"].values.tolist() == ["A1", "A1", "STG"]
    assert found["stimulus"].values.tolist() == ["one", "two"]
    np.testing.assert_allclose(found["time"], 0.01 + np.arange(5) / 50)
    cells = matlab.variables(path, response="R.cells", rate=50, **given)
    np.testing.assert_array_equal(cells["response"][0, :4], ragged[0])
    assert cells["response"][0, 4:].isnull().all() and cells.sizes["time"] == 6
    still = matlab.variables(path, response="mean", axes=["stimulus", "neuroid"], **given)
    assert still["response"].dims == ("stimulus", "neuroid")
    again = matlab.variables(
        path, response="repeats", axes=["stimulus", "neuroid", "repetition"], **given
    )
    assert dict(again.sizes) == {"stimulus": 2, "neuroid": 3, "repetition": 4}
    for change, message in (
        ({"response": "Z"}, "no variable 'Z', only Y, names"),
        ({"response": "words"}, "holds no numbers"),
        ({"axes": ["stimulus", "neuroid"]}, "give `axes` in the order"),
        ({"axes": ["stimulus", "time", "channel"]}, "not right at 'channel'"),
        ({"axes": ["stimulus", "time", "time"]}, "neuroid always"),
        ({"axes": ["repetition", "time", "neuroid"]}, "have no stimulus"),
        ({"axes": ["stimulus", "neuroid", "time"]}, "names 2 stimuli for 3 responses"),
        ({"rate": None}, "give its `rate`"),
        ({"stimulus": ["a"]}, "names 1 stimuli for 2"),
        ({"region": "names"}, "2 labels of region for 3"),
    ):
        options = {"response": "Y", "axes": ["neuroid", "stimulus", "time"], "rate": 50, **given}
        with pytest.raises(ValueError, match=message):
            matlab.variables(path, **options | change)
    with pytest.raises(FileNotFoundError, match="correct the path"):
        matlab.variables(tmp_path / "b.mat", response="Y", stimulus="names")
    (tmp_path / "c.mat").write_bytes(b"MATLAB" + bytes(300))
    with pytest.raises(ValueError, match="cannot be read"):
        matlab.variables(tmp_path / "c.mat", response="Y", stimulus="names")


def test_variables_of_newer_matlab_files_and_plain_hdf(tmp_path):
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(0)
    ragged = [rng.normal(size=(t, 3)) for t in (4, 6)]
    with h5py.File(tmp_path / "new.mat", "w") as file:  # as MATLAB writes it: transposed
        refs = [file.create_dataset(f"#refs#/{k}", data=x.T).ref for k, x in enumerate(ragged)]
        file.create_dataset("Y", data=np.array([refs]).T, dtype=h5py.ref_dtype)
        texts = [
            file.create_dataset(f"#refs#/t{k}", data=np.array([[ord(c)] for c in name], np.uint16))
            for k, name in enumerate(("one.wav", "two.wav"))
        ]
        file.create_dataset("names", data=np.array([[t.ref for t in texts]]), dtype=h5py.ref_dtype)
        array = file.create_dataset("M", data=rng.normal(size=(3, 2)))
        array.attrs["MATLAB_class"] = np.bytes_("double")
    found = matlab.variables(tmp_path / "new.mat", response="Y", stimulus="names", rate=10)
    np.testing.assert_array_equal(found["response"][1], ragged[1])
    assert found["stimulus"].values.tolist() == ["one", "two"]
    still = matlab.variables(
        tmp_path / "new.mat", response="M", stimulus="names", axes=["stimulus", "neuroid"]
    )
    assert still["response"].shape == (2, 3)
    with h5py.File(tmp_path / "own.h5", "w") as file:
        file["deep/Y"], file["names"] = rng.normal(size=(2, 5, 3)), ["one", "two"]
    plain = matlab.variables(tmp_path / "own.h5", response="deep.Y", stimulus="names", rate=10)
    assert dict(plain.sizes) == {"stimulus": 2, "time": 5, "neuroid": 3}
    with pytest.raises(ValueError, match="no variable 'Y', only deep, names"):
        matlab.variables(tmp_path / "own.h5", response="Y", stimulus="names", rate=10)


def test_cnd(tmp_path):
    scipy_io = pytest.importorskip("scipy.io")
    rng = np.random.default_rng(0)
    trials = [rng.normal(size=(t, 3)) for t in (20, 30)]
    path = tmp_path / "dataSub4.mat"
    scipy_io.savemat(path, {"eeg": {"dataType": "EEG", "fs": 64.0, "data": cells_of(trials)}})
    found = matlab.cnd(path)
    assert found["stimulus"].values.tolist() == ["stim1", "stim2"]
    assert set(found["subject"].values) == {"dataSub4"}
    np.testing.assert_array_equal(found["response"][0, :20], trials[0])
    scipy_io.savemat(tmp_path / "dataStim.mat", {"stim": {"fs": 64.0, "stimIdxs": [7.0, 3.0]}})
    assert matlab.cnd(path)["stimulus"].values.tolist() == ["stim7", "stim3"]
    assert matlab.cnd(path, stimulus=["a.wav", "b.wav"])["stimulus"].values.tolist() == ["a", "b"]
    padded = {"fs": 64.0, "data": cells_of(trials), "paddingStartSample": 16.0}
    scipy_io.savemat(tmp_path / "padded.mat", {"eeg": padded})
    assert float(matlab.cnd(tmp_path / "padded.mat")["time"][0]) == -0.25
    with pytest.raises(ValueError, match="2 trials and 1 names"):
        matlab.cnd(path, stimulus=["a"])
    scipy_io.savemat(tmp_path / "no.mat", {"x": 1.0})
    with pytest.raises(ValueError, match="no structure 'eeg'"):
        matlab.cnd(tmp_path / "no.mat")


def test_nwb(tmp_path):
    pynwb = pytest.importorskip("pynwb")
    from datetime import datetime

    rng = np.random.default_rng(0)
    file = pynwb.NWBFile("speech", "one", datetime(2020, 1, 1, tzinfo=UTC))
    file.subject = pynwb.file.Subject(subject_id="EC9")
    device = file.create_device("grid")
    group = file.create_electrode_group("g", "d", "STG", device)
    for number in range(3):
        file.add_electrode(location="STG" if number else "HG", group=group)
    region = file.create_electrode_table_region([0, 2], "some")
    values = rng.normal(size=(500, 2))
    file.add_acquisition(
        pynwb.ecephys.ElectricalSeries(
            name="high gamma", data=values, electrodes=region, rate=100.0, starting_time=1.0
        )
    )
    file.add_trial_column("sound", "name")
    for begin, end, name in ((1.5, 2.5, "a.wav"), (3.0, 5.0, "b.wav")):
        file.add_trial(start_time=begin, stop_time=end, sound=name)
    path = tmp_path / "a.nwb"
    with pynwb.NWBHDF5IO(str(path), "w") as io:
        io.write(file)
    found = nwb.nwb(path, stimulus="sound")
    assert found["stimulus"].values.tolist() == ["a", "b"]
    assert found["region"].values.tolist() == ["HG", "STG"]
    assert found["neuroid"].values.tolist() == ["0", "2"] and found.sizes["time"] == 200
    np.testing.assert_allclose(found["response"][0, :100], values[50:150])
    for options, message in (
        ({"stimulus": "name"}, "no column 'name'"),
        ({"stimulus": "sound", "series": "raw"}, "has the series 'high gamma'"),
        ({"stimulus": "sound", "intervals": "words"}, "no table of intervals 'words'"),
        ({"stimulus": "sound", "stop": 9.0}, "'a.wav' .* lies outside the recording"),
    ):
        with pytest.raises(ValueError, match=message):
            nwb.nwb(path, **options)
    with pytest.raises(FileNotFoundError, match="correct the path"):
        nwb.nwb(tmp_path / "b.nwb", stimulus="sound")
