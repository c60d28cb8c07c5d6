"""Runs of thousands of checkpoints: memory and time of statistics, and equal answers."""

import tracemalloc

import numpy as np
import pytest
import xarray as xr
from threadpoolctl import threadpool_info, threadpool_limits

from dynamics import emergence
from dynamics.emergence.contrasts import Noise as _Noise
from dynamics.emergence.resampling import aligned

HALVES = emergence.scheme("halves", n=2, kept=1, resamples=2).attrs


def curves(steps, layers=2):
    rng = np.random.default_rng(0)
    at = np.r_[0, np.linspace(1, 1e5, steps - 1).astype(int)]
    x = np.log10(1 + at)[:, None]
    score = 0.4 / (1 + np.exp(-(x - np.linspace(1, 4, layers)) / 0.3))
    score = score + 0.01 * rng.standard_normal(score.shape)
    off = 0.02 * rng.standard_normal((25, *score.shape))
    halves = np.stack([score + off, score - off], 1).reshape(50, *score.shape)
    named = {"step": at, "layer": [f"layer{i}" for i in range(layers)]}
    dims = ("resample", "step", "layer")
    resampled = xr.DataArray(halves, dims=dims, coords=named, attrs=HALVES)
    return xr.DataArray(score, dims=dims[1:], coords=named), resampled


@pytest.mark.parametrize("statistic", ["half_time", "onset", "plateau_step"])
def test_intervals_of_2000_steps_take_little_memory(statistic):
    curve, resampled = curves(2000)
    tracemalloc.start()
    found = emergence.interval(curve, resampled, statistic=statistic)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # A matrix of places by steps alone would be 512 MB.
    assert most < 60e6
    # The late curve is still rising at the end: it has limits and no step of its plateau.
    reached = found["estimate"].notnull()
    assert bool(reached[0]) and (found["lower"] <= found["estimate"]).where(reached, True).all()


def test_the_peak_of_many_steps_is_where_every_step_by_itself_may_be_it():
    curve, resampled = aligned(*curves(60, layers=3))
    found = emergence.peak_range(curve, resampled, draws=500)
    noise, steps = _Noise(resampled, 500, 0, common=True), curve["step"].to_numpy()
    for layer in range(3):
        scores, cloud = curve[:, layer].to_numpy(), resampled[:, :, layer].to_numpy()
        may = [
            step
            for place, step in enumerate(steps)
            if np.nanmin(noise.largest(scores - scores[place], cloud - cloud[:, [place]])[1]) > 0.05
        ]
        assert found["lower"][layer] == may[0] and found["upper"][layer] == may[-1]


def test_comparisons_of_many_layers_are_those_of_each_pair_by_itself():
    curve, resampled = curves(30, layers=6)
    found = emergence.compare(curve, resampled, dim="layer")
    assert found.sizes["pair"] == 15
    alone = emergence.compare(
        curve.isel(layer=[1, 4]), resampled.isel(layer=[1, 4]), dim="layer"
    ).isel(pair=0)
    both = (found["first"] == "layer1") & (found["second"] == "layer4")
    for name in ("difference", "lower", "upper", "p"):
        assert float(found[name][both.to_numpy()][0]) == float(alone[name])


def shaped(shape, *, steps, correlation, seed=0):
    """A curve of some shape, and halves whose noise is as alike at neighbouring steps as asked."""
    rng = np.random.default_rng(seed)
    x = np.linspace(0, 1, steps)[:, None]
    form = {"rise": x, "hump": 1 - (2 * x - 1) ** 2, "flat": 0 * x, "late": x**6}[shape]
    score = 0.4 * form + 0.01 * rng.standard_normal((steps, 2))
    off = rng.standard_normal((25, steps, 2))
    for step in range(1, steps):
        own = np.sqrt(1 - correlation**2) * off[:, step]
        off[:, step] = correlation * off[:, step - 1] + own
    halves = np.stack([score + 0.02 * off, score - 0.02 * off], 1).reshape(50, steps, 2)
    named = {"step": np.arange(steps), "layer": ["a", "b"]}
    dims = ("resample", "step", "layer")
    resampled = xr.DataArray(halves, dims=dims, coords=named, attrs=HALVES)
    return xr.DataArray(score, dims=dims[1:], coords=named), resampled


def one_by_one(curve, resampled, *, draws, layer):
    """First and last step that may be the peak, from the definition: all contrasts of all steps."""
    noise = _Noise(resampled, draws, 0, common=True)
    scores, cloud = curve[:, layer].to_numpy(), resampled[:, :, layer].to_numpy()
    known = np.flatnonzero(np.isfinite(scores) & np.isfinite(cloud).all(0))
    may = [
        place
        for place in known
        if not np.nanmin(noise.largest(scores - scores[place], cloud - cloud[:, [place]])[1])
        <= 0.05
    ]
    steps = curve["step"].to_numpy()
    return steps[may[0]], steps[may[-1]]


@pytest.mark.parametrize("correlation", [0.0, 0.95])
@pytest.mark.parametrize("shape", ["rise", "hump", "flat", "late"])
def test_the_range_of_a_peak_is_that_of_its_definition(shape, correlation):
    curve, resampled = aligned(*shaped(shape, steps=150, correlation=correlation))
    curve[40] = np.nan
    resampled[3, 60] = np.nan
    resampled[:, 70:72] = curve[70:72]  # nothing varies there
    found = emergence.peak_range(curve, resampled, draws=500, confidence=0.95)
    for layer in range(2):
        expected = one_by_one(curve, resampled, draws=500, layer=layer)
        assert (found["lower"][layer], found["upper"][layer]) == expected


def test_the_peak_of_2000_steps_is_found_in_little_memory_and_few_contrasts(monkeypatch):
    curve, resampled = shaped("rise", steps=2000, correlation=0.95)
    counted = []
    whole = _Noise.largest
    monkeypatch.setattr(
        _Noise, "largest", lambda self, *given: counted.append(1) or whole(self, *given)
    )
    tracemalloc.start()
    found = emergence.peak_range(curve, resampled)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found["lower"] <= found["estimate"]).all() and (found["lower"] > 1000).all()
    # All contrasts of one step cost as much as thousands of bounds: none needs them here.
    assert not counted
    assert most < 60e6


@pytest.fixture
def two_threads():
    """NumPy's own products shared out over two threads, as on any machine of several cores."""
    with threadpool_limits(2, user_api="blas"):
        yield


def threads_of_products():
    return {each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}


@pytest.mark.parametrize(
    ("test", "method"),
    [
        (emergence.onset_test, "_ratios"),
        (emergence.decline_test, "_ratios"),
        (emergence.peak_range, "errors"),
    ],
)
def test_small_products_are_not_shared_out_over_threads(two_threads, monkeypatch, test, method):
    inside, whole = [], getattr(_Noise, method)
    monkeypatch.setattr(
        _Noise, method, lambda *given: inside.append(threads_of_products()) or whole(*given)
    )
    test(*curves(30, layers=1))
    assert inside and all(each == {1} for each in inside)
    assert threads_of_products() == {2}


def test_a_p_value_and_a_limit_of_the_same_contrasts_are_of_the_same_draws(monkeypatch):
    curve, resampled = aligned(*curves(30, layers=1))
    made, whole = [], _Noise._ratios
    monkeypatch.setattr(_Noise, "_ratios", lambda *given: made.append(1) or whole(*given))
    first = emergence.decline_test(curve, resampled)
    assert len(made) == 1
    noise = _Noise(resampled, 5000, 0)
    scores, cloud = curve[:, 0].to_numpy(), resampled[:, :, 0].to_numpy()
    off = cloud - cloud[:, [-1]]
    critical, errors = noise.critical(off, 0.95)
    assert first["lower"].item() == np.nanmax(scores - scores[-1] - critical * errors)
    noise.largest(scores, cloud)  # others are drawn anew
    assert len(made) == 3 and noise.critical(off, 0.95)[0] == critical
