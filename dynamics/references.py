"""Levels that every curve is compared with: a model without learning, untrained networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import zarr

from dynamics import extract, methods, poolings, store
from dynamics.config import Choice, Sweep
from dynamics.methods import ATTRS, METHODS, RESAMPLED
from dynamics.scoring import at_times, score_step
from dynamics.sounds import StimulusSet
from dynamics.targets import Target

# Values of a layer that stand beside its score.
_BESIDE = ("r2", "r2_corrected")


def has_baseline(sweep: Sweep, metric: Choice) -> bool:
    """Whether the scores of a metric are compared with those of a baseline model."""
    own = methods.find(metric.name)
    return sweep.baseline is not None and "baseline" not in own.needs and own.per != "layer"


def baseline_features(
    sweep: Sweep, stimuli: StimulusSet, pooling: str | poolings.Pooling = "mean"
) -> np.ndarray:
    """Return what the last layer of the baseline model makes of the stimuli."""
    assert sweep.baseline is not None  # `has_baseline` has looked
    arguments = sweep.baseline.arguments
    layers = extract.features(sweep.baseline.name, stimuli, pooling=pooling, **arguments)
    return layers[list(layers)[-1]]


def write_baseline(
    group: zarr.Group,
    sweep: Sweep,
    stimuli: StimulusSet,
    metric: Choice,
    target: Target,
    together: np.ndarray | None = None,
) -> None:
    """Score the baseline model like a layer (the last of its layers)."""
    if "time" in methods.find(metric.name).needs:
        pooling = poolings.make(sweep.pooling.name, **sweep.pooling.arguments)
        features = baseline_features(sweep, stimuli, pooling)
        times = pooling.centres(features.shape[1])
        features = at_times(features[target.rows], times, target)
    else:
        features = baseline_features(sweep, stimuli)[target.rows].astype(float)
    # On the same resamples as the layers, so that what those have in common cancels in the gain.
    halves, target = methods.halves_of(target, metric, sweep), replace(target, together=together)
    given = methods.given(metric)
    found = METHODS[metric.name]({"baseline": features}, target, halves=halves, **given)
    assert sweep.baseline is not None
    for name in (*_BESIDE, "fold_score", *RESAMPLED, "score"):  # last what is looked for
        if name in found:
            dims, values = found[name]
            key = "baseline" if name == "score" else f"baseline_{name}"
            text = f"{ATTRS[name]['description']}: {sweep.baseline.name} features, no learning"
            store.write_constant(group, key, dims[1:], values[0], description=text)


def write_untrained(
    group: zarr.Group,
    sweep: Sweep,
    metric: Choice,
    target: Target,
    together: np.ndarray | None = None,
) -> None:
    """Score the untrained networks of a store: the level, and its spread, before any training."""
    path = sweep.place / "controls"
    sources = store.controls(store.Place(path.where, path.options))
    halves, arguments = methods.halves_of(target, metric, sweep), methods.given(metric)
    promised = "resample_score" if together is None else "resample_mean"
    lacking = halves is not None and f"untrained_{promised}" not in group
    if not sources or (group.attrs.get("untrained") == list(sources.values()) and not lacking):
        return
    # On the same resamples as the layers, so that what those have in common cancels in the gain.
    found = [
        score_step(path, number, target, metric.name, arguments, halves=halves, together=together)
        for number in sources
    ]
    for name in ("score", *_BESIDE, *RESAMPLED):
        if name in found[0]:
            dims = ("control", *found[0][name][0])
            values = np.stack([one[name][1] for one in found])
            text = f"{ATTRS[name]['description']}: untrained networks, one a seed"
            store.write_constant(group, f"untrained_{name}", dims, values, description=text)
    group.attrs["untrained"] = list(sources.values())
