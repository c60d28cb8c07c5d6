"""Levels that every curve is compared with: a model without learning, untrained networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import zarr

from dynamics import analysis, sounds, store
from dynamics.analysis import ATTRS, RESAMPLED, Variables, controls
from dynamics.analysis.scoring import Part, is_timed, score_layers
from dynamics.brains.targets import Target
from dynamics.config import Choice, Sweep
from dynamics.emergence.levels import CONTROLS
from dynamics.extraction import poolings

# Values of a layer that stand beside its score.
_BESIDE = ("r2", "r2_corrected")


def has_baseline(sweep: Sweep, metric: Choice) -> bool:
    """Whether the scores of a metric are compared with those of a baseline model."""
    own = analysis.find(metric.name)
    return (
        sweep.baseline is not None
        and not {"baseline", "controls"} & set(own.needs)
        and (own.per != "layer")
    )


def baseline_features(sweep: Sweep, pooling: str | poolings.Pooling = "mean") -> np.ndarray:
    """Return what the last layer of the baseline model makes of the stimuli; runs on a worker.

    Of a file of features over time, their mean.
    """
    assert sweep.baseline is not None  # `has_baseline` has looked
    if sweep.baseline.is_file:
        return np.nanmean(controls.course(sweep.baseline, sweep)[0], axis=1)
    stimuli = sounds.load(sweep.stimuli.name, **sweep.stimuli.arguments)
    pool = poolings.make(pooling) if isinstance(pooling, str) else pooling
    return controls.last_layer(sweep.baseline, sweep, stimuli, pool)


def score_baseline(
    sweep: Sweep,
    parts: Sequence[Part],
    targets: Sequence[Target],
    orders: Sequence[np.ndarray | None],
) -> list[Variables]:
    """Score the baseline model like a layer (the last of its layers); what runs on a worker.

    Parameters
    ----------
    sweep : Sweep
        With a baseline.
    parts, targets, orders
        As for `dynamics.analysis.scoring.score_together`.

    Returns
    -------
    list of dict of str to (dimensions, array)
        As from `dynamics.analysis.scoring.score_together`.
    """
    found: list[Variables] = [{} for _ in parts]
    for timed in (False, True):
        some = [number for number, part in enumerate(parts) if is_timed(part) == timed]
        if not some:
            continue
        times = None
        if timed:
            assert sweep.baseline is not None
            features, times = controls.course(sweep.baseline, sweep)
        else:
            features = baseline_features(sweep)
        own = [parts[number] for number in some]
        scored = score_layers({"baseline": features}, times, own, targets, orders)
        for number, values in zip(some, scored):
            found[number] = values
    return found


def write_baseline(group: zarr.Group, sweep: Sweep, found: Variables) -> None:
    """Write the scores of the baseline model."""
    assert sweep.baseline is not None
    for name in (*_BESIDE, "fold_score", *RESAMPLED, "score"):  # last what is looked for
        if name in found:
            dims, values = found[name]
            key = "baseline" if name == "score" else f"baseline_{name}"
            text = f"{ATTRS[name]['description']}: {sweep.baseline.name} features, no learning"
            store.write_constant(group, key, dims[1:], values[0], description=text)


def controls_missing(group: zarr.Group, sweep: Sweep, promised: str) -> list[int]:
    """Return the numbers of the control networks where results lack their scores.

    Parameters
    ----------
    group : zarr.Group
        Results of a target and metric.
    sweep : Sweep
        The sweep.
    promised : str
        Name of the variable with resamples, empty where there is to be none.

    Returns
    -------
    list of int
        Of each kind, all of them or none.
    """
    missing: list[int] = []
    for kind, sources in _by_kind(sweep).items():
        lacking = bool(promised) and f"{kind}_{promised}" not in group
        if group.attrs.get(kind, []) != list(sources.values()) or (sources and lacking):
            missing += sources
    return missing


def write_controls(group: zarr.Group, sweep: Sweep, found: Mapping[int, Variables]) -> None:
    """Write the scores of control networks, by their numbers: a level with its spread a kind."""
    for kind, sources in _by_kind(sweep).items():
        own = [found[number] for number in sources if number in found]
        if not own:
            continue
        dim, text = CONTROLS[kind], _KINDS[kind]
        for name in ("score", *_BESIDE, *RESAMPLED):
            if name in own[0]:
                dims = (dim, *own[0][name][0])
                values = np.stack([one[name][1] for one in own])
                told = f"{ATTRS[name]['description']}: {text}, one a seed"
                store.write_constant(group, f"{kind}_{name}", dims, values, description=told)
        group.attrs[kind] = list(sources.values())


# What each kind of control is in words.
_KINDS = {"untrained": "untrained networks", "permuted": "networks with permuted weights"}


def _by_kind(sweep: Sweep) -> dict[str, dict[int, str]]:
    """Return numbers of the controls of a store with the hashes of their activations, by kind."""
    found: dict[str, dict[int, str]] = {kind: {} for kind in _KINDS}
    for number, content in store.controls(sweep.place).items():
        found["untrained" if number < store.PERMUTED_FROM else "permuted"][number] = content
    return found
