import numpy as np
import pytest
import xarray as xr

from dynamics import emergence

STEPS = np.array([0, 1, 10, 100, 1000])


def curve(values, steps=STEPS):
    return xr.DataArray(np.array(values, float), coords={"step": steps}, dims="step")


def test_half_time_of_a_straight_line_in_log_step_is_its_middle():
    found = emergence.half_time(curve(np.log1p(STEPS))).item()
    assert np.log1p(found) == pytest.approx(np.log1p(1000) / 2, rel=1e-12)


def test_half_time_is_the_first_crossing_of_half_of_the_final_gain():
    assert emergence.half_time(curve([0, 0.5, 0, 0, 1])).item() == pytest.approx(1)
    assert emergence.half_time(curve([0.2, 0.2, 0.2, 0.4, 0.4])).item() == pytest.approx(
        np.expm1((np.log1p(10) + np.log1p(100)) / 2)
    )


def test_a_curve_that_does_not_rise_has_no_half_time():
    assert np.isnan(emergence.half_time(curve([0.3] * 5)).item())
    assert np.isnan(emergence.half_time(curve([0.3, 0.6, 0.5, 0.4, 0.2])).item())
    assert np.isnan(emergence.half_time(curve([0.3, *[np.nan] * 4])).item())


def test_a_failed_step_in_the_middle_is_bridged():
    whole, gap = curve([0, 0, 0.5, 1, 1]), curve([0, 0, 0.5, np.nan, 1])
    assert emergence.half_time(gap).item() == pytest.approx(emergence.half_time(whole).item())


def test_other_dimensions_are_kept():
    both = xr.concat([curve([0, 0, 0, 1, 1]), curve([0, 1, 1, 1, 1])], "layer")
    found = emergence.half_time(both)
    assert found.dims == ("layer",)
    assert found[0] > found[1]


def test_unsorted_steps_and_odd_fractions_are_refused():
    with pytest.raises(ValueError, match="ascend"):
        emergence.half_time(curve([0, 1, 2], steps=[0, 10, 5]))
    with pytest.raises(ValueError, match="fraction"):
        emergence.half_time(curve(STEPS), fraction=0)
