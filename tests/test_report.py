"""What a report says, without a browser; tests/test_report_browser.py looks at the page itself."""

import base64
import csv
import io
import json
import re

import numpy as np
import pytest
import xarray as xr
from PIL import Image
from report_store import LAYERS, PARTS, STEPS, add_result, curve_of, make
from scipy.spatial.distance import pdist, squareform

from dynamics import emergence, plots, report, store
from dynamics.emergence import summary
from dynamics.report import (
    dissimilarity,
    figures,
    findings,
    narrative,
    numbers,
    orders,
    profiles,
    protocol,
    tables,
)
from dynamics.store.attributes import mapping


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return store.open(make(tmp_path_factory.mktemp("stores") / "run.zarr", nulls=99))


@pytest.fixture(scope="module")
def found(tree):
    results, left_out = findings.results_of(tree)
    assert left_out == []
    return [(result, findings.curves_of(result)) for result in results]


def curve(found, name, metric="ridge"):
    curves = next(curves for result, curves in found if result.metric == metric)
    return next(each for each in curves if each.name == name)


@pytest.fixture
def no_figures(monkeypatch):
    """Leave out what takes longest where only words are looked at."""
    monkeypatch.setattr("dynamics.report.page.figures.pictures", lambda *_: [])


def text_of(page):
    """Visible text of a page: no scripts, styles or tags."""
    page = re.sub(r"<(script|style)[^>]*>.*?</\1>", " ", page, flags=re.S)
    page = re.sub(r"<[^>]+>", " ", page)
    return " ".join(page.replace("&#39;", "'").replace("&#34;", '"').split())


def test_every_statistic_is_that_of_the_emergence_room(found):
    speech = curve(found, "speech")
    expected = emergence.interval(speech.score, speech.resampled, statistic="half_time")
    for name, key in (("half_time", "estimate"), ("half_time_lower", "lower")):
        np.testing.assert_array_equal(speech.statistics[name], expected[key])
    at = narrative.numbers_of(speech, "layer2")
    truth = curve_of(0, 1)
    assert at["final"] == pytest.approx(truth[-1]) and at["gain"] == pytest.approx(0.525)
    # Half of the gain between steps 10 and 100, linear in log(1 + step).
    part = ((truth[0] + truth[-1]) / 2 - truth[1]) / (truth[2] - truth[1])
    place = np.log1p(10) + part * (np.log1p(100) - np.log1p(10))
    assert at["half_time"] == pytest.approx(np.expm1(place))
    assert at["gain_over_baseline"] == pytest.approx(truth[-1] - 0.35)
    assert at["ceiling_fraction"] == pytest.approx(truth[-1] / 0.8)
    assert at["null_p"] == pytest.approx(1 / 100)  # no shuffle of 99 comes near


def test_the_mean_is_over_neuroids_and_the_best_layer_ends_highest(found):
    mean = curve(found, "mean")
    for layer, name in enumerate(LAYERS):
        truth = np.mean([curve_of(part, layer) for part in range(len(PARTS))], axis=0)
        np.testing.assert_allclose(mean.score.sel(layer=name), truth)
    assert mean.best == "layer3" and mean.what == "mean over 3 neuroids"


def test_a_curve_that_rises_is_quoted_with_its_half_time_and_interval(found):
    speech = curve(found, "speech")
    said = narrative.about(speech)
    at = narrative.numbers_of_best(speech)
    low, high = at["half_time_lower"], at["half_time_upper"]
    when = numbers.step(float(speech.statistics["half_time"].sel(layer=speech.best)))
    where = "in layer3 (the highest of 3 at the end): it rises"
    whose = "speech (this network only)"
    assert said.startswith(f"{whose} is half-way at step {when} [{low:.0f}, {high:.0f}] {where}")
    # Limits of one that was chosen are wider than those of the layer by itself.
    for side, sign in (("lower", 1), ("upper", -1)):
        own = float(speech.statistics[f"half_time_{side}"].sel(layer=speech.best))
        assert sign * at[f"half_time_{side}"] < sign * own
    assert "above the untrained network is 100" in said
    assert "above the spectrotemporal baseline" in narrative.about(
        speech, baseline="spectrotemporal"
    )


@pytest.mark.slow
def test_limits_over_a_baseline_on_the_same_resamples_are_of_the_difference(tmp_path):
    path = make(tmp_path / "run.zarr", steps=(0, 10, 100), noise=0.1)
    exact = findings.curves_of(findings.results_of(store.open(path))[0][0])
    root = store.open_group(path, mode="r+")
    group = root["results/cortex/ridge"]
    again = group["resample_score"][:][2, 2]  # what layer3 does at the last step, moved down
    known = ("baseline_resample_score", ("resample", "neuroid"), again - 0.2)
    store.write_constant(group, *known, description="no learning")
    tree = store.open(path)
    result = findings.results_of(tree)[0][0]
    mean = findings.mean_of(result)
    at = narrative.numbers_of(mean, "layer3")
    # As the noise is common to both, nothing is left of it but what 1 - r^2 makes of it.
    width = at["gain_over_baseline_upper"] - at["gain_over_baseline_lower"]
    before = narrative.numbers_of(exact[0], "layer3")
    assert at["gain_over_baseline"] == pytest.approx(before["gain_over_baseline"])
    assert width < 0.5 * (before["gain_over_baseline_upper"] - before["gain_over_baseline_lower"])
    own = summary.gain(result.data, "baseline", None, "stimuli").sel(layer="layer3")
    assert at["gain_over_baseline_lower"] == pytest.approx(float(own["lower"]))
    said = " ".join(protocol.paragraphs(tree, [(result, [mean])])[0])
    assert "The baseline was scored on the same resamples" in said


@pytest.mark.parametrize(
    "limits, said",
    [((0.01, 0.2), "ends above the"), ((-0.2, -0.01), "ends below the"),
     ((-0.1, 0.2), "is not shown to differ from the")],
)  # fmt: skip
def test_what_a_baselines_limits_leave_open_is_not_claimed(found, limits, said):
    speech = curve(found, "speech")
    table = speech.statistics.copy()
    for side, value in {"": np.mean(limits), "_lower": limits[0], "_upper": limits[1]}.items():
        table[f"gain_over_baseline{side}"] = table["gain"] * 0 + value
    assert said in narrative.about(speech._replace(statistics=table, chosen=None))


def test_a_curve_that_falls_again_is_said_to_decline(found):
    said = narrative.about(curve(found, "music"), brief=True)
    assert (
        "peaks at 0.65 at step 100 and then declines, by 0.44 by the last step (p < 0.001)" in said
    )


def test_a_curve_that_never_moves_has_no_gain(found):
    flat = curve(found, "hum")
    said = narrative.about(flat)
    assert "hum (this network only) shows no gain in" in said and "half-way" not in said
    assert "At no step is it shown to be above the untrained network" in said
    assert narrative.numbers_of(flat, flat.best)["half_time_status"] == "no gain"


def test_a_gain_within_its_noise_is_not_shown_and_its_interval_open_above(tmp_path):
    tree = store.open(make(tmp_path / "noisy.zarr", noise=0.6))
    results, _ = findings.results_of(tree)
    curves = findings.curves_of(results[0])
    speech = curves[1]
    said = narrative.about(speech)
    assert "speech (this network only) is not shown to gain" in said
    assert "∞), has an interval that is open above" in said
    assert orders.order_of_parts(curves) == []


def test_the_order_of_emergence_names_pairs_that_differ_and_what_has_no_place(found):
    curves = found[0][1]
    said = " ".join(orders.order_of_parts(curves))
    assert re.search(
        r"best layer, the neuroids come in the order music \(step \d[\d.]*, rank 1 \[1, 1\]\), "
        r"speech \(step \d+, rank 2",
        said,
    )
    assert "Not shown to gain, and so without a place: hum." in said
    assert "music before speech by" in said
    pair = emergence.compare(*findings.at_best_layers(curves[1:3]), dim="curve").isel(pair=0)
    assert float(pair["difference"]) < 0 and float(pair["p_adjusted"]) < 0.05


def test_numbers_are_written_as_a_reader_expects():
    assert [numbers.step(x) for x in (0, 2.44, 310.2, 12345.6, 12345, np.nan, np.inf)] == [
        "0", "2.4", "310", "12,300", "12,345", "–", "∞"]  # fmt: skip
    assert [numbers.level(x) for x in (0.256, -0.256, -0.001, np.nan)] == [
        "0.26", "−0.26", "0.00", "–"]  # fmt: skip
    assert numbers.steps_between(240.3, np.inf) == "[240, ∞)"
    assert numbers.steps_between(np.nan, 3) == ""
    assert numbers.p_equals(0.0004) == "p < 0.001" and numbers.p_equals(0.034) == "p = 0.034"


def test_the_profile_has_the_stores_scores_and_limits(found):
    series = profiles.series(found)
    assert [one["name"] for one in series[:4]] == ["mean over 3 neuroids", *PARTS]
    for part, one in enumerate(series[1:4]):
        truth = np.array([curve_of(part, layer) for layer in range(3)]).T
        np.testing.assert_allclose(one["score"], truth, atol=5e-5)  # four digits
        assert one["steps"] == list(STEPS) and one["baseline"] == 0.35 and one["ceiling"] == 0.8
        assert (np.array(one["low"]) < truth).all() and (np.array(one["high"]) > truth).all()
    json.dumps(series, allow_nan=False)


def test_many_steps_are_thinned_evenly_over_log_steps():
    steps = np.arange(0, 100001, 100)
    kept = steps[plots.spread_steps(steps, 20)]
    assert len(kept) <= 20 and kept[0] == 0 and kept[-1] == 100000
    far = np.diff(np.log1p(kept))[2:]
    assert far.max() < 1.5 * np.median(far)


def test_the_pictures_of_rdms_are_ranked_like_the_dissimilarities(tree):
    found = dissimilarity.dissimilarities(tree)
    assert found.layers == list(LAYERS) and found.steps == list(STEPS)
    assert [name for name, *_ in found.categories] == ["music", "speech"]
    picture = Image.open(io.BytesIO(base64.b64decode(found.sprites[1].split(",")[1])))
    assert picture.size == (15, 5 * 15)  # 12 stimuli and a strip of 3, five steps
    X = tree["activations/layer2"]["activation"].sel(step=100).to_numpy().astype(float)
    X = (X - X.mean(0)) / X.std(0)
    order = np.argsort(tree["activations"]["category"].to_numpy(), kind="stable")
    D = squareform(pdist(X[order], "correlation"))
    shown = np.asarray(picture)[2 * 15 + 3 : 3 * 15, 3:].astype(float)
    expected = np.clip((D - found.low) / (found.high - found.low), 0, 1) * 47
    np.testing.assert_allclose(shown, expected, atol=0.51)  # shades are rounded


def test_activations_with_time_are_averaged_past_their_ends(tmp_path):
    tree = store.open(make(tmp_path / "a.zarr", results=False))
    flat = dissimilarity.dissimilarities(tree)
    timed = {}
    for path in tree.groups:
        data = tree[path].to_dataset()
        if "activation" in data:
            pair = [data["activation"], data["activation"], np.nan * data["activation"]]
            moved = xr.concat(pair, "time").transpose("step", "stimulus", "time", "feature")
            data = data.assign(activation=moved)
        timed[path] = data
    again = dissimilarity.dissimilarities(xr.DataTree.from_dict(timed))
    assert again.sprites == flat.sprites


def test_the_csv_has_every_curve_with_all_digits_and_no_formulas(found):
    rows = list(csv.DictReader(io.StringIO(tables.as_csv(found))))
    assert len(rows) == (1 + 3) * 3 + 3
    speech = next(r for r in rows if r["curve"] == "speech" and r["layer"] == "layer2")
    expected = float(curve(found, "speech").statistics["half_time"].sel(layer="layer2"))
    assert float(speech["half_time"]) == expected
    result, curves = found[0]
    renamed = [(result._replace(target="=1+1"), curves)]
    assert tables.as_csv(renamed).splitlines()[1].startswith("'=1+1,")


def test_the_report_is_written_whole_beside_the_figures(tmp_path, no_figures):
    path = make(tmp_path / "store" / "run.zarr", steps=(0, 10), resamples=0)
    written = report.write(path)
    assert written == tmp_path / "store" / "run" / "report.html"
    assert [each.name for each in written.parent.iterdir()] == ["report.html"]
    assert written.read_text(encoding="utf-8").rstrip().endswith("</html>")
    other = report.write(path, output=tmp_path / "new" / "b.html")
    assert other.is_file()
    with pytest.raises(IsADirectoryError, match="give the report a file name"):
        report.write(path, output=tmp_path)
    with pytest.raises(FileNotFoundError, match="no store"):
        report.write(tmp_path / "none.zarr")


@pytest.mark.slow
def test_what_was_run_is_on_the_page(tmp_path, no_figures):
    failed = {5: "truncated file", 50: "weights are not finite"}
    path = make(tmp_path / "run.zarr", failed=failed, pending=(20000,), simulated=1)
    said = text_of(report.render(store.open(path)))
    assert "Simulated brain. cortex" in said and "generated by a program" in said
    assert "1 of 8 checkpoints is still to be done" in said
    assert "2 checkpoints of 8 could not be used" in said
    assert "Step 5 : truncated file" in said and "Step 50 : weights are not finite" in said
    assert "heads = 4" in said and "ab" * 32 in said and f"{100:064x}" in said
    assert "seed 7" in said and "20 complementary halves" in said
    assert "Kriegeskorte" in said and "Fieller" in said and "Tuckute" not in said


@pytest.mark.parametrize(
    "pooling, said",
    [("mean", "over time is mean."),
     ({"windows": {"seconds": 0.25}}, "over time is windows with seconds = 0.25.")],
)  # fmt: skip
def test_the_pooling_is_told_with_its_arguments(tmp_path, pooling, said, no_figures):
    tree = store.open(make(tmp_path / "run.zarr", steps=(0, 10), resamples=0))
    tree.attrs["identity"] = {**mapping(tree.attrs["identity"]), "pooling": pooling}
    page = text_of(report.render(tree))
    assert said in page and "{" not in page


@pytest.mark.slow
def test_a_metric_with_fewer_halves_of_its_own_is_told_apart(tmp_path, no_figures):
    path = make(tmp_path / "run.zarr", steps=(0, 10))
    assert "Resamples 20 " in " ".join(text_of(report.render(store.open(path))).split())
    root = store.open_group(path, mode="r+")
    rng = np.random.default_rng(0)
    add_result(root, "other", "ridge", (0, 10), PARTS, 0, 10, 0.01, 0, rng)
    said = " ".join(text_of(report.render(store.open(path))).split())
    assert "10 complementary halves" in said and "20 complementary halves" in said
    assert "20 (" in said and "10 (ridge)" in said


def test_results_that_lag_behind_the_crawl_are_named(tmp_path, no_figures):
    path = make(tmp_path / "run.zarr", steps=(0, 10), resamples=0)
    root = store.open_group(path, mode="r+")
    store.plan(root, [(100, "/runs/100.ckpt", 1)])
    layers = {name: np.ones((12, 6), "float32") for name in LAYERS}
    names = {"stimuli": [f"s{i}" for i in range(12)], "categories": ["a"] * 12}
    store.write_activations(root, 100, layers, **names)
    store.commit(root, 100, sha256="a" * 64)
    said = text_of(report.render(store.open(path)))
    assert "cortex by ridge has 2 of 3 complete steps" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments, expected, missing",
    [
        ({"results": False}, "This store holds activations only", "Table of emergence"),
        ({"steps": (100,)}, "the only checkpoint: no curve", "half-way at"),
        ({"steps": (10, 100, 1000)}, "There is no step 0", "(untrained)"),
        ({"steps": (), "results": False, "pending": (0, 1)}, "2 of 2 checkpoints", "Step by step"),
        ({"resamples": 0}, "There are no intervals", "∞"),
        ({"probe": True}, "digits by probe", "Not shown."),
    ],
    ids=[
        "only the crawl",
        "one checkpoint",
        "no untrained",
        "nothing yet",
        "no resamples",
        "probe",
    ],
)
def test_stores_that_lack_something_have_a_report(
    tmp_path, no_figures, arguments, expected, missing
):
    page = report.render(store.open(make(tmp_path / "run.zarr", **arguments)))
    said = text_of(page)
    assert expected in said and missing not in said
    assert not re.search(r"\bnan\b|None", said)


def test_results_of_another_shape_are_left_out_with_a_sentence(tmp_path, no_figures):
    path = make(tmp_path / "run.zarr", steps=(0, 10), resamples=0)
    root = store.open_group(path, mode="r+")
    group = store.begin_result(
        root, "cortex", "time", identity={"metric": "x"}, coordinates={"layer": ("layer", LAYERS)}
    )
    store.write_result(group, 0, {"score": (("layer", "delay"), np.ones((3, 4)))}, checkpoint="a")
    store.begin_result(root, "cortex", "begun", identity={}, coordinates={})
    said = text_of(report.render(store.open(path)))
    assert "cortex by time is not a set of curves (step, layer, delay)." in said
    assert "cortex by begun has no complete step yet." in said


@pytest.mark.slow
def test_missing_scores_leave_gaps_and_no_error(tmp_path, no_figures):
    tree = store.open(make(tmp_path / "run.zarr")).load()
    results = tree["results/cortex/ridge"].to_dataset()
    score = results["score"].copy()
    score[{"neuroid": 2}] = np.nan  # a neuroid of which nothing is known
    score[{"step": 2, "layer": 0}] = np.nan  # and a step in the middle in one layer
    tree["results/cortex/ridge"].dataset = results.assign(score=score)
    page = report.render(tree)
    assert "hum (this network only) has too few scores for a curve" in text_of(page)
    assert not re.search(r"\bnan\b|NaN", text_of(page))


def test_no_address_in_the_page_leads_outside(tmp_path, no_figures):
    page = report.render(store.open(make(tmp_path / "run.zarr", resamples=0)))
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert addresses and all(each.startswith(("data:", "#")) for each in addresses)
    assert "url(" not in page and "@import" not in page
    assert not re.search(r"\son\w+=", re.sub(r"<script.*?</script>", "", page, flags=re.S))


@pytest.mark.slow
def test_figures_are_vector_drawings_with_an_alternative_in_words(tree, found):
    assert len(figures.pictures(tree, found[:1])) == 2  # what a paper would show
    drawn = figures.pictures(tree, found[:1], {}, ["all"])
    assert [each.wide for each in drawn] == [False, True, False, False, False, False]
    assert [each.group for each in drawn[1:3]] == ["Emergence curves", "cortex by ridge"]
    assert all(each.uri.startswith("data:image/svg+xml;base64,") for each in drawn)
    inside = base64.b64decode(drawn[1].uri.split(",")[1]).decode()
    assert all(f">{part}</text>" in inside for part in PARTS)  # letters, not outlines
    assert "speech: the layer that ends highest, layer3, goes from 0.10" in drawn[1].alt


@pytest.mark.slow
def test_a_figure_that_was_saved_is_the_one_that_a_report_draws(tree, found, tmp_path, monkeypatch):
    plans = figures._plans(tree, found[:1])[:2]
    monkeypatch.setattr(figures, "_plans", lambda *_: plans)
    fresh = [picture.uri for picture in figures.pictures(tree, found)]
    saved = {}
    for plan in plans:
        figure = plan.drawing.draw()
        plots.save(figure, tmp_path / plan.drawing.name, formats=["png"])
        saved[plan.drawing.name] = report.data_uri(figure)
    assert list(saved.values()) == fresh
    monkeypatch.setattr(figures, "data_uri", lambda _: pytest.fail("drawn twice"))
    assert [picture.uri for picture in figures.pictures(tree, found, saved)] == fresh


def test_steps_and_layers_compared_with_each_other_are_on_the_page():
    near = np.exp(-0.1 * np.abs(np.arange(5)[:, None] - np.arange(5)))
    matrices = xr.Dataset(
        {
            "similarity": (("step", "step_other", "layer"), near[:, :, None].repeat(3, 2)),
            "layer_similarity": (("step", "layer", "layer_other"), near[None, :3, :3].repeat(5, 0)),
        },
        {"step": list(STEPS), "step_other": list(STEPS), "layer": list(LAYERS),
         "layer_other": list(LAYERS)},
    )  # fmt: skip
    compared = xr.DataTree.from_dict({"/results/self/cka": matrices})
    shown = figures.pictures(compared, [])
    assert [(one.group, one.wide) for one in shown] == [
        (plots.table.COMPARED, True),
        (plots.table.COMPARED, False),
    ]
    assert shown[1].caption == "Similarity by cka of the layers with each other along training."
    inside = base64.b64decode(shown[1].uri.split(",")[1]).decode()
    assert ">step 0 (untrained)</text>" in inside and ">layer3</text>" in inside


def test_a_name_that_looks_like_a_formula_is_drawn_as_it_is(tmp_path, monkeypatch):
    path = make(tmp_path / "run.zarr", parts=("a$\\frac{$", "b"), steps=(0, 10), resamples=0)
    tree = store.open(path)
    found = [(result, findings.curves_of(result)) for result in findings.results_of(tree)[0][:1]]
    of_neuroids = figures._plans(tree, found)[1]
    monkeypatch.setattr(figures, "_plans", lambda *_: [of_neuroids])
    (drawn,) = figures.pictures(tree, found)
    assert "a$\\frac{$" in base64.b64decode(drawn.uri.split(",")[1]).decode()


def test_a_drawing_of_too_many_points_is_a_picture(monkeypatch, tree, found):
    monkeypatch.setattr(figures, "_MOST_SVG", 1000)
    monkeypatch.setattr(figures, "_MOST_TOGETHER", 0)
    (picture,) = figures.pictures(tree, found)
    assert picture.uri.startswith("data:image/png;base64,")


@pytest.mark.slow
def test_probes_are_drawn_against_brains_and_never_called_one(tmp_path, no_figures):
    tree = store.open(make(tmp_path / "run.zarr", probe=True, parts=("speech",)))
    results, _ = findings.results_of(tree)
    assert results[-1].is_probe
    found = [(result, findings.curves_of(result)) for result in results]
    captions = [plan.caption for plan in figures._plans(tree, found)]
    told = "cortex by ridge against digits, one point a checkpoint"
    assert any(each.startswith(told) for each in captions)
    said = text_of(report.render(tree))
    assert "compared with cortex." in said
    assert "By probe, the score in digits (this network only) is half-way at step" in said
    assert "Chance is 0.10." in said and "20 resamples, bootstrap of test sounds" in said
    assert "95 % intervals over stimuli by ridge and rsa and over test sounds by probe;" in said
    captions = [tables.emergence_table(result, curves).caption for result, curves in found]
    assert captions[0] == "Emergence in cortex by ridge (limits of 95 % over stimuli)"
    assert captions[-1] == "Emergence in digits by probe (limits of 95 % over test sounds)"
    keys = {each["group"]: profiles.scaled(each)["key"] for each in profiles.series(found)}
    assert "limits of 95 % over stimuli" in keys["cortex · ridge"]
    assert "limits of 95 % over test sounds" in keys["digits · probe"]


def test_figures_stop_before_the_page_grows_too_large(monkeypatch, tree, found):
    monkeypatch.setattr(figures, "_MOST_TOGETHER", 1000)
    assert len(figures.pictures(tree, found)) == 1


def test_regions_are_shown_where_neuroids_are_many(tmp_path):
    many = tuple(f"v{i}" for i in range(30))
    path = make(tmp_path / "run.zarr", steps=(0, 10), parts=many, resamples=0)
    root = store.open_group(path, mode="r+")
    names = np.array(["front", "back"] * 15, dtype=object)
    root["results/cortex/ridge/region"][:] = names
    results, _ = findings.results_of(store.open(path))
    curves = findings.curves_of(results[0])
    assert [(one.name, one.what) for one in curves[1:]] == [
        ("back", "region, 15 neuroids"), ("front", "region, 15 neuroids")]  # fmt: skip
    score = store.open(path)["results/cortex/ridge"]["score"]
    expected = score.isel(neuroid=np.flatnonzero(names == "front")).mean("neuroid")
    np.testing.assert_allclose(curves[2].score, expected)


@pytest.mark.slow
def test_how_weights_were_taken_is_said_once_with_the_number_of_steps(tmp_path, no_figures):
    where = make(tmp_path / "run.zarr")
    assert "How the weights were taken" not in text_of(report.render(store.open(where)))
    half = "weights of float16 computed in float32"
    changes = {10: {"note": half}, 100: {"note": f"names without <b>net</b>.; {half}"}}
    store.amend(store.open_group(where, mode="r+"), changes)
    page = report.render(store.open(where))
    text = text_of(page)
    assert f"How the weights were taken {half} (2 of 5 steps) names without" in text
    assert "&lt;b&gt;net&lt;/b&gt;. (step 100)" in page
