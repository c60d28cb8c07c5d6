"""Answers kept sound by sound, their agreement with listeners', and both parts of a score."""

import numpy as np
import pytest
import xarray as xr
from plots_results import results
from sklearn.metrics import cohen_kappa_score
from sklearn.neighbors import KNeighborsClassifier
from tiny_run import sweep_in, sweep_of

from dynamics import plots, probes, store
from dynamics.extraction import crawl
from dynamics.probes.fitting import PROBES, Settings
from dynamics.progress import silent
from dynamics.sounds import StimulusSet

CLASSES = ["drum", "flute", "voice"]


def probe_of(answers):
    """Results of a probe with given answers (step, layer, sound)."""
    answers = np.asarray(answers)
    return xr.Dataset(
        {"answer": (("step", "layer", "sound"), answers)},
        coords={
            "step": [0, 10, 1000][: len(answers)],
            "layer": [f"layer{i}" for i in range(answers.shape[1])],
            "sound": [f"s{i}.wav" for i in range(answers.shape[2])],
            "class": CLASSES,
        },
    )


def test_agreement_is_that_of_scikit_learn_with_one_listener():
    rng = np.random.default_rng(0)
    said, heard = rng.integers(3, size=(2, 2, 40)), rng.integers(3, size=40)
    said[1, 1, :30] = heard[:30]
    listener = {f"s{i}": CLASSES[own] for i, own in enumerate(heard)}
    found = probes.agreement(probe_of(said), listener)
    for step in range(2):
        for layer in range(2):
            at = found.isel(step=step, layer=layer)
            assert float(at["agreement"]) == pytest.approx((said[step, layer] == heard).mean())
            oracle = cohen_kappa_score(said[step, layer], heard, labels=[0, 1, 2])
            assert float(at["kappa"]) == pytest.approx(oracle)
    assert found["lower"][1, 1] > 0.6 and found.attrs == {"sounds": 40, "listeners": 40}


def test_several_listeners_count_by_their_share_and_what_never_tests_does_not(tmp_path):
    said = [[[0, 1, 2, -1]]]
    path = tmp_path / "listeners.csv"
    rows = ["sound,answer"]
    rows += [f"s0.wav,{name}" for name in ("drum", "drum", "flute", "voice")]
    path.write_text("\n".join([*rows, "s1,flute", "s2,drum", "s3,drum"]))
    found = probes.agreement(probe_of(said), path)
    assert found["agreement"].item() == pytest.approx((0.5 + 1 + 0) / 3)
    assert found.attrs == {"sounds": 3, "listeners": 6}
    for listener, words in (
        ({"s0": "oboe"}, "answer 'oboe' to 's0', which is no class"),
        ({"other": "drum"}, "no sound that tests the probe"),
    ):
        with pytest.raises(ValueError, match=words):
            probes.agreement(probe_of(said), listener)
    with pytest.raises(ValueError, match="give the task 'keep: answers'"):
        probes.agreement(probe_of(said).drop_vars("answer"), path)
    path.write_text("name,answer\ns0,drum\n")
    with pytest.raises(ValueError, match="has no column 'sound'"):
        probes.agreement(probe_of(said), path)


def test_a_brain_like_score_has_both_parts_along_training(tmp_path):
    rng = np.random.default_rng(1)
    heard = rng.integers(3, size=60)
    right = [0.33, 0.6, 0.9]
    said = [[np.where(rng.random(60) < share, heard, rng.integers(3, size=60))] for share in right]
    cortical = results()
    listener = {f"s{i}": CLASSES[own] for i, own in enumerate(heard)}
    found = probes.brain_like(cortical, probe_of(said), listener, weight=0.25)
    assert found["step"].to_numpy().tolist() == [0, 10, 1000]
    regions = cortical["score"].groupby("region").mean()
    part = regions.max("layer").mean("region").sel(step=found["step"])
    np.testing.assert_allclose(found["cortical"], part, rtol=1e-12)
    own = np.mean(np.array(said)[:, 0] == heard, axis=1)
    np.testing.assert_allclose(found["behavioural"], own)
    np.testing.assert_allclose(found["score"], 0.25 * part + 0.75 * own, rtol=1e-12)
    assert np.isnan([found["score_lower"], found["cortical_upper"]]).all()  # chosen of three
    drawn = plots.plot_brain_like(found).figure.legends[0].get_title().get_text()
    assert "cortical part and weighted mean: no limits, the best of several" in " ".join(
        drawn.split()
    )
    one = cortical.isel(layer=[1])
    found = probes.brain_like(one, probe_of(said), listener, weight=0.25)
    assert (found["score_lower"] < found["score"]).all()
    half = [float((found[f"{n}_upper"] - found[n])[2]) for n in ("cortical", "score")]
    behind = 0.75 * 1.959964 * float(probes.agreement(probe_of(said), listener)["error"][2, 0])
    assert half[1] == pytest.approx(np.hypot(0.25 * half[0], behind))
    ax = plots.plot_brain_like(found)
    assert ax.get_ylabel() == "Score"
    told = ax.figure.legends[0].get_title().get_text().replace("\n", " ")
    assert "stimuli, over sounds of the task, and over both" in told and "no limits" not in told
    with pytest.raises(ValueError, match="has no region 'A1'"):
        probes.brain_like(cortical, probe_of(said), listener, areas=["A1"])


@pytest.mark.slow
def test_answers_are_kept_where_a_task_asks_for_them(tmp_path):
    content = sweep_in(
        tmp_path, (0, 10),
        stimuli={"name": "synthetic", "arguments": {"per_kind": 3, "seconds": 0.4}},
        probes=[{"name": "stimuli-category", "arguments": {"keep": "answers"}}],
        baseline=None, resamples=4,
    )  # fmt: skip
    made = sweep_of(content)
    crawl.crawl(made, advance=silent)
    probes.probe(made, advance=silent)
    found = store.open(made.store)["results/stimuli-category/probe"].to_dataset()
    task = probes.load("stimuli-category", stimuli=_stimuli(made))
    names = np.array(task.classes)
    said = found["answer"].isel(step=-1)
    right = names[said.to_numpy()] == np.array(task.stimuli.categories)
    # Folds differ in size by a sound: the mean over folds is that of the folds' rates.
    fold = np.array(task.splits)
    for layer in range(said.sizes["layer"]):
        rate = np.mean([right[layer, fold == name].mean() for name in sorted(set(fold))])
        assert rate == pytest.approx(float(found["score"].isel(step=-1)[layer]))
    assert found["sound"].to_numpy().tolist() == list(task.stimuli.names)
    wrong = content | {"probes": [{"name": "stimuli-category", "arguments": {"keep": "all"}}]}
    with pytest.raises(ValueError, match="`keep` can be 'answers'"):
        probes.check_names(sweep_of(wrong))


def _stimuli(sweep) -> StimulusSet:
    from dynamics import sounds

    return sounds.load(sweep.stimuli.name, **sweep.stimuli.arguments)


def test_neighbours_vote_as_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    known, unknown = rng.standard_normal((50, 4)), rng.standard_normal((20, 4))
    y = rng.integers(3, size=50)
    labels = np.eye(3, dtype=bool)[y]
    probe = PROBES["knn"]
    found = probe.answers(probe.values, known, labels, unknown, Settings("knn"))
    for number, k in enumerate(probe.values):
        model = KNeighborsClassifier(int(k)).fit(known, y)
        np.testing.assert_allclose(found[number], model.predict_proba(unknown))
    few = probe.answers([40.0], known[:8], labels[:8], unknown, Settings("knn"))
    np.testing.assert_allclose(few[0], np.broadcast_to(labels[:8].mean(0), (20, 3)))
