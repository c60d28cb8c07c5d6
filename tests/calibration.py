"""Simulations of what sentences, figures and tables state where the truth is known.

Each returns what was found, one value a simulation, so that a short form can stand in the suite and
a long one in ``tests/benchmarks/bench_calibration.py``.
"""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy import stats

import dynamics.accessor  # noqa: F401  (registers `dataset.dynamics`)
from dynamics import analysis, emergence
from dynamics.analysis import METHODS
from dynamics.brains.targets import Target
from dynamics.config import Choice, validate
from dynamics.emergence.best_layers import pick_layer
from dynamics.metrics.subsets import half_rows


def rate(hits) -> tuple[float, float]:
    """Part of simulations and its Monte-Carlo error."""
    part = float(np.mean(hits))
    return part, float(np.sqrt(max(part * (1 - part), 1 / len(hits)) / len(hits)))


def plan(**keys):
    """Return a sweep that says how stimuli are shuffled."""
    content = {"run": "x", "checkpoints": "x", "model": "x", "stimuli": "x", "targets": ["brain"]}
    return validate(content | keys, origin="simulation")


def clustered(seed, *, n=66, categories=11, share=0.5, width=30, neuroids=12):
    """Layers and responses that know nothing of each other, but both tell categories apart.

    A share of the variance of each is between categories; what these have in common is where they
    are cut, and nothing else.
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % categories

    def of(columns):
        between, within = (rng.standard_normal((k, columns)) for k in (categories, n))
        return np.sqrt(share) * between[labels] + np.sqrt(1 - share) * within

    target = Target(
        np.arange(n), of(neuroids), np.arange(n) % 5, np.full(neuroids, "s"),
        categories=labels.astype(str),
    )  # fmt: skip
    return {"layer": of(width)}, target


def p_of_unrelated(name, simulations, *, shuffle=None, permutations=39, **made):
    """P values of layers that know no more of the responses than their categories."""
    asked = {} if shuffle is None else {"shuffle": shuffle}
    found = []
    for seed in range(simulations):
        layers, target = clustered(seed, **made)
        sweep = plan(permutations=permutations, seed=seed, **asked)
        orders = analysis.orders_of(target, Choice(name=name), sweep)
        values = analysis.with_p_value(METHODS[name](layers, target, orders=orders))
        found.append(float(np.ravel(values["p_value"][1])[0]))
    return np.array(found)


def linear_results(
    seed, *, mean, n=66, resamples=50, shared=0.0, along=0.0, noise=1.0, own=None, common=0.0
):
    """Results whose scores are means over stimuli, so that halves of them are known exactly.

    Parameters
    ----------
    seed : int
        Of the draws.
    mean : array of shape (steps, layers, neuroids)
        The truth.
    n, resamples : int
        Stimuli, and halves of them.
    shared, along : float
        Parts of the variance that all layers have in common, and all steps of a layer.
    noise : float
        Standard error of every score.
    own : numpy.random.Generator, optional
        Of the draws, where the seed is that of the halves alone.
    common : array of shape (n, ...)
        What each stimulus adds to all scores.
    """
    rng = np.random.default_rng(seed) if own is None else own
    shape = (n, *mean.shape)
    draws = np.sqrt(1 - shared - along) * rng.standard_normal(shape)
    draws += np.sqrt(shared) * rng.standard_normal((n, 1, 1, mean.shape[2]))
    draws += np.sqrt(along) * rng.standard_normal((n, 1, *mean.shape[1:]))
    values = mean + noise * np.sqrt(n) * draws + common
    rows = half_rows(np.arange(n) % 3, resamples, seed=seed)
    assert (rows >= 0).all()
    halves = np.stack([values[each].mean(0) for each in rows], 2)
    steps, layers, neuroids = mean.shape
    scheme = emergence.scheme("halves", n=2, kept=1, resamples=resamples)._replace(
        correlation=False
    )
    return xr.Dataset(
        {
            "score": (("step", "layer", "neuroid"), values.mean(0)),
            "resample_score": (
                ("step", "layer", "resample", "neuroid"), halves, scheme.attrs,
            ),
        },
        coords={
            "step": np.r_[0, np.round(np.logspace(1, 5, steps - 1))].astype(int),
            "layer": [f"layer{k}" for k in range(layers)],
            "neuroid": [f"n{k}" for k in range(neuroids)],
        },
        attrs={"identity": '{"metric": "ridge"}'},
    )  # fmt: skip


def of_best_layer(simulations, *, layers=24, steps=6, truth=0.0, nulls=0, **made):
    """What is said of the best layer where no layer gains: gain over error, and false finds.

    Returns
    -------
    dict of arrays (simulations,)
        `optimism` in standard errors of a gain; whether the limits of the gain lie above 0, hold
        it, the curve is shown to rise or to decline, and p of shuffles is at most .05.
    """
    found = {name: [] for name in ("optimism", "above", "held", "shown", "declines", "null")}
    mean = np.full((steps, layers, 1), truth)
    for seed in range(simulations):
        data = linear_results(seed, mean=mean, **made)
        if nulls:
            shuffled = np.random.default_rng([seed, 1]).standard_normal((steps, layers, nulls, 1))
            data["null_score"] = (("step", "layer", "permutation", "neuroid"), shuffled)
        _, best = pick_layer(data)
        at = emergence.summary_of_chosen(
            data, best, names=("gain", "detected", "decline", "null_p")
        )
        found["optimism"].append(float(at["gain"]) / np.sqrt(2 * (1 - made.get("along", 0.0))))
        found["above"].append(at["gain_lower"] > 0)
        found["held"].append(at["gain_lower"] <= 0 <= at["gain_upper"])
        found["shown"].append(at["detected_p"] <= 0.05)
        found["declines"].append(at["decline_p"] <= 0.05)
        found["null"].append(at.get("null_p", xr.DataArray(1.0)) <= 0.05)
    return {name: np.array(each, float) for name, each in found.items()}


def drifts_at_rest(simulations, *, profile, grows=None, layers=8, steps=8, **made):
    """P values of a drift of the layer profile where it rests; nothing is said where they are NaN.

    The profile is flat, or a parabola of this height in standard errors; its height may grow.
    """
    place = np.arange(layers)
    parabola = profile * (1 - ((place - 3.0) / layers) ** 2 * 6)
    height = np.ones(steps) if grows is None else np.linspace(*grows, steps)
    mean = (height[:, None] * parabola)[..., None]
    found = []
    for seed in range(simulations):
        curve, resampled, _ = emergence.resampled_curve(linear_results(seed, mean=mean, **made))
        found.append(float(emergence.best_layer(curve, resampled, draws=10)["p"]))
    return np.array(found)


def p_of_growth(simulations, *, checkpoints, width=0.35, noise=0.02, form="partial", common=0.0):
    """P values of two scores whose only common ground is that both rise at the same steps.

    `common` is how much of the noise they share.
    """
    steps = np.r_[0, np.round(np.logspace(1, 5, checkpoints - 1))]
    decades = np.log10(1 + steps)
    rise = 1 / (1 + np.exp(-(decades - 2.7) / width))
    found = []
    for seed in range(simulations):
        rng = np.random.default_rng([seed, checkpoints])
        both = common * rng.standard_normal(checkpoints)
        brain, task = (
            xr.DataArray(
                rise + noise * (both + np.sqrt(1 - common**2) * rng.standard_normal(checkpoints)),
                dims="step",
                coords={"step": steps},
            )
            for _ in range(2)
        )
        found.append(float(emergence.correlate(brain, task)["p"].sel(form=form)))
    return np.array(found)


def runs_of_recipe(seed, *, runs, layers=2, neuroids=3, spread=0.08, drift=0.3, noise=0.02, n=66):
    """Results of several runs: each rises to a level and at a time of its own, before like stimuli.

    `spread` is the deviation of their gains, `drift` that of their half-times in decades; the rise
    is a straight line over two decades, so that half-times differ as the lines are moved.
    """
    steps = np.r_[0, np.round(np.logspace(1, 5, 9))].astype(int)
    x = np.log10(1 + steps)
    found = {}
    common = np.random.default_rng([seed, 0])
    shared = noise * np.sqrt(n) * common.standard_normal((n, 1, 1, 1))
    for run in range(runs):
        rng = np.random.default_rng([seed, 1, run])
        middle = RECIPE["middle"] + drift * rng.standard_normal()
        gain = RECIPE["gain"] + spread * rng.standard_normal()
        rise = gain * np.clip((x - middle) / 2 + 0.5, 0, 1)
        mean = np.repeat(np.repeat(rise[:, None, None], layers, 1), neuroids, 2)
        one = linear_results(seed, mean=mean, noise=noise, n=n, own=rng, common=shared)
        one.attrs["identity"] = '{"metric": "ridge", "seed": 0, "resamples": 50}'
        found[f"seed{run}"] = one
    return found


RECIPE = {"middle": 2.7, "gain": 0.4}


def of_recipe(simulations, *, runs, **made):
    """Whether limits over initialisations and stimuli hold the recipe's mean gain and half-time."""
    found = {name: [] for name in ("gain", "half_time", "gain of one run")}
    many = [runs_of_recipe(seed, runs=runs, **made) for seed in range(simulations)]
    steps = many[0]["seed0"]["step"].to_numpy()
    draws = np.random.default_rng(5).standard_normal((4000, 2))
    x = np.log10(1 + steps)
    middle = RECIPE["middle"] + made.get("drift", 0.3) * draws[:, :1]
    gain = RECIPE["gain"] + made.get("spread", 0.08) * draws[:, 1:]
    mean = xr.DataArray(
        (gain * np.clip((x - middle) / 2 + 0.5, 0, 1)).mean(0), dims="step", coords={"step": steps}
    )
    truth = {"gain": float(emergence.gain(mean)), "half_time": float(emergence.half_time(mean))}
    for each in many:
        both = emergence.replicates(each)
        for name, value in truth.items():
            at = both.dynamics.statistic(name).isel(layer=0)
            found[name].append(float(at["lower"]) <= value <= float(at["upper"]))
        one = each["seed0"].dynamics.gain(over="stimuli").isel(layer=0)
        held = float(one["lower"]) <= truth["gain"] <= float(one["upper"])
        found["gain of one run"].append(held)
    return {name: np.array(each, float) for name, each in found.items()}


def two_rising(seed, *, ratio, gain=0.5, noise=0.01, steps=10, halves=50, logistic=False):
    """Curves (step, layer) of two layers and their halves; one is half-way `ratio` times later."""
    places = np.r_[0, np.round(np.logspace(1, 5, steps - 1))].astype(int)
    x = np.log10(1 + places)
    middles = 2.7 + np.log10(ratio) * np.array([0.0, 1.0])
    off = (x[:, None] - middles) / 2  # two decades from the first to the last tenth
    mean = gain / (1 + 81**-off) if logistic else gain * np.clip(off + 0.5, 0, 1)
    data = linear_results(seed, mean=mean[..., None], noise=noise, shared=0.5, resamples=halves)
    return emergence.resampled_curve(data)[:2]


def p_equivalent(simulations, *, ratio, **made):
    """P values of two half-times being within a factor of 1.5, where their ratio is given."""
    found = []
    for seed in range(simulations):
        one = emergence.compare(*two_rising(seed, ratio=ratio, **made), dim="layer", margin=1.5)
        found.append(float(one["p_equivalent"].isel(pair=0)))
    return np.array(found)


def p_of_gain(simulations, *, gain, error, alike=0.5, steps=4, **made):
    """P values of a gain, of scores whose errors at two steps correlate by `alike`."""
    mean = gain * np.linspace(0, 1, steps)[:, None, None]
    found = []
    for seed in range(simulations):
        data = linear_results(seed, mean=mean, noise=error, along=alike, **made)
        curve, resampled, _ = emergence.resampled_curve(data)
        found.append(
            float(emergence.interval(curve, resampled, statistic="gain")["p"].isel(layer=0))
        )
    return np.array(found)


def p_of_ratio(simulations, *, ratio, **made):
    """P values of two half-times being equal, where their ratio is given."""
    found = []
    for seed in range(simulations):
        one = emergence.compare(*two_rising(seed, ratio=ratio, **made), dim="layer")
        found.append(float(one["p"].isel(pair=0)))
    return np.array(found)


def held_of_categories(simulations, *, by, categories=11, each=15, share=0.3, level=0.3):
    """Whether limits of a level hold the mean over a population of categories."""
    labels = np.repeat(np.arange(categories), each)
    n = len(labels)
    folds = np.arange(n) % 5
    found = []
    for seed in range(simulations):
        rng = np.random.default_rng(seed)
        own = np.sqrt(share) * rng.standard_normal((categories, 1))[labels]
        values = level + own + np.sqrt(1 - share) * rng.standard_normal((n, 1))
        units = labels if by == "categories" else None
        rows = half_rows(folds, 50, seed=seed, units=units)
        halves = np.stack([values[part[part >= 0]].mean(0) for part in rows])
        scheme = emergence.scheme("halves", n=2, kept=1, resamples=50)._replace(correlation=False)
        attrs = {"identity": '{"metric": "ridge"}'}
        if units is not None:
            attrs |= {"halves": "categories of stimuli", "halves_units": categories}
        data = xr.Dataset(
            {
                "score": (("step", "layer"), values.mean(0)[None]),
                "resample_score": (("step", "layer", "resample"), halves.T[None], scheme.attrs),
            },
            coords={"step": [100], "layer": ["a"]},
            attrs=attrs,
        )
        at = emergence.bands(*emergence.resampled_curve(data)[:2]).isel(step=0, layer=0)
        found.append(float(at["lower"]) <= level <= float(at["upper"]))
    return np.array(found, float)


def rsa_scores(seed, *, n, signal=0.0, halves=50, steps=1):
    """RSA of layers and responses over steps (steps,), and on halves (halves, steps)."""
    world = np.random.default_rng(20)
    mixing = [world.standard_normal((8, width)) / np.sqrt(8) for width in (64, 30)]
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal((n, 8))
    Y = latent @ mixing[1] + rng.standard_normal((n, 30))
    base = 0.8 * rng.standard_normal((n, 64))
    rows = half_rows(np.arange(n) % 5, halves, seed=seed)
    sets = [np.arange(n), *(each[each >= 0] for each in rows)]
    brain = 1 - np.corrcoef(Y)
    known = [_ranks(brain, each) for each in sets]
    found = []
    for weight in signal * np.linspace(0, 1, steps) if steps > 1 else [signal]:
        X = weight * latent @ mixing[0] + base + 0.6 * rng.standard_normal((n, 64))
        layer = 1 - np.corrcoef((X - X.mean(0)) / X.std(0))
        ranks = [_ranks(layer, each) for each in sets]
        found.append([a @ b for a, b in zip(ranks, known, strict=True)])
    found = np.array(found).T
    return found[0], found[1:]


def _ranks(distances, rows):
    """Return ranks of the pairs of some stimuli, of mean 0 and length 1."""
    ranks = stats.rankdata(distances[np.ix_(rows, rows)][np.triu_indices(len(rows), 1)])
    ranks -= ranks.mean()
    return ranks / np.linalg.norm(ranks)


def errors_of_pairs(simulations, *, n, signal=0.0):
    """Standard errors of RSA from halves over true ones: as halves show them, and counted once."""
    every = [rsa_scores(seed, n=n, signal=signal) for seed in range(simulations)]
    true = np.std([full[0] for full, _ in every], ddof=1)
    scheme = emergence.scheme("halves", n=2, kept=1, resamples=50)
    found = []
    for squares in (False, True):
        attrs = scheme._replace(squares=squares).attrs
        errors = []
        for full, cloud in every:
            curve = xr.DataArray(full, dims="step", coords={"step": [100]})
            again = xr.DataArray(
                cloud, dims=("resample", "step"), coords={"step": [100]}, attrs=attrs
            )
            errors.append(float(emergence.bands(curve, again)["error"][0]))
        found.append(float(np.sqrt(np.mean(np.square(errors))) / true))
    return tuple(found)


def p_of_flat(simulations, *, halves, steps, alike=0.9):
    """Smallest p value of a flat curve being above its first step, of steps with like errors."""
    apart = np.abs(np.subtract.outer(np.arange(steps), np.arange(steps)))
    root = np.linalg.cholesky(alike**apart)
    coords = {"step": np.arange(steps) * 10}
    attrs = emergence.Scheme(paired=True).attrs
    found = []
    for seed in range(simulations):
        rng = np.random.default_rng(seed)
        score = root @ rng.standard_normal(steps)
        off = rng.standard_normal((halves // 2, steps)) @ root.T
        cloud = np.stack([score + off, score - off], 1).reshape(halves, steps)
        curve = xr.DataArray(score, dims="step", coords=coords)
        again = xr.DataArray(cloud, dims=("resample", "step"), coords=coords, attrs=attrs)
        found.append(float(emergence.onset_test(curve, again, draws=1000)["detected_p"]))
    return np.array(found)
