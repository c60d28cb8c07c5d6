"""Store x target x metric -> results, in parallel.

One task is one training step: a worker reads the step's activations from the store, and every
layer's Gram matrix is made once for all neuroids and alphas. Only this process writes.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from dynamics import extract, methods, progress, sounds, store
from dynamics.config import Choice, Sweep
from dynamics.methods import ATTRS, METHODS, Variables
from dynamics.sounds import StimulusSet
from dynamics.targets import Target, checksums, load_brain, make_target

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
        How many (step, target, metric) were "new" and how many there were "already".

    Raises
    ------
    FileNotFoundError
        If there is no store.
    ValueError
        If a metric or target is unknown, a metric lacks what it needs, or names of stimuli do
        not match.
    """
    for choice in sweep.metrics:
        methods.check_choice(choice, [target.label for target in sweep.targets])
    tree = store.open(sweep.store)
    activations = tree["activations"].to_dataset()
    if activations.sizes.get("step", 0) == 0:
        raise ValueError(
            f"store {sweep.store} has no complete step yet: run `dynamics crawl` first"
        )
    stimuli = sounds.load(sweep.stimuli.name, **sweep.stimuli.arguments)
    datasets = {choice.label: load_brain(choice, stimuli) for choice in sweep.targets}
    targets = {
        label: make_target(data, activations, origin=str(sweep.store), seed=sweep.seed)
        for label, data in datasets.items()
    }
    pairs = [
        (label, metric)
        for label in targets
        for metric in sweep.metrics
        if methods.applies(metric, label)
    ]
    times = store.read_times(sweep.store) is not None
    for label, metric in pairs:
        sizes = {str(dim): size for dim, size in datasets[label]["response"].sizes.items()}
        there = sweep.baseline is not None
        methods.check_fit(metric, label, sizes, baseline=there, times=times)
    if any(metric.name in methods.WITH_BASELINE for _, metric in pairs):
        features = _baseline(sweep, stimuli)
        targets = {
            label: replace(target, baseline=features[target.rows])
            for label, target in targets.items()
        }
    table = tree["checkpoints"].to_dataset().set_coords("sha256")
    hashes = dict(zip(table["step"].to_numpy().tolist(), table["sha256"].to_numpy().tolist()))
    steps = activations["step"].to_numpy().tolist()

    with store.lock(sweep.store):
        root = store.open_group(sweep.store, mode="r+")
        jobs = []
        for label, metric in pairs:
            target = targets[label]
            group = _begin(root, sweep, metric, label, target, datasets[label])
            have = store.committed(group)
            missing = [step for step in steps if have.get(step) != hashes[step]]
            if "baseline" not in group and _has_baseline(sweep, metric):
                _write_baseline(group, sweep, stimuli, metric, target)
            _write_untrained(group, sweep.store / "controls", metric, target)
            jobs += [(group, metric, label, step) for step in missing]
        if jobs:
            _run(jobs, sweep, targets, hashes, scheduler, advance)
    total = len(steps) * len(pairs)
    return {"new": len(jobs), "already": total - len(jobs)}


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
    coordinates: dict[str, tuple[str, Sequence]] = {"layer": ("layer", layers)}
    if metric.name in methods.PER_NEUROID:
        coordinates["split"] = ("split", np.arange(len(set(target.folds.tolist()))))
        for key, values in data.coords.items():
            if values.dims == ("neuroid",):
                coordinates[str(key)] = ("neuroid", values.to_numpy())
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
    if "score" not in group:
        found = methods.ceilings(metric.name, target, methods.given(metric))
        for name, (dims, values, text) in found.items():
            store.write_constant(group, name, dims, values, description=text)
    group.attrs["simulated"] = int(data.attrs.get("simulated", 0))
    group.attrs["description"] = str(data.attrs.get("description", ""))
    return group


def _has_baseline(sweep: Sweep, metric: Choice) -> bool:
    without = methods.WITH_BASELINE + methods.WITHOUT_TARGET
    return sweep.baseline is not None and metric.name not in without


def _baseline(sweep: Sweep, stimuli: StimulusSet) -> np.ndarray:
    """Return what the last layer of the baseline model makes of the stimuli."""
    layers = extract.features(sweep.baseline.name, stimuli, **sweep.baseline.arguments)
    return layers[list(layers)[-1]].astype(float)


def _write_baseline(
    group: zarr.Group,
    sweep: Sweep,
    stimuli: StimulusSet,
    metric: Choice,
    target: Target,
) -> None:
    """Score the baseline model like a layer (the last of its layers)."""
    features = _baseline(sweep, stimuli)[target.rows]
    found = METHODS[metric.name]({"baseline": features}, target, **methods.given(metric))
    for name in ("score", "r2", "fold_score"):
        if name in found:
            dims, values = found[name]
            key = "baseline" if name == "score" else f"baseline_{name}"
            text = f"{ATTRS[name]['description']}: {sweep.baseline.name} features, no learning"
            store.write_constant(group, key, dims[1:], values[0], description=text)


def _write_untrained(group: zarr.Group, path: Path, metric: Choice, target: Target) -> None:
    """Score the untrained networks of a store: the level, and its spread, before any training."""
    sources = store.controls(path.parent)
    if not sources or group.attrs.get("untrained") == list(sources.values()):
        return
    arguments = methods.given(metric)
    found = [score_step(str(path), number, target, metric.name, arguments) for number in sources]
    for name in ("score", "r2"):
        if name in found[0]:
            dims = ("control", *found[0][name][0])
            values = np.stack([one[name][1] for one in found])
            text = f"{ATTRS[name]['description']}: untrained networks, one a seed"
            store.write_constant(group, f"untrained_{name}", dims, values, description=text)
    group.attrs["untrained"] = list(sources.values())


def score_step(
    path: str,
    step: int,
    target: Target,
    metric: str,
    arguments: Mapping[str, Any],
    *,
    halves: np.ndarray | None = None,
    orders: np.ndarray | None = None,
) -> Variables:
    """Compare one step's layers with a target; what runs on a worker.

    Parameters
    ----------
    path : str
        The store.
    step : int
        A committed step.
    target : Target
        The brain target.
    metric : str
        A name in `METHODS`.
    arguments : mapping
        Arguments of the metric.
    halves : array of shape (n_resamples, n_kept), optional
        Complementary halves of the stimuli, the same for every step, on which the score is
        computed again.
    orders : array of shape (n_permutations, n_joined), optional
        Shuffles of the target's stimuli, the same for every step, for the null.

    Returns
    -------
    dict of str to (dimensions, array)
        Variables of the result, without the step axis.
    """
    layers = store.read_activations(Path(path), step)
    layers = {name: _without_time(values[target.rows]) for name, values in layers.items()}
    found = METHODS[metric](layers, target, halves=halves, orders=orders, **arguments)
    return methods.with_p_value(found)


def _without_time(values: np.ndarray) -> np.ndarray:
    """Average (stimulus, time, feature) over the time of each stimulus; NaN is past its end."""
    return (np.nanmean(values, axis=1) if values.ndim == 3 else values).astype(float)


def _run(
    jobs: Sequence[tuple[zarr.Group, Choice, str, int]],
    sweep: Sweep,
    targets: Mapping[str, Target],
    hashes: Mapping[int, str],
    scheduler: str | None,
    advance: progress.Advance | None,
) -> None:
    path = str(sweep.store.resolve())
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(cluster(scheduler, workers=sweep.workers))
        if advance is None:
            advance = stack.enter_context(progress.bar("analyzing", len(jobs)))
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
            store.write_result(group, step, values, checkpoint=hashes[step], attrs=ATTRS)
            submit()
            advance(note=f"{label} {metric.label} step {step}")


@contextlib.contextmanager
def cluster(address: str | None, *, workers: int = 0) -> Iterator[Any]:
    """Connect to a dask scheduler, or start a local one with a process a core.

    Parameters
    ----------
    address : str, optional
        Address such as ``tcp://10.0.0.5:8786``.
    workers : int
        Local processes; 0 for one a core.

    Yields
    ------
    dask.distributed.Client
        The client.

    Raises
    ------
    OSError
        If no scheduler answers at the address.
    """
    from dask.distributed import Client, LocalCluster

    # It logs every connection; faults come back as exceptions anyway.
    logging.getLogger("distributed").setLevel(logging.ERROR)
    if address is not None:
        try:
            client = Client(address, timeout="10s", set_as_default=False)
        except (OSError, ValueError) as error:
            raise OSError(f"no dask scheduler answers at {address}: {error}") from None
        with client:
            yield client
        return
    with (
        LocalCluster(
            n_workers=workers or None,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
            silence_logs=logging.ERROR,
        ) as local,
        Client(local, set_as_default=False) as client,
    ):
        yield client
