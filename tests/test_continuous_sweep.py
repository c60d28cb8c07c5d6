"""Responses to sounds of unequal length in a sweep: targets, the metric, stories, a run by YAML."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import tiny_run
import xarray as xr

import dynamics
from dynamics import analysis, emergence, metrics, sweep
from dynamics.analysis import METHODS, stretches
from dynamics.analysis.continuous import shuffled
from dynamics.analysis.hearing import heard, lead_of
from dynamics.brains import courses, targets
from dynamics.brains.gaps import extents
from dynamics.config import Choice
from dynamics.metrics import subsets
from dynamics.metrics.repeats import ceiling_over_time

RATE = 5.0
LENGTHS = (220, 260, 200, 240, 300, 210)


def recorded(lengths=LENGTHS, v=3, *, rate=RATE, start=0.1, repetitions=1, seed=0, noise=1.0):
    """A target whose responses follow two features of each sound by one sample, and these."""
    rng = np.random.default_rng(seed)
    X = [rng.standard_normal((t, 4)) for t in lengths]
    W = rng.standard_normal((4, v))
    trials = []
    for s, x in enumerate(X):
        signal = np.vstack([np.zeros((1, v)), x[:-1] @ W])
        for _ in range(repetitions):
            trials.append((f"story{s}", signal + noise * rng.standard_normal(signal.shape)))
    data = courses.stacked(trials, rate=rate, start=start, neuroids=[f"n{i}" for i in range(v)])
    return data, X


def joined(data, **options):
    names = data["stimulus"].to_numpy()
    heard = xr.Dataset(coords={"stimulus": names, "category": ("stimulus", ["a"] * len(names))})
    return targets.make_target(data, heard, **options)


def frames_of(X, rate=RATE):
    """Activations of a store, padded, and their times."""
    out = np.full((len(X), max(map(len, X)), X[0].shape[1]), np.nan, np.float32)
    for row, x in zip(out, X):
        row[: len(x)] = x
    return out, (np.arange(out.shape[1]) + 0.5) / rate


def score(target, X, **arguments):
    values, frames = frames_of(X)
    return METHODS["encode_continuous"](
        {"a": values, "b": values[..., ::-1] ** 2}, replace(target, frames=frames), **arguments
    )


def test_fewer_stimuli_than_folds_make_a_target_and_are_split_by_blocks():
    data, X = recorded(LENGTHS[:3])
    target = joined(data)
    assert not target.has_folds and target.lengths == list(LENGTHS[:3])
    assert joined(data, n_folds=3).has_folds
    found = stretches.setting({"windows": [[0, 0.4]], "block": 10.0}, target)
    assert np.concatenate(found.split.folds).max() == 4
    assert any(near.any() for near in found.split.near)
    values = score(target, X, windows=[[0, 0.4]], components=None, block=10.0)
    assert values["score"][1][0].min() > 0.6


def test_the_metric_is_that_of_arrays_on_activations_at_the_times_of_responses():
    data, X = recorded()
    target = joined(data)
    options = {"windows": [(0, 0.4)], "components": None, "alphas": np.logspace(-1, 3, 5)}
    values = score(target, X, **options)
    courses = [y[:t] for y, t in zip(target.course, LENGTHS)]
    single = [x.astype(np.float32).astype(float) for x in X]
    plain = metrics.encode_continuous(
        {"a": single, "b": [(x[:, ::-1].astype(np.float32) ** 2).astype(float) for x in X]},
        courses, rate=RATE, folds=target.folds, **options,
    )  # fmt: skip
    np.testing.assert_allclose(values["score"][1], plain["best_window_r"], atol=1e-9)
    np.testing.assert_allclose(values["best_score"][1], plain["r"], atol=1e-9)
    np.testing.assert_allclose(values["r2"][1], plain["best_window_r"].clip(0) ** 2, atol=1e-9)
    # Without layer b its predictions are those that were kept.
    alone = metrics.encode_continuous({"a": single}, courses, rate=RATE, folds=target.folds,
                                      **options)  # fmt: skip
    np.testing.assert_allclose(values["stimulus_score"][1][0], alone["r_stimulus"], atol=1e-9)
    left = beyond_by_hand(alone["prediction"], courses)
    np.testing.assert_allclose(values["shared_score"][1][0], left, atol=1e-9)


def beyond_by_hand(P, Y):
    """R of what is left without the mean over stimuli at each time, by loops over times."""
    pairs = []
    P, Y = ([x - y.mean(0) for x, y in zip(each, Y)] for each in (P, Y))
    for t in range(max(map(len, Y))):
        here = [s for s in range(len(Y)) if len(Y[s]) > t]
        if len(here) > 1:
            p, y = (np.stack([each[s][t] for s in here]) for each in (P, Y))
            pairs.append((p - p.mean(0), y - y.mean(0)))
    p, y = (np.concatenate(each) for each in zip(*pairs))
    return [np.corrcoef(a, b)[0, 1] for a, b in zip(p.T, y.T)]


def test_a_time_course_that_all_stimuli_share_is_no_score_beyond_it():
    rng, t = np.random.default_rng(0), 40
    onset = np.exp(-np.arange(t) / 5)[:, None]
    X = [onset + 0.1 * rng.standard_normal((t, 1)) for _ in range(20)]
    trials = [(f"s{i}", 3 * onset + rng.standard_normal((t, 2))) for i in range(20)]
    data = courses.stacked(trials, rate=RATE, start=0.1, neuroids=["a", "b"])
    values = score(joined(data), X, windows=[[0, 0]], components=None)
    assert values["score"][1][0].min() > 0.4
    assert np.abs(values["shared_score"][1][0]).max() < 0.15  # 780 samples: 4 standard errors


def test_responses_that_begin_later_or_earlier_are_predicted_from_what_was_heard_before():
    data, X = recorded()
    late = data.isel(time=slice(10, None))
    target = joined(late)
    assert lead_of(target, 3) == 3 and lead_of(joined(data), 3) == 0
    values, frames = frames_of(X)
    lead, found = heard({"a": values}, replace(target, frames=frames), 3)
    assert lead == 3 and len(found["a"][0]) == LENGTHS[0] - 10 + 3
    np.testing.assert_array_equal(found["a"][0], X[0].astype(np.float32)[7:])
    early = data.assign_coords(time=data["time"] - 1.0)
    _, found = heard({"a": values}, replace(joined(early), frames=frames), 3)
    assert np.isnan(found["a"][0][:5]).all() and np.isfinite(found["a"][0][5:]).all()


def test_bad_epochs_are_left_out_neuroid_by_neuroid():
    data, X = recorded()
    data["response"][1, 20:60, 1] = np.nan
    target = joined(data)
    options = {"windows": [(0, 0.4)], "components": None, "alphas": [1.0, 10.0]}
    values = score(target, X, **options)
    whole = score(joined(recorded()[0]), X, **options)
    np.testing.assert_allclose(values["score"][1][:, [0, 2]], whole["score"][1][:, [0, 2]])
    assert values["score"][1][0, 1] != whole["score"][1][0, 1]


def test_the_ceiling_is_that_of_what_was_planted():
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((20_000, 2)) * [1.0, 2.0]
    Y = [signal[part, :, None] + rng.standard_normal((10_000, 2, 3))
         for part in (slice(10_000), slice(10_000, None))]  # fmt: skip
    truth = np.sqrt(np.array([1.0, 4.0]) / (np.array([1.0, 4.0]) + 1 / 3))
    # 20,000 samples know a variance to 1 %.
    np.testing.assert_allclose(ceiling_over_time(Y), truth, atol=0.01)
    every = np.concatenate([y - y.mean(0) for y in Y])
    np.testing.assert_allclose(
        ceiling_over_time(Y), metrics.signal_power(every)["ceiling"], atol=1e-12
    )
    Y[1][:, :, 1:] = np.nan  # heard once
    mixed = np.sqrt(np.array([1.0, 4.0]) / (np.array([1.0, 4.0]) + (1 / 3 + 1) / 2))
    np.testing.assert_allclose(ceiling_over_time(Y), mixed, atol=0.015)


def test_repetitions_correct_scores_for_noise():
    data, X = recorded(repetitions=3)
    target = joined(data)
    values = score(target, X, windows=[[0, 0.4]], components=None)
    ceiling = analysis.ceilings("encode_continuous", target, {})["ceiling"][1]
    np.testing.assert_allclose(values["r2_corrected"][1], values["r2"][1] / ceiling**2)
    assert values["r2_corrected"][1][0] == pytest.approx(1, abs=0.1)  # the model is the signal


def test_shuffled_responses_move_within_what_there_is():
    rng = np.random.default_rng(0)
    Y = [rng.standard_normal((30, 2)), rng.standard_normal((20, 2))]
    Y[0][5:8, 1] = np.nan
    orders = np.array([[[0, 4], [1, 9]], [[1, 0], [0, 0]]])
    first, second = shuffled(Y, orders, (2, 3))
    assert first.shape == (30, 4) and second.shape == (20, 4)
    np.testing.assert_array_equal(first[2:27, 0], np.roll(Y[0][2:27, 0], 4))
    np.testing.assert_array_equal(first[:2, 0], Y[0][:2, 0])
    np.testing.assert_array_equal(np.isnan(first[:, 1]), np.isnan(Y[0][:, 1]))
    kept = Y[0][2:27, 1][np.isfinite(Y[0][2:27, 1])]
    moved = first[2:27, 1][np.isfinite(first[2:27, 1])]
    np.testing.assert_array_equal(moved, np.roll(kept, 4))
    np.testing.assert_array_equal(first[2:17, 2], Y[1][2:17, 0])  # begins again
    np.testing.assert_array_equal(first[17:27, 2], Y[1][2:12, 0])


def test_stories_are_predicted_as_by_the_function_of_arrays():
    rate = 0.5
    data, X = recorded((70, 60, 65, 90, 80), rate=rate, start=1.0, repetitions=1)
    fine = [np.repeat(x, 2, 0) for x in X]  # one frame a second
    values, frames = frames_of(fine, 1.0)
    target = replace(joined(data), frames=frames)
    found = METHODS["encode_continuous"](
        {"a": values}, target, protocol="lebel", test=["story3"], orders=np.zeros((9, 5, 2), int)
    )
    resampled = [
        metrics.lanczos(x.astype(np.float32).astype(float), (np.arange(len(x)) + 0.5),
                        1 + 2 * np.arange(len(x) // 2), unit=False)
        for x in fine
    ]  # fmt: skip
    courses = [y[10 : t - 5] for y, t in zip(target.course, target.lengths)]
    chunks = sum(len(y) for s, y in enumerate(courses) if s != 3) // 40 // 5
    plain = metrics.lebel_ridge(resampled, courses, test=[3], chunks=max(chunks, 1))
    np.testing.assert_allclose(found["score"][1][0], plain["r"], atol=1e-8)
    np.testing.assert_allclose(found["alpha"][1][0], plain["alpha"])
    assert found["null_score"][1].shape == (1, 9, 3)
    with pytest.raises(ValueError, match="name one with the argument `test`"):
        METHODS["encode_continuous"]({"a": values}, target, protocol="lebel")


def test_halves_are_of_stimuli_where_there_are_many_and_of_stretches_else():
    many = stretches.setting({}, joined(recorded((60,) * 25)[0]))
    assert many.enough and [len(set(u)) for u in many.split.units] == [1] * 25
    few = stretches.setting({"windows": [[0, 0.2]]}, joined(recorded()[0]))
    assert few.enough and max(map(max, few.split.units)) > 20
    assert not stretches.setting({}, joined(recorded((20, 22, 18))[0], n_folds=3)).enough
    fold = stretches.folds_of_units(few.split)
    for u, f in zip(few.split.units, few.split.folds):
        assert (fold[u] == f).all()
    assert np.bincount(fold).min() >= 4
    subsets.half_rows(fold, 4)


def test_folds_without_anything_to_train_on_inside_are_said():
    target = joined(recorded((300,))[0])
    with pytest.raises(ValueError, match="shorter guard or fewer folds"):
        stretches.setting({"block": 12.0, "guard": 60.0}, target)

    X = np.random.default_rng(0).standard_normal((1, 300, 2))
    with pytest.raises(ValueError, match="nothing is left to"):
        METHODS["encode_continuous"](
            {"a": X}, replace(target, frames=0.1 + np.arange(300) / RATE), block=12.0, guard=14.0,
            windows=[[0, 0]],
        )  # fmt: skip


def write_sounds(folder, seconds=(9, 11, 8, 10, 12)):
    rng = np.random.default_rng(0)
    (folder / "sounds").mkdir()
    for s, t in enumerate(seconds):
        sound = np.cumsum(rng.standard_normal(16000 * t)) % 2 - 1
        soundfile.write(folder / "sounds" / f"story{s}.wav", 0.3 * sound, 16000)


def config(folder, *, seconds=(9, 11, 8, 10, 12), **changes):
    write_sounds(folder, seconds)
    data, _ = recorded([round(t * RATE) for t in seconds])
    arrays = {str(name): data["response"].sel(stimulus=name).dropna("time").to_numpy()
              for name in data["stimulus"].to_numpy()}  # fmt: skip
    np.savez(folder / "responses.npz", **arrays)
    return tiny_run.sweep_in(
        folder,
        (0, 10),
        stimuli={"name": str(folder / "sounds")},
        targets=[{"name": "trials", "arguments": {"path": str(folder / "responses.npz"),
                                                  "rate": RATE}}],
        pooling={"name": "time", "arguments": {"rate": RATE}},
        baseline="spectrotemporal",
        **changes,
    )  # fmt: skip


ENCODE = {
    "name": "encode_continuous",
    "arguments": {"windows": [[0, 0.2]], "components": 4, "guard": 0.5, "permutations": 9},
}


@pytest.mark.slow
def test_a_sweep_of_audiobook_runs_from_its_file_and_goes_on_where_it_was(
    tmp_path, in_this_process
):
    one = tiny_run.sweep_of(config(tmp_path, metrics=[ENCODE]), resamples=4)
    tree = sweep.run(one)
    results = tree["results/trials/encode_continuous"].to_dataset()
    assert results["score"].dims == ("step", "layer", "neuroid")
    assert results["stimulus"].to_numpy().tolist() == [f"story{s}" for s in range(5)]
    assert {"baseline", "p_value", "shared_score", "stimulus_score", "latency_score"} <= set(
        results
    )
    assert results["p_value"].min() >= 0.1 and "moved around" in results.attrs["shuffled"]
    from dynamics.analysis.analyze import analyze

    assert analyze(one) == {"new": 0, "already": 2}
    table = emergence.summary_of(results, names=("final", "half_time"))
    assert table["final"].notnull().all()
    assert dynamics.open(tmp_path / "tiny.zarr").children


@pytest.mark.parametrize(
    "metric, message",
    [
        ("ridge", "use the metric `encode_continuous`, which splits them by blocks"),
        ("rsa", "needs folds of stimuli, and the 3 stimuli"),
        (ENCODE | {"arguments": {"windows": [[0, 90]]}}, "reaches further back than"),
        (ENCODE | {"arguments": {"block": 9.0}}, "use shorter blocks or fewer folds"),
        (ENCODE | {"arguments": {"trim": [6, 6], "block": 2.0}}, "leave out less at each end"),
        (ENCODE | {"arguments": {"hrf": "gamma", "block": 2.0}}, "use 'none' or 'canonical'"),
        (ENCODE | {"arguments": {"centre": "word", "block": 2.0}}, "cannot be centred over 'word'"),
        (ENCODE | {"arguments": {"windows": 3}}, "give a list of .shortest, longest. delays"),
        (ENCODE | {"arguments": {"protocol": "lebel"}}, "name one with the argument `test`"),
    ],
)  # fmt: skip
def test_what_cannot_be_split_or_predicted_is_said_before_the_crawl(
    tmp_path, metric, message, caplog
):
    one = tiny_run.sweep_of(config(tmp_path, seconds=(9, 11, 10), metrics=[metric]))
    with caplog.at_level(logging.ERROR), pytest.raises(ValueError, match=message) as error:
        sweep.check(one)
    assert "\n" not in str(error.value) and not (tmp_path / "tiny.zarr").exists()


def test_responses_too_short_to_be_moved_are_shuffled_or_refused(tmp_path):
    one = tiny_run.sweep_of(tiny_run.sweep_in(tmp_path, (0,)), permutations=5, metrics=[ENCODE])
    choice = Choice(name="encode_continuous", arguments={"windows": [[0, 0.2]], "block": 1.0})
    many = joined(recorded((15,) * 12)[0])
    orders = analysis.orders_of(many, choice, one)
    assert analysis.scheme_of(many, choice, one) == "overall"
    assert orders.shape == (5, 12, 2) and (orders[..., 1] == 0).all()
    # Longer than twice the reach of 11 samples, but every shift would be one of few.
    assert analysis.scheme_of(joined(recorded((25,) * 12)[0]), choice, one) == "overall"
    long = joined(recorded()[0])
    orders = analysis.orders_of(long, choice, one)
    assert analysis.scheme_of(long, choice, one) == "shifts"
    assert (orders[..., 0] == np.arange(6)).all() and orders[..., 1].min() > 10
    with pytest.raises(ValueError, match="a shorter `guard` or shorter `windows`"):
        analysis.check_shuffles(joined(recorded((15,) * 6)[0]), choice, one)


def test_how_much_of_sounds_and_responses_is_used_is_said():
    data, _ = recorded((50, 40, 60))
    names = data["stimulus"].to_numpy().tolist()
    assert extents(data, names, np.array([10.0, 8.0, 12.0])) == ""
    said = extents(data, names, np.array([20.0, 8.0, 9.0]))
    assert "1 of 3 sounds go on after their responses, whose ends, 10 of 37 s, are not" in said
    assert "1 of 3 responses go on after their sounds, by 3 s at most" in said


def test_pooling_without_time_is_said_before_the_crawl(tmp_path):
    one = tiny_run.sweep_of(config(tmp_path, metrics=[ENCODE]), pooling={"name": "mean"})
    with pytest.raises(ValueError, match="needs activations over time: set `pooling"):
        sweep.check(one)
    assert Choice(name="encode_continuous").label in METHODS
