"""Store x target x metric -> results, in parallel.

One task is one training step: a worker reads the step's activations from the store, and every
layer's Gram matrix is made once for all neuroids and alphas. Only this process writes.
"""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from dynamics import extract, metrics, progress, sounds, store
from dynamics.config import Choice, Sweep
from dynamics.methods import ATTRS, METHODS, Variables, check_method, halves_of, subject_rdms
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
        If a metric or target is unknown, or names of stimuli do not match.
    """
    for choice in sweep.metrics:
        check_method(choice.name)
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
    table = tree["checkpoints"].to_dataset().set_coords("sha256")
    hashes = dict(zip(table["step"].to_numpy().tolist(), table["sha256"].to_numpy().tolist()))
    steps = activations["step"].to_numpy().tolist()

    with store.lock(sweep.store):
        root = store.open_group(sweep.store, mode="r+")
        jobs = []
        for label, target in targets.items():
            for metric in sweep.metrics:
                group = _begin(root, sweep, metric, label, target, datasets[label])
                have = store.committed(group)
                missing = [step for step in steps if have.get(step) != hashes[step]]
                if "baseline" not in group and sweep.baseline is not None:
                    _write_baseline(group, sweep, stimuli, metric, target)
                jobs += [(group, metric, label, step) for step in missing]
        if jobs:
            _run(jobs, sweep, targets, hashes, scheduler, advance)
    total = len(steps) * len(targets) * len(sweep.metrics)
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
    coordinates: dict[str, tuple[str, Sequence]] = {
        "layer": ("layer", layers),
        "split": ("split", np.arange(len(set(target.folds.tolist())))),
        "subject": ("subject", target.subject_names),
    }
    if metric.name == "ridge":
        del coordinates["subject"]
        for key, values in data.coords.items():
            if values.dims == ("neuroid",):
                coordinates[str(key)] = ("neuroid", values.to_numpy())
    else:
        del coordinates["split"]
    identity = {
        "metric": metric.name,
        "arguments": metric.arguments,
        "target": data.attrs.get("name", label),
        "target_checksums": checksums(target),
        "baseline": sweep.baseline.model_dump() if sweep.baseline else None,
        "seed": sweep.seed,
        "resamples": sweep.resamples,
    }
    group = store.begin_result(
        root, label, metric.label, identity=identity, coordinates=coordinates
    )
    if "score" not in group:
        _write_ceiling(group, metric, target)
    group.attrs["simulated"] = int(data.attrs.get("simulated", 0))
    group.attrs["description"] = str(data.attrs.get("description", ""))
    return group


def _write_ceiling(group: zarr.Group, metric: Choice, target: Target) -> None:
    """Write what the reliability of repetitions, or the agreement of subjects, allows."""
    if metric.name == "ridge" and target.response.ndim == 3 and "ceiling" not in group:
        values = metrics.noise_ceiling(target.response)["ceiling"]
        text = "noise ceiling (correlation) from repetitions"
        store.write_constant(group, "ceiling", ("neuroid",), values, description=text)
    if metric.name == "rsa" and len(target.subject_names) > 1:
        options = dict(metric.arguments)
        compare = options.pop("compare", "spearman")
        bounds = metrics.rdm_noise_ceiling(subject_rdms(target, **options), compare=compare)
        for name in ("lower", "upper"):
            text = f"{name} bound of the RSA noise ceiling over subjects"
            values = np.asarray(bounds[name])
            store.write_constant(group, f"ceiling_{name}", (), values, description=text)


def _write_baseline(
    group: zarr.Group,
    sweep: Sweep,
    stimuli: StimulusSet,
    metric: Choice,
    target: Target,
) -> None:
    """Score the baseline model like a layer (the last of its layers)."""
    layers = extract.features(sweep.baseline.name, stimuli, **sweep.baseline.arguments)
    features = layers[list(layers)[-1]][target.rows].astype(float)
    found = METHODS[metric.name]({"baseline": features}, target, **metric.arguments)
    for name in ("score", "r2", "fold_score"):
        if name in found:
            dims, values = found[name]
            key = "baseline" if name == "score" else f"baseline_{name}"
            text = f"{ATTRS[name]['description']}: {sweep.baseline.name} features, no learning"
            store.write_constant(group, key, dims[1:], values[0], description=text)


def score_step(
    path: str,
    step: int,
    target: Target,
    metric: str,
    arguments: Mapping[str, Any],
    *,
    halves: np.ndarray | None = None,
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

    Returns
    -------
    dict of str to (dimensions, array)
        Variables of the result, without the step axis.
    """
    layers = store.read_activations(Path(path), step)
    layers = {name: _without_time(values[target.rows]) for name, values in layers.items()}
    return METHODS[metric](layers, target, halves=halves, **arguments)


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
        halves = {label: halves_of(target, sweep) for label, target in targets.items()}
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
                    metric.arguments,
                    halves=halves[label],
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
