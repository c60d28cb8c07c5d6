from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

import dynamics
import dynamics.accessor
from dynamics import emergence, store
from dynamics.analysis import analyze, controls
from dynamics.brains import targets
from dynamics.config import validate
from dynamics.progress import silent

STEPS = np.array([0, 10, 30, 100, 300, 1000, 3000, 10_000])
SUBJECTS = ["s1", "s2", "s3", "s4"]
HALVES = emergence.scheme("halves", n=2, kept=1, resamples=2).attrs


def rise(middle, steps=STEPS, height=0.5):
    return height / (1 + np.exp(-(np.log10(1 + steps) - middle) / 0.3))


def results(*, resampled=True, steps=STEPS, noise=0.01):
    """Two layers, early and late; two regions; four subjects, the last without region B."""
    rng = np.random.default_rng(0)
    neuroids = [("A", s) for s in SUBJECTS for _ in range(2)] + [("B", s) for s in SUBJECTS[:3]]
    later = np.array([0.0 if region == "A" else 0.6 for region, _ in neuroids])
    people = 0.02 * rng.standard_normal(len(SUBJECTS))
    own = np.array([people[SUBJECTS.index(s)] for _, s in neuroids])
    means = np.stack(
        [np.stack([rise(m + d, steps) for d in later], 1) for m in (1.2, 2.2)], 1
    )  # (step, layer, neuroid)
    score = means + own + noise * rng.standard_normal(means.shape)
    off = noise * rng.standard_normal((15, *means.shape))
    halves = np.stack([score + off, score - off], 1).reshape(30, *means.shape)
    data = {
        "score": (("step", "layer", "neuroid"), score),
        "baseline": (("neuroid",), np.full(len(neuroids), 0.3)),
        "ceiling": (("neuroid",), np.full(len(neuroids), 0.8)),
    }
    if resampled:
        data["resample_score"] = (("resample", "step", "layer", "neuroid"), halves, HALVES)
    coords = {
        "step": steps,
        "layer": ["early", "late"],
        "neuroid": np.arange(len(neuroids)),
        "region": ("neuroid", [region for region, _ in neuroids]),
        "subject": ("neuroid", [subject for _, subject in neuroids]),
    }
    return xr.Dataset(data, coords=coords)


ONE = ("half_time", "onset", "plateau", "peak", "decline", "gain", "area", "ceiling_fraction")


@pytest.mark.parametrize("over", ["stimuli", "subjects", "both"])
@pytest.mark.parametrize("name", ONE)
def test_every_statistic_has_estimate_and_limits_over_stimuli_subjects_and_both(name, over):
    for by in (None, "region"):
        found = getattr(results().dynamics, name)(by=by, over=over)
        assert found["estimate"].dims == (("layer",) if by is None else ("layer", by)) or set(
            found["estimate"].dims
        ) == {"layer", by}
        if name == "decline":
            assert {"lower", "p", "status"} <= set(found.variables)
        else:
            assert (found["lower"] <= found["estimate"] + 1e-9).all()
            assert (found["estimate"] <= found["upper"] + 1e-9).all()
        assert found.attrs["over"] == over
        assert found.attrs["last_step"] == 10_000
        assert found.attrs["baseline"] == "score of the untrained network, step 0"
    alone = getattr(results().dynamics, name)(by="neuroid")
    assert alone.sizes["neuroid"] == 11


@pytest.mark.parametrize("name", ONE)
def test_without_resamples_there_are_estimates_alone(name):
    found = getattr(results(resampled=False).dynamics, name)()
    assert np.isfinite(found["estimate"]).all()
    assert not {"lower", "upper", "p"} & set(found.variables)


def test_half_time_takes_a_fraction_and_agrees_with_the_room_below():
    found = results()
    early = found.dynamics.half_time(fraction=0.25)["estimate"]
    assert (early < found.dynamics.half_time()["estimate"]).all()
    curve = found["score"].groupby("subject").mean("neuroid").mean("subject")
    np.testing.assert_allclose(early, emergence.half_time(curve, fraction=0.25))
    assert "detected" in found.dynamics.onset() and "p" in found.dynamics.onset()


def test_people_add_width_where_they_differ():
    found = results(noise=0.002)
    width = {}
    for over in ("stimuli", "subjects", "both"):
        final = found.dynamics.bands(over=over).isel(step=-1, layer=0)
        width[over] = (final["upper"] - final["lower"]).item()
    assert width["subjects"] > 3 * width["stimuli"]
    assert width["both"] > width["stimuli"]
    gain = found.dynamics.gain(over="subjects")
    # People differ in level, which cancels in the gain.
    assert ((gain["upper"] - gain["lower"]) < width["subjects"] / 2).all()


def test_gain_above_the_baseline_is_paired_where_the_baseline_was_resampled():
    found = results()
    again = found["resample_score"]
    # A baseline that moves with the stimuli exactly as the last step does.
    moved = 0.3 + again.isel(step=-1, layer=0) - found["score"].isel(step=-1, layer=0)
    paired = found.assign(
        baseline_resample_score=moved.drop_vars(["step", "layer"]).transpose("resample", "neuroid")
    )
    exact = found.dynamics.gain(above="baseline", over="stimuli")
    better = paired.dynamics.gain(above="baseline", over="stimuli")
    np.testing.assert_allclose(exact["estimate"], better["estimate"])
    level = found.dynamics.curves().isel(step=-1, layer=0).item()
    assert better["estimate"][0].item() == pytest.approx(level - 0.3)
    width = [(x["upper"] - x["lower"])[0].item() for x in (exact, better)]
    assert width[1] < 0.5 * width[0]
    assert "exact" in exact.attrs["baseline"] and "exact" not in better.attrs["baseline"]
    assert (better["p"] < 1e-6).all()
    with pytest.raises(ValueError, match="'untrained' or 'baseline'"):
        found.dynamics.gain(above="chance")


def test_the_part_of_the_ceiling_is_the_score_over_it():
    found = results()
    part = found.dynamics.ceiling_fraction(by="neuroid")
    np.testing.assert_allclose(part["estimate"], found["score"].isel(step=-1) / 0.8)
    assert part.attrs["ceiling"] == "ceiling"
    with pytest.raises(ValueError, match="no noise ceiling"):
        found.drop_vars("ceiling").dynamics.ceiling_fraction()


def test_comparisons_and_orders_are_along_layers_or_what_by_names():
    found = results().dynamics
    assert found.compare()["difference"].item() == pytest.approx(1, abs=0.25)
    regions = found.compare(dim="region", by="region", over="both")
    assert (regions["difference"] > 0.3).all() and (regions["p_adjusted"] < 0.05).all()
    ranks = found.order()
    assert ranks["rank"].to_numpy().tolist() == [1, 2]
    assert ranks["first"].sel(layer="early") == 1
    assert found.order(dim="region", by="region").sizes == {"region": 2, "layer": 2, "other": 2}
    assert found.best_layer()["best"].sel(step=30) == 0
    assert found.fit(kind="isotonic").dims == ("step", "layer")
    with pytest.raises(ValueError, match="resample_score"):
        results(resampled=False).dynamics.compare()


def test_two_stores_are_compared_from_the_first():
    one, other = results(), results(noise=0.011)
    for each in (one, other):
        each.attrs["identity"] = {"metric": "ridge", "seed": 0, "resamples": 30}
    found = one.dynamics.compare_with(other, layers=("early", "late"))
    assert found["lower"].item() > 0.5
    assert found.attrs["paired_stimuli"] == 1


def test_brain_and_probe_scores_are_correlated_over_common_steps_and_layers():
    found = results()
    probe = found.dynamics.curves().isel(step=slice(1, None)).rename("score").to_dataset()
    probe = xr.concat(
        [probe, probe.isel(layer=[0]).assign_coords(layer=["mixed"])], "layer"
    )  # a probe of its own that no brain score has
    r = found.dynamics.correlate(probe)
    assert r["layer"].to_numpy().tolist() == ["early", "late"]
    np.testing.assert_allclose(r["r"], 1)
    # Limits over stimuli would not know that errors of a score weaken what it correlates by.
    assert {"lower", "upper"}.isdisjoint(r.variables) and "p" in r
    with pytest.raises(ValueError, match="no layer in common"):
        found.dynamics.correlate(probe.isel(layer=[2]))


def test_the_table_has_limits_beside_every_statistic():
    table = results().dynamics.summarize(by="region")
    for name in ("onset", "half_time", "plateau_step", "plateau", "gain", "area"):
        there = table[name].notnull()
        assert (table[f"{name}_lower"] <= table[name] + 1e-9).where(there, True).all()
        assert (table[name] <= table[f"{name}_upper"] + 1e-9).where(there, True).all()
    # Late and in region B: nine tenths are made in the last decade only.
    assert table["plateau_step_status"].sel(layer="late", region="B") == "still rising"
    assert (table["onset_p"] < 0.05).all() and (table["decline_p"] > 0.01).all()
    assert (table["gain_over_baseline_lower"] < table["gain_over_baseline"]).all()
    assert "ceiling_fraction" in table
    assert "half_time_lower" not in results(resampled=False).dynamics.summarize()


def test_one_checkpoint_is_no_curve_and_says_so():
    found = results().isel(step=[3]).dynamics.half_time()
    assert np.isnan(found["estimate"]).all() and np.isnan(found["lower"]).all()
    assert (found["status"] == "one step only").all()
    onset = results().isel(step=[3]).dynamics.onset()
    assert np.isnan(onset["detected"]).all() and (onset["p"] == 1).all()
    table = results().isel(step=[3]).dynamics.summarize()
    assert (table["half_time_status"] == "one step only").all()


def test_without_an_untrained_step_the_first_one_is_the_baseline_and_that_is_said():
    found = results().isel(step=slice(2, None))
    when = found.dynamics.half_time()
    assert when.attrs["baseline"].startswith("score at step 30, the first there is")
    assert (when["estimate"] > 30).all()


@pytest.mark.slow
def test_untrained_controls_stand_in_for_a_missing_step_0():
    found = results()
    level = found["score"].isel(step=0, drop=True)
    found = found.isel(step=slice(3, None)).assign(
        untrained_score=xr.concat([level - 0.01, level + 0.01], "control")
    )
    when = found.dynamics.half_time(by="region")
    assert when.attrs["baseline"].startswith("mean score of 2 untrained networks")
    early = when["estimate"].sel(layer="early", region="A")
    assert early.item() == 100 and early["status"].item() == "from the start"
    whole = results().dynamics.half_time(by="region")["estimate"]
    late = {"layer": "late", "region": "B"}
    assert when["estimate"].sel(late).item() == pytest.approx(whole.sel(late).item(), rel=1e-6)
    assert (found.dynamics.onset()["p"] < 0.05).all()
    table = found.dynamics.summarize(by="region")
    for name in ("half_time", "gain", "onset"):
        one = getattr(found.dynamics, name)(by="region")
        for place, side in (("", "estimate"), ("_lower", "lower"), ("_upper", "upper")):
            np.testing.assert_array_equal(table[f"{name}{place}"], one[side])


def test_the_gain_over_untrained_controls_has_the_error_of_the_difference():
    found = results()
    level, again = (found[n].isel(step=0, drop=True) for n in ("score", "resample_score"))
    shift = xr.DataArray([-0.02, 0.01, 0.01], dims="control")
    exact = found.isel(step=slice(2, None)).assign(untrained_score=level + shift)
    known = exact.assign(untrained_resample_score=again + 2 * shift)
    gain = known.dynamics.gain(by="neuroid")
    last = found["score"].isel(step=-1, drop=True)
    np.testing.assert_allclose(gain["estimate"], last - level, atol=1e-12)
    # Controls that score exactly what step 0 does give what a curve with its step 0 has.
    whole = found.dynamics.gain(by="neuroid")
    np.testing.assert_allclose(gain["lower"], whole["lower"], atol=1e-12)

    # By hand: deviations of both, at the full sample's 1 - r^2, differ pair by pair.
    def scaled(score, halves):
        mean = halves.mean("resample")
        return (halves - mean) * (1 - score**2) / (1 - mean**2)

    off = scaled(last, found["resample_score"].isel(step=-1, drop=True)) - scaled(level, again)
    off = off.transpose("resample", ...).to_numpy()
    error = np.sqrt(HALVES["spread"] * np.mean((off[0::2] - off[1::2]) ** 2, axis=0) / 4)
    np.testing.assert_allclose(gain["error"].transpose(*last.dims), error, rtol=1e-9)
    assert "exact" not in gain.attrs["baseline"]
    other = exact.dynamics.gain(by="neuroid")
    assert other.attrs["baseline"].endswith("taken as exact")
    assert not np.allclose(other["error"], gain["error"], rtol=0.01)
    # The onset is tested against the same level, whose own error makes it less certain.
    high = {"untrained_score": 0.48, "untrained_resample_score": 0.48}
    high = {name: known[name] + up for name, up in high.items()}
    found = [each.assign({n: high[n] for n in names}).dynamics.onset()["p"].sel(layer="late")
             for each, names in ((known, list(high)), (exact, ["untrained_score"]))]  # fmt: skip
    assert 0.001 < float(found[1]) < float(found[0]) < 1
    assert known.dynamics.gain(over="subjects").attrs["baseline"].endswith("networks")


def test_failed_steps_in_the_middle_are_bridged():
    found = results()
    gap = found.where(found["step"] != 100)
    gap["resample_score"].attrs.update(HALVES)
    for name in ("half_time", "onset", "area"):
        whole, bridged = (getattr(x.dynamics, name)() for x in (found, gap))
        near = np.log1p(whole["estimate"]) - np.log1p(bridged["estimate"])
        assert (abs(near) < 0.6).all() and np.isfinite(bridged["lower"]).all()


def test_neuroids_without_any_score_are_left_out_and_counted():
    found = results()
    empty = found.where(found["neuroid"] != 8)
    empty["resample_score"].attrs.update(HALVES)
    when = empty.dynamics.half_time()
    assert when.attrs["neuroids_left_out"] == 1
    np.testing.assert_allclose(
        when["estimate"], found.drop_sel(neuroid=8).dynamics.half_time()["estimate"]
    )
    alone = empty.dynamics.half_time(by="neuroid")
    assert (alone["status"].sel(neuroid=8) == "missing").all()
    nothing = (found * np.nan).assign_coords(found.coords)
    nothing["resample_score"].attrs.update(HALVES)
    assert (nothing.dynamics.half_time()["status"] == "missing").all()


def test_a_curve_that_never_moves_has_no_gain_no_onset_and_no_decline():
    found = results()
    still = xr.full_like(found, 0.2).assign_coords(found.coords)
    still["resample_score"].attrs.update(HALVES)
    when = still.dynamics.half_time()
    assert np.isnan(when["estimate"]).all() and (when["status"] == "no gain").all()
    assert np.isinf(when["upper"]).all()
    onset = still.dynamics.onset()
    assert np.isnan(onset["detected"]).all() and (onset["p"] == 1).all()
    assert (still.dynamics.decline()["status"] == "no decline").all()


def test_subjects_that_are_not_there_cannot_be_resampled():
    found = results().drop_vars("subject")
    with pytest.raises(ValueError, match="no coordinate 'subject'"):
        found.dynamics.half_time(over="subjects")
    with pytest.raises(ValueError, match="over must be one of"):
        found.dynamics.half_time(over="voxels")
    with pytest.raises(ValueError, match="leaves no subjects"):
        results().dynamics.half_time(by="subject", over="both")
    with pytest.raises(ValueError, match="not `score`"):
        xr.Dataset().dynamics.half_time()


N = 40
NAMES = [f"sound{i}" for i in range(N)]


def layers_at(step):
    rng = np.random.default_rng(step)
    return {"one": rng.standard_normal((N, 12)).astype("float32")}


@pytest.fixture
def sweep(tmp_path, monkeypatch, in_this_process):
    """A store of four steps of which three are there, and a baseline model."""
    path = tmp_path / "s.zarr"
    root = store.begin(path, run="test", identity={})
    store.plan(root, [(step, str(step), 1) for step in (0, 10, 100, 1000)])
    for step in (100, 0, 10):
        store.write_activations(
            root, step, layers_at(step), stimuli=NAMES, categories=["a", "b"] * (N // 2)
        )
        store.commit(root, step, sha256=f"hash{step}")
    rng = np.random.default_rng(1)
    response = layers_at(100)["one"].astype(float) @ rng.standard_normal((12, 3))
    brain = xr.Dataset(
        {"response": (("stimulus", "neuroid"), response + rng.standard_normal((N, 3)))},
        coords={"stimulus": NAMES, "neuroid": np.arange(3)},
        attrs={"name": "test brain"},
    )
    features = layers_at(100)["one"][:, :6]
    heard = SimpleNamespace(durations=np.full(N, 0.5), within=None)
    heard.heard = heard
    monkeypatch.setattr(analyze.sounds, "load", lambda *a, **k: heard)
    monkeypatch.setattr(targets.brains, "load", lambda *a, **k: brain)
    monkeypatch.setattr(controls.extract, "features", lambda *a, **k: {"filters": features})
    content = {
        "run": "test",
        "store": str(path),
        "checkpoints": "none",
        "model": "none",
        "stimuli": "none",
        "targets": ["brain"],
        "metrics": ["ridge"],
        "resamples": 4,
        "workers": 1,
    }
    return validate(content, origin="test")


def test_a_store_that_is_still_written_gives_the_curve_so_far_and_its_last_step(sweep):
    analyze.analyze(sweep, advance=silent)
    results = dynamics.open(sweep.store)["results/brain/ridge"].to_dataset()
    found = results.dynamics.gain()
    assert found.attrs["last_step"] == 100  # of the 1,000 that are planned
    assert found["estimate"].item() > 0.5
    # The baseline's resamples are of the same halves: its own features, six of the layer's.
    assert results["baseline_resample_score"].dims == ("resample", "neuroid")
    above = results.dynamics.gain(above="baseline")
    assert above["lower"].item() < above["estimate"].item() < above["upper"].item()
