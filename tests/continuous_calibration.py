"""Simulations of responses over time whose noise is alike from sample to sample.

Each function takes how many simulations to make.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr
from calibration import plan
from scipy.signal import lfilter
from scipy.stats import t as student

from dynamics import analysis, emergence
from dynamics.analysis import METHODS
from dynamics.analysis.variables import scheme_of
from dynamics.brains import courses
from dynamics.brains.targets import make_target
from dynamics.config import Choice
from dynamics.emergence.resampling import stabilised

RATE = 2.0
SIZES = {3: 240, 10: 120, 100: 12}
"""Samples of each stimulus by the number of stimuli."""


def noise(rng, shape, seconds):
    """First-order autoregressive noise of variance 1 with a time constant in seconds."""
    if seconds == 0:
        return rng.standard_normal(shape)
    rho = np.exp(-1 / (seconds * RATE))
    steps = rng.standard_normal((shape[0] + 200, *shape[1:])) * np.sqrt(1 - rho**2)
    return lfilter([1], [1, -rho], steps, axis=0)[200:]


def simulated(rng, stimuli, seconds, *, neuroids=8, weight=0.0, heard=None):
    """A target, and a layer whose features are as alike over time as the noise."""
    samples = SIZES[stimuli]
    layer = [noise(rng, (samples, 3), seconds if heard is None else heard) for _ in range(stimuli)]
    trials = [
        (f"s{s}", weight * x.sum(1, keepdims=True) + noise(rng, (samples, neuroids), seconds))
        for s, x in enumerate(layer)
    ]
    data = courses.stacked(
        trials, rate=RATE, start=0.5 / RATE, neuroids=[f"n{i}" for i in range(neuroids)]
    )
    names = data["stimulus"].to_numpy()
    there = xr.Dataset(coords={"stimulus": names, "category": ("stimulus", ["a"] * len(names))})
    frames = (np.arange(samples) + 0.5) / RATE
    return make_target(data, there), np.stack(layer), frames


CHOICE = Choice(
    name="encode_continuous",
    arguments={"windows": [[0, 0.5]], "components": None, "alphas": [10, 1000]},
)


WINDOWS = Choice(
    name="encode_continuous",
    arguments=CHOICE.arguments | {"windows": [[0, 0.5], [0, 1], [0, 2]]},
)


def scored(target, layer, frames, choice=CHOICE, **resampled):
    return METHODS["encode_continuous"](
        {"layer": layer}, replace(target, frames=frames), **choice.arguments, **resampled
    )


def p_of_nothing(stimuli, seconds, simulations, *, permutations=39, seed=0):
    """P values (simulations, neuroids) of layers that know nothing of the responses."""
    rng, found = np.random.default_rng([stimuli, int(seconds), seed]), []
    for _ in range(simulations):
        target, layer, frames = simulated(rng, stimuli, seconds)
        orders = analysis.orders_of(target, CHOICE, plan(permutations=permutations))
        values = scored(target, layer, frames, orders=orders)
        found.append(analysis.with_p_value(values)["p_value"][1][0])
    return np.array(found)


def scores_and_errors(
    stimuli, seconds, simulations, *, weight=0.4, heard=None, seed=0, choice=CHOICE
):
    """Scores (simulations, neuroids) with the errors that halves say, and degrees of freedom.

    NaN where halves cannot be made.
    """
    rng, scores, errors, freedom = (
        np.random.default_rng([stimuli, int(seconds), seed, 1]),
        [],
        [],
        0,
    )
    for _ in range(simulations):
        target, layer, frames = simulated(rng, stimuli, seconds, weight=weight, heard=heard)
        halves = analysis.halves_of(target, choice, plan(resamples=10))
        values = scored(target, layer, frames, choice, halves=halves)
        scores.append(values["score"][1][0])
        if halves is None:
            errors.append(np.full(scores[-1].shape, np.nan))
            continue
        again = xr.DataArray(
            values["resample_score"][1][0], dims=("resample", "neuroid"),
            attrs=scheme_of(correlation=True),
        )  # fmt: skip
        again = stabilised(xr.DataArray(scores[-1], dims="neuroid"), again)
        scheme = emergence.Scheme.of(again)
        errors.append(scheme.error(again).to_numpy())
        freedom = scheme.freedom(again.sizes["resample"])
    return np.array(scores), np.array(errors), freedom


def coverage(scores, errors, freedom):
    """Part of 95 % intervals that hold the mean score, and what errors are beside the true one."""
    known = np.isfinite(errors)
    if not known.any():
        return np.nan, np.nan, 0.0
    inside = np.abs(scores - scores.mean()) <= student.ppf(0.975, freedom) * errors
    ratio = np.sqrt((errors[known] ** 2).mean()) / scores.std()
    return float(inside[known].mean()), float(ratio), float(known.mean())
