"""Store x target x metric -> results, in parallel.

One task is one training step against all that is missing for it: a worker reads the step's
activations from the store once, and every layer's Gram matrix is made once for all targets,
metrics, neuroids and alphas. Only this process writes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from dynamics import analysis, progress, sounds, store
from dynamics.analysis import Variables, baselines, self_similarity, sizes
from dynamics.analysis.handing_out import Work, with_levels
from dynamics.analysis.jobs import Job, find_missing, joined, key_of, tasks_of
from dynamics.analysis.scoring import check_memory, score_together
from dynamics.brains.targets import Loaded, load_brain
from dynamics.cluster import PATIENCE, cluster
from dynamics.config import Sweep
from dynamics.lookahead import in_window
from dynamics.workers import threads_of


def analyze(
    sweep: Sweep,
    *,
    scheduler: str | None = None,
    advance: progress.Advance | None = None,
    loaded: Loaded | None = None,
    patience: float = PATIENCE,
) -> dict[str, int]:
    """Compare every layer at every step of a store with the targets; only what is missing.

    Parameters
    ----------
    sweep : Sweep
        The sweep.
    scheduler : str, optional
        Address of a running dask scheduler whose workers see the store under the same path, or a
        batch system, in the place of the sweep's `compute`; by default a local cluster of processes
        is started.
    advance : callable, optional
        Called after each step; by default a progress bar is drawn.
    loaded : Loaded, optional
        Sounds and targets of the sweep; by default they are loaded.
    patience : float
        Seconds without a worker of the cluster that can work, after which it is given up.

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
        analysis.check_choice(choice, [target.label for target in sweep.targets])
    tree = store.open(sweep.place)
    store.check(sweep.place)
    activations = tree["activations"].to_dataset()
    if activations.sizes.get("step", 0) == 0:
        raise ValueError(
            f"store {sweep.store} has no complete step yet: run `dynamics crawl` first"
        )
    every = joined(sweep, activations, loaded or load(sweep))
    table = tree["checkpoints"].to_dataset().set_coords("sha256")
    hashes = dict(zip(table["step"].to_numpy().tolist(), table["sha256"].to_numpy().tolist()))
    steps = activations["step"].to_numpy().tolist()

    with store.lock(sweep.place):
        todo = find_missing(sweep, every, {step: hashes[step] for step in steps})
        alone = self_similarity.missing(sweep)
        new = len(todo.steps) + len(alone)
        if new or todo.baseline or todo.untrained:
            with contextlib.ExitStack() as stack:
                client = stack.enter_context(
                    cluster(
                        sweep.where(scheduler),
                        workers=sweep.workers,
                        patience=patience,
                        places={"the store": str(sweep.place.resolved())},
                    )
                )
                root = store.open_group(sweep.place)
                check_memory(client, root, list(every.targets.values()))
                known = [(metric, label, every.targets[key_of(sweep, label, metric)])
                         for label, metric in every.pairs]  # fmt: skip
                sizes.check(client, known, len(store.layer_names(root)))
                if advance is None and new:
                    advance = stack.enter_context(progress.bar("analyzing", new))
                jobs = [*todo.baseline, *todo.untrained, *todo.steps]
                work = Work(client, sweep, with_levels(every.targets, jobs, sweep, client))
                work.hand_out(jobs)
                _levels(todo.baseline, todo.untrained, work)
                _run(todo.steps, work, hashes, advance or progress.silent)
                if alone and advance is not None:
                    self_similarity.analyze(sweep, client, advance=advance)
    total = len(steps) * (len(every.pairs) + bool(sweep.self_similarity))
    return {"new": new, "already": total - new}


def load(sweep: Sweep) -> Loaded:
    """Load the sounds and the targets of a sweep; no sound is decoded."""
    stimuli = sounds.load(sweep.stimuli.name, **sweep.stimuli.arguments)
    return Loaded(stimuli, {choice.label: load_brain(choice, stimuli) for choice in sweep.targets})


def _levels(baseline: Sequence[Job], untrained: Sequence[Job], work: Work) -> None:
    """Score the baseline, a task, and the controls, a task each, and write what is found.

    On the same resamples as the layers, so that what those have in common cancels in the gain.
    """
    sweep = work.sweep
    if baseline:
        task = work.submit(
            baselines.score_baseline, sweep, task=baseline, called="score baseline", shuffled=False
        )
        for job, found in zip(baseline, task.result()):
            baselines.write_baseline(job.group, sweep, found)
    path = sweep.place.resolved() / "controls"
    every: dict[tuple[str, str], tuple[Job, dict[int, Variables]]] = {}

    def submit(task: list[Job]) -> Any:
        step = task[0].step
        return work.submit(
            score_together, path, step, task=task, called=f"score control {step}", shuffled=False
        )

    window = 4 * threads_of(work.client)
    for task, future in in_window(submit, tasks_of(untrained, 1), window):
        for job, found in zip(task, future.result()):
            every.setdefault((job.label, job.metric.label), (job, {}))[1][job.step] = found
    for job, each in every.values():
        baselines.write_controls(job.group, sweep, each)


def _run(
    jobs: Sequence[Job], work: Work, hashes: Mapping[int, str], advance: progress.Advance
) -> None:
    path, workers = work.sweep.place.resolved(), threads_of(work.client)

    def submit(task: list[Job]) -> Any:
        step = task[0].step
        return work.submit(score_together, path, step, task=task, called=f"score step {step}")

    # Results are written in the order of the jobs, so that the store does not depend on
    # which worker was quicker.
    for task, future in in_window(submit, tasks_of(jobs, workers), 4 * workers):
        for job, found in zip(task, future.result()):
            values, label, metric = job.plan.marked(found), job.label, job.metric
            attrs = job.plan.limited(analysis.attrs_of(metric.name, analysis.given(metric)))
            store.write_result(
                job.group, job.step, values, checkpoint=hashes[job.step], attrs=attrs
            )
            advance(note=f"{label} {metric.label} step {job.step}")
