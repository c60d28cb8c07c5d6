"""Configs of published studies: valid, and run in a reduced form on files of their layout."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from natsound import load
from test_tuckute_release import archive_in

from dynamics import store
from dynamics.collection.running import check_runs
from dynamics.config import Choice, load_collection, load_config
from dynamics.sweep import check, stages

CONFIGS = Path(__file__).parents[1] / "configs"


@pytest.fixture(scope="module")
def models():
    collection = load_collection(CONFIGS / "pepino2025" / "models.yaml")
    check_runs(collection)
    return {str(run.coordinates["model"]): run for run in collection.runs}


def test_the_36_models_have_an_adapter_or_a_reason_why_there_is_none(models):
    assert len(models) == 36
    for name, run in models.items():
        sweep, adapter = run.sweep, run.coordinates["adapter"]
        if adapter == "none":
            assert run.coordinates["why"] and sweep.activations is not None, name
            assert name in sweep.activations.path and "{layer}" in sweep.activations.layout
        else:
            assert sweep.model.name == adapter and sweep.activations is None, name
    assert models["ResNet50music"].sweep.activations.layers[0] == "relu1"


def test_every_config_of_a_study_is_explained():
    text = (CONFIGS / "studies.md").read_text()
    for path in [*CONFIGS.glob("*2023*.yaml"), *CONFIGS.glob("*2025*.yaml")]:
        assert f"`{path.name}`" in text, path
    assert "`pepino2025/models.yaml`" in text


def test_released_activations_run_in_a_reduced_form(data_root, tmp_path, caplog, in_this_process):
    known = load(data_root, "number")
    rng = np.random.default_rng(0)
    folder = tmp_path / "model_actv" / "DS2"
    folder.mkdir(parents=True)
    for name in known.names:
        each = {"Linear(in=3, out=4)--0": rng.standard_normal(4).astype("f4")}
        with (folder / f"{name}_activations.pkl").open("wb") as file:
            pickle.dump(each, file)
    archive_in(tmp_path / "neural" / "NH2015", known)
    sweep = load_config(CONFIGS / "tuckute2023-imported.yaml")
    given = sweep.activations.model_copy(update={"path": str(folder)})
    target = Choice(
        name="tuckute-release",
        label="nh2015",
        arguments={"root": str(tmp_path), "dataset": "NH2015"},
    )
    here = {"activations": given, "targets": (target,), "store": tmp_path / "s.zarr",
            "figures": tmp_path / "figures"}  # fmt: skip
    sweep = sweep.model_copy(update=here)
    loaded = check(sweep)  # every metric is tried on the target
    assert loaded.brains["nh2015"].sizes["repetition"] == 3
    said = [each for each in caplog.messages if "fewer than two neuroids" in each]
    assert len(said) == 1 and said[0].startswith("metric 'rsa', target 'nh2015': elsewhere of s0")
    only = {"metrics": sweep.metrics[1:], "baseline": None, "resamples": 4}
    sweep = sweep.model_copy(update=only)
    done = dict(stages(sweep, loaded=loaded))
    assert done["crawl"] == {"done": 1, "failed": 0, "new": 1}
    tree = store.open(sweep.store)
    assert tree["activations"].sizes["stimulus"] == 165
    found = tree["results/nh2015/rsa"].dataset.isel(step=0, layer=0)
    regions = list(zip(found["subject"].to_numpy(), found["region"].to_numpy()))
    gap = [each == ("s0", "elsewhere") for each in regions]
    assert gap == [False, True, False, False]
    for name in ("score", "resample_score", "best_score"):
        assert (found[name].isnull() == xr.DataArray(gap, dims="subject")).all(), name
    assert not any((store.verify(sweep.store), store.verify_results(sweep.store)))
