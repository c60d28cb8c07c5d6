"""Probes of ratings: scores and fits of scikit-learn, tables of folders, and a run."""

import numpy as np
import pytest
import soundfile
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsRegressor
from tiny_run import sweep_in, sweep_of

from dynamics import probes, store
from dynamics.extraction import crawl
from dynamics.probes.fitting import PROBES, Settings
from dynamics.probes.scoring import METRICS, chance, class_scores
from dynamics.progress import silent


@pytest.fixture
def folder(tmp_path):
    """Noises whose level is their arousal."""
    rng = np.random.default_rng(0)
    root = tmp_path / "emotions"
    root.mkdir()
    rows = ["name,valence,arousal,split"]
    for number in range(40):
        level = 0.01 + 0.2 * rng.random()
        soundfile.write(root / f"s{number}.wav", level * rng.standard_normal(4800), 24000)
        split = ("train", "train", "train", "valid", "test")[number % 5]
        rows.append(f"s{number}.wav,{rng.standard_normal():.4f},{np.log(level):.4f},{split}")
    (root / "ratings.csv").write_text("\n".join(rows))
    return root


def test_scores_are_those_of_scikit_learn():
    rng = np.random.default_rng(1)
    true = rng.standard_normal((30, 2)) + 5
    said = true + rng.standard_normal((30, 2)) * [0.3, 2]
    counts = rng.integers(0, 3, size=(4, 30)).astype(float)
    found = METRICS["r2"](said, true, counts), METRICS["pearson"](said, true, counts)
    for row, weight in enumerate(counts):
        assert found[0][row] == pytest.approx(r2_score(true, said, sample_weight=weight))
        again = np.repeat(np.arange(30), weight.astype(int))
        own = [np.corrcoef(said[again, k], true[again, k])[0, 1] for k in range(2)]
        assert found[1][row] == pytest.approx(np.mean(own))
    each = class_scores("r2", said, true)
    np.testing.assert_allclose(each, r2_score(true, said, multioutput="raw_values"))
    assert chance("pearson", true, true) == 0
    assert chance("r2", true[:20], true[20:]) <= 0


def test_fits_are_those_of_scikit_learn():
    rng = np.random.default_rng(2)
    known, unknown = rng.standard_normal((30, 50)), rng.standard_normal((9, 50))
    known -= known.mean(0)
    ratings = rng.standard_normal((30, 2)) + 3
    for kind, model in (
        ("ridge", lambda value: Ridge(value)),
        ("knn", lambda value: KNeighborsRegressor(min(int(value), 30))),
    ):
        probe = PROBES[kind]
        found = probe.answers(probe.values, known, ratings, unknown, Settings(kind, "r2"))
        for number, value in enumerate(probe.values):
            expected = model(value).fit(known, ratings).predict(unknown)
            np.testing.assert_allclose(found[number], expected, rtol=1e-6, atol=1e-8)


def test_ratings_are_told_along_training(tmp_path, folder):
    content = sweep_in(
        tmp_path, (0, 10), baseline=None, resamples=4,
        stimuli={"name": "synthetic", "arguments": {"per_kind": 1, "seconds": 0.3}},
        probes=[
            {"name": "ratings", "label": kind,
             "arguments": {"path": str(folder), "metric": "pearson", "probe": kind}}
            for kind in ("ridge", "knn")
        ],
    )  # fmt: skip
    made = sweep_of(content)
    crawl.crawl(made, advance=silent)
    assert probes.probe(made, advance=silent)["new"] == 4
    for kind in ("ridge", "knn"):
        found = store.open(made.store)[f"results/{kind}/probe"].to_dataset()
        assert found["class"].to_numpy().tolist() == ["valence", "arousal"]
        level = found["class_score"].sel({"class": "arousal"})
        assert (level > 0.5).all(), "the level of a sound is in every layer"
        assert found["resample_score"].sizes["resample"] == 4 and float(found["chance"]) == 0
        assert found["class_train_count"].to_numpy().tolist() == [32, 32]
        assert float(found["layer_weight"].isel(step=0).sum()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"probe": "logistic"}, "is of ratings, which ridge and knn tell"),
        ({"keep": "answers"}, "has not one class a sound"),
        ({"columns": "joy"}, "has no column 'joy'"),
        ({"metric": "accuracy"}, "scored by r2 or pearson"),
    ],
)
def test_what_ratings_cannot_be_is_one_sentence(tmp_path, folder, change, words):
    probe = {"name": "ratings", "arguments": {"path": str(folder), **change}}
    content = sweep_in(
        tmp_path, (0,), baseline=None, probes=[probe],
        stimuli={"name": "synthetic", "arguments": {"per_kind": 1, "seconds": 0.3}},
    )  # fmt: skip
    made = sweep_of(content)
    crawl.crawl(made, advance=silent)
    with pytest.raises(ValueError, match=words):
        probes.probe(made, advance=silent)


def test_tables_of_ratings_are_complete(folder):
    table = folder / "ratings.csv"
    whole = table.read_text()
    for old, new, words in (
        ("s3.wav,", "other.wav,", "has no row for the sound 's3'"),
        ("s0.wav,", "s0.wav,high", "is 'high"),
        ("valence,arousal,split", "valence,arousal,part", "'part' of 's0' is 'train'"),
    ):
        table.write_text(whole.replace(old, new, 1))
        with pytest.raises(ValueError, match=words):
            probes.load("ratings", path=str(folder))
    table.unlink()
    with pytest.raises(FileNotFoundError, match=r"has no ratings\.csv"):
        probes.load("ratings", path=str(folder))
