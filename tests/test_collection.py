"""Many runs as one: their file, what is missing of each, one tree, tables, figures, report."""

import contextlib
import sys
from pathlib import Path

import many_runs
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
from inprocess import Here
from plots_results import of_one_subject, results
from scipy import stats
from tiny_run import save_checkpoint

import dynamics
from dynamics import cli, store
from dynamics.collection import compared, gather, open_runs, running, writing
from dynamics.collection.compare import compare, find
from dynamics.collection.differences import differences
from dynamics.collection.finals import paired
from dynamics.collection.lazy import gaps
from dynamics.config import load_collection
from dynamics.emergence.last_step import last_of, regions_of
from dynamics.emergence.of_models import limits, summaries
from dynamics.emergence.parts import curve_and_band

SWEEP = {
    "run": "{size}-{seed}",
    "checkpoints": "checkpoints/{size}-{seed}",
    "model": {"name": "encodecmae", "arguments": {"heads": 2}},
    "stimuli": {"name": "synthetic", "arguments": {"per_kind": 2, "seconds": 0.3}},
    "targets": [{"name": "simulated", "arguments": {"neuroids": 6, "subjects": 2}}],
    "metrics": ["ridge"],
    "baseline": None,
    "folds": 3,
    "resamples": 4,
    "untrained": 0,
    "report": False,
}
SIZES = [
    {"name": "small", "width": 16, "parameters": 1e4},
    {"name": "large", "width": 24, "parameters": 3e4},
]
SIZED = {"runs": [{"store": "a.zarr", "coordinates": {"size": "s", "hours_per_step": 0.5}}]}


def names_of(content):
    return [Path(run["store"]).stem for run in content["runs"]]


def write(folder, name="many.yaml", **content):
    path = folder / name
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def four(here):
    """Four runs of two sizes; what is in the file of the collection."""
    levels = {"s-0": 0.3, "s-1": 0.31, "l-0": 0.5, "l-1": 0.52}
    entries = []
    for number, (name, level) in enumerate(levels.items()):
        many_runs.make(
            here / f"{name}.zarr",
            level=level,
            seed=number,
            steps=(0, 10, 100, 1000),
            targets=("one",),
        )
        size = {"s": 1e4, "l": 1e6}[name[0]]
        coordinates = {"parameters": size, "size": name[0], "hours_per_step": 0.5}
        entries.append({"store": f"{name}.zarr", "coordinates": coordinates})
    return {"collection": "four", "runs": entries}


def test_a_template_with_a_matrix_is_a_run_for_every_cell(here):
    entry = {
        "template": SWEEP,
        "matrix": {"size": SIZES, "seed": [0, 1]},
        "coordinates": {"language": "en", "label": "{size}/{size.width}"},
    }
    path = write(here, collection="many", runs=entry, shared={"seed": 7})
    runs = load_collection(path).runs
    assert [run.name for run in runs] == ["small-0", "small-1", "large-0", "large-1"]
    assert runs[2].coordinates == {
        "width": 24, "parameters": 3e4, "size": "large", "seed": 0,
        "language": "en", "label": "large/24",
    }  # fmt: skip
    assert runs[2].sweep.checkpoints == "checkpoints/large-0"
    assert runs[2].sweep.seed == 7 and str(runs[2].place) == str(Path("store/large-0.zarr"))


def test_names_and_kinds_of_values_are_kept(here):
    template = SWEEP | {"run": "r", "resamples": "{n}", "seed": "{more.seed}"}
    matrix = {"n": [2, 4], "more": [{"name": "x", "seed": 3}]}
    entry = {"template": template | {"checkpoints": "c"}, "matrix": matrix}
    runs = load_collection(write(here, collection="c", runs=entry)).runs
    assert [run.name for run in runs] == ["r-2-x", "r-4-x"]
    assert runs[1].sweep.resamples == 4 and runs[1].sweep.seed == 3


def test_large_numbers_are_numbers_as_yaml_has_them_or_not(here):
    told = "{parameters: 9.5e7, name: 7e, x: 1e3}"
    text = f"collection: c\nruns: [{{store: a.zarr, coordinates: {told}}}]"
    (here / "c.yaml").write_text(text)
    (run,) = load_collection(here / "c.yaml").runs
    assert run.coordinates == {"parameters": 9.5e7, "name": "7e", "x": 1000.0}


def test_sweeps_are_found_by_glob_and_stores_by_name(here):
    for name in "ab":
        write(here, f"sweep-{name}.yaml", **SWEEP | {"run": name, "checkpoints": "x"})
    path = write(
        here, collection="c", runs=["sweep-*.yaml", "old.zarr", {"store": "s3://b/x.zarr"}]
    )
    runs = load_collection(path).runs
    assert [run.name for run in runs] == ["a", "b", "old", "x"]
    assert [run.sweep is None for run in runs] == [False, False, True, True]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"runs": []}, "at least 1 item"),
        ({"runs": [{"store": "a.zarr", "config": "b.yaml"}]}, "not `config` and `store`"),
        ({"runs": [{"template": {"run": "x"}}]}, "`template` and `matrix` go together"),
        ({"runs": ["a.zarr", "b/a.zarr"]}, "two runs have the name 'a'"),
        ({"runs": [{"store": "a.zarr", "name": "x"}, "a.zarr"]}, "two runs have the store"),
        ({"runs": ["none-*.yaml"]}, "line 3: nothing is called none"),
        (
            {"runs": [{"template": SWEEP, "matrix": {"size": ["s"]}}]},
            "names {seed}, and the matrix",
        ),
        ({"runs": ["a.zarr"], "trend": ["x"]}, "did you mean `trends`"),
        ({"runs": ["a.zarr"], "contrast": {"size": ["s", "l"]}}, "write `run.<coordinate"),
        ({"runs": ["a.zarr"], "contrast": {"listener.x": ["s", "l"]}}, "needs a `run."),
        ({"runs": ["a.zarr"], "surface": ["hours"]}, "a surface is over two numbers"),
        (SIZED | {"trends": ["hours"]}, "`trends` names 'hours', which no run has: there are size"),
        (SIZED | {"surface": ["step", "hour"]}, "`surface` names 'hour', which no run has"),
        (SIZED | {"surface": ["step", "size"]}, "`surface` names 'size', which is no number: 's'"),
        (SIZED | {"contrast": {"run.kind": ["s", "l"]}}, "`contrast` names 'kind', which no run"),
        (SIZED | {"replicates": "step"}, "`replicates` names 'step', which no run has"),
        ({"runs": ["a.zarr"], "replicates": "seed"}, "there are none: give runs `coordinates`"),
    ],
)
def test_faults_of_the_file_are_one_sentence(here, content, words):
    path = write(here, collection="c", **content)
    with pytest.raises((ValueError, FileNotFoundError)) as fault:
        load_collection(path)
    assert words in str(fault.value) and "\n" not in str(fault.value)


def test_runs_open_as_one_tree_that_is_read_when_it_is_used(here):
    many_runs.make(here / "a.zarr", steps=(0, 10, 100), layers=3, names="block{}")
    many_runs.make(here / "b.zarr", steps=(0, 50), layers=2)
    entries = [{"store": "a.zarr", "coordinates": {"language": "en", "hours_per_step": 0.5}},
               {"store": "b.zarr", "coordinates": {"language": "zh"}}]  # fmt: skip
    tree = dynamics.open_collection(write(here, collection="c", runs=entries))
    both = tree["results/one/ridge"].to_dataset()
    assert both["score"].dims == ("run", "step", "layer", "neuroid")
    assert not both.variables["score"]._in_memory
    for name in "ab":
        own = dynamics.open(f"{name}.zarr")["results/one/ridge"].to_dataset()
        part = both.sel(run=name).isel(step=both["own_step"].sel(run=name).to_numpy())
        number = own.sizes["layer"]
        np.testing.assert_array_equal(part["score"][:, :number], own["score"])
        some = {"layer": 0, "resample": 3}
        again = (each["resample_score"].isel(some) for each in (part, own))
        np.testing.assert_array_equal(*again)
        assert part["layer_name"][:number].to_numpy().tolist() == own["layer"].to_numpy().tolist()
        assert np.isnan(part["score"][:, number:]).all()
        kept = tree[f"runs/{name}/results/one/ridge"].to_dataset()
        xr.testing.assert_identical(kept.load(), own.load())
    own = dynamics.open("a.zarr")["results/one/ridge"].to_dataset()
    xr.testing.assert_equal(both.coords["thickness"].variable, own.coords["thickness"].variable)
    assert both["depth"].sel(run="a").to_numpy().tolist() == [0, 0.5, 1]
    assert both["hours"].sel(run="a", step=100) == 50 and np.isnan(both["hours"].sel(run="b")).all()
    assert both["fraction"].sel(run="b", step=50) == 1
    by = both["score"].isel(layer=0).mean("neuroid").groupby("language").mean()
    assert by.sizes["language"] == 2
    assert both.sel(run=both["language"] == "zh").sizes["run"] == 1
    assert "no `hours_per_step`" in tree.attrs["gaps"]


def test_statistics_of_one_run_are_those_of_its_own_store(four, here):
    tree = dynamics.open_collection(write(here, **four))
    own = dynamics.open("l-0.zarr")["results/one/ridge"].to_dataset().dynamics.half_time()
    one = tree["results/one/ridge"].to_dataset().sel(run="l-0").load()
    found = one.dynamics.half_time()["estimate"]
    np.testing.assert_allclose(found, own["estimate"], rtol=1e-12)


@pytest.mark.slow
def test_what_is_missing_or_of_another_question_is_a_gap_that_is_said(here):
    for name in "ab":
        many_runs.make(here / f"{name}.zarr")
    many_runs.make(here / "protocol.zarr", identity={"arguments": {"protocol": "pepino"}})
    many_runs.make(here / "sounds.zarr", stimuli="cd")
    many_runs.make(here / "half.zarr", targets=("one",))
    root = store.open_group(here / "half.zarr", mode="r+")
    store.plan(root, [(5, "/5.ckpt", 1)])
    begun = store.begin(here / "begun.zarr", run="begun", identity={"stimuli_sha256": "ab" * 32})
    store.plan(begun, [(5, "/5.ckpt", 1)])
    names = ["a", "b", "protocol", "sounds", "half", "begun", "none"]
    collection = gather([f"{name}.zarr" for name in names])
    said = "\n".join(gaps(open_runs(collection)))
    assert (
        "one by ridge is without protocol: other arguments of the metric: {'protocol': 'pepino'} "
        "where most have none" in said
    )
    assert "sounds: other stimuli, by their digest: cdcdcdcd where" in said
    assert "in common: metric, arguments of the metric, target" in said
    assert "half: 1 of 3 steps are missing" in said
    assert "two by ridge is without half: it has no results of two by ridge" in said
    assert "none: no store at none.zarr" in said
    assert [each for each in said.split("\n") if "begun" in each] == [
        "begun: none of its steps is done"
    ]
    found = find(collection)
    table = found.tables["models"]
    notes = table[table["score"].isna()].groupby("run")["note"].first()
    assert set(notes.index) == {"protocol", "sounds", "half", "begun", "none"}
    assert notes["begun"] == "none of its steps is done"
    assert table[table["score"].notna()]["run"].nunique() == 3


@pytest.mark.parametrize(
    "data",
    [results(), of_one_subject(), results().drop_vars("resample_score"), results(neuroids=24)],
    ids=["subjects", "stimuli", "no resamples", "more"],
)
@pytest.mark.parametrize("correlation", [0, 1])
def test_levels_of_a_table_are_those_of_the_curves(data, correlation):
    """Both compute in double precision in another order: equal to some last digits."""
    if "resample_score" in data:
        data["resample_score"].attrs["correlation"] = correlation
    last = last_of(data)
    found = summaries(last)
    for region, part in regions_of(data).items():
        curve, low, high, over = curve_and_band(part.isel(step=[-1]))
        best = curve.isel(step=0).argmax("layer").item()
        own = found[region]
        assert own["over"] == over and own["layer"] == str(curve["layer"][best].item())
        again = None if last.again is None else last.again.of(region)
        bands = limits(last.score.of(region), again, last.scheme)
        for mine, theirs in zip(bands, (curve, low, high)):
            np.testing.assert_allclose(mine, theirs[0], rtol=1e-10)
        assert own["highest"] == pytest.approx(float(curve[0, best]))
        if again is None:
            assert own["chosen_on"] == "same stimuli" and own["score"] == own["highest"]
            continue
        # One layer is the best on all halves, and is told of as if it were the only one.
        assert own["chosen_on"] == "other half" and own["support"] == 1
        assert own["score"] == pytest.approx(own["highest"])
        width = float(high[0, best] - low[0, best])  # degrees of freedom are of all layers there
        assert own["high"] - own["low"] == pytest.approx(width, rel=0.1)
    scores = data["score"].isel(step=-1, layer=1).to_numpy()
    if "subject" in data.coords:
        each = pd.Series(scores).groupby(data["subject"].to_numpy()).median()
        assert found["all"]["median"] == pytest.approx(each.mean())
        assert found["all"]["error"] == pytest.approx(each.sem())


def test_tables_are_sorted_and_differences_are_paired(four, here):
    found = find(load_collection(write(here, **four))).tables
    first = found["models"].query("target == 'one' and region == 'all'")
    assert first["run"].tolist() == ["l-1", "l-0", "s-1", "s-0"]
    assert first["ceiling"].tolist() == pytest.approx([0.8] * 4)
    assert set(found["best-layers"]["layer"]) == {"layer1"}
    pair = found["differences"].query("target == 'one' and first == 's-0' and second == 'l-1'")
    assert pair["difference"].item() == pytest.approx(-0.22, abs=0.03)
    # The sounds move each score by .03, and all alike; what is left is a tenth of it.
    assert pair["high"].item() - pair["low"].item() < 0.05 and pair["p_adjusted"].item() < 0.01
    times = found["half-times"].query("target == 'one' and region == 'all'")
    assert len(times) == 4 and (times["status"] == "reached").all()
    laid = writing.wide(found["models"].query("target == 'one'"))
    assert laid["run"].tolist()[:2] == ["noise ceiling", "l-1"]
    assert (
        "|"
        not in writing.markdown(pd.DataFrame({"a": ["x|y"]}))
        .split("\n")[2]
        .replace("\\|", "")[2:-2]
    )


def assert_tables_agree(csv, md):
    """Every number of one to three digits, or as it is, in the other."""
    rows = [line[2:-2].split(" | ") for line in md.read_text().splitlines()]
    full = pd.read_csv(csv, keep_default_na=True)
    assert rows[0] == full.columns.tolist() and len(rows) == len(full) + 2
    for told, (_, own) in zip(rows[2:], full.iterrows(), strict=True):
        for cell, value in zip(told, own, strict=True):
            cell, is_number = cell.strip(), isinstance(value, (int, float))
            if is_number and np.isfinite(value):
                assert float(cell.replace(",", "")) == pytest.approx(value, rel=0.06, abs=6e-4)
            else:
                assert cell == {"nan": "", "inf": "∞", "-inf": "−∞"}.get(str(value), str(value))


@pytest.mark.slow
def test_a_collection_is_compared_whole(four, here):
    content = four | {
        "trends": ["parameters", "step"], "surface": ["parameters", "step"],
        "contrast": {"run.size": ["l", "s"]},
    }  # fmt: skip
    content["runs"][0]["coordinates"]["parameters"] = 3e4
    written = compare(write(here, **content), formats=["png"])
    names = {path.name for path in written.files}
    assert {"models.csv", "models.md", "half-times.csv", "trends.csv", "contrasts.md"} <= names
    assert {"scores-ridge-one.png", "curves-ridge-one.png", "half-times-ridge-one.png"} <= names
    assert {"trend-parameters-ridge-one.png", "contrast-both-ridge-one.png"} <= names
    page = written.report.read_text()
    assert (
        page.count("<img") == len(written.found.drawings)
        and "http:" not in page
        and "https:" not in page
    )
    contrasts = pd.read_csv(written.folder / "contrasts.csv")
    last = contrasts.query("target == 'one' and over == 'both'").iloc[-1]
    assert last["lower"] < 0.205 < last["upper"] and last["p_permutation"] == pytest.approx(1 / 3)
    table = pd.read_csv(written.folder / "trends.csv").query("parameter == 'slope'")
    slopes = table.query("coordinate == 'parameters'")
    assert len(slopes) == 1 and (slopes["estimate"] > 0.08).all() and (slopes["lower"] > 0).all()
    along = table.query("coordinate == 'step'").set_index("run")
    assert along.index.tolist() == [*names_of(content), "mean of the runs"]
    assert (along["lower"].dropna() > 0).all() and along["lower"].notna().sum() == 4
    mean = along.loc["mean of the runs"]
    own = along["estimate"].iloc[:4]
    assert mean["estimate"] == pytest.approx(own.mean()) and mean["runs"] == 4
    oracle = stats.ttest_1samp(own, 0)
    assert mean["p"] == pytest.approx(oracle.pvalue)
    limits = oracle.confidence_interval()
    assert [mean["runs_lower"], mean["runs_upper"]] == pytest.approx([*limits])
    assert "trend-step-ridge-one-s-0.png" in names
    bent = pd.read_csv(written.folder / "surfaces.csv").set_index("parameter")
    assert bent.loc["rise over step", "estimate"] > 0.1 and bent.loc["top", "scores"] == 12
    assert "the best is l-1, or 1 other that is not shown to be worse" in page
    gap = "no saturating trend of one by ridge over the steps of s-0, s-1, l-0 and 1 other: there"
    assert page.count("no saturating trend of one by ridge over the steps") == page.count(gap) == 1
    for name in written.found.tables:
        if name != "models":  # laid out as papers have them, and not row by row
            assert_tables_agree(written.folder / f"{name}.csv", written.folder / f"{name}.md")
    laid = (written.folder / "models.md").read_text()
    first = pd.read_csv(written.folder / "models.csv").iloc[0]
    assert (
        f"| {first['run']} | " + "{:.3f} ({:.3f}, {:.3f})".format(*first[["score", "low", "high"]])
        in laid
    )


@pytest.mark.slow
def test_an_interaction_of_language_and_listener_follows_training(here):
    """One of two runs gains for listeners of one language; two runs alike show nothing."""
    for planted in (0.1, 0.0):
        for name, bonus in (("en", planted), ("zh", 0.0)):
            many_runs.make(
                here / f"{name}-{planted}.zarr", languages=True, bonus=bonus, steps=(0, 10, 1000),
                targets=("one",), seed=int(name == "en"), noise=0.003,
            )  # fmt: skip
        entries = [
            {"store": f"{name}-{planted}.zarr", "name": name, "coordinates": {"language": name}}
            for name in ("en", "zh")
        ]
        contrast = {"run.language": ["en", "zh"], "listener.language": ["english", "mandarin"]}
        path = write(here, collection="c", runs=entries, contrast=contrast)
        table = find(load_collection(path)).tables["contrasts"]
        assert len(table) == 3
        last, first = table.iloc[-1], table.iloc[0]
        assert first["lower"] < 0 < first["upper"]
        assert last["lower"] < planted < last["upper"]
        assert (last["lower"] > 0) == (planted > 0)


@pytest.mark.slow
def test_brains_and_tasks_are_correlated_over_runs(here):
    for number, level in enumerate((0.2, 0.3, 0.4, 0.5, 0.6)):
        many_runs.make(here / f"m{number}.zarr", level=level, probe=level**2, targets=("one",))
    found = find(gather([f"m{number}.zarr" for number in range(5)]))
    row = found.tables["brains-tasks"].query("over == 'runs'").iloc[0]
    table = found.tables["models"].query("region == 'all'").set_index("run")["score"]
    tasks = [level**2 for level in (0.2, 0.3, 0.4, 0.5, 0.6)]  # a z score of either task
    oracle = np.corrcoef(table.reindex([f"m{number}" for number in range(5)]), tasks)[0, 1]
    assert row["r"] == pytest.approx(oracle) and row["n"] == 5
    assert any(drawing.name == "tasks-ridge-one" for drawing in found.drawings)


def test_single_networks_have_no_half_times_and_few_figures(here):
    for name in "ab":
        many_runs.make(here / f"{name}.zarr")
    found = find(gather(["a.zarr", "b.zarr"]))
    assert "half-times" not in found.tables
    assert len(found.drawings) == 6  # scores, medians and regions of either target


def test_coordinates_that_are_no_numbers_or_not_there_are_said(four, here):
    for trends, words in (
        (["size"], "is no number"),
        (["weight"], "no run has: there are parameters"),
    ):
        with pytest.raises(ValueError, match=words):
            find(load_collection(write(here, **four | {"trends": trends})))
    contrast = {"run.size": ["l", "s"], "listener.language": ["a", "b"]}
    with pytest.raises(ValueError, match="no target has the coordinate 'language'"):
        find(load_collection(write(here, **four | {"contrast": contrast})))
    found = find(load_collection(write(here, **four | {"contrast": {"run.size": ["l", "xl"]}})))
    assert any("no run is of the group 'xl'" in sentence for sentence in found.said)
    with pytest.raises(ValueError, match="has results to compare"):
        find(gather(["nothing.zarr"]))


def test_compare_is_a_command(four, here, monkeypatch, capsys):
    words = "compare s-0.zarr l-0.zarr none.zarr --output out --format png --value r2"
    monkeypatch.setattr(sys, "argv", ["dynamics", *words.split()])
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capsys.readouterr().out
    assert end.value.code == 0 and "gap: none: no store at none.zarr" in said
    table = pd.read_csv(here / "out" / "models.csv")
    best = table.query("target == 'one' and region == 'all' and run == 'l-0'")["score"].item()
    assert best == pytest.approx(0.25, abs=0.02)


@pytest.mark.slow
def test_a_run_that_is_added_is_the_only_one_that_is_computed(here, monkeypatch, capsys):
    """Crawled, analyzed and compared for good; figures of single runs are left out."""
    from dynamics import sweep as main_job
    from dynamics.analysis import analyze

    monkeypatch.setattr(analyze, "cluster", lambda *a, **k: contextlib.nullcontext(Here()))
    monkeypatch.setattr(
        main_job, "plot", lambda sweep, **k: sweep.figures.mkdir(parents=True) or []
    )
    loaded = []
    usual = running.load_brain
    monkeypatch.setattr(running, "load_brain", lambda *a: loaded.append(a) or usual(*a))
    for size, width in (("small", 16), ("large", 24)):
        for seed in range(2):
            folder = here / f"checkpoints/{size}-{seed}"
            folder.mkdir(parents=True)
            for step in (10, 100):
                save_checkpoint(folder, step, seed=step + seed, width=width)

    def run(seeds, code):
        entry = {"template": SWEEP, "matrix": {"size": SIZES, "seed": seeds}}
        path = write(here, collection="many", runs=[entry, "gone.zarr"])
        monkeypatch.setattr(sys, "argv", ["dynamics", "run", str(path), "--quiet"])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr().out
        assert end.value.code == code, said
        return said

    said = run([0], 0)
    assert said.count("2 of them new") == 2 and "gap: gone: no store" in said
    assert len(loaded) == 1, "targets are loaded once for all runs"
    # Values: attributes of a group are written each time.
    there = [path for path in Path("store/small-0.zarr").rglob("*") if path.is_file()]
    done = {path: path.stat().st_mtime_ns for path in there if path.name != "zarr.json"}
    said = run([0, 1, 2], 3)
    assert said.count("2 of them new") == 2 and said.count("0 of them new") == 2
    assert said.count("stopped: ") == 2 and "checkpoints/small-2" in said
    assert [path for path, when in done.items() if path.stat().st_mtime_ns != when] == []
    table = pd.read_csv("store/many/models.csv").query("region == 'all'")
    assert table["score"].notna().sum() == 4
    assert table[table["score"].isna()]["run"].tolist() == ["small-2", "large-2", "gone"]


def test_scores_of_another_version_of_a_metric_are_left_out(here):
    for name in "abc":
        many_runs.make(here / f"{name}.zarr", identity={"version": "2"} if name != "b" else None)
    (one, *_) = compared(open_runs(gather(["a.zarr", "b.zarr", "c.zarr"])))
    assert list(one.results) == ["a", "c"]
    assert one.left_out["b"].startswith(
        "other version of the metric: none where most have '2' (in common: metric"
    )


def test_groups_of_runs_that_answer_one_question_are_the_larger(here):
    for name in "abc":
        many_runs.make(here / f"{name}.zarr", identity={"seed": 1} if name == "c" else None)
    (one, *_) = compared(open_runs(gather(["a.zarr", "b.zarr", "c.zarr"])))
    assert list(one.results) == ["a", "b", "c"], "another seed of the halves is no other question"
    assert not paired(one.results) and differences(one).empty


@pytest.mark.slow
def test_a_sweep_of_one_checkpoint_has_a_handful_of_figures_and_no_half_times(here):
    from dynamics import plots, report

    path = many_runs.make(here / "a.zarr", probe=0.5)
    tree = dynamics.open(path)
    drawings = [*plots.figures_of(tree, "ridge", many_runs.TARGETS),
                *plots.figures_of(tree, "probe", ["birds", "digits"])]  # fmt: skip
    assert [drawing.name for drawing in drawings] == ["layers-ridge-scores", "layers-probe-scores"]
    figure = drawings[0].draw()
    names = [ax.get_title() for ax in figure.axes]
    assert names == ["one", "two"]
    trained = next(line for line in figure.axes[0].lines if line.get_label() == "trained")
    score = tree["results/one/ridge"].to_dataset()["score"].isel(step=-1).mean("neuroid")
    np.testing.assert_allclose(trained.get_ydata(), score)
    text = report.write(path).read_text()
    assert "half-way" not in text and "over the 0." in text
    assert text.count('alt="Line chart') == 2
    more = many_runs.make(here / "b.zarr", steps=(0, 10, 100))
    kinds = {
        each.kind
        for each in plots.figures_of(dynamics.open(more), "ridge", many_runs.TARGETS, only=["all"])
    }
    assert {"emergence", "heatmap", "best-layer"} <= kinds and "layer-scores" not in kinds
