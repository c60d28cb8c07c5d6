"""Store x target x metric -> results, in parallel.

One task is one training step against one target by one metric: a worker reads the step's
activations from the store, and every layer's Gram matrix is made once for all neuroids and
alphas. Only this process writes.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr

from dynamics import methods, progress, references, similarity, sounds, store
from dynamics.cluster import cluster
from dynamics.config import Choice, Sweep
from dynamics.copies import kept_together, noted_copies
from dynamics.scoring import score_step
from dynamics.targets import Target, checksums, gaps, load_brain, make_target

logger = logging.getLogger(__name__)


def analyze(
    sweep: Sweep, *, scheduler: str | None = None, advance: progress.Advance | None = None
) -> dict[str, int]:
    """Compare every layer at every step of a store with the targets; only what is missing.

    Parameters
    ----------
    sweep : Sweep
        The sweep.
    scheduler : str, optional
        Address of a running dask scheduler whose workers see the store under the same path; by
        default a local cluster of processes is started.
    advance : callable, optional
        Called after each step; by default a progress bar is drawn.

    Returns
    -------
    dict of str to int
        How many (step, target, metric) were "new" and how many there were "already"; the
        comparison of steps with each other counts as one more target.

    Raises
    ------
    FileNotFoundError
        If there is no store.
    ValueError
        If a metric or target is unknown, a metric lacks what it needs, or names of stimuli do
        not match.
    """
    if not sweep.targets and not sweep.self_similarity:
        raise ValueError(
            f"run {sweep.run!r} has nothing to be compared with: give it `targets`, or "
            "`self_similarity` to compare its steps with each other"
        )
    for choice in sweep.metrics:
        methods.check_choice(choice, [target.label for target in sweep.targets])
    tree = store.open(sweep.place)
    activations = tree["activations"].to_dataset()
    if activations.sizes.get("step", 0) == 0:
        raise ValueError(
            f"store {sweep.store} has no complete step yet: run `dynamics crawl` first"
        )
    stimuli = sounds.load(sweep.stimuli.name, **sweep.stimuli.arguments)
    copies = noted_copies(store.open_group(sweep.place))
    datasets = {
        choice.label: kept_together(load_brain(choice, stimuli), copies) for choice in sweep.targets
    }
    targets = {
        label: make_target(data, activations, seed=sweep.seed) for label, data in datasets.items()
    }
    pairs = [
        (label, metric)
        for label in targets
        for metric in sweep.metrics
        if methods.applies(metric, label)
    ]
    times = store.read_times(sweep.place) is not None
    for label, metric in pairs:
        sizes = {str(dim): size for dim, size in datasets[label]["response"].sizes.items()}
        there = sweep.baseline is not None
        where = gaps(datasets[label]) if np.isnan(targets[label].response).any() else ""
        methods.check_fit(metric, label, sizes, baseline=there, times=times, gaps=where)
    if any(metric.name in methods.WITH_BASELINE for _, metric in pairs):
        features = references.baseline_features(sweep, stimuli)
        targets = {
            label: replace(target, baseline=features[target.rows].astype(float))
            for label, target in targets.items()
        }
    table = tree["checkpoints"].to_dataset().set_coords("sha256")
    hashes = dict(zip(table["step"].to_numpy().tolist(), table["sha256"].to_numpy().tolist()))
    steps = activations["step"].to_numpy().tolist()

    with store.lock(sweep.place):
        root = store.open_group(sweep.place, mode="r+")
        jobs = []
        for label, metric in pairs:
            target = targets[label]
            group = _begin(root, sweep, metric, label, target, datasets[label])
            have = store.committed(group)
            missing = [step for step in steps if have.get(step) != hashes[step]]
            written = store.is_written(group, "baseline")
            if not written and references.has_baseline(sweep, metric):
                references.write_baseline(group, sweep, stimuli, metric, target)
            references.write_untrained(group, sweep, metric, target)
            jobs += [(group, metric, label, step) for step in missing]
        alone = similarity.missing(sweep)
        new = len(jobs) + len(alone)
        if new:
            with contextlib.ExitStack() as stack:
                client = stack.enter_context(cluster(scheduler, workers=sweep.workers))
                if advance is None:
                    advance = stack.enter_context(progress.bar("analyzing", new))
                _run(jobs, sweep, targets, hashes, client, advance)
                if alone:
                    similarity.analyze(sweep, client, advance=advance)
    total = len(steps) * (len(pairs) + bool(sweep.self_similarity))
    return {"new": new, "already": total - new}


def _begin(
    root: zarr.Group,
    sweep: Sweep,
    metric: Choice,
    label: str,
    target: Target,
    data: xr.Dataset,
) -> zarr.Group:
    """Open the group of a target and metric, with the target's coordinates and ceiling."""
    layers = store.layer_names(root)
    coordinates: dict[str, tuple[str, npt.ArrayLike]] = {"layer": ("layer", layers)}
    if metric.name in methods.PER_NEUROID:
        coordinates["split"] = ("split", np.arange(len(set(target.folds.tolist()))))
        for key, values in data.coords.items():
            if values.dims == ("neuroid",):
                known = values.to_numpy()
                known = methods.of_known(metric.name, known) if key == "ceiling" else known
                coordinates[str(key)] = ("neuroid", known)
        if metric.name in methods.TIMED:
            windows = metric.arguments.get("windows", methods.arguments(metric.name)["windows"])
            assert target.times is not None  # `methods.check_fit` has looked
            coordinates["time"] = ("time", target.times)
            coordinates["latency"] = ("latency", methods.latencies(target, windows))
            coordinates["window_start"] = ("window", [start for start, _ in windows])
            coordinates["window_end"] = ("window", [end for _, end in windows])
    elif metric.name not in methods.WITHOUT_TARGET:
        by = metric.arguments.get("by", "subject")
        groups = list(target.groups(by))
        coordinates["subject"] = ("subject", [subject for subject, _ in groups])
        if "region" in by:
            coordinates["region"] = ("subject", [region for _, region in groups])
    count, scheme = methods.shuffling(metric, sweep)
    shuffles = {"permutations": count, "shuffle": scheme} if count else {}
    identity = {
        "metric": metric.name,
        "arguments": methods.given(metric),
        "target": data.attrs.get("name", label),
        "target_checksums": checksums(target),
        "baseline": sweep.baseline.model_dump() if sweep.baseline else None,
        "seed": sweep.seed,
        "resamples": sweep.resamples,
        **shuffles,
    }
    group = store.begin_result(
        root, label, metric.label, identity=identity, coordinates=coordinates
    )
    if not store.is_written(group, "protocol"):
        store.write_label(group, "protocol", methods.protocol(metric), "how the scores were made")
    if "score" not in group:
        found = methods.ceilings(metric.name, target, methods.given(metric))
        for name, (dims, values, text) in found.items():
            store.write_constant(group, name, dims, values, description=text)
    group.attrs["simulated"] = int(data.attrs.get("simulated", 0))
    group.attrs["description"] = str(data.attrs.get("description", ""))
    return group


def _run(
    jobs: Sequence[tuple[zarr.Group, Choice, str, int]],
    sweep: Sweep,
    targets: Mapping[str, Target],
    hashes: Mapping[int, str],
    client: Any,
    advance: progress.Advance,
) -> None:
    path = sweep.place.resolved()
    halves = {label: methods.halves_of(target, sweep) for label, target in targets.items()}
    chosen = {(label, metric.label): metric for _, metric, label, _ in jobs}
    orders = {
        (label, name): methods.orders_of(targets[label], metric, sweep)
        for (label, name), metric in chosen.items()
    }
    orders = {
        key: None if each is None else client.scatter(each, hash=False)
        for key, each in orders.items()
    }
    held = {label: client.scatter(target, hash=False) for label, target in targets.items()}
    window = 4 * max(1, sum(client.ncores().values()))
    waiting: deque = deque()
    ahead = iter(jobs)

    def submit() -> None:
        for group, metric, label, step in ahead:
            future = client.submit(
                score_step,
                path,
                step,
                held[label],
                metric.name,
                methods.given(metric),
                halves=halves[label],
                orders=orders[label, metric.label],
                pure=False,
            )
            waiting.append((group, label, metric, step, future))
            return

    for _ in range(window):
        submit()
    # Results are written in the order of the jobs, so that the store does not depend on
    # which worker was quicker.
    while waiting:
        group, label, metric, step, future = waiting.popleft()
        values = future.result()
        attrs = methods.attrs_of(metric.name)
        store.write_result(group, step, values, checkpoint=hashes[step], attrs=attrs)
        submit()
        advance(note=f"{label} {metric.label} step {step}")
