import numpy as np
import pytest
import xarray as xr
from scipy import stats

from dynamics import emergence
from dynamics.metrics.subsets import RESAMPLERS

STEPS = np.array([0, 10, 30, 100, 300, 1000, 3000, 10_000])
RISE = np.array([0, 0.02, 0.05, 0.2, 0.4, 0.48, 0.5, 0.5])


def array(values, dims, **attrs):
    return xr.DataArray(np.asarray(values, float), dims=dims, coords={"step": STEPS}, attrs=attrs)


def noisy(mean, resamples, noise, seed=0, correlated=0.0):
    """A measured curve and resamples around it, as independent draws would make them."""
    rng = np.random.default_rng(seed)

    def draw(*size):
        own = rng.standard_normal((*size, len(STEPS)))
        common = rng.standard_normal((*size, 1))
        return noise * (np.sqrt(1 - correlated) * own + np.sqrt(correlated) * common)

    curve = np.asarray(mean) + draw()
    return array(curve, "step"), array(curve + draw(resamples), ("resample", "step"), spread=1.0)


@pytest.mark.parametrize("statistic", ["gain", "plateau", "area", "final"])
def test_interval_of_a_linear_statistic_is_the_t_interval_of_its_resamples(statistic):
    curve, resampled = noisy(RISE, 50, 0.03)
    found = emergence.interval(curve, resampled, statistic=statistic)
    values = emergence.STATISTICS[statistic].function(resampled).to_numpy()
    half = stats.t.ppf(0.975, 49) * values.std(ddof=1)
    estimate = emergence.STATISTICS[statistic].function(curve).item()
    assert found["lower"].item() == pytest.approx(estimate - half)
    assert found["upper"].item() == pytest.approx(estimate + half)


def test_spread_widens_intervals_by_its_root():
    curve, resampled = noisy(RISE, 50, 0.03)
    narrow = emergence.interval(curve, resampled, statistic="gain")
    wide = emergence.interval(curve, resampled.assign_attrs(spread=4.0), statistic="gain")
    assert wide["error"].item() == pytest.approx(2 * narrow["error"].item())
    assert emergence.scheme("subsample", n=165, kept=110, resamples=100).variance_factor == 2
    with pytest.raises(ValueError, match="leave some out"):
        emergence.scheme("subsample", n=165, kept=165, resamples=100)


@pytest.mark.parametrize("method", ["halves", "subsample", "bootstrap", "jackknife"])
def test_every_scheme_gives_the_error_of_a_mean(method):
    x = np.random.default_rng(0).standard_normal(60)
    rows = RESAMPLERS[method](
        np.zeros(60, int) + np.arange(60) % 2, 60 if method == "jackknife" else 2000
    )
    means = xr.DataArray([x[each[each >= 0]].mean() for each in rows], dims="resample")
    kept = int((rows[0] >= 0).sum())
    found = emergence.scheme(method, n=60, kept=kept, resamples=len(rows)).error(means).item()
    # Halves carry their factor for contrasts of neighbouring steps.
    factor = 1.04 if method == "halves" else 1.0
    assert found == pytest.approx(factor * x.std(ddof=1) / np.sqrt(60), rel=0.06)


def test_deviations_of_correlations_are_brought_to_the_score_on_all_stimuli():
    rng = np.random.default_rng(0)
    n, rho = 400, 0.8
    draws = rng.standard_normal((2000, 2, n))
    draws[:, 1] = rho * draws[:, 0] + 0.6 * draws[:, 1]
    full = np.array([np.corrcoef(each)[0, 1] for each in draws])
    # Half as many stimuli, and a level below that of the full sample, as refitted scores have.
    low = np.tanh(np.arctanh(0.6) + (np.arctanh(full) - np.arctanh(rho)) * np.sqrt(2))
    curve = xr.DataArray([rho], dims="step", coords={"step": [0]})
    cloud = xr.DataArray(low[:, None], dims=("resample", "step"), coords={"step": [0]})
    cloud.attrs.update(emergence.Scheme(0.5, correlation=True).attrs)
    found = emergence.stabilised(curve, cloud)
    raw = emergence.Scheme(0.5).error(cloud).item()
    assert emergence.Scheme(0.5).error(found).item() == pytest.approx(full.std(), rel=0.03)
    assert raw > 1.5 * full.std()
    again = emergence.stabilised(curve, found)
    np.testing.assert_array_equal(again, found)


@pytest.mark.parametrize("method", ["inversion", "normal", "percentile", "basic"])
@pytest.mark.guards(8)
def test_half_time_intervals_hold_the_estimate_and_cover_the_truth(method):
    truth = emergence.half_time(array(RISE, "step")).item()
    many = [noisy(RISE, 40, 0.02, seed) for seed in range(200)]
    curve, resampled = (xr.concat(each, "sim") for each in zip(*many))
    found = emergence.interval(curve, resampled, method=method)
    if method != "basic":
        assert (found["lower"] <= found["estimate"]).all()
        assert (found["estimate"] <= found["upper"]).all()
    hits = ((found["lower"] <= truth) & (truth <= found["upper"])).sum().item()
    # Three standard errors of 200 draws below .95.
    assert hits / 200 > 0.9


@pytest.mark.guards(8)
def test_without_a_significant_gain_the_interval_is_open_above():
    curve, resampled = noisy(np.full(8, 0.2), 40, 0.05)
    found = emergence.interval(curve, resampled)
    assert np.isinf(found["upper"].item())
    certain = emergence.interval(*noisy(RISE, 40, 0.001))
    assert np.isfinite(certain["upper"].item())
    assert certain["upper"] / certain["lower"] < 1.2


def test_a_missing_curve_has_no_interval_and_a_missing_step_is_bridged():
    curve, resampled = noisy(RISE, 40, 0.01)
    both = xr.concat([curve.where(curve["step"] != 100), curve * np.nan], "layer")
    again = xr.concat([resampled.where(curve["step"] != 100), resampled * np.nan], "layer")
    for method in ("inversion", "normal"):
        found = emergence.interval(both, again.assign_attrs(spread=1.0), method=method)
        assert np.isfinite(found["lower"][0])
        assert np.isnan(found["lower"][1]) and np.isnan(found["upper"][1])
        assert found["status"].to_numpy().tolist() == ["reached", "missing"]


@pytest.mark.slow
def test_flat_curves_are_called_rising_in_at_most_five_percent():
    flat = [noisy(np.zeros(8), 60, 0.05, seed, correlated=0.3) for seed in range(600)]
    curve = xr.concat([c for c, _ in flat], "run")
    resampled = xr.concat([r for _, r in flat], "run")
    found = emergence.onset_test(curve, resampled)
    rate = (found["status"] == "reached").mean().item()
    # Two standard errors of 600 draws.
    assert 0.02 < rate < 0.068
    assert (emergence.decline_test(curve, resampled)["p"] <= 0.05).mean() < 0.068


def test_onset_is_detected_where_the_rise_is():
    found = emergence.onset_test(*noisy(RISE, 100, 0.02))
    assert found["detected"].item() == 100
    assert (found["p"].sel(step=[300, 1000]) < 0.01).all()
    down = [-x for x in noisy(RISE, 100, 0.02)]
    assert emergence.onset_test(*down, direction="down")["detected"].item() == 100
    assert emergence.onset_test(*down)["status"].item() == "not reached"


def test_a_decline_is_told_from_noise():
    falling = np.array([0.1, 0.1, 0.2, 0.3, 0.43, 0.4, 0.35, 0.31])
    found = emergence.decline_test(*noisy(falling, 100, 0.015))
    assert found["status"].item() == "declines"
    assert 0 < found["lower"].item() < 0.12 < found["decline"].item() + 0.05
    assert found["peak_step"].item() == 300


def test_exchanging_signs_of_subjects_needs_enough_of_them():
    rng = np.random.default_rng(1)
    curve = array(RISE + 0.03 * rng.standard_normal((9, 8)), ("subject", "step"))
    assert emergence.onset_test_subjects(curve)["detected"].item() <= 100
    few = emergence.onset_test_subjects(curve.isel(subject=slice(4)))
    assert few["detected_p"].item() >= 1 / 16


def test_exchanged_signs_keep_their_level():
    rng = np.random.default_rng(2)
    flat = array(rng.standard_normal((400, 7, 8)), ("run", "subject", "step"))
    rate = (emergence.onset_test_subjects(flat)["status"] == "reached").mean().item()
    assert rate < 0.05 + 2 * np.sqrt(0.05 * 0.95 / 400)


def test_steps_that_differ_are_refused():
    curve, resampled = noisy(RISE, 10, 0.01)
    with pytest.raises(ValueError, match="different steps"):
        emergence.interval(curve, resampled.isel(step=slice(1, None)))
    with pytest.raises(ValueError, match="resample"):
        emergence.interval(curve, curve)
    with pytest.raises(ValueError, match="no statistic"):
        emergence.interval(curve, resampled, statistic="beauty")


def test_what_curve_and_baseline_share_cancels_in_the_gain_over_the_baseline():
    curve, resampled = noisy(RISE, 60, 0.05)
    level, levels = curve.isel(step=-1, drop=True) - 0.1, resampled.isel(step=-1, drop=True) - 0.1
    found = emergence.interval(
        curve - level, (resampled - levels).assign_attrs(resampled.attrs), statistic="final"
    )
    assert found["estimate"].item() == pytest.approx(0.1)
    assert found["upper"].item() - found["lower"].item() < 1e-9
