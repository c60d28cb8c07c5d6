"""Scores that are means over stimuli, so that every design of stimuli can be simulated in full.

The halves are those of the package, of stimuli, groups or categories, and so is the way from
results to curves. Many simulations stand side by side as the layers of one set of results.
"""

from __future__ import annotations

import numpy as np
import planted
import xarray as xr

from dynamics import emergence
from dynamics.metrics.subsets import half_rows

NAMES = ("iid", "grouped", "categories")
SHARED, WITHIN = 0.3, 0.3
"""Correlation of the errors of two neuroids, and of two stimuli of a group or category."""


def units_of(design, n):
    """Return units of stimuli (n,) and their folds (n,): groups of five, or eleven categories."""
    if design == "iid":
        return np.arange(n), np.arange(n) % 5
    if design == "grouped":
        unit = np.arange(n) // 5
        return unit, unit % 5
    return np.arange(n) % 11, np.arange(n) // 11 % 5


def results(simulations, mean, places, *, design, n, neuroids, error=1.0, tails=0, seed=0, by=None):
    """Results of a mean curve (steps,), a layer a simulation; halves `by` keeps units whole.

    A stimulus moves a neuroid's score by `error`, a region's by the root of what its neuroids
    share. With `tails` degrees of freedom stimuli are drawn from Student's t.
    """
    unit, folds = units_of(design, n)
    rng = np.random.default_rng([seed, n, neuroids, len(places), NAMES.index(design)])
    root = planted.root_of(places, 0.8)
    spread = error * np.sqrt(SHARED + (1 - SHARED) / neuroids)
    whole = design != "iid" if by is None else by
    rows = half_rows(folds, 50, seed=seed, units=unit if whole else None)
    full, again = [], []
    for _ in range(simulations):
        own = rng.standard_normal((n, len(places)))
        if tails:
            own /= np.sqrt(rng.chisquare(tails, (n, 1)) / (tails - 2))
        if design != "iid":
            common = rng.standard_normal((unit.max() + 1, len(places)))
            own = np.sqrt(WITHIN) * common[unit] + np.sqrt(1 - WITHIN) * own
        values = mean + spread * own @ root.T
        full.append(values.mean(0))
        again.append([values[part[part >= 0]].mean(0) for part in rows])
    scheme = emergence.scheme("halves", n=n, kept=n // 2, resamples=50)._replace(correlation=False)
    attrs = {"identity": '{"metric": "ridge"}'}
    if whole:
        number = int(unit.max()) + 1
        within = len(set(zip(unit.tolist(), folds.tolist(), strict=True))) == number
        scheme = scheme._replace(limit=float(number - (5 if within else 1)))
        called = "groups of stimuli" if design == "grouped" else "categories of stimuli"
        attrs |= {"halves": called, "halves_units": number}
    return xr.Dataset(
        {
            "score": (("layer", "step"), np.array(full)),
            "resample_score": (("layer", "resample", "step"), np.array(again), scheme.attrs),
        },
        coords={"step": places.astype(int), "layer": [str(i) for i in range(simulations)]},
        attrs=attrs,
    ).transpose("step", "layer", "resample")


def held(simulations, shape, steps, statistics=planted.STATISTICS, *, gain=0.4, **made):
    """Whether limits hold what the mean curve has, by statistic, and p of no gain where none is."""
    places = planted.steps_of(steps)
    mean = gain * planted.shapes(places)[shape]
    curve, again, _ = emergence.resampled_curve(results(simulations, mean, places, **made))
    found = {f"limits of {name}": planted.held(curve, again, mean, name) for name in statistics}
    bands = emergence.bands(curve, again)
    truth = xr.DataArray(mean, dims="step", coords={"step": curve["step"]})
    inside = (bands["lower"] <= truth) & (truth <= bands["upper"])
    return found | {"bands of a curve": inside.to_numpy().astype(float).ravel()}


def p_of_none(simulations, steps, **made):
    """Which p values of a curve that stays where it is are at most .05, by what they speak of."""
    places = planted.steps_of(steps)
    curve, again, _ = emergence.resampled_curve(results(simulations, 0 * places, places, **made))
    p = {
        "p of being shown above untrained": emergence.onset_test(curve, again)["detected_p"],
        "p of a fall": emergence.fall_test(curve, again)["fall_p"],
        "p of a decline": emergence.decline_test(curve, again)["p"],
    }
    for name in ("final", "gain", "area"):
        p[f"p of {name}"] = emergence.interval(curve, again, statistic=name)["p"]
    return {name: (each <= 0.05).to_numpy().astype(float) for name, each in p.items()}
