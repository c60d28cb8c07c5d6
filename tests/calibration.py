"""Simulations of what sentences, figures and tables state where the truth is known.

Each returns what was found, one value a simulation, so that a short form can stand in the suite and
a long one in ``tests/benchmarks/bench_calibration.py``.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

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


def linear_results(seed, *, mean, n=66, resamples=50, shared=0.0, along=0.0, noise=1.0):
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
    """
    rng = np.random.default_rng(seed)
    shape = (n, *mean.shape)
    draws = np.sqrt(1 - shared - along) * rng.standard_normal(shape)
    draws += np.sqrt(shared) * rng.standard_normal((n, 1, 1, mean.shape[2]))
    draws += np.sqrt(along) * rng.standard_normal((n, 1, *mean.shape[1:]))
    values = mean + noise * np.sqrt(n) * draws
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
