import numpy as np
import pytest
import xarray as xr

from dynamics import emergence

STEPS = np.array([0, 10, 30, 100, 300, 1000, 3000, 10_000])
X = np.log10(1 + STEPS)


def rise(middle, height=0.5):
    return height / (1 + np.exp(-(X - middle) / 0.3))


def planted(rng, means, *, noise=0.03, shared=0.03, resamples=40):
    """Curves and complementary halves; what is shared moves all curves together."""
    means = np.asarray(means)

    def draw(*size):
        common = shared * rng.standard_normal((*size, 1, len(STEPS)))
        return common + noise * rng.standard_normal((*size, *means.shape))

    curve, off = means + draw(), draw(resamples // 2)
    halves = np.stack([curve + off, curve - off], 1).reshape(resamples, *means.shape)
    coords = {"step": STEPS, "region": [f"r{i}" for i in range(len(means))]}
    return (
        xr.DataArray(curve, dims=("region", "step"), coords=coords),
        xr.DataArray(
            halves,
            dims=("resample", "region", "step"),
            coords=coords,
            attrs=emergence.Scheme(paired=True).attrs,
        ),
    )


def test_rank_intervals_hold_the_true_ranks_and_equals_are_seldom_told_apart():
    rng = np.random.default_rng(0)
    means = [rise(1.4), rise(2.4), rise(2.4), rise(3.4)]
    true = np.array([1, 2.5, 2.5, 4])
    number = 120
    many = [planted(rng, means) for _ in range(number)]
    curve, halves = (xr.concat(each, "sim", combine_attrs="override") for each in zip(*many))
    found = emergence.order(curve, halves, dim="region", draws=200)
    true = xr.DataArray(true, dims="region")
    held = ((found["rank_lower"] <= true) & (true <= found["rank_upper"])).sum("sim")
    between = found["before"].sel(region="r1", other="r2")
    told = ((between < 0.025) | (between > 0.975)).sum().item()
    right = (found["first"].sel(region="r0") > 0.95).sum().item()
    # Three Monte-Carlo errors.
    assert (held / number > 0.95 - 3 * np.sqrt(0.05 * 0.95 / number)).all()
    assert told / number < 0.05 + 3 * np.sqrt(0.05 * 0.95 / number)
    assert right / number > 0.9


def test_what_moves_all_curves_leaves_their_order_certain():
    rng = np.random.default_rng(1)
    means = [rise(2.2), rise(2.5)]
    alone = emergence.order(*planted(rng, means, noise=0.06, shared=0.0), dim="region")
    together = emergence.order(*planted(rng, means, noise=0.003, shared=0.06), dim="region")
    assert together["before"].sel(region="r0", other="r1") > 0.95
    assert alone["before"].sel(region="r0", other="r1") < 0.95


def test_the_same_seed_gives_the_same_order_and_probabilities_add_up():
    rng = np.random.default_rng(2)
    given = planted(rng, [rise(2.0), rise(2.2), rise(2.4)], noise=0.08)
    one, two = (emergence.order(*given, dim="region", seed=3) for _ in range(2))
    xr.testing.assert_identical(one, two)
    assert one["first"].sum().item() == pytest.approx(1)
    before = one["before"].to_numpy()
    np.testing.assert_allclose(before + before.T, 1)


def test_a_curve_that_never_moves_never_comes_first():
    rng = np.random.default_rng(3)
    flat = planted(rng, [rise(2.0), 0.1 - 0.05 * X], noise=0.003, shared=0.0)
    found = emergence.order(*flat, dim="region")
    assert found["first"].to_numpy().tolist() == [1, 0]
    assert found["rank"].to_numpy().tolist() == [1, 2]


def test_the_range_of_the_peak_holds_it_and_is_a_plateau_where_there_is_one():
    rng = np.random.default_rng(4)
    bump = 0.1 + 0.3 * np.exp(-((X - 2.0) ** 2))
    hits = 0
    for _ in range(60):
        curve, halves = planted(rng, [bump, rise(1.5)], noise=0.02, shared=0.02)
        found = emergence.peak_range(curve, halves, draws=500)
        assert ((found["lower"] <= found["estimate"]) & (found["estimate"] <= found["upper"])).all()
        hits += bool(found["lower"][0] <= 100 <= found["upper"][0])
        assert found["upper"][0] < 10_000
    assert hits >= 54  # .95 less three Monte-Carlo errors of 60
    sharp = emergence.peak_range(*planted(rng, [bump, rise(1.5)], noise=0.002, shared=0.0))
    assert sharp["lower"][0] == sharp["upper"][0] == 100
    assert sharp["upper"][1] == 10_000 and sharp["lower"][1] >= 100
