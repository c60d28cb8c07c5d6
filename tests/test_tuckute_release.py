"""The archive of Tuckute et al. (2023) as a target, and its table of pandas read by hand."""

import os
import pickle

import numpy as np
import pandas as pd
import pytest
from natsound import load
from scipy import stats

from dynamics import brains
from dynamics.brains import pandas_pickle
from dynamics.checkpoints.plain import read_pickle

VOXELS = 12


def table_of(count=4):
    return pd.DataFrame(
        {
            "voxel_id": np.arange(count)[::-1],
            "score": np.linspace(0, 1, count),
            "small": np.arange(count, dtype="int8"),
            "hit": np.arange(count) % 2 == 0,
            "hemi": pd.Series(["rh", "lh"] * (count // 2), dtype=object),
            "text": pd.Series(["a", None] * (count // 2), dtype="str"),
            "region": pd.Categorical((["Primary", "Lateral", None, "Primary"] * count)[:count]),
            "count": pd.array(([1, None, 3] * count)[:count], dtype="Int64"),
            "mixed": pd.Series(["x", None, 2.0, True] * (count // 4), dtype=object),
        }
    )


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_table_is_read_as_pandas_reads_it(tmp_path, protocol):
    frame = table_of(8)
    frame.to_pickle(tmp_path / "t.pkl", protocol=protocol)
    found = pandas_pickle.read_table(tmp_path / "t.pkl")
    assert list(found) == list(frame.columns)
    for name, values in found.items():
        expected = frame[name].to_numpy(dtype=object)
        assert len(values) == len(expected)
        for mine, theirs in zip(values.tolist(), expected.tolist()):
            if pd.isna(theirs):
                assert mine is None or np.isnan(mine)
            else:
                assert mine == theirs
    assert found["score"].dtype == "f8" and found["hit"].dtype == bool
    assert found["small"].dtype == "i1"


def test_a_table_of_one_kind_and_one_with_an_index_of_its_own(tmp_path):
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}, index=["x", "y"])
    frame.to_pickle(tmp_path / "t.pkl")
    found = pandas_pickle.read_table(tmp_path / "t.pkl")
    np.testing.assert_array_equal(np.stack([found["a"], found["b"]]), frame.to_numpy().T)


class Gadget:
    """What runs a command wherever a pickle of it is loaded."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("where", ["alone", "in the table"])
def test_a_pickle_with_code_in_it_runs_nothing(tmp_path, where):
    gadget = Gadget(tmp_path / "ran")
    frame = table_of()
    frame["mixed"] = pd.Series([gadget] * 4, dtype=object)
    with (tmp_path / "t.pkl").open("wb") as file:
        pickle.dump(gadget if where == "alone" else frame, file)
    with pytest.raises(ValueError, match="system, which may run code"):
        pandas_pickle.read_table(tmp_path / "t.pkl")
    assert not (tmp_path / "ran").exists()


def test_what_is_no_table_is_one_sentence(tmp_path):
    pd.DataFrame({"when": pd.to_datetime(["2020-01-01"])}).to_pickle(tmp_path / "t.pkl")
    with pytest.raises(ValueError, match=r"may run code|not understood"):
        pandas_pickle.read_table(tmp_path / "t.pkl")
    (tmp_path / "n.pkl").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match="holds no table of pandas"):
        pandas_pickle.read_table(tmp_path / "n.pkl")
    assert read_pickle(tmp_path / "n.pkl") == {"a": 1}
    (tmp_path / "n.pkl").write_bytes((tmp_path / "t.pkl").read_bytes()[:100])
    with pytest.raises(ValueError, match="cannot be read as a pickle"):
        pandas_pickle.read_table(tmp_path / "n.pkl")


def archive_in(folder, known, *, count=VOXELS, seed=0):
    """Write the files of one data set as they lie in the archive, sounds in another order."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    order = rng.permutation(len(known.names))
    signal = known.R @ rng.standard_normal((known.R.shape[1], count))
    response = signal[:, :, None] + rng.standard_normal((len(order), count, 3)) * signal.std()
    response[:, 3, 2] = np.nan  # two of three repetitions
    response[:, 4, 1:] = np.nan  # one
    # what is no repetition need not be NaN in the file
    np.save(folder / "voxel_features_array.npy", np.nan_to_num(response[order]))
    names = [f"{known.names[i]}.wav".encode() for i in order]
    stimuli = np.array([(row, name) for row, name in enumerate(names)],
                       dtype=[("id", "i4"), ("filename", "S60")])  # fmt: skip
    np.save(folder / "neural_stim_meta.npy", stimuli)
    voxels = np.zeros(count, [("voxel_id", "i8"), ("subj_idx", "i8"), ("x_ras", "f8"),
                              ("hemi", "O"), ("n_reps", "i8")])  # fmt: skip
    voxels["voxel_id"], voxels["subj_idx"] = np.arange(count) + 100, np.arange(count) % 3
    voxels["hemi"], voxels["x_ras"] = "rh", np.arange(count)
    voxels["n_reps"] = [{3: 2, 4: 1}.get(i, 3) for i in range(count)]
    np.save(folder / "voxel_features_meta.npy", voxels, allow_pickle=True)
    regions = pd.DataFrame(
        {
            "voxel_id": voxels["voxel_id"][::-1],
            "roi_label_general": pd.Categorical(
                [["Primary", "Lateral", None][i % 3] for i in range(count)][::-1]
            ),
        }
    )
    # regions are of voxels with three repetitions alone
    regions[voxels["n_reps"][::-1] == 3].to_pickle(folder / "df_roi_meta.pkl")
    return np.where(np.isnan(response), np.nan, response)


@pytest.fixture
def known(data_root):
    return load(data_root, "number")


def test_the_archive_is_a_target_joined_by_names_and_numbers_of_voxels(tmp_path, known):
    response = archive_in(tmp_path / "data" / "neural" / "NH2015", known)
    target = brains.load("tuckute-release", root=tmp_path, dataset="NH2015")
    assert target["stimulus"].to_numpy().tolist() == known.names
    assert target["response"].dims == ("stimulus", "neuroid", "repetition")
    kept = [i for i in range(VOXELS) if i != 4]  # which has one repetition
    assert target["neuroid"].to_numpy().tolist() == kept
    np.testing.assert_array_equal(target["response"], response[:, kept])
    assert target["repetitions"].to_numpy().tolist() == [2 if i == 3 else 3 for i in kept]
    regions = [["Primary", "Lateral", "elsewhere"][i % 3] for i in kept]
    regions[3] = "elsewhere"  # it has two repetitions
    assert target["region"].to_numpy().tolist() == regions
    assert target["subject"].to_numpy().tolist() == [f"s{i % 3}" for i in kept]
    assert set(target["hemisphere"].to_numpy()) == {"rh"}
    np.testing.assert_array_equal(target["x"], kept)
    np.testing.assert_array_equal(target["category"], known.categories)
    # The ceiling of two and of three repetitions by hand: r of pairs, Spearman and Brown, root.
    for voxel, number in ((3, 2), (5, 3)):
        pairs = [(i, j) for i in range(number) for j in range(i)]
        r = np.mean([stats.pearsonr(response[:, voxel, i], response[:, voxel, j])[0]
                     for i, j in pairs])  # fmt: skip
        expected = np.sqrt(number * r / (1 + (number - 1) * r))
        found = float(target["ceiling"].sel(neuroid=voxel))
        assert found == pytest.approx(expected, abs=1e-9)


def test_the_later_study_has_the_sounds_of_the_first_and_music_beyond(tmp_path, known):
    """Its folder holds responses and the table of voxels alone."""
    archive_in(tmp_path / "neural" / "NH2015", known)
    folder = tmp_path / "neural" / "B2021"
    folder.mkdir()
    rng = np.random.default_rng(1)
    response = rng.standard_normal((192, 5, 3))
    np.save(folder / "voxel_features_array.npy", response)
    table = {
        "subj_idx": np.arange(5) % 2 + 1,
        "hemi": ["rh", "lh", "rh", "lh", "rh"],
        "voxel_id": np.arange(5),
        "roi_label_general": ["Primary", np.nan, "Primary", np.nan, "Anterior"],
    }
    pd.DataFrame(table).to_pickle(folder / "df_roi_meta.pkl")
    target = brains.load("tuckute-release", root=tmp_path, dataset="B2021")
    assert target["stimulus"].to_numpy().tolist() == known.names
    first = np.load(tmp_path / "neural" / "NH2015" / "neural_stim_meta.npy")["filename"].tolist()
    rows = [first.index(f"{name}.wav".encode()) for name in known.names]
    np.testing.assert_array_equal(target["response"], response[rows])
    assert target["subject"].to_numpy().tolist() == ["s1", "s2", "s1", "s2", "s1"]
    regions = ["Primary", "elsewhere", "Primary", "elsewhere", "Anterior"]
    assert target["region"].to_numpy().tolist() == regions


def test_names_that_are_spelled_otherwise_are_matched_by_their_numbers(tmp_path, known):
    folder = tmp_path / "neural" / "NH2015"
    archive_in(folder, known)
    table = np.load(folder / "neural_stim_meta.npy")
    table["filename"] = [name.replace(b"_", b"_the_") for name in table["filename"]]
    np.save(folder / "neural_stim_meta.npy", table)
    target = brains.load("tuckute-release", root=folder, dataset="NH2015")
    assert target["stimulus"].to_numpy().tolist() == known.names
    table["filename"][0] = b"stim999_nothing.wav"
    np.save(folder / "neural_stim_meta.npy", table)
    with pytest.raises(ValueError, match="1 of 165 sounds are not among the 165 natural sounds"):
        brains.load("tuckute-release", root=folder, dataset="NH2015")


@pytest.mark.parametrize(
    "name", ["voxel_features_array.npy", "voxel_features_meta.npy", "neural_stim_meta.npy",
             "df_roi_meta.pkl"]
)  # fmt: skip
def test_an_archive_without_one_of_its_files_is_one_sentence(tmp_path, known, name):
    archive_in(tmp_path / "neural" / "NH2015", known)
    (tmp_path / "neural" / "NH2015" / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"has no file {name}, which the archive has"):
        brains.load("tuckute-release", root=tmp_path, dataset="NH2015")


def test_what_does_not_go_together_is_one_sentence(tmp_path, known):
    folder = tmp_path / "neural" / "NH2015"
    archive_in(folder, known)
    with pytest.raises(FileNotFoundError, match="has no folder neural/B2021"):
        brains.load("tuckute-release", root=tmp_path, dataset="B2021")
    with pytest.raises(ValueError, match="choose NH2015 or B2021"):
        brains.load("tuckute-release", root=tmp_path, dataset="NH2016")
    with pytest.raises(ValueError, match="has no column 'roi': it has voxel_id"):
        brains.load("tuckute-release", root=tmp_path, dataset="NH2015", region="roi")
    np.save(folder / "voxel_features_array.npy", np.zeros((165, 3, 3)))
    with pytest.raises(ValueError, match=r"shape \(165, 3, 3\).*12 voxels beside it"):
        brains.load("tuckute-release", root=tmp_path, dataset="NH2015")
