"""Several runs of one recipe: what is said of other initialisations holds for these."""

import calibration
import many_runs
import numpy as np
import pytest
import xarray as xr
import yaml
from scipy import stats

import dynamics
from dynamics import emergence
from dynamics.collection import page
from dynamics.collection.compare import find
from dynamics.config import load_collection
from dynamics.report import findings, narrative


def test_limits_over_initialisations_are_those_of_student():
    runs = calibration.runs_of_recipe(0, runs=4)
    both = emergence.replicates(runs)
    found = both.dynamics.statistic("final", over="initialisations")
    last = np.stack([one["score"].isel(step=-1).mean("neuroid") for one in runs.values()])
    half = stats.t.ppf(0.975, 3) * last.std(0, ddof=1) / 2
    np.testing.assert_allclose(found["estimate"], last.mean(0))
    np.testing.assert_allclose(found["upper"], last.mean(0) + half)
    assert found.attrs["over"] == "initialisations"
    assert both.dynamics.half_time().attrs["over"] == "stimuli and initialisations"


def test_limits_over_initialisations_and_stimuli_hold_what_the_recipe_does():
    number = 12
    found = calibration.of_recipe(number, runs=4)
    least = 0.95 - 3 * np.sqrt(0.05 * 0.95 / number)
    assert found["gain"].mean() > least and found["half_time"].mean() > least
    assert found["gain of one run"].mean() < 0.7  # over stimuli alone: this network only


def test_regions_and_levels_of_runs_stay_beside_them(tmp_path):
    for seed in range(3):
        many_runs.make(tmp_path / f"run{seed}.zarr", seed=seed, targets=("one",))
    tree = dynamics.open_collection(sorted(map(str, tmp_path.glob("run*.zarr"))))
    results = tree["results/one/ridge"].to_dataset()
    own = dynamics.open(tmp_path / "run1.zarr")["results/one/ridge"].to_dataset()
    both = results.dynamics.replicates()
    assert both.attrs["units"] == "initialisations" and both.sizes["subject"] == 3
    mean = own.dynamics.curves()
    np.testing.assert_allclose(both["score"].sel(subject="run1"), mean)
    assert float(both["ceiling"].mean()) == pytest.approx(0.8)
    regions = results.dynamics.replicates(by="region").dynamics.statistic("final", by="region")
    each = own.dynamics.curves(by="region").isel(step=-1)
    assert set(regions["region"].to_numpy()) == set(each["region"].to_numpy())
    assert (regions["lower"] < regions["upper"]).all()
    apart = many_runs.make(tmp_path / "other.zarr", seed=7, identity={"seed": 1})
    other = dynamics.open(apart)["results/one/ridge"].to_dataset()
    mixed = emergence.replicates({"a": own, "b": own, "c": other})
    assert "other seeds" in mixed.attrs["no_intervals"] and "resample_score" not in mixed
    assert mixed.dynamics.statistic("final").attrs["over"] == "initialisations"


def test_sentences_say_whether_they_speak_of_one_network_or_of_the_recipe():
    runs = calibration.runs_of_recipe(1, runs=4)
    one = findings.curves_of(findings.Result("brain", "ridge", next(iter(runs.values()))))[0]
    many = findings.curves_of(findings.Result("brain", "ridge", emergence.replicates(runs)))[0]
    assert "this network only" in narrative.about(one, name="It")
    said = narrative.about(many, name="It")
    assert "this network only" not in said and "4 initialisations" in many.what


def test_fewer_than_three_runs_and_other_recipes_are_refused():
    runs = calibration.runs_of_recipe(0, runs=3)
    with pytest.raises(ValueError, match="there are 2 of one recipe: an interval over"):
        emergence.replicates(dict(list(runs.items())[:2]))
    with pytest.raises(ValueError, match="no dimension `run`"):
        emergence.replicates(next(iter(runs.values())))
    first, *rest = runs
    other = runs[first].assign_coords(layer=["x", "y"])
    with pytest.raises(ValueError, match="no layer name in common"):
        emergence.replicates({first: other} | {name: runs[name] for name in rest})
    assert isinstance(runs[first], xr.Dataset)


@pytest.mark.slow
def test_runs_of_one_recipe_are_a_table_figures_and_sentences_of_a_comparison(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    entries = []
    for seed in range(4):
        size = "small" if seed < 3 else "large"
        many_runs.make(tmp_path / f"{size}-{seed}.zarr", seed=seed, level=0.4 + 0.02 * seed,
                       steps=(0, 10, 1000), layers=2, targets=("one",))  # fmt: skip
        own = {"size": size, "hours": 1.0, "seed": seed}  # all have as many hours
        entries.append({"store": f"{size}-{seed}.zarr", "coordinates": own})
    file = tmp_path / "many.yaml"
    file.write_text(yaml.safe_dump({"collection": "c", "runs": entries, "replicates": "seed"}))
    found = find(load_collection(file))
    table = found.tables["replicates"]
    row = table.query("region == 'all'").iloc[0]
    assert row["recipe"] == "size small" and row["runs"] == 3
    assert row["over"] == "stimuli and initialisations"
    # Of three runs Student's t has two degrees of freedom, and they differ by .02.
    assert row["final_low"] < row["final"] - 0.03 and row["final"] + 0.03 < row["final_high"]
    drawn = {each.name: each.draw().axes[0] for each in found.drawings if "recipes" in each.name}
    assert set(drawn) == {"recipes-ridge-one", "recipes-half-times-ridge-one"}
    assert "initialisations" in drawn["recipes-half-times-ridge-one"].get_xlabel()
    text = page.render("c", 4, found.tables, found.said, [], sentences=found.sentences)
    assert "the mean over 3 initialisations of size small in one" in text
    assert "has no interval over initialisations of size large: its runs are 1" in text
    file.write_text(yaml.safe_dump({"collection": "c", "runs": entries, "replicates": "luck"}))
    with pytest.raises(ValueError, match="`replicates` names 'luck', which no run has"):
        find(load_collection(file))
