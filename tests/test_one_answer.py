"""A quantity that the command line, the accessor and the figures state is the same in all."""

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from plots_results import results

import dynamics.accessor  # noqa: F401
from dynamics import emergence, plots, sweep
from dynamics.cli.sweeps import _when
from dynamics.plots.bands import curves_by


def uneven():
    """One subject has most neuroids, and rises late and in another layer than the others."""
    found = results(neuroids=12)
    subjects = ["s0", "s1", "s2", *["s3"] * 9]
    found = found.assign_coords(subject=("neuroid", subjects))
    late = xr.DataArray([0.0, 0.0, 0.1, 0.1, 0.1, 0.3], dims="step", coords={"step": found["step"]})
    own = (found["subject"] == "s3") * late * (found["layer"] == "layer0")
    for name in ("score", "resample_score"):
        attrs = found[name].attrs
        found[name] = (found[name] + own).transpose(*found[name].dims).assign_attrs(attrs)
    return found


def with_controls(found):
    level = found["score"].isel(step=0, drop=True)
    return found.isel(step=slice(3, None)).assign(
        untrained_score=xr.concat([level - 0.01, level + 0.01], "control")
    )


def table_of(found, monkeypatch):
    tree = {"results/brain/ridge": SimpleNamespace(to_dataset=lambda: found)}
    monkeypatch.setattr(sweep.store, "open", lambda place: tree)
    monkeypatch.setattr(sweep, "_probed", lambda *_: [])
    monkeypatch.setattr(sweep.methods, "applies", lambda *_: True)
    one = SimpleNamespace(
        place="", targets=[SimpleNamespace(label="brain")], metrics=[SimpleNamespace(label="ridge")]
    )
    return sweep.half_times(one).set_index("layer")


def test_a_region_is_averaged_within_each_subject_first_by_every_route():
    found = uneven()
    by_hand = xr.concat(
        [
            found["score"][:, :, found["region"].to_numpy() == name]
            .groupby("subject").mean("neuroid").mean("subject")
            for name in ("belt", "core")
        ],
        xr.DataArray(["belt", "core"], dims="region", name="region"),
    )  # fmt: skip
    curve = found.dynamics.curves(by="region")
    np.testing.assert_allclose(curve, by_hand.transpose(*curve.dims), atol=1e-14)
    drawn, _, _ = curves_by(found, by="region", layer="layer0")
    chosen = curve.sel(layer="layer0").sel(region=drawn["region"]).transpose(*drawn.dims)
    np.testing.assert_allclose(drawn, chosen, atol=1e-14)
    when = emergence.half_time(curve)
    assert np.isfinite(when).any()
    np.testing.assert_allclose(found.dynamics.half_time(by="region")["estimate"], when)


@pytest.mark.parametrize("controls", [False, True])
def test_the_command_lines_table_says_what_the_accessor_says(monkeypatch, controls):
    found = with_controls(uneven()) if controls else uneven()
    table = table_of(found, monkeypatch)
    when = found.dynamics.half_time(over="both")
    layers = when["layer"].to_numpy()
    np.testing.assert_allclose(table.loc[layers, "half_time"], when["estimate"])
    np.testing.assert_allclose(table.loc[layers, "low"], when["lower"])
    np.testing.assert_allclose(table.loc[layers, "high"], when["upper"])
    gain = found.dynamics.gain()["estimate"]
    np.testing.assert_allclose(table["final"] - table["untrained"], gain, atol=1e-12)
    assert list(table["status"]) == when["status"].to_numpy().tolist()


def test_a_first_trained_checkpoint_is_never_called_untrained(monkeypatch):
    table = table_of(uneven().isel(step=slice(2, None)), monkeypatch)
    assert table["untrained"].isna().all() and table["half_time"].notna().any()
    assert _when(np.nan, np.nan, np.nan, "one step only") == "one step only"


def test_comparisons_and_orders_count_from_the_controls_as_half_times_do():
    found = with_controls(uneven())
    when = found.dynamics.half_time()["estimate"]
    np.testing.assert_allclose(found.dynamics.order()["estimate"], when)
    pairs = found.dynamics.compare()
    for place in range(pairs.sizes["pair"]):
        one, other = (
            float(when.sel(layer=str(pairs[name][place].item()))) for name in ("first", "second")
        )
        decades = np.log10(1 + other) - np.log10(1 + one)
        assert float(pairs["difference"][place]) == pytest.approx(decades)
    assert pairs.attrs["baseline"].startswith("mean score of 2 untrained")


def test_the_best_layer_of_figures_is_that_of_the_mean_over_subjects():
    found = uneven()
    mean = found.dynamics.curves().isel(step=-1)
    pooled = found["score"].mean("neuroid").isel(step=-1)
    best = str(mean["layer"].to_numpy()[int(mean.argmax("layer"))])
    assert int(mean.argmax("layer")) != int(pooled.argmax("layer"))
    assert plots.bands.pick_layer(found)[1] == best
