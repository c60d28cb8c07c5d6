"""What xarray and zarr do to a store or to results, and what comes of it."""

import contextlib
import json
import pickle
import shutil
import sys
import types

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import xarray as xr
import zarr
from inprocess import Here
from tiny_run import save_checkpoint, sweep_in, sweep_of
from tiny_store import IDENTITY, STIMULI, activations

import dynamics
from dynamics import plots, report, store
from dynamics.analysis.analyze import analyze
from dynamics.extraction.crawl import crawl
from dynamics.progress import silent
from dynamics.store.attributes import mapping
from dynamics.store.nodes import TAKEN, group_name
from dynamics.sweep import plot


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store of a run of four steps with results, and its sweep."""
    folder = tmp_path_factory.mktemp("run")
    stimuli = {"name": "synthetic", "arguments": {"per_kind": 2, "seconds": 0.4}}
    content = sweep_in(folder, (0, 10, 100, 1000), stimuli=stimuli, resamples=4, metrics=["ridge"])
    sweep = sweep_of(content, self_similarity=["cka"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "dynamics.analysis.analyze.cluster", lambda *a, **k: contextlib.nullcontext(Here())
        )
        crawl(sweep, advance=silent)
        analyze(sweep, advance=silent)
    return sweep


@pytest.fixture
def results(made):
    return dynamics.open(made.store)["results/simulated/ridge"].to_dataset()


def netcdf(data, folder, engine):
    data.to_netcdf(folder / "r.nc", engine=engine)
    return xr.open_dataset(folder / "r.nc", engine=engine)


def zarred(data, folder):
    data.to_zarr(folder / "r.zarr")
    return xr.open_zarr(folder / "r.zarr")


SAME = {
    "loaded": lambda r, _: r.load(),
    "chunked": lambda r, _: r.chunk({"step": 1}),
    "persisted": lambda r, _: r.chunk().persist(),
    "copied": lambda r, _: r.copy(deep=True),
    "pickled": lambda r, _: pickle.loads(pickle.dumps(r)),
    "netCDF 3": lambda r, folder: netcdf(r, folder, "scipy"),
    "netCDF 4": lambda r, folder: netcdf(r, folder, "h5netcdf"),
    "zarr": zarred,
    "transposed": lambda r, _: r.transpose(),
    "unsorted": lambda r, _: r.isel(step=[3, 1, 0, 2]),
    "joined": lambda r, _: xr.concat(
        [r.isel(step=[0, 1]), r.isel(step=[2, 3])], "step", data_vars="minimal"
    ),
    "stacked and back": lambda r, _: r.stack(place=("layer", "neuroid")).unstack(),
    "merged": lambda r, _: xr.merge([r, r[["score"]].rename(score="other")]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SAME)
def test_statistics_and_figures_are_the_same_after_it(results, tmp_path, name):
    changed = SAME[name](results, tmp_path)
    for statistic in (
        lambda r: r.dynamics.half_time(by="region"),
        lambda r: r.dynamics.gain(above="baseline"),
        lambda r: r.dynamics.ceiling_fraction(by="region"),
        lambda r: r.dynamics.best_layer(),
    ):
        found, expected = statistic(changed), statistic(results)
        for variable in expected.data_vars:
            if expected[variable].dtype.kind == "f":
                one = found[variable].transpose(*expected[variable].dims)
                # Sums in another order, in double precision.
                np.testing.assert_allclose(one, expected[variable], rtol=1e-9, atol=1e-12)
    for draw in (plots.plot_curves, plots.plot_heatmap, plots.plot_order, plots.plot_best_layer):
        draw(changed)
        plt.close("all")
    assert mapping(changed.attrs.get("identity")) == mapping(results.attrs["identity"])


def test_runs_side_by_side_are_written_and_drawn_again(results, tmp_path):
    both = plots.stack({"a": results, "b": results})
    back = netcdf(both, tmp_path, "h5netcdf")
    assert mapping(back.attrs["identity"])["metric"] == "ridge"
    plots.plot_curves(back, hue="run")


@pytest.mark.parametrize("select", [{"layer": "layer1"}, {"layer": ["layer1"]}])
def test_one_layer_is_drawn(results, select):
    one = results.sel(select)
    axes = [
        draw(one)
        for draw in (plots.plot_curves, plots.plot_heatmap, plots.plot_order, plots.plot_best_layer)
    ]
    assert "layer1" in [text.get_text() for text in axes[1].get_yticklabels()]
    expected = results.dynamics.half_time().sel(layer="layer1")["estimate"]
    np.testing.assert_allclose(np.ravel(one.dynamics.half_time()["estimate"]), float(expected))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chunked", "persisted", "unsorted", "transposed"])
def test_panels_bars_tasks_and_runs_are_drawn_from_it_as_well(results, tmp_path, name):
    changed = SAME[name](results, tmp_path)
    task = results[["score"]].mean("neuroid").assign_attrs(identity={"metric": "probe"})
    stacked = plots.stack({"a": changed, "b": results})
    assert list(stacked["step"]) == sorted(results["step"].to_numpy())
    np.testing.assert_allclose(
        stacked["score"].sel(run="a").transpose(*results["score"].dims), results["score"]
    )
    plots.plot_curves(stacked, hue="run")
    plots.facet_curves(stacked, facet="run")
    (ax, *_) = plots.facet_curves(changed, facet="region")
    (expected, *_) = plots.facet_curves(results, facet="region")
    for one, other in zip(ax.get_lines(), expected.get_lines(), strict=True):
        np.testing.assert_allclose(one.get_ydata(), other.get_ydata(), rtol=1e-9)
    bars = [plots.plot_models({"a": each}).patches[0].get_height() for each in (changed, results)]
    assert bars[0] == pytest.approx(bars[1], rel=1e-9)
    plots.plot_brain_task(changed, task.chunk() if changed.chunks else task)
    plt.close("all")


@pytest.mark.parametrize("select", [{"layer": "layer1"}, {"layer": ["layer1"]}])
def test_one_layer_is_drawn_in_panels_bars_and_runs(results, select):
    one = results.sel(select)
    task = results[["score"]].mean("neuroid").assign_attrs(identity={"metric": "probe"})
    (ax, *_) = plots.facet_curves(one, facet="region")
    assert np.isfinite(ax.get_lines()[0].get_ydata()).all()
    bar = plots.plot_models({"a": one}).patches[0].get_height()
    whole = plots.plot_models({"a": results}, layer="layer1").patches[0].get_height()
    assert bar == pytest.approx(whole)
    both = plots.stack({"one": one, "all": results})
    np.testing.assert_allclose(
        both["score"].sel(run="one", layer="layer1"), results["score"].sel(layer="layer1")
    )
    plots.plot_brain_task(one, task)
    plots.plot_brain_task(results, task.sel(select), layer="layer1")
    plt.close("all")


@pytest.mark.parametrize("name", ["one step", "no step", "a step twice", "neuroids renamed"])
def test_what_panels_bars_tasks_and_runs_cannot_draw_is_one_sentence(results, name):
    change, words = REFUSED[name]
    for draw in (
        lambda r: plots.facet_curves(r, facet="region"),
        lambda r: plots.plot_models({"a": r}),
        lambda r: plots.plot_brain_task(r, results),
        lambda r: plots.stack({"a": r}) if name != "neuroids renamed" else plots.plot_curves(r),
    ):
        with pytest.raises(ValueError, match=words):
            draw(change(results))


REFUSED = {
    "one step": (lambda r: r.isel(step=1), "no axis `step`"),
    "steps renamed": (lambda r: r.rename(step="updates"), "no axis `step`.*`updates`"),
    "no step": (lambda r: r.isel(step=slice(0, 0)), "no step"),
    "a step twice": (lambda r: r.isel(step=[0, 1, 1]), "step 10 more than once"),
    "neuroids renamed": (lambda r: r.rename(neuroid="voxel"), "dimension `voxel`"),
    "runs": (lambda r: r.expand_dims(run=["a", "b"]), "dimension `run`"),
    "layers renamed": (lambda r: r.rename(layer="block"), "dimension `block`"),
    "no score": (lambda r: r.drop_vars("score"), "not `score`"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize(
    "draw", [plots.plot_curves, plots.plot_heatmap, plots.plot_order, plots.plot_best_layer]
)
def test_what_a_figure_cannot_draw_is_one_sentence(results, name, draw):
    change, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        draw(change(results))


def test_a_tree_goes_through_netcdf(made, tmp_path):
    tree = dynamics.open(made.store)
    tree.to_netcdf(tmp_path / "t.nc", engine="h5netcdf")
    back = xr.open_datatree(tmp_path / "t.nc", engine="h5netcdf")
    assert back.groups == tree.groups
    np.testing.assert_array_equal(
        back["activations/layer1/activation"], tree["activations/layer1/activation"]
    )
    assert json.loads(back.attrs["identity"]) == mapping(tree.attrs["identity"])


@pytest.mark.slow
def test_a_copy_by_xarray_is_read_and_reported_and_not_written_to(made, tmp_path):
    tree = dynamics.open(made.store)
    tree.to_zarr(tmp_path / "copy.zarr")
    copy = dynamics.open(tmp_path / "copy.zarr")
    assert copy.groups == tree.groups
    one, other = (t["results/simulated/ridge"].to_dataset() for t in (copy, tree))
    np.testing.assert_array_equal(one["score"], other["score"])
    assert one["region"].to_numpy().tolist() == other["region"].to_numpy().tolist()
    report.write(tmp_path / "copy.zarr", output=tmp_path / "r.html")
    assert store.verify(tmp_path / "copy.zarr") == {}
    with pytest.raises(ValueError, match="a copy that xarray or another program wrote"):
        store.open_group(tmp_path / "copy.zarr", mode="r+")
    tree.chunk({"step": 3}).to_zarr(tmp_path / "chunked.zarr")
    chunked = dynamics.open(tmp_path / "chunked.zarr")["results/simulated/ridge/score"]
    np.testing.assert_array_equal(chunked, other["score"])
    tree.to_zarr(tmp_path / "old.zarr", zarr_format=2)
    with pytest.raises(ValueError, match="of zarr format 2"):
        dynamics.open(tmp_path / "old.zarr")


def test_a_store_whose_metadata_were_consolidated_grows_and_every_reader_sees_it(made, tmp_path):
    where, folder = tmp_path / "s.zarr", tmp_path / "checkpoints"
    shutil.copytree(made.store, where)
    shutil.copytree(made.checkpoints, folder)
    sweep = made.model_copy(update={"store": where, "checkpoints": str(folder)})
    zarr.consolidate_metadata(str(where))
    zarr.consolidate_metadata(str(where), path="checkpoints")
    save_checkpoint(folder, 2000, seed=9)
    assert crawl(sweep, advance=silent) == {"done": 5, "failed": 0, "new": 1}
    assert store.summarise(where).done == 5
    for tree in (dynamics.open(where), xr.open_datatree(where, engine="zarr")):
        assert 2000 in tree["checkpoints"]["step"].to_numpy()
    assert store.verify(where) == {}
    zarr.consolidate_metadata(str(where))
    assert store.summarise(where).done == 5


STRANGE = [
    *TAKEN, "layer", "neuroid", "score", "block/3", "a/b/c", "/", ".", "..", "...", "__init__",
    " ", " a ", "a b", "encoder.layers.3", "étage", "層", "%2F", "%", "a%b", "x" * 300,
    "x" * 299 + "y", "CON", "a\\b", "a\nb", "conv:0",
]  # fmt: skip


def test_layers_of_any_name_are_kept_apart_and_come_back(tmp_path):
    root = store.begin(tmp_path / "s.zarr", run="test", identity=IDENTITY)
    store.plan(root, [(5, "file", 10)])
    values = {name: activations(n)["first"] for n, name in enumerate(STRANGE)}
    store.write_activations(root, 5, values, stimuli=STIMULI, categories=["x", "x", "y"])
    store.commit(root, 5, sha256="hash", seconds=1.0)
    assert store.layer_names(root) == STRANGE
    found = store.read_activations(tmp_path / "s.zarr", 5)
    assert list(found) == STRANGE
    for name in STRANGE:
        np.testing.assert_array_equal(found[name], values[name])
    tree = dynamics.open(tmp_path / "s.zarr")
    children = tree["activations"].children
    assert [child.attrs["layer"] for child in children.values()] == STRANGE
    assert len({group_name(name) for name in STRANGE}) == len(STRANGE)
    assert group_name("encoder.layers.3") == "encoder.layers.3"
    np.testing.assert_array_equal(
        children[group_name("block/3")]["activation"][0], values["block/3"]
    )
    assert store.verify(tmp_path / "s.zarr") == {}
    assert store.summarise(tmp_path / "s.zarr").layers == len(STRANGE)
    xr.open_datatree(tmp_path / "s.zarr", engine="zarr")


@pytest.mark.slow
def test_a_run_with_layers_of_strange_names_is_analysed(tmp_path, in_this_process, monkeypatch):

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.step = torch.nn.Conv1d(1, 4, 400, stride=160)
            self.layer = torch.nn.Conv1d(4, 4, 3)

        def forward(self, x):
            return self.layer(self.step(x))

    module = types.ModuleType("strange_net")
    module.build = Net
    monkeypatch.setitem(sys.modules, "strange_net", module)
    (tmp_path / "ck").mkdir()
    for step in (1, 10):
        torch.manual_seed(step)
        content = {"state_dict": Net().state_dict(), "global_step": step}
        torch.save(content, tmp_path / "ck" / f"step={step}.ckpt")
    arguments = {"factory": "strange_net:build", "layers": ["step", "layer"],
                 "sample_rate": 16000, "takes": "batch channel samples"}  # fmt: skip
    sweep = sweep_of(
        {
            "run": "x", "store": str(tmp_path / "x.zarr"), "checkpoints": str(tmp_path / "ck"),
            "model": {"name": "module", "arguments": arguments}, "targets": ["simulated"],
            "stimuli": {"name": "synthetic", "arguments": {"per_kind": 2, "seconds": 0.4}},
            "metrics": ["ridge"], "self_similarity": ["cka"], "resamples": 4, "baseline": None,
            "figures": str(tmp_path / "figures"),
        }
    )  # fmt: skip
    assert crawl(sweep, advance=silent)["done"] == 3
    analyze(sweep, advance=silent)
    tree = dynamics.open(sweep.store)
    assert tree["results/simulated/ridge"]["layer"].to_numpy().tolist() == ["step", "layer"]
    assert plot(sweep, formats=["png"])
    page = report.write(sweep.store, output=tmp_path / "r.html")
    assert page.stat().st_size > 10_000
