from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dynamics import analysis, metrics
from dynamics.analysis import METHODS
from dynamics.brains import targets
from dynamics.config import Choice, validate

N = 40


def example(relation=1.0, seed=0, repetitions=0):
    """Layer a drives the responses of two subjects, each in two regions; layer b does not."""
    rng = np.random.default_rng(seed)
    layers = {"a": rng.standard_normal((N, 8)), "b": rng.standard_normal((N, 50))}
    signal = relation * layers["a"] @ rng.standard_normal((8, 12))
    noise = rng.standard_normal((N, 12, repetitions) if repetitions else (N, 12))
    response = signal[..., None] + noise if repetitions else signal + noise
    target = targets.Target(
        np.arange(N),
        response,
        np.arange(N) % 5,
        np.repeat(["s1", "s2"], 6),
        regions=np.tile(["core", "belt"], 6),
        categories=np.repeat(["speech", "music"], N // 2),
        baseline=rng.standard_normal((N, 6)),
    )
    return layers, target


def sweep(**keys):
    content = {"run": "x", "checkpoints": "x", "model": "x", "stimuli": "x", "targets": ["brain"]}
    return validate(content | keys, origin="test")


@pytest.mark.parametrize(
    "name",
    sorted(
        name
        for name, each in METHODS.items()
        if each.per != "layer" and not {"time", "course", "frames"} & set(each.needs)
    ),
)
def test_every_null_is_the_metric_on_shuffled_responses(name):
    layers, target = example()
    orders = metrics.permutations(N, 2, seed=1)
    few = {"candidates": 5} if "candidates" in analysis.arguments(name) else {}
    if name == "variance_partition":
        few["null"] = "independent"
    found = METHODS[name](layers, target, orders=orders, **few)
    dims, null = found["null_score"]
    axis = "neuroid" if METHODS[name].per == "neuroid" else "subject"
    assert dims == ("layer", "permutation", axis) and found["score"][0] == ("layer", axis)
    for number, order in enumerate(orders):
        shuffled = replace(target, response=target.response[order])
        alone = METHODS[name](layers, shuffled, **few)["score"][1]
        # Which neuroids stand side by side changes sums in their last digits.
        np.testing.assert_allclose(null[:, number], alone, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("rsa", {"compare": "whitened_cosine", "distance": "sqeuclidean"}),
        ("rsa", {"compare": "kendall", "choose": None}),
        ("rsa", {"distance": "crossnobis", "by": "region"}),
        ("rsa", {"geotopological": [0.2, 0.8]}),
        ("cka", {"debiased": False, "by": "subject_region"}),
        ("ridge", {"protocol": "pepino"}),
        ("ridge", {"protocol": "tuckute", "alphas": [0.1, 1.0, 10.0]}),
    ],
)
def test_the_null_follows_the_arguments(name, arguments):
    layers, target = example(repetitions=2)
    orders = metrics.permutations(N, 2, seed=1)
    null = METHODS[name](layers, target, orders=orders, **arguments)["null_score"][1]
    for number, order in enumerate(orders):
        shuffled = replace(target, response=target.response[order])
        alone = METHODS[name](layers, shuffled, **arguments)["score"][1]
        np.testing.assert_allclose(null[:, number], alone, atol=1e-7)


def test_penalties_at_the_edge_are_reported():
    layers, target = example()
    assert METHODS["ridge"]({"a": layers["a"]}, target)["alpha_edge"][1] == 0
    dims, edge = METHODS["ridge"](layers, target, alphas=[1e5, 1e6])["alpha_edge"]
    assert dims == () and edge > 0.3
    gap = replace(target, response=target.response.copy())
    gap.response[3, 1] = np.nan
    masked = METHODS["ridge"](layers, gap, alphas=[1e5, 1e6], missing="mask")["alpha_edge"][1]
    assert 0.3 < masked <= 1


def test_shuffles_are_those_of_the_seed_for_every_metric_and_stay_within_categories():
    _, target = example()
    plan = sweep(permutations=6, shuffle="category", seed=3)
    rsa = analysis.orders_of(target, Choice(name="rsa"), plan)
    np.testing.assert_array_equal(rsa, analysis.orders_of(target, Choice(name="cka"), plan))
    assert (target.categories[rsa] == target.categories).all() and rsa.shape == (6, N)
    own = Choice(name="cka", arguments={"permutations": 4, "shuffle": "overall"})
    free = analysis.orders_of(target, own, plan)
    np.testing.assert_array_equal(free, metrics.permutations(N, 4, seed=3))
    assert analysis.orders_of(target, own, plan.model_copy(update={"permutations": 0})) is not None
    assert analysis.orders_of(target, Choice(name="rsa"), sweep()) is None


def test_p_values_are_one_plus_the_null_scores_at_least_as_high():
    layers, target = example()
    found = METHODS["rsa"](layers, target, orders=metrics.permutations(N, 19))
    with_p = analysis.with_p_value(found)
    score, null = found["score"][1], found["null_score"][1]
    for layer in range(2):
        for subject in range(2):
            count = sum(null[layer, k, subject] >= score[layer, subject] for k in range(19))
            assert with_p["p_value"][1][layer, subject] == pytest.approx((1 + count) / 20)
    assert (with_p["p_value"][1][0] == 0.05).all()
    assert with_p["null_score"][1].dtype == np.float32


@pytest.mark.parametrize("name", ["ridge", "rsa", "cka", "mutual_knn"])
def test_shuffled_responses_score_nothing_and_p_values_of_unrelated_ones_are_uniform(name):
    p, means = [], []
    for seed in range(40):
        layers, target = example(relation=0.0, seed=seed)
        orders = metrics.permutations(N, 19, seed=seed)
        found = analysis.with_p_value(METHODS[name]({"a": layers["a"]}, target, orders=orders))
        p.append(found["p_value"][1][0, 0])
        means.append(found["null_score"][1].mean())
    # 40 draws from 0.05, 0.10, ..., 1: mean 0.525, standard error 0.046.
    assert abs(np.mean(p) - 0.525) < 3.5 * 0.046
    assert np.mean(np.array(p) <= 0.05) <= 0.2
    # Of what is above chance: k nearest of n - 1; pooled predictions lie a little below 0.
    chance = {"mutual_knn": 10 / (N - 1), "ridge": -0.05}.get(name, 0.0)
    assert abs(np.mean(means) - chance) < 0.06


def test_ceilings_of_neuroids_are_in_the_unit_of_the_scores():
    _, target = example(repetitions=3)
    known = metrics.noise_ceiling(target.response)["ceiling"]
    for name, expected in (
        ("ridge", known),
        ("banded", known**2),
        ("variance_partition", known**2),
    ):
        dims, values, _ = analysis.ceilings(name, target, {})["ceiling"]
        assert dims == ("neuroid",)
        np.testing.assert_allclose(values, expected)
        np.testing.assert_allclose(analysis.of_known(name, known), expected)
    _, once = example()
    for name in ("ridge", "svcca", "pwcca", "effective_dimensionality"):
        assert analysis.ceilings(name, once, {}) == {}


@pytest.mark.parametrize("name", ["cka", "procrustes", "mutual_knn"])
def test_ceilings_of_spaces_have_the_other_subjects_in_place_of_a_layer(name):
    _, target = example()
    found = analysis.ceilings(name, target, {})
    assert analysis.ceilings(name, target, {"by": "region"}) == {}
    one, two = (target.of_subject(subject) for subject in ("s1", "s2"))
    one, two = (Y / np.linalg.norm(Y - Y.mean(0)) for Y in (one, two))
    scores = {}
    for bound, layers in (("lower", (two, one)), ("upper", (np.hstack([one, two]),) * 2)):
        scores[bound] = []
        for layer, subject in zip(layers, ("s1", "s2")):
            mine = target.subjects == subject
            alone = replace(target, response=target.response[:, mine], subjects=np.full(6, "s"))
            scores[bound].append(METHODS[name]({"others": layer}, alone)["score"][1][0, 0])
        dims, value, _ = found[f"ceiling_{bound}"]
        assert dims == () and value == pytest.approx(np.mean(scores[bound]), abs=1e-9)
    assert found["ceiling_lower"][1] < found["ceiling_upper"][1]
    both = analysis.ceilings(name, target, {"by": "subject_region"})["ceiling_lower"]
    assert both[0] == ("subject",) and both[1][0] == both[1][2] != both[1][1] == both[1][3]


def test_the_ceiling_of_cka_is_that_of_the_mean_gram_matrix_of_the_others():
    rng = np.random.default_rng(0)
    common = rng.standard_normal((N, 6))
    parts = [k * (common + rng.standard_normal((N, 6))) for k in (1.0, 100.0, 0.01)]
    target = targets.Target(
        np.arange(N), np.hstack(parts), np.arange(N) % 5, np.repeat(["a", "b", "c"], 6)
    )
    K = [metrics.gram(Y) / np.trace(metrics.gram(Y)) for Y in parts]
    lower = np.mean([metrics.cka_gram(sum(K) - own, own) for own in K])
    upper = np.mean([metrics.cka_gram(sum(K), own) for own in K])
    found = analysis.ceilings("cka", target, {})
    assert found["ceiling_lower"][1] == pytest.approx(lower, abs=1e-9)
    assert found["ceiling_upper"][1] == pytest.approx(upper, abs=1e-9)


def test_groups_of_neuroids_are_subjects_regions_or_both():
    layers, target = example()
    both = METHODS["rsa"](layers, target, by="subject_region")["score"][1]
    assert both.shape == (2, 4)
    assert list(target.groups("subject_region")) == [
        ("s1", "belt"), ("s1", "core"), ("s2", "belt"), ("s2", "core")
    ]  # fmt: skip
    members = (target.subjects == "s2") & (target.regions == "core")
    alone = metrics.rsa(layers["a"], target.response[:, members])
    assert both[0, 3] == pytest.approx(alone)
    region = METHODS["cka"](layers, target, by="region")["score"][1]
    core = target.response[:, target.regions == "core"]
    assert region[0, 1] == pytest.approx(metrics.cka(layers["a"], core))
    with pytest.raises(ValueError, match="no grouping 'areas'"):
        METHODS["cka"](layers, target, by="areas")


def test_a_group_of_one_neuroid_has_no_correlation_distance_and_is_a_gap(monkeypatch):
    layers, target = example()
    lonely = replace(target, regions=np.array(["core"] * 6 + ["belt"] * 2 + ["core"] * 3 + ["tip"]))
    choice, orders = Choice(name="rsa"), metrics.permutations(N, 2, seed=1)
    how = {"by": "subject_region", "orders": orders}
    how["halves"] = analysis.halves_of(target, choice, sweep(resamples=4))
    place = list(lonely.groups("subject_region")).index(("s2", "tip"))
    assert place == 3
    rest = replace(lonely, response=lonely.response[:, :11], subjects=lonely.subjects[:11],
                   regions=lonely.regions[:11])  # fmt: skip
    for many in (False, True):
        if many:
            monkeypatch.setattr("dynamics.analysis.many_stimuli.MANY", N - 1)
        found, others = (METHODS["rsa"](layers, each, **how) for each in (lonely, rest))
        assert set(found) >= {"score", "resample_score", "null_score", "best_score", "best_layer"}
        for name, (_, values) in found.items():
            np.testing.assert_allclose(values[..., :place], others[name][1], err_msg=name)
            gap = values[..., place]
            assert (gap == -1 if name == "best_layer" else np.isnan(gap)).all(), name
        bounds = analysis.ceilings("rsa", lonely, {"by": "subject_region"})
        assert np.isfinite(bounds["ceiling_lower"][1]).tolist() == [True, False, True, False]
    assert np.isfinite(METHODS["rsa"](layers, lonely, by="subject_region", distance="euclidean")[
        "score"][1]).all()  # fmt: skip
    alone = replace(target, subjects=np.arange(12))
    with pytest.raises(ValueError, match=r"4 more have fewer than two .* `distance: euclidean`"):
        METHODS["rsa"](layers, alone)


def test_rsa_chooses_the_layer_on_other_stimuli():
    layers, target = example()
    found = METHODS["rsa"](layers, target)
    assert (found["best_layer"][1] == 0).all()
    np.testing.assert_allclose(found["layer_share"][1].sum(0), 1)
    D = np.stack([metrics.rdm(X) for X in layers.values()])
    for choose in ("disjoint", "pepino"):
        best = METHODS["rsa"](layers, target, choose=choose)["best_score"][1]
        for number, subject in enumerate(("s1", "s2")):
            E = metrics.rdm(target.of_subject(subject))
            alone = metrics.rsa_choose_layer(D, E, target.folds, choice=choose)["score"]
            assert best[number] == pytest.approx(float(alone))
    assert "best_score" not in METHODS["rsa"](layers, target, choose=None)


def test_whitened_and_geotopological_halves_are_the_metric_on_each_half():
    layers, target = example()
    halves = analysis.halves_of(target, None, sweep(resamples=4))
    for arguments in (
        {"compare": "whitened_pearson", "distance": "sqeuclidean"},
        {"geotopological": [0.1, 0.9]},
    ):
        found = METHODS["rsa"](layers, target, halves=halves, zscore=False, **arguments)
        rows = halves[1][halves[1] >= 0]
        half = replace(target, response=target.response[rows], folds=target.folds[rows], rows=rows)
        some = {name: X[rows] for name, X in layers.items()}
        alone = METHODS["rsa"](some, half, zscore=False, **arguments)["score"][1]
        np.testing.assert_allclose(found["resample_score"][1][:, 1], alone, atol=1e-12)


@pytest.mark.parametrize("name", ["cka", "procrustes"])
def test_halves_of_gram_metrics_are_the_metric_on_each_half(name):
    layers, target = example()
    halves = analysis.halves_of(target, None, sweep(resamples=2))
    again = METHODS[name](layers, target, halves=halves)["resample_score"][1]
    rows = halves[0][halves[0] >= 0]
    compare = {"cka": metrics.cka, "procrustes": lambda X, Y: np.cos(metrics.procrustes(X, Y))}
    alone = compare[name](layers["b"][rows], target.of_subject("s2")[rows])
    assert again[1, 0, 1] == pytest.approx(alone, abs=1e-9)


@pytest.mark.parametrize("name", ["banded", "variance_partition"])
def test_halves_of_parts_are_the_first_ones_of_the_sweep(name):
    layers, target = example()
    halves = analysis.halves_of(target, None, sweep(resamples=8))
    few = {"candidates": 5}
    found = METHODS[name](layers, target, halves=halves, resamples=4, **few)
    dims, again = found["resample_score"]
    assert dims == ("layer", "resample", "neuroid") and again.shape == (2, 4, 12)
    # Another step: the same halves whatever the layers, so the first layer scores the same.
    half = METHODS[name]({"a": layers["a"]}, target, halves=halves, resamples=2, **few)
    if name == "variance_partition":
        np.testing.assert_array_equal(half["resample_score"][1][0], again[0, :2])
    everyone = np.stack([np.arange(N)] * 2)
    same = METHODS[name](layers, target, halves=everyone, **few)
    np.testing.assert_allclose(same["resample_score"][1][:, 1], found["score"][1], atol=1e-9)
    assert "resample_score" not in METHODS[name](layers, target, halves=halves, resamples=0, **few)
    with pytest.raises(ValueError, match="in pairs: give an even number of resamples, not 3"):
        METHODS[name](layers, target, resamples=3, **few)


def test_the_null_of_banded_ridge_may_search_less():
    layers, target = example()
    orders = metrics.permutations(N, 2, seed=1)
    given = dict(orders=orders, candidates=9)
    found = METHODS["banded"](layers, target, null_candidates=4, **given)
    usual = METHODS["banded"](layers, target, candidates=4, orders=orders)
    np.testing.assert_allclose(found["null_score"][1], usual["null_score"][1], atol=1e-9)
    whole = METHODS["banded"](layers, target, **given)
    np.testing.assert_allclose(found["score"][1], whole["score"][1], atol=1e-9)
    assert np.abs(found["null_score"][1] - whole["null_score"][1]).max() > 1e-6


def test_variance_partition_says_what_a_layer_adds_to_the_baseline():
    layers, target = example()
    found = {
        name: values for name, (_, values) in METHODS["variance_partition"](layers, target).items()
    }
    total = found["unique_r2"] + found["baseline_unique_r2"] + found["shared_r2"]
    np.testing.assert_allclose(total, found["total_r2"])
    assert found["unique_r2"][0].mean() > 0.5 and found["unique_r2"][1].mean() < 0.1
    parts = metrics.variance_partition(
        metrics.gram(layers["a"]), metrics.gram(target.baseline), target.response, target.folds
    )
    np.testing.assert_allclose(found["unique_r2"][0], parts["unique_first"])
    with pytest.raises(ValueError, match="add the key `baseline`"):
        METHODS["variance_partition"](layers, replace(target, baseline=None))


def test_the_conditional_null_shuffles_what_the_baseline_leaves():
    layers, target = example()
    orders = metrics.permutations(N, 2, seed=1)
    found = METHODS["variance_partition"](layers, target, candidates=5, orders=orders)
    L = metrics.gram(target.baseline)
    kept = metrics.nested_ridge(L, target.response, target.folds)["prediction"]
    for number, order in enumerate(orders):
        shuffled = replace(target, response=kept + (target.response - kept)[order])
        alone = METHODS["variance_partition"](layers, shuffled, candidates=5)["score"][1]
        np.testing.assert_allclose(found["null_score"][1][:, number], alone, atol=1e-7)
    plain = METHODS["variance_partition"](layers, target, candidates=5)["score"][1]
    np.testing.assert_allclose(found["score"][1], plain, atol=1e-9)
    with pytest.raises(ValueError, match="use one of conditional, independent"):
        METHODS["variance_partition"](layers, target, null="none")


@pytest.mark.slow
def test_a_layer_that_holds_what_the_baseline_holds_is_seldom_significant():
    """Of 200 tests at .05 about 10 +- 3 if the null is right; the null without relation is not."""
    below = {"conditional": 0, "independent": 0}
    for seed in range(10):
        rng = np.random.default_rng(seed)
        Z = rng.normal(size=(60, 8))
        Y = Z @ rng.normal(size=(8, 20)) / np.sqrt(8) + rng.normal(size=(60, 20))
        target = targets.Target(np.arange(60), Y, np.arange(60) % 5, np.full(20, "s"), baseline=Z)
        layers, orders = {"x": Z @ rng.normal(size=(8, 8))}, metrics.permutations(60, 39, seed=seed)
        for null in below:
            found = METHODS["variance_partition"](
                layers, target, candidates=5, null=null, orders=orders
            )
            score, nulls = found["score"][1][0], found["null_score"][1][0]
            below[null] += int((metrics.p_value(score, nulls) <= 0.05).sum())
    assert below["conditional"] <= 16 and below["independent"] > 20


def test_banded_shares_add_up_to_what_all_layers_explain_together():
    layers, target = example()
    found = METHODS["banded"](layers, target, candidates=8)
    together = metrics.banded_ridge(
        metrics.grams(layers)[1], target.response, target.folds, candidates=8
    )
    np.testing.assert_allclose(found["total_score"][1], together["r"])
    assert found["weight"][1].shape == (2, 5, 12)
    share = found["score"][1]
    assert (share[0] > share[1]).all() and share[0].mean() > 0.6


def test_effective_dimensionality_needs_no_target():
    layers, target = example()
    dims, score = METHODS["effective_dimensionality"](layers, target)["score"]
    assert dims == ("layer",)
    X = layers["b"] - layers["b"].mean(0)
    spectrum = np.linalg.eigvalsh(X.T @ X)
    assert score[1] == pytest.approx(spectrum.sum() ** 2 / (spectrum**2).sum())


def test_every_metric_has_a_line_and_arguments():
    for name in METHODS:
        assert analysis.summary(name).endswith(".")
        assert not {"halves", "orders", "target"} & set(analysis.arguments(name))
    assert analysis.arguments("mutual_knn")["k"] == 10
