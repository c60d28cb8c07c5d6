import numpy as np
import pytest
import sklearn.metrics
import torch
from scipy import stats
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.preprocessing import StandardScaler

from dynamics import emergence
from dynamics.probes import PROBES, fitting, layers, make_task, mixing, overall, resampling, scoring
from dynamics.probes.fitting import Partition, Settings, fit
from dynamics.sounds import StimulusSet

N = 120


def silent_set(n, categories=None):
    return StimulusSet(
        name="none",
        names=tuple(f"s{i}" for i in range(n)),
        categories=tuple(categories or ["x"] * n),
        durations=np.ones(n),
        sources=(lambda: (np.zeros(8, "float32"), 8000),) * n,
    )


def classes_and_space(*, strength, n=N, p=20, k=4, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % k)
    X = strength * rng.standard_normal((k, p))[y] + rng.standard_normal((n, p))
    return y, X


def thirds(n=N):
    rows = np.random.default_rng(5).permutation(n)
    train, valid, test = np.split(rows, [n // 2, 3 * n // 4])
    return Partition(((train, valid),), np.concatenate([train, valid]), test)


def hot(y, k=4):
    return np.eye(k, dtype=bool)[y]


@pytest.mark.parametrize(("n", "p"), [(120, 20), (40, 40), (40, 90)])
def test_ridge_answers_are_those_of_scikit_learn_for_every_penalty(n, p):
    y, X = classes_and_space(strength=0.5, n=n, p=p)
    X = StandardScaler().fit_transform(X)
    values = [1e4, 10.0, 0.1]
    found = fitting.ridge_answers(values, X, hot(y), X[:9] + 1, Settings())
    for value, decision in zip(values, found):
        model = RidgeClassifier(value).fit(X, y)
        # two solvers of one well-conditioned system in float64
        np.testing.assert_allclose(decision, model.decision_function(X[:9] + 1), atol=1e-7)


def test_the_penalty_is_the_best_on_validation_sounds_and_both_then_train():
    y, X = classes_and_space(strength=0.35)
    part = thirds()
    (train, valid), test = part.choices[0], part.test
    found = fit(X, hot(y), part, Settings("logistic"))
    scaler = StandardScaler().fit(X[train])
    accuracy = [
        LogisticRegression(C=C, max_iter=300)
        .fit(scaler.transform(X[train]), y[train])
        .score(scaler.transform(X[valid]), y[valid])
        for C in PROBES["logistic"].values
    ]
    assert found.value == PROBES["logistic"].values[int(np.argmax(accuracy))]
    assert found.validation == max(accuracy)
    scaler = StandardScaler().fit(X[part.train])
    model = LogisticRegression(C=found.value, max_iter=300)
    model.fit(scaler.transform(X[part.train]), y[part.train])
    expected = model.decision_function(scaler.transform(X[test]))
    np.testing.assert_allclose(found.decision, expected, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(PROBES))
def test_a_planted_difference_is_found_and_random_labels_stay_at_chance(kind):
    part = thirds()
    truth = hot(classes_and_space(strength=1.0)[0])
    ones = np.ones((1, len(part.test)))
    y, X = classes_and_space(strength=1.0)
    found = fit(X, hot(y), part, Settings(kind))
    assert scoring.accuracy(found.decision, truth[part.test], ones)[0] > 0.95
    scores = []
    for seed in range(8):
        labels = hot(np.random.default_rng(seed).permutation(y))
        found = fit(X, labels, part, Settings(kind))
        scores.append(scoring.accuracy(found.decision, labels[part.test], ones)[0])
    # 240 answers at a chance of 1/4: three standard errors are 0.084
    assert abs(np.mean(scores) - 0.25) < 0.085


@pytest.mark.parametrize("kind", list(PROBES))
def test_poisoned_test_labels_change_nothing_that_is_chosen_or_answered(kind):
    y, X = classes_and_space(strength=0.4)
    part = thirds()
    poisoned = y.copy()
    poisoned[part.test] = (poisoned[part.test] + 1) % 4
    one, other = (fit(X, hot(labels), part, Settings(kind)) for labels in (y, poisoned))
    assert (one.value, one.validation) == (other.value, other.validation)
    np.testing.assert_array_equal(one.decision, other.decision)
    spaces = [X, X[:, ::-1].copy()]
    (one, w), (other, v) = (
        mixing.fit_mix(spaces, hot(labels), part, Settings(kind)) for labels in (y, poisoned)
    )
    np.testing.assert_array_equal(one.decision, other.decision)
    np.testing.assert_array_equal(w, v)
    # Validation labels, though, do choose.
    valid = part.choices[0][1]
    shifted = y.copy()
    shifted[valid] = (shifted[valid] + 1) % 4
    assert fit(X, hot(shifted), part, Settings(kind)).validation != one.validation


def test_average_precision_with_weights_and_ties_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    decision = rng.integers(0, 12, (60, 3)).astype(float)  # many ties
    labels = rng.random((60, 3)) < 0.3
    weights = np.vstack([np.ones(60), rng.integers(0, 4, (5, 60))])
    found = scoring.average_precision(decision, labels, weights)
    for row, own in enumerate(weights):
        for column in range(3):
            expected = sklearn.metrics.average_precision_score(
                labels[:, column], decision[:, column], sample_weight=own
            )
            np.testing.assert_allclose(found[row, column], expected, rtol=1e-12)
    np.testing.assert_allclose(
        scoring.mean_average_precision(decision, labels, weights), found.mean(1), rtol=1e-12
    )
    labels[:, 1] = False  # a class that does not occur is left out of the mean
    np.testing.assert_allclose(
        scoring.mean_average_precision(decision, labels, weights), found[:, [0, 2]].mean(1)
    )


def test_accuracy_and_chroma_accuracy_count_what_they_say():
    labels = hot(np.array([0, 1, 2, 3]))
    decision = hot(np.array([0, 2, 2, 1])).astype(float)
    rows = np.array([[1, 1, 1, 1], [0, 2, 2, 0]])
    np.testing.assert_allclose(scoring.accuracy(decision, labels, rows), [0.5, 0.5])
    chroma = np.array([9, 10, 10, 11])  # classes 1 and 2 are an octave apart
    np.testing.assert_allclose(scoring.chroma_accuracy(decision, labels, rows, chroma), [0.75, 1.0])
    np.testing.assert_array_equal(scoring.class_scores("accuracy", decision, labels), [1, 0, 1, 0])
    train, test = hot(np.array([1, 1, 1, 0])), hot(np.array([1, 0, 2, 3, 1]))
    assert scoring.chance("accuracy", train, test) == 0.4
    assert scoring.chance("mAP", train, test) == pytest.approx(test.mean(0).mean())


def test_several_labels_a_sound_are_scored_by_mean_average_precision():
    rng = np.random.default_rng(2)
    labels = rng.random((N, 3)) < 0.4
    X = labels @ rng.standard_normal((3, 15)) * 2 + rng.standard_normal((N, 15))
    part = thirds()
    ones = np.ones((1, len(part.test)))
    for kind in ("ridge", "logistic"):
        found = fit(X, labels, part, Settings(kind, "mAP", multilabel=True))
        score = scoring.mean_average_precision(found.decision, labels[part.test], ones)
        assert score[0] > 0.9
    part = Partition(part.choices, part.train, part.test)
    labels[part.train, 2] = False  # a class without a positive sound to learn from
    for kind in PROBES:
        found = fit(X, labels, part, Settings(kind, "mAP", multilabel=True))
        assert np.isfinite(found.decision).all()


def test_the_mix_weighs_the_layer_that_knows_and_beats_the_mean_of_layers():
    y, good = classes_and_space(strength=0.6)
    rng = np.random.default_rng(9)
    noise = [rng.standard_normal(good.shape) for _ in range(3)]
    found, weights = mixing.fit_mix([noise[0], good, *noise[1:]], hot(y), thirds())
    assert weights.argmax() == 1 and weights[1] > 0.6
    np.testing.assert_allclose(weights.sum(), 1, atol=1e-6)
    assert weights.min() > 0
    part = thirds()
    ones = np.ones((1, len(part.test)))
    score = scoring.accuracy(found.decision, hot(y)[part.test], ones)[0]
    mean = fit(np.mean([*noise, good], axis=0), hot(y), part)
    assert score > scoring.accuracy(mean.decision, hot(y)[part.test], ones)[0] + 0.1
    X = mixing.mixed([noise[0], good, *noise[1:]], part.train, weights)
    again = fitting.decide(X, hot(y), part, found.value, Settings())
    np.testing.assert_array_equal(again, found.decision)


def test_mix_weights_are_a_minimum_of_their_loss():
    y, X = classes_and_space(strength=0.5, p=6)
    first = np.arange(6) < 3  # each layer knows half
    Z = np.stack([np.where(first, X, 0), np.where(first, 0, X)])
    Z = torch.from_numpy(Z.astype("float32"))
    labels, penalty = hot(y), 0.1

    def loss(logit):
        w = torch.softmax(torch.tensor([logit, 0.0]), 0)
        mix = torch.tensordot(w, Z, dims=1).double().numpy()
        mix /= np.sqrt((mix**2).mean())
        # the same loss in scikit-learn's scaling: mean cross-entropy + |B|^2 / (2 C n)
        model = LogisticRegression(C=4 / (2 * penalty * len(y)), max_iter=500, tol=1e-9)
        model.fit(mix, y)
        own = -np.log(model.predict_proba(mix)[labels]).mean()
        return own + penalty * (model.coef_**2).sum() / 4

    found = mixing.layer_weights(Z, labels, penalty)
    logit = float(torch.log(found[0] / found[1]))
    assert abs(logit) < 3
    assert loss(logit) < min(loss(logit - 0.2), loss(logit + 0.2))


def test_layers_of_another_width_are_left_out_of_the_mix():
    assert mixing.mixed_layers([512, 768, 768]) == [1, 2]
    assert mixing.mixed_layers([4, 4, 8, 8]) == [2, 3]
    y, X = classes_and_space(strength=0.6)
    task = make_task("t", silent_set(N), [str(c) for c in y], ["train", "valid", "test"] * (N // 3))
    values = layers.probe_layers({"a": X[:, :7], "b": X, "c": X + 1}, task, resamples=0)
    assert np.isnan(values["layer_weight"][1][0]) and values["layer_weight"][1][1:].sum() > 0.99


def test_scores_of_folds_are_means_over_folds_and_resamples_are_paired():
    y, X = classes_and_space(strength=0.5)
    task = make_task("t", silent_set(N), [str(c) for c in y], [f"fold{i % 4}" for i in range(N)])
    noise = np.random.default_rng(3).standard_normal(X.shape)
    spaces = {"good": X, "same": X.copy(), "noise": noise}
    values = layers.probe_layers(spaces, task, resamples=4, seed=1)
    score, folds = values["score"][1], values["fold_score"][1]
    assert folds.shape == (3, 4)
    np.testing.assert_allclose(score, folds.mean(1))
    assert score[0] > 0.6 and abs(score[2] - 0.25) < 0.13
    again = values["resample_score"][1]
    np.testing.assert_array_equal(again[0], again[1])
    one = layers.probe_layers(spaces, task, resamples=4, seed=1, workers=1)
    for name, (_, array) in one.items():
        np.testing.assert_array_equal(array, values[name][1])


def test_halves_share_no_sound_and_have_half_of_every_split_and_class():
    y, _ = classes_and_space(strength=0.5)
    splits = np.array(["train", "train", "valid", "test"] * (N // 4))
    task = make_task("t", silent_set(N), [str(c) for c in y], splits)
    drawn = resampling.draw(task, "ridge", 6, seed=1)
    assert drawn.method == "halves" and drawn.attrs["paired"] == 1
    np.testing.assert_array_equal(drawn.counts[0::2] + drawn.counts[1::2], np.ones((3, N)))
    for half in drawn.counts > 0:
        for split in set(splits):
            inside = (splits == split) & half
            assert abs(2 * inside.sum() - (splits == split).sum()) <= 1
            for c in range(4):
                one = (splits == split) & (y == c)
                assert abs(2 * (one & half).sum() - one.sum()) <= 1
    assert not np.array_equal(drawn.counts[0], drawn.counts[2])
    np.testing.assert_array_equal(resampling.draw(task, "ridge", 6, seed=1).counts, drawn.counts)
    for odd in (3, -2, 1.5, "many"):
        with pytest.raises(ValueError, match="an even number or 0"):
            resampling.draw(task, "ridge", odd)


def test_on_halves_the_probe_is_fitted_again_and_its_penalty_chosen_again():
    y, X = classes_and_space(strength=0.3)
    task = make_task("t", silent_set(N), [str(c) for c in y], ["train", "valid", "test"] * (N // 3))
    found = layers.probe_layers({"a": X}, task, resamples=6)["resample_score"][1][0]
    (part,) = task.partitions
    halves = resampling.draw(task, "ridge", 6).counts > 0
    for half, score in zip(halves, found, strict=True):
        (train, valid), test = part.choices[0], part.test[half[part.test]]
        train, valid = train[half[train]], valid[half[valid]]

        def right(alpha, known, asked):
            scaler = StandardScaler().fit(X[known])
            model = RidgeClassifier(alpha).fit(scaler.transform(X[known]), y[known])
            return (model.predict(scaler.transform(X[asked])) == y[asked]).mean()

        alphas = PROBES["ridge"].values
        best = alphas[int(np.argmax([right(alpha, train, valid) for alpha in alphas]))]
        assert score == right(best, np.concatenate([train, valid]), test)
    # Logistic regression keeps the penalty chosen on all sounds.
    values = layers.probe_layers({"a": X}, task, kind="logistic", resamples=2)
    drawn = resampling.draw(task, "logistic", 2)
    half, (strength,) = drawn.counts[0] > 0, values["hyperparameter"][1][0]
    known, asked = (rows[half[rows]] for rows in (part.train, part.test))
    scaler = StandardScaler().fit(X[known])
    model = LogisticRegression(C=strength, max_iter=300).fit(scaler.transform(X[known]), y[known])
    expected = (model.predict(scaler.transform(X[asked])) == y[asked]).mean()
    assert values["resample_score"][1][0, 0] == expected
    assert drawn.method == "halves, penalty held"


def test_networks_and_tasks_of_few_sounds_get_a_bootstrap_of_the_test_sounds_and_say_so():
    y, X = classes_and_space(strength=0.5)
    labels = [str(c) for c in y]
    task = make_task("t", silent_set(N), labels, [f"fold{i % 4}" for i in range(N)])
    drawn = resampling.draw(task, "mlp", 400, seed=1)
    assert drawn.attrs["over"] == "test sounds" and drawn.attrs["paired"] == 0
    fits = [fit(X, task.labels, part) for part in task.partitions]
    again = resampling.rescore([X] * 4, task, fits, drawn, Settings())
    # Accuracy is a mean: its bootstrap has the deviation of a proportion, within 400 draws' 10 %.
    folds = layers.probe_layers({"a": X}, task, resamples=0)["fold_score"][1][0]
    expected = np.sqrt(np.mean(folds * (1 - folds) / 30) / 4)
    np.testing.assert_allclose(again.std(), expected, rtol=0.15)
    few = make_task(
        "t", silent_set(6), list("ababab"), ["train"] * 2 + ["valid"] * 2 + ["test"] * 2
    )
    assert resampling.draw(few, "ridge", 2).method == "bootstrap"


@pytest.mark.slow
def test_refitted_intervals_cover_a_planted_score_and_those_of_test_sounds_alone_do_not():
    n, k, p = (48, 16, 400), 4, 40
    y = np.concatenate([np.arange(each) % k for each in n])
    splits = np.repeat(["train", "valid", "test"], n).tolist()
    task = make_task("t", silent_set(sum(n)), [str(c) for c in y], splits)
    means = 0.3 * np.random.default_rng(99).standard_normal((k, p))
    rng, refitted, redrawn = np.random.default_rng(0), [], []
    for seed in range(100):
        X = means[y] + rng.standard_normal((len(y), p))
        own = fit(X, task.labels, task.partitions[0])
        for kind, found in (("ridge", refitted), ("mlp", redrawn)):
            drawn = resampling.draw(task, kind, 20, seed=seed)
            again = resampling.rescore([X], task, [own], drawn, Settings())
            scheme = emergence.Scheme(paired=drawn.halves)
            ones = np.ones((1, n[2]))
            score = scoring.accuracy(own.decision, task.labels[task.partitions[0].test], ones)[0]
            off = scheme.deviations(again)
            error = np.sqrt((off**2).sum() / scheme.divisor(20))
            found.append((score, error, stats.t.ppf(0.975, scheme.freedom(20))))
    truth = np.mean([score for score, *_ in refitted])
    covered = [np.mean([abs(s - truth) <= t * e for s, e, t in found])
               for found in (refitted, redrawn)]  # fmt: skip
    # A hundred simulations have a Monte-Carlo error of .02 to .04.
    assert covered[0] >= 0.9
    assert covered[1] <= 0.82


def test_probe_curves_have_half_times_with_intervals():
    import xarray as xr

    from dynamics import accessor  # noqa: F401

    y, X = classes_and_space(strength=1.0)
    noise = np.random.default_rng(3).standard_normal(X.shape)
    labels, splits = [str(c) for c in y], ["train", "valid", "test"] * (N // 3)
    task = make_task("t", silent_set(N), labels, splits)
    steps = np.array([0, 10, 30, 100, 300, 1000])
    shares = 0.5 / (1 + np.exp(-3 * (np.log10(steps + 1) - 1.7)))
    rows = [
        layers.probe_layers({"l0": a * X + noise, "l1": 0.3 * X + noise}, task, mix=False)
        for a in shares
    ]
    results = xr.Dataset(
        {
            name: (("step", *rows[0][name][0]), np.stack([row[name][1] for row in rows]))
            for name in ("score", "resample_score")
        },
        coords={"step": steps, "layer": ["l0", "l1"]},
    )
    described = layers.attrs(resampling.draw(task, "ridge"))
    results["resample_score"].attrs.update(described["resample_score"])
    found = results.dynamics.half_time()
    assert found.attrs["over"] == "sounds (probe refitted)"
    assert emergence.resampled_curve(results)[2] == found.attrs["over"]
    assert 5 < found["estimate"].sel(layer="l0") < 300
    assert found["lower"].sel(layer="l0") <= found["estimate"].sel(layer="l0")
    assert np.isnan(found["estimate"].sel(layer="l1"))
    together = emergence.correlate(results["score"].rename("brain"), results["score"])
    np.testing.assert_allclose(together["r"].sel(form="raw", layer="l0"), 1, atol=1e-9)


def test_the_overall_score_weighs_tasks_of_any_range_the_same():
    import xarray as xr

    a = np.array([[0.1, 0.2], [0.3, 0.6]])
    steps = {"step": [0, 10], "layer": ["l0", "l1"]}
    dims = ("step", "layer")
    longer = xr.Dataset(
        {"score": (dims, np.vstack([[[9.0, 9.0]], 5 + 10 * a]))},
        {"step": [-1, 0, 10], "layer": ["l0", "l1"]},
    )
    data = {
        "/results/x/probe": xr.Dataset({"score": (dims, a)}, steps),
        "/results/y/probe": xr.Dataset({"score": (dims, 5 + 10 * a)}, steps),
        "/results/z/probe": xr.Dataset({"score": (dims, np.full((2, 2), 0.5))}, steps),
        "/results/long/probe": longer,
        "/results/x/ridge": xr.Dataset({"score": (dims, -a)}, steps),
    }
    tree = xr.DataTree.from_dict(data)
    z = (a - a.mean()) / a.std(ddof=1)
    np.testing.assert_allclose(overall(tree, ["x", "y"]), z, atol=1e-12)
    np.testing.assert_allclose(overall(tree, ["x", "y", "z"]), z * 2 / 3, atol=1e-12)
    np.testing.assert_allclose(overall(tree), z * 3 / 4, atol=1e-12)
    assert overall(tree)["step"].to_numpy().tolist() == [0, 10]
    with pytest.raises(ValueError, match="no probe of 'w': there are long, x"):
        overall(tree, ["w"])
    with pytest.raises(ValueError, match="no variable 'layer_mix_score'"):
        overall(tree, ["x"], variable="layer_mix_score")


def test_the_overall_score_of_several_models_is_z_scored_over_them():
    import xarray as xr

    def model(scores):
        coords = {"step": [0, 10], "layer": ["l0", "l1"]}
        data = {f"/results/{task}/probe": xr.Dataset({"score": (("step", "layer"), each)}, coords)
                for task, each in scores.items()}  # fmt: skip
        return xr.DataTree.from_dict(data)

    a = np.array([[0.1, 0.2], [0.3, 0.6]])
    worse = {"x": a, "y": 10 * a, "z": np.full((2, 2), 0.5)}
    better = {"x": a + 0.2, "y": 10 * a + 1, "w": a}
    found = overall({"worse": model(worse), "better": model(better)})
    both = {task: np.stack([worse[task], better[task]]) for task in ("x", "y")}
    z = [(x - x.mean()) / x.std(ddof=1) for x in both.values()]
    np.testing.assert_allclose(found, np.mean(z, 0), atol=1e-12)
    assert float((found.sel(run="better") - found.sel(run="worse")).min()) > 0.5
    assert found.attrs["zscored_over"] == "2 runs: worse, better"
    # One alone has a mean of 0 whatever it is, and says over what.
    alone = overall(model(better), ["x", "y"])
    assert abs(float(alone.mean())) < 1e-12 and "one run" in alone.attrs["description"]
    with pytest.raises(ValueError, match="of 'better' has no probe of 'z'"):
        overall({"worse": model(worse), "better": model(better)}, ["z"])
