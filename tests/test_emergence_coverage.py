"""The intervals' promise, on planted curves; the full table is in tests/benchmarks."""

import emergence_simulation as simulation
import numpy as np
import pytest

from dynamics import emergence


@pytest.fixture(scope="module")
def few():
    return [simulation.simulate(seed, resamples=16, fixed=20) for seed in range(4)]


def test_a_simulation_has_all_its_parts_and_comes_again_with_its_seed(few):
    again = simulation.simulate(2, resamples=16, fixed=20)
    assert again["halves"].shape == (16, 10, 12)
    assert np.array_equal(again["halves"], few[2]["halves"])
    curve, resampled = simulation.gather(few)
    assert resampled.sizes == {"sim": 4, "resample": 16, "step": 10, "curve": 12}
    assert (emergence.gain(curve).mean("sim").sel(curve="sigmoid low") > 0.3).item()


def test_rises_are_found_where_they_were_planted(few):
    curve, resampled = simulation.gather(few)
    found = emergence.interval(curve, resampled).sel(curve="sigmoid low")
    # The planted weight is half-way at step 500; the score, which saturates, earlier.
    assert ((found["estimate"] > 60) & (found["estimate"] < 500)).all()
    assert ((found["upper"] / found["lower"]) < 10).all()
    assert np.isinf(emergence.interval(curve, resampled)["upper"].sel(curve="flat high")).any()


@pytest.mark.slow
def test_intervals_cover_and_flat_curves_stay_flat():
    number = 60
    simulations = [simulation.simulate(seed) for seed in range(number)]
    curve, resampled = simulation.gather(simulations)
    # Three Monte-Carlo errors below 95 %, over the nine curves that rise, as if four of them
    # were independent.
    floor = 0.95 - 3 * np.sqrt(0.95 * 0.05 / number / 4)
    for statistic in ("onset", "half_time", "plateau_step"):
        table = simulation.coverage(curve, resampled, statistic=statistic)
        assert table["coverage"][:9].mean() > floor, statistic
    middle = simulation.coverage(curve, resampled, statistic="half_time")
    assert middle["error"].sel(curve="sigmoid middle") < 0.1
    flat = emergence.onset_test(curve, resampled)["status"][:, 9:] == "reached"
    assert flat.mean() < 0.05 + 3 * np.sqrt(0.05 * 0.95 / number / 3)
