"""Runs of thousands of checkpoints: memory and time of statistics, and equal answers."""

import tracemalloc

import numpy as np
import pytest
import xarray as xr

from dynamics import emergence
from dynamics.emergence.changes import _Noise
from dynamics.emergence.intervals import aligned

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
    noise, steps = _Noise(resampled, 500, 0), curve["step"].to_numpy()
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
