import numpy as np
import pytest
import xarray as xr
from scipy import stats
from scipy.interpolate import LSQUnivariateSpline
from sklearn.isotonic import isotonic_regression

from dynamics import emergence

STEPS = np.array([0, 10, 30, 100, 300, 1000, 3000, 10_000])
X = np.log10(1 + STEPS)


def rise(middle, height=0.5):
    return height / (1 + np.exp(-(X - middle) / 0.3))


def planted(means, names, noise=0.02, resamples=60, seed=0, dim="layer"):
    """Curves along a dimension with resamples that share most of their noise."""
    rng = np.random.default_rng(seed)
    means = np.asarray(means)
    common = noise * rng.standard_normal((resamples + 1, 1, len(STEPS)))
    own = 0.3 * noise * rng.standard_normal((resamples + 1, *means.shape))
    values = means + common + own
    values[1:] += values[0] - means
    coords = {dim: list(names), "step": STEPS}
    curve = xr.DataArray(values[0], dims=(dim, "step"), coords=coords)
    cloud = xr.DataArray(values[1:], dims=("resample", dim, "step"), coords=coords)
    return curve, cloud.assign_attrs(spread=1.0)


def test_the_earlier_curve_comes_first_with_its_lead_in_decades():
    curve, cloud = planted([rise(1.5), rise(2.5), rise(2.5)], "abc")
    found = emergence.compare(curve, cloud, dim="layer")
    assert found["first"].to_numpy().tolist() == ["a", "a", "b"]
    np.testing.assert_allclose(found["difference"], [1, 1, 0], atol=0.25)
    assert (found["lower"][:2] > 0.5).all() and found["lower"][2] < 0 < found["upper"][2]
    assert (found["p_adjusted"][:2] < 1e-4).all() and found["p_adjusted"][2] > 0.05
    assert (found["p_adjusted"] >= found["p"] - 1e-15).all()


def test_pairing_makes_differences_more_certain_than_their_parts():
    curve, cloud = planted([rise(2.2), rise(2.2)], "ab", noise=0.05)
    paired = emergence.compare(curve, cloud, dim="layer", statistic="gain")
    alone = emergence.interval(curve, cloud, statistic="gain")
    width = (paired["upper"] - paired["lower"]).item()
    assert width < 0.6 * (alone["upper"] - alone["lower"]).min().item()


def test_a_lead_is_no_surer_than_the_gain_of_the_one_that_leads():
    transient = rise(1.2) - rise(2.5, height=0.4)  # steep at first, little is left at the end
    curve, cloud = planted([transient, rise(2.8)], "ab", noise=0.04, resamples=400)
    found = emergence.compare(curve, cloud, dim="layer").isel(pair=0)
    assert np.isfinite(found["upper"]) and found["lower"] > 0
    ends = cloud.sel(layer="a").isel(step=[0, -1]).diff("step")
    own = curve.sel(layer="a").isel(step=[0, -1]).diff("step").item()
    gain_p = stats.t.sf(own / ends.std(ddof=1).item(), 399)
    assert 1e-3 < gain_p < 0.05
    assert found["p"].item() == pytest.approx(gain_p)
    # Whether the second one gains makes no difference to which comes first.
    later = emergence.compare(curve.isel(layer=[1, 0]), cloud.isel(layer=[1, 0]), dim="layer")
    assert later["p"].item() == pytest.approx(gain_p) and later["difference"].item() < 0


def test_a_curve_that_never_rises_is_last_and_has_no_difference():
    curve, cloud = planted([rise(2.2), np.full(8, 0.1) - 0.01 * X], "ab", noise=1e-3)
    found = emergence.compare(curve, cloud, dim="layer")
    assert found["status"].item() == "first only"
    assert np.isnan(found["difference"]) and np.isnan(found["p"])
    ranks = emergence.order(curve, cloud, dim="layer")
    assert ranks["rank"].to_numpy().tolist() == [1, 2]
    assert ranks["before"].sel(layer="a", other="b").item() == 1


def test_ranks_are_as_uncertain_as_the_times():
    curve, cloud = planted([rise(1.2), rise(2.5), rise(2.5)], "abc", noise=0.05)
    found = emergence.order(curve, cloud, dim="layer")
    assert found["rank_lower"].sel(layer="a") == found["rank_upper"].sel(layer="a") == 1
    assert found["rank_lower"].sel(layer="b") == 2 and found["rank_upper"].sel(layer="b") == 3
    half = found["before"].sel(layer="b", other="b").item()
    assert half == 0.5


def test_adjusted_p_values_agree_with_hand_and_scipy():
    p = np.array([0.01, 0.04, 0.03, np.nan])
    np.testing.assert_allclose(emergence.holm(p), [0.03, 0.06, 0.06, np.nan])
    expected = stats.false_discovery_control(p[:3])
    np.testing.assert_allclose(emergence.benjamini_hochberg(p)[:3], expected)


def test_a_moving_best_layer_is_seen_and_a_resting_one_is_not_invented():
    layers = np.arange(5)[:, None]
    moving = 0.5 - 0.05 * (layers - X) ** 2
    resting = 0.5 - 0.05 * (layers - 2.0) ** 2 + 0 * X
    found = emergence.best_layer(*planted(moving, range(5), noise=0.01))
    assert found["p"].item() < 1e-6 and found["lower"].item() > 0
    assert found["best"].to_numpy()[[0, -1]].tolist() == [0, 4]
    assert emergence.best_layer(*planted(resting, range(5), noise=0.01))["p"].item() > 0.01
    np.testing.assert_allclose(found["support"].sum("layer"), 1)


def test_growth_in_common_correlates_until_step_is_partialled_out():
    rng = np.random.default_rng(3)
    trend = np.log1p(STEPS)
    brain, task = (
        xr.DataArray(trend + 0.2 * rng.standard_normal(8), dims="step", coords={"step": STEPS})
        for _ in range(2)
    )
    found = emergence.correlate(brain, task)
    assert found["r"].sel(form="raw") > 0.98
    np.testing.assert_allclose(found["r"][0], stats.pearsonr(brain, task).statistic)
    # A smooth trend of five parameters, two thirds of eight: cubic pieces with one knot inside.
    knot = [np.quantile(trend, 0.5)]
    left = [
        v - LSQUnivariateSpline(trend, v, knot)(trend) for v in (brain.to_numpy(), task.to_numpy())
    ]
    np.testing.assert_allclose(found["r"][1], stats.pearsonr(*left).statistic)
    assert (found["effective_n"] <= 8).all()
    # Both grow, which says nothing; and eight checkpoints are too few to tell what else they do.
    assert found["p"].isnull().all() and "both grow" in found.attrs["caution"]
    # Of numbers that only grow, neighbours are alike: far fewer than eight observations.
    assert found["effective_n"].sel(form="raw") < 6


def test_over_models_the_p_value_is_that_of_pearson_or_spearman():
    rng = np.random.default_rng(4)
    x = rng.standard_normal((2, 12))
    brain, task = (xr.DataArray(v, dims="model") for v in x)
    for kind, oracle in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
        found = emergence.correlate(brain, task, dim="model", kind=kind)
        assert found["p"].item() == pytest.approx(oracle(*x).pvalue)


@pytest.mark.parametrize("kind", ["isotonic", "spline", "saturating"])
def test_fits_are_nearer_to_the_truth_than_the_noise(kind):
    rng = np.random.default_rng(0)
    steps = np.unique(np.geomspace(1, 1e5, 24).astype(int))
    truth = 0.5 / (1 + np.exp(-(np.log10(steps) - 2.5) / 0.4))
    noisy = truth + 0.05 * rng.standard_normal((40, len(steps)))
    curve = xr.DataArray(noisy, dims=("run", "step"), coords={"step": steps})
    fitted = emergence.fit(curve, kind=kind)
    assert ((fitted - truth) ** 2).mean() < 0.6 * 0.05**2
    if kind == "isotonic":
        assert (fitted.diff("step") >= 0).all()
        np.testing.assert_allclose(fitted[0], isotonic_regression(noisy[0]))


def test_the_form_is_chosen_by_left_out_steps_and_missing_steps_are_bridged():
    steps = np.unique(np.geomspace(1, 1e5, 20).astype(int))
    x = np.log10(steps)
    rng = np.random.default_rng(1)
    both = np.stack([1 / (1 + np.exp(-(x - 2.5) / 0.2)), np.exp(-((x - 2.5) ** 2))])
    curve = xr.DataArray(
        both + 0.01 * rng.standard_normal(both.shape), dims=("run", "step"), coords={"step": steps}
    )
    fitted = emergence.fit(curve.where(curve["step"] != steps[5]), kind="auto")
    assert fitted["form"].to_numpy().tolist() == ["saturating", "spline"]
    assert np.isfinite(fitted).all()
    fine = emergence.fit(curve, kind="spline", steps=np.arange(1, 50))
    assert fine.sizes == {"run": 2, "step": 49}
    assert emergence.fit(curve * np.nan)["form"].to_numpy().tolist() == ["none", "none"]
