"""The metric that divides what a layer and control features explain of responses over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dynamics.analysis import resampled
from dynamics.analysis.continuous import lacks_stimuli, responses_of, shuffled
from dynamics.analysis.controls import entries
from dynamics.analysis.hearing import heard
from dynamics.analysis.metric import Coordinates, Units
from dynamics.analysis.stretches import setting, units_of
from dynamics.analysis.variables import Variables, first_halves
from dynamics.brains.targets import Target
from dynamics.metrics.missing import check_handling
from dynamics.metrics.unique import unique_continuous as of_arrays

_PARTS = {
    "score": "unique_first",
    "unique_r2": "unique_first",
    "baseline_unique_r2": "unique_second",
    "shared_r2": "shared",
    "total_r2": "both",
    "layer_r2": "first",
}


def unique_continuous(
    layers: Mapping[str, np.ndarray],
    target: Target,
    *,
    controls: Sequence[Any] = (),
    window: Sequence[float] | None = None,
    unit: str = "seconds",
    components: int | None = 32,
    candidates: int = 10,
    alphas: Sequence[float] | None = None,
    block: float | None = None,
    guard: float | None = None,
    trim: Sequence[float] = (0.0, 0.0),
    hrf: str = "none",
    resampling: str = "box",
    resamples: int = 10,
    missing: str = "error",
    seed: int = 0,
    halves: np.ndarray | None = None,
    orders: np.ndarray | None = None,
) -> Variables:
    """Divide r^2 over time into what a layer adds to named control features, and the rest.

    Parameters
    ----------
    layers, target
        As for `dynamics.analysis.continuous.encode_continuous`; the target with `controls`.
    controls : list
        Files (``.npz`` with the argument `rate`, ``.nc``) of an array of (times, features) a
        stimulus, or models without weights: names, or {name: ..., label: ..., arguments: {...}}. A
        band each.
    window : [shortest, longest], optional
        Delays of the layer and of all controls; by default 0 to .4 s, or 1 to 4 samples.
    candidates
        As for `dynamics.metrics.unique.unique_continuous`.
    unit, components, alphas, block, guard, trim, hrf, resampling, resamples, missing, seed
        As for `dynamics.analysis.continuous.encode_continuous`.
    halves, orders
        Resamples and shuffles; what is shuffled is what the controls leave of the responses
        (Freedman & Lane 1983).

    Returns
    -------
    Variables
        As of `dynamics.analysis.encoding.variance_partition`.

    Raises
    ------
    ValueError
        As for `encode_continuous`, and if there are no controls.
    """
    check_handling(missing)
    named = [each.label for each in entries(controls)]
    found = setting(
        {"windows": None if window is None else [window], "unit": unit, "hrf": hrf, "block": block,
         "guard": guard, "seed": seed}, target,
    )  # fmt: skip
    if missing == "error" and lacks_stimuli(target):
        raise ValueError("neuroids lack stimuli: set `missing: mask`")
    lead, X = heard(layers, target, found.longest, hrf=hrf, resampling=resampling)
    bands = {}
    for name in named:
        course, frames = target.controls[name]
        alone = {name: course[target.rows]}
        seen = replace(target, frames=frames)
        bands[name] = heard(alone, seen, found.longest, hrf=hrf, resampling=resampling)[1][name]
    Y, rate = responses_of(target), target.rate
    ends = [round(seconds * rate) for seconds in trim]
    if min(ends) < 0 or sum(ends) >= min(map(len, Y)):
        raise ValueError(f"trim {tuple(trim)} leaves nothing of a response: leave out less")
    inside = [(np.arange(len(y)) >= ends[0]) & (np.arange(len(y)) < len(y) - ends[1]) for y in Y]
    rows = first_halves(halves, resamples)
    given: dict[str, Any] = {
        "rate": rate, "split": found.split, "lead": lead, "window": found.windows[-1],
        "components": components, "candidates": candidates, "kept": np.concatenate(inside),
        "alphas": None if alphas is None else np.asarray(alphas, float), "seed": seed,
    }  # fmt: skip
    every = [of_arrays(x, bands, Y, rows=rows, **given) for x in X.values()]
    axes = ("layer", "neuroid")
    values: Variables = {
        name: (axes, np.stack([np.asarray(each[key]) for each in every]))
        for name, key in _PARTS.items()
    }
    values["baseline_r2"] = (("neuroid",), np.asarray(every[0]["second"]))
    if rows is not None:

        def refits(layer: int) -> dict[str, np.ndarray]:
            return {"score": np.asarray(every[layer]["resample_unique"])}

        values |= resampled.of_layers(refits, len(every), target.together)
    if orders is not None:
        fixed = [np.asarray(part) for part in every[0]["prediction"]]
        rest = [y - part for y, part in zip(Y, fixed)]
        moved = [part + np.tile(own, (1, len(orders)))
                 for part, own in zip(shuffled(rest, orders, ends), fixed)]  # fmt: skip
        null = [np.asarray(of_arrays(x, bands, moved, **given)["unique_first"]) for x in X.values()]
        shape = (len(X), len(orders), Y[0].shape[1])
        values["null_score"] = (("layer", "permutation", "neuroid"), np.stack(null).reshape(shape))
    return values


def units(arguments: Mapping[str, Any], target: Target) -> Units:
    """As `dynamics.analysis.stretches.units_of`, with one window."""
    return units_of(_with_windows(arguments), target)


def coordinates(arguments: Mapping[str, Any], target: Target) -> Coordinates:
    """Return the folds."""
    found = setting(_with_windows(arguments), target)
    folds = int(np.concatenate(found.split.folds).max()) + 1
    return {"split": ("split", np.arange(folds))}


def _with_windows(arguments: Mapping[str, Any]) -> dict[str, Any]:
    window = arguments.get("window")
    return {**arguments, "windows": None if window is None else [window]}
