"""Halves of stimuli that are parts of recordings: what belongs together stays together."""

import numpy as np
import pytest
import xarray as xr
from calibration import plan
from continuous_calibration import noise

from dynamics import analysis, emergence
from dynamics.analysis import split_halves
from dynamics.brains.neighbours import together
from dynamics.brains.targets import make_target
from dynamics.config import Choice
from dynamics.emergence.resampling import stabilised
from dynamics.metrics.subsets import half_rows

RIDGE = Choice(name="ridge")


def parts(recordings, each, *, neuroids=1, grouped=False, seed=0):
    """A target of parts of recordings, in the order of the alphabet and not of time."""
    rng, n = np.random.default_rng(seed), recordings * each
    names = [f"p{number:03}" for number in rng.permutation(n)]
    place = np.arange(n)
    coords = {
        "stimulus": names,
        "category": ("stimulus", ["a"] * n),
        "recording": ("stimulus", [f"r{k}" for k in place // each]),
        "onset": ("stimulus", place % each * 0.5),
    }
    heard = xr.Dataset(coords=coords).isel(stimulus=np.argsort(names))
    own = {"group": heard["recording"]} if grouped else {}
    data = xr.Dataset(
        {"response": (("stimulus", "neuroid"), rng.standard_normal((n, neuroids)))},
        {"stimulus": heard["stimulus"].to_numpy(), "neuroid": [f"n{k}" for k in range(neuroids)]}
        | {name: ("stimulus", values.to_numpy()) for name, values in own.items()},
        {"name": "x"},
    )
    return make_target(data, heard), heard


@pytest.mark.parametrize("grouped", [True, False])
def test_recordings_are_whole_in_a_half_where_there_are_enough(grouped):
    target, heard = parts(20, 6, grouped=grouped)
    halves = analysis.halves_of(target, RIDGE, plan(resamples=6))
    recording = heard["recording"].to_numpy()
    for one, other in zip(halves[::2], halves[1::2]):
        sides = [set(recording[rows[rows >= 0]]) for rows in (one, other)]
        assert not sides[0] & sides[1] and len(sides[0] | sides[1]) == 20
        for rows in (one, other):
            assert np.bincount(target.folds[rows[rows >= 0]], minlength=5).min() >= 2
    assert target.parts.called == "recordings"
    assert split_halves._limit(RIDGE, target) == (15 if grouped else 19)


def test_neighbours_are_together_where_recordings_are_few():
    target, heard = parts(1, 100)
    assert target.parts.called.startswith("stretches") and target.parts.unit.max() == 19
    # A stretch is five parts, one after another.
    order = np.argsort(heard["onset"].to_numpy())
    np.testing.assert_array_equal(target.parts.unit[order], np.arange(100) // 5)
    halves = analysis.halves_of(target, RIDGE, plan(resamples=4))
    assert {len(rows[rows >= 0]) for rows in halves} == {50}
    four, _ = parts(4, 40)
    assert four.parts.called.startswith("stretches") and four.parts.unit.max() == 19


def test_stimuli_that_are_no_parts_are_halved_as_ever():
    target, heard = parts(60, 1)
    assert target.parts is None and together(heard.drop_vars("onset"), target.folds) is None
    sweep = plan(resamples=4)
    expected = half_rows(target.folds, 4, seed=sweep.seed)
    np.testing.assert_array_equal(analysis.halves_of(target, RIDGE, sweep), expected)
    with pytest.raises(ValueError, match="make no halves"):
        half_rows(np.arange(20) % 5, 4, units=np.arange(20) // 19)


def errors_beside_truth(simulated, unit, folds, *, simulations=200):
    """Root mean square of what halves say of the error of a correlation, over its deviation."""
    rng = np.random.default_rng(0)
    drawn = [simulated(rng) for _ in range(simulations)]
    halves = [half_rows(folds, 12, seed=seed, units=unit) for seed in range(10)]
    again = [
        [np.corrcoef(x[r[r >= 0]], y[r[r >= 0]])[0, 1] for r in halves[number % 10]]
        for number, (x, y) in enumerate(drawn)
    ]
    scores = xr.DataArray([np.corrcoef(x, y)[0, 1] for x, y in drawn], dims="simulation")
    scheme = emergence.scheme("halves", n=2, kept=1, resamples=12)
    values = xr.DataArray(again, dims=("simulation", "resample"), attrs=scheme.attrs)
    values = stabilised(scores, values)
    errors = emergence.Scheme.of(values).error(values)
    return float((errors**2).mean() ** 0.5 / scores.std())


@pytest.mark.parametrize("recordings, each", [(20, 8), (1, 200)])
def test_errors_are_those_of_what_is_alike_within_a_recording(recordings, each):
    target, heard = parts(recordings, each)
    folds, order = target.folds, np.lexsort((heard["onset"], heard["recording"]))

    def simulated(rng):
        if recordings > 1:  # two thirds of the variance are between recordings
            x, y = (np.repeat(rng.standard_normal(recordings) * 2**0.5, each) for _ in "xy")
            x, y = (a + rng.standard_normal(len(a)) for a in (x, y))
        else:  # neighbours are alike, as speech of a second and the next is
            x, y = (noise(rng, (each,), 0.8) for _ in "xy")
        return [values[np.argsort(order)] for values in (x, y + 0.3 * x)]

    # 200 simulations know a deviation to 5 %, and so do those of halves.
    assert errors_beside_truth(simulated, None, folds) < 0.82
    assert errors_beside_truth(simulated, target.parts.unit, folds) == pytest.approx(1, abs=0.15)
