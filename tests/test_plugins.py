"""One of each kind of thing from outside the package: one file, one line in the sweep."""

import importlib
import sys
import textwrap
from collections import Counter

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from tiny_run import sweep_in, sweep_of

import dynamics
import dynamics.accessor
from dynamics import (
    analysis,
    cli,
    plugins,
    report,
    sounds,
    sweep,
)
from dynamics.analysis import values
from dynamics.plots.style import score_label

PLUGIN = '''
import numpy as np

from dynamics import brains, sounds
from dynamics.analysis import Metric, Value
from dynamics.models.encodecmae import build
from dynamics.extraction.poolings import POOLINGS as POOLINGS_THERE
from dynamics.probes.table import TASKS as TASKS_THERE


def level(layers, target, *, power=1.0, halves=None, orders=None):
    """Correlate the mean level of a layer with every neuroid.

    More of it.
    """
    if power <= 0:
        raise ValueError(f"power is {power}: give one above 0")
    Y = target.mean_response
    means = [np.abs(X).mean(1) ** power for X in layers.values()]
    values = {"score": (("layer", "neuroid"), np.stack([r(x, Y) for x in means])),
              "power": ((), np.array(power))}
    if halves is not None:
        rows = [half[half >= 0] for half in halves]
        again = [[r(x[some], Y[some]) for some in rows] for x in means]
        values["resample_score"] = (("layer", "resample", "neuroid"), np.array(again))
    if orders is not None:
        null = [[r(x, Y[order]) for order in orders] for x in means]
        values["null_score"] = (("layer", "permutation", "neuroid"), np.array(null))
    return values


def r(x, Y):
    x, Y = x - x.mean(), Y - Y.mean(0)
    return (x @ Y) / (np.linalg.norm(x) * np.linalg.norm(Y, axis=0))


METRICS = {
    "level": Metric(
        level, axis="Level (Pearson r)", per="neuroid", ceiling="repetitions",
        sentence="“{label}” is the correlation of mean levels, to the power of {power}",
        citations=("Nobody (2026), On levels",), variables={"power": "power of the level"},
        values={"r2": Value("r²", "Level (r²)", square=True)},
    )
}
ADAPTERS = {"own_net": build}
POOLINGS = {"own_mean": POOLINGS_THERE["mean"]}
TASKS = {"own_task": TASKS_THERE["pitch-class"]}


def SOUNDS_OF(per_kind=4):
    return sounds.load("synthetic", per_kind=per_kind, seconds=0.4)


SOUNDS = {"own_sounds": SOUNDS_OF}
TARGETS = {"own_brain": lambda: brains.load("simulated", stimuli=SOUNDS_OF(), neuroids=2)}
'''


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory, and tables that are afterwards what they were."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules = set(sys.modules)
    tables = [getattr(importlib.import_module(m), name) for m, name in plugins.TABLES.values()]
    before = [dict(table) for table in tables]
    yield tmp_path
    for table, old in zip(tables, before):
        table.clear()
        table.update(old)
    for name in set(sys.modules) - modules:
        if name.startswith("own_"):
            del sys.modules[name]


def write(folder, name="own_things", content=PLUGIN):
    (folder / f"{name}.py").write_text(textwrap.dedent(content), encoding="utf-8")


@pytest.mark.slow
def test_one_of_each_kind_is_one_file_and_one_line(here):
    write(here)
    content = sweep_in(
        here, [0, 10], plugins=["own_things"],
        model={"name": "own_net", "arguments": {"heads": 2}},
        stimuli="own_sounds", targets=["own_brain"], pooling="own_mean",
        metrics=[{"name": "level", "arguments": {"power": 2.0}}, "ridge"],
        probes=[{"name": "own_task", "arguments": {"train": 24, "valid": 8, "test": 8}}],
        resamples=4, permutations=20, baseline=None,
    )  # fmt: skip
    done = sweep.run(sweep_of(content))
    assert done
    tree = dynamics.open(here / "tiny.zarr")
    results = tree["results/own_brain/level"].to_dataset()
    X = tree["activations"].children
    name = next(iter(X))
    levels = np.abs(X[name]["activation"].sel(step=10).to_numpy().astype(float)).mean(1) ** 2
    Y = plugins_target(tree)
    expected = [np.corrcoef(levels, Y[:, k])[0, 1] for k in range(2)]
    np.testing.assert_allclose(results["score"].sel(step=10, layer=name), expected, atol=1e-6)
    # Intervals, nulls, ceilings, other values, help, captions: what every metric has.
    assert results.sizes["resample"] == 4 and results["p_value"].notnull().all()
    assert results["power"].attrs["description"] == "power of the level"
    assert "ceiling" in results.coords
    assert {"lower", "upper"} <= set(results.dynamics.half_time())
    squares = values.of(results, "r2")
    np.testing.assert_allclose(squares["score"], results["score"].clip(min=0) ** 2)
    assert score_label(squares) == "Level (r²)"
    html = report.write(here / "tiny.zarr", output=here / "report.html").read_text(encoding="utf-8")
    assert "correlation of mean levels, to the power of 2.0" in html
    assert "Nobody (2026), On levels" in html
    # Only what is missing is computed: a second run finds everything done.
    assert sweep.run(sweep_of(content)) is not None
    assert analysis.summary("level") == "Correlate the mean level of a layer with every neuroid."


def plugins_target(tree):
    import own_things

    names = [str(name) for name in tree["activations"]["stimulus"].to_numpy()]
    data = own_things.TARGETS["own_brain"]()
    return data["response"].sel(stimulus=names).mean("repetition").to_numpy()


SPACES = """
from collections import Counter

import numpy as np

from dynamics.analysis import of_spaces

PREPARED = Counter()


def distances(X, *, order=2.0):
    "Correlate distances between stimuli."
    X = np.asarray(X, float)
    PREPARED[X.tobytes()] += 1
    D = np.linalg.norm(X[:, None] - X, ord=order, axis=2)[np.triu_indices(len(X), 1)]
    return (D - D.mean()) / np.linalg.norm(D - D.mean())


METRICS = {"own_rsa": of_spaces(distances, np.dot, axis="Own RSA", ceiling="subjects")}
"""


def test_a_metric_of_two_spaces_prepares_each_once(here, in_this_process, monkeypatch):
    write(here, content=SPACES)
    from dynamics.analysis import analyze, self_similarity
    from dynamics.extraction import crawl

    listeners = [{"name": "simulated", "label": str(k), "arguments": {"neuroids": 12, "seed": k}}
                 for k in (1, 2)]  # fmt: skip
    heard = {"name": "synthetic", "arguments": {"per_kind": 4, "seconds": 0.4}}
    content = sweep_in(
        here, [0, 10], plugins=["own_things"], stimuli=heard, targets=listeners,
        metrics=["own_rsa"], self_similarity=["own_rsa"], resamples=4, permutations=5,
        baseline=None,
    )  # fmt: skip
    found = sweep_of(content)
    crawl.crawl(found)
    import own_things

    assert analysis.summary("own_rsa") == "Correlate distances between stimuli."
    assert analysis.arguments("own_rsa") == {"order": 2.0, "by": "subject"}
    prepared, uses = own_things.PREPARED, []

    def watched(usual):
        def counted(*given):
            prepared.clear()
            out = usual(*given)
            uses.append((usual.__name__, Counter(prepared)))
            return out

        return counted

    for module, name in ((analyze, "score_together"), (self_similarity, "compare_steps"),
                         (self_similarity, "compare_layers")):  # fmt: skip
        monkeypatch.setattr(module, name, watched(getattr(module, name)))
    analyze.analyze(found)
    tree = dynamics.open(here / "tiny.zarr")
    layers = {
        (name, step): layer["activation"].sel(step=step).to_numpy().astype(float)
        for name, layer in tree["activations"].children.items()
        for step in (0, 10)
    }
    assert {name for name, _ in uses} == {"score_together", "compare_steps", "compare_layers"}
    for _, count in uses:
        assert {count[X.tobytes()] for X in layers.values()} in ({1}, {0, 1})
    prepared.clear()
    self_similarity.similarity_of_runs(found.place, found.place, metric="own_rsa", layers="all")
    assert {prepared[X.tobytes()] for X in layers.values()} == {1}
    # Values, by SciPy's distances; sums in another order.
    for label in ("1", "2"):
        results = tree[f"results/{label}/own_rsa"].to_dataset()
        assert results.sizes["resample"] == 4 and results["p_value"].notnull().all()
        stimuli = sounds.load(heard["name"], **heard["arguments"])
        data = dynamics.brains.load("simulated", stimuli=stimuli, neuroids=12, seed=int(label))
        Y = data["response"].transpose("stimulus", "neuroid", ...)
        Y = Y.sel(stimulus=tree["activations"]["stimulus"].to_numpy()).to_numpy()
        Y = Y.reshape(*Y.shape[:2], -1).mean(2)
        subjects = data["subject"].to_numpy().astype(str)
        for (name, step), X in layers.items():
            score = results["score"].sel(step=step, layer=name).to_numpy()
            expected = [np.corrcoef(pdist(X), pdist(Y[:, subjects == who]))[0, 1]
                        for who in results["subject"].to_numpy()]  # fmt: skip
            np.testing.assert_allclose(score, expected, atol=1e-9)
    name = next(iter(layers))[0]
    expected = np.corrcoef(pdist(layers[name, 0]), pdist(layers[name, 10]))[0, 1]
    alike = tree["results/self/own_rsa"].to_dataset()["similarity"].sel(layer=name).to_numpy()
    assert np.nanmin(np.abs(alike - expected)) < 1e-9


@pytest.mark.slow
def test_results_speak_for_themselves_where_the_plugin_is_not_loaded(
    here, in_this_process, monkeypatch
):
    write(here)
    content = sweep_in(
        here, [0, 10], plugins=["own_things"], stimuli="own_sounds", metrics=["level"],
        resamples=0, report=False,
    )  # fmt: skip
    sweep.run(sweep_of(content))
    monkeypatch.setattr(plugins, "_loaded", {})
    del analysis.METHODS["level"]
    tree = dynamics.open(here / "tiny.zarr")
    results = tree["results/simulated/level"].to_dataset()
    assert score_label(results) == "Level (Pearson r)"
    html = report.write(here / "tiny.zarr", output=here / "report.html").read_text(encoding="utf-8")
    assert "is the correlation of mean levels" in html


@pytest.mark.slow
def test_many_neuroids_keep_means_of_groups(here, in_this_process):
    write(here)
    content = sweep_in(
        here, [0, 10], plugins=["own_things"], metrics=["level"], resamples=4, stimuli="own_sounds",
        resample_neuroids=2, report=False,
    )  # fmt: skip
    sweep.run(sweep_of(content))
    results = dynamics.open(here / "tiny.zarr")["results/simulated/level"].to_dataset()
    assert "resample_mean" in results and "resample_score" not in results


METRIC = "from dynamics.analysis import Metric\ndef f(a, b, *, halves=None, orders=None): ...\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"'own_things'.*no such module, installed or in"),
        ("1 +", "cannot be imported: SyntaxError"),
        ("import no_such_thing", "cannot be imported: No module named 'no_such_thing'"),
        ("raise RuntimeError('tired')", "cannot be imported: RuntimeError: tired"),
        ("X = 1", "adds nothing: give the module a dictionary METRICS or ADAPTERS"),
        ("METRICS = [1]", "METRICS must be a dictionary"),
        ("METRICS = {'x': print}", "'x' of METRICS must be a `dynamics.analysis.Metric`"),
        ("POOLINGS = {'x': 3}", "'x' of POOLINGS must be a function, not int"),
        ("ADAPTERS = {1: print}", "1 of ADAPTERS: a name must be a text"),
        (METRIC + "METRICS = {'ridge': Metric(f, 'x')}", "'ridge' of METRICS: there is one of"),
        (METRIC + "METRICS = {'x': Metric(f, 'x', per='voxel')}", "per is 'voxel': use one of"),
        (METRIC + "METRICS = {'x': Metric(f, 'x', needs='time')}", "needs is 'time': give a tuple"),
        (METRIC + "METRICS = {'x': Metric(max, 'x')}", "the function lacks|no signature"),
        (METRIC + "METRICS = {'x': Metric(f, 'x', '{label')}", "a brace that is not closed"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_one_sentence_and_changes_nothing(here, content, words):
    if content is not None:
        write(here, content=content)
    before = dict(analysis.METHODS)
    with pytest.raises(ValueError, match=words) as caught:
        sweep_of(sweep_in(here, [], plugins=["own_things"]))
    assert "plugins" in str(caught.value) and "\n" not in str(caught.value)
    assert before == analysis.METHODS and plugins.loaded() == []


def test_the_command_line_lists_what_a_plugin_brings(here, capsys, monkeypatch):
    write(here)

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["dynamics", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capsys.readouterr()

    code, text, _ = command("metrics", "level", "--plugin", "own_things")
    assert code in (0, None)
    assert "Correlate the mean level" in text and "power (default: 1.0)" in text
    code, _, said = command("metrics", "--plugin", "own_thing")
    assert code == 2 and "there is no such module" in " ".join(said.split())


def test_bad_arguments_of_ones_own_metric_are_found_before_the_crawl(here):
    write(here)
    for arguments, words in (({"powr": 2}, "did you mean `power`"), ({"power": -1}, "above 0")):
        content = {"metrics": [{"name": "level", "arguments": arguments}]}
        folder = here / words[:3]
        folder.mkdir()
        bad = sweep_in(folder, [0], plugins=["own_things"], **content)
        with pytest.raises(ValueError, match=words):
            sweep.run(sweep_of(bad))
        assert not (folder / "tiny.zarr").exists()


def test_an_installed_package_adds_what_it_brings_and_a_broken_one_is_told(
    here, monkeypatch, caplog
):
    from importlib.metadata import EntryPoint

    write(here)
    write(here, "own_broken", "1 +")
    found = [EntryPoint(name, name, plugins.GROUP) for name in ("own_things", "own_broken")]
    monkeypatch.setattr(plugins, "entry_points", lambda group: found)
    monkeypatch.syspath_prepend(str(here))
    sweep_of(sweep_in(here, []))
    assert "level" in analysis.METHODS and plugins.of("METRICS", "level") == "own_things"
    assert caplog.text.count("left out the plugin 'own_broken'") == 1
    sweep_of({"run": "again"} | sweep_in_again(here))
    assert caplog.text.count("left out the plugin 'own_broken'") == 1


def sweep_in_again(folder):
    return {"checkpoints": str(folder), "model": "own_net", "stimuli": "own_sounds"}


RECORDS = """
from dynamics import plots
from dynamics.emergence import Statistic
from dynamics.plots import Kind


def range_of(curve):
    return curve.max("step") - curve.min("step")


def draw(shown):
    ax = plots.plot_heatmap(shown.results)
    ax.set_title(f"dots of {shown.title}")
    return ax.figure


STATISTICS = {"range": Statistic(range_of, "Range", "highest minus lowest score", needs=("last",),
                                 sentence="Its scores have a range of {value}.")}
FIGURES = {"dots": Kind(draw, "dots-{metric}-{target}", "Dots of {name}.", "Dots. {said}")}
"""


@pytest.mark.slow
def test_a_statistic_and_a_figure_are_one_record_each(here):
    from report_store import make

    from dynamics import plots, store
    from dynamics.report import findings, tables

    write(here, "own_records", RECORDS)
    plots.FIGURES.clear()
    plugins.load(["own_records"])
    tree = store.open(make(here / "run.zarr", parts=("speech", "music")))
    results = tree["results/cortex/ridge"].to_dataset()
    expected = results.dynamics.curves().max("step") - results.dynamics.curves().min("step")
    table = results.dynamics.summarize()
    np.testing.assert_allclose(table["range"], expected)
    assert (table["range_lower"] < expected).all() and (table["range_upper"] > expected).all()
    alone = results.dynamics.statistic("range")
    np.testing.assert_allclose(alone["estimate"], expected)
    assert (alone["status"] == "known").all()
    names = [drawing.name for drawing in plots.figures_of(tree, "ridge", ["cortex"])]
    assert names == ["dots-ridge-cortex"]
    found = [(one, findings.curves_of(one)) for one in findings.results_of(tree)[0]]
    assert "range,range_lower,range_upper" in tables.as_csv(found).split("\n")[0]
    html = report.render(tree)
    assert ("Range", "highest minus lowest score") in tables.emergence_table(*found[0]).headings
    assert "Its scores have a range of" in html
    assert "Dots of cortex by ridge." in html and "Dots. cortex: the layer" in html


@pytest.mark.slow
def test_a_report_of_a_store_takes_plugins(here):
    from report_store import make
    from typer.testing import CliRunner

    from dynamics.cli.program import app

    write(here, "own_records", RECORDS)
    path = make(here / "run.zarr", parts=("speech", "music"))
    options = ["report", str(path), "--output", str(here / "r.html"), "--plugin", "own_records"]
    done = CliRunner().invoke(app, options)
    assert done.exit_code == 0, done.output
    assert "Its scores have a range of" in (here / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("STATISTICS = {'x': max}", "'x' of STATISTICS must be a `dynamics.emergence.Statistic`"),
        ("from dynamics.emergence import Statistic\nSTATISTICS = {'x': Statistic(None, 'X', 'x')}",
         "give a `function` of curves"),
        ("from dynamics.plots import Kind\nFIGURES = {'x': Kind(max, 'x-{layer}', '', '')}",
         "may hold {metric}, {target} and {other} alone"),
    ],
)  # fmt: skip
def test_a_record_that_cannot_be_used_is_one_sentence(here, content, words):
    write(here, "own_records", content)
    with pytest.raises(ValueError, match=words):
        plugins.load(["own_records"])
