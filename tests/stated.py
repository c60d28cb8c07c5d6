"""Simulations of what is stated beside curves: peaks, orders, trends, contrasts, maps, listeners.

Each returns what was found by what it is of, one value a simulation.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import planted
import xarray as xr

from dynamics import analysis, emergence
from dynamics.analysis.variables import scheme_of
from dynamics.brains.targets import Target
from dynamics.emergence import across_runs, pathway, trends
from dynamics.emergence.testing import onset_test_subjects, peak_range
from dynamics.metrics.subsets import half_rows
from dynamics.probes.behaviour import share_limits


def peaks(simulations, shape, *, steps, halves=50, error=0.02, seed=0):
    """Whether the range of steps of a peak holds all steps that are highest."""
    places = planted.steps_of(steps)
    mean = 0.4 * planted.shapes(places)[shape] if shape != "flat" else 0 * places
    curve, again = planted.curves(simulations, mean, places, error=error, halves=halves, seed=seed)
    found = peak_range(curve, again)
    highest = places[mean >= mean.max() - 1e-12]
    # Of equal ones each is the peak as much as any: one is looked at.
    when = highest[len(highest) // 2]
    inside = (found["lower"] <= when) & (when <= found["upper"])
    return {"limits of the step of the peak (at least)": inside.to_numpy().astype(float)}


def orders(simulations, ratio, *, steps, error=0.02, curves=4, seed=0):
    """Whether limits of ranks hold true ranks; half-times a ratio apart, ties among them."""
    places = planted.steps_of(steps)
    x = np.log10(1 + places)
    middles = 2.0 + np.log10(ratio) * np.arange(curves)
    true = np.arange(1, curves + 1) if ratio > 1 else np.full(curves, (curves + 1) / 2)
    held = []
    for number in range(simulations):
        pairs = [
            planted.curves(1, 0.4 / (1 + np.exp(-(x - middle) / 0.35)), places, error=error,
                           seed=1000 * (number + seed) + place)
            for place, middle in enumerate(middles)
        ]  # fmt: skip
        curve, again = (
            xr.concat([one.isel(sim=0) for one in each], "layer")
            for each in zip(*pairs, strict=True)
        )
        again = again.assign_attrs(planted.SCHEME.attrs)
        found = emergence.order(curve, again, dim="layer")
        low, high = found["rank_lower"].to_numpy(), found["rank_upper"].to_numpy()
        held.append(np.mean((low <= true) & (true <= high)))
    return {"limits of a rank": np.array(held)}


def trend_over_runs(simulations, *, runs, slope, spread=0.05, error=0.02):
    """Whether limits of a line over runs and over stimuli hold it, and p of no line."""
    x = np.geomspace(1e6, 1e9, runs)
    off = np.log10(x / np.exp(np.log(x).mean()))
    found = {"limits of a trend over runs": [], "limits of a trend over stimuli, these runs": [],
             "p of a trend over runs": []}  # fmt: skip
    for seed in range(simulations):
        rng = np.random.default_rng([seed, runs])
        true = 0.4 + slope * off + spread * rng.standard_normal(runs)
        noise = error * (rng.standard_normal() + rng.standard_normal(runs)) / np.sqrt(2)
        halves = error * (
            rng.standard_normal((25, 1)) + rng.standard_normal((25, runs))
        ) / np.sqrt(2)  # fmt: skip
        score = true + noise
        cloud = np.stack([score + halves, score - halves], 1).reshape(50, runs)
        table = trends.trend(
            xr.DataArray(score, dims="run"), x,
            xr.DataArray(cloud, dims=("resample", "run"), attrs=planted.SCHEME.attrs),
        ).table.sel(parameter="slope")  # fmt: skip
        own = true @ off / (off @ off)
        names = iter(found)
        found[next(names)].append(float(table["runs_lower"]) <= slope <= float(table["runs_upper"]))
        found[next(names)].append(float(table["lower"]) <= own <= float(table["upper"]))
        found[next(names)].append(float(table["p"]) <= 0.05 if slope == 0 else np.nan)
    return {name: np.array(each, float) for name, each in found.items()}


def contrasts(simulations, *, runs, over, spread=0.05, error=0.02):
    """Whether limits of a difference of two groups of runs hold it, and p values of none."""
    groups = ["a"] * runs + ["b"] * runs
    weights = {"a": 1.0, "b": -1.0}
    found = {f"limits of a contrast of runs over {over}": [],
             f"p of a contrast of runs over {over}": []}  # fmt: skip
    if over == "runs":
        found["p of exchanged runs"] = []
    for seed in range(simulations):
        rng = np.random.default_rng([seed, runs])
        own = (spread if over != "stimuli" else 0.0) * rng.standard_normal(2 * runs)
        share = 0.0 if over == "runs" else error
        noise = share * (rng.standard_normal() + rng.standard_normal(2 * runs)) / np.sqrt(2)
        off = error * (
            rng.standard_normal((25, 1)) + rng.standard_normal((25, 2 * runs))
        ) / np.sqrt(2)  # fmt: skip
        values = 0.4 + own + noise
        cloud = np.stack([values + off, values - off], 1).reshape(50, 2 * runs)
        score = xr.DataArray(values, dims="run")
        again = xr.DataArray(cloud, dims=("resample", "run"), attrs=planted.SCHEME.attrs)
        one = across_runs.contrast_runs(score, again, groups, weights, over=over)
        names = iter(found)
        found[next(names)].append(float(one["lower"]) <= 0 <= float(one["upper"]))
        found[next(names)].append(float(one["p"]) <= 0.05)
        if over == "runs":
            p = across_runs.permute_runs(score, groups, weights, draws=500, seed=seed)["p"]
            found[next(names)].append(float(p) <= 0.05)
    return {name: np.array(each, float) for name, each in found.items()}


def signs(simulations, *, subjects, steps):
    """P of a rise by exchanged signs of people, of whom none rises."""
    places = planted.steps_of(steps)
    p = []
    for seed in range(simulations):
        curve, _, _ = planted.people(
            [seed, subjects, steps],
            0 * places,
            places,
            subjects=subjects,
            error=0.03,
            spread=0.0,
            share=0.0,
        )
        p.append(float(onset_test_subjects(curve, draws=1000)["detected_p"]) <= 0.05)
    return {"p of a rise by signs of people": np.array(p, float)}


def maps(simulations, *, regions):
    """P of a correlation of a map with half-times that have nothing to do with it."""
    p = []
    for seed in range(simulations):
        rng = np.random.default_rng([seed, regions])
        p.append(pathway._correlated(*rng.standard_normal((2, regions)), seed)[1] <= 0.05)
    return {"p of a correlation with a map": np.array(p, float)}


def scores_over_time(simulations, metric, *, n, resamples, signal=0.5, samples=6):
    """Means over latencies of RSA or CKA (sim, step), and the same on halves."""
    world = np.random.default_rng(20)
    mixing = [world.standard_normal((8, width)) / np.sqrt(8) for width in (64, 20)]
    times = (np.arange(samples) + 0.5) * 0.05
    full, cloud = [], []
    for seed in range(simulations):
        rng = np.random.default_rng([seed, n])
        latent = rng.standard_normal((n, 8))
        course = (latent @ mixing[1])[:, None] + rng.standard_normal((n, samples, 20))
        base = 0.8 * rng.standard_normal((n, 64))
        target = Target(np.arange(n), course.mean(1), np.arange(n) % 5, np.full(20, "s"))
        target = replace(target, course=course, times=times)
        layers = {
            str(step): weight * latent @ mixing[0] + base + 0.6 * rng.standard_normal((n, 64))
            for step, weight in enumerate((0.0, signal))
        }
        rows = half_rows(target.folds, resamples, seed=seed)
        found = analysis.METHODS[metric](layers, target, halves=rows, resamples=resamples)
        full.append(np.asarray(found["score"][1])[:, 0])
        cloud.append(np.asarray(found["resample_score"][1])[..., 0].T)
    coords = {"step": np.array([0, 100])}
    attrs = scheme_of(correlation=True) | {"squares": 1}
    curve = xr.DataArray(np.array(full), dims=("sim", "step"), coords=coords)
    again = xr.DataArray(
        np.array(cloud), dims=("sim", "resample", "step"), coords=coords, attrs=attrs
    )
    return curve, again


def over_time(simulations, metric, **made):
    """Whether limits of a mean over latencies of RSA or CKA hold it: last score and gain."""
    curve, again = scores_over_time(simulations, metric, **made)
    mean = curve.mean("sim").to_numpy()
    held = {name: planted.held(curve, again, mean, name) for name in ("final", "gain")}
    return {f"limits of {name}": hits for name, hits in held.items()}


def saturating(simulations, *, runs, shape, error=0.02):
    """Whether limits of a trend that saturates hold it, and its curve, over stimuli, these runs.

    A line in the logarithm has no top: limits hold it where they are open.
    """
    x = np.resize(np.geomspace(1e5, 1e8, 5 if runs == 5 else 4), runs)
    decades = np.log10(x / x.min())
    true = {"saturates": 0.5 - 0.3 * 10 ** (-0.3 * decades), "early": 0.5 - 0.3 * 10**-decades,
            "line": 0.2 + 0.07 * decades, "flat": 0.4 + 0 * decades}[shape]  # fmt: skip
    whole = trends.trend(xr.DataArray(true, dims="run"), x, kind="saturating")
    want = whole.table["estimate"].to_numpy()
    if shape == "line":
        want[:] = np.inf, np.inf, 0.02  # the slowest rate that is tried
    if shape == "flat":
        want[2] = np.nan  # no rise has no rate
    found = {
        f"limits of a saturating trend: {name}": [] for name in ("top", "range", "rate", "curve")
    }
    for seed in range(simulations):
        rng = np.random.default_rng([seed, runs])
        noise, halves = (
            error * (rng.standard_normal((number, 1)) + rng.standard_normal((number, runs)))
            / np.sqrt(2) for number in (1, 25)
        )  # fmt: skip
        score = true + noise[0]
        cloud = np.stack([score + halves, score - halves], 1).reshape(50, runs)
        again = xr.DataArray(cloud, dims=("resample", "run"), attrs=planted.SCHEME.attrs)
        one = trends.trend(xr.DataArray(score, dims="run"), x, again, kind="saturating")
        limits = one.table["lower"].to_numpy(), one.table["upper"].to_numpy()
        inside = np.where(
            np.isnan(want), np.nan, (limits[0] <= want + 1e-9) & (want - 1e-9 <= limits[1])
        )
        line = whole.curve["estimate"]
        held = (one.curve["lower"] <= line) & (line <= one.curve["upper"])
        for name, value in zip(found, (*inside, float(held.mean())), strict=True):
            found[name].append(value)
    return {name: np.array(each, float) for name, each in found.items()}


def listeners(simulations, *, sounds, share, answers, seed=0):
    """Whether limits of the agreement with listeners hold it; sounds differ in how many agree."""
    rng = np.random.default_rng([seed, sounds, answers])
    size = (simulations, sounds)
    each = rng.beta(4 * share, 4 * (1 - share), size) if answers > 1 else np.full(size, share)
    lower, upper = share_limits(rng.binomial(answers, each) / answers)
    inside = (lower <= share) & (share <= upper)
    return {"limits of the agreement with listeners": inside.astype(float)}


def best_layers(simulations, *, layers, apart, error=0.02, halves=50, seed=0):
    """Whether layers that may be the best hold it, and how often the best here is so elsewhere."""
    rng = np.random.default_rng([seed, layers])
    true = 0.4 - apart * np.arange(layers)
    found = {"limits of the best layer (at least)": [],
             "seen: the best layer is best on other stimuli": [],
             "seen: part of drawn curves in which it is": []}  # fmt: skip
    for number in range(simulations):
        score, other = (true + error * rng.standard_normal(layers) for _ in range(2))
        off = error * rng.standard_normal((halves // 2, layers))
        cloud = np.stack([score + off, score - off], 1).reshape(halves, layers)
        one = emergence.best_layer(
            xr.DataArray(score[:, None], dims=("layer", "step"), coords={"step": [0]}),
            xr.DataArray(cloud[..., None], dims=("resample", "layer", "step"),
                         coords={"step": [0]}, attrs=planted.SCHEME.attrs),
            draws=200, seed=number,
        ).isel(step=0)  # fmt: skip
        best = int(one["best"])
        told = bool(one["may"][0]), other.argmax() == best, float(one["support"][best])
        for name, value in zip(found, told, strict=True):
            found[name].append(value)
    return {name: np.array(each, float) for name, each in found.items()}
