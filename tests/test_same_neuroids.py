"""What is drawn beside a curve, or taken off it, is over the neuroids that the curve is over."""

import numpy as np
import pytest
import xarray as xr
from plots_results import of_one_subject, results

import dynamics.accessor  # noqa: F401
from dynamics import emergence, plots
from dynamics.emergence.levels import of_scored
from dynamics.report import findings


def lacking(found, neuroid):
    """The same without any score of a neuroid."""
    lost = found["neuroid"] == neuroid
    changed = {
        name: found[name].where(~lost).transpose(*found[name].dims).assign_attrs(found[name].attrs)
        for name in ("score", "resample_score")
    }
    return found.assign(changed)


def uneven_levels():
    """Every neuroid with a ceiling and baseline of its own; the first has no score."""
    found = of_one_subject()
    number = found.sizes["neuroid"]
    found = found.assign(baseline=("neuroid", np.linspace(0.1, 0.7, number)))
    return lacking(found.assign_coords(ceiling=("neuroid", np.linspace(0.2, 0.9, number))), "n0")


def heights(ax):
    lines = [line for line in ax.get_lines() if len(line.get_ydata())]
    return {line.get_label(): line.get_ydata()[0] for line in lines}


def test_levels_are_over_the_neuroids_with_a_score_by_every_route():
    found = uneven_levels()
    baseline, ceiling = (found[n].to_numpy()[1:].mean() for n in ("baseline", "ceiling"))
    shown = heights(plots.plot_curves(found))
    assert shown["noise ceiling"] == pytest.approx(ceiling)
    assert shown["spectrotemporal baseline"] == pytest.approx(baseline)
    bars = heights(plots.plot_models({"a": found}))
    assert bars["noise ceiling"] == pytest.approx(ceiling)
    assert bars["spectrotemporal baseline"] == pytest.approx(baseline)
    curve = findings.mean_of(findings.Result("brain", "ridge", found))
    assert curve.statistics.attrs["ceiling"] == pytest.approx(ceiling)
    assert curve.statistics.attrs["baseline"] == pytest.approx(baseline)
    last = found["score"].isel(step=-1, neuroid=slice(1, None)).mean("neuroid")
    np.testing.assert_allclose(
        found.dynamics.gain(above="baseline")["estimate"], last - baseline, atol=1e-12
    )
    np.testing.assert_allclose(found.dynamics.ceiling_fraction()["estimate"], last / ceiling)
    summary = found.dynamics.summarize()
    np.testing.assert_allclose(summary["gain_over_baseline"], last - baseline, atol=1e-12)


def test_controls_are_over_the_neuroids_with_a_score():
    whole = of_one_subject()
    own = np.linspace(0.0, 0.5, whole.sizes["neuroid"])
    flat = xr.zeros_like(whole["score"].isel(step=0, drop=True))
    control = flat + xr.DataArray(own, dims="neuroid")
    late = whole.isel(step=slice(1, None)).assign(untrained_score=control.expand_dims(control=2))
    found = lacking(late, "n0")
    gain = found.dynamics.gain()["estimate"]
    last = found["score"].isel(step=-1, neuroid=slice(1, None)).mean("neuroid")
    np.testing.assert_allclose(gain, last - own[1:].mean(), atol=1e-12)
    np.testing.assert_allclose(emergence.bands_by(found)["untrained"], own[1:].mean())


def test_bounds_of_subjects_are_over_the_subjects_with_a_score():
    whole = results()
    score = whole["score"].groupby("subject").mean()
    found = xr.Dataset(
        {"score": score.where(score["subject"] != "s0"),
         "ceiling_lower": ("subject", [0.1, 0.5, 0.6, 0.7]),
         "ceiling_upper": ("subject", [0.2, 0.6, 0.7, 0.8])},
        attrs={"identity": {"metric": "rsa"}},
    )  # fmt: skip
    assert emergence.level(found, "ceiling_lower") == pytest.approx(0.6)
    assert emergence.level(found, "ceiling_upper") == pytest.approx(0.7)


def test_a_ceiling_of_some_neuroids_of_the_curve_says_of_how_many():
    found = of_one_subject()
    ceiling = found["ceiling"].to_numpy().copy()
    ceiling[:2] = np.nan
    some = found.assign_coords(ceiling=("neuroid", ceiling))
    assert "noise ceiling (6 of 8 neuroids)" in heights(plots.plot_curves(some))
    assert "noise ceiling" in heights(plots.plot_curves(found))


def test_where_every_neuroid_has_a_score_a_level_is_left_as_it_is():
    found = results()
    assert of_scored(found["baseline"], found) is found["baseline"] or found["baseline"].identical(
        of_scored(found["baseline"], found)
    )
