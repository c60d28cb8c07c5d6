import numpy as np
import pytest
import xarray as xr
from scipy import stats

from dynamics import emergence

STEPS = np.array([0, 10, 30, 100, 300, 1000, 3000, 10_000])
X = np.log10(1 + STEPS)


def rise(middle, height=0.4):
    return height / (1 + np.exp(-(X - middle) / 0.4))


def people(rng, subjects, *, between=0.3, shared=0.02, noise=0.04, resamples=40, means=None):
    """Curves of subjects, and of the same on halves of the stimuli.

    Subjects differ in when they rise; stimuli move all of them together, and each by itself.
    """
    if means is None:
        means = np.stack([rise(m) for m in 2.0 + between * rng.standard_normal(subjects)])

    def draw(*size):
        common = shared * rng.standard_normal((*size, 1, len(STEPS)))
        return common + noise * rng.standard_normal((*size, subjects, len(STEPS)))

    curve = means + draw()
    # Halves have twice the variance, and the two of a pair are on either side of the full sample.
    off = np.sqrt(2) * draw(resamples // 2) / np.sqrt(2)
    halves = np.stack([curve + off, curve - off], 1).reshape(resamples, subjects, len(STEPS))
    coords = {"step": STEPS, "subject": [f"s{i}" for i in range(subjects)]}
    scheme = emergence.Scheme(paired=True)
    return (
        xr.DataArray(curve, dims=("subject", "step"), coords=coords),
        xr.DataArray(
            halves, dims=("resample", "subject", "step"), coords=coords, attrs=scheme.attrs
        ),
    )


def test_over_subjects_a_score_has_the_t_interval_of_its_mean():
    curve, _ = people(np.random.default_rng(0), 7)
    found = emergence.bands(*emergence.over_subjects(curve))
    expected = stats.t.interval(
        0.95, 6, loc=curve.mean("subject"), scale=stats.sem(curve.to_numpy(), axis=0)
    )
    np.testing.assert_allclose(found["lower"], expected[0])
    np.testing.assert_allclose(found["upper"], expected[1])


def test_a_subject_without_a_region_is_left_out_of_it():
    rng = np.random.default_rng(1)
    curve = xr.concat([people(rng, 6)[0] for _ in range(2)], "region")
    gap = curve.where((curve["subject"] != "s2") | (curve["region"] != 1))
    found = emergence.bands(*emergence.over_subjects(gap))
    alone = curve.isel(region=1).drop_sel(subject="s2")
    np.testing.assert_allclose(
        found["error"].isel(region=1), stats.sem(alone.to_numpy(), axis=0), rtol=1e-12
    )
    np.testing.assert_allclose(
        found["error"].isel(region=0), stats.sem(curve.isel(region=0).to_numpy(), axis=0)
    )
    assert emergence.over_subjects(gap)[1].attrs["limit"] == 4
    with pytest.raises(ValueError, match="3 are needed at least"):
        emergence.over_subjects(curve.isel(subject=[0, 1]))


def test_the_variances_of_stimuli_and_subjects_add_up_without_counting_noise_twice():
    rng = np.random.default_rng(2)
    # So many subjects and resamples that the two variances are known to a few percent.
    means = 0.1 * rng.standard_normal((300, 8))
    curve, halves = people(rng, 300, means=means, shared=0.01, noise=0.1, resamples=400)
    mean, both = emergence.with_subjects(curve, halves)
    found = emergence.Scheme.of(both).error(both) ** 2
    expected = (0.1**2 + 0.1**2) / 300 + 0.01**2
    assert found.mean().item() == pytest.approx(expected, rel=0.08)
    np.testing.assert_allclose(mean, curve.mean("subject"))


@pytest.mark.slow
@pytest.mark.parametrize(("over", "true"), [("stimuli", 0), ("subjects", 1), ("both", 1)])
def test_intervals_cover_what_they_speak_of(over, true):
    """Truth: half-time of the mean curve, of these subjects or of all people."""
    rng = np.random.default_rng(3)
    everyone = np.mean([rise(m) for m in 2.0 + 0.3 * rng.standard_normal(20_000)], 0)
    hits, number = 0, 100 if over == "both" else 160
    for _ in range(number):
        middles = 2.0 + 0.3 * rng.standard_normal(8)
        means = np.stack([rise(m) for m in middles])
        # Subjects alone: the stimuli are these ones, and move nothing.
        moved = {"shared": 0.0, "noise": 0.02} if over == "subjects" else {}
        curve, halves = people(rng, 8, means=means, **moved)
        if over == "stimuli":
            given = curve.mean("subject"), halves.mean("subject").assign_attrs(halves.attrs)
        elif over == "subjects":
            given = emergence.over_subjects(curve)
        else:
            given = emergence.with_subjects(curve, halves)
        mean = everyone if true else means.mean(0)
        truth = emergence.half_time(xr.DataArray(mean, dims="step", coords={"step": STEPS}))
        found = emergence.interval(*given)
        hits += bool(found["lower"] <= truth <= found["upper"])
    # Three Monte-Carlo errors below .95; above .985 it would be far too wide.
    assert 0.95 - 3 * np.sqrt(0.95 * 0.05 / number) < hits / number <= 0.985, hits / number


@pytest.mark.parametrize("subjects", [3, 5, 6, 20])
def test_few_subjects_have_their_own_degrees_of_freedom(subjects):
    """Of a sum of variances they are as much too high as that of few subjects is too low."""
    limits = []
    for seed in range(20):
        # Subjects vary a little more than their stimuli do, so that either may come out larger.
        given = people(np.random.default_rng(seed), subjects, between=0.05, shared=0.03)
        _, cloud = emergence.with_subjects(*given)
        limits.append(emergence.Scheme.of(cloud).limit)
    if subjects < 6:
        assert max(limits) <= subjects - 1
    else:
        assert max(limits) > subjects - 1


def test_the_best_layer_is_as_sure_as_the_difference_of_two_layers_is():
    rng = np.random.default_rng(6)
    one, again = people(rng, 5, between=0.0, noise=0.01)
    other, others = people(rng, 5, between=0.0, noise=0.01)
    # People differ in how much better the second layer is, by more than stimuli do.
    better = xr.DataArray([0.14, -0.09, 0.12, -0.05, 0.08], dims="subject")
    layers = xr.DataArray(["a", "b"], dims="layer", name="layer")
    curve = xr.concat([one, other + better], layers, coords="minimal")
    halves = xr.concat([again, others + better], layers, combine_attrs="override")
    both = emergence.with_subjects(curve, halves)
    stimuli = curve.mean("subject"), halves.mean("subject", keep_attrs=True)
    for mean, cloud in (stimuli, both):
        scheme = emergence.Scheme.of(cloud)
        apart = mean.diff("layer", label="lower").isel(layer=0)
        error = scheme.error(cloud.diff("layer", label="lower").isel(layer=0))
        t = stats.t(scheme.freedom(cloud.sizes["resample"]))
        found = emergence.best_layer(mean, cloud, draws=4000)["support"].sel(layer="b")
        # 4,000 draws have a Monte-Carlo error of .008, and all steps share them.
        np.testing.assert_allclose(found, t.cdf(apart / error), atol=0.03)
