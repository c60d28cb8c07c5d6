from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from inprocess import Here

import dynamics
from dynamics import metrics, plots, store
from dynamics.analysis import analyze, self_similarity
from dynamics.brains import targets
from dynamics.config import validate
from dynamics.progress import silent

N = 30
NAMES = [f"sound{i:02d}" for i in range(N)]


def layers_at(step):
    rng = np.random.default_rng(step)
    return {
        name: rng.standard_normal((N, width)).astype("float32")
        for name, width in (("first", 6), ("second", 8))
    }


def add(path, steps, *, names=NAMES, layers=layers_at, source="hash"):
    root = store.begin(path, run=path.stem, identity={})
    store.plan(root, [(step, str(step), 1) for step in steps])
    for step in steps:
        values = {k: v[: len(names)] for k, v in layers(step).items()}
        store.write_activations(root, step, values, stimuli=names, categories=["x"] * len(names))
        store.commit(root, step, sha256=f"{source}{step}")


@pytest.fixture
def content(tmp_path, monkeypatch, in_this_process):
    data = xr.Dataset(
        {"response": (("stimulus", "neuroid"), np.random.default_rng(0).standard_normal((N, 3)))},
        coords={"stimulus": NAMES, "neuroid": range(3)},
    )
    monkeypatch.setattr(analyze.sounds, "load", lambda *a, **k: None)
    monkeypatch.setattr(targets.brains, "load", lambda *a, **k: data)
    add(tmp_path / "run.zarr", (100, 0))
    return {
        "run": "run",
        "store": str(tmp_path / "run.zarr"),
        "checkpoints": "x",
        "model": "x",
        "stimuli": "x",
        "targets": ["brain"],
        "metrics": ["cka"],
        "baseline": None,
        "resamples": 0,
        "workers": 1,
        "self_similarity": ["cka", {"name": "rsa", "label": "euclid",
                                    "arguments": {"distance": "euclidean"}}, "svcca"],
    }  # fmt: skip


def space(step, layer):
    return layers_at(step)[layer].astype(float)


@pytest.mark.slow
def test_new_steps_add_their_row_and_column_and_nothing_else_is_computed(
    content, tmp_path, monkeypatch
):
    plan = validate(content, origin="test")
    assert analyze.analyze(plan, advance=silent) == {"new": 4, "already": 0}
    add(tmp_path / "run.zarr", (7, 3, 50))
    client = Here()
    monkeypatch.setattr(self_similarity, "_MOST_STEPS", 2)
    with store.lock(plan.store):
        assert self_similarity.missing(plan) == [3, 7, 50]
        self_similarity.analyze(plan, client, advance=silent)
    blocks = [given[2:] for f, given in client.asked if f is self_similarity.compare_steps]
    assert blocks == [([3, 7], [0, 100]), ([3, 7], [3, 7]), ([50], [0, 100]), ([50], [3, 7]),
                     ([50], [50])]  # fmt: skip

    tree = store.open(plan.store)
    found = tree["results/self/cka"].to_dataset()
    steps = [0, 3, 7, 50, 100]
    assert found["step"].to_numpy().tolist() == found["step_other"].to_numpy().tolist() == steps
    assert found["similarity"].dims == ("step", "step_other", "layer")
    for a in steps:
        for b in steps:
            alone = metrics.cka(space(a, "second"), space(b, "second"))
            value = found["similarity"].sel(step=a, step_other=b, layer="second")
            assert float(value) == pytest.approx(alone, abs=1e-12)
    between = found["layer_similarity"].sel(step=7, layer="first", layer_other="second")
    assert float(between) == pytest.approx(metrics.cka(space(7, "first"), space(7, "second")))
    euclid = tree["results/self/euclid/similarity"].sel(step=3, step_other=50, layer="first")
    alone = metrics.rsa(space(3, "first"), space(50, "first"), distance="euclidean")
    assert float(euclid) == pytest.approx(alone)
    counted = tree["results/self/effective_dimensionality/score"].sel(step=50)
    expected = [metrics.effective_dimensionality(space(50, layer)) for layer in layers_at(50)]
    np.testing.assert_allclose(counted, expected)
    assert analyze.analyze(plan, advance=silent) == {"new": 3, "already": 7}
    assert analyze.analyze(plan, advance=silent) == {"new": 0, "already": 10}


def test_a_step_that_was_not_committed_is_unseen_and_done_again(content, tmp_path):
    plan = validate(content | {"self_similarity": ["cka"]}, origin="test")
    add(tmp_path / "run.zarr", (7,))
    analyze.analyze(plan, advance=silent)
    whole = store.open(plan.store)["results/self/cka/similarity"].to_numpy()
    root = store.open_group(plan.store, mode="r+")
    group = root["results/self/cka"]
    # As if the process had been killed after the table and before the commit.
    row = group["step"][:].tolist().index(7)
    group["checkpoint"][row] = ""
    group["similarity"][row, 1:] = np.nan
    left = store.open(plan.store)["results/self/cka"].to_dataset()
    assert left["similarity"].shape == (2, 2, 2)
    assert left["step_other"].to_numpy().tolist() == [0, 100]
    analyze.analyze(plan, advance=silent)
    again = store.open(plan.store)["results/self/cka/similarity"].to_numpy()
    # How many steps stand in a block may change the last bit of a product.
    np.testing.assert_allclose(again, whole, rtol=0, atol=1e-12)
    # A checkpoint of other content is compared anew, with every other step.
    changed = {k: v + 1 for k, v in layers_at(9).items()}
    store.write_activations(root, 7, changed, stimuli=NAMES, categories=["x"] * N)
    store.commit(root, 7, sha256="another")
    analyze.analyze(plan, advance=silent)
    found = store.open(plan.store)["results/self/cka/similarity"]
    for other in (0, 100):
        alone = metrics.cka(changed["first"].astype(float), space(other, "first"))
        for pair in ({"step": 7, "step_other": other}, {"step": other, "step_other": 7}):
            assert float(found.sel(layer="first", **pair)) == pytest.approx(alone)
    assert float(found.sel(layer="first", step=0, step_other=100)) == again[0, 2, 0]


def test_two_runs_are_compared_on_the_stimuli_of_both(tmp_path):
    add(tmp_path / "a.zarr", (0, 10, 20))
    shuffled = NAMES[5:][::-1]
    add(
        tmp_path / "b.zarr",
        (0, 40),
        names=shuffled,
        layers=lambda step: {k: v[5:][::-1] for k, v in layers_at(step + 1).items()},
    )
    found = dynamics.similarity_of_runs(tmp_path / "a.zarr", tmp_path / "b.zarr")
    assert found.dims == ("step_a", "step_b", "layer") and found.shape == (3, 2, 2)
    alone = metrics.cka(space(10, "second")[5:], space(41, "second")[5:])
    assert float(found.sel(step_a=10, step_b=40, layer="second")) == pytest.approx(alone)
    every = dynamics.similarity_of_runs(
        tmp_path / "a.zarr", tmp_path / "b.zarr", metric="procrustes", layers="all"
    )
    assert every.dims == ("step_a", "step_b", "layer_a", "layer_b")
    alone = np.cos(metrics.procrustes(space(20, "first")[5:], space(1, "second")[5:]))
    value = every.sel(step_a=20, step_b=0, layer_a="first", layer_b="second")
    assert float(value) == pytest.approx(alone)
    assert every.attrs["stimuli"] == 25 and every.attrs["run_b"] == "b"
    assert every["depth_a"].to_numpy().tolist() == [0, 1] == found["depth_b"].to_numpy().tolist()
    ax = plots.plot_layers_of_runs(every, steps=(10, 0))
    drawn = every.sel(step_a=10, step_b=0).transpose("layer_b", "layer_a")
    np.testing.assert_array_equal(ax.collections[-1].get_array(), drawn)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), drawn.argmax("layer_b"))
    ax = plots.plot_steps_of_runs(found, depth=0.2)
    shown = np.concatenate([np.ravel(each.get_array()) for each in ax.collections
                            if each.get_array() is not None])  # fmt: skip
    np.testing.assert_array_equal(np.sort(shown), np.sort(np.ravel(found.sel(layer="first"))))
    with pytest.raises(ValueError, match=r"ask `dynamics.similarity_of_runs` for `layers="):
        plots.plot_layers_of_runs(found)
    with pytest.raises(ValueError, match=r"from 0 .input. to 1"):
        plots.plot_steps_of_runs(found, depth=2)
    canonical = dynamics.similarity_of_runs(
        tmp_path / "a.zarr", tmp_path / "a.zarr", metric="svcca"
    )
    np.testing.assert_allclose(np.diagonal(canonical), 1, atol=1e-9)


def test_bad_requests_are_one_sentence(content, tmp_path):
    add(tmp_path / "a.zarr", (0,))
    add(tmp_path / "b.zarr", (0,), names=["other", *NAMES[1:3], *(f"z{i}" for i in range(9))])
    with pytest.raises(ValueError, match="share 2 stimuli"):
        dynamics.similarity_of_runs(tmp_path / "a.zarr", tmp_path / "b.zarr")
    with pytest.raises(ValueError, match="no similarity 'ridge'"):
        dynamics.similarity_of_runs(tmp_path / "a.zarr", tmp_path / "a.zarr", metric="ridge")
    with pytest.raises(ValueError, match="layers is 'some'"):
        dynamics.similarity_of_runs(tmp_path / "a.zarr", tmp_path / "a.zarr", layers="some")
    for wanted, message in (
        (["ckaa"], "no similarity 'ckaa'"),
        ([{"name": "cka", "arguments": {"biased": True}}], "self_similarity 'cka'.*'biased'"),
        ([{"name": "rsa", "arguments": {"compare": "kendall"}}], "no comparison 'kendall'"),
    ):
        with pytest.raises(ValueError, match=message):
            self_similarity.check(validate(content | {"self_similarity": wanted}, origin="test"))
    with pytest.raises(ValueError, match="names 'cka' twice"):
        validate(content | {"self_similarity": ["cka", "cka"]}, origin="test")
    with pytest.raises(ValueError, match="label 'self'"):
        plan = validate(content | {"targets": [{"name": "x", "label": "self"}]}, origin="test")
        self_similarity.check(plan)
