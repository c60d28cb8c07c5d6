"""Curves whose scores on halves are drawn as they are distributed, so that many can be simulated.

Two complementary halves of n stimuli deviate from the score of all of them by as much to either
side, with the covariance over steps that the score itself has: what metrics of real arrays do is
in ``calibration.py`` and ``emergence_simulation.py``, at a thousand times the cost.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from dynamics import emergence
from dynamics.emergence.aggregate import over_subjects, with_subjects

SCHEME = emergence.scheme("halves", n=2, kept=1, resamples=2)._replace(correlation=False)
STATISTICS = ("final", "gain", "area", "plateau", "onset", "half_time", "plateau_step")


def steps_of(number):
    """Step 0 and others, even on a log axis."""
    return np.r_[0, np.round(np.logspace(1, 5, number - 1))]


def shapes(steps):
    """Curves (steps,) from 0 to about 1, and one that falls below 0 between."""
    x = np.log10(1 + steps)
    rise = 1 / (1 + np.exp(-(x - 2.7) / 0.35))
    return {
        "sigmoid": rise,
        "late": 1 / (1 + np.exp(-(x - 4.0) / 0.3)),
        "power": (steps / steps[-1]) ** 0.25,
        "staircase": 0.5 * (x > 2) + 0.5 * (x > 4),
        "landing": 0.49 * (x > 2) + 0.51 * (x > 4),
        "transient": rise * (1 - 0.5 / (1 + np.exp(-(x - 4.2) / 0.2))),
        "dip": rise - 0.3 * np.exp(-(((x - 2) / 0.5) ** 2)),
    }


def root_of(steps, alike):
    """Root of the correlation of errors over steps: `alike` of two neighbours of ten."""
    place = np.arange(len(steps)) * 10 / len(steps)
    apart = np.abs(np.subtract.outer(place, place))
    return np.linalg.cholesky(alike**apart + 1e-9 * np.eye(len(steps)))


def curves(simulations, mean, steps, *, error, halves=50, alike=0.8, tails=0, seed=0):
    """Curves (sim, step) around a mean (steps,), and the same on halves (sim, resample, step).

    `tails` are the degrees of freedom of Student's t that errors have; 0 for normal ones.
    """
    rng = np.random.default_rng(seed)
    root = root_of(steps, alike)

    def drawn(*shape):
        normal = rng.standard_normal((*shape, len(steps))) @ root.T
        if tails:
            normal = normal / np.sqrt(rng.chisquare(tails, (*shape, 1)) / (tails - 2))
        return error * normal

    score = mean + drawn(simulations)
    off = drawn(simulations, halves // 2)
    cloud = np.stack([score[:, None] + off, score[:, None] - off], 2)
    cloud = cloud.reshape(simulations, halves, len(steps))
    coords = {"step": steps}
    return (
        xr.DataArray(score, dims=("sim", "step"), coords=coords),
        xr.DataArray(cloud, dims=("sim", "resample", "step"), coords=coords, attrs=SCHEME.attrs),
    )


def held(curve, resampled, mean, statistic):
    """Whether limits of a statistic hold that of the mean curve (sim,); open ones hold "never"."""
    whole = xr.DataArray(mean, dims="step", coords={"step": curve["step"]})
    truth = emergence.STATISTICS[statistic].function(whole)
    found = emergence.interval(curve, resampled, statistic=statistic)
    inside = (found["lower"] <= truth) & (truth <= found["upper"])
    if bool(truth.isnull()):
        inside = np.isposinf(found["upper"])
    return inside.to_numpy().astype(float)


def people(seed, mean, steps, *, subjects, error, spread, halves=50, alike=0.8, share=0.5):
    """Curves (step, subject) of people who differ by `spread` in level, and on halves.

    And what limits speak of: what people do on average, on these stimuli, and these people. A
    `share` of the variance of errors is what the stimuli do to all people.
    """
    rng = np.random.default_rng(seed)
    root = root_of(steps, alike)
    own = spread * rng.standard_normal((subjects, 1)) * mean

    def drawn(*shape):
        return [
            error * np.sqrt(part) * (rng.standard_normal((*shape, count, len(steps))) @ root.T)
            for part, count in ((share, 1), (1 - share, subjects))
        ]

    shared, single = drawn()
    score = mean + own + shared + single
    off = sum(drawn(halves // 2))
    cloud = np.stack([score + off, score - off], 1).reshape(halves, subjects, len(steps))
    coords = {"step": steps}
    return (
        xr.DataArray(score.T, dims=("step", "subject"), coords=coords),
        xr.DataArray(
            cloud, dims=("resample", "subject", "step"), coords=coords, attrs=SCHEME.attrs
        ),
        {
            over: xr.DataArray(true, dims="step", coords=coords)
            for over, true in (
                ("both", mean),
                ("subjects", mean + shared[0]),
                ("stimuli", mean + own.mean(0)),
            )
        },
    )


def held_of_people(simulations, statistic, *, subjects, over="both", steps=10, **made):
    """Whether limits over people, stimuli or both hold what they speak of (sim,).

    Over people that is what people do on average on these stimuli, over stimuli what these people
    do on average over stimuli.
    """
    places = steps_of(steps)
    mean = 0.4 * shapes(places)["sigmoid"]
    function = emergence.STATISTICS[statistic].function
    found = []
    for seed in range(simulations):
        given = {"subjects": subjects, "error": 0.03, "spread": 0.2} | made
        curve, again, true = people(seed, mean, places, **given)
        truth = function(true[over])
        pair = with_subjects(curve, again) if over == "both" else over_subjects(curve)
        if over == "stimuli":
            pair = curve.mean("subject"), again.mean("subject").assign_attrs(again.attrs)
        at = emergence.interval(*pair, statistic=statistic)
        found.append(bool(at["lower"] <= truth) and bool(truth <= at["upper"]))
    return np.array(found, float)


def false_finds(simulations, *, halves=50, steps, alike=0.8, subjects=0, over="subjects"):
    """Whether a flat curve is said to rise, fall, decline and end above where it began (sim,).

    Over subjects alone it is flat on these stimuli, which do the same to all steps.
    """
    places = steps_of(steps)
    found = {name: [] for name in ("rises", "falls", "declines", "gains")}
    for seed in range(simulations):
        if subjects:
            given = {"subjects": subjects, "error": 0.03, "spread": 0.0, "alike": alike}
            share = 0.0 if over == "subjects" else 0.5
            drawn = [seed, subjects, steps]
            curve, again, _ = people(drawn, 0 * places, places, share=share, **given)
            pair = with_subjects(curve, again) if over == "both" else over_subjects(curve)
        else:
            made = {"error": 0.03, "halves": halves, "alike": alike, "seed": seed}
            pair = [one.isel(sim=0) for one in curves(1, 0 * places, places, **made)]
        some = {"draws": 1000}
        found["rises"].append(float(emergence.onset_test(*pair, **some)["detected_p"]))
        found["falls"].append(float(emergence.fall_test(*pair)["fall_p"]))
        found["declines"].append(float(emergence.decline_test(*pair, **some)["p"]))
        found["gains"].append(float(emergence.interval(*pair, statistic="gain")["p"]))
    return {name: np.array(p) <= 0.05 for name, p in found.items()}


def differences(simulations, *, steps, ratio=1.0, error=0.02):
    """Whether limits of a difference of two half-times hold it, and p of none is at most .05."""
    places = steps_of(steps)
    x = np.log10(1 + places)
    middles = 2.7 + np.log10(ratio) * np.array([0, 1])
    means = [0.4 / (1 + np.exp(-(x - middle) / 0.35)) for middle in middles]
    both = [
        curves(simulations, mean, places, error=error, seed=place)
        for place, mean in enumerate(means)
    ]
    curve, again = (xr.concat(each, "layer") for each in zip(*both, strict=True))
    again = again.assign_attrs(SCHEME.attrs)
    found = emergence.compare(curve, again, dim="layer", margin=1.5).isel(pair=0)
    whole = xr.DataArray(means, dims=("layer", "step"), coords={"step": places})
    when = np.log10(1 + emergence.half_time(whole)).to_numpy()
    truth = when[1] - when[0]
    inside = (found["lower"] <= truth) & (truth <= found["upper"])
    return {
        "held": inside.to_numpy().astype(float),
        "differ": (found["p"] <= 0.05).to_numpy(),
        "alike": (found["p_equivalent"] <= 0.05).to_numpy(),
    }


def of_pairs(simulations, *, n, signal, steps=4):
    """Whether limits of RSA hold its mean: of the last score and of the gain, real halves."""
    import calibration

    every = [
        calibration.rsa_scores(seed, n=n, signal=signal, steps=steps) for seed in range(simulations)
    ]
    score = np.array([full for full, _ in every])
    scheme = emergence.scheme("halves", n=n, kept=n // 2, resamples=50)
    attrs = scheme._replace(squares=True).attrs
    coords = {"step": steps_of(steps)}
    curve = xr.DataArray(score, dims=("sim", "step"), coords=coords)
    cloud = xr.DataArray(
        np.array([each for _, each in every]), dims=("sim", "resample", "step"), coords=coords,
        attrs=attrs,
    )  # fmt: skip
    return {name: held(curve, cloud, score.mean(0), name) for name in ("final", "gain")}


def of_ridge(simulations, *, n, neuroids=6, noise=1.2, steps=4):
    """Whether limits of ridge regression hold the mean over simulations; equal curves.

    Of 4 steps, or of 2, the first and the last, which have a level and a gain alone.
    """
    from dynamics.metrics.refit import refit_predictions, refit_ridge, rescore
    from dynamics.metrics.subsets import half_rows

    places = slice(None) if steps == 4 else slice(None, None, 3)
    steps = np.array([0, 100, 1000, 10_000])[places]
    weight = np.array([0, 0.15, 0.7, 1.0])[places]
    world = np.random.default_rng(20)
    width, latents = 96, 4
    mixing = world.standard_normal((latents, width)) / np.sqrt(width)
    known = world.standard_normal((latents, neuroids)) / np.sqrt(latents)
    early = world.standard_normal((8, neuroids)) / np.sqrt(8)
    full, cloud = [], []
    for seed in range(simulations):
        rng = np.random.default_rng(seed)
        base, latent = rng.standard_normal((n, width)), rng.standard_normal((n, latents))
        own = rng.standard_normal((len(steps), n, width))
        X = (0.8 * base + 0.6 * own) * np.geomspace(1, 0.1, width)
        X = X + 2.5 * weight[:, None, None] * (latent @ mixing)
        noisy = noise * rng.standard_normal((n, neuroids))
        Y = latent @ known + 0.5 * base[:, :8] @ early + noisy
        K, folds = X @ X.swapaxes(1, 2), np.arange(n) % 5
        alphas = np.logspace(-1.5, 3.5, 6) * np.trace(K, axis1=1, axis2=2)[:, None] / n
        full.append(rescore(refit_predictions(K, Y, folds, alphas), Y, np.arange(n)[None])[:, 0])
        cloud.append(refit_ridge(K, Y, folds, half_rows(folds, 50, seed=seed), alphas))
    score, again = np.mean(full, -1), np.mean(cloud, -1).swapaxes(1, 2)
    attrs = emergence.scheme("halves", n=n, kept=n // 2, resamples=50).attrs
    coords = {"step": steps}
    curve = xr.DataArray(score, dims=("sim", "step"), coords=coords)
    resampled = xr.DataArray(again, dims=("sim", "resample", "step"), coords=coords, attrs=attrs)
    names = ("final", "gain", "onset", "half_time")[: len(steps)]
    return {name: held(curve, resampled, score.mean(0), name) for name in names}
