import numpy as np
import pytest
import xarray as xr

from dynamics import emergence
from dynamics.emergence import crossings

STEPS = np.array([0, 1, 10, 100, 1000, 10_000])


def curve(values, steps=STEPS):
    return xr.DataArray(np.array(values, float), coords={"step": steps}, dims="step")


def test_why_there_is_no_step_is_said():
    curves = xr.concat(
        [
            curve([0, 0, 0.2, 0.8, 1, 1]),
            curve([0.3] * 6),
            curve([0.1, *[np.nan] * 5]),
            curve([0, 0, 0.5, 0.2, -0.1, -0.2]),
        ],
        "layer",
    )
    found = emergence.half_time(curves)
    assert found["status"].to_numpy().tolist() == ["reached", "no gain", "one step only", "no gain"]
    by_peak = emergence.half_time(curves, reference="peak")
    assert by_peak["status"].to_numpy()[3] == "reached"
    assert by_peak[3].item() == pytest.approx(np.expm1((np.log1p(1) + np.log1p(10)) / 2))


@pytest.mark.parametrize("reference", ["final", "peak", "plateau"])
@pytest.mark.parametrize("sustained", [False, True])
def test_many_curves_at_once_are_what_each_is_alone(reference, sustained):
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((20, 15, 6)).cumsum(-1).round(1)
    scores[rng.random(scores.shape) < 0.05] = np.nan
    scores[0, 0] = np.nan
    scores[0, 1] = 0.3
    level = np.where(rng.random((20, 15)) < 0.5, np.nan, rng.standard_normal((20, 15)))
    options = {"fraction": 0.5, "reference": reference, "sustained": sustained}
    found, status = crossings.crossings(STEPS, scores, level, **options)
    seen = set()
    for place in np.ndindex(level.shape):
        one = crossings.crossing(STEPS, scores[place], level[place], **options)
        np.testing.assert_allclose(found[place], one[0], rtol=1e-12)
        assert status[place] == one[1]
        seen.add(one[1])
    assert {"reached", "no gain", "missing", "from the start"} <= seen


def test_a_baseline_above_the_curve_or_below_it_decides():
    one = curve([0.2, 0.2, 0.4, 0.6, 0.8, 0.8])
    assert emergence.half_time(one, baseline=xr.DataArray(0.9))["status"].item() == "no gain"
    found = emergence.half_time(one, baseline=xr.DataArray(-0.8))
    assert (found.item(), found["status"].item()) == (0, "from the start")
    missing = emergence.half_time(one, baseline=xr.DataArray(np.nan))
    assert missing["status"].item() == "missing"


def test_falling_scores_are_read_downwards():
    up = curve([0, 0, 0.2, 0.8, 1, 1])
    down = emergence.half_time(1 - up, direction="down")
    assert down.item() == pytest.approx(emergence.half_time(up).item())
    with pytest.raises(ValueError, match="direction"):
        emergence.half_time(up, direction="sideways")


def test_plateau_is_reached_or_still_ahead():
    flat_end = curve([0, 0, 0.5, 1, 1, 1])
    found = emergence.plateau_step(flat_end)
    expected = np.expm1(np.interp(0.9, [0.5, 1], np.log1p([10, 100])))
    assert found.item() == pytest.approx(expected)
    rising = emergence.plateau_step(curve([0, 0.1, 0.2, 0.4, 0.6, 0.9]))
    assert np.isnan(rising.item())
    assert rising["status"].item() == "still rising"
    assert emergence.plateau(flat_end).item() == 1


def test_a_transient_is_described_as_one():
    # The course of a layer that peaks early and declines by more than a third of its height.
    found = emergence.peak(curve([0.05, 0.1, 0.3, 0.43, 0.38, 0.31]))
    assert found["peak_step"].item() == 100
    assert found["score"].item() == pytest.approx(0.43)
    assert found["decline"].item() == pytest.approx(0.12)
    assert found["decline_fraction"].item() == pytest.approx(0.12 / 0.38)


def test_area_of_a_line_in_log_step_is_half_its_gain():
    assert emergence.area(curve(np.log1p(STEPS))).item() == pytest.approx(np.log1p(10_000) / 2)


def test_the_table_has_every_statistic_and_its_status():
    curves = xr.concat([curve([0, 0, 0.2, 0.8, 1, 1]), curve([np.nan] * 6)], "neuroid")
    table = emergence.summarize(
        curves, baseline=xr.DataArray([0.5, 0.5], dims="neuroid"), ceiling=xr.DataArray(2.0)
    )
    assert table["half_time_status"].to_numpy().tolist() == ["reached", "missing"]
    assert table["gain_over_baseline"][0].item() == pytest.approx(0.5)
    assert table["ceiling_fraction"][0].item() == pytest.approx(0.5)
    assert table["onset"][0] < table["half_time"][0] < table["plateau_step"][0]
    assert np.isnan(table["peak_step"][1])


@pytest.mark.parametrize(("lost", "status"), [(0, "no untrained level"),
                                              (-1, "no score at the last step")])  # fmt: skip
def test_no_other_step_stands_in_for_a_missing_end(lost, status):
    scores = np.array([0.1, 0.2, 0.3, 0.6, 0.5, 0.4])
    whole = curve(scores)
    scores[lost] = np.nan
    both = xr.concat([whole, curve(scores)], "layer")
    rng = np.random.default_rng(0)
    noise = xr.DataArray(0.01 * rng.standard_normal((20, 2, 6)), dims=("resample", "layer", "step"))
    again = (both + noise).assign_attrs(emergence.scheme("halves", n=2, kept=1, resamples=2).attrs)
    again = again.transpose("resample", "layer", "step")
    for name in ("half_time", "plateau_step"):
        when = getattr(emergence, name)(both)
        assert np.isfinite(when[0]) and np.isnan(when[1]) and when["status"][1] == status
        found = emergence.interval(both, again, statistic=name)
        assert np.isnan(found["lower"][1]) and np.isnan(found["upper"][1])
    assert np.isnan(emergence.gain(both)[1]) and np.isfinite(emergence.gain(both)[0])
    test = emergence.onset_test(both, again) if lost == 0 else emergence.decline_test(both, again)
    assert test["status"][1] == status and test["status"][0] in ("reached", "declines")
    top = emergence.peak(both)
    assert np.isnan(top["decline" if lost else "decline_fraction"][1])
