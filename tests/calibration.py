"""Simulations of what sentences, figures and tables state where the truth is known.

Each returns what was found, one value a simulation, so that a short form can stand in the suite and
a long one in ``tests/benchmarks/bench_calibration.py``.
"""

from __future__ import annotations

import numpy as np

from dynamics import analysis
from dynamics.analysis import METHODS
from dynamics.brains.targets import Target
from dynamics.config import Choice, validate


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
