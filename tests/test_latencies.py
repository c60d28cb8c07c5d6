"""RSA and CKA at each latency: the whole time at once is the metric itself, and when is found."""

import numpy as np
import pytest
import soundfile
import xarray as xr
import yaml
from tiny_run import save_checkpoint

from dynamics import analysis, metrics, store
from dynamics.analysis import METHODS
from dynamics.analysis.analyze import analyze
from dynamics.brains.targets import Target
from dynamics.config import load_config
from dynamics.extraction.crawl import crawl
from dynamics.metrics import latencies, subsets
from dynamics.sweep import check

N, T, RATE = 40, 30, 25.0
TIMES = -0.2 + np.arange(T) / RATE
rng = np.random.default_rng(0)
LAYERS = {"a": rng.standard_normal((N, 12)), "b": rng.standard_normal((N, 20))}


def target_of(course, **more):
    v = course.shape[2]
    given = {
        "subjects": np.repeat(["s", "t"], [v // 2, v - v // 2]), "regions": np.full(v, "r"),
        "course": course, "times": TIMES[: course.shape[1]],
    } | more  # fmt: skip
    with np.errstate(invalid="ignore"):
        mean = np.nanmean(course, 1)
    return Target(np.arange(len(course)), mean, np.arange(len(course)) % 5, **given)


def planted(layer="a", since=0.2, noise=0.6):
    """Responses that carry a layer's geometry from a latency on, and noise before."""
    own = np.random.default_rng(1)
    X = LAYERS[layer]
    signal = X @ own.standard_normal((X.shape[1], 16)) / X.shape[1] ** 0.5
    course = noise * own.standard_normal((N, T, 16))
    course[:, np.greater(TIMES, since - 1e-9)] += signal[:, None]
    return course


@pytest.mark.parametrize("name", ["rsa", "cka"])
def test_one_window_of_the_whole_time_is_the_metric_itself(name):
    target = target_of(planted())
    orders = metrics.permutations(N, 7)
    halves = subsets.half_rows(target.folds, 6, seed=0)
    given = {"choose": None} if name == "rsa" else {}
    whole = METHODS[name](LAYERS, target, halves=halves, orders=orders, **given)
    found = METHODS[f"{name}_time"](
        LAYERS, target, window=T / RATE, resamples=6, halves=halves, orders=orders
    )
    for key in ("score", "resample_score", "null_score"):
        assert found[key][0] == whole[key][0]
        np.testing.assert_allclose(found[key][1], whole[key][1], atol=1e-10)
    np.testing.assert_allclose(found["time_score"][1][:, 0], whole["score"][1], atol=1e-10)


@pytest.mark.parametrize("name", ["rsa", "cka"])
@pytest.mark.parametrize("timed", [False, True])
def test_each_latency_is_the_metric_on_its_window(name, timed):
    course = planted()
    target = target_of(course)
    layers = LAYERS
    if timed:
        more = rng.standard_normal((T, 1, 1))
        layers = {key: (X[:, None] * more[None, :, 0]) + 0.1 * rng.standard_normal((N, T, 1))
                  for key, X in LAYERS.items()}  # fmt: skip
    how = {"window": 0.12, "step": 0.08}
    kind = {"activations": "time", "lag": 0.08} if timed else {}
    found = METHODS[f"{name}_time"](layers, target, **how, **kind)
    windows = latencies.windows_of(TIMES, **how)
    assert windows.length == 3 and (np.diff(windows.starts) == 2).all()
    np.testing.assert_allclose(windows.centres[:2], TIMES[[1, 3]])
    plain = getattr(metrics, name)
    for place, start in enumerate(windows.starts):
        Y = course[:, start : start + 3].mean(1)
        for row, X in enumerate(layers.values()):
            x = X[:, max(start - 2, 0) : start + 1].mean(1) if timed else X
            for column, part in enumerate((Y[:, :8], Y[:, 8:])):
                score = found["time_score"][1][row, place, column]
                np.testing.assert_allclose(score, plain(x, part), atol=1e-10)
    after = windows.centres >= 0
    np.testing.assert_allclose(
        found["score"][1], found["time_score"][1][:, after].mean(1), atol=1e-12
    )
    alone = getattr(metrics, f"{name}_time")(
        layers, course[:, :, :8], times=TIMES, lag=0.08 if timed else 0.0, **how
    )
    np.testing.assert_allclose(alone["score"], found["time_score"][1][..., 0], atol=1e-10)
    np.testing.assert_allclose(alone["time"], windows.centres)


def test_a_latency_agrees_with_rsatoolbox():
    rsatoolbox = pytest.importorskip("rsatoolbox")
    course = planted()
    target = target_of(course, subjects=np.full(16, "all"))
    found = METHODS["rsa_time"](LAYERS, target, window=0.08, zscore=False)["time_score"][1]
    starts = latencies.windows_of(TIMES, 0.08).starts
    for place in (3, 9):
        Y = course[:, starts[place] : starts[place] + 2].mean(1)
        rdms = [
            rsatoolbox.rdm.calc_rdm(rsatoolbox.data.Dataset(each), method="correlation")
            for each in (LAYERS["a"], Y)
        ]
        theirs = rsatoolbox.rdm.compare(*rdms, method="spearman")[0, 0]
        assert found[0, place, 0] == pytest.approx(theirs, abs=1e-10)


@pytest.mark.parametrize("name", ["rsa_time", "cka_time"])
def test_a_planted_latency_is_found(name):
    found = METHODS[name](LAYERS, target_of(planted(since=0.2)), window=0.08)
    scores, when = found["time_score"][1], latencies.windows_of(TIMES, 0.08).centres
    assert (scores[0][when > 0.2] > 0.35).all() and (np.abs(scores[0][when < 0.2]) < 0.15).all()
    assert (np.abs(scores[1]) < 0.2).all()
    assert (found["best_time"][1][0] > 0.2).all()
    # From the onset on: before it there is nothing, and it does not dilute the score.
    assert found["score"][1][0, 0] == pytest.approx(scores[0, when >= 0, 0].mean())


@pytest.mark.parametrize("name", ["rsa_time", "cka_time"])
def test_activations_that_lead_by_a_lag(name):
    own = np.random.default_rng(2)
    steps = own.standard_normal((N, T, 10))
    weights = own.standard_normal((10, 12))
    course = 0.2 * own.standard_normal((N, T, 12))
    course[:, 5:] += (steps @ weights)[:, :-5] / 3
    target, how = target_of(course), {"activations": "time", "window": 0.04}
    best = {lag: METHODS[name]({"x": steps}, target, lag=lag, **how)["score"][1].mean()
            for lag in (0.0, 0.16, 0.2, 0.24)}  # fmt: skip
    assert max(best, key=best.get) == 0.2 and best[0.2] > 0.5 and abs(best[0.0]) < 0.1
    crossed = METHODS[name]({"x": steps}, target, cross=True, **how)
    dims, table = crossed["cross_score"]
    assert dims == ("layer", "sound_time", "time", "subject")
    assert (table[0, :, :, 0].argmax(1)[:-5] == np.arange(T - 5) + 5).all()
    np.testing.assert_allclose(
        table[0, :, :, 0].diagonal(), crossed["time_score"][1][0, :, 0], atol=1e-10
    )
    alone = getattr(metrics, name)(steps, course[..., :6], times=TIMES, window=0.04, cross=True)
    np.testing.assert_allclose(alone["score"][0], table[0, :, :, 0], atol=1e-10)


@pytest.mark.parametrize("timed", [False, True])
def test_sounds_of_unequal_length_are_compared_as_long_as_they_are_there(timed):
    course = planted(noise=0.3)
    course[25:, 20:] = np.nan
    course[5:, 26:] = np.nan  # fewer are left than can be compared
    layers = {"x": LAYERS["a"]}
    if timed:
        layers = {"x": np.repeat(LAYERS["a"][:, None], T, 1)}
        layers["x"][25:, 20:] = np.nan
    kind = {"activations": "time"} if timed else {}
    found = METHODS["rsa_time"](layers, target_of(course), window=0.04, **kind)["time_score"][1]
    few = metrics.rsa(LAYERS["a"][:25], course[:25, 22, :8])
    assert found[0, 22, 0] == pytest.approx(few, abs=0.02)  # z-scored over those that there are
    assert np.isfinite(found[0, :26]).all() and np.isnan(found[0, 26:]).all()


def test_bad_arguments_are_one_sentence():
    target = target_of(planted())
    for given, message in (
        ({"window": 0}, "window is 0: give seconds above 0"),
        ({"window": "long"}, "window is 'long'"),
        ({"step": -1.0}, "step is -1.0: give seconds above 0"),
        ({"window": 9.0}, "longer than the responses of 1.2 s: give a shorter `window`"),
        ({"activations": "last"}, "use mean or time"),
        ({"resamples": 3}, "even number"),
    ):
        for name in ("rsa_time", "cka_time"):
            with pytest.raises(ValueError, match=message):
                METHODS[name](LAYERS, target, halves=subsets.half_rows(target.folds, 4, seed=0),
                              **given)  # fmt: skip
    with pytest.raises(ValueError, match="another distance than crossnobis"):
        METHODS["rsa_time"](LAYERS, target, distance="crossnobis")
    with pytest.raises(ValueError, match="use a target with a time axis"):
        METHODS["cka_time"](LAYERS, Target(target.rows, target.response, target.folds,
                                           target.subjects))  # fmt: skip
    with pytest.raises(ValueError, match="no time axis to be crossed"):
        metrics.rsa_time(LAYERS, planted(), times=TIMES, cross=True)
    with pytest.raises(ValueError, match="resample it to"):
        metrics.cka_time(np.zeros((N, 4, 2)), planted(), times=TIMES)
    with pytest.raises(ValueError, match="there are 3 times"):
        metrics.cka_time(LAYERS, planted(), times=TIMES[:3])


def test_what_is_needed_depends_on_the_arguments():
    assert analysis.find("rsa_time").needs == ("course",)
    assert analysis.find("rsa_time", {"activations": "time"}).needs == ("time",)
    assert analysis.find("cka_time", {"cross": True}).needs == ("time",)


@pytest.fixture
def sweep(tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for number, step in enumerate((0, 10)):
        save_checkpoint(folder, step, seed=number)
    own = np.random.default_rng(0)
    (tmp_path / "sounds").mkdir()
    names = [f"s{number}" for number in range(20)]
    for name in names:
        sound = 0.1 * own.standard_normal(6400)
        soundfile.write(tmp_path / "sounds" / f"{name}.wav", sound, 16000)
    response = own.standard_normal((20, 12, 6))
    np.savez(tmp_path / "b.npz", response=response, stimulus=names, time=np.arange(12) / 25,
             subject=["p", "q"] * 3)  # fmt: skip
    content = {
        "run": "r", "store": str(tmp_path / "r.zarr"), "checkpoints": str(folder),
        "model": {"name": "encodecmae", "arguments": {"heads": 2}}, "workers": 1,
        "stimuli": str(tmp_path / "sounds"), "baseline": None, "report": False, "resamples": 4,
        "pooling": {"name": "time", "arguments": {"rate": 25}}, "permutations": 9,
        "targets": [{"name": str(tmp_path / "b.npz"), "label": "mine"}],
        "metrics": [
            {"name": "rsa_time", "arguments": {"resamples": 4}},
            {"name": "cka_time", "arguments": {"activations": "time", "cross": True, "window": 0.12,
                                               "targets": ["mine"]}},
        ],
    }  # fmt: skip
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(content))
    return load_config(tmp_path / "sweep.yaml")


def test_a_sweep_has_them_with_times_intervals_and_nulls(sweep, in_this_process):
    check(sweep)
    crawl(sweep)
    analyze(sweep)
    tree = store.open(sweep.place)
    found = tree["results/mine/rsa_time"].to_dataset()
    assert found["time_score"].dims == ("step", "layer", "time", "subject")
    np.testing.assert_allclose(found["time"], [0.02, 0.10, 0.18, 0.26, 0.34, 0.42], atol=1e-9)
    assert found["resample_score"].sizes["resample"] == 4 and "p_value" in found
    assert found.sizes["subject"] == 2
    crossed = tree["results/mine/cka_time"].to_dataset()
    assert crossed["cross_score"].dims == ("step", "layer", "sound_time", "time", "subject")
    assert crossed["best_time"].attrs["units"] == "s"
    # The store's own activations give the same.
    layers = {k: np.nanmean(v, 1) for k, v in store.read_activations(sweep.place, 10).items()}
    data = np.load(sweep.targets[0].name)
    order = [list(data["stimulus"]).index(name)
             for name in tree["activations"]["stimulus"].to_numpy()]  # fmt: skip
    course = data["response"][order][:, :, ::2]
    again = metrics.rsa_time(layers, course, times=data["time"])["score"]
    kept = found["time_score"].sel(step=10, subject="p").transpose("layer", "time")
    np.testing.assert_allclose(kept, again, atol=1e-6)
    assert isinstance(found, xr.Dataset)


def test_ceilings_are_the_mean_over_latencies_of_those_of_each_and_stimuli_are_counted():
    course = planted(noise=1.0)
    course[25:, 20:] = np.nan
    course[5:, 26:] = np.nan  # fewer are left than can be compared
    target = target_of(course)
    kept = [metrics.latencies.windowed(course, metrics.latencies.windows_of(TIMES, 0.08), k)
            for k in range(15)]  # fmt: skip
    given = {"window": 0.08, "step": None, "cross": False}
    counts = METHODS["rsa_time"].coordinates(given, target)["stimuli_per_latency"]
    assert counts == ("time", [40] * 10 + [25] * 3 + [5] * 2)
    for name, plain in (("rsa", {}), ("cka", {"debiased": True})):
        found = analysis.ceilings(f"{name}_time", target, given | plain)
        each = [
            analysis.ceilings(name, target_of(Y[np.isfinite(Y).all(1)][:, None], times=None), plain)
            for Y in kept[3:13]  # centred .06 s and later, with 25 stimuli or more
        ]
        for bound in ("ceiling_lower", "ceiling_upper"):
            expected = np.mean([float(one[bound][1]) for one in each])
            assert float(found[bound][1]) == pytest.approx(expected, abs=1e-10)
        assert 0 < float(found["ceiling_lower"][1]) < float(found["ceiling_upper"][1]) <= 1
