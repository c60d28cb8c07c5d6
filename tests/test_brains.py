from __future__ import annotations

import itertools
import logging
import subprocess
import sys

import numpy as np
import pytest
import scipy.io
import xarray as xr

from dynamics import brains, datasets, sounds
from dynamics.reference import listener


@pytest.fixture
def target():
    """Four stimuli, three neuroids, two repetitions."""
    rng = np.random.default_rng(0)
    return xr.Dataset(
        {"response": (("stimulus", "neuroid", "repetition"), rng.standard_normal((4, 3, 2)))},
        coords={"stimulus": ["a", "b", "c", "d"], "neuroid": [0, 1, 2]},
        attrs={"name": "mine"},
    )


@pytest.fixture(scope="module")
def few_sounds():
    return sounds.load("synthetic", per_kind=2)


@pytest.fixture(scope="module")
def simulated(few_sounds):
    return brains.load("simulated", stimuli=few_sounds, seed=3)


def test_components_are_labelled_and_in_order(data_root):
    target = brains.load("nh2015-components")
    assert target["response"].dims == ("stimulus", "neuroid")
    labels = ["lowfreq", "highfreq", "envsounds", "pitch", "speech", "music"]
    assert target["neuroid"].values.tolist() == labels
    stimuli = sounds.load("natsound165")
    assert tuple(target["stimulus"].values) == stimuli.names
    assert tuple(target["category"].values) == stimuli.categories
    assert target.attrs["simulated"] == 0


def test_speech_and_music_components_prefer_their_categories(data_root):
    mean = brains.load("nh2015-components")["response"].groupby("category").mean()
    assert str(mean.sel(neuroid="speech").idxmax().values) in ("EngSpeech", "ForSpeech")
    assert str(mean.sel(neuroid="music").idxmax().values) in ("Music", "Song")


def test_category_variance_explained_is_the_checked_number(data_root):
    # Oracle: the shares of variance between categories, computed apart from this package.
    response = brains.load("nh2015-components")["response"]
    within = (response.groupby("category") - response.groupby("category").mean()).values
    total = (response - response.mean("stimulus")).values
    shares = 1 - (within**2).sum(axis=0) / (total**2).sum(axis=0)
    np.testing.assert_allclose(shares, [0.554, 0.280, 0.279, 0.605, 0.898, 0.664], atol=6e-4)


def test_voxels_are_components_times_weights_and_say_so(data_root):
    voxels = brains.load("nh2015-voxels")
    assert voxels["response"].shape == (165, 11065)
    assert np.linalg.matrix_rank(voxels["response"].values) == 6
    assert "RECONSTRUCTED from six" in voxels.attrs["description"]
    assert voxels.attrs["reconstructed"] == 1


def test_ecog_is_time_averaged_or_not(data_root):
    mean, whole = brains.load("nh2022-ecog"), brains.load("nh2022-ecog-time")
    assert whole["response"].dims == ("stimulus", "time", "neuroid")
    assert whole["time"].attrs["units"] == "s"
    np.testing.assert_allclose(np.diff(whole["time"]), 0.04, atol=1e-9)
    xr.testing.assert_allclose(
        whole["response"].mean("time").drop_vars(["category", "fold"], errors="ignore"),
        mean["response"].drop_vars(["category", "fold"], errors="ignore"),
    )
    components = brains.load("nh2015-components")
    assert mean["stimulus"].values.tolist() == components["stimulus"].values.tolist()


def test_electrodes_have_places_and_subjects(data_root):
    electrodes = brains.load("nh2022-ecog-electrodes")
    assert electrodes["response"].shape == (165, 272)
    assert np.unique(electrodes["subject"]).size == 15
    left = electrodes["hemisphere"].values == "left"
    assert (electrodes["x"].values[left] < 0).all()
    assert (electrodes["x"].values[~left] > 0).all()
    assert "RECONSTRUCTED" in electrodes.attrs["description"]


def test_electrodes_over_time_are_components_over_time_by_weights(data_root):
    whole = brains.load("nh2022-ecog-electrodes-time")
    assert whole["response"].shape == (165, 75, 272) and "RECONSTRUCTED" in str(whole.attrs)
    weights = scipy.io.loadmat(
        data_root / "song-ecog-current-biology" / "data" / "ecog_component_weights.mat"
    )["W"]
    components = brains.load("nh2022-ecog-time")["response"].values
    expected = np.einsum("nti,iv->ntv", components, weights.astype(float))
    np.testing.assert_allclose(whole["response"], expected, atol=1e-9)
    mean = brains.load("nh2022-ecog-electrodes")["response"].values
    np.testing.assert_allclose(whole["response"].mean("time"), mean, atol=1e-9)
    assert whole["time"].attrs["units"] == "s" and "x" in whole.coords


def test_folds_are_those_of_the_pickle_and_stratified(data_root):
    joblib = pytest.importorskip("joblib")
    oracle = joblib.load(data_root / "braindnn" / "lists" / "stratified-fold-assignment.pkl")
    folds = brains.folds()
    stimuli = sounds.load("natsound165")
    assert [folds[name] for name in stimuli.names] == oracle.astype(int).tolist()
    for category in set(stimuli.categories):
        members = [folds[n] for n, c in zip(stimuli.names, stimuli.categories) if c == category]
        counts = np.bincount(members, minlength=5)
        assert counts.max() - counts.min() <= 2, category


def test_a_damaged_fold_list_is_refused(data_root, tmp_path, monkeypatch):
    for name in ("natsound165-neuron2015", "song-ecog-current-biology"):
        (tmp_path / name).symlink_to(data_root / name)
    (tmp_path / "braindnn" / "lists").mkdir(parents=True)
    path = tmp_path / "braindnn" / "lists" / "stratified-fold-assignment.pkl"
    path.write_bytes(np.arange(165.0).tobytes() + b".")
    monkeypatch.setenv("DYNAMICS_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="does not hold 165 folds"):
        brains.folds()


def test_targets_load_without_the_published_folds(data_root, tmp_path, monkeypatch):
    (tmp_path / "song-ecog-current-biology").symlink_to(data_root / "song-ecog-current-biology")
    monkeypatch.setenv("DYNAMICS_DATA", str(tmp_path))
    monkeypatch.setattr(datasets, "_cache_folder", lambda dataset: tmp_path / "cache")
    assert "fold" not in brains.load("nh2022-ecog").coords


def test_join_orders_by_name(target):
    joined = brains.join(target, ["d.wav", "b", "a", "c"])
    assert joined["stimulus"].values.tolist() == ["d", "b", "a", "c"]
    np.testing.assert_array_equal(
        joined["response"].values, target["response"].values[[3, 1, 0, 2]]
    )


def test_join_reports_what_is_missing(target, caplog):
    with caplog.at_level(logging.WARNING):
        joined = brains.join(target, ["c", "x", "a"])
    assert joined["stimulus"].values.tolist() == ["c", "a"]
    assert "2 without a sound (b, d)" in caplog.text
    assert "1 sounds without a response (x)" in caplog.text
    with pytest.raises(ValueError, match=r"shares 2 stimuli.*\(b, d\)"):
        brains.join(target, ["c", "x", "a"], partial="error")


def test_join_without_overlap_names_both_sides(target):
    with pytest.raises(ValueError, match=r"'mine' \(a, b, c \.\.\.\).*\(x, y\)"):
        brains.join(target, ["x", "y"])


def test_ceiling_agrees_with_the_formula_over_pairs(target):
    Y = target["response"].values
    for R in (2, 3, 4):
        rng = np.random.default_rng(R)
        data = rng.standard_normal((30, 5, 1)) + rng.standard_normal((30, 5, R))
        many = xr.Dataset({"response": (("stimulus", "neuroid", "repetition"), data)})
        pairs = [
            [np.corrcoef(data[:, v, i], data[:, v, j])[0, 1] for v in range(5)]
            for i, j in itertools.combinations(range(R), 2)
        ]
        r = np.mean(pairs, axis=0)
        np.testing.assert_allclose(brains.ceiling(many), np.sqrt(R * r / (1 + (R - 1) * r)))
    with pytest.raises(ValueError, match="no repetitions"):
        brains.ceiling(target.isel(repetition=[0]))
    assert Y.shape == (4, 3, 2)


def test_unreliable_neuroids_have_no_ceiling():
    column = np.array([1.0, 2.0, 3.0, 4.0])
    data = np.stack([column, -column], axis=-1)[:, None]
    opposed = xr.Dataset({"response": (("stimulus", "neuroid", "repetition"), data)})
    assert np.isnan(brains.ceiling(opposed).values).all()


def test_simulated_listener_is_labelled_and_reproducible(simulated, few_sounds):
    assert simulated["response"].dims == ("stimulus", "neuroid", "repetition")
    assert simulated["response"].shape == (len(few_sounds), 200, 3)
    assert simulated.attrs["simulated"] == 1
    assert "SIMULATED" in simulated.attrs["description"]
    assert np.unique(simulated["subject"]).size == 8
    assert set(np.unique(simulated["region"])) == {"primary", "intermediate", "nonprimary"}
    counts = simulated["response"].isel(stimulus=0, repetition=0).groupby("subject").count()
    assert counts.min() >= 21
    again = brains.load("simulated", stimuli=few_sounds, seed=3)
    np.testing.assert_array_equal(again["response"], simulated["response"])
    other = brains.load("simulated", stimuli=few_sounds, seed=4)
    assert not np.allclose(other["response"], simulated["response"])


def test_a_simulated_region_of_fluctuations_stands_beside_the_others(simulated, few_sounds):
    more = brains.load("simulated", stimuli=few_sounds, seed=3, fluctuating=5)
    assert more["response"].shape == (len(few_sounds), 205, 3)
    np.testing.assert_array_equal(more["response"][:, :200], simulated["response"])
    assert list(more["region"].values[200:]) == ["fluctuation"] * 5
    assert np.isfinite(more["ceiling"]).all() and np.unique(more["neuroid"]).size == 205


def test_fluctuations_are_deviations_of_the_level_in_decibels():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(160_000)
    gate = np.where(np.arange(noise.size) // 16_000 % 2, 1.0, 0.1)  # half of the time 20 dB less
    steady, gated = (listener._fluctuations(wave, 16_000)[0] for wave in (noise, noise * gate))
    assert steady < 0.5
    assert np.hypot(10, steady) == pytest.approx(gated, abs=0.15)  # frames across the steps


def test_simulated_ceiling_is_what_a_noiseless_predictor_reaches(few_sounds):
    # Many repetitions make the signal known; the mean over three of them is what is predicted.
    target = brains.load("simulated", stimuli=few_sounds, neuroids=60, repetitions=600)
    Y = target["response"].values
    signal = Y.mean(axis=2)
    threes = Y.reshape(*Y.shape[:2], 200, 3).mean(axis=3)
    z = signal - signal.mean(axis=0)
    m = threes - threes.mean(axis=0)
    r = np.einsum("sv,svk->vk", z, m) / np.sqrt((z**2).sum(axis=0)[:, None] * (m**2).sum(axis=0))
    expected = 1 / np.sqrt(1 + target["noise"].values ** 2 / 3)
    np.testing.assert_allclose(r.mean(axis=1), expected, atol=0.03)


def test_simulated_nonprimary_neuroids_follow_categories(simulated):
    response = simulated["response"].mean("repetition")
    within = response.groupby("category") - response.groupby("category").mean()
    share = 1 - within.var("stimulus") / response.var("stimulus")
    by_region = share.groupby("region").mean()
    assert by_region.sel(region="nonprimary") > by_region.sel(region="primary") + 0.05


def test_simulation_refuses_too_few_sounds():
    with pytest.raises(ValueError, match="at least three stimuli"):
        brains.load("simulated", stimuli=sounds.load("synthetic", per_kind=1, kinds=["chirp"]))


@pytest.mark.parametrize("suffix", ["nc", "zarr", "npz"])
def test_files_of_ones_own_are_read_alike(tmp_path, target, suffix):
    path = tmp_path / f"mine.{suffix}"
    if suffix == "npz":
        np.savez(path, response=target["response"].values, stimulus=["a.wav", "b", "c", "d"])
    elif suffix == "zarr":
        target.transpose("repetition", "neuroid", "stimulus").to_zarr(path)
    else:
        target.to_netcdf(path)
    loaded = brains.load(path)
    assert loaded["response"].dims == ("stimulus", "neuroid", "repetition")
    assert loaded["stimulus"].values.tolist() == ["a", "b", "c", "d"]
    np.testing.assert_allclose(loaded["response"], target["response"])
    np.testing.assert_allclose(loaded["ceiling"], brains.ceiling(target))
    assert loaded.attrs["name"] == "mine"
    assert loaded.attrs["simulated"] == 0
    assert loaded["region"].dims == ("neuroid",)


@pytest.mark.parametrize(
    ("engine", "kind", "magic"),
    [
        ("scipy", "NETCDF3_64BIT", b"CDF\x02"),
        ("netcdf4", "NETCDF3_CLASSIC", b"CDF\x01"),
        ("netcdf4", "NETCDF4", b"\x89HDF"),
        ("h5netcdf", "NETCDF4", b"\x89HDF"),
    ],
)
def test_netcdf_of_either_kind_and_any_writer_is_read(tmp_path, target, engine, kind, magic):
    if engine == "netcdf4":
        pytest.importorskip("netCDF4")
    path = tmp_path / "mine.nc"
    target.attrs.update(citation="", simulated=1, shape=[4.0, 2.0])
    target = target.assign_coords(category=("stimulus", ["spräche", "b", "", "d"]))
    script = tmp_path / "write.py"  # in a process of its own: two libraries of HDF5 must not meet
    target.to_zarr(tmp_path / "mine.zarr")
    script.write_text(
        f"import xarray\nxarray.load_dataset({str(tmp_path / 'mine.zarr')!r}).to_netcdf("
        f"{str(path)!r}, engine={engine!r}, format={kind!r})\n"
    )
    subprocess.run([sys.executable, str(script)], check=True, timeout=300)
    assert path.read_bytes()[:4] == magic
    loaded = brains.load(path)
    assert loaded["response"].dims == ("stimulus", "neuroid", "repetition")
    assert loaded["stimulus"].to_numpy().tolist() == ["a", "b", "c", "d"]
    assert loaded["category"].to_numpy().tolist() == ["spräche", "b", "", "d"]
    assert set(loaded["region"].to_numpy().tolist()) == {"unknown"}
    np.testing.assert_array_equal(loaded["response"], target["response"])
    assert loaded.attrs["citation"] == "" and int(loaded.attrs["simulated"]) == 1


def test_a_file_that_needs_a_missing_library_names_it(tmp_path, monkeypatch):
    (tmp_path / "mine.nc").write_bytes(b"\x89HDF\r\n\x1a\n")
    monkeypatch.setitem(sys.modules, "h5netcdf", None)
    with pytest.raises(ValueError, match=r"h5netcdf.*pip install"):
        brains.load(tmp_path / "mine.nc")


def test_an_npz_file_may_have_a_time_axis(tmp_path):
    data = np.arange(24.0).reshape(2, 4, 3)
    np.savez(tmp_path / "t.npz", response=data, stimulus=["a", "b"], time=np.arange(4) / 25)
    assert brains.load(tmp_path / "t.npz")["response"].dims == ("stimulus", "time", "neuroid")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"response": np.ones((2, 3))}, "'stimulus' is missing"),
        ({"stimulus": ["a", "b"]}, "'response' is missing"),
        ({"response": np.ones(2), "stimulus": ["a", "b"]}, "shape"),
        ({"response": np.ones((2, 3)), "stimulus": ["a", "a.wav"]}, "one stimulus name"),
        (
            {"response": np.full((2, 3), np.nan), "stimulus": ["a", "b"]},
            "infinite responses, or none",
        ),
        ({"response": np.ones((2, 3)), "stimulus": ["a", "b", "c"]}, "cannot be read"),
        ({"response": np.array([[{}]]), "stimulus": ["a"]}, "cannot be read"),
    ],
)
def test_a_bad_file_says_what_is_wrong(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ValueError, match=message) as error:
        brains.load(tmp_path / "bad.npz")
    assert "bad.npz" in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_names_and_missing_files_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"unknown brain target 'nh2015'.*nh2015-components"):
        brains.load("nh2015")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.nc' does not exist"):
        brains.load(tmp_path / "nowhere.nc")
    (tmp_path / "noise.nc").write_bytes(b"not a file")
    with pytest.raises(ValueError, match=r"noise\.nc' cannot be read"):
        brains.load(tmp_path / "noise.nc")
