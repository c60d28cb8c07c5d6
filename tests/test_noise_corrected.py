"""Noise-corrected squares at every reliability: near the truth, or none."""

import numpy as np
import pytest
import xarray as xr

from dynamics import metrics
from dynamics.analysis import values
from dynamics.emergence.aggregate import average

RELIABILITIES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8)


def simulated(n, repetitions, reliability, seed, neuroids=200):
    """Return what features predict of repeated responses, and how much of the signal that is."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 6))
    seen = X @ rng.standard_normal((6, neuroids)) / np.sqrt(6)
    signal = 0.7 * seen + rng.standard_normal((n, neuroids)) * 0.7
    signal /= signal.std(0)
    noise = np.sqrt(repetitions * (1 - reliability) / reliability) * np.ones(neuroids)
    Y = signal[..., None] + noise[:, None] * rng.standard_normal((n, neuroids, repetitions))
    found = metrics.encode({"layer": X}, Y, seed=seed)
    prediction = np.asarray(found["prediction"]) if "prediction" in found else None
    return found, prediction, signal


def summary(found):
    """Return the average over neuroids as every figure, table and sentence has it."""
    results = xr.Dataset(
        {
            name: (("step", "layer", "neuroid"), np.asarray(found[key])[None])
            for name, key in (
                ("score", "layer_r"), ("r2", "layer_r2"), ("r2_corrected", "layer_r2_corrected"),
            )
        },
        coords={"step": [10], "layer": ["layer"]},
    )  # fmt: skip
    shown = values.of(results, "r2_corrected")
    return float(average(shown["score"]).squeeze()), shown


def gap(n, repetitions, reliability, times=4):
    """Return the difference of the mean summary from the mean truth; NaN where there is none."""
    off = []
    for seed in range(times):
        found, prediction, signal = simulated(n, repetitions, reliability, seed)
        both = [x - x.mean(0) for x in (prediction, signal)]
        r = (both[0] * both[1]).mean(0) / both[0].std(0) / both[1].std(0)
        off.append(summary(found)[0] - (np.clip(r, 0, None) ** 2).mean())
    return np.nanmean(off) if np.isfinite(off).any() else np.nan


@pytest.mark.parametrize(
    ("n", "repetitions", "reliabilities", "times"),
    [
        (60, 3, (0.1, 0.5, 0.8), 1),
        *(
            pytest.param(n, repetitions, RELIABILITIES, 3, marks=pytest.mark.slow)
            for n in (60, 165)
            for repetitions in (2, 3, 10)
        ),
    ],
)
def test_averages_are_within_three_hundredths_of_the_truth_or_there_is_none(
    n, repetitions, reliabilities, times
):
    found = {each: gap(n, repetitions, each, times) for each in reliabilities}
    assert np.nanmax(np.abs(list(found.values()))) <= 0.03, found
    assert {each for each, off in found.items() if np.isnan(off)} <= {0.05, 0.1, 0.2, 0.3, 0.4}


def test_single_neuroids_of_low_reliability_have_none_and_it_is_said():
    found, _, _ = simulated(60, 3, np.where(np.arange(40) < 10, 0.05, 0.8), seed=0, neuroids=40)
    average_of, shown = summary(found)
    lost = int(np.isnan(found["layer_r2_corrected"]).sum())
    assert 9 <= lost <= 12 and np.nanmax(found["layer_r2_corrected"]) < 1.2
    assert shown.attrs["left_out"].startswith(f"{lost} of 40 neuroids have a reliability below 0.4")
    kept = np.isfinite(found["layer_r2_corrected"][0])
    reliability = np.asarray(found["ceiling"])[kept] ** 2
    expected = found["layer_r2"][0][kept].sum() / reliability.sum()
    assert average_of == pytest.approx(expected, rel=1e-12)
