"""The intervals' promise, on planted curves.

The full table, with 400 simulations and more, is printed by
``python tests/benchmarks/bench_emergence.py --simulations 400`` (``--neuroids 200``).
"""

import emergence_simulation as simulation
import numpy as np
import pytest
import xarray as xr

from dynamics import emergence
from dynamics.metrics.refit import refit_ridge
from dynamics.metrics.subsets import half_rows


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


def test_the_quick_scores_of_large_regions_are_those_of_the_refits():
    K, Y, folds = simulation.plant(np.random.default_rng(0), 2)
    alphas = 3 * np.trace(K, axis1=1, axis2=2)[:, None] / simulation.N
    rows = half_rows(folds, 4, seed=0)[0::2]
    found = simulation._region_scores(K, Y, folds, rows, alphas, 2)
    expected = refit_ridge(K, Y, folds, rows, alphas)
    # Single precision.
    np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=1e-4)


def test_an_efficient_estimate_is_the_surer_the_steeper_the_curve():
    rng = np.random.default_rng(1)
    x = np.log10(1 + simulation.STEPS)
    noise = 0.03 * rng.standard_normal((500, len(x)))
    bounds = []
    for width in (0.2, 0.8):
        mean = 0.5 / (1 + np.exp(-(x - 2.5) / width))
        curve = xr.DataArray(
            mean + noise, dims=("sim", "step"), coords={"step": simulation.STEPS}
        ).expand_dims(curve=["one"], axis=2)
        bounds.append(simulation.bound(curve, "one"))
        raw = emergence.half_time(curve).isel(curve=0).drop_vars("status")
        errors = abs(np.log10(1 + raw) - np.log10(1 + emergence.half_time(curve.mean("sim"))))
        assert bounds[-1] < 1.1 * errors.median().item()
    assert bounds[0] < 0.5 * bounds[1]


@pytest.mark.benchmark
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
    still = simulation.centred(curve).isel(curve=slice(9, 12))
    limit = 0.05 + 3 * np.sqrt(0.05 * 0.95 / number / 3)
    parts = still, resampled.isel(curve=slice(9, 12))
    assert (emergence.onset_test(*parts)["status"] == "reached").mean() < limit
    assert (emergence.decline_test(*parts)["status"] == "declines").mean() < limit
    rising = {"curve": [f"{shape} {noise}" for shape in ("sigmoid", "power") for noise in
                        simulation.NOISES]}  # fmt: skip
    found = emergence.decline_test(curve.sel(rising), resampled.sel(rising))
    assert (found["status"] == "declines").mean() < 0.05
    # What peaks and falls again is seen to, at the middle noise nearly always.
    transient = {"curve": ["transient low", "transient middle"]}
    found = emergence.decline_test(curve.sel(transient), resampled.sel(transient))
    assert (found["status"] == "declines").mean() > 0.95
