"""That half-times are alike is shown where they are, and no more often than it says where not."""

import calibration
import numpy as np
import pytest

from dynamics import emergence


def test_one_sided_tests_are_those_of_limits_of_90_percent():
    curve, resampled = calibration.two_rising(3, ratio=1.2)
    found = emergence.compare(curve, resampled, dim="layer", margin=1.5, confidence=0.9).isel(
        pair=0
    )
    low, high = float(found["lower"]), float(found["upper"])
    for factor, later in ((10**high * 1.001, True), (10**high * 0.999, False)):
        one = emergence.compare(curve, resampled, dim="layer", margin=factor).isel(pair=0)
        assert (float(one["p_no_later"]) < 0.05) == later
    reach = max(-low, high)
    for factor, alike in ((10**reach * 1.001, True), (10**reach * 0.999, False)):
        one = emergence.compare(curve, resampled, dim="layer", margin=factor).isel(pair=0)
        assert (float(one["p_equivalent"]) < 0.05) == alike
    two = emergence.compare_two(
        *[(curve.isel(layer=i), resampled.isel(layer=i)) for i in (0, 1)], margin=1.5
    )
    for name in ("p_no_later", "p_no_earlier", "p_equivalent"):
        assert float(two[name]) == pytest.approx(float(found[name]))


def test_half_times_at_the_margin_are_rarely_called_alike_and_equal_ones_often():
    number = 30
    at_margin = calibration.p_equivalent(number, ratio=1.5)
    assert (at_margin <= 0.05).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / number)
    assert (calibration.p_equivalent(10, ratio=1.0) <= 0.05).mean() > 0.7


def test_margins_without_room_are_refused_and_open_limits_show_nothing():
    curve, resampled = calibration.two_rising(0, ratio=1.0)
    with pytest.raises(ValueError, match=r"a factor on steps, above 1, found 1\.0"):
        emergence.compare(curve, resampled, dim="layer", margin=1.0)
    with pytest.raises(ValueError, match="what scores may differ by, above 0"):
        emergence.compare(curve, resampled, dim="layer", statistic="gain", margin=0.0)
    flat = calibration.two_rising(0, ratio=1.0, gain=0.0)
    found = emergence.compare(*flat, dim="layer", margin=1.5)["p_equivalent"]
    assert (found.isnull() | (found == 1)).all()
